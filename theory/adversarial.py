"""Adversarial examples and misalignment (000 and 001, Definition A.3, Theorem A.5, Remark A.6).

An adversarial example is the object e, of k candidates, on which two agents disagree most: the
argmax (equation 1 prints max) of ‖S_A(x; e) − S_B(x; e)‖₁ over the N = n(n−1)/2 questions "is e
nearer to j than to k?" about n shared objects. If they disagree on each with probability ε, and
independently, the number is Bin(N, ε), of distribution function F, and the largest of k is

    E[max] = Σ_{x < N} (1 − F(x)^k)

on average. That is 000's form. 001 prints Σ (1 − F(x))^k, which is the smallest of k. Both call k
n, as they do the number of objects, and sum to N, of which the term is 0; 000 draws V, too, with
ε_B1 instead of ε_B2.
"""

import functools
import math

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int, Real
from scipy.spatial.distance import cdist

from alignet.errors import InputError
from theory import checks

TAIL = 60  # e^-60 is left out at each end: less than rounding, however many terms and candidates
CLASSES = 6  # of which the 2^15 ways to answer can be gone through


def expected_maximum(n_triplets: int, p: object, k: int) -> Float[np.ndarray, "*b"]:
    """The mean of the largest of k independent Bin(N, p) counts (000, proof of Theorem A.5).

    Exact but for rounding, in O(√N): the terms far below N p are 1, and far above it 0.

    Args:
      n_triplets: N, at least 1; 5 · 10¹¹, those about a million objects, take seconds.
      p: one or more probabilities.
      k: number of counts, at least 1.

    Returns:
      Triplets, N p to N.

    Raises:
      InputError: one of these is out of its range.
    """
    return _expected(n_triplets, p, k, largest=True)


def expected_minimum(n_triplets: int, p: object, k: int) -> Float[np.ndarray, "*b"]:
    """The mean of the smallest of k independent Bin(N, p) counts, Σ (1 − F(x))^k.

    001 prints this in the proof of Theorem A.5 for the largest.

    Args, Raises: as of `expected_maximum`.

    Returns:
      Triplets, 0 to N p.
    """
    return _expected(n_triplets, p, k, largest=False)


def expected_disagreement(epsilon: object, *, n: int, k: int) -> Float[np.ndarray, "*b"]:
    """E[max_e ‖S_A(x; e) − S_B(x; e)‖₁], were the questions about e independent (Theorem A.5).

    Args:
      epsilon: one or more misalignments, 0 to 1.
      n: shared objects, at least 3.
      k: candidates for the adversarial example, at least 1.

    Returns:
      Triplets, of n(n−1)/2.

    Raises:
      InputError: one of these is out of its range.
    """
    n_triplets = checks.at_least(n, 3, "n") * (n - 1) // 2
    return expected_maximum(n_triplets, checks.probability(epsilon, "epsilon"), k)


def disagreements(
    a: Real[np.ndarray, "n p"],
    b: Real[np.ndarray, "m q"],
    e_a: Real[np.ndarray, "k r"],
    e_b: Real[np.ndarray, "l s"],
) -> Int[np.ndarray, " k"]:
    """‖S_A(x; e) − S_B(x; e)‖₁ for each candidate e (Definition A.3).

    Exact, in O(k n²); a question that is tied in either is none that they answer differently.

    Args:
      a, b: embeddings of the same n objects by each; they may differ in dimensions.
      e_a, e_b: embeddings of the same k candidates by each.

    Returns:
      Triplets, of n(n−1)/2.

    Raises:
      InputError: there are fewer than 3 objects or no candidate, any is not finite, two objects are
        the same, or shapes do not fit.
    """
    seen_by_a = distances(checks.embedding(a, "a"), e_a, "e_a")
    seen_by_b = distances(checks.embedding(b, "b"), e_b, "e_b")
    if seen_by_a.shape != seen_by_b.shape:
        raise InputError(
            f"a and e_a have {len(a)} and {len(e_a)} rows, b and e_b {len(b)} and {len(e_b)}; "
            "expected the same objects and candidates of both."
        )
    return discordant(seen_by_a, seen_by_b)


def distances(
    points: Float[np.ndarray, "n d"], e: Real[np.ndarray, "k p"], name: str
) -> Float[np.ndarray, "k n"]:
    """Squared distances of each e from each point.

    Args:
      points: checked before.
      e: what is checked here.
      name: of e, for messages.

    Raises:
      InputError: e has no rows, other dimensions than the points, or a number that is not finite.
    """
    if e.ndim != 2 or not len(e) or e.shape[1] != points.shape[1]:
        raise InputError(
            f"{name} has shape {list(e.shape)}; expected at least 1 row of {points.shape[1]} "
            "dimensions, as the objects have."
        )
    finite = np.isfinite(e).all(axis=1)
    if not finite.all():
        raise InputError(f"{name}: row {int(np.argmin(finite))} (from 0) is not all finite.")
    return cdist(e.astype(np.float64), points, "sqeuclidean")


def discordant(a: Float[np.ndarray, "k n"], b: Float[np.ndarray, "k n"]) -> Int[np.ndarray, " k"]:
    """How many pairs of columns each row of a has in one order and that of b in the other."""
    # In the order of a, ties in that of b, they are what b has the wrong way round.
    order = np.lexsort((b, a), axis=1)
    ordered = np.ascontiguousarray(np.take_along_axis(b, order, axis=1).T)
    smaller_later = np.zeros(ordered.shape, np.uint32)
    for apart in range(1, len(ordered)):
        smaller_later[:-apart] += ordered[:-apart] > ordered[apart:]
    return smaller_later.sum(axis=0, dtype=np.int64)


def right_class(flipped: Bool[np.ndarray, "*b q"], n_classes: int) -> Float[np.ndarray, "*b"]:
    """The chance that the class with the most wins is Alice's (Remark A.6).

    Bob knows an object by Alice's answers to the q = K(K−1)/2 questions about K class centroids,
    of which some reach him flipped. Alice's class is the nearest to her, and wins K − 1 if none is.

    Args:
      flipped: which answers are; those about her class first, then about her second, and so on.
      n_classes: K, at least 2.

    Returns:
      1, or 0, or, where w classes have the most wins, hers among them, 1/w: ties are broken fairly,
      so that a read-out that knows nothing is right in 1/K.
    """
    nearer, farther = np.triu_indices(checks.at_least(n_classes, 2, "n_classes"), 1)
    classes = np.arange(n_classes)
    turned = (farther[:, None] == classes).astype(np.float32) - (nearer[:, None] == classes)
    wins = flipped.astype(np.float32) @ turned + (n_classes - 1 - classes)
    most = wins == wins.max(axis=-1, keepdims=True)
    return np.asarray(most[..., 0] / most.sum(axis=-1))


def hard_error(epsilon: object, *, n_classes: int, k: int = 1) -> Float[np.ndarray, "*b"]:
    """How often a read-out mistakes the class of the adversarial example of k (Remark A.6).

    Answers are flipped independently. The read-out was trained on labels: it knows ε, takes all
    answers for their contrary where ε > ½, and then the class with the most wins. Exact.

    Args:
      epsilon: one or more misalignments, 0 to 1.
      n_classes: K, 2 to 6.
      k: candidates, of which Bob has most of Alice's answers wrong about the adversarial one; 1 for
        the error on any object, which is symmetric about ½, and 1 − 1/K there.

    Returns:
      0 to 1.

    Raises:
      InputError: one of these is out of its range.
    """
    e = checks.probability(epsilon, "epsilon")[..., None]
    if checks.at_least(n_classes, 2, "n_classes") > CLASSES:
        raise InputError(f"n_classes is {n_classes}; expected at most {CLASSES}.")
    errors = _errors_by_flips(n_classes)
    flips = np.arange(len(errors))
    at_most = scipy.stats.binom.cdf(flips, flips[-1], e) ** checks.at_least(k, 1, "k")
    chance = np.diff(at_most, axis=-1, prepend=0)
    # What is flipped is as likely to be any set of as many answers.
    return np.asarray((chance * np.where(e > 0.5, errors[::-1], errors)).sum(axis=-1))


@functools.cache
def _errors_by_flips(n_classes: int) -> Float[np.ndarray, " f"]:
    questions = n_classes * (n_classes - 1) // 2
    flipped = (np.arange(2**questions)[:, None] >> np.arange(questions) & 1).astype(bool)
    flips = flipped.sum(axis=1)
    return 1 - np.bincount(flips, right_class(flipped, n_classes)) / np.bincount(flips)


def _expected(n_triplets: int, p: object, k: int, *, largest: bool) -> Float[np.ndarray, "*b"]:
    n, p = checks.at_least(n_triplets, 1, "n_triplets"), checks.probability(p, "p")
    checks.at_least(k, 1, "k")
    return np.array([_extreme(n, float(one), k, largest) for one in p.flat]).reshape(p.shape)


def _extreme(n: int, p: float, k: int, largest: bool) -> float:
    if p in (0, 1):
        return n * p
    # By Bernstein's inequality.
    half = math.sqrt(2 * TAIL * n * p * (1 - p)) + 2 * TAIL / 3
    first, last = max(math.floor(n * p - half), 0), min(math.ceil(n * p + half), n)
    x = np.arange(first, last)
    # From each probability to the next, so that no factorial of N is needed.
    rising = np.cumsum(np.log((n - x) / (x + 1.0) * (p / (1 - p))))
    rising = np.append(0, rising)
    chance = np.exp(rising - rising.max())
    chance /= chance.sum()
    below, above = np.cumsum(chance)[:-1], np.cumsum(chance[:0:-1])[::-1]
    # Each from the one that is small, where the other is 1 but for digits that are lost.
    if largest:
        return first - float(np.expm1(k * _log(below, above)).sum())
    return first + float(np.exp(k * _log(above, below)).sum())


def _log(share: Float[np.ndarray, " x"], rest: Float[np.ndarray, " x"]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.where(share < 0.5, np.log(share), np.log1p(-np.minimum(rest, 1)))
