"""k-means of rows that need not fit into memory.

Most of the work is done where it is cheap: k-means++ and Lloyd's iterations run on the first
principal components of the rows, which are kept in memory, and on a random sample of them that
grows whenever it has no more to teach. The clusters found there become centres in all dimensions;
passes over all rows, a block at a time, improve these and give the labels and the inertia.

That principal components approximate k-means is known (Drineas et al., Clustering large graphs via
the singular value decomposition, 2004); what they leave out is seen by the last passes. The matrix
products are NumPy's, on a CPU faster than JAX's.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import threadpoolctl
from jaxtyping import Float, Float32, Int

from alignet.data.mapped import let_go

# All ours.
BLOCK = 4096  # rows at a time; the last bits depend on it
COMPONENTS = 128
SAMPLE = 32_768  # rows that the mean and the principal components are computed from
FIRST = 32  # rows for each cluster in the first sample
GROWTH = 4  # how many times larger the next sample is
# An iteration is the last if moving the centres lowers the inertia by a smaller share than this;
# one in all dimensions takes as long as many in a few.
COMPONENTS_TOLERANCE = 1e-3
TOLERANCE = 2e-3
ITERATIONS = 100  # at most, with each sample and in all dimensions
RESOLUTION = 1e-10  # of |x|²; a row no farther than this from a mean of rows is equal to them

# Starts a pass: slices, in order, and their rows, which are valid until the next is asked for.
Blocks = Callable[[], Iterator[tuple[slice, Float32[np.ndarray, "b p"]]]]


class Points(NamedTuple):
    """Rows, on disk or in memory, and their principal components.

    Attributes:
      z: the rows.
      mean: what is subtracted from them, the mean of a sample.
      components: of the centred rows, in random order: the first so many are a random sample. All
        dimensions as they are, if there are at most twice as many as COMPONENTS.
      order: the row of `z` that every row of `components` belongs to.
    """

    z: Float[np.ndarray, "n p"]
    mean: Float[np.ndarray, "p"]
    components: Float32[np.ndarray, "n d"]
    order: Int[np.ndarray, "n"]


class Fit(NamedTuple):
    """Clusters.

    Attributes:
      centres: near the means of their rows, which the next iteration would move them to.
      labels: the nearest centre of every row, the first of those equally near.
      inertia: mean squared distance to it.
    """

    centres: Float32[np.ndarray, "k p"]
    labels: Int[np.ndarray, "n"]
    inertia: float


def prepare(z: Float[np.ndarray, "n p"], seed: int) -> Points:
    """Centres and projects rows, for any number of fits.

    Args:
      z: one a row, all finite; pages of a memory map are given back as soon as they are read.
      seed: of the random order.
    """
    n, p = z.shape
    order = np.random.default_rng(seed).permutation(n)
    sample = _gather(z, np.sort(order[:SAMPLE]))
    mean = sample.mean(axis=0, dtype=np.float64).astype(z.dtype)
    basis = None
    if p > 2 * COMPONENTS:
        sample = (sample - mean).astype(np.float32)
        largest = (p - COMPONENTS, p - 1)
        basis = scipy.linalg.eigh(sample.T @ sample, subset_by_index=largest)[1]
    components = np.empty((n, p if basis is None else COMPONENTS), np.float32)
    place = np.argsort(order)
    for rows, x in _blocks(z, mean):
        components[place[rows]] = x if basis is None else x @ basis
    return Points(z, mean, components, order)


def fit(
    points: Points,
    k: int,
    rng: np.random.Generator,
    *,
    on_pass: Callable[[], object] = lambda: None,
) -> Fit:
    """Finds k clusters.

    Args:
      points: prepared rows.
      k: number of clusters, at most that of rows. If fewer rows are different, some stay empty.
      rng: of k-means++.
      on_pass: called after every pass over all rows in all dimensions, of which there is one or
        more.
    """
    z, mean, components, order = points
    n, rows = len(z), min(len(z), FIRST * k)
    # Its products are so thin that threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        centres = plus_plus(components[:rows], k, rng)
    while True:
        sample = components[:rows]
        found = lloyd(
            lambda sample=sample: _blocks(sample),
            sample.__getitem__,
            rows,
            centres,
            tolerance=COMPONENTS_TOLERANCE,
        )
        if rows == n:
            break
        centres, rows = found.centres, min(n, GROWTH * rows)
    labels = np.empty_like(found.labels)
    labels[order] = found.labels
    sums = sum(_sums(x, labels[rows], k) for rows, x in _blocks(z, mean))
    found = lloyd(
        lambda: _blocks(z, mean),
        lambda rows: (_gather(z, rows) - mean).astype(np.float32),
        n,
        _means(sums, np.bincount(labels, minlength=k)),
        tolerance=TOLERANCE,
        on_pass=on_pass,
    )
    return found._replace(centres=(found.centres + mean).astype(np.float32))


def plus_plus(
    x: Float32[np.ndarray, "n p"], k: int, rng: np.random.Generator
) -> Float32[np.ndarray, "k p"]:
    """Greedy k-means++: of 2 + ln k rows drawn by squared distance, the one that lowers it most."""
    n, candidates = len(x), 2 + int(np.log(k))
    columns, squares = np.ascontiguousarray(x.T), np.einsum("np,np->n", x, x)
    chosen, nearest = [], np.full(n, np.inf, np.float32)
    drawn = rng.integers(n, size=1)
    for _ in range(k):
        if chosen:
            cumulative = np.cumsum(nearest, dtype=np.float64)
            drawn = np.searchsorted(cumulative, rng.random(candidates) * cumulative[-1], "right")
            drawn = np.minimum(drawn, n - 1)
        distances = (-2 * x[drawn]) @ columns
        distances += squares
        distances += squares[drawn, None]
        np.clip(distances, 0, nearest, out=distances)
        best = distances.sum(axis=1).argmin()
        chosen.append(drawn[best])
        nearest = distances[best]
    return x[chosen]


def lloyd(
    blocks: Blocks,
    gather: Callable[[Int[np.ndarray, "m"]], Float32[np.ndarray, "m p"]],
    n: int,
    centres: Float32[np.ndarray, "k p"],
    *,
    tolerance: float,
    on_pass: Callable[[], object] = lambda: None,
) -> Fit:
    """Lloyd's algorithm; a centre that has no row moves to one of those farthest from theirs.

    Args:
      blocks: starts a pass.
      gather: the rows of given numbers.
      n: rows.
      centres: at the start.
      tolerance: ends when moving the centres lowers the inertia by no larger a share.
      on_pass: called after every pass.
    """
    for left in reversed(range(ITERATIONS)):
        labels, distances, sums = _assign(blocks(), n, centres)
        on_pass()
        counts = np.bincount(labels, minlength=len(centres))
        means = np.where(counts[:, None] > 0, _means(sums, counts), centres)
        gain = counts @ np.square(means - centres).sum(axis=1) / n
        inertia = float(distances.mean(dtype=np.float64))
        empty = np.flatnonzero(counts == 0)
        far = np.argsort(-distances, kind="stable")[: len(empty)] if len(empty) else empty
        rows = gather(far)
        apart = distances[far] > RESOLUTION * np.einsum("mp,mp->m", rows, rows)
        if not left or (gain <= tolerance * inertia and not apart.any()):
            return Fit(centres, labels, inertia)
        centres = means
        centres[empty[apart]] = rows[apart]


def _assign(
    blocks: Iterator[tuple[slice, np.ndarray]], n: int, centres: Float32[np.ndarray, "k p"]
) -> tuple[Int[np.ndarray, "n"], Float32[np.ndarray, "n"], Float[np.ndarray, "k p"]]:
    """The nearest centre of every row, the squared distance to it, and sums of each one's rows."""
    (k, p), size = centres.shape, min(n, BLOCK)
    labels, distances, sums = np.empty(n, np.int64), np.empty(n, np.float32), np.zeros((k, p))
    weights, norms = -2 * centres.T, np.einsum("kp,kp->k", centres, centres)
    scores, difference = np.empty((size, k), np.float32), np.empty((size, p), np.float32)
    for rows, x in blocks:
        score = np.matmul(x, weights, out=scores[: len(x)])
        score += norms
        labels[rows] = nearest = score.argmin(axis=1)
        sums += _sums(x, nearest, k)
        # The scores would give |x − c|², too, but for the digits that they cancel.
        apart = np.take(centres, nearest, axis=0, out=difference[: len(x)], mode="clip")
        np.subtract(x, apart, out=apart)
        distances[rows] = np.einsum("bp,bp->b", apart, apart)
    return labels, distances, sums


def _sums(
    x: Float32[np.ndarray, "b p"], labels: Int[np.ndarray, "b"], k: int
) -> Float[np.ndarray, "k p"]:
    """Sums of the rows of every cluster: a product with one-hot labels, which is sparse."""
    ones, ends = np.ones(len(x), np.float32), np.arange(len(x) + 1)
    return (scipy.sparse.csc_array((ones, labels, ends), shape=(k, len(x))) @ x).astype(np.float64)


def _means(
    sums: Float[np.ndarray, "k p"], counts: Int[np.ndarray, "k"]
) -> Float32[np.ndarray, "k p"]:
    """Means of clusters; those without rows have theirs at the origin."""
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)


def _blocks(
    z: Float[np.ndarray, "n p"], mean: Float[np.ndarray, "p"] | None = None
) -> Iterator[tuple[slice, Float32[np.ndarray, "b p"]]]:
    """Rows in order, BLOCK at a time; float32 copies less `mean`, if that is given."""
    buffer = None if mean is None else np.empty((min(len(z), BLOCK), z.shape[1]), np.float32)
    for begin in range(0, len(z), BLOCK):
        rows = slice(begin, begin + BLOCK)
        x = z[rows]
        if mean is not None:
            x = np.subtract(x, mean, out=buffer[: len(x)], casting="same_kind")
            let_go(z)
        yield rows, x


def _gather(z: Float[np.ndarray, "n p"], rows: Int[np.ndarray, "m"]) -> Float[np.ndarray, "m p"]:
    """Copies of rows, few enough at a time that a memory map's pages around them are few, too."""
    out = np.empty((len(rows), z.shape[1]), z.dtype)
    for begin in range(0, len(rows), BLOCK):
        some = slice(begin, begin + BLOCK)
        out[some] = z[rows[some]]
        let_go(z)
    return out
