"""Students against the networks of transformers and timm: the same weights, the same numbers.

Every network is real but for its weights, which are random, and, where that says nothing new, its
depth and the number of its pixels.
"""

import json
import re
import shutil
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alignet import students
from alignet.students import layouts, torch_names, zoo
from alignet.students import student as specification
from tests.torch_case import (
    assert_equal,
    clip,
    dinov2,
    dinov2_classifier,
    exported,
    naflex,
    ours,
    random_pixels,
    redraw,
    row,
    siglip,
    theirs,
    timm,
    vit,
    vit_classifier,
    whole_clip,
    whole_siglip,
)

save_torch = pytest.importorskip("safetensors.torch").save_file
no_init_weights = pytest.importorskip("transformers.initialization").no_init_weights

TOLERANCE = 2e-4


@pytest.fixture(autouse=True, scope="module")
def short_networks():
    with pytest.MonkeyPatch.context() as patch:
        for letter in ("B", "L", "So400m"):
            width, _, *rest = specification.VARIANTS[letter]
            patch.setitem(specification.VARIANTS, f"{letter}-short", (width, 2, *rest))
        yield


# Our row, their network, the layout of its checkpoint.
CASES = {
    "siglip": (row("siglip-b16"), siglip, "hf_siglip"),
    "siglip whole": (row("siglip-b16", 64, "short"), whole_siglip, "hf_siglip"),
    "siglip so400m": (row("siglip-so400m-14", 56, "short"), siglip, "hf_siglip"),
    "siglip2": (row("siglip2-b16", 64, "short"), siglip, "hf_siglip"),
    "siglip2 naflex": (row("siglip2-b16", 64, "short"), naflex, "hf_siglip"),
    "clip b16": (row("clip-b16", 64, "short"), clip, "hf_clip"),
    "clip b32": (row("clip-b32"), clip, "hf_clip"),
    "clip l14": (row("clip-l14", 56, "short"), clip, "hf_clip"),
    "clip whole": (row("clip-b16", 64, "short"), whole_clip, "hf_clip"),
    "dinov2 s14": (row("dinov2-s14"), dinov2, "hf_dinov2"),
    "dinov2 b14": (row("dinov2-b14", 56, "short"), dinov2, "hf_dinov2"),
    "dinov2 l14": (row("dinov2-l14", 56, "short"), dinov2, "hf_dinov2"),
    "dinov2 registers": (row("dinov2-s14-reg", 56), dinov2, "hf_dinov2"),
    "dinov2 classifier": (row("dinov2-s14", 56), dinov2_classifier, "hf_dinov2"),
    "dino s16": (row("dinov1-s16"), vit, "hf_vit"),
    "dino b16": (row("dinov1-b16", 64, "short"), vit, "hf_vit"),
    "vit b16": (row("vit-b16", 64, "short"), vit_classifier, "hf_vit"),
    "timm dino s16": (row("dinov1-s16", 64), timm("vit_small_patch16_224.dino"), "timm_vit"),
    "timm dino b16": (
        row("dinov1-b16", 64, "short"),
        timm("vit_base_patch16_224.dino"),
        "timm_vit",
    ),
    "timm dinov2": (row("dinov2-s14", 56), timm("vit_small_patch14_dinov2.lvd142m"), "timm_vit"),
    "timm dinov2 registers": (
        row("dinov2-s14-reg", 56),
        timm("vit_small_patch14_reg4_dinov2.lvd142m"),
        "timm_vit",
    ),
    "timm vit b16": (
        row("vit-b16", 64, "short"),
        timm("vit_base_patch16_224.augreg_in1k", num_classes=7),
        "timm_vit",
    ),
}


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    shutil.rmtree(tmp_path)  # hundreds of megabytes, which pytest would keep


class Case(NamedTuple):
    """A checkpoint as the library writes it, and our translation."""

    name: str
    layout: str
    expected: dict
    arrays: dict
    config: dict | None
    student: students.Student
    flat: dict


@pytest.fixture(params=CASES, scope="module")
def case(request, tmp_path_factory):
    student, build, layout = CASES[request.param]
    folder = tmp_path_factory.mktemp("checkpoint")
    with no_init_weights():  # for they are drawn anew
        model = redraw(build(student))
    config = None
    if layout == "timm_vit":
        save_torch(model.state_dict(), folder / "model.safetensors")
    else:
        model.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
    arrays = load_file(folder / "model.safetensors")
    shutil.rmtree(folder)
    assert torch_names.recognise(arrays) == layout
    student = torch_names.adjust(layout, student, arrays, config)
    flat = torch_names.from_torch(layout, arrays, student)
    expected = theirs(model, random_pixels(student))
    return Case(request.param, layout, expected, arrays, config, student, flat)


def test_all_activations_are_those_of_the_library(case):
    found = ours(case.student, case.flat, random_pixels(case.student))
    assert found.keys() == case.expected.keys()
    differences = {}
    for key, value in case.expected.items():
        assert 0.1 < value.std() < 100, key  # the comparison says something
        differences[key] = np.abs(found[key] - value).max()
    worst = max(differences, key=differences.get)
    print(f"{case.name}: max|Δ| {differences[worst]:.1e} at {worst}", end=", ")
    print(f"{differences['read-out']:.1e} at the read-out")
    assert differences[worst] <= TOLERANCE


def test_transformers_loads_what_we_export_and_computes_the_same(case, folder):
    model, loading_info = exported(folder, case.student, case.flat)
    assert not any(loading_info.values()), loading_info
    found = theirs(model, random_pixels(case.student))
    assert found.keys() == case.expected.keys()
    for key, value in case.expected.items():
        np.testing.assert_allclose(found[key], value, atol=TOLERANCE, rtol=0, err_msg=key)


def test_a_translation_comes_back_bit_for_bit(case):
    arrays, _ = torch_names.to_torch(case.student, case.flat)
    layout = torch_names.recognise(arrays)
    again = torch_names.from_torch(layout, arrays, case.student)
    assert_equal(again, case.flat)
    if case.layout == "timm_vit":
        return
    assert layout == case.layout
    prefix = r"^(vision_model|vit|dinov2)\."
    tower = {re.sub(prefix, "", name): value for name, value in case.arrays.items()}
    arrays = {re.sub(prefix, "", name): value for name, value in arrays.items()}
    if case.layout == "hf_dinov2":
        assert not arrays.pop("embeddings.mask_token").any()
    # Nothing is left behind but what is no part of an image tower's features.
    rest = r"text_model\.|text_projection|logit_|pooler\.|embeddings.mask_token"
    rest += "" if case.student.num_classes else "|classifier"
    tower = {name: value for name, value in tower.items() if not re.match(rest, name)}
    if case.name == "siglip2 naflex":
        patches = tower["embeddings.patch_embedding.weight"].reshape(-1, 16, 16, 3)
        tower["embeddings.patch_embedding.weight"] = patches.transpose(0, 3, 1, 2)
    assert_equal(arrays, tower)


ORDINARY = ("siglip whole", "clip whole", "dinov2 registers", "dino b16", "vit b16", "timm vit b16")


@pytest.mark.parametrize("case", ORDINARY, indirect=True)
def test_a_row_of_the_table_loads_the_librarys_files(case, folder, monkeypatch):
    save_file(case.arrays, folder / "model.safetensors")
    if case.config is not None:
        (folder / "config.json").write_text(json.dumps(case.config))
    student, _, _ = CASES[case.name]
    monkeypatch.setitem(zoo.ZOO, "row", zoo.Model(student, 0, "nowhere", "none"))
    embedder = students.load("row", folder)
    assert embedder.student == case.student._replace(num_classes=None)
    flat = {name: value for name, value in case.flat.items() if not name.startswith("head/")}
    assert_equal(layouts.flatten(embedder.params, ""), flat)
