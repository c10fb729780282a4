"""Draws of few-shot examples: how many of whom, nested, and reproducible."""

import numpy as np
import pytest

from alignet.errors import InputError
from evals.probes.draws import draw

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [9, 7, 12]))
CLASSES = ["apple", "pear", "fig"]


def test_every_draw_has_that_many_different_examples_of_every_class():
    for shots, rows in zip((1, 3, 7), draw(LABELS, (1, 3, 7), 4, 0, CLASSES), strict=True):
        assert rows.shape == (4, 3 * shots)
        for row in rows:
            assert len(set(row)) == len(row)
            np.testing.assert_array_equal(np.bincount(LABELS[row]), [shots] * 3)
            np.testing.assert_array_equal(LABELS[row], np.tile([0, 1, 2], shots))


def test_fewer_shots_are_the_first_of_more():
    one, five = draw(LABELS, (1, 5), 3, 0, CLASSES)
    np.testing.assert_array_equal(one, five[:, :3])


def test_a_draw_depends_on_the_seed_and_its_number_alone():
    (rows,) = draw(LABELS, (5,), 3, 0, CLASSES)
    np.testing.assert_array_equal(draw(LABELS, (1, 7, 5), 2, 0, CLASSES)[2], rows[:2])
    (other,) = draw(LABELS, (5,), 3, 1, CLASSES)
    sets = [frozenset(row.tolist()) for row in (*rows, *other)]
    assert len(set(sets)) == 6


def test_every_example_is_drawn_equally_often():
    rows = np.concatenate([draw(LABELS, (3,), 50, seed, CLASSES)[0] for seed in range(40)])
    share = np.bincount(rows.ravel(), minlength=28) / len(rows)
    np.testing.assert_allclose(share, 3 / np.array([9, 7, 12])[LABELS], atol=0.05)


def test_a_class_that_is_too_small_is_named_with_its_count():
    with pytest.raises(InputError, match=r"^class 'pear' has 7 images; 8 shots need 8\.$"):
        draw(LABELS, (1, 8), 1, 0, CLASSES)
    message = r"^class 'pear' has 7 images; 7 shots need 8, 1 of them to be tested on\.$"
    with pytest.raises(InputError, match=message):
        draw(LABELS, (1, 7), 1, 0, CLASSES, leave=1)
    with pytest.raises(InputError, match=r"^class 'nut' has no images, and labels go up to "):
        draw(LABELS, (1,), 1, 0, [*CLASSES, "nut"])
