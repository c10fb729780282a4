import numpy as np
import pytest

from alignet import students
from alignet.errors import InputError
from alignet.students.centring import centre
from alignet.students.student import Student
from tests.weights_case import random_params

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    "student",
    [
        Student("nano/8", 32, "gap"),
        Student("nano/8", 32, "tok", layer=1, layer_scale=True),
        Student("nano/8", 32, "gap", layer=2),
    ],
)
def test_the_mean_is_gone_and_nothing_else_has_changed(student):
    params = random_params(student)
    before = students.embed(student, params, PIXELS)
    after = students.embed(student, centre(student, params, before.mean(axis=0)), PIXELS)
    assert np.abs(before.mean(axis=0)).max() > 0.1
    scale = np.abs(before).max()
    np.testing.assert_allclose(after, before - before.mean(axis=0), atol=2e-5 * scale)


def test_a_read_out_that_no_bias_shifts_is_refused():
    student = Student("mu/8", 32, "map")
    with pytest.raises(InputError, match="mu/8 read out by map cannot be centred"):
        centre(student, random_params(student), np.zeros(32))
