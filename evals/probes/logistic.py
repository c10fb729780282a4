"""Multinomial logistic regression with scikit-learn's objective, for many small training sets.

The linear probe of paper 000: `LogisticRegression()` as it comes, features not standardised. With
class scores s = x W + b and a free intercept b it minimises

    c · Σ −log softmax(s)[label] + ½ ‖W‖²,

of two classes with a single vector w = W₁ − W₀ and ½ ‖w‖² in place of ½ ‖W‖², which is twice the
above with half the c.

The solver is L-BFGS in coordinates where the curvature is about 1. With p the probability of a
class, the Hessian in its weights and bias is c Σ p(1 − p) (x, 1)(x, 1)ᵀ and the identity for the
weights. Large are the terms of the rows near the class, whose mean m is nearly the class's. With u
the mean of p(1 − p) and n the number of rows times c, it is about

    u [M + n m mᵀ, n m; n mᵀ, n] + [I, 0; 0, 0],    M = c Σ x xᵀ − n · mean of m mᵀ over classes.

One Cholesky factor does for all classes: u M + I = L Lᵀ, weights L⁻ᵀ A and rows L⁻¹ x make the
weights' part the identity. Along a direction the scores are linear, so that the line search needs
no product of matrices.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from alignet.errors import InputError
from evals.probes import lbfgs
from evals.probes.lbfgs import dot
from evals.probes.linear import Linear, classes_of

# Distance from the minimum, relative: ours. From 1e-7 to 1e-5 accuracies of CIFAR-100 from CLIP's
# features move by less than 0.03 points; above 1e-6 the estimate of that distance is too low where
# one column is huge.
TOLERANCE = 1e-6
MEMORY = 6  # ours: pairs that L-BFGS remembers
# The coordinates are made anew when u is another by this factor: ours.
FACTOR = 3.0
STAGES, ITERATIONS = 6, 100  # ours: at most so many coordinates, and steps in each
BLOCK = 512  # ours: rows that are worked on at once


class Fits(NamedTuple):
    """Solutions for r training sets.

    Attributes:
      weights: [r, d, classes], for features as they were given.
      bias: [r, classes].
      objective: [r], the minimum found.
      gap: [r], about how far it is above the true minimum: half the squared norm of the gradient in
        the coordinates where the curvature is about 1.
      converged: [r], whether that is at most `TOLERANCE` of the objective.
    """

    weights: Float[np.ndarray, "r d k"]
    bias: Float[np.ndarray, "r k"]
    objective: Float[np.ndarray, " r"]
    gap: Float[np.ndarray, " r"]
    converged: Bool[np.ndarray, " r"]


def classify(
    x: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    trains: Sequence[Int[np.ndarray, "r _"]],
    *,
    n_classes: int,
    c: float = 1.0,
) -> tuple[list[Int[np.ndarray, "r m"]], list[Bool[np.ndarray, " r"]]]:
    """Fits a classifier to each training set and predicts the class of every test row.

    Args:
      x: features, one row an example.
      labels: classes, 0 to n_classes − 1.
      test: features of the test rows.
      trains: for each number of shots, places in x of r training sets.
      n_classes: k.
      c: inverse strength of the penalty; 1 in scikit-learn (paper 000).

    Returns:
      For each number of shots the predicted classes, −1 where several share the highest score; and
      whether each fit converged.

    Raises:
      InputError: see `fit`.
    """
    predictions, converged = [], []
    for fits in fit(x, labels, trains, n_classes=n_classes, c=c):
        linears = map(Linear, fits.weights, fits.bias)
        predictions.append(np.stack([classes_of(linear, test) for linear in linears]))
        converged.append(fits.converged)
    return predictions, converged


def fit(
    x: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    trains: Sequence[Int[np.ndarray, "r _"]],
    *,
    n_classes: int,
    c: float = 1.0,
) -> list[Fits]:
    """Fits a classifier to each training set, all in one compiled call.

    Args:
      x: features, one row an example.
      labels: classes, 0 to n_classes − 1.
      trains: for each number of shots, places in x of r training sets.
      n_classes: k, at least 2.
      c: inverse strength of the penalty.

    Returns:
      The solutions for each number of shots, in float64.

    Raises:
      InputError: a label is out of range, a training set lacks a class, for which there is no
        minimum then, or a feature is not finite.
    """
    if labels.min() < 0 or labels.max() >= n_classes:
        raise InputError(
            f"labels from {labels.min()} to {labels.max()}; expected 0 to {n_classes - 1}."
        )
    sets = [places for train in trains for places in train]
    for places in sets:
        counts = np.bincount(labels[places], minlength=n_classes)
        if not counts.all():
            raise InputError(
                f"class {counts.argmin()} has no example in a training set of {len(places)}; "
                "expected at least one of every class."
            )
    used = np.unique(np.concatenate(sets))
    # Centred in float64: a large common offset would cost float32 its digits.
    rows = x[used].astype(np.float64)
    if not np.isfinite(rows).all():
        raise InputError("a feature is not finite; expected numbers.")
    offset = rows.mean(axis=0)
    rows -= offset
    basis = None
    if rows.shape[0] < rows.shape[1]:
        # The solutions lie in the span of the rows.
        basis, triangle = np.linalg.qr(rows.T)
        rows = triangle.T
    sizes = np.array([len(places) for places in sets])
    padded = np.zeros((len(sets), -(-sizes.max() // BLOCK) * BLOCK), np.int32)
    for row, places in zip(padded, sets, strict=True):
        row[: len(places)] = np.searchsorted(used, places)
    half = 0.5 if n_classes == 2 else 1.0
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        weights, bias, objective, gap = jax.device_get(
            _solve(
                rows.astype(np.float32),
                labels[used].astype(np.int32),
                padded.reshape(len(sets), -1, BLOCK),
                sizes,
                half * c,
                n_classes,
            )
        )
    if basis is not None:
        weights = basis @ weights
    converged = gap <= TOLERANCE * objective
    fits = Fits(weights, bias - offset @ weights, objective / half, gap / half, converged)
    ends = np.cumsum([len(train) for train in trains])[:-1]
    return [Fits(*parts) for parts in zip(*(np.split(part, ends) for part in fits), strict=True)]


@functools.partial(jax.jit, static_argnames="n_classes")
def _solve(
    x: Float[Array, "n d"],
    labels: Int[Array, " n"],
    places: Int[Array, "r blocks block"],
    sizes: Int[Array, " r"],
    c: Float[Array, ""],
    n_classes: int,
) -> tuple[Float[Array, "r d k"], Float[Array, "r k"], Float[Array, " r"], Float[Array, " r"]]:
    """Weights, bias, objective and gap, one training set after the other.

    The sets are padded to one length, so that there is one program to compile, but only the blocks
    that a set reaches into are worked on.
    """

    def solve(problem):
        places, size = problem
        valid = jnp.arange(places.size).reshape(places.shape) < size
        shares = jnp.where(valid, c, 0)[..., None].astype(jnp.float32)
        return _solve_one(x, places, labels[places], shares, -(-size // BLOCK), n_classes)

    return lax.map(solve, (places, sizes))


def _solve_one(x, places, labels, shares, filled, n_classes):
    """The same of one training set, of which `_Set` describes the parts."""
    d, k = x.shape[1], n_classes
    mean = _total(filled, lambda i: (shares[i] * x[places[i]]).sum(axis=0), jnp.zeros(d))
    weight = shares.sum(dtype=jnp.float64)
    mean = mean / weight

    def rows(i):
        return x[places[i]] - mean

    def moments(i):
        onehot = shares[i] * jax.nn.one_hot(labels[i], k)
        return rows(i).T @ (shares[i] * rows(i)), onehot.sum(axis=0), onehot.T @ rows(i)

    start = (jnp.zeros((d, d)), jnp.zeros(k), jnp.zeros((k, d)))
    gram, counts, means = _total(filled, moments, start)
    means = lbfgs.SHARE * means / counts[:, None]
    gram = gram - (counts * means.T) @ means

    def stage(carry):
        number, v, s, u, *_ = carry
        factor = jnp.linalg.cholesky(u * gram + jnp.eye(d))
        inverse = jax.scipy.linalg.solve_triangular(factor, jnp.eye(d), lower=True)
        z = jnp.zeros((*places.shape, d), jnp.float32)
        z = _fill(filled, lambda i: rows(i) @ inverse.T, z)
        shift = (inverse @ means.T).astype(jnp.float32)
        train = _Set(z, labels, shares, filled, u, weight, shift, inverse.astype(jnp.float32))
        a = jnp.append(factor.T @ v[:-1], v[-1:], axis=0).astype(jnp.float32)
        a, s, u, objective, gap = _minimise(train, a, s)
        v = jnp.append(inverse.T @ a[:-1], a[-1:], axis=0)
        return number + 1, v, s, jnp.maximum(u, 1e-12), objective, gap

    def unfinished(carry):
        number, *_, objective, gap = carry
        return (number < STAGES) & (gap > TOLERANCE * objective)

    # Of equal probabilities u is (1 − 1/k) / k; at the minimum a quarter of that is closer.
    u = jnp.full((), (1 - 1 / k) / k / 4)
    v, s = jnp.zeros((d + 1, k)), jnp.zeros((*places.shape, k), jnp.float32)
    start = (0, v, s, u, jnp.zeros(()), jnp.full((), jnp.inf))
    _, v, _, _, objective, gap = lax.while_loop(unfinished, stage, start)
    return v[:-1], v[-1] - mean @ v[:-1], objective, gap


class _Set(NamedTuple):
    """A training set, block by block, in coordinates that were made for it.

    Attributes:
      z: rows, L⁻¹ x.
      labels: classes.
      shares: c, or 0 for padding.
      filled: number of blocks that are not padding alone.
      u: the curvature that the coordinates were made for.
      weight: sum of the shares.
      means: m of each class, L⁻¹ m.
      inverse: L⁻¹.
    """

    z: Float[Array, "blocks block d"]
    labels: Int[Array, "blocks block"]
    shares: Float[Array, "blocks block 1"]
    filled: Int[Array, ""]
    u: Float[Array, ""]
    weight: Float[Array, ""]
    means: Float[Array, "d k"]
    inverse: Float[Array, "d d"]


def _minimise(train: _Set, a: Float[Array, "e k"], s: Float[Array, "blocks block k"]):
    """L-BFGS from coefficients a, the bias below, and their scores s, until u is another.

    Returns:
      a, s, u, the objective and about how far it is above its minimum, at the end.
    """

    def newton(g):
        return lbfgs.inverse_hessian(g, train.means, 1.0, (train.u * train.weight).astype(g.dtype))

    def step(carry):
        number, _, a, w, s, g, _, _, memory = carry
        direction = lbfgs.direction(memory, g, newton)
        along = train.inverse.T @ direction[:-1]
        t = _fill(train.filled, lambda i: train.z[i] @ direction[:-1] + direction[-1], s)
        length = _line_search(train, w, along, s, t).astype(jnp.float32)
        a, w, s = a + length * direction, w + length * along, s + length * t
        new, value, u = _gradient(train, w, s)
        memory = lbfgs.remember(memory, length * direction, new - g)
        return number + 1, length > 0, a, w, s, new, value, u, memory

    def gap(g):
        return dot(g, newton(g)) / 2

    def unfinished(carry):
        number, moved, *_, g, value, u, _ = carry
        same = (u < FACTOR * train.u) & (train.u < FACTOR * u)
        # The first steps are long, and u is then still far from what it will be.
        going = moved & (number < ITERATIONS) & ((number < 4) | same)
        return going & (gap(g) > TOLERANCE * value)

    w = train.inverse.T @ a[:-1]
    start = (0, jnp.array(True), a, w, s, *_gradient(train, w, s), lbfgs.empty(MEMORY, a))
    _, _, a, _, s, g, value, u, _ = lax.while_loop(unfinished, step, start)
    return a, s, u, value, gap(g)


def _gradient(train: _Set, w, s):
    """The gradient, the objective and u at weights w with scores s."""
    k = w.shape[1]

    def of_block(i):
        p, shares = jax.nn.softmax(s[i]), train.shares[i]
        onehot = jax.nn.one_hot(train.labels[i], k, dtype=p.dtype)
        # The label's is minus the others', of which p − 1 has no digits left when p is nearly 1.
        others = (1 - onehot) * p
        residuals = shares * (others - onehot * others.sum(axis=1, keepdims=True))
        loss = dot(shares, _losses(s[i], train.labels[i]))
        return train.z[i].T @ residuals, residuals.sum(axis=0), loss, dot(shares * p, 1 - p)

    zero = jnp.zeros(())
    start = (train.inverse @ w, jnp.zeros(k, jnp.float32), zero, zero)
    slope, of_bias, loss, u = _total(train.filled, of_block, start)
    gradient = jnp.append(slope, of_bias[None], axis=0)
    return gradient, loss + dot(w, w) / 2, u / (k * train.weight)


def _line_search(train: _Set, w, along, s, t):
    """The length of the step along a direction, which changes the scores by t per length."""

    def derivatives(length):
        def of_block(i):
            p = jax.nn.softmax(s[i] + length.astype(jnp.float32) * t[i])
            # Against the label's, whose p may be too near 1 for a difference.
            change = t[i] - jnp.take_along_axis(t[i], train.labels[i][:, None], axis=1)
            mean = (p * change).sum(axis=1, keepdims=True)
            return dot(train.shares[i], mean), dot(train.shares[i] * p, (change - mean) ** 2)

        bend = dot(along, along)
        return _total(train.filled, of_block, (dot(w, along) + length * bend, bend))

    return lbfgs.line_search(derivatives)


def _losses(s: Float[Array, "block k"], labels: Int[Array, " block"]) -> Float[Array, "block 1"]:
    """Minus the log probability of each row's label, exact when it is nearly 0 too."""
    onehot = jax.nn.one_hot(labels, s.shape[1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(onehot, -jnp.inf, s), axis=1, keepdims=True)
    return jax.nn.softplus(others - jnp.take_along_axis(s, labels[:, None], axis=1))


def _total(filled: Int[Array, ""], f: Callable[[Array], Any], start: Any) -> Any:
    """Adds f(i) of the filled blocks to `start`."""
    return lax.fori_loop(0, filled, lambda i, sums: jax.tree.map(jnp.add, sums, f(i)), start)


def _fill(filled: Int[Array, ""], f: Callable[[Array], Array], like: Array) -> Array:
    """f(i) of the filled blocks, zeros after them."""

    def put(i, blocks):
        return blocks.at[i].set(f(i).astype(blocks.dtype))

    return lax.fori_loop(0, filled, put, jnp.zeros_like(like))
