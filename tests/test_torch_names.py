"""Names of transformers and timm: translated both ways, recognised, and what they imply."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, torch_names
from tests.torch_case import (
    assert_equal,
    exported,
    ours,
    random_pixels,
    row,
    theirs,
    transformers,
)
from tests.weights_case import random_params

TOY = students.Student("mu/8", 16, "tok")
DINO = TOY._replace(cls_position=True, activation="gelu")
CLIP = DINO._replace(pre_norm=True, patch_bias=False, activation="quick_gelu", projection=12)
FAMILIES = {
    "siglip": TOY._replace(pool="map"),
    "clip": CLIP,
    "clip without projection": CLIP._replace(projection=None),
    "dinov2": DINO._replace(layer_scale=True),
    "dinov2 with registers": DINO._replace(layer_scale=True, registers=3),
    "dino": DINO,
    "vit of big_vision": TOY,
    "vit with classes": DINO._replace(num_classes=5, norm_eps=1e-3),
}


def random_flat(student):
    return layouts.flatten(random_params(student), "")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_exported_with_its_triplet_head(family, tmp_path):
    student = FAMILIES[family]._replace(triplet_head=6)
    flat = random_flat(student)
    model, loading_info = exported(tmp_path, student, flat)
    unexpected = {"triplet_head.weight", "triplet_head.bias"}
    assert {*loading_info.pop("unexpected_keys")} == unexpected
    assert not any(loading_info.values())
    pixels = random_pixels(student)
    found, expected = theirs(model, pixels), ours(student, flat, pixels)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=key)

    arrays = load_file(tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    layout = torch_names.recognise(arrays)
    row = student._replace(triplet_head=None, num_classes=None)
    again = torch_names.adjust(layout, row, arrays, config)
    if family == "vit of big_vision":
        # The CLS token's position, a row of zeros, is in the file.
        assert again.cls_position
        positions = np.pad(flat["pos_embedding"], [(0, 0), (1, 0), (0, 0)])
        student, flat = student._replace(cls_position=True), flat | {"pos_embedding": positions}
    assert again._replace(preprocessing=student.preprocessing) == student
    assert_equal(torch_names.from_torch(layout, arrays, again), flat)


def test_two_lines_load_an_export(tmp_path):
    for name in ("siglip", "dinov2", "dinov2 with registers", "dino"):
        folder = tmp_path / name
        folder.mkdir()
        model, _ = exported(folder, FAMILIES[name], random_flat(FAMILIES[name]))
        assert type(transformers.AutoModel.from_pretrained(folder)) is type(model)


@pytest.mark.parametrize(
    "student, message",
    [
        (TOY._replace(pool="gap"), "pool 'gap' .* vit .* expected 'tok'"),
        (TOY._replace(rep_size=8), "rep_size 8 .* expected None"),
        (TOY._replace(posemb="sincos2d"), "posemb 'sincos2d' .* expected 'learn'"),
        (TOY._replace(layer=0), "layer 0 .* expected None"),
        (DINO._replace(registers=2), "registers 2 .* vit .* expected 0"),
        (DINO._replace(projection=8), "projection 8 .* vit"),
        (FAMILIES["siglip"]._replace(num_classes=3), "num_classes 3 .* siglip"),
        (FAMILIES["siglip"]._replace(pre_norm=True), "pre_norm True .* siglip"),
        (CLIP._replace(layer_scale=True), "layer_scale True .* clip"),
        (CLIP._replace(patch_bias=True), "patch_bias True .* clip"),
        (FAMILIES["dinov2"]._replace(patch_bias=False), "patch_bias False .* dinov2"),
        (FAMILIES["dinov2"]._replace(variant="g/8"), "6144 .* no multiple of 1408"),
    ],
)
def test_a_student_that_transformers_has_not_is_refused(student, message):
    with pytest.raises(InputError, match=message):
        torch_names.to_torch(student, {})


@pytest.mark.parametrize("prefix", ["", "model.", "dinov2.", "vit.", "siglip.vision_model."])
@pytest.mark.parametrize("family", ["siglip", "clip", "dinov2 with registers", "dino"])
def test_the_tower_is_found_under_any_prefix(family, prefix):
    student = FAMILIES[family]
    flat = random_flat(student)
    arrays, _ = torch_names.to_torch(student, flat)
    layout = torch_names.recognise(arrays)
    projection = arrays.pop("visual_projection.weight", None)
    arrays = {prefix + name.removeprefix("vision_model."): a for name, a in arrays.items()}
    if projection is not None:
        arrays["visual_projection.weight"] = projection
    assert torch_names.recognise(arrays) == layout
    assert_equal(torch_names.from_torch(layout, arrays, student), flat)


@pytest.mark.parametrize(
    "names", [[], ["embedding/kernel", "cls"], ["conv1.weight", "layer1.0.bn1.weight"]]
)
def test_other_files_are_not_recognised(names):
    assert torch_names.recognise(names) is None


def test_what_cannot_be_translated_keeps_its_name():
    flat = random_flat(DINO)
    arrays, _ = torch_names.to_torch(DINO, flat)
    query = "encoder.layer.0.attention.attention.query.weight"
    odd = {
        "adapter.weight": np.zeros(3),
        "encoder.layer.1.layernorm_before.weight": np.zeros(32),
        "embeddings.cls_token": np.zeros(()),
        query: np.zeros((33, 32)),
    }
    found = torch_names.from_torch("hf_vit", arrays | odd, DINO)
    assert found.keys() - flat.keys() == odd.keys()
    assert flat.keys() - found.keys() == {
        "cls",
        "Transformer/encoderblock_0/MultiHeadDotProductAttention_0/query/kernel",
    }


# --- what a file implies about the network ---


def test_supervised_vits_are_fed_as_their_library_feeds_them():
    supervised, dino = row("vit-b16"), row("dinov1-b16")
    hugging_face = torch_names.adjust("hf_vit", supervised, {})
    assert hugging_face == supervised._replace(
        cls_position=True,
        activation="gelu",
        norm_eps=1e-12,
        preprocessing=students.Preprocessing("squash", None, "bilinear"),
    )
    assert torch_names.adjust("timm_vit", supervised, {}) == hugging_face._replace(
        norm_eps=1e-6, preprocessing=students.Preprocessing("crop", 248, "bicubic")
    )
    assert torch_names.adjust("hf_vit", dino, {}) == dino._replace(norm_eps=1e-12)
    assert torch_names.adjust("timm_vit", dino, {}) == dino


def test_timm_says_so_too():
    library = pytest.importorskip("timm", reason="tests/requirements-no-deps.txt")
    for name, side in (("augreg_in21k", 224), ("augreg_in21k_ft_in1k", 384)):
        config = library.get_pretrained_cfg(f"vit_base_patch16_{side}.{name}")
        found = torch_names.adjust("timm_vit", row("vit-b16", side), {}).preprocessing
        assert (found.interpolation, found.mean, found.std) == (
            config.interpolation,
            config.mean,
            config.std,
        )
        assert (found.short_side or side) == int(side / config.crop_pct)


def test_the_config_tells_activation_and_epsilon():
    whole = {"hidden_act": "silu", "vision_config": {"hidden_act": "gelu", "layer_norm_eps": 1e-4}}
    laion = torch_names.adjust("hf_clip", CLIP, {}, whole)
    assert laion == CLIP._replace(activation="gelu", norm_eps=1e-4)
    assert torch_names.adjust("hf_clip", CLIP, {}, {}) == CLIP
    for wrong in ({"hidden_act": "relu"}, {"hidden_act": []}, {"layer_norm_eps": "1"}):
        (field,) = wrong
        with pytest.raises(InputError, match=rf"config.json: {field} is .*; expected"):
            torch_names.adjust("hf_clip", CLIP, {}, wrong)
