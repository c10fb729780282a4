"""Loading: which files a row of the table takes, what it makes of them, and what it refuses."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, loading, torch_names, zoo
from alignet.students import student as specification
from tests.weights_case import GOLDEN, MU, assert_same, output, parameters, random_params


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
    assert_same(
        loading.load("golden-map", tmp_path / "w.npz").params,
        loading.load("golden-map", path).params,
    )
    assert_same(
        loading.load("golden-map", f"{tmp_path / 'w.npz'}:img").params,
        loading.load("golden-map", path).params,
    )


def test_a_wrong_variant_names_the_right_one(tmp_path):
    params = random_params(zoo.find("ti16").student)
    np.savez(tmp_path / "ti.npz", **layouts.flatten(params))
    with pytest.raises(InputError, match=r"misshapen .*look like the weights of ti16\."):
        loading.load("mu16", tmp_path / "ti.npz")


@pytest.mark.parametrize(
    "subtree, message", [("txt", "Embed_0/embedding"), ("image", "no subtree")]
)
def test_a_wrong_subtree_is_refused(golden, subtree, message):
    path, _ = golden("siglip_two_towers")
    with pytest.raises(InputError, match=message):
        loading.load("golden-map", f"{path}:{subtree}")


def test_our_files_load_as_the_row_they_were_made_from(tmp_path):
    student = MU._replace(triplet_head=5)
    params = random_params(student)
    students.save_weights(tmp_path / "w.npz", student, params)
    embed = loading.load("mu16", tmp_path / "w.npz")
    assert embed.student == student
    assert_same(embed.params, params)
    students.save_weights(tmp_path / "again.npz", *embed[:2])
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "w.npz").read_bytes()
    assert loading.load("mu16", tmp_path / "w.npz", image_size=32).student.image_size == 32


@pytest.mark.parametrize("wrong", [{"pool": "gap"}, {"image_size": 192}, {"registers": 2}])
def test_a_specification_that_is_not_the_rows_is_refused(tmp_path, wrong):
    wrong = ({"pool": "tok"} if "registers" in wrong else {}) | wrong
    student = MU._replace(**wrong)
    students.save_weights(tmp_path / "w.npz", student, random_params(student))
    with pytest.raises(InputError, match=f"its specification says {next(iter(wrong))} "):
        loading.load("mu16", tmp_path / "w.npz")


# --- other image sizes, another layer ---


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
        r"look like the weights of golden-map .*image_size=56 resamples",
    ):
        loading.load("golden-map-56", path)
    asked = loading.load("golden-map-56", path, image_size=56)
    assert_same(asked.params, loading.load("golden-map", path, image_size=56).params)


@pytest.mark.parametrize(
    "name, side, method",
    [("dinov2-s14", 56, "bicubic"), ("vit-s16", 48, "bicubic_antialias")],
)
def test_files_of_torch_are_resampled_as_their_libraries_do(
    tmp_path, monkeypatch, name, side, method
):
    """Two blocks, a 2 × 2 grid, in the names of Hugging Face (DINOv2) and timm (ViT)."""
    monkeypatch.setitem(specification.VARIANTS, "S-short", (384, 2, 1536, 6))
    row = zoo.find(name).student
    row = row._replace(variant=row.variant.replace("S/", "S-short/"))
    monkeypatch.setitem(zoo.ZOO, name, zoo.find(name)._replace(student=row))
    tensors = torch_like(specification.at_resolution(row, side)._replace(cls_position=True), name)
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
    tensors, _ = torch_names.to_torch(student, layouts.flatten(params, ""))
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
    assert_same(first.params["MAPHead_0"], jax.device_get(expected))
    other = loading.load("golden-map", path, fresh="MAPHead_0/.*", seed=4)
    assert (other.params["MAPHead_0"]["probe"] != first.params["MAPHead_0"]["probe"]).any()
    assert_same(other.params["embedding"], first.params["embedding"])


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
