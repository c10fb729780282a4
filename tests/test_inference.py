"""Images through a student: what is fed to it, and the same rows however they are handed over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from alignet import students
from alignet.errors import InputError
from tests.weights_case import TOY, random_params


@pytest.fixture(scope="module")
def toy_params():
    return random_params(TOY)


def images(n, side=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


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


# --- pictures of any size, through `students.Embedder` ---


@pytest.mark.parametrize(
    "preprocessing",
    [students.Preprocessing(), students.Preprocessing(resize="crop", short_side=18)],
    ids=["squash", "crop"],
)
def test_a_folder_pictures_and_an_array_give_the_same_rows(tmp_path, toy_params, preprocessing):
    embedder = students.Embedder(TOY._replace(preprocessing=preprocessing), toy_params)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 24, 40, 3), np.uint8)
    pictures = [Image.fromarray(image) for image in pixels]
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    z = embedder(tmp_path)
    resized = np.stack([students.resize(embedder.student, picture) for picture in pictures])
    assert resized.shape == (5, 16, 16, 3)
    np.testing.assert_array_equal(z, students.embed(embedder.student, toy_params, resized))
    assert z.shape == (5, 32) and z.std(axis=0).min() > 0
    np.testing.assert_array_equal(embedder(str(tmp_path)), z)
    np.testing.assert_array_equal(embedder(pictures), z)
    np.testing.assert_array_equal(embedder(pixels), z)


def test_pictures_of_any_size_and_colour_mode_are_embedded(toy_params):
    embedder = students.Embedder(TOY, toy_params)
    grey = Image.fromarray(np.random.default_rng(2).integers(0, 256, (20, 31), np.uint8))
    z = embedder([grey, np.asarray(grey.convert("RGB")), grey.convert("RGB").resize((9, 50))])
    assert z.shape == (3, 32)
    np.testing.assert_array_equal(z[0], z[1])
    assert not np.allclose(z[0], z[2])


@pytest.mark.parametrize(
    "wrong, found",
    [
        (np.zeros((20, 20, 3), np.float32), r"float32 \[20, 20, 3\]"),
        (np.zeros((20, 20, 3), np.int64), r"int64 \[20, 20, 3\]"),
        (np.zeros((20, 20), np.uint8), r"uint8 \[20, 20\]"),
        (np.zeros((20, 20, 4), np.uint8), r"uint8 \[20, 20, 4\]"),
        (np.zeros((1, 20, 20, 3), np.uint8), r"uint8 \[1, 20, 20, 3\]"),
    ],
    ids=["float", "int64", "grey", "rgba", "batch"],
)
def test_wrong_pictures_are_refused(toy_params, wrong, found):
    right = Image.new("RGB", (20, 20))
    with pytest.raises(InputError, match=rf"image is {found}; expected uint8 \[h, w, 3\] or"):
        students.Embedder(TOY, toy_params)([right, wrong])


def test_a_folder_without_pictures_is_refused(tmp_path, toy_params):
    with pytest.raises(InputError, match=str(tmp_path)):
        students.Embedder(TOY, toy_params)(tmp_path)


@pytest.mark.parametrize(
    "images, message",
    [
        (Image.new("RGB", (9, 9)), "one picture; expected a list"),
        (["a.png"], "a.png: a path in a list of images"),
        ([Image.new("RGB", (1, 9))], "a side of one pixel"),
        ([np.zeros((0, 9, 3), np.uint8)], "a side of one pixel or none"),
        ([], "there are no images"),
        (np.zeros((0, 16, 16, 3), np.uint8), "there are no images"),
    ],
    ids=["single", "path", "thin", "empty picture", "empty list", "empty array"],
)
def test_what_is_no_list_of_pictures_is_refused(toy_params, images, message):
    with pytest.raises(InputError, match=message):
        students.Embedder(TOY, toy_params)(images)
