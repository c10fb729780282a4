"""Means over several trainings of the same kind, whose numbers differ by chance as well.

As in `crossed`, the variance of the mean is that of the items, plus a k-th of the variance between
k trainings, and the quantile lies between the normal distribution's and that of Student's t with
k − 1 degrees of freedom, weighted by the two (Cochran and Cox 1957).
"""

from collections.abc import Sequence

import numpy as np
import scipy.stats

from evals.statistics.intervals import TAILS, Measured

NORMAL = 1.96


def mean(items: Measured, each: Sequence[Measured], *, same_items: bool) -> Measured:
    """A mean over trainings, with an interval for other trainings and other items.

    Args:
      items: the mean; its interval is for other items alone.
      each: the trainings' own numbers.
      same_items: whether all were measured on the same items. If not, as much of the variance
        between their numbers as comes of other items, by their intervals, is not counted again.

    Returns:
      The mean; of a single training, `items` as it is.
    """
    k = len(each)
    if k == 1:
        return items
    between = np.var([one.value for one in each], ddof=1)
    if not same_items:
        between -= np.mean([((one.high - one.low) / 2 / NORMAL) ** 2 for one in each])
    trainings = max(0.0, float(between)) / k
    student = float(scipy.stats.t.ppf(TAILS[1], k - 1))

    def reach(side: float) -> float:
        variance = (side / NORMAL) ** 2
        total = variance + trainings
        return total**-0.5 * (variance * NORMAL + trainings * student) if total else 0.0

    value, low, high, n = items
    return Measured(value, value - reach(value - low), value + reach(high - value), n)
