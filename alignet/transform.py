"""Uncertainty distillation (UD): the affine transform that aligns embeddings with people.

002, eq. 3 and A.1.1. Rows are examples; with the scalar mean and std of the embeddings fitted on,

    x' = (x − mean) / std · W + b,   S' = X' X'ᵀ,   q = softmax of the three entries of S',

and W, b minimise KL(p* ‖ q), averaged over triplets, + λ ‖W − (tr W / p) I‖²_F. With the human
choices themselves as targets ("hard") the first term is the negative log-likelihood of eq. 1.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import scipy.optimize
import threadpoolctl
from jaxtyping import Array, Float, Int

from alignet import triplets as kernels
from alignet.errors import InputError
from alignet.runtime import files
from alignet.runtime.progress import progress


class Transform(NamedTuple):
    """An affine map of embeddings: x' = (x − mean) / std · W + b.

    Attributes:
      mean: scalar, over all entries of the embeddings it was fitted on.
      std: scalar, likewise.
      W: [in, out] = [p, p].
      b: [p].
    """

    mean: Float[np.ndarray, ""]
    std: Float[np.ndarray, ""]
    W: Float[np.ndarray, "p p"]
    b: Float[np.ndarray, "p"]


def apply_transform(transform: Transform, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Transforms embeddings, one a row; float64 unless x is float32.

    Raises:
      InputError: x has another width than the transform.
    """
    if x.shape[1] != len(transform.b):
        raise InputError(
            f"the embeddings have {x.shape[1]} columns; the transform expects {len(transform.b)}."
        )
    mean, std, W, b = (part.astype(x.dtype) for part in transform)
    return (x - mean) / std @ W + b


def save_transform(path: str | Path, transform: Transform) -> None:
    """Writes a transform to an `.npz`, atomically."""
    files.write_npz(path, **transform._asdict())


def load_transform(path: str | Path) -> Transform:
    """Reads the mean, std, W and b of a saved transform; other arrays are ignored.

    Raises:
      InputError: one is missing, not finite or of the wrong shape, or std is not positive.
    """
    expected = "expected a transform with scalars mean and std, W [p, p] and b [p]"
    parts = files.read_npz(path, Transform._fields, expected=expected)
    if any(part.dtype.kind not in "fiu" for part in parts):
        raise InputError(f"{path}: has types {[str(part.dtype) for part in parts]}; {expected}.")
    parts = [part.astype(np.float64) for part in parts]
    p = parts[3].size
    shapes = [part.shape for part in parts]
    if shapes != [(), (), (p, p), (p,)] or p == 0:
        raise InputError(f"{path}: found the shapes {shapes}; {expected}.")
    if not all(np.isfinite(part).all() for part in parts) or not parts[1] > 0:
        raise InputError(f"{path}: a value is not finite or std is not positive; {expected}.")
    return Transform(*parts)


def fit(
    x: Float[np.ndarray, "m p"],
    triplets: Int[np.ndarray, "n 3"],
    p_star: Float[np.ndarray, "n 3"] | None,
    *,
    lam: float,
    config: ml_collections.ConfigDict,
    start: Transform | None = None,
) -> Transform:
    """Fits the transform with `config.solver`, "lbfgs" or "sgd".

    Args:
      x: embeddings. Objects that are in no triplet have no influence, on mean and std neither.
      triplets: object indices, the odd one out last.
      p_star: soft targets in the order (ij, ik, jk), or None for the hard choices.
      lam: λ; the penalty is a sum over p² entries, so that its weight grows with the width.
      config: the solver's fields, see `configs/things.py`.
      start: where L-BFGS starts; by default at the scaled identity that fits the centred rows best.

    Returns:
      The transform, in float64.
    """
    used = np.zeros(len(x), bool)
    used[triplets] = True
    compact = (np.cumsum(used) - 1)[triplets]
    rows = np.asarray(x[used], np.float64)
    mean, std = rows.mean(), rows.std()
    if not std > 0:
        raise InputError("the embeddings are constant; expected rows that differ.")
    rows = (rows - mean) / std
    # Neighbouring triplets then look up neighbouring similarities, which stay in the cache.
    order = np.argsort(compact @ [len(rows) ** 2, len(rows), 1], kind="stable")
    compact = compact[order].astype(np.int32)
    targets = None if p_star is None else np.asarray(p_star, np.float64)[order]
    solvers = {"lbfgs": _solve_lbfgs, "sgd": _solve_sgd}
    if config.solver not in solvers:
        raise InputError(f"config.ud.solver is {config.solver!r}; expected lbfgs or sgd.")
    solve = solvers[config.solver]
    W, b = solve(rows, compact, targets, lam, config, start)
    return Transform(np.array(mean), np.array(std), W, b)


def _solve_lbfgs(x, triplets, targets, lam, config, start):
    """Full batch: every evaluation computes S' once and looks up the triplets' entries."""
    p = x.shape[1]
    with jax.enable_x64(True):
        data = (jnp.asarray(x), jnp.asarray(triplets), None)
        if targets is not None:
            data = (*data[:2], jnp.asarray(targets))

        def value_and_grad(flat):
            value, grad = _objective(jnp.asarray(flat), *data, lam)
            return float(value), np.asarray(grad)

        if start is None:
            # Some networks have a channel that is large and nearly the same for all objects, and
            # outweighs all else in dot products; from there the solver does not get far.
            centre = x.mean(axis=0)
            scale = _best_scale(x - centre, triplets, targets)
            flat = np.append((scale * np.eye(p)).ravel(), -scale * centre)
        else:
            flat = np.append(start.W.ravel(), start.b)
        # The solver's vector operations are too short for threads: waiting for each other they took
        # forty times as long on a busy machine. XLA has threads of its own.
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            found = scipy.optimize.minimize(
                value_and_grad,
                flat,
                jac=True,
                method="L-BFGS-B",
                options={
                    "maxiter": config.max_iterations,
                    "ftol": config.ftol,
                    "gtol": config.gtol,
                },
            )
    if not np.isfinite(found.fun):
        raise FloatingPointError(f"the UD fit at lambda {lam:g} diverged: {found.message}.")
    return found.x[:-p].reshape(p, p), found.x[-p:]


@functools.partial(jax.jit, donate_argnums=0)
@jax.value_and_grad
def _objective(
    flat: Float[Array, "v"],
    x: Float[Array, "m p"],
    triplets: Int[Array, "n 3"],
    targets: Float[Array, "n 3"] | None,
    lam: Float[Array, ""] | float,
) -> Float[Array, ""]:
    """Eq. 3 up to the entropy of p*, which is constant; flat is W row by row, then b."""
    (m, p), (i, j, k) = x.shape, triplets.T
    W, b = flat[:-p].reshape(p, p), flat[-p:]
    z = x @ W + b
    # Three flat look-ups, and logaddexp in place of a stacked softmax, take half the time.
    s = (z @ z.T).ravel()
    ij, ik, jk = s[i * m + j], s[i * m + k], s[j * m + k]
    chosen = ij if targets is None else targets[:, 0] * ij + targets[:, 1] * ik + targets[:, 2] * jk
    cross_entropy = (jnp.logaddexp(jnp.logaddexp(ij, ik), jk) - chosen).mean()
    return cross_entropy + lam * _distance_from_scaled_identity(W)


def _distance_from_scaled_identity(W: Float[Array, "p p"]) -> Float[Array, ""]:
    """‖W − (tr W / p) I‖²_F, differentiated through the trace as well."""
    return ((W - jnp.trace(W) / len(W) * jnp.eye(len(W), dtype=W.dtype)) ** 2).sum()


def _best_scale(x, triplets, targets) -> float:
    """The a for which a · x fits best; near zero, where eq. 3 is flat, L-BFGS stalls."""
    some = np.linspace(0, len(triplets) - 1, min(len(triplets), 50_000)).astype(int)
    s = kernels.gather_similarities(x @ x.T, triplets[some])
    p = np.eye(3)[np.zeros(len(some), int)] if targets is None else targets[some]

    def cross_entropy(log_square):
        return kernels.soft_cross_entropy(np.exp(log_square) * s, p).mean()

    found = scipy.optimize.minimize_scalar(cross_entropy, bounds=(-20, 5), method="bounded")
    return float(np.exp(found.x / 2))


def _solve_sgd(x, triplets, targets, lam, config, start):
    """The papers' solver: minibatch SGD with momentum; a batch transforms its own rows only.

    Starts at W = 1e-3 I, b = 1e-3 · 1 (official code) and stops when the epoch's mean loss has not
    fallen by `min_delta` for `patience` epochs.
    """
    n, p = len(triplets), x.shape[1]
    data, index = jnp.asarray(x, jnp.float32), jnp.asarray(triplets)
    soft = jnp.asarray(np.eye(3)[np.zeros(n, int)] if targets is None else targets, jnp.float32)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.sgd.grad_clip),
        optax.sgd(config.sgd.lr, momentum=config.sgd.momentum),
    )

    def loss(params, rows):
        W, b = params
        s = kernels.pair_similarities(data[index[rows]] @ W + b)
        fit_term = kernels.soft_cross_entropy(s, soft[rows]).mean()
        return fit_term + lam * _distance_from_scaled_identity(W)

    def step(carry, rows):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, rows)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def epoch(carry, key):
        batch = min(config.sgd.batch_size, n)
        rows = jax.random.permutation(key, n)[: n // batch * batch].reshape(-1, batch)
        carry, values = jax.lax.scan(step, carry, rows)
        return carry, values.mean()

    params = (jnp.eye(p), jnp.ones(p)) if start is None else (start.W, start.b)
    scale = 1e-3 if start is None else 1.0
    params = jax.tree.map(lambda part: scale * jnp.asarray(part, jnp.float32), params)
    carry, best, since_best = (params, optimizer.init(params)), np.inf, 0
    bar = progress(range(config.sgd.max_epochs), desc=f"UD by SGD, lambda {lam:g}")
    for number in bar:
        carry, value = epoch(carry, jax.random.fold_in(jax.random.key(config.seed), number))
        value = float(value)
        if not np.isfinite(value):
            raise FloatingPointError(f"SGD diverged at lambda {lam:g}; lower config.ud.sgd.lr.")
        since_best = 0 if value < best - config.sgd.min_delta else since_best + 1
        best = min(best, value)
        bar.set_postfix_str(f"loss {value:.4f}", refresh=False)
        if number + 1 >= config.sgd.min_epochs and since_best >= config.sgd.patience:
            break
    bar.close()
    W, b = jax.device_get(carry[0])
    return W.astype(np.float64), b.astype(np.float64)
