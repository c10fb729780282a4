"""The repeated-measures ANOVA against sums of squares and the t-test it reduces to."""

import numpy as np
import pytest
import scipy.stats

from alignet.errors import InputError
from evals.statistics import anova


def made(d, m, k, seed=0, effect=0.3):
    rng = np.random.default_rng(seed)
    levels = rng.normal(size=(d, 1, 1)) + rng.normal(size=(1, m, 1))
    return levels + np.linspace(0, effect, k) + 0.2 * rng.normal(size=(d, m, k))


def by_sums_of_squares(x):
    """F of the method: its variance over data sets' means against that of their differences."""
    d, m, k = x.shape
    means, grand = x.mean(axis=1), x.mean()
    method = m * d * ((means.mean(axis=0) - grand) ** 2).sum()
    rest = means - means.mean(axis=0) - means.mean(axis=1, keepdims=True) + grand
    return (method / (k - 1)) / (m * (rest**2).sum() / ((k - 1) * (d - 1)))


@pytest.mark.parametrize("shape", [(10, 4, 2), (8, 1, 3), (6, 2, 4)])
def test_the_method_s_f_is_its_variance_over_that_of_its_differences(shape):
    x = made(*shape)
    found = anova.repeated_measures(x)
    method = next(effect for effect in found.effects if effect.source == "method")
    assert method.f == pytest.approx(by_sums_of_squares(x))
    d, _, k = shape
    assert (method.df1, method.df2, found.n) == (k - 1, (k - 1) * (d - 1), d)
    assert method.p == pytest.approx(scipy.stats.f.sf(method.f, method.df1, method.df2))
    expected = scipy.stats.f.sf(method.f, method.epsilon * method.df1, method.epsilon * method.df2)
    assert method.p_corrected == pytest.approx(expected, abs=1e-6)
    sources = ["model", "method", "model × method"] if shape[1] > 1 else ["method"]
    assert [effect.source for effect in found.effects] == sources


def test_two_methods_are_a_paired_t_test():
    x = made(10, 3, 2)
    method = anova.repeated_measures(x).effects[1]
    t = scipy.stats.ttest_rel(*x.mean(axis=1).T)
    assert method.f == pytest.approx(t.statistic**2)
    assert method.p == method.p_corrected == pytest.approx(t.pvalue)
    assert method.epsilon == 1 and np.isnan(method.p_sphericity)


def test_differences_that_are_not_normal_are_noticed():
    x = made(12, 2, 2)
    assert anova.repeated_measures(x).p_normality > 0.05
    x[0, :, 1] += 50
    assert anova.repeated_measures(x).p_normality < 0.001


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(InputError, match="an ANOVA of 2 data sets and 2 methods; expected at lea"):
        anova.repeated_measures(made(2, 3, 2))
    same = np.tile(np.arange(5.0)[:, None, None], (1, 2, 2)) + np.array([0, 0.1])
    with pytest.raises(InputError, match="by the same amount on every data set"):
        anova.repeated_measures(same)
