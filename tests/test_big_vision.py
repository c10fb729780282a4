"""big_vision as the network behind a student, and our network against big_vision's own modules.

What compares with big_vision runs where it is importable: put a clone of
https://github.com/google-research/big_vision on PYTHONPATH.
"""

import importlib
import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, zoo

BIG_VISION = students.Compute(backend="big_vision")
MU = students.Student("mu/16", 32, "map")

needs_big_vision = pytest.mark.skipif(
    importlib.util.find_spec("big_vision") is None, reason="big_vision is not on PYTHONPATH"
)


def big_vision(module):
    students.network(MU, BIG_VISION)  # imports what has to be imported with care
    return importlib.import_module(f"big_vision.{module}")


def images(student, n=2):
    side = student.image_size
    return np.random.default_rng(1).normal(size=(n, side, side, 3)).astype(np.float32)


def drawn(student):
    """Parameters that all count: no bias is zero, no scale one."""
    rng = np.random.default_rng(2)
    flat = layouts.flatten(jax.eval_shape(lambda: students.init(student, jax.random.key(0))))
    for name, leaf in flat.items():
        size = leaf.size**-0.25 if name.endswith("kernel") else 0.1
        value = name.endswith("scale") + size * rng.normal(size=leaf.shape)
        flat[name] = value.astype(np.float32)
    return layouts.unflatten(flat)


def outputs_and_gradients(network, params, x):
    """The outputs, and the gradient of a random weighting of the pre-logits."""

    def weighted(params):
        out = network.apply({"params": params}, x)
        z = out["pre_logits"]
        return (z * np.random.default_rng(3).normal(size=z.shape)).sum(), out

    # Nearly all of the time is compilation: do it without optimising.
    compiled = jax.jit(
        jax.grad(weighted, has_aux=True), compiler_options={"xla_backend_optimization_level": 0}
    )
    with jax.default_matmul_precision("highest"):
        gradients, out = compiled(params)
    return out, gradients


def assert_equal_outputs(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def assert_equal_gradients(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # Sums over a batch and all tokens, in another order: measured 2e-6 of the largest entry.
        # A key's bias has no effect on attention; its gradient is rounding error, 2e-7.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max() + 1e-6)


def assert_parity(student, n=2, **compute):
    params, x = drawn(student), images(student, n)
    if compute.get("scan"):
        params = layouts.to_scan(params)
    ours = students.network(student, students.Compute(**compute))
    theirs = students.network(student, students.Compute(backend="big_vision", **compute))
    found, gradients = outputs_and_gradients(ours, params, x)
    expected, expected_gradients = outputs_and_gradients(theirs, params, x)
    assert_equal_outputs(found, expected)
    assert_equal_gradients(gradients, expected_gradients)


# --- without big_vision ---


def test_without_big_vision_it_is_said_where_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "big_vision.models.vit", None)
    with pytest.raises(
        InputError, match=r"not importable .*github\.com/google-research.*PYTHONPATH"
    ):
        students.network(MU, BIG_VISION)


@pytest.mark.parametrize("name", ["clip-b32", "dinov1-s16", "dinov2-s14", "dinov2-s14-reg"])
def test_what_big_vision_cannot_express_is_refused(name):
    with pytest.raises(InputError, match=r"student \w+ is .*big_vision's ViT does not have"):
        students.network(zoo.find(name).student, BIG_VISION)


@pytest.mark.parametrize(
    "field, value",
    [
        ("activation", "gelu"), ("norm_eps", 1e-5), ("cls_position", True), ("registers", 1),
        ("layer_scale", True), ("pre_norm", True), ("patch_bias", False), ("projection", 8),
    ],
)  # fmt: skip
def test_the_field_is_named(field, value):
    student = MU._replace(pool="tok", **{field: value})
    with pytest.raises(InputError, match=f"student {field} is {value!r}"):
        students.network(student, BIG_VISION)


def test_recomputing_unrolled_blocks_is_refused():
    with pytest.raises(InputError, match="expected scan=True"):
        students.network(MU, BIG_VISION._replace(remat=True))


# --- the network ---

HEADS = {"num_classes": 7, "triplet_head": 6}


@needs_big_vision
@pytest.mark.parametrize(
    "student",
    [
        MU,
        students.Student("nano/8", 24, "gap", posemb="sincos2d", rep_size=24, **HEADS),
        students.Student("nano/8", 24, "tok", rep_size=24, **HEADS),
        students.Student("nano/8", 24, "map", **HEADS),
        MU._replace(pool="gap", layer=0),
        MU._replace(pool="tok", layer=0),
    ],
    ids=["mu", "gap", "tok", "map", "layer-gap", "layer-tok"],
)
def test_outputs_and_gradients_are_big_visions(student):
    assert_parity(student)


@needs_big_vision
def test_recomputed_blocks_are_big_visions():
    assert_parity(students.Student("nano/8", 24, "tok"), scan=True, remat=True)


@needs_big_vision
@pytest.mark.parametrize(
    "variant, pool", [("S/16", "gap"), ("S/16", "tok"), ("S/16", "map"), ("B/16", "map")]
)
def test_whole_networks_are_big_visions(variant, pool):
    assert_parity(students.Student(variant, 32, pool), scan=True)


@needs_big_vision
@pytest.mark.slow
def test_the_siglip_image_tower_at_its_own_size_is_big_visions():
    assert_parity(zoo.find("siglip-b16").student, n=1)


@needs_big_vision
def test_half_precision_is_close_to_big_visions():
    # Measured: 0.8 % of the largest value, about a step of a bfloat16, as far as either is from
    # float32: fused attention rounds elsewhere.
    student = students.Student("nano/8", 24, "map")
    params, x = drawn(student), images(student)
    found, expected = (
        students.network(student, students.Compute("bfloat16", backend=backend)).apply(
            {"params": params}, x
        )["pre_logits"]
        for backend in ("alignet", "big_vision")
    )
    assert found.dtype == expected.dtype == np.float32
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


# --- parameters ---


@needs_big_vision
@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    "student",
    [zoo.find(name).student for name in ("mu16", "vit-s16", "vit-s16-i1k", "siglip-so400m-14")]
    + [students.Student("B/16", 224, "tok", rep_size=768, num_classes=21_843)],
    ids=["mu", "tok", "sincos2d", "so400m", "i21k"],
)
def test_parameters_have_big_visions_names_shapes_and_types(student, scan):
    model = big_vision("models.vit").Model(
        student.num_classes,
        variant=student.variant,
        posemb=student.posemb,
        rep_size=student.rep_size or False,
        pool_type=student.pool,
        scan=scan,
    )
    key, x = jax.random.key(0), jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
    expected = jax.eval_shape(model.init, key, x)["params"]
    for backend in ("alignet", "big_vision"):
        network = students.network(student, students.Compute(scan=scan, backend=backend))
        assert jax.eval_shape(network.init, key, x)["params"] == expected


@needs_big_vision
def test_the_triplet_head_lies_where_ours_does():
    student = MU._replace(triplet_head=5)
    x = images(student)
    ours, theirs = (
        jax.eval_shape(students.network(student, compute).init, jax.random.key(0), x)["params"]
        for compute in (students.Compute(), BIG_VISION)
    )
    assert ours == theirs


# --- big_vision's larger models ---


@needs_big_vision
def test_the_image_tower_of_siglip_is_our_network():
    siglip = big_vision("models.proj.image_text.two_towers").Model(
        image={"variant": "mu/16", "pool_type": "map"},
        text={"width": 32, "depth": 1, "mlp_dim": 64, "num_heads": 2, "vocab_size": 50},
        out_dim=(None, 32),
        bias_init=-10.0,
    )
    x, text = images(MU), np.ones((2, 4), int)
    params = jax.jit(siglip.init)(jax.random.key(0), x, text)["params"]
    params["img"] = drawn(MU)
    with jax.default_matmul_precision("highest"):
        embedding, _, theirs = jax.jit(siglip.apply)({"params": params}, x, text)
        ours = jax.jit(students.network(MU).apply)({"params": params["img"]}, x)
    np.testing.assert_allclose(ours["encoded"], theirs["img/encoded"], atol=1e-5)
    np.testing.assert_allclose(ours["pre_logits"], theirs["img/pre_logits"], atol=1e-5)
    z = ours["pre_logits"] / jnp.linalg.norm(ours["pre_logits"], axis=1, keepdims=True)
    np.testing.assert_allclose(z, embedding, atol=1e-5)


@needs_big_vision
def test_the_encoder_of_cappa_is_our_network():
    student = students.Student("nano/8", 24, "gap")
    cappa = big_vision("models.proj.cappa.cappa").Model(
        num_heads=4, num_layers=3, mlp_dim=256, emb_dim=64, vocab_size=50, seq_len=4, patches=(8, 8)
    )
    x, text = images(student), np.ones((2, 4), int)
    params = jax.jit(cappa.init)(jax.random.key(0), x, text)["params"]
    expected = jax.tree.map(np.shape, params["encoder"])
    params["encoder"] = drawn(student)
    assert jax.tree.map(np.shape, params["encoder"]) == expected
    with jax.default_matmul_precision("highest"):
        encoded = jax.jit(lambda p: cappa.apply({"params": p}, x, method="encode"))(params)
        ours = jax.jit(students.network(student).apply)({"params": params["encoder"]}, x)
    np.testing.assert_allclose(ours["encoded"], encoded, atol=1e-5)
    np.testing.assert_allclose(ours["pre_logits"], encoded.mean(axis=1), atol=1e-5)


# --- weights ---


@needs_big_vision
@pytest.mark.parametrize("scan", [False, True])
def test_big_vision_loads_what_we_save(tmp_path, scan):
    vit = big_vision("models.vit")
    student = students.Student("nano/8", 24, "map", num_classes=7)
    params = drawn(student)
    students.save_weights(tmp_path / "w.npz", student, params)
    sizes = {"width": 64, "depth": 3, "mlp_dim": 256, "num_heads": 4, "patch_size": (8, 8)}
    model = vit.Model(7, **sizes, pool_type="map", scan=scan)
    initial = jax.jit(model.init)(jax.random.key(0), images(student))["params"]
    loaded = vit.load(initial, str(tmp_path / "w.npz"), {"scan": scan})
    jax.tree.map(np.testing.assert_array_equal, loaded, layouts.to_scan(params) if scan else params)


@needs_big_vision
def test_a_triplet_head_is_ignored_by_big_vision_when_told_so(tmp_path):
    vit = big_vision("models.vit")
    student = MU._replace(triplet_head=5)
    params = drawn(student)
    students.save_weights(tmp_path / "w.npz", student, params)
    path, initial = str(tmp_path / "w.npz"), drawn(MU)
    with pytest.raises(ValueError, match="triplet_head"):
        vit.load(initial, path, {})
    loaded = vit.load(initial, path, {}, dont_load=["triplet_head/.*"])
    del params["triplet_head"]
    jax.tree.map(np.testing.assert_array_equal, loaded, params)


@needs_big_vision
@pytest.mark.parametrize("scan", [False, True])
def test_we_load_what_big_vision_names(tmp_path, scan):
    student = zoo.find("mu16").student
    model = big_vision("models.vit").Model(variant="mu/16", pool_type="map", scan=scan)
    params = jax.jit(model.init)(jax.random.key(0), images(student))["params"]
    named, _ = big_vision("utils").tree_flatten_with_names({"params": params})
    np.savez(tmp_path / "bv.npz", **dict(named))
    z = students.load("mu16", tmp_path / "bv.npz", compute=BIG_VISION)
    jax.tree.map(
        np.testing.assert_array_equal, layouts.to_scan(z.params) if scan else z.params, params
    )
