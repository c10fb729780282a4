"""Networks: big_vision's outputs and names; how one runs does not change what it computes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, zoo
from alignet.students.student import at_resolution
from tests.weights_case import TOY, apply, assert_same, random_params

NANO = students.Student("nano/8", 32, "map")
DINOV2 = at_resolution(students.Student("nano/8", 224, registers=2, **zoo.DINOV2), 32)
CLIP = at_resolution(students.Student("nano/8", 224, projection=24, **zoo.CLIP), 32)


def images(student):
    side = student.image_size
    return np.random.default_rng(0).normal(size=(8, side, side, 3)).astype(np.float32)


# --- big_vision ---


@pytest.mark.parametrize(
    "name", ["vit_gap", "vit_tok", "vit_map", "vit_gap_sincos", "vit_tok_repsize", "vit_map_scan"]
)
@pytest.mark.parametrize("remat", [False, True])
def test_outputs_are_big_visions(golden, name, remat):
    _, arrays = golden(name)
    student = students.Student(
        "golden/8",
        32,
        str(arrays["meta/pool_type"]),
        posemb="sincos2d" if "sincos" in name else "learn",
        rep_size=48 if "repsize" in name else None,
        num_classes=7,
    )
    params = layouts.unflatten({k: x for k, x in arrays.items() if k.startswith("params/")})
    out = apply(student, params, arrays["image"], scan="scan" in name, remat=remat)
    for layer in range(3):
        expected = arrays[f"out/encoder/block{layer:02d}/+mlp"]
        np.testing.assert_allclose(out["blocks"][layer], expected, rtol=1e-5, atol=1e-5)
    for key in ("encoded", "pre_logits", "logits"):
        np.testing.assert_allclose(out[key], arrays[f"out/{key}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "variant, pool",
    [("mu/16", "map")] + [(f"{v}/16", p) for v in ("Ti", "S") for p in ("gap", "tok", "map")],
)
def test_parameters_have_big_visions_names_and_shapes(shared_data, variant, pool):
    student = students.Student(variant=variant, image_size=224, pool=pool)
    shapes = jax.eval_shape(lambda: students.init(student, jax.random.key(0)))
    ours = [
        f"{name.removeprefix('params/')}\t{value.shape}\t{value.dtype}"
        for name, value in layouts.flatten(shapes).items()
    ]
    tree = shared_data / "big_vision_trees" / f"vit_{variant.replace('/', '_')}_{pool}.txt"
    *theirs, total = tree.read_text().splitlines()
    assert sorted(ours) == sorted(theirs)
    assert sum(x.size for x in jax.tree.leaves(shapes)) == int(total.split("\t")[1])


# --- ways to run ---


@pytest.mark.parametrize("student", [NANO, DINOV2, CLIP], ids=["siglip", "dinov2", "clip"])
def test_scanned_blocks_compute_what_unrolled_ones_do(student):
    params, x = random_params(student), images(student)
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
    params = random_params(student)
    stacked = layouts.to_scan(params)
    assert jax.tree.map(np.shape, stacked) == jax.tree.map(np.shape, scanned)
    back = layouts.to_unrolled(stacked)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def gradient(params, **compute):
    x = images(DINOV2)
    return jax.grad(lambda p: apply(DINOV2, p, x, **compute)["pre_logits"].std())(params)


@pytest.fixture(scope="module")
def plain_gradient():
    return gradient(random_params(DINOV2))


@pytest.mark.parametrize("scan", [False, True])
def test_gradients_are_those_of_the_plain_network(plain_gradient, scan):
    params = random_params(DINOV2)
    if scan:
        other = layouts.to_unrolled(gradient(layouts.to_scan(params), scan=True, remat=True))
    else:
        other = gradient(params, remat=True)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6)
    jax.tree.map(close, other, plain_gradient)


@pytest.mark.parametrize("student", [NANO, DINOV2, CLIP], ids=["siglip", "dinov2", "clip"])
def test_bfloat16_rounds_activations_and_gives_float32(student):
    params, x = random_params(student), images(student)
    exact, rounded = (apply(student, params, x, dtype=d) for d in ("float32", "bfloat16"))
    assert rounded["blocks"][0].dtype == jnp.float32
    a, b = exact["pre_logits"], rounded["pre_logits"]
    assert b.dtype == jnp.float32
    assert not np.array_equal(a, b)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.999


@pytest.mark.parametrize("student", [NANO, DINOV2], ids=["siglip", "dinov2"])
def test_an_intermediate_layer_is_read_from_its_residual_stream(student):
    params, x = random_params(student), images(student)
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
    params, x = random_params(DINOV2), images(DINOV2)
    for layer in range(3):
        block = params["Transformer"][f"encoderblock_{layer}"]
        for name in ("layer_scale_0", "layer_scale_1"):
            block[name] = np.zeros_like(block[name])
    tokens = apply(DINOV2, params, x)["blocks"][-1]
    positions = params["pos_embedding"]
    kernel, bias = params["embedding"]["kernel"], params["embedding"]["bias"]
    n = len(x)
    patches = x.reshape(n, 4, 8, 4, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, 16, -1)
    expected = np.concatenate(
        [
            np.broadcast_to(params["cls"] + positions[:, :1], (n, 1, 64)),
            np.broadcast_to(params["registers"], (n, 2, 64)),
            patches @ kernel.reshape(-1, 64) + bias + positions[:, 1:],
        ],
        axis=1,
    )
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-5)


def test_a_cls_token_with_a_position_is_one_whose_position_was_added():
    student = students.Student("nano/8", 32, "tok", cls_position=True)
    params, x = random_params(student), images(student)
    positions = params["pos_embedding"]
    folded = params | {"cls": params["cls"] + positions[:, :1], "pos_embedding": positions[:, 1:]}
    a = apply(student, params, x)["pre_logits"]
    b = apply(student._replace(cls_position=False), folded, x)["pre_logits"]
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# --- the triplet head ---


def test_the_triplet_head_is_linear_in_the_pre_logits():
    student, params = students.add_triplet_head(TOY, random_params(TOY), jax.random.key(7), width=5)
    out = apply(student, params, images(TOY))
    head = params["triplet_head"]
    expected = out["pre_logits"] @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(out["triplet_head"], expected, rtol=1e-5)


def test_a_head_added_to_pretrained_weights_leaves_them_alone():
    pretrained = random_params(TOY)
    student, params = students.add_triplet_head(TOY, pretrained, jax.random.key(7), width=5)
    assert student.triplet_head == 5
    assert params.pop("triplet_head")["kernel"].shape == (32, 5)
    assert_same(params, pretrained)


# --- specifications that are refused ---


@pytest.mark.parametrize(
    "wrong",
    [
        {"variant": "Huge/16"},
        {"variant": "Ti"},
        {"variant": "Ti/x"},
        {"pool": "mean"},
        {"posemb": "rope"},
        {"image_size": 7},
    ],
)
def test_an_unknown_network_is_refused(wrong):
    with pytest.raises(InputError, match=r"student"):
        students.network(TOY._replace(**wrong))


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
    with pytest.raises(InputError, match=f"{next(iter(change.values()))!r}.*expected"):
        students.network(NANO, students.Compute(**change))
