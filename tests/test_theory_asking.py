"""Simulated populations, quick fits of VICE, and the comparison of two ways of asking."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from alignet.errors import InputError
from alignet.vice import Posterior
from evals.statistics.intervals import Measured
from theory import active, asking, population
from theory.claims import HOLDS, REFUTED, UNDECIDED
from theory.plots import asking as plot


def test_population_is_as_noisy_as_it_is_made():
    for noise in (0.1, 0.33, 0.6):
        y = population.make(50, 4, noise, np.random.default_rng(0))
        p = population.probabilities(y, active.every_triplet(50))
        assert (y >= 0).all() and 1 - p.max(axis=1).mean() == pytest.approx(noise, abs=0.01)


def test_answers_have_the_probabilities_of_the_population():
    rng = np.random.default_rng(1)
    y = population.make(6, 2, 0.33, rng)
    i, j, k = triplet = np.array([1, 3, 4])
    answers = population.answer(y, np.tile(triplet, (40_000, 1)), rng)
    assert (np.sort(answers, axis=1) == triplet).all()
    expected = scipy.special.softmax([y[i] @ y[j], y[i] @ y[k], y[j] @ y[k]])
    odd = [(answers[:, 2] == one).mean() for one in (k, j, i)]
    np.testing.assert_allclose(odd, expected, atol=4 * 0.5 / 200)


def test_accuracy_is_the_share_of_answers_predicted():
    rng = np.random.default_rng(2)
    y = population.make(20, 3, 0.33, rng)
    questions = population.random_triplets(20, 40_000, rng)
    truth = population.probabilities(y, questions)
    p = rng.dirichlet(np.ones(3), len(questions))
    odd_last = population.answer(y, questions, rng)
    predicted = np.take_along_axis(questions, 2 - p.argmax(axis=1)[:, None], axis=1)[:, 0]
    drawn = (odd_last[:, 2] == predicted).mean()
    assert population.accuracy(p, truth) == pytest.approx(drawn, abs=0.01)
    assert population.accuracy(truth, truth) > population.accuracy(p, truth) + 0.2
    assert population.accuracy(np.full_like(p, 1 / 3), truth) == 0  # a tie predicts nothing


def test_random_questions_are_evenly_spread():
    drawn = population.random_triplets(5, 50_000, np.random.default_rng(0))
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    np.testing.assert_array_equal(found, active.every_triplet(5))
    assert np.abs(counts / 5000 - 1).max() < 0.06


def test_bad_populations_are_refused():
    rng = np.random.default_rng(0)
    for n, d, noise in ((2, 1, 0.3), (5, 0, 0.3), (5, 1, 0.0), (5, 1, 2 / 3), (5, 1, -0.1)):
        with pytest.raises(InputError, match="expected"):
            population.make(n, d, noise, rng)


def test_fits_read_no_answers_that_are_not_there(monkeypatch):
    monkeypatch.setattr(population, "STEPS", 20)
    keys = jax.random.split(jax.random.key(0), 2)
    answers = np.stack(
        [population.random_triplets(7, 60, np.random.default_rng(s)) for s in (0, 1)]
    )
    spoilt = answers.copy()
    spoilt[:, 40:] = 0
    first, second = (
        population.fit(keys, jnp.asarray(rows), jnp.asarray(40), components=2, n=7, d=3)
        for rows in (answers, spoilt)
    )
    np.testing.assert_array_equal(first.mu, second.mu)
    assert first.mu.shape == (2, 2, 7, 3) and (first.mu[0] != first.mu[1]).any()


def test_learnt_embedding_has_the_mean_of_the_samples():
    rng = np.random.default_rng(0)
    mu, sigma = rng.normal(size=(2, 9, 3)), rng.uniform(0.2, 0.9, (2, 9, 3))
    posterior = Posterior(mu, sigma)
    x = posterior.mu + posterior.sigma * rng.normal(size=(20_000, *posterior.mu.shape))
    weights = np.maximum(x, 0).mean(axis=0)
    distances = ((weights[:, :, None] - weights[:, None]) ** 2).sum(axis=-1).mean(axis=0)
    z = population.learnt(posterior)
    found = ((z[:, None] - z) ** 2).sum(axis=-1)
    np.testing.assert_allclose(found, distances, atol=0.05)


def test_ratio_is_read_off_the_curves():
    """A second arm that needs half of the answers, at every accuracy."""
    answers = np.array([100, 200, 400, 800])
    curve = np.log2(answers / 100)
    curves = np.array([[curve, curve], [curve + 1, curve + 1]])
    found = asking.ratio(answers, curves)
    assert found[:3] == pytest.approx((0.5, 0.5, 0.5)) and found.n == 2
    between = asking.ratio(answers, curves, np.array([1.5, 1.5]))
    assert between.value == pytest.approx(0.5)
    assert asking.needed(answers, curve, 1.5) == pytest.approx(200 * 2**0.5)
    assert asking.ratio(answers, curves, np.array([1.5, 9])).value == math.inf


def test_geometric_mean_by_hand():
    found = asking.geometric_mean(np.log([0.5, 2.0]))
    assert found.value == pytest.approx(1)
    assert found.high == pytest.approx(math.exp(12.706 * math.log(2)), rel=1e-3)


def test_both_arms_begin_alike_and_learn(monkeypatch):
    monkeypatch.setattr(population, "STEPS", 500)
    setting = asking.Setting(16, 2, 0.2, 150, 150, 1)
    curves = asking.compare(setting, [3])
    assert (curves.accuracy[0, :, 0] == curves.accuracy[1, :, 0]).all()
    assert (curves.alignment[:, :, -1] > 0.7).all()
    assert (curves.accuracy <= curves.ceiling[:, None]).all()


@pytest.mark.slow
def test_active_asking_needs_fewer_answers():
    curves = asking.compare(asking.STUDY, range(100, 104))
    assert asking.ratio(curves.answers, curves.accuracy).high < 0.85


@pytest.mark.parametrize(
    "ends, verdict",
    [
        ((0.5, 0.6), HOLDS),
        ((0.6, 0.8), UNDECIDED),
        ((0.75, 0.9), REFUTED),
        ((0.5, np.nan), UNDECIDED),
    ],
)
def test_a_ratio_is_judged_by_its_interval(ends, verdict):
    assert plot._verdict(Measured(0.6, *ends, 5)) == verdict
