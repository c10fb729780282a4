"""How a network runs does not change what it computes; every row of the table is what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, zoo
from alignet.students.student import at_resolution

NANO = students.Student("nano/8", 32, "map")
DINOV2 = students.Student("nano/8", 32, registers=2, **zoo.DINOV2)
CLIP = students.Student("nano/8", 32, projection=24, **zoo.CLIP)


def images(student, n=2, seed=0):
    side = student.image_size
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, side, side, 3)), jnp.float32)


def drawn(student, seed=0):
    """Parameters that are all away from their initial zeros and ones."""
    params = students.init(student, jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32), params)


def apply(student, params, x, **compute):
    with jax.default_matmul_precision("highest"):
        run = jax.jit(students.network(student, students.Compute(**compute)).apply)
        return run({"params": params}, x)


@pytest.mark.parametrize("student", [NANO, DINOV2, CLIP], ids=["siglip", "dinov2", "clip"])
def test_scanned_blocks_compute_what_unrolled_ones_do(student):
    params, x = drawn(student), images(student)
    unrolled = apply(student, params, x)
    scanned = apply(student, layouts.to_scan(params), x, scan=True, remat=True)
    for a, b in zip(jax.tree.leaves(unrolled), jax.tree.leaves(scanned), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_scanned_layout_is_the_one_that_a_scanned_network_draws():
    student = NANO
    scanned = jax.eval_shape(
        students.network(student, students.Compute(scan=True)).init,
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32),
    )["params"]
    params = drawn(student)
    stacked = layouts.to_scan(params)
    assert jax.tree.map(np.shape, stacked) == jax.tree.map(np.shape, scanned)
    back = layouts.to_unrolled(stacked)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize("scan", [False, True])
def test_gradients_are_those_of_the_plain_network(scan):
    params, x = jax.device_get(drawn(DINOV2)), images(DINOV2)

    def gradient(params, **compute):
        return jax.grad(lambda p: apply(DINOV2, p, x, **compute)["pre_logits"].std())(params)

    plain = gradient(params)
    if scan:
        other = gradient(layouts.to_scan(params), scan=True, remat=True)
        other = layouts.to_unrolled(other)
    else:
        other = gradient(params, remat=True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), plain, other)


@pytest.mark.parametrize("student", [NANO, DINOV2, CLIP], ids=["siglip", "dinov2", "clip"])
def test_bfloat16_rounds_activations_and_gives_float32(student):
    params, x = drawn(student), images(student, n=8)
    exact, rounded = (apply(student, params, x, dtype=d) for d in ("float32", "bfloat16"))
    assert rounded["blocks"][0].dtype == jnp.float32
    a, b = exact["pre_logits"], rounded["pre_logits"]
    assert b.dtype == jnp.float32
    assert not np.array_equal(a, b)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.999


@pytest.mark.parametrize("student", [NANO, DINOV2], ids=["siglip", "dinov2"])
def test_an_intermediate_layer_is_read_from_its_residual_stream(student):
    params, x = drawn(student), images(student)
    plain = apply(student, params, x)
    for layer in range(3):
        z = apply(student._replace(layer=layer), params, x)["pre_logits"]
        tokens = np.asarray(plain["blocks"][layer])
        expected = tokens[:, 0] if student.pool == "tok" else tokens.mean(axis=1)
        np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="layer 3 does not exist; nano/8 has the blocks 0 to 2"):
        students.network(student._replace(layer=3))


def test_registers_come_between_the_cls_token_and_the_patches():
    # Blocks that add nothing leave the tokens as they came in.
    params, x = drawn(DINOV2), images(DINOV2)
    for layer in range(3):
        block = params["Transformer"][f"encoderblock_{layer}"]
        for name in ("layer_scale_0", "layer_scale_1"):
            block[name] = jnp.zeros_like(block[name])
    tokens = apply(DINOV2, params, x)["blocks"][-1]
    positions = params["pos_embedding"]
    kernel, bias = params["embedding"]["kernel"], params["embedding"]["bias"]
    patches = np.asarray(x).reshape(2, 4, 8, 4, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 16, -1)
    expected = np.concatenate(
        [
            np.broadcast_to(params["cls"] + positions[:, :1], (2, 1, 64)),
            np.broadcast_to(params["registers"], (2, 2, 64)),
            patches @ np.asarray(kernel).reshape(-1, 64) + bias + positions[:, 1:],
        ],
        axis=1,
    )
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-5)


def test_a_cls_token_with_a_position_is_one_whose_position_was_added():
    student = students.Student("nano/8", 32, "tok", cls_position=True)
    params, x = drawn(student), images(student)
    positions = params["pos_embedding"]
    folded = params | {"cls": params["cls"] + positions[:, :1], "pos_embedding": positions[:, 1:]}
    a = apply(student, params, x)["pre_logits"]
    b = apply(student._replace(cls_position=False), folded, x)["pre_logits"]
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"cls_position": True}, "cls_position needs a CLS token"),
        ({"registers": 4}, "registers needs a CLS token"),
        ({"activation": "relu"}, "activation 'relu' is unknown; expected one of gelu_tanh"),
        (
            {"pool": "tok", "cls_position": True, "posemb": "sincos2d"},
            "cls_position needs a learned position embedding",
        ),
    ],
)
def test_a_specification_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        students.network(NANO._replace(**change))


@pytest.mark.parametrize("change", [{"dtype": "float16"}, {"backend": "torch"}])
def test_an_unknown_way_to_run_is_refused(change):
    with pytest.raises(InputError, match=f"{next(iter(change.values()))!r}.*expected|unknown"):
        students.network(NANO, students.Compute(**change))


# --- the table ---


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
    out, params = jax.eval_shape(
        students.network(row.student).init_with_output, jax.random.key(0), x
    )
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
    shapes = jax.eval_shape(lambda: students.init(student, jax.random.key(0)))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == published
