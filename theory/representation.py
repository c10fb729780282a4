"""Representation spaces and how far two agents' are apart (000 and 001, Definitions 3.1 to 3.6).

An agent's representation space over n objects is what it answers to every question "is i nearer to
j than to k?". Two agents are aligned as far as they answer alike: on these n objects (D_R), or on
three that are drawn at random (D_P). 000 prints = for ≠ in Definition 3.6, which would make D_P the
alignment; Lemma A.4 and 001 have ≠.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from alignet import agreement
from alignet.errors import InputError
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import checks

Map = Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, "n p"]]


def questions(n: int) -> Int[np.ndarray, "q 3"]:
    """All n(n−1)(n−2)/2 questions (i, j, k), j < k: "is i nearer to j than to k?" (Remark 3.3).

    Ordered by i, then j, then k: the order of the bits of `representation_space`.

    Args:
      n: number of objects, at least 3.
    """
    checks.at_least(n, 3, "n")
    first, second = np.triu_indices(n - 1, 1)
    anchors = np.repeat(np.arange(n), len(first))
    # Of an anchor's others, those from the anchor on are one further.
    pairs = np.tile(np.stack([first, second], axis=1), (n, 1))
    return np.column_stack([anchors, pairs + (pairs >= anchors[:, None])])


def representation_space(x: Real[np.ndarray, "n d"]) -> Bool[np.ndarray, " q"]:
    """S_M(x), the answers to all questions as bits (Definitions 3.1 and 3.2, Remark 3.3).

    Args:
      x: the embeddings f_M(x) of n objects.

    Returns:
      A bit a question, in the order of `questions`: whether |x_i − x_j| < |x_i − x_k|.

    Raises:
      InputError: there are fewer than 3 points, one is not finite, two are the same, or a point is
        exactly as far from one as from another: then neither answer is right.
    """
    points = checks.embedding(x, "x")
    i, j, k = questions(len(points)).T
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    near, far = squares[i, j], squares[i, k]
    tied = near == far
    if tied.any():
        row = int(np.argmax(tied))
        raise InputError(
            f"x: point {i[row]} is as far from {j[row]} as from {k[row]} (from 0); expected no "
            "ties, as S(x) has no bit for one."
        )
    return near < far


def misalignment(a: Real[np.ndarray, "n p"], b: Real[np.ndarray, "m q"]) -> float:
    """D_R(A, B; x), the share of questions that two agents answer differently (Definition 3.5).

    Exact, in O(n² log n); questions that are tied in either are left out (`alignet.agreement` has
    the counts, and takes similarity matrices).

    Args:
      a, b: embeddings of the same n objects by each; they may differ in dimensions.

    Returns:
      0 where they agree on everything, ½ where they have nothing to do with each other, 1 where
      they always disagree; the alignment is 1 − D_R.

    Raises:
      InputError: one has fewer than 3 points, or any that are not finite or the same; they have
        different numbers of points; or no question is answered by both.
    """
    found = agreement.triplet_agreement(checks.embedding(a, "a"), checks.embedding(b, "b"))
    if math.isnan(found.alignment):
        raise InputError("every question is tied in a or b; expected some that both answer.")
    return 1 - found.alignment


def stochastic_misalignment(
    f_a: Map, f_b: Map, draw: Callable[[int], Float[np.ndarray, "n d"]], *, n_samples: int
) -> Measured:
    """D_P(A, B; X), how likely two agents differ on three random objects (Definition 3.6).

    Args:
      f_a, f_b: the agents' embeddings, row by row.
      draw: gives so many objects of X, independent of each other.
      n_samples: triples of objects to draw.

    Returns:
      An estimate with its 95 % interval; n is the number of triples that are tied in neither.

    Raises:
      InputError: no samples are asked for, or all are tied; there are not as many objects as asked
        for, or not all embeddings are finite.
    """
    n = 3 * checks.at_least(n_samples, 1, "n_samples")
    x = draw(n)
    if len(x) != n:
        raise InputError(f"draw gave {len(x)} objects; expected {n}, as asked for.")
    nearer_a, nearer_b = (_nearer(_seen(f, x, name)) for f, name in ((f_a, "f_a"), (f_b, "f_b")))
    untied = (nearer_a != 0) & (nearer_b != 0)
    if not untied.any():
        raise InputError("all triples drawn are tied; expected agents that tell objects apart.")
    return intervals.proportion(int((nearer_a != nearer_b)[untied].sum()), int(untied.sum()))


def from_margins(correlation: object) -> Float[np.ndarray, "*b"]:
    """The D_P of two agents whose margins are jointly normal with mean 0: arccos(ρ) / π (Sheppard).

    The margin of a question is |x_i − x_k|² − |x_i − x_j|², of which the answer is the sign. Over
    many independent dimensions it is a sum of many terms, and about normal.

    Args:
      correlation: ρ of A's margins with B's, −1 to 1.

    Raises:
      InputError: it is outside.
    """
    rho = np.asarray(correlation, np.float64)
    if not (np.abs(rho) <= 1).all():
        raise InputError(f"correlation is {rho}; expected −1 to 1.")
    return np.asarray(np.arccos(rho) / math.pi)


def _seen(f: Map, x: Float[np.ndarray, "n d"], name: str) -> Float[np.ndarray, "n p"]:
    z = f(x)
    if len(z) != len(x) or not np.isfinite(z).all():
        raise InputError(
            f"{name}: gave {z.shape} for {len(x)} objects; expected a finite row each."
        )
    return z


def _nearer(z: Float[np.ndarray, "n p"]) -> Int[np.ndarray, " s"]:
    """Sign of the margin of each triple: 1 if the second is nearer to the first than the third."""
    i, j, k = z.reshape(len(z) // 3, 3, -1).transpose(1, 0, 2)
    return np.sign(((i - k) ** 2).sum(axis=1) - ((i - j) ** 2).sum(axis=1)).astype(int)
