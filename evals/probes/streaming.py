"""A linear probe on more features than fit in memory.

Softmax regression on features standardised to x̃ with mean 0 and variance 1:

    mean over rows of −log softmax(x̃ W + b)[label] + l2 / 2 · ‖W‖²

in full batch, so that the result depends on no order, learning rate or seed. One pass over the rows
finds means, variances and the moments X̃ᵀX̃ and X̃ᵀY, from which an approximate inverse of the Hessian
follows (`lbfgs.inverse_hessian`) and with it the first direction, that of a ridge solution. L-BFGS
then makes one pass a step. How long a step is decided on a sample of rows that stays in memory, its
slope at the start corrected to that of all rows.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from alignet.errors import InputError
from alignet.runtime import files
from alignet.runtime.mesh import make_mesh, replicate, shard_batch
from alignet.runtime.progress import progress
from evals.probes import lbfgs
from evals.probes.lbfgs import dot
from evals.probes.linear import BLOCK, Linear, Rows

SAMPLE = 8192  # rows that decide on the length of a step: ours
MEMORY = 8  # pairs that L-BFGS remembers: ours
TOLERANCE = 1e-5  # distance from the minimum, relative: ours
MAX_PASSES = 60  # ours


class Fit(NamedTuple):
    """A linear probe and how it was found.

    Attributes:
      linear: for features as they were given.
      objective: the minimum found, nats a row.
      gap: about how far that is above the true minimum.
      passes: over the rows, the one for the moments included.
      converged: whether the gap is at most `TOLERANCE` of the objective.
    """

    linear: Linear
    objective: float
    gap: float
    passes: int
    converged: bool


def fit(
    rows: Rows,
    labels: Int[np.ndarray, " n"],
    *,
    n_classes: int,
    l2: float,
    scratch: Path | None = None,
    mesh: Mesh | None = None,
) -> Fit:
    """Fits a linear probe, block by block.

    Args:
      rows: features [n, d]; `BLOCK` of them are in memory at a time.
      labels: classes, 0 to n_classes − 1, each with at least one row.
      n_classes: k.
      l2: weight of the penalty, positive.
      scratch: folder for the state after every pass, of this fit alone; a fit that was interrupted
        goes on from there to the same bits.
      mesh: devices that share the rows of a block; all of them if not given.

    Raises:
      InputError: there are not as many labels as rows, a label is out of range, a class has no row
        or a feature is not finite.
    """
    n = rows.shape[0]
    if len(labels) != n:
        raise InputError(f"{len(labels)} labels for {n} rows; expected one a row.")
    counts = np.bincount(labels.clip(0), minlength=n_classes)
    if labels.min() < 0 or len(counts) > n_classes or not counts.all():
        raise InputError(
            f"labels of {(counts > 0).sum()} classes from {labels.min()} to {labels.max()}; "
            f"expected all classes from 0 to {n_classes - 1} and no other."
        )
    mesh = make_mesh() if mesh is None else mesh
    moments = _kept(scratch, "moments", _Moments, lambda: _moments(rows, labels, n_classes))
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        state = _kept(scratch, "state", _State, lambda: _start(moments, counts / n, l2))
        sample = (moments.sample - moments.mean) / moments.std @ moments.axes.astype(np.float32)
        with progress(total=MAX_PASSES, desc="linear probe", unit=" pass") as bar:
            bar.update(int(state.passes))
            while state.passes < MAX_PASSES and state.gap > TOLERANCE * state.value:
                state = _step(state, rows, labels, moments, sample, l2, mesh)
                if scratch is not None:
                    files.write_npz(scratch / "state.npz", **state._asdict())
                bar.set_postfix_str(f"loss {state.value:.5f}, gap {state.gap:.1e}", refresh=False)
                bar.update(1)
    weights = moments.axes @ state.a[:-1] / moments.std[:, None]
    found = Linear(weights, state.a[-1] - moments.mean @ weights)
    converged = bool(state.gap <= TOLERANCE * state.value)
    return Fit(found, float(state.value), float(state.gap), int(state.passes), converged)


class _Moments(NamedTuple):
    """What one pass finds.

    Attributes:
      mean, std: [d], of the features; exact in float32. std is 1 of a constant feature.
      axes, variances: [d, d] and [d], eigenvectors and eigenvalues of the second moments of the
        standardised features about `means`.
      slopes: [d, k], X̃ᵀY / n along the axes.
      means: [d, k], along the axes, see `lbfgs.inverse_hessian`.
      sample: [m, d], some of the rows.
    """

    mean: np.ndarray
    std: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    slopes: np.ndarray
    means: np.ndarray
    sample: np.ndarray


class _State(NamedTuple):
    """Where a fit is after a pass.

    Attributes:
      a: [d + 1, k], weights along the axes, and the bias below.
      gradient: likewise.
      value: the objective.
      gap: about how far that is above the minimum.
      u: [k], mean over rows of p(1 − p) of each class.
      passes: so many.
      steps, changes, weights: see `lbfgs.Memory`.
    """

    a: np.ndarray
    gradient: np.ndarray
    value: np.ndarray
    gap: np.ndarray
    u: np.ndarray
    passes: np.ndarray
    steps: np.ndarray
    changes: np.ndarray
    weights: np.ndarray


def _kept(scratch: Path | None, name: str, kind: type, make: Callable[[], Any]) -> Any:
    """What an interrupted fit left, or else what `make` makes."""
    if scratch is None:
        return make()
    path = scratch / f"{name}.npz"
    if not path.is_file():
        made = make()
        files.write_npz(path, **made._asdict())
    return kind(*files.read_npz(path, kind._fields, expected="expected what an earlier fit left"))


def _blocks(rows: Rows, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Where a block starts, and the block."""
    n = rows.shape[0]
    return ((start, rows[start : min(start + size, n)]) for start in range(0, n, size))


def _moments(rows: Rows, labels: np.ndarray, n_classes: int) -> _Moments:
    n, d = rows.shape
    total, squares, of_class = np.zeros(d), np.zeros((d, d)), np.zeros((n_classes, d))
    shift, sample, stride = None, [], -(-n // SAMPLE)
    with progress(total=n, desc="linear probe, moments", unit=" row") as bar:
        for start, block in _blocks(rows, BLOCK):
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                bad = start + finite.argmin()
                raise InputError(f"row {bad} of the features is not finite; expected numbers.")
            # A copy: a view would keep the block in memory.
            sample.append(block[-start % stride :: stride].astype(np.float32))
            # Far from 0 the squares would lose what differs.
            shift = block.mean(axis=0, dtype=np.float64) if shift is None else shift
            block = block - shift
            places = (labels[start : start + len(block)], np.arange(len(block)))
            onehot = scipy.sparse.csr_array((np.ones(len(block)), places), (n_classes, len(block)))
            total += block.sum(axis=0)
            squares += block.T @ block
            of_class += onehot @ block
            bar.update(len(block))
    mean = total / n
    covariance = squares / n - np.outer(mean, mean)
    std, centre = np.sqrt(covariance.diagonal().clip(0)), shift + mean
    # A constant's deviation is rounding.
    std = np.where(std > 1e-7 * np.abs(centre), std, 1).astype(np.float32)
    prior = np.bincount(labels, minlength=n_classes) / n
    slopes = (of_class / n - np.outer(prior, mean)).T / std[:, None]
    means = lbfgs.SHARE * slopes / prior
    around = covariance / np.outer(std, std) - means * prior @ means.T
    variances, axes = np.linalg.eigh(around)
    return _Moments(
        mean=centre.astype(np.float32),
        std=std,
        axes=axes,
        variances=variances.clip(0),
        slopes=axes.T @ slopes,
        means=axes.T @ means,
        sample=np.concatenate(sample),
    )


def _start(moments: _Moments, prior: np.ndarray, l2: float) -> _State:
    """Weights of zero: the probabilities are how frequent the classes are."""
    d, k = moments.slopes.shape
    a = np.append(np.zeros((d, k)), np.log(prior)[None], axis=0)
    gradient = np.append(-moments.slopes, np.zeros((1, k)), axis=0)
    # At the minimum probabilities are surer: about a quarter.
    u = prior * (1 - prior) / 4
    value = -(prior * np.log(prior)).sum()
    gap = _gap(gradient, u, moments, l2)
    memory = map(np.asarray, lbfgs.empty(MEMORY, jnp.asarray(a)))
    return _State(a, gradient, value, gap, u, np.array(1), *memory)


def _step(
    state: _State,
    rows: Rows,
    labels: np.ndarray,
    moments: _Moments,
    sample: np.ndarray,
    l2: float,
    mesh: Mesh,
) -> _State:
    """One step of L-BFGS, which is one pass unless the sample misled."""
    direction, length = map(np.asarray, _plan(state, moments, sample, l2))
    passes = state.passes
    while True:
        step = length * direction
        a = state.a + step
        value, gradient, u = _pass(rows, labels, moments, a, l2, mesh)
        passes = passes + 1
        # Less than rounding errors is no rise.
        if value <= state.value * (1 + 1e-6):
            break
        if passes >= MAX_PASSES:
            return state._replace(passes=passes)
        # Where the slope would be 0 if it were a straight line between its two known ends.
        ends = (state.gradient * direction).sum(), (gradient * direction).sum()
        length = length * np.clip(ends[0] / (ends[0] - ends[1]), 0.1, 0.9)
    memory = lbfgs.Memory(state.steps, state.changes, state.weights)
    memory = jax.jit(lbfgs.remember)(memory, step, gradient - state.gradient)
    gap = _gap(gradient, u, moments, l2)
    return _State(*map(np.asarray, (a, gradient, value, gap, u, passes, *memory)))


def _pass(
    rows: Rows,
    labels: np.ndarray,
    moments: _Moments,
    a: np.ndarray,
    l2: float,
    mesh: Mesh,
) -> tuple[float, np.ndarray, np.ndarray]:
    """The objective, its gradient and u at a; every device takes its share of each block."""
    n, devices = rows.shape[0], mesh.size
    size = -(-min(BLOCK, n) // devices) * devices
    weights = moments.axes @ a[:-1]
    replicated = replicate(
        mesh,
        [part.astype(np.float32) for part in (weights, a[-1], moments.mean, moments.std)],
    )
    sums, running = None, None
    for start, block in _blocks(rows, size):
        padding = size - len(block)
        x = np.pad(np.asarray(block, np.float32), ((0, padding), (0, 0)))
        y = np.pad(labels[start : start + len(block)].astype(np.int32), (0, padding))
        valid = np.arange(size) < len(block)
        # The next block is read while the devices are at this one.
        ready, running = running, _of_block(*shard_batch(mesh, (x, y, valid)), *replicated)
        sums = _add(sums, ready)
    slope, of_bias, loss, u = (part / n for part in _add(sums, running))
    gradient = np.append(moments.axes.T @ slope + l2 * a[:-1], of_bias[None], axis=0)
    # A class that is beyond doubt everywhere has no curvature left.
    return loss + l2 / 2 * (a[:-1] ** 2).sum(), gradient, u.clip(1e-12)


def _add(sums: Any, parts: Any) -> Any:
    """Adds in float64; there may be nothing to add, or to add to."""
    if parts is None:
        return sums
    parts = [np.asarray(part, np.float64) for part in parts]
    return parts if sums is None else [a + b for a, b in zip(sums, parts, strict=True)]


@jax.jit
def _of_block(
    x: Float[Array, "b d"],
    labels: Int[Array, " b"],
    valid: Bool[Array, " b"],
    weights: Float[Array, "d k"],
    bias: Float[Array, " k"],
    mean: Float[Array, " d"],
    std: Float[Array, " d"],
) -> tuple[Float[Array, "d k"], Float[Array, " k"], Float[Array, ""], Float[Array, " k"]]:
    """Sums over a block: of the slopes in weights and bias, of the loss, and of p(1 − p)."""
    x = (x - mean) / std
    log_p = jax.nn.log_softmax(x @ weights + bias)
    p, valid = jnp.exp(log_p), valid[:, None]
    onehot = jax.nn.one_hot(labels, len(bias), dtype=x.dtype)
    residuals = jnp.where(valid, p - onehot, 0)
    loss = -jnp.where(valid, onehot * log_p, 0).sum()
    return (
        x.T @ residuals,
        residuals.sum(axis=0),
        loss,
        jnp.where(valid, p * (1 - p), 0).sum(axis=0),
    )


def _newton(g, u, moments, l2):
    """Multiplies by about the inverse Hessian."""
    curvature = moments.variances[:, None] * u + l2
    return lbfgs.inverse_hessian(g, moments.means, curvature, u)


@jax.jit
def _gap(gradient, u, moments, l2):
    """About how far the objective is above its minimum."""
    return dot(gradient, _newton(gradient, u, moments, l2)) / 2


@jax.jit
def _plan(state: _State, moments: _Moments, sample, l2):
    """The direction of a step and its length."""
    memory = lbfgs.Memory(state.steps, state.changes, state.weights)
    direction = lbfgs.direction(memory, state.gradient, lambda g: _newton(g, state.u, moments, l2))
    a, along = state.a.astype(jnp.float32), direction.astype(jnp.float32)
    s, t = sample @ a[:-1] + a[-1], sample @ along[:-1] + along[-1]

    def of_sample(length):
        p = jax.nn.softmax(s + length.astype(jnp.float32) * t)
        mean = (p * t).sum(axis=1, keepdims=True)
        return dot(mean, jnp.ones_like(mean)) / len(s), dot(p, (t - mean) ** 2) / len(s)

    slope, bend = dot(state.gradient, direction), l2 * dot(direction[:-1], direction[:-1])
    at_zero, _ = of_sample(jnp.zeros(()))

    def derivatives(length):
        first, second = of_sample(length)
        return slope + first - at_zero + length * bend, second + bend

    return direction, lbfgs.line_search(derivatives)
