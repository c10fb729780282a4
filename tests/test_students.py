import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, student

TOY = students.Student(variant="mu/8", image_size=16, pool="gap")


@pytest.fixture(scope="module")
def toy_params():
    return jax.device_get(students.init(TOY, jax.random.key(0)))


def images(n, side=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


# --- big_vision ---


@pytest.mark.parametrize(
    "name", ["vit_gap", "vit_tok", "vit_map", "vit_gap_sincos", "vit_tok_repsize", "vit_map_scan"]
)
@pytest.mark.parametrize("remat", [False, True])
def test_outputs_are_big_visions(shared_data, monkeypatch, name, remat):
    golden = np.load(shared_data / "big_vision_parity" / f"{name}.npz", allow_pickle=False)
    params = layouts.unflatten({k: golden[k] for k in golden.files if k.startswith("params/")})
    monkeypatch.setitem(student.VARIANTS, "small", (48, 3, 96, 4))
    spec = students.Student(
        "small/8",
        32,
        str(golden["meta/pool_type"]),
        posemb="sincos2d" if "sincos" in name else "learn",
        rep_size=48 if "repsize" in name else None,
        num_classes=7,
    )
    compute = students.Compute(scan="scan" in name, remat=remat)
    with jax.default_matmul_precision("highest"):
        out = students.network(spec, compute).apply({"params": params}, golden["image"])
    for layer in range(3):
        expected = golden[f"out/encoder/block{layer:02d}/+mlp"]
        np.testing.assert_allclose(out["blocks"][layer], expected, rtol=1e-5, atol=1e-5)
    for key in ("encoded", "pre_logits", "logits"):
        np.testing.assert_allclose(out[key], golden[f"out/{key}"], rtol=1e-5, atol=1e-5)


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


# --- the specification ---


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


def test_the_triplet_head_is_linear_in_the_pre_logits(toy_params):
    student, params = students.add_triplet_head(TOY, toy_params, jax.random.key(7), width=5)
    x = students.normalise(student, images(3))
    out = jax.jit(students.network(student).apply)({"params": params}, x)
    head = params["triplet_head"]
    expected = out["pre_logits"] @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(out["triplet_head"], expected, rtol=1e-5)


def test_a_head_added_to_pretrained_weights_leaves_them_alone(toy_params):
    student, params = students.add_triplet_head(TOY, toy_params, jax.random.key(7), width=5)
    assert student.triplet_head == 5
    assert params["triplet_head"]["kernel"].shape == (32, 5)
    del params["triplet_head"]
    jax.tree.map(np.testing.assert_array_equal, params, toy_params)


# --- preprocess and embed ---


def test_preprocess_spans_the_value_range():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), (1, 16, 16, 3))
    for mean, std, low, high in [(0.5, 0.5, -1.0, 1.0), (0.0, 1.0, 0.0, 1.0)]:
        scaling = students.Preprocessing(mean=(mean,) * 3, std=(std,) * 3)
        x = students.normalise(TOY._replace(preprocessing=scaling), ramp)
        assert x.dtype == jnp.float32
        np.testing.assert_allclose(
            np.asarray(x)[0, :, :, 0].ravel(), np.linspace(low, high, 256), atol=1e-6
        )


@pytest.mark.parametrize(
    "wrong",
    [
        images(2).astype(np.float32) / 255,
        images(2).astype(np.int64),
        images(2, side=24),
        images(2)[..., :1],
        images(2)[0],
    ],
    ids=["float", "int64", "size", "grey", "single"],
)
def test_images_of_another_kind_are_refused(wrong, toy_params):
    with pytest.raises(InputError, match=r"expects uint8 \[n, 16, 16, 3\]"):
        students.normalise(TOY, wrong)
    with pytest.raises(InputError, match="uint8"):
        students.embed(TOY, toy_params, wrong)


@pytest.mark.parametrize("n", [1, 4, 11])
def test_embed_is_the_same_for_any_batch_size(n, toy_params):
    x = images(n)
    apply = jax.jit(students.network(TOY).apply)
    expected = apply({"params": toy_params}, students.normalise(TOY, x))["pre_logits"]
    z = students.embed(TOY, toy_params, x, batch_per_device=4)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-6)


def test_embed_reads_a_memory_map(tmp_path, toy_params):
    np.save(tmp_path / "x.npy", images(5))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        students.embed(TOY, toy_params, mapped), students.embed(TOY, toy_params, images(5))
    )


def test_nothing_to_embed_is_said(toy_params):
    with pytest.raises(InputError, match="no images"):
        students.embed(TOY, toy_params, images(0))
