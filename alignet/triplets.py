"""Kernels over triplets of objects, for any leading axes.

A triplet is (i, j, k); its three pairs are ordered (ij, ik, jk) and numbered 0, 1, 2, so that the
odd one out of pair c is the object at position 2 − c. Stored human triplets have the odd one out
last: the human choice is pair 0. Similarities are dot products, a temperature divides them, and
probabilities live in log space. A tie for the most similar pair is a wrong answer (−1), never a
lucky one: constant embeddings score exactly 0.

Every kernel leaves its input where it is: JAX arrays are compiled for the device, in float32;
NumPy arrays are computed by NumPy in their own precision, because float32 makes ties out of what
float64 tells apart.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Bool, Float, Int, ScalarLike

# Without leading axes NumPy returns scalars, which are not arrays.
Numeric = jax.Array | np.ndarray | np.generic


def _kernel(function: Callable) -> Callable:
    on_device = jax.jit(function)

    @functools.wraps(function)
    def dispatch(first, *args, **kwargs):
        run = function if isinstance(first, np.ndarray) else on_device
        return run(first, *args, **kwargs)

    return dispatch


def _namespace(x):
    return np if isinstance(x, np.ndarray) else jnp


@_kernel
def pair_similarities(z: Float[Numeric, "*b 3 d"]) -> Float[Numeric, "*b 3"]:
    """Computes the dot products of the three pairs of each triplet of embeddings (002, A.1.3).

    Products are summed elementwise, not by a matrix unit: float32 stays float32 on accelerators
    whose matrix units round to bfloat16.

    Args:
        z: embeddings of the objects i, j, k.

    Returns:
        Similarities in the order (ij, ik, jk).
    """
    left, right = [0, 0, 1], [1, 2, 2]
    xp = _namespace(z)
    return (z[..., xp.array(left), :] * z[..., xp.array(right), :]).sum(-1)


@_kernel
def gather_similarities(
    similarities: Float[Numeric, "n n"], triplets: Int[Numeric, "*b 3"]
) -> Float[Numeric, "*b 3"]:
    """Looks up the three similarities of each index triplet.

    Args:
        similarities: similarity matrix over n objects.
        triplets: object indices (i, j, k), all within 0..n−1; the device does not check them.

    Returns:
        Similarities in the order (ij, ik, jk).
    """
    i, j, k = triplets[..., 0], triplets[..., 1], triplets[..., 2]
    pairs = [similarities[i, j], similarities[i, k], similarities[j, k]]
    return _namespace(similarities).stack(pairs, axis=-1)


@_kernel
def log_probabilities(
    s: Float[Numeric, "*b 3"], *, tau: ScalarLike = 1.0
) -> Float[Numeric, "*b 3"]:
    """Computes the log-softmax of the similarities divided by a temperature (002, eq. 4).

    Args:
        s: similarities in the order (ij, ik, jk).
        tau: temperature; it divides.

    Returns:
        Natural log of the probability that each pair is the most similar one.
    """
    log_softmax = scipy.special.log_softmax if isinstance(s, np.ndarray) else jax.nn.log_softmax
    return log_softmax(s / tau, axis=-1)


@_kernel
def entropy(log_p: Float[Numeric, "*b 3"]) -> Float[Numeric, "*b"]:
    """Computes the entropy of log-probabilities, in nats; a probability of 0 contributes 0.

    Args:
        log_p: natural log-probabilities, −inf allowed.

    Returns:
        Entropy between 0 and log 3.
    """
    xp = _namespace(log_p)
    # 0 · (−inf) is NaN, forwards and in the gradient: replace the infinite factor beforehand.
    return -(xp.exp(log_p) * xp.where(xp.isneginf(log_p), 0.0, log_p)).sum(-1)


@_kernel
def choices(s: Float[Numeric, "*b 3"]) -> Int[Numeric, "*b"]:
    """Finds the most similar pair of each triplet.

    Args:
        s: similarities in the order (ij, ik, jk).

    Returns:
        Pair 0, 1 or 2; −1 where the maximum is tied or not a number.
    """
    xp = _namespace(s)
    untied = (s == s.max(axis=-1, keepdims=True)).sum(-1) == 1
    return xp.where(untied, s.argmax(-1), -1)


@_kernel
def odd_one_out(s: Float[Numeric, "*b 3"]) -> Int[Numeric, "*b"]:
    """Finds the odd one out, the object that is not in the most similar pair.

    Args:
        s: similarities in the order (ij, ik, jk).

    Returns:
        Position 0, 1 or 2 within the triplet; −1 on a tie.
    """
    pair = choices(s)
    return _namespace(s).where(pair < 0, -1, 2 - pair)


@_kernel
def correct(
    s: Float[Numeric, "*b 3"], choice: int | Int[Numeric, "*#b"] = 0
) -> Bool[Numeric, "*b"]:
    """Tells which triplets are answered as chosen; ties are wrong.

    Args:
        s: similarities in the order (ij, ik, jk).
        choice: the right pair of each triplet, or of all of them.

    Returns:
        Whether the most similar pair is the chosen one.
    """
    pair = choices(s)
    return (pair == choice) & (pair >= 0)


@_kernel
def accuracy(
    s: Float[Numeric, "*b 3"], choice: int | Int[Numeric, "*#b"] = 0
) -> Float[Numeric, ""]:
    """Computes the share of triplets answered as chosen; ties are wrong.

    Args:
        s: similarities in the order (ij, ik, jk).
        choice: the right pair of each triplet, or of all of them.

    Returns:
        Odd-one-out accuracy between 0 and 1.
    """
    return correct(s, choice).mean()


@_kernel
def cross_entropy(
    s: Float[Numeric, "*b 3"],
    choice: int | Int[Numeric, "*#b"] = 0,
    *,
    tau: ScalarLike = 1.0,
) -> Float[Numeric, "*b"]:
    """Computes the negative log-probability of the chosen pair, in nats.

    Args:
        s: similarities in the order (ij, ik, jk).
        choice: the chosen pair of each triplet, 0..2, or of all of them.
        tau: temperature; it divides.

    Returns:
        Cross-entropy of each triplet.
    """
    xp = _namespace(s)
    index = xp.broadcast_to(xp.asarray(choice), s.shape[:-1])[..., None]
    return -xp.take_along_axis(log_probabilities(s, tau=tau), index, axis=-1)[..., 0]


@_kernel
def soft_cross_entropy(
    s: Float[Numeric, "*b 3"], p: Float[Numeric, "*b 3"], *, tau: ScalarLike = 1.0
) -> Float[Numeric, "*b"]:
    """Computes the cross-entropy of the model's probabilities under soft targets, in nats.

    Args:
        s: similarities in the order (ij, ik, jk).
        p: target probabilities of the three pairs, each row summing to 1.
        tau: temperature; it divides.

    Returns:
        −Σ p log q of each triplet.
    """
    return -(p * log_probabilities(s, tau=tau)).sum(-1)


def first_identical(x: Float[np.ndarray, "n d"]) -> Int[np.ndarray, "n"]:
    """Maps every row to the first row identical to it.

    Args:
        x: rows to compare, value by value; −0 equals 0.

    Returns:
        For each row the smallest index of a row with the same values.
    """
    first: dict[bytes, int] = {}
    return np.array([first.setdefault((row + 0.0).tobytes(), i) for i, row in enumerate(x)], int)


def similarity_matrix(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """Computes all dot products in float64, exactly equal for identical rows.

    Blocked matrix products round the same dot product differently at a block's edge, so that
    constant embeddings would look untied; only distinct rows are multiplied here.

    Args:
        x: embeddings, one object a row.

    Returns:
        Symmetric float64 Gram matrix.
    """
    distinct, index = np.unique(first_identical(x), return_inverse=True)
    rows = np.asarray(x[distinct], np.float64)
    gram = rows @ rows.T
    gram = (gram + gram.T) / 2
    return gram if len(distinct) == len(x) else gram[np.ix_(index, index)]
