"""Distances between rows by how their classes are related in a hierarchy of three levels.

Two different rows are of the same class, or else of the same basic-level category, or else of the
same superordinate category, or else they differ. Of classes with no superordinate category it is
not known which of the last two they are.

Sums over all pairs are exact and by class, so that every mean over a relation, and its bootstrap
over classes, is a few products of small matrices.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Num
from threadpoolctl import threadpool_limits

RELATIONS = ("same class", "same basic", "same superordinate", "not known", "different")
# In this order the least of two codes is the nearer relation: one that is not known is no nearer
# than a superordinate category in common.
CLASS, BASIC, SUPERORDINATE, UNKNOWN, DIFFERENT = range(5)
KNOWN = (CLASS, BASIC, SUPERORDINATE, DIFFERENT)
ROWS_A_BLOCK = 1024
PAIRS_A_BLOCK = 8192


class Sums(NamedTuple):
    """Over the pairs of rows of two classes, symmetric; every pair counts once.

    Attributes:
      pairs: how many there are.
      distances: sum of Euclidean distances.
      squares: sum of their squares.
    """

    pairs: Float64[np.ndarray, "c c"]
    distances: Float64[np.ndarray, "c c"]
    squares: Float64[np.ndarray, "c c"]


class Pairs(NamedTuple):
    """Some pairs of rows.

    Attributes:
      first, second: places of the rows.
      relation: codes; within each, all pairs were as likely to be drawn.
    """

    first: Int[np.ndarray, " m"]
    second: Int[np.ndarray, " m"]
    relation: Int[np.ndarray, " m"]


def relations(
    basic: Int[np.ndarray, " c"], superordinate: Int[np.ndarray, " c"]
) -> Int[np.ndarray, "c c"]:
    """The relation of every two classes, as a place in `RELATIONS`.

    Args:
      basic: each class's basic-level category.
      superordinate: each class's superordinate category, −1 for none.
    """
    known = (superordinate >= 0)[:, None] & (superordinate >= 0)
    same = superordinate[:, None] == superordinate
    result = np.where(known, np.where(same, SUPERORDINATE, DIFFERENT), UNKNOWN)
    result[basic[:, None] == basic] = BASIC
    np.fill_diagonal(result, CLASS)
    return result


def count_pairs(counts: Int[np.ndarray, " c"]) -> Float64[np.ndarray, "c c"]:
    """How many pairs of rows two classes have, given how many rows each has."""
    counts = counts.astype(np.float64)
    pairs = np.outer(counts, counts)
    np.fill_diagonal(pairs, counts * (counts - 1) / 2)
    return pairs


def class_sums(rows: Float32[np.ndarray, "n p"], classes: Int[np.ndarray, " n"]) -> Sums:
    """Sums over all n(n−1)/2 pairs of rows, in the time of n²p/2 products.

    Squares follow from the sums of the rows and of their squared norms. Distances are computed in
    float32, a block of pairs at a time and as many blocks at once as there are cores, and summed in
    float64; beside the rows that takes a few MB a core.

    Args:
      rows: sorted by class; best about the origin and of norm about 1, as |x|² + |y|² − 2x·y loses
        digits where distances are much smaller than norms.
      classes: of the rows, 0 … c − 1, in order; none is without rows.
    """
    counts = np.bincount(classes)
    starts = np.cumsum(counts) - counts
    norms = np.einsum("np,np->n", rows, rows, dtype=np.float64)
    total = np.add.reduceat(norms, starts)
    mean = np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
    squares = counts[:, None] * total + counts * total[:, None] - 2 * mean @ mean.T
    # Of one class, every pair has come twice.
    squares[np.diag_indices(len(counts))] /= 2

    n = len(rows)
    norms = norms.astype(np.float32)
    distances = np.zeros_like(squares)

    def strip(start: int) -> tuple[slice, np.ndarray]:
        block = slice(start, min(start + ROWS_A_BLOCK, n))
        one = np.ones(block.stop - start, np.float32)
        left = np.column_stack([-2 * rows[block], one, norms[block]])
        touched, into = _classes_of(classes[block])
        sums = np.zeros((len(into), len(counts)))
        for other in range(start, n, ROWS_A_BLOCK):
            columns = slice(other, min(other + ROWS_A_BLOCK, n))
            # One product gives the squared distances: [−2x, 1, |x|²] · [y, |y|², 1].
            one = np.ones(columns.stop - other, np.float32)
            d = left @ np.column_stack([rows[columns], norms[columns], one]).T
            np.sqrt(np.maximum(d, 0, out=d), out=d)
            if other == start:
                # Each pair is here twice.
                np.fill_diagonal(d, 0)
                d /= 2
            across, at = _classes_of(classes[columns])
            by_row = np.add.reduceat(d, at, axis=1, dtype=np.float64)
            sums[:, across] += np.add.reduceat(by_row, into, axis=0)
        return touched, sums

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        for touched, sums in pool.map(strip, range(0, n, ROWS_A_BLOCK)):
            distances[touched] += sums
    both = distances + distances.T
    np.fill_diagonal(both, distances.diagonal())
    return Sums(count_pairs(counts), both, squares)


def by_relation(
    sums: Float[np.ndarray, "c c"],
    relation: Int[np.ndarray, "c c"],
    weights: Num[np.ndarray, "r c"],
) -> Float64[np.ndarray, "r k"]:
    """Adds sums over pairs up by relation, in each resample of the classes.

    A class that was drawn twice has its own pairs twice, and four times those with another that was
    drawn twice; pairs of it with its copy do not count.

    Args:
      sums: by class, symmetric, every pair once.
      relation: of the classes.
      weights: how often each class was drawn; one row of ones for the sample itself.

    Returns:
      One column each of `RELATIONS`.
    """
    weights = weights.astype(np.float64)
    result = np.empty((len(weights), len(RELATIONS)))
    result[:, CLASS] = weights @ sums.diagonal()
    for code in range(BASIC, len(RELATIONS)):
        here = np.where(relation == code, sums, 0)
        result[:, code] = np.einsum("rc,rc->r", weights @ here, weights) / 2
    return result


def draw_pairs(
    classes: Int[np.ndarray, " n"],
    relation: Int[np.ndarray, "c c"],
    *,
    most: int,
    seed: int,
) -> Pairs:
    """Draws pairs of rows, the same number of each relation that occurs; or all, if they are few.

    Args:
      classes: of the rows, 0 … c − 1, in order.
      relation: of the classes.
      most: how many are drawn, with replacement, if there are more.
      seed: of the drawing.
    """
    n = len(classes)
    if n * (n - 1) // 2 <= most:
        first, second = np.triu_indices(n, 1)
        return Pairs(first, second, relation[classes[first], classes[second]])
    counts = np.bincount(classes)
    starts = np.cumsum(counts) - counts
    pairs = np.triu(count_pairs(counts))
    occurring = [code for code in range(len(RELATIONS)) if pairs[relation == code].any()]
    rng = np.random.default_rng(seed)
    found = []
    for code in occurring:
        cumulative = np.cumsum(np.where(relation == code, pairs, 0))
        drawn = rng.random(most // len(occurring)) * cumulative[-1]
        one, other = np.divmod(np.searchsorted(cumulative, drawn, side="right"), len(counts))
        first = rng.integers(counts[one])
        # Of the same class, another row than the first.
        second = rng.integers(counts[other] - (one == other))
        second += (one == other) & (second >= first)
        found.append((starts[one] + first, starts[other] + second, np.full(len(one), code)))
    return Pairs(*map(np.concatenate, zip(*found, strict=True)))


def distances(rows: Float32[np.ndarray, "n p"], pairs: Pairs) -> Float64[np.ndarray, " m"]:
    """The distance of each pair."""
    result = np.empty(len(pairs.first))
    for start in range(0, len(result), PAIRS_A_BLOCK):
        block = slice(start, start + PAIRS_A_BLOCK)
        d = rows[pairs.first[block]] - rows[pairs.second[block]]
        result[block] = np.sqrt(np.einsum("mp,mp->m", d, d, dtype=np.float64))
    return result


def spread(
    changes: Float[np.ndarray, " m"],
    relation: Int[np.ndarray, " m"],
    pairs: Num[np.ndarray, " k"],
) -> float:
    """Root mean square over all pairs, of which some of each relation were drawn.

    Args:
      changes: of the pairs drawn.
      relation: of the pairs drawn.
      pairs: how many there are of each of `RELATIONS`.
    """
    drawn = np.bincount(relation, minlength=len(pairs))
    total = np.bincount(relation, changes**2, minlength=len(pairs))
    known = drawn > 0
    return float(np.sqrt(pairs[known] @ (total[known] / drawn[known]) / pairs[known].sum()))


def triplet_relations(
    relation: Int[np.ndarray, "c c"], triplets: Int[np.ndarray, "t 3"]
) -> Int[np.ndarray, "k k"]:
    """Counts triplets by what is alike in them (002, Figure 3C).

    Args:
      relation: of the classes.
      triplets: classes of three rows, the odd one out last.

    Returns:
      Rows: the relation of the first two. Columns: that of the odd one out to the nearer of them.
    """
    i, j, k = triplets.T
    pair, odd = relation[i, j], np.minimum(relation[i, k], relation[j, k])
    size = len(RELATIONS)
    return np.bincount(pair * size + odd, minlength=size * size).reshape(size, size)


def mean_by_category(
    sums: Float[np.ndarray, "c c"],
    pairs: Float[np.ndarray, "c c"],
    categories: Int[np.ndarray, " c"],
) -> Float64[np.ndarray, "b b"]:
    """Means over the pairs of two categories; NaN where there is no pair.

    Args:
      sums: by class, symmetric, every pair once.
      pairs: how many pairs there are.
      categories: of the classes, 0 … b − 1; −1 leaves a class out.
    """
    member = (np.arange(categories.max() + 1)[:, None] == categories).astype(np.float64)
    # Within a category, pairs of two classes come twice and those of one once.
    total, n = (member @ (m + np.diag(m.diagonal())) @ member.T for m in (sums, pairs))
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)


def _classes_of(classes: Int[np.ndarray, " k"]) -> tuple[slice, np.ndarray]:
    """The classes of some consecutive rows, and where in them each begins."""
    ends = [int(classes[0]), int(classes[-1]) + 1]
    return slice(*ends), np.searchsorted(classes, np.arange(*ends))
