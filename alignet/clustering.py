"""Superordinate clusters: k-means on the aligned teacher's embeddings (002, 4.1 and A.1.2).

The paper clusters into 500, chosen by the elbow criterion, and says no more; Euclidean distance,
k-means++, mini-batches and restarts are ours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import MiniBatchKMeans

from alignet.errors import InputError
from alignet.runtime.progress import progress


class Clusters(NamedTuple):
    """The elbow curve, and the clusters at the chosen k.

    Attributes:
      labels: [n], the cluster of every image; −1 where a cluster has one image only, since no
        triplet can be drawn from it.
      chosen: the chosen number of clusters.
      ks: [K], the numbers of clusters that were tried, ascending.
      inertia: [restarts, K], mean squared distances to the nearest centre.
    """

    labels: Int[np.ndarray, "n"]
    chosen: int
    ks: Int[np.ndarray, "K"]
    inertia: Float[np.ndarray, "restarts K"]


def cluster(
    z: Float[np.ndarray, "n p"], *, ks: tuple[int, ...], restarts: int, batch_size: int, seed: int
) -> Clusters:
    """Clusters embeddings at every k, restarting each, and keeps the best run at the elbow.

    Args:
      z: aligned embeddings, one image a row; may be a memory map.
      ks: numbers of clusters to try; with one only, that is chosen.
      restarts: runs of k-means++ for each k.
      batch_size: images in a mini-batch.
      seed: of the restarts.

    Raises:
      InputError: there are fewer images than clusters.
    """
    ks = np.sort(np.array(ks))
    if ks[-1] > len(z):
        raise InputError(f"{ks[-1]} clusters for {len(z)} images; expected at most one an image.")
    inertia, labels = np.empty((restarts, len(ks))), {}
    bar = progress(total=inertia.size, desc="k-means")
    for column, k in enumerate(ks):
        for restart in range(restarts):
            kmeans = MiniBatchKMeans(
                int(k),
                init="k-means++",
                n_init=1,
                batch_size=batch_size,
                random_state=seed + restart,
            ).fit(z)
            inertia[restart, column] = kmeans.inertia_ / len(z)
            if inertia[restart, column] == inertia[: restart + 1, column].min():
                labels[column] = kmeans.labels_
            bar.update()
    bar.close()
    column = elbow(ks, inertia.min(axis=0))
    chosen = labels[column].astype(np.int64)
    single = np.bincount(chosen, minlength=int(ks[column])) < 2
    return Clusters(np.where(single[chosen], -1, chosen), int(ks[column]), ks, inertia)


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
