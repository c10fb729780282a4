"""Layouts: big_vision's trees, its older names, scanned blocks, resampled position embeddings."""

import ast

import numpy as np
import pytest

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, loading, weights, zoo
from alignet.students import student as specification
from tests.weights_case import assert_same, output, parameters


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
    assert_same(layouts.to_scan(unrolled), params)


# --- resampling ---


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
    from tests.torch_library import torch

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
