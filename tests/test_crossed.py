"""Means over draws and images: known limits, and whether 95 % intervals hold in 95 % of cases."""

import numpy as np
import pytest
import scipy.stats

from evals.statistics import crossed, intervals


def world(rng, draws, images, rest, shape=(3, 150)):
    """Values around 0, with these standard deviations."""
    r, m = shape
    a, b = rng.normal(0, draws, (r, 1)), rng.normal(0, images, m)
    return a + b + rng.normal(0, rest, shape)


@pytest.mark.parametrize("missing", [0, 0.6])
@pytest.mark.parametrize("draws", [0, 0.1])
def test_the_interval_holds_for_other_draws_and_images(draws, missing):
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(250):
        values = world(rng, draws, 0.4, 0.3)
        for row in values:
            row[rng.permutation(len(row))[: int(missing * len(row))]] = np.nan
        found = crossed.mean(values)
        inside = found.measured.low <= 0 <= found.measured.high
        assert inside == (found.p > 0.05)
        hits += inside
    # The quantile errs on the safe side, and guards against a part that is not there.
    assert 0.92 <= hits / 250 <= 0.995


def test_of_draws_alone_it_is_a_t_test_over_draws():
    effects = np.array([0.2, 0.5, 0.3])
    values = np.repeat(effects[:, None], 100_000, axis=1)
    found, expected = crossed.mean(values), scipy.stats.ttest_1samp(effects, 0)
    low, high = expected.confidence_interval(0.95)
    np.testing.assert_allclose(found.measured[:3], [effects.mean(), low, high], rtol=1e-3)
    np.testing.assert_allclose(found.p, expected.pvalue, rtol=1e-3)


def test_of_images_alone_more_draws_say_nothing_more():
    rng = np.random.default_rng(0)
    one = rng.random(5000)
    found = crossed.mean(np.stack([one, one, one])).measured
    np.testing.assert_allclose(found, intervals.mean(one), rtol=1e-3)
    assert found.n == 5000


def test_images_that_were_never_tested_do_not_count():
    rng = np.random.default_rng(0)
    values = world(rng, 0.1, 0.3, 0.3, (4, 60)).astype(np.float16)
    values[0, :20] = np.nan
    padded = np.insert(values, [0, 30], np.nan, axis=1)
    assert crossed.mean(padded) == crossed.mean(values)
    assert crossed.mean(values).measured.n == 60
    assert crossed.mean(values).measured.value == pytest.approx(np.nanmean(values.astype(float)))


def test_equal_values_have_an_interval_without_width():
    assert crossed.mean(np.zeros((3, 10))) == (intervals.Measured(0, 0, 0, 10), 1.0)
    assert crossed.mean(np.ones((3, 10))) == (intervals.Measured(1, 1, 1, 10), 2 * 0.5**10)
