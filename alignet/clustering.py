"""Superordinate clusters: k-means on the aligned teacher's embeddings (002, 4.1 and A.1.2).

The paper clusters into 500, chosen by the elbow criterion, and says no more; Euclidean distance,
k-means++ and restarts are ours.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from alignet import kmeans
from alignet.errors import InputError
from alignet.runtime.progress import progress


class Clusters(NamedTuple):
    """The elbow curve, and the clusters at the chosen k.

    Attributes:
      labels: [n], the cluster of every image; −1 where a cluster has one image only, since no
        triplet can be drawn from it.
      chosen: the chosen number of clusters.
      ks: [K], the numbers of clusters that were tried, ascending.
      inertia: [restarts, K], mean squared distances to the nearest centre, over all images.
      centres: [chosen, p], in the space of the embeddings; clusters of one image have theirs, too.
    """

    labels: Int[np.ndarray, "n"]
    chosen: int
    ks: Int[np.ndarray, "K"]
    inertia: Float[np.ndarray, "restarts K"]
    centres: Float32[np.ndarray, "chosen p"]


def cluster(
    z: Float[np.ndarray, "n p"], *, ks: Sequence[int], restarts: int, seed: int
) -> Clusters:
    """Clusters embeddings at every k, restarting each, and keeps the best run at the elbow.

    The same seed gives the same bits, from an array as from a memory map.

    Args:
      z: aligned embeddings, one image a row; may be a memory map, of which a block at a time is in
        memory.
      ks: numbers of clusters to try; with one only, that is chosen.
      restarts: runs of k-means++ for each k.
      seed: of the restarts.

    Raises:
      InputError: there are fewer images than clusters, or nothing is asked for.
    """
    ks = np.unique(np.array(ks, np.int64))
    if restarts < 1 or not len(ks) or ks[0] < 1:
        raise InputError(
            f"clusters: ks = {ks.tolist()} and restarts = {restarts}; expected one or more numbers "
            "of clusters, each at least 1, and at least 1 restart."
        )
    if ks[-1] > len(z):
        raise InputError(f"{ks[-1]} clusters for {len(z)} images; expected at most one an image.")
    inertia, best = np.full((restarts, len(ks)), np.inf), {}
    # A run takes as long as it has centres, at the least; more if it takes more passes.
    with progress(total=restarts * int(ks.sum()), desc="k-means", unit="centre") as bar:
        points = kmeans.prepare(z, seed)
        for column, k in enumerate(ks.tolist()):
            for restart in range(restarts):
                end = bar.n + k
                rng = np.random.default_rng([seed, k, restart])
                found = kmeans.fit(points, k, rng, on_pass=functools.partial(bar.update, k))
                bar.total += bar.n - end
                if found.inertia < inertia[:, column].min():
                    best[column] = found
                inertia[restart, column] = found.inertia
    column = elbow(ks, inertia.min(axis=0))
    centres, labels, _ = best[column]
    single = np.bincount(labels, minlength=len(centres)) == 1
    labels = np.where(single[labels], -1, labels)
    return Clusters(labels, len(centres), ks, inertia, centres)


def elbow(ks: Int[np.ndarray, "K"], inertia: Float[np.ndarray, "K"]) -> int:
    """The elbow of a falling curve: the point farthest below the chord between its ends.

    Both axes are logarithmic, scaled to [0, 1]: candidates are usually spaced by factors, and the
    choice then depends on neither unit.

    Returns:
      The index into `ks`.
    """
    if len(ks) == 1:
        return 0
    x, y = np.log(ks), np.log(np.maximum(inertia, np.finfo(float).tiny))
    x, y = (x - x[0]) / (x[-1] - x[0]), (y - y[-1]) / max(y[0] - y[-1], np.finfo(float).tiny)
    return int(np.argmax(1 - x - y))
