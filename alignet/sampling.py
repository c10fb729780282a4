"""Which triplets of images to ask about, and the aligned teacher's soft answers (002, A.1.2)."""

import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from alignet.data.mapped import let_go
from alignet.errors import InputError
from alignet.runtime.progress import progress

# Drawn at a time. As many are drawn for fewer triplets, which are thus the first of more.
DRAWN = 65_536
# Of all images in memory at a time, 656 MB of ImageNet's in float32. A dot product is summed in
# parts of so many: another number gives other last bits.
COLUMNS = 128  # ours
# Bound memory and change no number: images read, triplets a thread's task, triplets in its cache.
IMAGES, TASK, CACHED = 16_384, 65_536, 512
# Of three images drawn from all, the least probability that their classes differ.
LEAST = 1e-4


class Drawn(NamedTuple):
    """Triplets of images, as rows of the image set.

    Attributes:
      train: int32 [t, 3].
      validation: int32 [v, 3], none of the same three images as one of `train`.
    """

    train: Int[np.ndarray, "t 3"]
    validation: Int[np.ndarray, "v 3"]


class _Groups(NamedTuple):
    """Images by their label: group g is `images[start[g] : start[g] + size[g]]`."""

    images: Int[np.ndarray, " n"]
    start: Int[np.ndarray, " g"]
    size: Int[np.ndarray, " g"]


def draw(
    scheme: str,
    labels: Int[np.ndarray, " n"],
    n_triplets: int,
    *,
    n_validation: int = 0,
    by_size: bool = False,
    seed: int,
) -> Drawn:
    """Draws triplets of images to train with, and others to validate with.

    The triplets depend on nothing but the arguments, those for training not on `n_validation`, and
    the first m of n are those that m would give. Validation has a stream of its own, and is of the
    same images: only a triplet of the very images of one for training is drawn again.

    Args:
      scheme: a key of `SCHEMES`. "cluster-boundary" and "class-boundary": two images of one label
        and a third of another; "random": three images of three labels, all such triplets being as
        likely; "within-class": three of one label.
      labels: the cluster or class of every image. Images labelled −1 are left out. With a label
        an image, random triplets are any three images.
      n_triplets, n_validation: how many.
      by_size: whether a label is drawn in proportion to its images; the paper does not say, and by
        default every label is as likely. Random triplets do not depend on it.
      seed: of the stream.

    Raises:
      InputError: the scheme is unknown, there are too few labels or images for it, or too few for
        validation triplets beside those for training.
    """
    if scheme not in SCHEMES:
        raise InputError(f"sampling scheme {scheme!r}; expected one of {', '.join(SCHEMES)}.")
    if n_triplets < 1 or n_validation < 0:
        raise InputError(
            f"{n_triplets} triplets and {n_validation} for validation; expected at least 1 and 0."
        )
    images = np.argsort(labels, kind="stable")[(labels < 0).sum() :]
    _, start, size = np.unique(labels[images], return_index=True, return_counts=True)
    groups = _Groups(images.astype(np.int32), start, size)
    train = _first(n_triplets, SCHEMES[scheme](groups, by_size, np.random.default_rng(seed)))
    stream = SCHEMES[scheme](groups, by_size, np.random.default_rng([seed, 2]))
    return Drawn(train, _first(n_validation, _others(train, stream, len(labels))))


def _boundary(groups: _Groups, by_size: bool, rng: np.random.Generator) -> Iterator[np.ndarray]:
    images, start, size = groups
    pairs = _of_at_least(2, groups, least_groups=2, wanted="boundary triplets expect")
    while True:
        one = _labels(pairs, size, by_size, rng)
        first, second = _different(2, size[one], rng)
        # Without the label `one`, the labels or images after it move up.
        if by_size:
            third = rng.integers(0, len(images) - size[one])
            third += np.where(third >= start[one], size[one], 0)
        else:
            other = rng.integers(0, len(size) - 1, DRAWN)
            other += other >= one
            third = start[other] + rng.integers(0, size[other])
        yield images[np.stack([start[one] + first, start[one] + second, third], axis=1)]


def _within(groups: _Groups, by_size: bool, rng: np.random.Generator) -> Iterator[np.ndarray]:
    images, start, size = groups
    threes = _of_at_least(3, groups, least_groups=1, wanted="triplets within a class expect")
    while True:
        one = _labels(threes, size, by_size, rng)
        yield images[start[one, None] + np.stack(_different(3, size[one], rng), axis=1)]


def _random(groups: _Groups, by_size: bool, rng: np.random.Generator) -> Iterator[np.ndarray]:
    images, _, size = groups
    share = size / max(1, len(images))
    probability = 1 - 3 * (share**2).sum() + 2 * (share**3).sum()
    if len(size) < 3 or probability < LEAST:
        raise InputError(
            f"{len(size)} labels of {len(images)} images, the largest of {size.max(initial=0)}; "
            "random triplets expect three images, of three classes, and few of them to share one."
        )
    label = np.repeat(np.arange(len(size), dtype=np.int32), size)
    while True:
        places = rng.integers(0, len(images), (DRAWN, 3))
        i, j, k = label[places].T
        yield images[places[(i != j) & (i != k) & (j != k)]]


SCHEMES = {
    "cluster-boundary": _boundary,
    "class-boundary": _boundary,
    "random": _random,
    "within-class": _within,
}


def _of_at_least(n_images: int, groups: _Groups, *, least_groups: int, wanted: str) -> np.ndarray:
    size = groups.size
    if len(size) < least_groups or size.max() < n_images:
        raise InputError(
            f"{len(size)} clusters or classes, the largest of {size.max(initial=0)} images; "
            f"{wanted} at least {least_groups} and {n_images} images in one of them."
        )
    return np.flatnonzero(size >= n_images)


def _labels(
    among: np.ndarray, size: np.ndarray, by_size: bool, rng: np.random.Generator
) -> np.ndarray:
    if not by_size:
        return among[rng.integers(0, len(among), DRAWN)]
    end = np.cumsum(size[among])
    return among[np.searchsorted(end, rng.integers(0, end[-1], DRAWN), side="right")]


def _different(n: int, size: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """So many different places in each of groups of these sizes."""
    found = []
    for taken in range(n):
        place = rng.integers(0, size - taken)
        # Places from those taken on move up, past the lowest first.
        for before in np.sort(found, axis=0):
            place += place >= before
        found.append(place)
    return found


def _first(n: int, stream: Iterator[np.ndarray]) -> Int[np.ndarray, "n 3"]:
    found = np.empty((n, 3), np.int32)
    filled = 0
    while filled < n:
        block = next(stream)[: n - filled]
        found[filled : filled + len(block)] = block
        filled += len(block)
    return found


def _others(train: np.ndarray, stream: Iterator[np.ndarray], n_images: int) -> Iterator[np.ndarray]:
    """Those of the stream that are not of the same images as a triplet for training."""
    starts = range(0, len(train), DRAWN)
    known = np.concatenate([_sets(train[start : start + DRAWN], n_images) for start in starts])
    known.sort()
    for block in stream:
        sets = _sets(block, n_images)
        at = np.searchsorted(known, sets)
        new = known[np.minimum(at, len(known) - 1)] != sets
        if not new.any():
            raise InputError(
                f"{len(train)} training triplets leave no others for validation; expected fewer "
                "of them or more images."
            )
        yield block[new]


def _sets(triplets: np.ndarray, n_images: int) -> np.ndarray:
    """A number a triplet, the same for the same three images in any order.

    Modulo 2^64: of millions of images two sets may share a number, and one is left out in vain.
    """
    a, b, c = np.sort(triplets, axis=1).T.astype(np.uint64)
    return (a * np.uint64(n_images) + b) * np.uint64(n_images) + c


def soft_answers(
    z: Float[np.ndarray, "n p"], triplets: Int[np.ndarray, "t 3"]
) -> tuple[Float[np.ndarray, "t 3"], Int[np.ndarray, "t 3"]]:
    """Lets the teacher answer.

    Every row is ordered by the teacher's similarities, s01 ≥ s02 ≥ s12: image 2 is the odd one out
    and image 0 the nearer of the others to it. Products are summed in the type of `z`, by NumPy
    over `COLUMNS` columns at a time, and then these sums in the order of the columns. So a row's
    answer depends on this row alone, to the last bit: parts of the triplets may be answered apart.

    Of a matrix in a file, opened for reading only, no more than `COLUMNS` columns are in memory;
    the file is read once for every so many.

    Args:
      z: the teacher's embeddings, one image a row; may be a memory map.
      triplets: rows of images.

    Returns:
      similarities: float32 [t, 3], dot products in the order (s01, s02, s12).
      images: the triplets, each in its order.
    """
    n, p = z.shape
    if len(triplets) and not 0 <= triplets.min() <= triplets.max() < n:
        raise IndexError(f"triplets of images from {triplets.min()} to {triplets.max()} of {n}")
    z = np.asarray(z)
    sums = np.zeros(triplets.shape, z.dtype)
    part = np.empty((n, min(COLUMNS, p)), z.dtype)
    similarities, images = np.empty(triplets.shape, np.float32), np.empty_like(triplets)

    def read(column: int, start: int) -> None:
        rows = slice(start, start + IMAGES)
        block = z[rows, column : column + COLUMNS]
        part[rows, : block.shape[1]] = block
        part[rows, block.shape[1] :] = 0
        let_go(z)

    def add(start: int) -> None:
        rows = slice(start, start + TASK)
        _add_products(sums[rows], part, triplets[rows])

    def order(start: int) -> None:
        rows = slice(start, start + TASK)
        rank = np.argsort(-sums[rows], axis=1, kind="stable")
        similarities[rows] = np.take_along_axis(sums[rows], rank, axis=1)
        # Pairs (ij, ik, jk) lack objects k, j, i: 0 is missing from the last pair only, and so on.
        images[rows] = np.take_along_axis(triplets[rows], 2 - rank[:, ::-1], axis=1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for column in progress(range(0, p, COLUMNS), desc="teacher's answers", unit=" part"):
            list(pool.map(functools.partial(read, column), range(0, n, IMAGES)))
            list(pool.map(add, range(0, len(triplets), TASK)))
        list(pool.map(order, range(0, len(triplets), TASK)))
    return similarities, images


def _add_products(sums: np.ndarray, part: np.ndarray, triplets: np.ndarray) -> None:
    """Adds the pairs' dot products over some columns, `part`, in the order (ij, ik, jk)."""
    gathered = np.empty((3, CACHED, part.shape[1]), part.dtype)
    for start in range(0, len(triplets), CACHED):
        rows = slice(start, start + CACHED)
        some = gathered[:, : len(triplets[rows])]
        for images, out in zip(triplets[rows].T, some, strict=True):
            # Nothing is out of range, but only so NumPy writes to `out` directly.
            part.take(images, axis=0, out=out, mode="clip")
        i, j, k = some
        for pair, (left, right) in enumerate([(i, j), (i, k), (j, k)]):
            sums[rows, pair] += np.vecdot(left, right)
