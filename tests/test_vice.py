"""VICE against NumPy in float64, against known worlds, and interrupted."""

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from alignet import triplets as kernels
from alignet import vice
from alignet.data.human import load_triplets
from alignet.errors import InputError
from alignet.runtime import files

PRIOR = vice.Prior(spike=0.25, slab=1.0, pi=0.6)


def _reference_bound(mu, log_sigma, epsilon, triplets, n_train, prior):
    """The negative bound's two parts, written down one choice and one entry at a time."""
    x = mu + np.exp(log_sigma) * epsilon
    y = np.maximum(x, 0)
    losses = []
    for i, j, k in triplets:
        s = np.array([y[i] @ y[j], y[i] @ y[k], y[j] @ y[k]])
        losses.append(scipy.special.logsumexp(s) - s[0])
    kl = 0.0
    for value, m, ls in zip(x.ravel(), mu.ravel(), log_sigma.ravel(), strict=True):
        spike = prior.pi * scipy.stats.norm(0, prior.spike).pdf(value)
        slab = (1 - prior.pi) * scipy.stats.norm(0, prior.slab).pdf(value)
        kl += scipy.stats.norm(m, np.exp(ls)).logpdf(value) - np.log(spike + slab)
    return np.mean(losses), kl / n_train


def test_bound_against_numpy():
    rng = np.random.default_rng(0)
    mu, log_sigma, epsilon = rng.normal(size=(3, 7, 4))
    triplets = np.stack([rng.permutation(7)[:3] for _ in range(11)])
    found = vice.negative_elbo(
        vice.Params(jnp.asarray(mu, jnp.float32), jnp.asarray(log_sigma, jnp.float32)),
        jnp.asarray(epsilon, jnp.float32),
        jnp.asarray(triplets),
        n_train=123,
        prior=PRIOR,
    )
    expected = _reference_bound(mu, log_sigma, epsilon, triplets, 123, PRIOR)
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_prior_is_a_density_and_survives_the_tails():
    x = np.linspace(-12, 12, 20_001)[:, None]
    log_p = np.asarray(vice.log_prior(jnp.asarray(x, jnp.float32), PRIOR), np.float64)
    assert scipy.integrate.trapezoid(np.exp(log_p[:, 0]), x[:, 0]) == pytest.approx(1, abs=1e-4)
    # The spike's density at 100 is 0 in float64; the logarithm of the slab's is still right.
    far = float(vice.log_prior(jnp.full((1, 1), 100.0), PRIOR)[0, 0])
    slab = np.log1p(-PRIOR.pi) + scipy.stats.norm(0, PRIOR.slab).logpdf(100)
    assert far == pytest.approx(slab, rel=1e-6)


def test_bound_by_hand_where_it_is_known():
    """All weights at zero: every pair is as likely, whatever the noise below zero."""
    params = vice.Params(jnp.full((3, 2), -5.0), jnp.full((3, 2), -2.0))
    triplets = jnp.array([[0, 1, 2]])
    epsilon = jnp.zeros((3, 2))
    cross_entropy, kl = vice.negative_elbo(params, epsilon, triplets, n_train=2, prior=PRIOR)
    assert float(cross_entropy) == pytest.approx(np.log(3), rel=1e-6)
    log_q = -np.log(np.exp(-2) * np.sqrt(2 * np.pi))
    log_p = np.log(0.4) + scipy.stats.norm.logpdf(-5)
    assert float(kl) == pytest.approx(6 * (log_q - log_p) / 2, rel=1e-5)


def _benjamini_hochberg(p_values, alpha):
    """Rejects the r smallest p values, r the largest rank with p_(r) ≤ r alpha / m."""
    m = len(p_values)
    order = sorted(range(m), key=lambda index: p_values[index])
    rejected = 0
    for rank, index in enumerate(order, start=1):
        if p_values[index] <= rank * alpha / m:
            rejected = rank
    return set(order[:rejected])


@pytest.mark.parametrize("seed", range(5))
def test_pruning_against_the_procedure_by_hand(seed):
    rng = np.random.default_rng(seed)
    m, d, alpha, min_objects = 40, 12, 0.05, 5
    mu = rng.normal(size=(m, d)) * rng.uniform(0, 1, d)
    sigma = rng.uniform(0.05, 0.6, (m, d))
    counts = []
    for column in range(d):
        p = [scipy.stats.norm(mu[i, column], sigma[i, column]).cdf(0) for i in range(m)]
        counts.append(len(_benjamini_hochberg(p, alpha)))
    expected = {column for column in range(d) if counts[column] > min_objects}
    assert 0 < len(expected) < d
    kept = vice.prune(mu.astype(np.float32), sigma.astype(np.float32), alpha, min_objects)
    assert set(kept.tolist()) == expected
    norms = np.abs(mu).sum(axis=0)[kept]
    assert (np.diff(norms) <= 0).all()


def test_a_dimension_needs_more_than_min_objects():
    mu = np.full((20, 2), -3.0, np.float32)
    mu[:5, 0], mu[:6, 1] = 3, 3
    assert vice.prune(mu, np.full_like(mu, 0.1), 0.05, 5).tolist() == [1]


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(1)
    mu = rng.normal(size=(2, 6, 3)).astype(np.float32)
    return vice.Posterior(mu, rng.uniform(0.1, 0.7, mu.shape).astype(np.float32))


ALL_TRIPLETS = np.array([[0, 1, 2], [3, 4, 5], [5, 0, 2], [1, 4, 0]])


def _sampled(posterior, triplets, n_samples, rng):
    """Every sample's softmax: [samples, n, 3]."""
    draws = []
    for mu, sigma in zip(*posterior, strict=True):
        for _ in range(n_samples):
            y = np.maximum(mu + sigma * rng.normal(size=mu.shape), 0)
            s = [[y[a] @ y[b] for a, b in ((i, j), (i, k), (j, k))] for i, j, k in triplets]
            draws.append(scipy.special.softmax(s, axis=-1))
    return np.array(draws)


def test_p_star_against_a_monte_carlo_of_its_definition(posterior):
    draws = _sampled(posterior, ALL_TRIPLETS, 3000, np.random.default_rng(2))
    n_samples = 4000
    found = vice.p_star(posterior, ALL_TRIPLETS, n_samples=n_samples)
    error = draws.std(axis=0) * np.sqrt(1 / len(draws) + 1 / (2 * n_samples))
    assert found.dtype == np.float64
    assert (np.abs(found - draws.mean(axis=0)) < 4.5 * error).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


def test_p_star_without_noise_is_the_mean_of_the_components(posterior):
    exact = vice.Posterior(posterior.mu, np.zeros_like(posterior.sigma))
    expected = _sampled(exact, ALL_TRIPLETS, 1, np.random.default_rng(0)).mean(axis=0)
    np.testing.assert_allclose(vice.p_star(exact, ALL_TRIPLETS, n_samples=3), expected, atol=1e-6)


def test_a_permuted_triplet_permutes_p_star(posterior):
    p = vice.p_star(posterior, ALL_TRIPLETS)
    pairs = {frozenset(pair): row for row, pair in enumerate(((0, 1), (0, 2), (1, 2)))}
    for order in ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        a, b, c = order
        columns = [pairs[frozenset(pair)] for pair in ((a, b), (a, c), (b, c))]
        permuted = vice.p_star(posterior, ALL_TRIPLETS[:, order])
        np.testing.assert_allclose(permuted, p[:, columns], atol=1e-6)


def test_p_star_depends_on_the_seed_alone(posterior):
    once, twice, other = (vice.p_star(posterior, ALL_TRIPLETS, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(once, twice)
    assert (once != other).all()


def _config(**changes):
    config = ml_collections.ConfigDict(
        {
            "seed": 0,
            "n_seeds": 1,
            "init_dim": 10,
            "init_scale": 1.0,
            "spike": 0.25,
            "slab": 1.0,
            "pi": 0.6,
            "lr": 0.02,
            "batch_size": 2048,
            "burn_in": 400,
            "window": 300,
            "tolerance": 0.0,
            "max_steps": 800,
            "cooldown_steps": 400,
            "check_every": 100,
            "fdr_alpha": 0.05,
            "min_objects": 3,
        }
    )
    config.update(changes)
    return config


@pytest.fixture(scope="module")
def world():
    """30 objects of 4 concepts, and 9,000 choices by softmax: the concepts, train, held out."""
    rng = np.random.default_rng(0)
    concepts = np.where(rng.random((30, 4)) < 0.5, rng.uniform(0.5, 2.5, (30, 4)), 0)
    rows = np.stack([rng.permutation(30)[:3] for _ in range(9000)])
    s = kernels.gather_similarities(concepts @ concepts.T, rows)
    pair = (s + rng.gumbel(size=s.shape)).argmax(axis=1)
    odd_last = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]])[pair]
    choices = np.take_along_axis(rows, odd_last, axis=1)
    return concepts, choices[:6000], choices[6000:]


def test_recovers_a_known_world(world):
    concepts, train, held_out = world
    fitted = vice.fit(_config(n_seeds=2), train, 30)
    truth = kernels.gather_similarities(concepts @ concepts.T, held_out)
    ceiling = kernels.correct(truth).mean()
    p = vice.p_star(fitted.posterior, held_out)
    assert kernels.correct(p).mean() > ceiling - 0.02
    # As sure as the truth itself, neither more nor less: cross-entropy tells.
    assert -np.log(p[:, 0]).mean() < kernels.cross_entropy(truth).mean() + 0.03
    dimensions = (fitted.posterior.mu != 0).any(axis=1).sum(axis=1)
    assert ((dimensions >= 4) & (dimensions <= 6)).all()
    assert (np.diff(fitted.history[:, :, 0], axis=1)[0] == 100).all()


SHORT = {
    "n_seeds": 2,
    "batch_size": 256,
    "burn_in": 40,
    "window": 20,
    "max_steps": 60,
    "cooldown_steps": 40,
    "check_every": 20,
    "min_objects": 0,
}


@pytest.fixture(scope="module")
def whole(world):
    return vice.fit(_config(**SHORT), world[1], 30)


@pytest.mark.parametrize("kill_after", [1, 4, 7])
def test_an_interrupted_fit_resumes_to_the_same_bits(
    world, whole, tmp_path, monkeypatch, kill_after
):
    _, train, _ = world
    write, written = files.write_npz, []

    def interrupted(path, **arrays):
        if len(written) == kill_after:
            raise KeyboardInterrupt
        write(path, **arrays)
        written.append(path)

    monkeypatch.setattr(files, "write_npz", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vice.fit(_config(**SHORT), train, 30, scratch=tmp_path)
    monkeypatch.setattr(files, "write_npz", lambda path, **arrays: written.append(path))
    resumed = vice.fit(_config(**SHORT), train, 30, scratch=tmp_path)
    for one, other in zip(
        (*whole.posterior, *whole[1:]), (*resumed.posterior, *resumed[1:]), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    # Nothing was fitted twice but what came after the last checkpoint.
    assert len(written) == np.isfinite(whole.history[..., 0]).sum()


def test_the_seed_decides(world, whole):
    alone = vice.fit(_config(**SHORT | {"n_seeds": 1}), world[1], 30).posterior.mu[0]
    first, second = whole.posterior.mu
    np.testing.assert_array_equal(alone, first[:, : alone.shape[1]])
    assert (first != second).any()


def test_nothing_to_learn_from_is_an_input_error(world):
    with pytest.raises(InputError, match="99 training choices; VICE expects at least 100"):
        vice.fit(_config(), world[1][:99], 30)


def test_where_nothing_is_beyond_doubt_all_dimensions_are_kept(world, capsys):
    fitted = vice.fit(_config(**SHORT | {"n_seeds": 1, "min_objects": 30}), world[1], 30)
    assert "show no dimension beyond doubt" in capsys.readouterr().err
    assert fitted.posterior.mu.shape == (1, 30, 10) and (fitted.posterior.sigma > 0).all()


def test_published_embedding_answers_as_published(shared_data):
    mu = np.load(shared_data / "things/vice_embedding.npy")[None].astype(np.float32)
    choices = load_triplets(shared_data / "things/triplets.txt", n_objects=mu.shape[1])
    p = vice.p_star(vice.Posterior(mu, np.zeros_like(mu)), choices, n_samples=1)
    assert kernels.correct(p).mean() == pytest.approx(0.6454, abs=1e-4)


def _fit(posterior):
    return vice.Fit(posterior, np.zeros((2, 3, 4)), np.array([True, False]))


def test_save_and_load(posterior, tmp_path):
    vice.save_posterior(tmp_path / "p.npz", _fit(posterior))
    found = vice.load_posterior(tmp_path / "p.npz")
    np.testing.assert_array_equal(found.posterior.mu, posterior.mu)
    np.testing.assert_array_equal(found.posterior.sigma, posterior.sigma)
    np.testing.assert_array_equal(found.converged, [True, False])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("sigma"), "sigma"),
        (lambda a: a.update(mu=a["mu"][0]), "shape"),
        (lambda a: a.update(mu=a["mu"][:, :2]), "shape"),
        (lambda a: a.update(mu=a["mu"][:, :0], sigma=a["sigma"][:, :0]), "shape"),
        (lambda a: a["mu"].__setitem__((0, 0, 0), np.nan), "not finite"),
        (lambda a: a["sigma"].__setitem__((0, 0, 0), -1), "negative"),
        (lambda a: a.update(mu=a["mu"].astype(str)), "type"),
        (lambda a: a.update(mu=a["mu"].astype(object)), "plain arrays"),
    ],
)
def test_a_bad_posterior_is_named(posterior, tmp_path, change, message):
    path = tmp_path / "p.npz"
    arrays = {"mu": posterior.mu.copy(), "sigma": posterior.sigma.copy()}
    arrays |= {"history": np.zeros((2, 3, 4)), "converged": np.array([True, False])}
    change(arrays)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=rf"p\.npz: .*{message}.*expected a VICE posterior"):
        vice.load_posterior(path)


def test_a_cut_posterior_is_named(posterior, tmp_path):
    path = tmp_path / "p.npz"
    vice.save_posterior(path, _fit(posterior))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"p\.npz: .*expected a VICE posterior"):
        vice.load_posterior(path)
    with pytest.raises(InputError, match="no such file"):
        vice.load_posterior(tmp_path / "other.npz")
