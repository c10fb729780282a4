"""Means over trainings: their intervals."""

import numpy as np
import scipy.stats

from evals.statistics import trainings
from evals.statistics.intervals import Measured

VALUES = (0.5, 0.5, 0.5), (0.45, 0.5, 0.55)


def test_an_interval_over_trainings_is_between_that_of_items_and_students_t():
    items = Measured(0.5, 0.4, 0.6, 90)
    alike, apart = ([Measured(v, v - 0.1, v + 0.1, 90) for v in values] for values in VALUES)
    assert trainings.mean(items, alike[:1], same_items=True) == items
    np.testing.assert_allclose(trainings.mean(items, alike, same_items=True), items)
    # All of the variance between trainings.
    exact = items._replace(low=0.5, high=0.5)
    _, low, high, _ = trainings.mean(exact, apart, same_items=True)
    values = [one.value for one in apart]
    ends = scipy.stats.t.interval(0.95, 2, loc=0.5, scale=scipy.stats.sem(values))
    np.testing.assert_allclose((low, high), ends, rtol=1e-12)
    # Other items make as much of a difference as there is.
    wide = [one._replace(low=one.value - 0.3, high=one.value + 0.3) for one in apart]
    np.testing.assert_allclose(trainings.mean(items, wide, same_items=False), items)
    assert trainings.mean(items, wide, same_items=True).low < 0.4


def test_an_interval_over_trainings_holds_what_is_true_as_often_as_it_says():
    rng, k, m, held = np.random.default_rng(0), 3, 60, 0
    for _ in range(600):
        values = (
            0.1 * rng.normal(size=(k, 1)) + 0.5 * rng.normal(size=m) + 0.5 * rng.normal(size=(k, m))
        )

        def mean(x):
            half = 1.96 * x.std(ddof=1) / m**0.5
            return Measured(x.mean(), x.mean() - half, x.mean() + half, m)

        items, each = mean(values.mean(axis=0)), [mean(row) for row in values]
        _, low, high, _ = trainings.mean(items, each, same_items=True)
        held += low < 0 < high
    assert 0.93 < held / 600 < 0.995
