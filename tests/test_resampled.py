"""At another image size than its file's, a network is what the file's own library makes of it."""

import jax
import numpy as np
import pytest

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, weights
from alignet.students import student as specification
from tests.test_torch_parity import naflex, redraw
from tests.torch_case import torch, transformers

SIZES = {
    "hidden_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
}


@pytest.fixture(autouse=True)
def short_networks(monkeypatch):
    monkeypatch.setitem(specification.VARIANTS, "S", (384, 2, 1536, 6))
    yield
    students.init.clear_cache()
    weights._shapes.cache_clear()


def dinov2(side):
    return transformers.Dinov2Model(
        transformers.Dinov2Config(**SIZES, image_size=side, patch_size=14)
    )


def registers(side):
    return transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(**SIZES, image_size=side, patch_size=14)
    )


def dinov1(side, heads=6):
    config = transformers.ViTConfig(
        **SIZES | {"num_attention_heads": heads}, image_size=side, patch_size=16
    )
    return transformers.ViTModel(config, add_pooling_layer=False)


@pytest.mark.parametrize(
    "name, network, side",
    [
        ("dinov2-s14", dinov2, 518),
        ("dinov2-s14-reg", registers, 518),
        ("dinov2-s14-reg", registers, 98),
        ("dinov1-s16", dinov1, 384),
    ],
)
def test_features_are_hugging_faces(tmp_path, name, network, side):
    model = redraw(network(side))
    model.save_pretrained(tmp_path)
    embed = students.load(name, tmp_path)
    x = np.random.default_rng(0).standard_normal((1, 224, 224, 3), np.float32)
    images = torch.from_numpy(x).permute(0, 3, 1, 2)
    options = {"interpolate_pos_encoding": True} if name == "dinov1-s16" else {}
    with torch.no_grad():
        expected = model(images, **options).last_hidden_state[:, 0].numpy()
    with jax.default_matmul_precision("highest"):
        found = students.network(embed.student).apply({"params": embed.params}, x)["pre_logits"]
    assert np.abs(found - expected).max() < 2e-4


def test_naflex_is_resampled_with_antialiasing_and_no_cubic(tmp_path, monkeypatch):
    monkeypatch.setitem(specification.VARIANTS, "B", (768, 2, 3072, 12))
    native = students.Student("B/16", 256, "map")
    model = redraw(naflex(native))
    model.save_pretrained(tmp_path)
    positions = students.load("siglip2-b16", tmp_path, image_size=224).params["pos_embedding"]
    state = dict(model.named_parameters())
    (old,) = [value for name, value in state.items() if "position_embedding" in name]
    grid = old.detach().reshape(16, 16, -1).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(
        grid, size=(14, 14), mode="bilinear", align_corners=False, antialias=True
    )
    np.testing.assert_allclose(
        positions[0], expected[0].permute(1, 2, 0).reshape(196, -1).numpy(), atol=2e-6
    )


def test_another_number_of_heads_is_refused(tmp_path):
    dinov1(224, heads=3).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"num_attention_heads is 3; expected 6, as S/16 has"):
        students.load("dinov1-s16", tmp_path)


def test_a_file_of_another_grid_still_names_its_row(tmp_path):
    redraw(dinov2(518)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"look like the weights of dinov2-s14\."):
        students.load("dinov2-s14-reg", tmp_path)


def test_a_student_of_a_layer_says_how_to_load_it(tmp_path):
    redraw(dinov2(224)).save_pretrained(tmp_path / "hf")
    embed = students.load("dinov2-s14", tmp_path / "hf", layer=1)
    students.save_weights(tmp_path / "w.npz", embed.student, embed.params)
    with pytest.raises(InputError, match="pass layer=1 to load it so"):
        students.load("dinov2-s14", tmp_path / "w.npz")
    again = students.load("dinov2-s14", tmp_path / "w.npz", layer=1)
    assert again.student == embed.student
    flat = layouts.flatten(embed.params)
    assert all((layouts.flatten(again.params)[name] == flat[name]).all() for name in flat)
