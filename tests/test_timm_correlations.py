"""What goes together over models, against pingouin and loops; groups and families."""

import numpy as np
import pandas as pd
import pingouin
import pytest
import scipy.stats

from evals.statistics import intervals
from evals.timm_study import correlations, families, groups, models


def drawn(n=60, seed=0):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(n, 2))
    x = c[:, 0] + rng.normal(size=n)
    y = 0.5 * x - c[:, 1] + rng.normal(size=n)
    family = np.array([f"family {i % 13:02}" for i in range(n)])
    return x, y, c, family


def test_z_squared_is_over_known_models_with_the_populations_sigma():
    x = np.array([1.0, 2.0, 6.0, np.nan])
    z2 = correlations.z_squared(x)
    np.testing.assert_allclose(z2[:3], ((x[:3] - 3) / x[:3].std()) ** 2)
    assert np.isnan(z2[3])
    assert np.isnan(correlations.z_squared(np.ones(4))).all()


@pytest.mark.parametrize("c", [0, 1, 2])
def test_correlations_are_pingouins(c):
    x, y, covariates, family = drawn()
    found = correlations.correlate(x, y, covariates[:, :c], family, resamples=50)
    frame = pd.DataFrame({"x": x, "y": y, "a": covariates[:, 0], "b": covariates[:, 1]})
    theirs = pingouin.partial_corr(frame, x="x", y="y", covar=["a", "b"][:c] or None).iloc[0]
    assert found.r.value == pytest.approx(theirs["r"], abs=1e-12)
    assert found.p == pytest.approx(theirs["p_val"])
    np.testing.assert_allclose([found.r.low, found.r.high], theirs["CI95"], atol=0.0051)
    z, half = np.arctanh(found.r.value), scipy.stats.norm.ppf(0.975) / np.sqrt(60 - c - 3)
    np.testing.assert_allclose([found.r.low, found.r.high], np.tanh([z - half, z + half]))
    assert found.r.n == 60 and found.families.n == 13


def test_only_models_that_have_everything_count():
    x, y, c, family = drawn()
    x[0], y[1], c[2, 0] = np.nan, np.nan, np.nan
    found = correlations.correlate(x, y, c, family, resamples=10)
    rest = correlations.correlate(x[3:], y[3:], c[3:], family[3:], resamples=10)
    assert found == rest and found.r.n == 57


def test_partial_is_the_correlation_of_residuals():
    x, y, c, _ = drawn()
    design = np.column_stack([np.ones(len(x)), c])
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y)]
    value = correlations.partial(np.column_stack([x, y, c]))
    assert float(value) == pytest.approx(np.corrcoef(*left)[0, 1])


def test_families_are_resampled_whole():
    x, y, c, family = drawn()
    found = correlations.correlate(x, y, c, family, resamples=40, seed=3)
    # The same draws, row by row.
    rng, samples = np.random.default_rng(3), []
    rows = [np.flatnonzero(family == name) for name in np.unique(family)]
    for counts in rng.multinomial(13, np.full(13, 1 / 13), size=40):
        again = np.concatenate([np.tile(own, k) for own, k in zip(rows, counts, strict=True)])
        samples.append(float(correlations.partial(np.column_stack([x, y, c])[again])))
    expected = intervals.percentile(found.r.value, np.array(samples), 13)
    np.testing.assert_allclose(found.families, expected, atol=1e-9)


def test_families_that_are_alike_make_a_wider_interval():
    rng = np.random.default_rng(0)
    family = np.repeat(np.arange(12), 20).astype(str)
    x, y = (np.repeat(rng.normal(size=12), 20) + 0.3 * rng.normal(size=240) for _ in range(2))
    found = correlations.correlate(x, y, np.empty((240, 0)), family)
    assert found.families.high - found.families.low > 2 * (found.r.high - found.r.low)


@pytest.mark.parametrize("n", [0, 3, 7])
def test_too_few_models_have_no_correlation(n):
    x, y, c, family = drawn(n)
    found = correlations.correlate(x, y, c[:, :1], family)
    assert np.isnan(found.r.value) and np.isnan(found.p) and found.r.n == n


def test_constants_have_no_correlation_and_are_no_covariate():
    x, y, c, family = drawn()
    assert np.isnan(correlations.correlate(np.ones(60), y, c, family).r.value)
    plain = correlations.correlate(x, y, np.empty((60, 0)), family)
    assert correlations.correlate(x, y, np.ones((60, 1)), family) == plain


@pytest.mark.parametrize("c", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_metrics_that_agree_wholly_have_a_correlation_of_one(c, sign):
    x, _, covariates, family = drawn(12)
    found = correlations.correlate(x, sign * 2 * x + 1, covariates[:, :c], family, resamples=10)
    np.testing.assert_allclose(found.r, [sign, sign, sign, 12])


# --- groups ---


def test_groups_are_the_most_extreme_and_the_nearest_to_the_mean():
    values = pd.Series(np.arange(20.0) ** 2, index=[f"m{i:02}" for i in range(20)])
    values["m20"] = np.nan
    high, mid, low = groups.groups(values)
    assert high.models == ("m19", "m18", "m17", "m16", "m15")
    assert low.models == ("m00", "m01", "m02", "m03", "m04")
    distance = (values.dropna() - values.mean()).abs().sort_values()
    assert mid.models == tuple(distance.index[:5])


def test_small_studies_have_smaller_groups():
    values = pd.Series(np.arange(12.0), index=[f"m{i:02}" for i in range(12)])
    assert [len(group.models) for group in groups.groups(values)] == [4, 4, 4]
    assert groups.groups(values[:5]) == []


def test_means_of_groups_have_students_interval():
    values = np.array([1.0, 4.0, 2.0, np.nan, 8.0])
    found = groups.mean(values)
    low, high = scipy.stats.t.interval(
        0.95, 3, loc=3.75, scale=scipy.stats.sem([1.0, 4.0, 2.0, 8.0])
    )
    np.testing.assert_allclose(found, [3.75, low, high, 4])
    assert groups.mean(np.array([np.nan])).n == 0


# --- families ---


def test_pairs_differ_in_one_thing():
    found = families.pairs(models.table())
    assert {name: len(pairs) for name, pairs in found.items()} == {
        families.DISTILLATION: 18,
        families.IN21K: 7,
        families.BATCH_NORM: 4,
        families.PRUNING: 5,
    }
    data = {row.name: row for row in models.table()}
    for effect, pairs in found.items():
        for without, with_it in pairs:
            one, other = data[without], data[with_it]
            assert one.distilled == (other.distilled and effect != families.DISTILLATION)
            assert (one.pretraining != other.pretraining) == (effect == families.IN21K)
            assert one.family == other.family


def test_rows_of_sizes_are_of_known_models_alike_in_data():
    data = {row.name: row for row in models.table()}
    for name, row in families.SIZES.items():
        assert {*row} <= data.keys(), name
        assert len({data[model].distilled for model in row}) == 1


def test_effects_are_paired_differences():
    names = [row.name for row in models.table()]
    value = pd.Series(np.random.default_rng(0).normal(size=491), index=names)
    value["vgg11"] = np.nan
    found = {e.name: e for e in families.effects(models.table(), value)}
    effect = found[families.BATCH_NORM]
    pairs = [("vgg13", "vgg13_bn"), ("vgg16", "vgg16_bn"), ("vgg19", "vgg19_bn")]
    assert effect.pairs == tuple(pairs) and effect.difference.n == 3
    differences = [value[b] - value[a] for a, b in pairs]
    assert effect.difference.value == pytest.approx(np.mean(differences))
    assert effect.p == pytest.approx(scipy.stats.ttest_1samp(differences, 0).pvalue)
    assert effect.higher == sum(d > 0 for d in differences)


def test_trends_and_clusters():
    names = [row.name for row in models.table()]
    value = pd.Series(np.nan, index=names)
    for place, model in enumerate(families.SIZES["VGG"]):
        value[model] = place
    (vgg,) = families.trends(value)
    assert (vgg.tau, vgg.change, vgg.name) == (pytest.approx(1), 3, "VGG")
    assert vgg.p == pytest.approx(2 / 24)  # of 4! orders, two are as good
    value[[n for n in names if n.startswith("beit")]] = -1.0
    (beit,) = families.clusters(value)
    assert (beit.name, beit.low, beit.middle, beit.high) == ("BEiT", 4, 0, 0)
    assert beit.rank.value == pytest.approx(0.25)  # 8 models, of which these are half
    assert families.clusters(value[:0]) == [] and families.trends(value[:0]) == []
