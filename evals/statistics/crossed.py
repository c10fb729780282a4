"""Means over crossed samples: the same test images after every draw of training examples.

Draws share their images, so that the answers are not independent and their number says little: with
three draws of examples and a million images, the draws alone decide how sure the mean is. With
y_di = μ + a_d + b_i + e_di for draw d and image i, the variance of the mean is that of a few draws'
effects a_d, of many images' effects b_i, and of the rest e_di. The first follows from the draws'
means and the second from the images', both of which hold the third.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Float

from evals.statistics.intervals import TAILS, Measured


class Mean(NamedTuple):
    """A mean over draws and images.

    Attributes:
      measured: the mean; its interval is for other draws and other images, n is that of images.
      p: probability, were it 0, of a mean at least this far from it; two-sided.
    """

    measured: Measured
    p: float


def mean(values: Float[np.ndarray, "r m"]) -> Mean:
    """The mean of all values, with an interval by Student's t.

    Its quantile is Cochran and Cox's (1957), between that of r − 1 degrees of freedom, where draws
    make all the difference, and m − 1, where images do: of two or three draws, which look alike by
    chance, Satterthwaite's degrees of freedom would be too many.

    Args:
      values: one row a draw, of which there are at least two, and one column an image; NaN where an
        image was not tested, because it was an example.

    Returns:
      The mean over all images that were tested, each as often as it was.
    """
    tested = np.isfinite(values)
    values = values[:, tested.any(axis=0)].astype(np.float64)
    tested = np.isfinite(values)
    total, (r, m) = int(tested.sum()), values.shape
    average = float(values[tested].mean())
    residual = np.where(tested, values - average, 0)
    by_image = residual.sum(axis=0)
    draws = _variance(residual.sum(axis=1), total)
    images = _variance(by_image, total)
    # What is left of the differences between values of the same image, in both of the above.
    times = tested.sum(axis=0)
    within = float((residual**2).sum() - (by_image**2 / times).sum())
    rest = within / (total - m) / total if total > m else 0.0
    # No less than with these draws alone: a variance between draws cannot be negative.
    variance = images + max(0.0, draws - rest)
    if variance == 0:
        # All values are alike; m of them may be by chance.
        return Mean(Measured(average, average, average, m), 2 * 0.5**m if average else 1.0)
    error = variance**0.5
    freedom, weights = np.array([r - 1, max(m - 1, 1)]), np.array([draws, images])
    weights /= weights.sum()

    def quantile(tail: float) -> float:
        return float(weights @ scipy.stats.t.isf(tail, freedom))

    low, high = (average - error * quantile(tail) for tail in TAILS)
    p = _tail(quantile, abs(average) / error)
    return Mean(Measured(average, float(low), float(high), m), p)


def _tail(quantile: Callable[[float], float], t: float) -> float:
    """The two-sided p at which the quantile is t."""
    low = -300.0  # of its logarithm to base 10
    if quantile(10**low / 2) <= t:
        return 0.0
    return 10 ** scipy.optimize.brentq(lambda x: quantile(10**x / 2) - t, low, 0, xtol=1e-9)


def _variance(sums: Float[np.ndarray, " k"], total: int) -> float:
    """The variance of a mean of `total` values from the sums of k clusters' residuals."""
    k = len(sums)
    return float((sums**2).sum()) / total**2 * k / max(k - 1, 1)
