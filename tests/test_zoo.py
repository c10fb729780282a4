"""The table of models: every row is what it says, with the published numbers of parameters."""

import jax
import jax.numpy as jnp
import pytest

from alignet import students
from alignet.errors import InputError
from alignet.students import zoo
from alignet.students.student import at_resolution

# One block is traced, not all of them; the parameters are as many.
SCAN = students.Compute(scan=True)


def test_the_table_has_the_papers_students_and_teacher():
    assert {
        *("vit-s16", "vit-b16", "vit-l16", "siglip-b16-224", "siglip-b16-256", "siglip-b16-384"),
        *("siglip-so400m-14", "siglip2-b16", "cappa-b16", "cappa-l14", "dinov1-b16", "dinov1-s16"),
        *("dinov2-s14", "dinov2-b14", "dinov2-l14", "clip-b16", "clip-b32", "clip-l14"),
        *("ti16", "mu16", "dinov2-s14-reg", "dinov2-b14-reg", "dinov2-l14-reg"),
    } <= zoo.ZOO.keys()
    with pytest.raises(InputError, match="model 'resnet50' is unknown; expected one of vit-s16, "):
        zoo.find("resnet50")


@pytest.mark.parametrize("name", zoo.ZOO)
def test_a_row_has_the_dimension_it_says(name):
    row = zoo.find(name)
    side = row.student.image_size
    x = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    network = students.network(row.student, SCAN)
    out, params = jax.eval_shape(network.init_with_output, jax.random.key(0), x)
    assert out["pre_logits"].shape == (2, row.dimension)
    assert hash(row.student) == hash(row.student._replace())
    side = row.student.image_size // int(row.student.variant.split("/")[1])
    if row.student.posemb == "learn":
        rows = side**2 + row.student.cls_position
        assert params["params"]["pos_embedding"].shape[1] == rows


@pytest.mark.parametrize(
    "name, published",
    [
        # Of the published state dicts; DINOv2's less the mask token, which only training uses.
        ("dinov2-s14", 22_056_576 - 384),
        ("dinov2-b14", 86_580_480 - 768),
        ("dinov2-l14", 304_368_640 - 1024),
        ("dinov1-b16", 85_798_656),
        ("dinov1-s16", 21_665_664),
        ("clip-b16", 86_192_640),
        ("clip-b32", 87_849_216),
        ("clip-l14", 303_966_208),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    student = zoo.find(name).student
    if name.startswith("dinov2"):
        student = at_resolution(student, 518)
    x = jax.ShapeDtypeStruct((1, student.image_size, student.image_size, 3), jnp.float32)
    shapes = jax.eval_shape(students.network(student, SCAN).init, jax.random.key(0), x)
    assert sum(x.size for x in jax.tree.leaves(shapes)) == published


@pytest.mark.parametrize(
    "change, message",
    [
        ({"std": (0.0, 1.0, 1.0)}, "the std and norm_eps positive"),
        ({"mean": (0.5, 0.5)}, "expected three numbers each"),
        ({"mean": (float("nan"),) * 3}, "expected three numbers each"),
        ({"resize": "pad"}, "resize 'pad' is unknown; expected one of squash, crop"),
        ({"interpolation": "nearest"}, "interpolation 'nearest' is unknown"),
        ({"resize": "crop", "short_side": 200}, "short_side 200 does not fit image_size 224"),
        ({"resize": "crop", "short_side": 10**7}, "expected 224 to 448, to crop from"),
    ],
)
def test_a_preprocessing_that_cannot_be_is_refused(change, message):
    scaling = students.Preprocessing()._replace(**change)
    with pytest.raises(InputError, match=message):
        students.network(zoo.find("mu16").student._replace(preprocessing=scaling))


def test_a_way_to_run_that_is_not_there_is_refused_before_weights_are_read(tmp_path):
    with pytest.raises(InputError, match="dtype 'float16'"):
        students.load("mu16", tmp_path / "absent", compute=students.Compute(dtype="float16"))
