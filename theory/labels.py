"""Labels, ratings and odd-one-out answers are triplets, too (000 and 001, Section 3).

Alice sees a new object c, and n objects x_1 … x_n that Bob sees as she does. Whatever she says
about c says triplets, such as "c is nearer to x_j than to x_k":

    triplet        which of two is c more like?        1
    label          which of K, its classes?            K − 1: the chosen one before each other
    ranking        all K in order of likeness          K (K − 1) / 2
    odd one out    the most similar pair of c, j, k    2: each of the pair before the third
    rating         how much is c like j?               none; but two ratings that differ say one

A soft label is more than a ranking of its classes: that is what triplets keep of it. How much
these answers tell is in `theory.labels_answers`, how fast Bob learns in `theory.labels_learning`.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from alignet.errors import InputError
from theory import checks

NEW = -1  # c, where it is the last row below the n objects
MOST_RANKED = 6  # 720 orders: every one has its probability
PAIRS = ((0, 1), (0, 2), (1, 2))  # of c, j and k, in the order of `alignet.triplets`


class Kind(NamedTuple):
    """A kind of answer about a new object.

    Attributes:
      name: what it is called.
      shown: objects that a question shows beside the new one.
      outcomes: how many different answers there are; log₂ of it is the most that one can say.
      triplets: how many an answer says; 0 for a rating, which says one only beside another.
    """

    name: str
    shown: int
    outcomes: int
    triplets: int


def triplet() -> Kind:
    """Is c nearer to this or to that?"""
    return Kind("triplet", 2, 2, 1)


def label(k: int) -> Kind:
    """A hard label: the chosen of K classes is nearer to c than each of the others.

    Raises:
      InputError: k is below 2.
    """
    return Kind("label", checks.at_least(k, 2, "k"), k, k - 1)


def ranking(k: int) -> Kind:
    """A soft label: all K classes in order.

    Raises:
      InputError: k is below 2, or above `MOST_RANKED`.
    """
    if checks.at_least(k, 2, "k") > MOST_RANKED:
        raise InputError(
            f"k is {k}; expected at most {MOST_RANKED}, as all k! orders are compared."
        )
    return Kind("ranking", k, math.factorial(k), k * (k - 1) // 2)


def odd_one_out() -> Kind:
    """Which pair of c and two objects is the most similar one?"""
    return Kind("odd one out", 2, 3, 2)


def rating(levels: int) -> Kind:
    """How similar is c to one object, on a scale of L levels that are used equally often?

    Raises:
      InputError: levels is below 2.
    """
    return Kind("rating", 1, checks.at_least(levels, 2, "levels"), 0)


def label_triplets(
    shown: Int[np.ndarray, "*b k"], chosen: Int[np.ndarray, "*b"]
) -> Int[np.ndarray, "*b t 3"]:
    """The triplets that hard labels say; those of triplet questions, too (k = 2).

    Args:
      shown: the k classes of each question, as objects.
      chosen: which of them, from 0, was the answer.

    Returns:
      k − 1 for each; (c, j, k) says that c is nearer to j than to k; c is `NEW`.

    Raises:
      InputError: fewer than 2 classes are shown, or something is chosen that is not.
    """
    k = checks.at_least(shown.shape[-1], 2, "k")
    check_among(chosen, k, "chosen")
    # The others in their order: those from the chosen one on are one further.
    others = np.arange(k - 1) + (np.arange(k - 1) >= chosen[..., None])
    further = np.take_along_axis(shown, others, axis=-1)
    nearer = np.take_along_axis(shown, chosen[..., None], axis=-1)
    return np.stack(np.broadcast_arrays(NEW, nearer, further), axis=-1)


def ranking_triplets(order: Int[np.ndarray, "*b k"]) -> Int[np.ndarray, "*b t 3"]:
    """The triplets that rankings say: of every two objects, the first named is the nearer one.

    Args:
      order: the k objects, most similar first.

    Returns:
      k(k − 1)/2 for each, as of `label_triplets`, pairs in the order of `np.triu_indices`.

    Raises:
      InputError: fewer than 2 are ranked.
    """
    nearer, further = np.triu_indices(checks.at_least(order.shape[-1], 2, "k"), 1)
    return np.stack(np.broadcast_arrays(NEW, order[..., nearer], order[..., further]), axis=-1)


def rating_triplets(
    rated: Int[np.ndarray, " r"], levels: Int[np.ndarray, " r"]
) -> Int[np.ndarray, "t 3"]:
    """The triplets that ratings of c with several objects say together; equal ratings say none.

    Args:
      rated: the objects, all different.
      levels: their ratings; higher is more similar.

    Returns:
      As of `label_triplets`, pairs in the order of `np.triu_indices`, less those that are tied.
    """
    first, second = np.triu_indices(len(rated), 1)
    swapped = levels[first] < levels[second]
    nearer, further = np.where(swapped, (second, first), (first, second))
    untied = levels[first] != levels[second]
    return np.stack(np.broadcast_arrays(NEW, rated[nearer], rated[further]), axis=-1)[untied]


def odd_one_out_triplets(
    shown: Int[np.ndarray, "*b 2"], pair: Int[np.ndarray, "*b"]
) -> Int[np.ndarray, "*b 2 3"]:
    """The two triplets that an odd-one-out answer says: each of the pair is nearer to the other.

    One is anchored at c where c is of the pair, and none where c is the odd one out.

    Args:
      shown: the two objects j, k beside c.
      pair: the most similar one, by its number in `PAIRS`.

    Returns:
      (i, j, k) says that i is nearer to j than to k; the anchors i are the members of the pair.

    Raises:
      InputError: a pair is none of these.
    """
    check_among(pair, 3, "pair")
    three = np.concatenate([np.full((*shown.shape[:-1], 1), NEW), shown], axis=-1)
    said = np.array([[(i, j, 3 - i - j), (j, i, 3 - i - j)] for i, j in PAIRS])[pair]
    return np.take_along_axis(three[..., None, :], said, axis=-1)


def said(
    kind: Kind, shown: Int[np.ndarray, "*b k"], outcome: Int[np.ndarray, "*b"]
) -> Int[np.ndarray, "*b t 3"]:
    """The triplets that answers of one kind say, each for itself.

    Args:
      kind: any but a rating, which says none for itself.
      shown: the objects of each question.
      outcome: what was answered: the one chosen, from 0; the pair, of `PAIRS`; or the order, of
        `orders`.

    Returns:
      `kind.triplets` for each; (i, j, k) says that i is nearer to j than to k.

    Raises:
      InputError: the kind is a rating, or has no such outcome.
    """
    check_among(outcome, kind.outcomes, "outcome")
    if kind.name == "rating":
        raise InputError("kind is 'rating'; expected another, as one rating says no triplet.")
    if kind.name == "odd one out":
        return odd_one_out_triplets(shown, outcome)
    if kind.name == "ranking":
        return ranking_triplets(np.take_along_axis(shown, orders(kind.shown)[outcome], axis=-1))
    return label_triplets(shown, outcome)


def orders(k: int) -> Int[np.ndarray, "outcomes k"]:
    """All orders of k options, as the outcomes of a ranking are numbered."""
    return np.array(list(itertools.permutations(range(k))))


def check_among(index: Int[np.ndarray, "*b"], n: int, name: str) -> None:
    """Checks that all are numbers of n things.

    Raises:
      InputError: one is not.
    """
    outside = (index < 0) | (index >= n)
    if outside.any():
        raise InputError(f"{name} has {index[outside].flat[0]}; expected numbers 0 to {n - 1}.")
