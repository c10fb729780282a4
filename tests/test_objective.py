"""What is lowered in training, against loops in NumPy."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from alignet import losses
from alignet.training import objective

TAUS = {"tau_teacher": 0.5, "tau_student": 2.0}


@pytest.mark.parametrize("name", objective.LOSSES)
def test_the_loss_of_each_name(name):
    rng = np.random.default_rng(0)
    t, s = (jnp.asarray(rng.normal(size=(6, 3)), jnp.float32) for _ in range(2))
    chosen = -log_softmax(s / 2, axis=-1)[np.arange(6), np.argmax(t, -1)]
    expected = {
        "kl": rel_entr(softmax(t / 0.5, axis=-1), softmax(s / 2, axis=-1)).sum(-1),
        "jsd": [losses.alignet_jsd(one, other, **TAUS) for one, other in zip(t, s, strict=True)],
        "contrastive": chosen,
        "hard": chosen,
    }[name]
    found = objective.triplet_losses(name, t, s, **TAUS)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # Shuffling the objects of the triplets changes nothing.
    swapped = objective.triplet_losses(name, t[:, [0, 2, 1]], s[:, [0, 2, 1]], **TAUS)
    np.testing.assert_allclose(swapped, found, rtol=1e-5)


def test_all_thirds_are_the_pairs_of_triplets_with_every_other_image():
    rng = np.random.default_rng(0)
    index = np.array([[0, 1, 2], [3, 1, 4]])  # image 1 is in the batch twice
    teacher_z, z = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 3, 4))
    arrays = [jnp.asarray(x, jnp.float32) for x in (teacher_z, z)]
    teacher_s, student_s, different = objective.all_thirds(jnp.asarray(index), *arrays)
    flat = index.ravel()
    expected = {"teacher": [], "student": []}
    for triplet in range(2):
        for a, b in [(0, 1), (0, 2), (1, 2)]:
            i, j = 3 * triplet + a, 3 * triplet + b
            for k in range(6):
                if len({flat[i], flat[j], flat[k]}) == 3:
                    for name, rows in (("teacher", teacher_z), ("student", z)):
                        x = rows.reshape(6, -1)
                        expected[name].append([x[i] @ x[j], x[i] @ x[k], x[j] @ x[k]])
    for name, found in (("teacher", teacher_s), ("student", student_s)):
        np.testing.assert_allclose(found[different], expected[name], rtol=1e-4, atol=1e-5)
    # Every pair of different images is among them.
    pairs = {frozenset((a, b)) for a, b in itertools.combinations(range(5), 2)}
    seen = set()
    for pair, thirds in enumerate(np.asarray(different)):
        i, j = divmod(pair, 3)
        first, second = (3 * i + np.array(objective.LEFT)[j], 3 * i + np.array(objective.RIGHT)[j])
        for k in np.flatnonzero(thirds):
            chosen = {int(flat[x]) for x in (first, second, k)}
            seen |= {frozenset(two) for two in itertools.combinations(chosen, 2)}
    assert seen == pairs


def test_one_triplet_alone_is_itself_three_times():
    rng = np.random.default_rng(1)
    t, z = (jnp.asarray(rng.normal(size=(1, 3, 4)), jnp.float32) for _ in range(2))
    teacher_s, student_s, different = objective.all_thirds(jnp.array([[5, 6, 7]]), t, z)
    dense = objective.triplet_losses("kl", teacher_s, student_s, **TAUS)[different]
    pairs = [(0, 1), (0, 2), (1, 2)]
    own = [jnp.stack([x[0, i] @ x[0, j] for i, j in pairs])[None] for x in (t, z)]
    alone = objective.triplet_losses("kl", *own, **TAUS)
    np.testing.assert_allclose(dense, np.repeat(alone, 3), rtol=1e-4)
