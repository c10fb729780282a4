"""Which triplets of images to ask about, and the aligned teacher's soft answers (002, A.1.2)."""

import numpy as np
from jaxtyping import Float, Int

from alignet import triplets as kernels
from alignet.data.alignet_triplets import AligNetTriplets
from alignet.errors import InputError
from alignet.runtime.progress import progress

# Rows gathered at a time when the teacher answers; bounds memory, changes no number.
CHUNK = 16_384


def random_triplets(
    n_images: int,
    n_triplets: int,
    rng: np.random.Generator,
    *,
    labels: Int[np.ndarray, "n"] | None = None,
) -> Int[np.ndarray, "t 3"]:
    """Draws three different images uniformly, of three different classes if labels are given."""
    if len(np.unique(np.arange(n_images) if labels is None else labels)) < 3:
        raise InputError("random triplets need at least three images, of three classes.")
    drawn = []
    missing = n_triplets
    while missing:
        triplets = rng.integers(0, n_images, (missing + missing // 8 + 8, 3))
        i, j, k = triplets.T if labels is None else labels[triplets].T
        drawn.append(triplets[(i != j) & (i != k) & (j != k)][:missing])
        missing -= len(drawn[-1])
    return np.concatenate(drawn)


def boundary_triplets(
    labels: Int[np.ndarray, "n"],
    n_triplets: int,
    rng: np.random.Generator,
    *,
    by_size: bool = False,
) -> Int[np.ndarray, "t 3"]:
    """Draws two different images of one class or cluster and a third of another.

    Args:
      labels: the class (class-boundary) or cluster (cluster-boundary) of every image; images
        labelled −1 are left out.
      n_triplets: how many.
      rng: source of randomness.
      by_size: whether a cluster is chosen in proportion to its images; the paper does not say, and
        by default every cluster is as likely.

    Returns:
      Rows of images, the third from another cluster.

    Raises:
      InputError: there is no cluster with two images beside another cluster.
    """
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")[(labels < 0).sum() :]
    names, start, size = np.unique(labels[order], return_index=True, return_counts=True)
    if len(names) < 2 or size.max() < 2:
        raise InputError(
            f"{len(names)} clusters, the largest of {size.max(initial=0)} images; boundary "
            "triplets expect at least two clusters and two images in one of them."
        )

    def clusters(weight: np.ndarray, n: int) -> np.ndarray:
        return rng.choice(len(names), n, p=weight / weight.sum())

    weight = size if by_size else np.ones(len(names))
    one = clusters(weight * (size >= 2), n_triplets)
    first = rng.integers(0, size[one])
    second = rng.integers(0, size[one] - 1)
    second += second >= first
    other = clusters(weight, n_triplets)
    while (same := other == one).any():
        other[same] = clusters(weight, int(same.sum()))
    third = rng.integers(0, size[other])
    return np.stack(
        [order[start[one] + first], order[start[one] + second], order[start[other] + third]], axis=1
    )


def answer(
    z: Float[np.ndarray, "n p"],
    triplets: Int[np.ndarray, "t 3"],
    filenames: np.ndarray,
) -> AligNetTriplets:
    """Lets the teacher answer: the AligNet dataset, in the released layout.

    Every row is ordered by the teacher's similarities, s01 ≥ s02 ≥ s12: image 2 is the odd one out
    and image 0 the nearer of the others to it.

    Args:
      z: the teacher's embeddings, one image a row; may be a memory map.
      triplets: rows of images.
      filenames: [n], the images' names.
    """
    s = np.empty(triplets.shape, np.float32)
    for begin in progress(range(0, len(triplets), CHUNK), desc="teacher's answers"):
        rows = slice(begin, begin + CHUNK)
        s[rows] = kernels.pair_similarities(z[triplets[rows]])
    rank = np.argsort(-s, axis=1, kind="stable")
    # Pairs (ij, ik, jk) lack objects k, j, i: 0 is missing from the last pair only, and so on.
    indices = np.take_along_axis(triplets, 2 - rank[:, ::-1], axis=1)
    similarities = np.take_along_axis(s, rank, axis=1)
    return AligNetTriplets(filenames[indices], similarities, indices.astype(np.int64))
