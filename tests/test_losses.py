"""Losses against plain NumPy and finite differences; the pull against its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from alignet import losses

RNG = np.random.default_rng(0)
S = RNG.normal(size=(6, 3)) * 2
TEACHER = RNG.normal(size=(6, 3)) * 2
CHOICE = RNG.integers(3, size=6)
P_STAR = RNG.dirichlet([1, 1, 1], size=6)


def softmax(s, tau=1.0):
    e = np.exp(s / tau)
    return e / e.sum(-1, keepdims=True)


def kl(p, q):
    return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def test_hard_alignment():
    chosen = softmax(S, 2.0)[np.arange(6), CHOICE]
    loss = losses.hard_alignment(jnp.asarray(S), CHOICE, tau=2.0)
    np.testing.assert_allclose(loss, -np.log(chosen).mean(), rtol=1e-5)


def test_soft_alignment_is_the_true_kl():
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.3, 0.2])
    assert losses.soft_alignment(jnp.log(q), p) == pytest.approx(0.085, abs=5e-4)
    expected = np.mean([kl(p, q) for p, q in zip(P_STAR, softmax(S, 3.0), strict=True)])
    loss = losses.soft_alignment(jnp.asarray(S), P_STAR, tau=3.0)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_soft_alignment_with_certain_people_is_hard_alignment():
    certain = np.eye(3)[CHOICE]
    soft, slope = jax.value_and_grad(losses.soft_alignment)(jnp.asarray(S), certain)
    np.testing.assert_allclose(soft, losses.hard_alignment(jnp.asarray(S), CHOICE), rtol=1e-5)
    assert np.isfinite(slope).all()


def test_alignet_kl_and_jsd():
    p, q = softmax(TEACHER, 0.5), softmax(S, 4.0)
    taus = {"tau_teacher": 0.5, "tau_student": 4.0}
    expected = np.mean([kl(*pair) for pair in zip(p, q, strict=True)])
    given = losses.alignet_kl(jnp.asarray(TEACHER), jnp.asarray(S), **taus)
    np.testing.assert_allclose(given, expected, rtol=1e-4)
    m = (p + q) / 2
    halves = [kl(a, c) / 2 + kl(b, c) / 2 for a, b, c in zip(p, q, m, strict=True)]
    given = losses.alignet_jsd(jnp.asarray(TEACHER), jnp.asarray(S), **taus)
    np.testing.assert_allclose(given, np.mean(halves), rtol=1e-4)


def test_kl_is_several_times_jsd_in_the_worked_example():
    log_p, log_q = jnp.log(jnp.array([0.7, 0.2, 0.1])), jnp.log(jnp.array([0.5, 0.3, 0.2]))
    ratio = losses.alignet_kl(log_p, log_q, tau_student=1.0) / losses.alignet_jsd(
        log_p, log_q, tau_student=1.0
    )
    assert ratio == pytest.approx(3.9, abs=0.05)


def test_default_temperatures_are_the_papers():
    given = losses.alignet_kl(jnp.asarray(TEACHER), jnp.asarray(S))
    pairs = zip(softmax(TEACHER), softmax(S, 100.0), strict=True)
    np.testing.assert_allclose(given, np.mean([kl(*pair) for pair in pairs]), rtol=1e-4)


@pytest.mark.parametrize("divergence", [losses.alignet_kl, losses.alignet_jsd])
def test_a_student_like_its_teacher_has_no_loss(divergence):
    s = jnp.asarray(S) * 50
    assert divergence(s, s, tau_teacher=3.0, tau_student=3.0) == pytest.approx(0, abs=1e-6)
    # An extreme teacher and student stay finite: everything is in log space.
    value, slope = jax.value_and_grad(divergence, argnums=1)(s * 1e3, -s * 1e3, tau_student=1.0)
    assert np.isfinite(value) and np.isfinite(slope).all()


def test_contrastive():
    for choice in (0, CHOICE):
        pair = np.broadcast_to(choice, 6)
        expected = np.log(np.exp(S / 2).sum(-1)) - S[np.arange(6), pair] / 2
        given = losses.contrastive(jnp.asarray(S), choice, tau_student=2.0)
        np.testing.assert_allclose(given, expected.mean(), rtol=1e-5)


ALL_LOSSES = {
    "hard": lambda s: losses.hard_alignment(s, CHOICE, tau=1.5),
    "soft": lambda s: losses.soft_alignment(s, P_STAR, tau=1.5),
    "kl": lambda s: losses.alignet_kl(TEACHER, s, tau_student=1.5),
    "jsd": lambda s: losses.alignet_jsd(TEACHER, s, tau_student=1.5),
    "contrastive": lambda s: losses.contrastive(s, CHOICE, tau_student=1.5),
}


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_gradients_are_finite_differences(name):
    loss, step = jax.vmap(ALL_LOSSES[name]), 1e-5
    with jax.enable_x64(True):
        s = jnp.asarray(S, jnp.float64)
        nudges = step * np.eye(S.size).reshape(-1, *S.shape)
        numeric = (loss(s + nudges) - loss(s - nudges)) / (2 * step)
        gradient = jax.grad(ALL_LOSSES[name])(s)
    np.testing.assert_allclose(gradient, numeric.reshape(S.shape), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_losses_are_scalars_under_jit_with_any_leading_axes(name):
    loss = ALL_LOSSES[name](jnp.asarray(S))
    assert loss.shape == ()
    np.testing.assert_allclose(jax.jit(ALL_LOSSES[name])(jnp.asarray(S)), loss, rtol=1e-6)
    stacked = losses.soft_alignment(S.reshape(2, 3, 3), P_STAR.reshape(2, 3, 3))
    np.testing.assert_allclose(stacked, losses.soft_alignment(S, P_STAR), rtol=1e-6)


# ---- The pull towards the initial weights --------------------------------------------------------


def optimiser(learning_rate, *, strength=1.0, mask=None):
    return optax.chain(
        optax.scale_by_adam(),
        losses.pull_to_init(strength, mask),
        optax.scale_by_learning_rate(learning_rate),
    )


def start():
    return {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([0.1, -0.2])}


def gradient(params):
    return jax.tree.map(lambda x: jnp.sin(3 * x) + 0.3, params)


def steps(tx, params, state, n):
    for _ in range(n):
        updates, state = tx.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def numpy_adam_with_pull(x, n, learning_rate, strength):
    x, anchor, m, v = x.astype(np.float64), x.astype(np.float64), 0.0, 0.0
    for t in range(1, n + 1):
        g = np.sin(3 * x) + 0.3
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        adam = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        x = x - learning_rate * (adam + strength * (x - anchor))
    return x


@jax.enable_x64(True)
def test_pull_is_decoupled_from_adam_and_has_no_factor_two():
    tx, params = optimiser(0.05, strength=0.7), start()
    moved, _ = steps(tx, params, tx.init(params), 12)
    for name, x in params.items():
        expected = numpy_adam_with_pull(np.asarray(x), 12, 0.05, 0.7)
        np.testing.assert_allclose(moved[name], expected, rtol=1e-9)


@jax.enable_x64(True)
def test_mask_frees_some_weights():
    def mask(params):
        return {name: name == "kernel" for name in params}

    params = start()
    for given in (mask, mask(params)):
        tx = optimiser(0.05, strength=0.7, mask=given)
        moved, _ = steps(tx, params, tx.init(params), 12)
        for name, strength in (("kernel", 0.7), ("bias", 0.0)):
            expected = numpy_adam_with_pull(np.asarray(params[name]), 12, 0.05, strength)
            np.testing.assert_allclose(moved[name], expected, rtol=1e-9)


def test_anchor_survives_saving_and_resuming():
    tx, params = optimiser(0.05), start()
    unbroken, _ = steps(tx, params, tx.init(params), 10)

    params, state = steps(tx, params, tx.init(params), 5)
    saved = [np.array(leaf) for leaf in jax.tree.leaves((params, state))]
    resumed = optimiser(0.05)
    elsewhere = jax.tree.map(jnp.zeros_like, params)
    structure = jax.tree.structure((elsewhere, resumed.init(elsewhere)))
    params, state = jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in saved])
    resumed_params, _ = steps(resumed, params, state, 5)
    for name in unbroken:
        np.testing.assert_array_equal(resumed_params[name], unbroken[name])


@pytest.mark.parametrize("compiled", [False, True])
def test_anchor_outlives_donated_weights(compiled):
    tx, params = optimiser(0.05), start()
    expected = jax.tree.map(np.array, params)
    state = (jax.jit(tx.init) if compiled else tx.init)(params)

    def step(params, state):
        updates, state = tx.update(gradient(params), state, params)
        return optax.apply_updates(params, updates), state

    step = jax.jit(step, donate_argnums=(0, 1))
    for _ in range(3):
        params, state = step(params, state)
    jax.tree.map(np.testing.assert_array_equal, state[1].anchor, expected)


def test_a_free_drift_shrinks_as_over_the_official_schedule():
    schedule = optax.warmup_cosine_decay_schedule(0.0, 3e-5, 5_000, 100_000)
    tx = optax.chain(losses.pull_to_init(1.0), optax.scale_by_learning_rate(schedule))
    state = tx.init(jnp.zeros(()))

    def step(carry, _):
        drift, state = carry
        updates, state = tx.update(jnp.zeros(()), state, drift)
        return (optax.apply_updates(drift, updates), state), None

    run = jax.jit(lambda drift, state: jax.lax.scan(step, (drift, state), length=100_000)[0][0])
    assert run(jnp.ones(()), state) == pytest.approx(np.exp(-1.5), rel=0.01)


def test_the_pull_needs_the_weights():
    tx = losses.pull_to_init(1.0)
    with pytest.raises(ValueError, match="needs the weights"):
        tx.update(start(), tx.init(start()))
