"""Expected information gain against slow NumPy, and the questions chosen by it."""

import math

import numpy as np
import pytest
import scipy.special

from alignet import vice
from alignet.errors import InputError
from alignet.vice import Posterior
from theory import active

N, D = 9, 3
TRIPLETS = np.array([[0, 1, 2], [3, 4, 5], [8, 0, 2], [1, 4, 0], [6, 7, 8]])


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(2, N, D)).astype(np.float32)
    return Posterior(mu, rng.uniform(0.2, 0.9, mu.shape).astype(np.float32))


def entropy(p):
    """Bits, one distribution at a time."""
    return -sum(x * math.log2(x) for x in p if x > 0)


def slow_gain(posterior, triplet, n_samples, rng):
    """The mutual information by its definition, one sample of the embedding at a time."""
    draws = []
    for s in range(n_samples):
        mu, sigma = (part[s % len(posterior.mu)] for part in posterior)
        y = np.maximum(mu + sigma * rng.normal(size=mu.shape), 0)
        i, j, k = triplet
        draws.append(scipy.special.softmax([y[i] @ y[j], y[i] @ y[k], y[j] @ y[k]]))
    return entropy(np.mean(draws, axis=0)) - np.mean([entropy(p) for p in draws])


def test_gain_against_its_definition(posterior):
    rng = np.random.default_rng(1)
    expected = [slow_gain(posterior, triplet, 4000, rng) for triplet in TRIPLETS]
    found = active.information_gain(posterior, TRIPLETS, n_samples=4000)
    np.testing.assert_allclose(found, expected, atol=0.012)
    assert min(expected) > 0.02


def test_gain_of_components_without_spread_is_exact():
    """Without σ the samples are the components themselves, in equal number."""
    mu = np.abs(np.random.default_rng(2).normal(size=(3, N, D))).astype(np.float32)
    exact = Posterior(mu, np.zeros_like(mu))
    rng = np.random.default_rng(0)
    expected = [slow_gain(exact, triplet, 3, rng) for triplet in TRIPLETS]
    found = active.information_gain(exact, TRIPLETS, n_samples=6)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nothing_is_gained_where_everything_is_known():
    mu = np.random.default_rng(3).normal(size=(1, N, D)).astype(np.float32)
    found = active.information_gain(Posterior(mu, np.zeros_like(mu)), active.every_triplet(N))
    assert (found >= 0).all() and found.max() < 1e-5


def test_most_is_gained_where_samples_are_sure_of_different_answers():
    """Three components that are each sure of another pair say log₂ 3; noise says nothing."""
    mu = np.zeros((3, 6, 3), np.float32)
    for component, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        mu[component, [a, b], component] = 6
    sure = Posterior(mu, np.zeros_like(mu))
    found = active.information_gain(sure, active.every_triplet(6), n_samples=99)
    # Of the others, none of the objects 3 to 5 has anything in common with any.
    assert found[0] == pytest.approx(math.log2(3), abs=1e-4)
    assert found.argmax() == 0 and found[-1] == pytest.approx(0, abs=1e-6)


def test_gain_stays_within_its_bounds(posterior):
    wild = Posterior(20 * posterior.mu, 30 * posterior.sigma)
    found = active.information_gain(wild, active.every_triplet(N))
    assert found.min() >= 0 and found.max() <= math.log2(3) and found.max() > 1


def test_predictions_are_those_of_vice(posterior):
    p, _ = active.predict(posterior, TRIPLETS, n_samples=6000)
    expected = vice.p_star(posterior, TRIPLETS, n_samples=3000, seed=1)
    np.testing.assert_allclose(p, expected, atol=0.02)


def test_next_questions_are_different_valid_and_repeatable(posterior):
    chosen = active.next_triplets(posterior, 40, seed=5)
    assert chosen.shape == (40, 3) and chosen.dtype == np.int64
    i, j, k = chosen.T
    assert (i >= 0).all() and (i < j).all() and (j < k).all() and (k < N).all()
    assert len(np.unique(chosen, axis=0)) == 40
    np.testing.assert_array_equal(chosen, active.next_triplets(posterior, 40, seed=5))
    assert (chosen != active.next_triplets(posterior, 40, seed=6)).any()


@pytest.mark.parametrize("pool", [50, 100_000])
def test_what_is_excluded_is_not_asked(posterior, pool):
    every = active.every_triplet(N)
    rng = np.random.default_rng(0)
    asked = rng.permuted(every[rng.permutation(len(every))[:60]], axis=1)
    chosen = active.next_triplets(posterior, 5, exclude=asked, pool=pool)
    both = {frozenset(row) for row in asked.tolist()} & {frozenset(row) for row in chosen.tolist()}
    assert not both and len(np.unique(chosen, axis=0)) == 5


@pytest.mark.parametrize("changed", [{"mu": np.nan}, {"sigma": np.inf}, {"sigma": -1.0}])
def test_a_posterior_that_is_none_is_refused(posterior, changed):
    [(name, value)] = changed.items()
    bad = posterior._replace(**{name: np.full_like(posterior.mu, value)})
    with pytest.raises(InputError, match="the posterior has a mean or a deviation that is not fin"):
        active.information_gain(bad, active.every_triplet(N))


def test_all_that_is_left_can_be_asked_and_no_more(posterior):
    every = active.every_triplet(N)
    rest = active.next_triplets(posterior, 4, exclude=every[4:])
    np.testing.assert_array_equal(np.unique(rest, axis=0), every[:4])
    with pytest.raises(InputError, match="every question of the pool is excluded; expected some"):
        active.next_triplets(posterior, 1, exclude=every)
    with pytest.raises(InputError, match="5 questions are asked for; expected 1 to 4, which the"):
        active.next_triplets(posterior, 5, exclude=every[4:])


def test_questions_with_more_to_gain_are_asked_more_often():
    rng = np.random.default_rng(4)
    mu = rng.normal(1, 1, size=(1, 30, D)).astype(np.float32)
    sigma = np.full_like(mu, 0.05)
    sigma[:, :10] = 1
    chosen = active.next_triplets(Posterior(mu, sigma), 200)
    assert (chosen < 10).any(axis=1).mean() > 0.95
    # And still not the same few objects over and over.
    assert len(np.unique(chosen)) == 30
