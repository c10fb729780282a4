"""Triplet kernels against plain NumPy, on the device and on the host."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignet import triplets

HOMES = pytest.mark.parametrize("home", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
AXES = pytest.mark.parametrize("axes", [(), (1,), (5,), (2, 3)], ids=str)


def softmax(s, tau=1.0):
    e = np.exp(s / tau)
    return e / e.sum(-1, keepdims=True)


@HOMES
@AXES
def test_pairs_are_ordered_ij_ik_jk(home, axes):
    z = np.random.default_rng(0).normal(size=(*axes, 3, 7)).astype(np.float32)
    s = triplets.pair_similarities(home(z))
    gram = z @ np.swapaxes(z, -1, -2)
    expected = np.stack([gram[..., 0, 1], gram[..., 0, 2], gram[..., 1, 2]], -1)
    np.testing.assert_allclose(s, expected, rtol=1e-5, atol=1e-5)


@HOMES
def test_gathering_is_the_same_as_multiplying(home):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 6))
    index = np.stack([rng.permutation(20)[:3] for _ in range(12)]).reshape(4, 3, 3)
    gathered = triplets.gather_similarities(home(triplets.similarity_matrix(x)), home(index))
    np.testing.assert_allclose(gathered, triplets.pair_similarities(x[index]), rtol=1e-5)


@HOMES
def test_choices_and_ties(home):
    s = np.array([[3, 1, 2], [1, 3, 2], [1, 2, 3], [3, 3, 1], [1, 1, 3], [2, 2, 2], [1, 2, 2]])
    s = np.vstack([s.astype(np.float32), [[np.nan, 1, 0]], [[-np.inf, -np.inf, 0]]])
    expected = [0, 1, 2, -1, 2, -1, -1, -1, 2]
    np.testing.assert_array_equal(triplets.choices(home(s)), expected)
    np.testing.assert_array_equal(
        triplets.odd_one_out(home(s)), [-1 if c < 0 else 2 - c for c in expected]
    )


def test_permuting_a_triplet_permutes_its_answer():
    z = np.random.default_rng(2).normal(size=(50, 3, 4))
    odd = triplets.odd_one_out(triplets.pair_similarities(z))
    for order in itertools.permutations(range(3)):
        permuted = triplets.odd_one_out(triplets.pair_similarities(z[:, list(order)]))
        np.testing.assert_array_equal(np.array(order)[permuted], odd)


@HOMES
@pytest.mark.parametrize("d", [1, 3, 16, 37, 100, 768])
def test_constant_embeddings_score_zero(home, d):
    row = np.random.default_rng(d).normal(size=d).astype(np.float32)
    for n in (1, 7, 64, 513):
        z = home(np.tile(row, (n, 3, 1)))
        assert float(triplets.accuracy(triplets.pair_similarities(z))) == 0
    matrix = triplets.similarity_matrix(np.tile(row, (211, 1)))
    index = np.random.default_rng(0).integers(211, size=(500, 3))
    s = triplets.gather_similarities(home(matrix), home(index))
    assert float(triplets.accuracy(s)) == 0


def test_random_embeddings_score_a_third():
    z = np.random.default_rng(3).normal(size=(20_000, 3, 5))
    accuracy = triplets.accuracy(triplets.pair_similarities(z))
    assert abs(accuracy - 1 / 3) < 4 * (2 / 9 / 20_000) ** 0.5


def test_the_host_tells_apart_what_float32_ties():
    s = np.array([[1.0, 1.0 + 1e-12, 0.0]])
    assert triplets.choices(s).tolist() == [1]
    assert triplets.choices(jnp.asarray(s)).tolist() == [-1]


@HOMES
def test_correct_takes_a_choice_per_triplet_and_no_tie(home):
    s = home(np.array([[3, 1, 2], [1, 3, 2], [2, 2, 2], [1, 3, 2]], np.float32))
    np.testing.assert_array_equal(triplets.correct(s), [True, False, False, False])
    per_triplet = home(np.array([0, 1, -1, 2]))
    np.testing.assert_array_equal(triplets.correct(s, per_triplet), [True, True, False, False])
    assert float(triplets.accuracy(s, per_triplet)) == 0.5


@HOMES
def test_log_probabilities_of_the_worked_example(home):
    p = np.exp(triplets.log_probabilities(home(np.array([3.0, 1.0, 0.5]))))
    np.testing.assert_allclose(p, [0.82, 0.11, 0.07], atol=0.005)


@HOMES
@AXES
def test_probabilities_and_cross_entropies(home, axes):
    rng = np.random.default_rng(4)
    s, tau = rng.normal(size=(*axes, 3)) * 3, 2.5
    p, q = softmax(rng.normal(size=(*axes, 3))), softmax(s, tau)
    log_q = triplets.log_probabilities(home(s), tau=tau)
    np.testing.assert_allclose(log_q, np.log(q), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        triplets.soft_cross_entropy(home(s), home(p), tau=tau),
        -(p * np.log(q)).sum(-1),
        rtol=1e-5,
    )
    for pair in range(3):
        expected = -np.log(q[..., pair])
        given = triplets.cross_entropy(home(s), pair, tau=tau)
        np.testing.assert_allclose(given, expected, rtol=1e-4)
        per_triplet = home(np.full(axes, pair))
        given = triplets.cross_entropy(home(s), per_triplet, tau=tau)
        np.testing.assert_allclose(given, expected, rtol=1e-4)


@HOMES
def test_large_similarities_do_not_overflow(home):
    s = home(np.array([[1e4, -1e4, 0.0]], np.float32))
    np.testing.assert_allclose(triplets.log_probabilities(s), [[0, -2e4, -1e4]])


@HOMES
def test_entropy(home):
    with np.errstate(divide="ignore"):
        log_p = np.log(np.array([[1 / 3] * 3, [1.0, 0, 0], [0.5, 0.5, 0], [0.7, 0.2, 0.1]]))
    expected = [np.log(3), 0, np.log(2), 0.801819]
    np.testing.assert_allclose(triplets.entropy(home(log_p)), expected, rtol=1e-5, atol=1e-7)


def test_entropy_has_a_finite_gradient_at_zero():
    gradient = jax.grad(triplets.entropy)(jnp.array([0.0, -jnp.inf, -jnp.inf]))
    assert np.isfinite(gradient).all()


def test_similarity_matrix():
    x = np.random.default_rng(5).normal(size=(61, 9)).astype(np.float32)
    x[[7, 30, 60]] = x[2]
    x[11], x[12] = 0.0, -0.0
    s = triplets.similarity_matrix(x)
    assert s.dtype == np.float64
    np.testing.assert_allclose(s, x.astype(np.float64) @ x.T.astype(np.float64), rtol=1e-12)
    np.testing.assert_array_equal(s, s.T)
    for twin in (7, 30, 60):
        np.testing.assert_array_equal(s[twin], s[2])
    assert triplets.first_identical(x)[[7, 11, 12, 13]].tolist() == [2, 11, 11, 13]
