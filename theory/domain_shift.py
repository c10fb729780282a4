"""Domain shift and misalignment (000 and 001, Definition A.1, Corollary A.2).

Domain shift moves the centroids of classes, c → c*. An agent is as sensitive to it, σ, as the share
of the questions "is the centroid nearer to x_j than to x_k?" that it answers differently after it.

If Alice's answers stay (σ_A = 0) and Bob has a share ε of them wrong, before and after, his answer
changes where he has it wrong only once. If the two are independent that is

    σ_B = 2 ε (1 − ε),

which is largest at ½: the more |½ − ε|, the less σ_B. Corollary A.2 has the sign the other way
round, against the sentence before it.
"""

import numpy as np
from jaxtyping import Float, Real

from alignet.errors import InputError
from theory import checks
from theory.adversarial import discordant, distances


def sensitivity(
    x: Real[np.ndarray, "n d"], c: Real[np.ndarray, "k p"], c_star: Real[np.ndarray, "l q"]
) -> float:
    """σ(c, c*), the share of questions anchored at the centroids that are flipped (Definition A.1).

    Exact, in O(k n²). |S(x; c)|, printed as if it were a norm, is the number of questions,
    k n(n−1)/2; one that is tied before or after is not flipped.

    Args:
      x: an agent's embeddings of n objects.
      c, c_star: its centroids of the same k classes, before and after.

    Returns:
      0 to 1.

    Raises:
      InputError: there are fewer than 3 objects or no centroid, any is not finite, two objects are
        the same, or shapes do not fit.
    """
    points = checks.embedding(x, "x")
    before, after = distances(points, c, "c"), distances(points, c_star, "c_star")
    if len(c) != len(c_star):
        raise InputError(
            f"c has {len(c)} rows and c_star {len(c_star)}; expected the same classes in both."
        )
    questions = len(c) * len(x) * (len(x) - 1) // 2
    return int(discordant(before, after).sum()) / questions


def expected_sensitivity(
    epsilon: object, sigma_a: object = 0, correlation: object = 0
) -> Float[np.ndarray, "*b"]:
    """σ_B of an agent that has a share ε of A's answers wrong, before and after (Corollary A.2).

    It has an answer wrong once with probability s = 2 ε (1 − ε) (1 − r), and changes its own where
    either that or A's answer changes but not both: σ_B = σ_A (1 − s) + (1 − σ_A) s. This takes
    that what is wrong does not depend on what changes in A.

    Args:
      epsilon: one or more misalignments, 0 to 1.
      sigma_a: σ_A.
      correlation: r of having an answer wrong before with having it wrong after: 0 if independent,
        1 if what is wrong stays wrong.

    Returns:
      0 to 1.

    Raises:
      InputError: one of these is out of its range; r is less than −ε/(1 − ε) or −(1 − ε)/ε, as no
        two events of probability ε have it.
    """
    e, sigma, r = np.broadcast_arrays(
        checks.probability(epsilon, "epsilon"),
        checks.probability(sigma_a, "sigma_a"),
        np.asarray(correlation, np.float64),
    )
    rarer = np.minimum(e, 1 - e)
    least = -rarer / (1 - rarer)
    possible = (r >= least - 1e-12) & (r <= 1)  # rounding may put the least below itself
    if not possible.all():
        at = int(np.argmin(possible))
        raise InputError(
            f"correlation is {r.flat[at]:g}; expected {least.flat[at]:.4g} to 1, as epsilon is "
            f"{e.flat[at]:g}."
        )
    once = 2 * e * (1 - e) * (1 - r)
    return np.asarray(sigma * (1 - once) + (1 - sigma) * once)


def from_margins(epsilon: object, kept: object) -> Float[np.ndarray, "*b"]:
    """σ_B of an agent that sees a share of what A does not, over normal objects (ours).

    Objects and centroids are normal in many independent dimensions; B's features are a mixture, by
    an angle, of A's and of others unseen by A. A's part of the centroids stays; what is new of the
    other keeps a correlation with what was. Margins are then about jointly normal, and those before
    and after have a correlation of (1 + 2 ρ)/3, where ρ is that of the centroids: a third of their
    variance is of the objects, which stay. Their signs follow as in `representation.from_margins`.

    Args:
      epsilon: one or more misalignments, 0 to 1; above ½ B gives all answers the other way round.
      kept: the correlation, of the part unseen by A, 0 to 1.

    Returns:
      0, where all is kept or ε is 0 or 1, to arccos(⅓)/π = 0.39: less than 2 ε (1 − ε).

    Raises:
      InputError: one of these is out of its range.
    """
    e = checks.probability(epsilon, "epsilon")
    shared = np.abs(np.cos(np.pi * e))  # cos² of the angle, as ε = arccos(cos²)/π
    stays = shared + (1 - shared) * checks.probability(kept, "kept")
    return np.asarray(np.arccos(np.minimum((1 + 2 * stays) / 3, 1)) / np.pi)


def within_cells(
    x: Real[np.ndarray, "n d"], c: Real[np.ndarray, "k d"], step: Real[np.ndarray, "k d"]
) -> Float[np.ndarray, "k d"]:
    """Moves centroids so far only that no answer changes: σ(c, c*) = 0 (premise of Corollary A.2).

    Args:
      x: an agent's embeddings of n objects.
      c: its centroids.
      step: where each is to move, and how far at most.

    Returns:
      Centroids that have gone the step or, if that is less, half the way along it to the first
      point that is as far from one object as from another.

    Raises:
      InputError: there are fewer than 3 objects, any is not finite, or two are the same.
    """
    points = checks.embedding(x, "x")
    j, k = np.triu_indices(len(points), 1)
    squares = distances(points, c, "c")
    margin = squares[:, k] - squares[:, j]
    along = 2 * step @ (points[j] - points[k]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        wall = np.where(margin * along < 0, -margin / along, np.inf).min(axis=1)
    return c + np.minimum(wall / 2, 1)[:, None] * step
