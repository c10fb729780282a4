"""A space of many dimensions in few: PCA, TriMap and PaCMAP. (002, B.3.1)

The axes of a PCA are defined but for their direction, which is fixed here: the third moment of the
scores is positive, so that the longer tail is on the positive side. That does not change if the
space is rotated, shifted or scaled. The axes of the other two mean nothing.

Equal points and seeds give equal maps on one machine. PaCMAP takes a seed. TriMap has none: it
draws triplets from the generators of Numba's threads, so that it is given a single thread whose
generator is seeded. Neither is slower for it: what takes long in them was never parallel. On
another machine the approximate search for neighbours, and with it the maps, may differ a little.
"""

import functools
import importlib
import logging
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple, no_type_check

import numpy as np
import scipy.linalg
from jaxtyping import Float, Float32, Float64

from alignet.errors import Absent, InputError
from evals.models import Rows

BLOCK = 8192  # rows in memory as float64
# TriMap and PaCMAP reduce their input to as many principal components, by a randomised SVD.
N_INPUTS = 100
FEWEST = 50  # points: TriMap compares each with its 12 nearest and with others. Ours
TRIMAP, PACMAP = "trimap==1.1.5", "pacmap==0.9.1"
Points = Float32[np.ndarray, "n 2"]


class Principal(NamedTuple):
    """Attributes:
    scores: of the n points on the first k principal components.
    shares: of the variance that each of these components has; of all components they sum to 1.
    """

    scores: Float64[np.ndarray, "n k"]
    shares: Float64[np.ndarray, " k"]


def pca(rows: Rows, n_components: int) -> Principal:
    """Exact PCA by the eigenvectors of the covariance matrix, in float64.

    Args:
      rows: one point a row, at least two; read three times, a block at a time.
      n_components: how many; fewer if the space has no more, or the points cannot span more.

    Raises:
      InputError: all rows are equal.
    """
    n, p = rows.shape
    starts = range(0, n, BLOCK)
    # From the first row on, so that equal rows have no variance by rounding.
    origin = np.asarray(rows[0:1], np.float64)[0]
    shifted = sum((rows[start : start + BLOCK] - origin).sum(axis=0) for start in starts)
    mean = origin + shifted / n
    covariance = np.zeros((p, p))
    for start in starts:
        block = rows[start : start + BLOCK] - mean
        covariance += block.T @ block
    total = covariance.trace()
    if not total > 0:
        raise InputError(f"all {n:,} rows are equal; expected rows that differ.")
    k = min(n_components, p, n - 1)
    variances, axes = scipy.linalg.eigh(covariance, subset_by_index=(p - k, p - 1))
    variances, axes = variances[::-1].clip(0), axes[:, ::-1]
    scores = np.concatenate([(rows[start : start + BLOCK] - mean) @ axes for start in starts])
    return Principal(scores * np.where((scores**3).sum(axis=0) < 0, -1, 1), variances / total)


def trimap(points: Float[np.ndarray, "n d"], *, seed: int) -> Points:
    """TriMap (Amid and Warmuth 2019) in two dimensions, with its library's settings.

    Args:
      points: at least `FEWEST`; of more than `N_INPUTS` dimensions the first principal components.
      seed: of its triplets, less than 2³¹.

    Raises:
      Absent: the library is not installed.
    """
    library = _library(TRIMAP)
    import numba

    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        _seed_thread()(seed)
        return library.TRIMAP().fit_transform(points)
    finally:
        numba.set_num_threads(threads)


def pacmap(points: Float[np.ndarray, "n d"], *, seed: int) -> Points:
    """PaCMAP (Wang et al. 2021) in two dimensions, with its library's settings.

    Args:
      points: as for `trimap`.
      seed: of its pairs, less than 2³¹.

    Raises:
      Absent: the library is not installed.
    """
    library = _library(PACMAP)
    # It warns of every seed.
    logging.getLogger("pacmap").setLevel(logging.ERROR)
    return library.PaCMAP(random_state=seed).fit_transform(points.astype(np.float32))


def mirrored(scores: Float[np.ndarray, "n k"], like: Float[np.ndarray, "n k"]) -> np.ndarray:
    """Scores with the signs that make them go with those of the same points in another space."""
    return scores * np.where((scores * like).sum(axis=0) < 0, -1, 1)


def turned(points: Float[np.ndarray, "n 2"], like: Float[np.ndarray, "n 2"]) -> np.ndarray:
    """A map whose axes mean nothing, rotated and perhaps mirrored to lie like another."""
    centred, target = points - points.mean(axis=0), like - like.mean(axis=0)
    return centred @ scipy.linalg.orthogonal_procrustes(centred, target)[0]


def _library(requirement: str) -> ModuleType:
    # Not at the top: to import TriMap compiles it, which takes some ten seconds each time.
    name = requirement.partition("==")[0]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Absent(
            f"{name} cannot be imported ({error}); expected it by `pip install {requirement}`."
        ) from None


@functools.cache
def _seed_thread() -> Callable[[int], None]:
    """What seeds the generator of the thread that runs parallel loops, which is not always this."""
    import numba

    @numba.njit(parallel=True)
    @no_type_check  # the tests would wrap it, and Numba compiles no wrappers
    def seed_thread(seed):
        for _ in numba.prange(1):
            np.random.seed(seed)  # noqa: NPY002 (Numba has no other)

    return seed_thread
