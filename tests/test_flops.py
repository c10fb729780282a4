import jax
import jax.numpy as jnp
import pytest

from alignet import students
from alignet.students import flops
from alignet.students.student import Student


@pytest.mark.parametrize(
    "student",
    [
        Student("Ti/16", 64, "gap"),
        Student("Ti/16", 64, "map", num_classes=10),
        Student("Ti/16", 64, "tok", rep_size=192, triplet_head=32, registers=4),
    ],
)
def test_the_count_is_the_compilers_but_for_what_is_no_matrix_product(student):
    shapes = jax.eval_shape(lambda key: students.init(student, key), jax.random.key(0))
    network = students.network(student)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    forward = jax.jit(lambda params, x: network.apply({"params": params}, x))
    counted = forward.lower(shapes, images).cost_analysis()["flops"]
    assert 0.9 * counted < flops.forward_flops(student) < counted


def test_a_vit_b_of_16_at_224_px_is_35_gflop():
    # 17.6 billion multiplications and additions (Dosovitskiy et al. 2021, and others since).
    assert flops.forward_flops(Student("B/16", 224, "tok")) == pytest.approx(35.1e9, rel=0.01)


def test_devices_are_known_by_the_beginning_of_their_names():
    assert flops.peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert flops.peak_flops("TPU v5 lite") == 197e12
    assert flops.peak_flops("TPU v5p") == flops.peak_flops("TPU v5") == 459e12
    assert flops.peak_flops("cpu") is None
