"""Weights: what is read and written, in which layouts, and what is refused."""

import ast
import json
import os
from pathlib import Path

import flax.serialization
import flax.traverse_util
import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors.numpy import load_file, save_file

from alignet import students
from alignet.errors import InputError
from alignet.runtime import checkpoints
from alignet.students import layouts, loading, weight_files, weights, zoo
from alignet.students import student as specification

TOY = students.Student(variant="mu/8", image_size=16, pool="gap")
# The network of the golden files.
GOLDEN = {
    "golden-gap": students.Student("golden/8", 32, "gap"),
    "golden-cappa": students.Student("golden-cappa/8", 32, "gap"),
    "golden-tok": students.Student("golden/8", 32, "tok"),
    "golden-tok-rep": students.Student("golden/8", 32, "tok", rep_size=48),
    "golden-map": students.Student("golden/8", 32, "map"),
    "golden-map-56": students.Student("golden/8", 56, "map"),
}
SUBTREES = {"golden-cappa": "encoder", "golden-map": "img", "golden-map-56": "img"}


@pytest.fixture(autouse=True)
def golden_rows(monkeypatch):
    monkeypatch.setitem(specification.VARIANTS, "golden", (48, 3, 96, 4))
    monkeypatch.setitem(specification.VARIANTS, "golden-cappa", (48, 2, 96, 4))
    for name, student in GOLDEN.items():
        row = zoo.Model(student, 48, "none", "none", SUBTREES.get(name, ""))
        monkeypatch.setitem(zoo.ZOO, name, row)
    yield
    # Some tests shorten a variant; what was traced of it must not reach the next test.
    students.init.clear_cache()
    weights._shapes.cache_clear()


def random_params(student, seed=0):
    """Takes no compilation, as `students.init` does."""
    shapes = jax.eval_shape(lambda: students.init(student, jax.random.key(0)))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32) / 10, shapes)


@pytest.fixture(scope="module")
def toy_params():
    return random_params(TOY)


@pytest.fixture(scope="module")
def mu_params():
    return random_params(zoo.find("mu16").student)


@pytest.fixture
def golden(shared_data):
    """Reads a golden file: its path, and its arrays."""

    def read(name):
        path = shared_data / "big_vision_parity" / f"{name}.npz"
        with np.load(path, allow_pickle=False) as archive:
            return path, dict(archive)

    return read


def parameters(arrays):
    return {n.removeprefix("params/"): x for n, x in arrays.items() if n.startswith("params/")}


def output(embed, images, key="pre_logits"):
    with jax.default_matmul_precision("highest"):
        return students.network(embed.student).apply({"params": embed.params}, images)[key]


def same(params, expected):
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, params, expected)


# --- big_vision's trees and files ---


@pytest.mark.parametrize(
    "tree, student, subtree, count",
    [
        ("vit_B_16_gap", students.Student("B/16", 224, "gap"), "", 85_797_120),
        ("vit_B_16_tok", zoo.find("vit-b16").student, "", 85_797_888),
        ("vit_B_16_map", zoo.find("siglip-b16").student, "", 92_884_224),
        ("vit_B_16_map_scan", zoo.find("siglip-b16").student, "", 92_884_224),
        (
            "vit_B_16_i21k_tok_repsize",
            students.Student("B/16", 224, "tok", rep_size=768, num_classes=21843),
            "",
            103_185_747,
        ),
        ("vit_L_16_map", students.Student("L/16", 224, "map"), "", 315_894_784),
        ("vit_So400m_14_map", students.Student("So400m/14", 224, "map"), "", 427_680_704),
        ("siglip_B_16", zoo.find("siglip-b16").student, "img/", 92_884_224),
        ("siglip_So400m_14", students.Student("So400m/14", 224, "map"), "img/", 427_680_704),
        ("cappa_B_16", zoo.find("cappa-b16").student, "encoder/", 85_797_120),
        ("cappa_L_14", zoo.find("cappa-l14").student, "encoder/", 303_176_704),
    ],
)
def test_parameters_are_those_of_big_vision(shared_data, tree, student, subtree, count):
    *lines, _ = (shared_data / "big_vision_trees" / f"{tree}.txt").read_text().splitlines()
    flat = {}
    for name, shape, _ in (line.split("\t") for line in lines):
        if name.startswith(subtree):
            # Arrays of any size, but not in memory.
            shape = ast.literal_eval(shape)
            flat[name.removeprefix(subtree)] = np.broadcast_to(np.float32(0), shape)
    assert sum(x.size for x in flat.values()) == count
    diff = weights.difference(student, layouts.modernise(flat, student))
    assert str(diff) == "no difference"
    other = specification.at_resolution(student, 384)
    diff = weights.difference(other, layouts.modernise(flat, other))
    grid = {16: 24, 14: 27}[specification.sizes(student).patch_size]
    assert list(diff.misshapen) == ["pos_embedding"]
    assert diff.misshapen["pos_embedding"][1][1] == grid**2


@pytest.mark.parametrize(
    "name, row, key",
    [
        ("siglip_two_towers", "golden-map", "out/img/pre_logits"),
        ("vit_map_scan", "golden-map", "out/pre_logits"),
        ("vit_map", "golden-map", "out/pre_logits"),
        ("vit_gap", "golden-gap", "out/pre_logits"),
        ("vit_tok_repsize", "golden-tok-rep", "out/pre_logits"),
    ],
)
def test_a_file_of_big_vision_gives_its_outputs(golden, name, row, key):
    path, arrays = golden(name)
    embed = loading.load(row, path)
    assert embed.student == GOLDEN[row]
    np.testing.assert_allclose(output(embed, arrays["image"]), arrays[key], rtol=1e-5, atol=1e-5)


def test_cappas_encoder_gives_its_outputs(golden):
    path, arrays = golden("cappa")
    for file in (path, f"{path}:encoder"):
        z = output(loading.load("golden-cappa", file), arrays["image"], "encoded")
        np.testing.assert_allclose(z, arrays["out/encoded"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("root", ["", "params/", "opt/target/"])
def test_parameters_are_found_bare_and_beside_an_optimiser(tmp_path, golden, root):
    path, arrays = golden("siglip_two_towers")
    flat = {f"{root}{name}": value for name, value in parameters(arrays).items()}
    if root:
        flat |= {"opt/state/step": np.zeros(2), "extra/b": np.zeros(3)}
    np.savez(tmp_path / "w.npz", **flat)
    same(
        loading.load("golden-map", tmp_path / "w.npz").params,
        loading.load("golden-map", path).params,
    )
    same(
        loading.load("golden-map", f"{tmp_path / 'w.npz'}:img").params,
        loading.load("golden-map", path).params,
    )


def test_bfloat16_in_an_npz_becomes_float32_exactly(tmp_path, mu_params):
    flat = {
        n: np.asarray(x).astype(ml_dtypes.bfloat16) for n, x in layouts.flatten(mu_params).items()
    }
    np.savez(tmp_path / "w.npz", **flat)
    found = layouts.flatten(loading.load("mu16", tmp_path / "w.npz").params)
    for name, value in flat.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value.astype(np.float32))


# --- old layouts ---


def augreg(flat):
    """The names of the first vision_transformer releases, and their combined CLS position."""
    numbers = {
        "LayerNorm_1": "LayerNorm_2",
        "MlpBlock_0": "MlpBlock_3",
        "MultiHeadDotProductAttention_0": "MultiHeadDotProductAttention_1",
    }
    old = {}
    for name, value in flat.items():
        parts = [numbers.get(p, p) if "encoderblock" in name else p for p in name.split("/")]
        old["/".join(parts)] = value
    row = np.random.default_rng(0).normal(size=flat["cls"].shape).astype(np.float32)
    old["cls"] = flat["cls"] - row
    positions = np.concatenate([row, old.pop("pos_embedding")], axis=1)
    return old | {"Transformer/posembed_input/pos_embedding": positions}


def encoder_posemb(flat):
    return {("Transformer/" * (n == "pos_embedding")) + n: x for n, x in flat.items()}


def inlined_head(flat):
    return {n.removeprefix("MAPHead_0/"): x for n, x in flat.items()}


def scanned(flat):
    return layouts.flatten(layouts.to_scan(layouts.unflatten(flat, "")), "")


@pytest.mark.parametrize(
    "name, row, changes",
    [
        ("vit_tok", "golden-tok", [augreg]),
        ("vit_tok", "golden-tok", [encoder_posemb]),
        ("vit_tok", "golden-tok", [scanned, augreg]),
        ("vit_map", "golden-map", [inlined_head]),
        ("vit_map", "golden-map", [inlined_head, encoder_posemb]),
        ("vit_map", "golden-map", [scanned]),
    ],
)
def test_old_layouts_give_the_same_outputs(tmp_path, golden, name, row, changes):
    _, arrays = golden(name)
    flat = parameters(arrays)
    for change in changes:
        changed = change(flat)
        assert changed.keys() != flat.keys()
        flat = changed
    np.savez(tmp_path / "old.npz", **flat)
    z = output(loading.load(row, tmp_path / "old.npz"), arrays["image"])
    np.testing.assert_allclose(z, arrays["out/pre_logits"], rtol=1e-5, atol=1e-5)


def test_scanned_and_unrolled_are_the_same_both_ways(golden):
    params = layouts.unflatten(parameters(golden("vit_map_scan")[1]), "")
    assert "encoderblock" in params["Transformer"]
    unrolled = layouts.to_unrolled(params)
    assert {f"encoderblock_{i}" for i in range(3)} <= unrolled["Transformer"].keys()
    same(layouts.to_scan(unrolled), params)


# --- other image sizes ---


@pytest.mark.parametrize("grid", [7, 3])
def test_linear_resampling_is_big_visions(golden, grid):
    arrays = golden("resample_posemb")[1]
    new = layouts.resample_posemb(arrays["old"], grid, "linear", cls_row=False)
    np.testing.assert_array_equal(new, arrays[f"new_{grid}x{grid}"])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("old, new", [(37, 16), (16, 24), (14, 28), (7, 3)])
def test_bicubic_resampling_is_torchs(old, new, antialias):
    torch = pytest.importorskip("torch", reason="the oracle is torch")
    grid = np.random.default_rng(0).normal(size=(old, old, 8))
    expected = (
        torch.nn.functional.interpolate(
            torch.tensor(grid).permute(2, 0, 1)[None],
            size=(new, new),
            mode="bicubic",
            align_corners=False,
            antialias=antialias,
        )[0]
        .permute(1, 2, 0)
        .reshape(1, new**2, 8)
    )
    found = layouts.resample_posemb(
        grid.reshape(1, old**2, 8),
        new,
        "bicubic_antialias" if antialias else "bicubic",
        cls_row=False,
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("old, new", [(37, 16), (14, 24)])
def test_antialiased_resampling_with_a_cls_row_is_timms(old, new):
    torch = pytest.importorskip("torch", reason="the oracle is timm")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:  # its compiled part is absent; importing it asks for these two names
        operations = torch.library.Library("torchvision", "DEF")
        for operation in ("nms", "qnms"):
            operations.define(f"{operation}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    except ImportError:
        pass
    timm = pytest.importorskip("timm.layers", reason="the oracle is timm")
    posemb = np.random.default_rng(0).normal(size=(1, 1 + old**2, 8)).astype(np.float32) / 10
    found = layouts.resample_posemb(posemb, new, "bicubic_antialias", cls_row=True)
    expected = timm.resample_abs_pos_embed(torch.tensor(posemb), [new, new])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(found[:, 0], posemb[:, 0])


@pytest.mark.parametrize("method", ["linear", "bicubic", "bicubic_antialias"])
def test_resampling_to_the_same_grid_changes_nothing(method):
    posemb = np.random.default_rng(0).normal(size=(1, 10, 4)).astype(np.float32)
    same_grid = layouts.resample_posemb(posemb, 3, method, cls_row=True)
    np.testing.assert_array_equal(same_grid, posemb)


def test_a_grid_that_is_not_square_is_not_resampled():
    with pytest.raises(InputError, match="12 patches cannot be resampled"):
        layouts.resample_posemb(np.zeros((1, 12, 4)), 3, "linear", cls_row=False)


def test_another_image_size_resamples_linearly_from_big_vision(golden):
    path, arrays = golden("siglip_two_towers")
    embed = loading.load("golden-map", path, image_size=56)
    assert embed.student.image_size == 56
    expected = layouts.resample_posemb(
        arrays["params/img/pos_embedding"], 7, "linear", cls_row=False
    )
    np.testing.assert_array_equal(embed.params["pos_embedding"], expected)
    assert embed(np.zeros((2, 56, 56, 3), np.uint8)).shape == (2, 48)


def test_a_file_that_fits_another_row_is_not_resampled_unasked(golden):
    path, _ = golden("siglip_two_towers")
    with pytest.raises(
        InputError,
        match=r"pos_embedding \(1, 16, 48\), expected \(1, 49, 48\).*"
        r"look like the weights of golden-map;.*image_size=56 resamples",
    ):
        loading.load("golden-map-56", path)
    asked = loading.load("golden-map-56", path, image_size=56)
    same(asked.params, loading.load("golden-map", path, image_size=56).params)


@pytest.mark.parametrize(
    "name, side, method",
    [("dinov2-s14", 56, "bicubic"), ("vit-s16", 48, "bicubic_antialias")],
)
def test_files_of_torch_are_resampled_as_their_libraries_do(
    tmp_path, monkeypatch, name, side, method
):
    """Two blocks, a 2 × 2 grid, in the names of Hugging Face (DINOv2) and timm (ViT)."""
    monkeypatch.setitem(specification.VARIANTS, "S", (384, 2, 1536, 6))
    row = zoo.find(name).student
    tensors = torch_like(row._replace(image_size=side, cls_position=True), name)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    embed = loading.load(name, tmp_path)
    grid = 224 // specification.sizes(row).patch_size
    old = tensors["embeddings.position_embeddings" if name == "dinov2-s14" else "pos_embed"]
    expected = layouts.resample_posemb(old, grid, method, cls_row=True)
    np.testing.assert_array_equal(embed.params["pos_embedding"], expected)
    # Saved here, it is still that row's, whatever the library implied about it.
    students.save_weights(tmp_path / "w.npz", embed.student, embed.params)
    assert loading.load(name, tmp_path / "w.npz").student == embed.student


def torch_like(student, name):
    """Random parameters under the names of the library that publishes the row."""
    params = random_params(student)
    tensors, _ = weights.torch_names.to_torch(student, layouts.flatten(params, ""))
    if name == "dinov2-s14":
        return tensors
    renamed = {
        "embeddings.cls_token": "cls_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "layernorm.": "norm.",
        "encoder.layer.": "blocks.",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "intermediate.dense": "mlp.fc1",
        "attention.output.dense": "attn.proj",
        "output.dense": "mlp.fc2",
    }
    found = {}
    for old, value in tensors.items():
        for theirs, timms in renamed.items():
            old = old.replace(theirs, timms)
        found[old] = value
    for layer in range(2):
        for leaf in ("weight", "bias"):
            parts = [
                found.pop(f"blocks.{layer}.attention.attention.{p}.{leaf}")
                for p in ("query", "key", "value")
            ]
            found[f"blocks.{layer}.attn.qkv.{leaf}"] = np.concatenate(parts)
    return found


@pytest.mark.parametrize("image_size", [7, 0, -8])
def test_an_impossible_image_size_is_refused(golden, image_size):
    with pytest.raises(InputError, match=f"image_size {image_size} is smaller than the patch"):
        loading.load("golden-map", golden("vit_map")[0], image_size=image_size)


def test_a_layer_is_read_out(golden):
    path, arrays = golden("vit_gap")
    embed = loading.load("golden-gap", path, layer=1)
    expected = arrays["out/encoder/block01/+mlp"].mean(axis=1)
    np.testing.assert_allclose(output(embed, arrays["image"]), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="layer 3 does not exist"):
        loading.load("golden-gap", path, layer=3)


# --- heads, and what is dropped or drawn ---


def test_a_classifier_is_dropped_unless_it_is_wanted(golden):
    path, arrays = golden("vit_gap")
    assert loading.load("golden-gap", path).student.num_classes is None
    kept = loading.load("golden-gap", path, drop="")
    assert kept.student.num_classes == 7
    z = output(kept, arrays["image"], "logits")
    np.testing.assert_allclose(z, arrays["out/logits"], rtol=1e-5, atol=1e-5)


def test_a_layer_before_the_pre_logits_must_be_in_the_row_or_dropped(golden):
    path, _ = golden("vit_tok_repsize")
    with pytest.raises(InputError, match=r"2 unexpected \(pre_logits/bias \(48,\).*golden-tok-rep"):
        loading.load("golden-tok", path)
    loading.load("golden-tok", path, drop="(head|pre_logits)/.*")


def test_what_the_file_lacks_is_drawn_if_it_is_named(golden):
    path, _ = golden("vit_gap")
    with pytest.raises(InputError, match=r"15 missing \(MAPHead_0/probe .*12 more.*golden-gap"):
        loading.load("golden-map", path)
    first = loading.load("golden-map", path, fresh="MAPHead_0/.*", seed=3)
    expected = students.init(GOLDEN["golden-map"], jax.random.key(3))["MAPHead_0"]
    same(first.params["MAPHead_0"], jax.device_get(expected))
    other = loading.load("golden-map", path, fresh="MAPHead_0/.*", seed=4)
    assert (other.params["MAPHead_0"]["probe"] != first.params["MAPHead_0"]["probe"]).any()
    same(other.params["embedding"], first.params["embedding"])


def test_the_whole_difference_can_be_printed(golden):
    path, _ = golden("vit_gap")
    diff = loading.compare("golden-map", path, drop="embedding/bias")
    assert diff.unexpected == diff.misshapen == {}
    assert diff.missing["embedding/bias"] == (48,)
    assert sum(name.startswith("MAPHead_0/") for name in diff.missing) == 15
    assert len(str(diff).splitlines()) == len(diff.missing) == 16
    assert "missing     MAPHead_0/probe (1, 1, 48)" in str(diff).splitlines()


@pytest.mark.parametrize("wrong", [{"drop": "head("}, {"fresh": "*"}])
def test_a_wrong_pattern_is_refused(golden, wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}=.*not a regular expression"):
        loading.load("golden-gap", golden("vit_gap")[0], **wrong)


def test_a_wrong_variant_names_the_right_one(tmp_path, monkeypatch):
    monkeypatch.setitem(specification.VARIANTS, "Ti", (192, 2, 768, 3))
    params = random_params(zoo.find("ti16").student)
    np.savez(tmp_path / "ti.npz", **layouts.flatten(params))
    with pytest.raises(InputError, match=r"misshapen .*look like the weights of ti16;"):
        loading.load("mu16", tmp_path / "ti.npz")


@pytest.mark.parametrize(
    "subtree, message", [("txt", "Embed_0/embedding"), ("image", "no subtree")]
)
def test_a_wrong_subtree_is_refused(golden, subtree, message):
    path, _ = golden("siglip_two_towers")
    with pytest.raises(InputError, match=message):
        loading.load("golden-map", f"{path}:{subtree}")


# --- our own files ---


def test_weights_come_back_as_they_were(tmp_path):
    student = TOY._replace(
        triplet_head=6, preprocessing=students.Preprocessing(std=(0.2, 0.3, 0.4)), pool="map"
    )
    params = random_params(student)
    students.save_weights(tmp_path / "w.npz", student, params)
    loaded_student, loaded = students.load_weights(tmp_path / "w.npz")
    assert loaded_student == student
    assert hash(loaded_student) == hash(student)  # a static argument of jitted functions
    assert all(type(x) is np.ndarray and x.dtype == np.float32 for x in jax.tree.leaves(loaded))
    same(loaded, params)


def test_weights_have_big_visions_keys(tmp_path, toy_params):
    students.save_weights(tmp_path / "w.npz", TOY, toy_params)
    keys = set(np.load(tmp_path / "w.npz", allow_pickle=False).files) - {"student"}
    flat = flax.traverse_util.flatten_dict(toy_params, sep="/")
    assert keys == {f"params/{name}" for name in flat}


def test_our_files_load_as_the_row_they_were_made_from(tmp_path):
    student = zoo.find("mu16").student._replace(triplet_head=5)
    params = random_params(student)
    students.save_weights(tmp_path / "w.npz", student, params)
    embed = loading.load("mu16", tmp_path / "w.npz")
    assert embed.student == student
    same(embed.params, params)
    students.save_weights(tmp_path / "again.npz", *embed[:2])
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "w.npz").read_bytes()
    assert loading.load("mu16", tmp_path / "w.npz", image_size=32).student.image_size == 32


@pytest.mark.parametrize("wrong", [{"pool": "gap"}, {"image_size": 192}, {"registers": 2}])
def test_a_specification_that_is_not_the_rows_is_refused(tmp_path, wrong):
    wrong = ({"pool": "tok"} if "registers" in wrong else {}) | wrong
    student = zoo.find("mu16").student._replace(**wrong)
    students.save_weights(tmp_path / "w.npz", student, random_params(student))
    with pytest.raises(InputError, match=f"its specification says {next(iter(wrong))} "):
        loading.load("mu16", tmp_path / "w.npz")


def saved_with(tmp_path: Path, toy_params, change) -> Path:
    students.save_weights(tmp_path / "w.npz", TOY, toy_params)
    with np.load(tmp_path / "w.npz") as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(tmp_path / "w.npz", **arrays)
    return tmp_path / "w.npz"


NORM = "Transformer/encoder_norm/scale"
SPEC = "no readable specification"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: a.pop(f"params/{NORM}"), rf"1 missing \({NORM} \(32,\)\)"),
        (lambda a: a.update({"params/cls": np.zeros((1, 1, 32))}), r"1 unexpected \(cls "),
        (lambda a: a.update({f"params/{NORM}": np.zeros(31)}), rf"{NORM} \(31,\), expected \(32,"),
        (lambda a: a.update({f"params/{NORM}": np.zeros(32, int)}), f"{NORM} is int64"),
        (lambda a: a.update({f"params/{NORM}": np.full(32, np.nan)}), f"{NORM} has a NaN"),
        (lambda a: a.update({f"params/{NORM}": np.full(32, 1e300)}), f"{NORM} has a NaN"),
        (lambda a: a.update({f"params/{NORM}": np.array([None] * 32)}), "not readable"),
        (lambda a: a.pop("student"), "no specification"),
        (lambda a: a.update(student=np.array("{")), SPEC),
        (lambda a: a.update(student=np.array("[]")), SPEC),
        (lambda a: a.update(student=np.array('{"color": 1}')), SPEC),
        (lambda a: a.update(student=np.array(str(a["student"]).replace("16", "16.0"))), SPEC),
        (lambda a: a.update(student=np.array(str(a["student"]).replace("mu/8", "mu/0"))), SPEC),
    ],
)
def test_wrong_weights_are_refused_in_one_sentence(tmp_path, toy_params, change, message):
    path = saved_with(tmp_path, toy_params, change)
    with pytest.raises(InputError, match=message) as info:
        students.load_weights(path)
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


def test_nan_in_a_file_of_another_trainer_is_refused(tmp_path, mu_params):
    flat = layouts.flatten(mu_params)
    flat[f"params/{NORM}"] = np.full(32, np.inf)
    np.savez(tmp_path / "w.npz", **flat)
    with pytest.raises(InputError, match=f"w.npz as mu16: {NORM} has a NaN or infinite"):
        loading.load("mu16", tmp_path / "w.npz")


def test_files_that_are_no_weights_are_refused(tmp_path, toy_params):
    with pytest.raises(InputError, match="no such file"):
        students.load_weights(tmp_path / "absent.npz")
    with pytest.raises(InputError, match=r"no such file.*siglip-b16 \(gs://big_vision"):
        loading.load("siglip-b16", tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    students.save_weights(tmp_path / "w.npz", TOY, toy_params)
    whole = (tmp_path / "w.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    (tmp_path / "flipped.npz").write_bytes(flipped)
    for name in ("text", "array", "half", "flipped"):
        with pytest.raises(InputError, match=f"{name}.npz: not readable as weights"):
            students.load_weights(tmp_path / f"{name}.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no weights in a known format"):
        loading.load("mu16", tmp_path / "empty")


# --- kinds of files that may hold code ---


def command_in(message):
    return str(message).split('python -c "')[1].rsplit('"', 1)[0]


def test_files_of_torch_are_refused_with_a_command_that_converts_them(tmp_path, mu_params):
    torch = pytest.importorskip("torch", reason="converts with torch")
    tensors, _ = weights.torch_names.to_torch(
        zoo.find("mu16").student, layouts.flatten(mu_params, "")
    )
    tensors = {name: torch.tensor(value) for name, value in tensors.items()}
    for name in ("a.bin", "b.pt", "c.pth", "d.ckpt", "e.pkl"):
        torch.save(tensors, tmp_path / name)
        with pytest.raises(InputError, match=f"{name} is of a kind that is not read") as info:
            loading.load("mu16", tmp_path / name)
    folder = tmp_path / "snapshot"
    folder.mkdir()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="weights_only=True") as info:
        loading.load("mu16", folder)
    exec(command_in(info.value))
    same(loading.load("mu16", folder / "pytorch_model.safetensors").params, mu_params)


def test_msgpack_is_refused_with_a_command_that_converts_it(tmp_path, mu_params):
    path = tmp_path / "flax.msgpack"
    path.write_bytes(flax.serialization.to_bytes({"params": mu_params}))
    with pytest.raises(InputError, match="msgpack is of a kind that is not read") as info:
        loading.load("mu16", path)
    exec(command_in(info.value))
    same(loading.load("mu16", path.with_suffix(".npz")).params, mu_params)


# --- safetensors ---


@pytest.fixture
def exported(tmp_path, mu_params):
    weights.save_safetensors(tmp_path / "mu", zoo.find("mu16").student, mu_params)
    return tmp_path / "mu"


def test_a_student_goes_to_hugging_face_and_back_unchanged(exported, mu_params):
    assert {file.name for file in exported.iterdir()} == set(weights.EXPORTED)
    for path in (exported, exported / "model.safetensors"):
        embed = loading.load("mu16", path)
        assert embed.student == zoo.find("mu16").student
        same(embed.params, mu_params)
    # As transformers would write it again, without our specification.
    save_file(load_file(exported / "model.safetensors"), exported / "model.safetensors")
    same(loading.load("mu16", exported).params, mu_params)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_float32_exactly(exported, dtype):
    file = exported / "model.safetensors"
    halves = {name: value.astype(dtype) for name, value in load_file(file).items()}
    save_file(halves, file)
    half = loading.load("mu16", exported).params
    save_file({name: value.astype(np.float32) for name, value in halves.items()}, file)
    same(half, loading.load("mu16", exported).params)


@pytest.fixture
def sharded(exported):
    tensors = load_file(exported / "model.safetensors")
    (exported / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({name: tensors[name] for name in part}, exported / shard)
    index = {"weight_map": {n: shard for shard, part in shards.items() for n in part}}
    (exported / weight_files.INDEX).write_text(json.dumps(index))
    return exported


def test_shards_are_put_together(sharded, mu_params):
    same(loading.load("mu16", sharded).params, mu_params)


def drop_shard(folder):
    (folder / "two.safetensors").unlink()


def point_outside(folder):
    index = (folder / weight_files.INDEX).read_text()
    (folder.parent / "two.safetensors").write_bytes((folder / "two.safetensors").read_bytes())
    (folder / weight_files.INDEX).write_text(index.replace("two.s", "../two.s"))


def drop_tensor(folder):
    tensors = load_file(folder / "one.safetensors")
    tensors.popitem()
    save_file(tensors, folder / "one.safetensors")


def truncate_shard(folder):
    os.truncate(folder / "one.safetensors", 3000)


def spoil_index(folder):
    (folder / weight_files.INDEX).write_text('{"weight_map": 3}')


@pytest.mark.parametrize(
    "change, message",
    [
        (drop_shard, "names 'two.safetensors', which is not beside it"),
        (point_outside, "names '../two.safetensors', which is not beside it"),
        (drop_tensor, "one.safetensors: it lacks .*, which model.safetensors.index.json says"),
        (truncate_shard, "one.safetensors: not readable as weights"),
        (spoil_index, "index.json: not readable as weights"),
    ],
)
def test_an_incomplete_set_of_shards_is_refused(sharded, change, message):
    change(sharded)
    with pytest.raises(InputError, match=message):
        loading.load("mu16", sharded)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_safetensors_file_is_refused(exported, length):
    whole = (exported / "model.safetensors").read_bytes()
    (exported / "model.safetensors").write_bytes(whole[:length])
    with pytest.raises(InputError, match=r"model.safetensors: not readable as weights \(.+\)"):
        loading.load("mu16", exported)


@pytest.mark.parametrize("text", ["{", "3"])
def test_a_config_that_is_no_json_object_is_refused(exported, text):
    (exported / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config.json: .*expected (a )?JSON"):
        loading.load("mu16", exported)


def test_an_export_replaces_an_export_and_nothing_else(exported, mu_params):
    other = jax.tree.map(lambda x: x + 1, mu_params)
    weights.save_safetensors(exported, zoo.find("mu16").student, other)
    same(loading.load("mu16", exported).params, other)
    (exported / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds thesis\.tex, which would be lost"):
        weights.save_safetensors(exported, zoo.find("mu16").student, mu_params)
    assert (exported / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    "preprocessing",
    [
        students.Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
        students.Preprocessing(resize="crop", short_side=40, interpolation="bilinear"),
        students.Preprocessing(resize="crop"),
    ],
)
def test_transformers_feeds_an_export_as_the_student_is_fed(tmp_path, preprocessing):
    pytest.importorskip("torch", reason="transformers needs it")
    transformers = pytest.importorskip("transformers", reason="the reader of the export")
    image = pytest.importorskip("PIL.Image")
    student = students.Student("mu/16", 32, "map", preprocessing)
    weights.save_safetensors(tmp_path / "mu", student, random_params(student))
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    config = json.loads((tmp_path / "mu" / "preprocessor_config.json").read_text())
    processor = getattr(transformers, config["image_processor_type"])(**config)
    picture = image.fromarray(pixels)
    theirs = np.asarray(processor(picture, return_tensors="np")["pixel_values"])
    ours = students.normalise(student, students.resize(student, picture)[None])
    np.testing.assert_allclose(theirs.transpose(0, 2, 3, 1), ours, atol=1.01 / 255 / 0.4)


# --- orbax ---


def test_a_checkpoint_of_distillation_loads(tmp_path, mu_params):
    student = zoo.find("mu16").student
    newer = jax.tree.map(lambda x: x + 1, mu_params)
    with checkpoints.open_manager(tmp_path / "checkpoints") as manager:
        for step, params in ((9, mu_params), (10, newer)):
            state = {"params": params, "opt_state": [{"mu": params}]}
            checkpoints.save(manager, step, state, {"student": student._asdict()})
    embed = loading.load("mu16", tmp_path / "checkpoints")
    assert embed.student == student
    same(embed.params, newer)
    same(loading.load("mu16", tmp_path / "checkpoints" / "9").params, mu_params)
    with pytest.raises(InputError, match="specification says variant 'mu/16' and ti16"):
        loading.load("ti16", tmp_path / "checkpoints")
    for file in (tmp_path / "checkpoints" / "10").rglob("manifest.ocdbt"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="not readable as weights"):
        loading.load("mu16", tmp_path / "checkpoints")


@pytest.mark.parametrize("tree", [lambda p: p, lambda p: {"params": {"img": p, "t": p["cls"]}}])
def test_a_plain_tree_of_orbax_loads(tmp_path, golden, tree):
    params = layouts.unflatten(parameters(golden("vit_tok")[1]), "")
    with ocp.StandardCheckpointer() as writer:
        writer.save(tmp_path / "tree", tree(params))
    path = tmp_path / "tree"
    embed = loading.load("golden-tok", path if tree(params) is params else f"{path}:img")
    same(embed.params, {name: x for name, x in params.items() if name != "head"})
