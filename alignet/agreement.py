"""Exact triplet agreement between two representations (000, Definition 3.5).

Every anchor i asks of every unordered pair {j, k}: which of the two is nearer to i? There are
n(n−1)(n−2)/2 such questions. For one anchor the two representations disagree on as many of them as
there are discordant pairs between two rankings of the other n−1 objects, which sorting counts in
O(n log n): order the objects by b, then by a with ties in the order of b, and count how many pairs
are then out of order in b. Many anchors are counted at once, in blocks that stay in the cache.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real, UInt
from scipy.special import ndtri

from alignet import triplets
from alignet.errors import InputError

# Sizes are ours, measured on two cores with 1 MB of L2 cache each.
BLOCK_ELEMENTS = 2**16  # anchors × objects counted at once
PRODUCT_ELEMENTS = 2**23  # anchors × objects of one matrix product, 64 MB
SAMPLE_ELEMENTS = 2**22  # sampled triplets × dimensions held at once
BRUTE_FORCE_LENGTH = 32  # ranks compared all with all
SIMD_SORT_LENGTH = 512  # integers that NumPy sorts within registers


class Agreement(NamedTuple):
    """Counts of anchored triplets; the five counts add up to `total`.

    Attributes:
        n_objects: number of objects n.
        agreements: both representations have an order, and the same one.
        disagreements: both have an order, and opposite ones.
        ties_a: the two distances are equal in a only.
        ties_b: the two distances are equal in b only.
        ties_both: the two distances are equal in a and in b.
    """

    n_objects: int
    agreements: int
    disagreements: int
    ties_a: int
    ties_b: int
    ties_both: int

    @property
    def total(self) -> int:
        """The number n(n−1)(n−2)/2 of anchored triplets (000, Remark 3.3)."""
        return self.n_objects * (self.n_objects - 1) * (self.n_objects - 2) // 2

    @property
    def alignment(self) -> float:
        """The share of agreements among the triplets tied in neither; NaN if there are none.

        Definition 3.5 knows no ties (they have probability 0 in continuous data); triplets with
        one are left out of numerator and denominator.
        """
        untied = self.agreements + self.disagreements
        return self.agreements / untied if untied else float("nan")


class SampledAgreement(NamedTuple):
    """An estimate of `Agreement.alignment`.

    Attributes:
        value: share of agreements among the sampled triplets tied in neither; NaN if all tie.
        low: lower end of the Wilson interval.
        high: upper end of the Wilson interval.
        n: sampled triplets tied in neither.
        n_tied: sampled triplets left out because of a tie in a or b.
    """

    value: float
    low: float
    high: float
    n: int
    n_tied: int


def triplet_agreement(
    a: Real[np.ndarray, "n p"],
    b: Real[np.ndarray, "m q"],
    *,
    kind: str | tuple[str, str] = "embedding",
) -> Agreement:
    """Counts exactly on how many anchored triplets two representations agree.

    Takes O(n² log n) time, for embeddings after O(n² p) for the distances. These are computed in
    float64 a range of rows at a time, so that nothing of size n² is ever held.

    Args:
        a: one representation of n objects, as told by `kind`.
        b: the other representation of the same objects in the same order.
        kind: "embedding" [n, p], compared by Euclidean distance (000, Definition 3.2), exactly
            tied for identical rows; "similarity" [n, n], the larger the nearer; or
            "dissimilarity" [n, n], the smaller the nearer. One for both or one for each.

    Returns:
        The counts, as exact Python integers.

    Raises:
        InputError: on NaN or infinite values, matrices that are not square and symmetric,
            different numbers of objects, or fewer than three.
    """
    kind_a, kind_b = _check_shapes(a, b, kind)
    rows_a = _dissimilarities(a, kind_a, "a")
    rows_b = _dissimilarities(b, kind_b, "b")
    n = len(a)
    anchors_at_once = max(1, PRODUCT_ELEMENTS // n)
    anchors_per_block = max(1, BLOCK_ELEMENTS // n)
    counts = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Matrix products have threads of their own, which would fight with those of the pool.
        for start in range(0, n, anchors_at_once):
            span = slice(start, min(start + anchors_at_once, n))
            rows = np.arange(n)[span], rows_a(span), rows_b(span)
            cuts = range(anchors_per_block, len(rows[0]), anchors_per_block)
            counts += pool.map(_count_block, *(np.split(x, cuts) for x in rows))
    disagreements, tied_a, tied_b, ties_both = (sum(column) for column in zip(*counts, strict=True))
    untied = n * (n - 1) * (n - 2) // 2 - tied_a - tied_b + ties_both
    return Agreement(
        n_objects=n,
        agreements=untied - disagreements,
        disagreements=disagreements,
        ties_a=tied_a - ties_both,
        ties_b=tied_b - ties_both,
        ties_both=ties_both,
    )


def sampled_triplet_agreement(
    a: Real[np.ndarray, "n p"],
    b: Real[np.ndarray, "m q"],
    *,
    n_samples: int,
    rng: np.random.Generator,
    kind: str | tuple[str, str] = "embedding",
    confidence: float = 0.95,
) -> SampledAgreement:
    """Estimates the alignment of two representations from random anchored triplets.

    For so many objects that O(n²) time or a matrix of that size is out of reach; memory-mapped
    arrays are read only where sampled. Each triplet has three different objects, but the same
    triplet may be drawn more than once: draws are independent, as the interval assumes. The
    interval covers the exact alignment of these objects, not that of a larger population.

    Args:
        a: one representation of n objects, as in `triplet_agreement`.
        b: the other representation of the same objects in the same order.
        n_samples: number of triplets to draw.
        rng: source of randomness.
        kind: as in `triplet_agreement`; that matrices are symmetric is not checked.
        confidence: coverage of the interval.

    Returns:
        The estimate with its Wilson interval.

    Raises:
        InputError: on NaN or infinite values where sampled, matrices that are not square,
            different numbers of objects, fewer than three, or no samples.
    """
    kind_a, kind_b = _check_shapes(a, b, kind)
    if n_samples < 1:
        raise InputError(f"n_samples is {n_samples}: expected at least 1")
    n = len(a)
    chunk = max(1, SAMPLE_ELEMENTS // max(a.shape[1], b.shape[1]))
    agreements = untied = 0
    for start in range(0, n_samples, chunk):
        drawn = random_triplets(n, min(chunk, n_samples - start), rng)
        same_order = _order(a, kind_a, "a", drawn) * _order(b, kind_b, "b", drawn)
        agreements += int(np.count_nonzero(same_order > 0))
        untied += int(np.count_nonzero(same_order))
    value = agreements / untied if untied else float("nan")
    low, high = _wilson(value, untied, confidence)
    return SampledAgreement(value, low, high, untied, n_samples - untied)


# ---- Input: what is compared, checked ------------------------------------------------------------


def _check_shapes(
    a: Real[np.ndarray, "n p"], b: Real[np.ndarray, "m q"], kind: str | tuple[str, str]
) -> tuple[str, str]:
    kind_a, kind_b = (kind, kind) if isinstance(kind, str) else kind
    for name, x, its_kind in (("a", a, kind_a), ("b", b, kind_b)):
        if its_kind not in ("embedding", "similarity", "dissimilarity"):
            raise InputError(
                f"{name}: kind {its_kind!r}: expected embedding, similarity or dissimilarity"
            )
        if its_kind != "embedding" and x.shape[0] != x.shape[1]:
            raise InputError(f"{name}: {its_kind} matrix is {x.shape}: expected a square one")
        if not x.shape[1]:
            raise InputError(f"{name}: shape is {x.shape}: expected at least one dimension")
    if len(a) != len(b):
        raise InputError(f"a has {len(a)} objects and b has {len(b)}: expected the same objects")
    if len(a) < 3:
        raise InputError(f"there are {len(a)} objects: a triplet needs at least 3")
    return kind_a, kind_b


def _check_values(x: Real[np.ndarray, "n p"], name: str, *, symmetric: bool) -> None:
    step = max(1, BLOCK_ELEMENTS // x.shape[1])
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        largest = max(float(rows.max()), -float(rows.min()))
        # False for NaN too; larger values would overflow when squared.
        if not largest < 1e150:
            usable = (np.abs(rows.astype(np.float64)) < 1e150).all(axis=1)
            row = start + int(np.argmin(usable))
            raise InputError(f"{name}: row {row} is not all finite numbers below 1e150")
        if symmetric:
            transposed = x[start:, start : start + step].T
            # Rounding of float32 matrices is no asymmetry.
            differs = np.abs(rows[:, start:] - transposed) > 1e-6 * largest
            if differs.any():
                row, column = (start + np.argwhere(differs)[0]).tolist()
                raise InputError(
                    f"{name}: entries ({row}, {column}) and ({column}, {row}) differ: "
                    "expected a symmetric matrix"
                )


def _dissimilarities(
    x: Real[np.ndarray, "n p"], kind: str, name: str
) -> Callable[[slice], Float[np.ndarray, "r n"]]:
    """Gives a function from anchors to rows of numbers that order all objects around each."""
    _check_values(x, name, symmetric=kind != "embedding")
    if kind == "dissimilarity":
        return lambda anchors: np.asarray(x[anchors], np.float64)
    if kind == "similarity":
        return lambda anchors: -np.asarray(x[anchors], np.float64)

    # Distances do not change when the first row becomes the origin, but lose fewer digits to a
    # common offset, and integers stay integers. Identical rows are multiplied once because matrix
    # products round them differently at a block's edge, which would break their ties.
    points = x.astype(np.float64) - x[0]
    distinct, column = np.unique(triplets.first_identical(points), return_inverse=True)
    unique_points = points[distinct]
    squares = np.einsum("nd,nd->n", unique_points, unique_points)

    def rows(anchors: slice) -> Float[np.ndarray, "r m"]:
        # ‖x_j − x_i‖² without ‖x_i‖², which is the same for all j.
        order = -2 * points[anchors] @ unique_points.T
        order += squares
        return order if len(distinct) == len(points) else order[:, column]

    return rows


# ---- Exact counting ------------------------------------------------------------------------------


def _count_block(
    anchors: Int[np.ndarray, "r"], a: Float[np.ndarray, "r n"], b: Float[np.ndarray, "r n"]
) -> tuple[int, int, int, int]:
    """Counts discordant pairs, ties in a, ties in b and ties in both, summed over the anchors."""
    before_anchor = np.arange(a.shape[1] - 1) < anchors[:, None]
    others_a, others_b = a[:, 1:].copy(), b[:, 1:].copy()
    np.copyto(others_a, a[:, :-1], where=before_anchor)
    np.copyto(others_b, b[:, :-1], where=before_anchor)

    order, b = _stable_argsort(others_b)
    same_b = b[:, 1:] == b[:, :-1]
    rank = np.zeros(b.shape, np.uint32)
    np.cumsum(~same_b, axis=1, dtype=np.uint32, out=rank[:, 1:])
    if b.shape[1] <= 2**15:
        rank = rank.astype(np.uint16)

    order, a = _stable_argsort(others_a.take(order))
    same_a = a[:, 1:] == a[:, :-1]
    rank = rank.take(order)
    same_both = same_a & (rank[:, 1:] == rank[:, :-1])
    return _inversions(rank), _tied_pairs(same_a), _tied_pairs(same_b), _tied_pairs(same_both)


def _stable_argsort(
    x: Float[np.ndarray, "r m"],
) -> tuple[Int[np.ndarray, "r m"], Float[np.ndarray, "r m"]]:
    """Sorts each row; gives the indices into the flattened x, and the sorted rows.

    Two passes of NumPy's radix sort for 16-bit integers, over the 32 bits of a monotone
    quantisation, take a third of the time of sorting the floats. Rows where distinct values
    fell together and came out in the wrong order are sorted again as floats.
    """
    row_start = np.arange(0, x.size, x.shape[1])[:, None]
    offset = x - x.min(axis=1, keepdims=True)
    span = offset.max(axis=1, keepdims=True)
    offset /= np.where(span > 0, span, 1)
    offset *= 2**32 - 1
    quantised = offset.astype(np.uint32)

    order = np.argsort(quantised.astype(np.uint16), axis=1, kind="stable") + row_start
    high = (quantised >> 16).astype(np.uint16).take(order)
    order = order.take(np.argsort(high, axis=1, kind="stable") + row_start)
    ordered = x.take(order)

    wrong = np.flatnonzero((ordered[:, 1:] < ordered[:, :-1]).any(axis=1))
    if len(wrong):
        order[wrong] = np.argsort(x[wrong], axis=1, kind="stable") + row_start[wrong]
        ordered[wrong] = x.take(order[wrong])
    return order, ordered


def _inversions(rank: UInt[np.ndarray, "r m"]) -> int:
    """Counts the pairs of each row whose first element is strictly larger, summed over the rows.

    Splits rows into 2^k short pieces. Pairs within a piece are compared directly; the others by
    merging: when two pieces of length m are sorted together, right elements behind equal left
    ones, each right element's position counts the left elements not larger than it, so that the
    positions of the right elements sum to m(m−1)/2 + m² − inversions.
    """
    pieces = 1
    while rank.shape[1] > BRUTE_FORCE_LENGTH * pieces:
        pieces *= 2
    m = -(-rank.shape[1] // pieces)
    # The lowest bit is free to tell right from left. Padding is largest and last: never inverted.
    key = np.full((len(rank), pieces * m), np.iinfo(rank.dtype).max - 1, rank.dtype)
    np.left_shift(rank, 1, out=key[:, : rank.shape[1]])

    columns = np.ascontiguousarray(key.reshape(-1, m).T)
    inversions = sum(int(np.count_nonzero(columns[:-d] > columns[d:])) for d in range(1, m))
    while m < key.shape[1]:
        key.reshape(-1, 2, m)[:, 1] |= 1
        merged = key.reshape(-1, 2 * m)
        # Where registers do not suffice, radix sort (16 bits) and timsort (32) take linear time.
        merged.sort(axis=1, kind=None if 2 * m <= SIMD_SORT_LENGTH else "stable")
        right = merged & 1
        merged -= right
        # Fewer than 2^16 merges in a block: the counts fit the type of the keys, with no copy.
        positions = int(np.arange(2 * m) @ right.sum(axis=0, dtype=key.dtype).astype(np.int64))
        inversions += len(merged) * (m * (m - 1) // 2 + m * m) - positions
        m *= 2
    return inversions


def _tied_pairs(same: Bool[np.ndarray, "r m"]) -> int:
    """Counts pairs of equal elements, given which elements of sorted rows equal the one before."""
    if not same.any():
        return 0
    run_ends = np.flatnonzero(np.pad(~same, ((0, 0), (0, 1)), constant_values=True))
    length = np.diff(run_ends, prepend=-1)
    return int((length * (length - 1) // 2).sum())


# ---- Sampling ------------------------------------------------------------------------------------


def random_triplets(n: int, size: int, rng: np.random.Generator) -> Int[np.ndarray, "3 s"]:
    """Draws triplets of three different objects of n, each from all of them."""
    i = rng.integers(n, size=size)
    j = (i + rng.integers(1, n, size=size)) % n
    k = rng.integers(n - 2, size=size)
    # Step over the two objects taken, the smaller first.
    k += k >= np.minimum(i, j)
    k += k >= np.maximum(i, j)
    return np.stack([i, j, k])


def _order(
    x: Real[np.ndarray, "n p"], kind: str, name: str, drawn: Int[np.ndarray, "3 s"]
) -> Float[np.ndarray, "s"]:
    """Says for each (i, j, k) whether j (1) or k (−1) is nearer to i, or neither (0)."""
    i, j, k = drawn
    with np.errstate(invalid="ignore", over="ignore"):
        if kind == "embedding":
            anchor = x[i].astype(np.float64)
            farther = ((x[k] - anchor) ** 2).sum(axis=1) - ((x[j] - anchor) ** 2).sum(axis=1)
        else:
            farther = x[i, k].astype(np.float64) - x[i, j]
    if not np.isfinite(farther).all():
        rows = drawn[:, np.argmin(np.isfinite(farther))].tolist()
        raise InputError(f"{name}: rows {rows} are not all finite numbers below 1e150")
    return -np.sign(farther) if kind == "similarity" else np.sign(farther)


def _wilson(value: float, n: int, confidence: float) -> tuple[float, float]:
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri((1 + confidence) / 2))
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half_width = z / (1 + z**2 / n) * (value * (1 - value) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, centre - half_width), min(1.0, centre + half_width)
