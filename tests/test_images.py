"""Images: round trips, folders, and every way an input can be bad."""

import numpy as np
import pytest
from PIL import Image

from alignet.data.images import Images, load_images, save_images
from alignet.errors import InputError


def squash(size):
    return lambda picture: np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))


@pytest.fixture
def images() -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    return Images(np.array(["b", "a", "ç"]), pixels)


def write_folder(folder, images: Images, suffixes=(".png", ".PNG", ".png")):
    folder.mkdir(exist_ok=True)
    for name, picture, suffix in zip(images.ids, images.pixels, suffixes, strict=True):
        Image.fromarray(picture).save(folder / f"{name}{suffix}", format="png")
    return folder


def test_npz_round_trip(tmp_path, images):
    save_images(tmp_path / "images.npz", images)
    read = load_images(tmp_path / "images.npz")
    np.testing.assert_array_equal(read.ids, images.ids)
    np.testing.assert_array_equal(read.pixels, images.pixels)
    assert [p.name for p in tmp_path.iterdir()] == ["images.npz"]


def test_folder_is_sorted_by_name_and_skips_other_files(tmp_path, images):
    folder = write_folder(tmp_path / "pictures", images)
    (folder / "notes.txt").write_text("not a picture")
    read = load_images(folder)
    assert list(read.ids) == ["a", "b", "ç"]
    np.testing.assert_array_equal(read.pixels, images.pixels[[1, 0, 2]])


def test_every_colour_mode_becomes_rgb(tmp_path):
    grey = np.full((4, 4), 90, np.uint8)
    for mode in ("L", "RGBA", "P", "CMYK"):
        rgb = Image.fromarray(grey).convert("RGB")
        picture = rgb.quantize(4) if mode == "P" else rgb.convert(mode)
        picture.save(tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}")
    read = load_images(tmp_path)
    assert read.pixels.shape == (4, 4, 4, 3)
    assert np.abs(read.pixels.astype(int) - 90).max() <= 2


def test_size_resizes_both_sources_alike(tmp_path, images):
    save_images(tmp_path / "images.npz", images)
    folder = write_folder(tmp_path / "pictures", images)
    from_npz, from_folder = (
        load_images(tmp_path / "images.npz", resize=squash(5)),
        load_images(folder, resize=squash(5)),
    )
    assert from_npz.pixels.shape == (3, 5, 5, 3)
    np.testing.assert_array_equal(from_folder.pixels, from_npz.pixels[[1, 0, 2]])
    flat = Images(np.array(["flat"]), np.full((1, 9, 7, 3), 77, np.uint8))
    save_images(tmp_path / "flat.npz", flat)
    assert (load_images(tmp_path / "flat.npz", resize=squash(4)).pixels == 77).all()


def test_unequal_sizes_need_a_size(tmp_path):
    for side in (4, 5):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / f"{side}.png")
    with pytest.raises(InputError, match=r"5\.png: is 5×5 .* expected equal sizes"):
        load_images(tmp_path)
    assert load_images(tmp_path, resize=squash(4)).pixels.shape == (2, 4, 4, 3)


@pytest.mark.parametrize("damage", ["text", "truncated", "empty"])
def test_corrupt_picture_is_named(tmp_path, images, damage):
    folder = write_folder(tmp_path / "pictures", images)
    bad = folder / "a2.png"
    whole = (folder / "b.png").read_bytes()
    bad.write_bytes(
        {"text": b"no picture", "truncated": whole[: len(whole) // 2], "empty": b""}[damage]
    )
    with pytest.raises(InputError, match=r"a2\.png: cannot be read"):
        load_images(folder)


def test_duplicate_ids(tmp_path, images):
    save_images(tmp_path / "twice.npz", images._replace(ids=np.array(["x", "y", "x"])))
    with pytest.raises(InputError, match=r"twice\.npz: the id 'x' comes twice"):
        load_images(tmp_path / "twice.npz")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for suffix in ("jpg", "png"):
        Image.fromarray(images.pixels[0]).save(folder / f"same.{suffix}")
    with pytest.raises(InputError, match="'same' comes twice"):
        load_images(folder)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pixels": np.zeros((2, 4, 4, 3), np.uint8)}, "ids is not a file .* ids and pixels"),
        (
            {"ids": np.array(["a", 1], object), "pixels": np.zeros((2, 4, 4, 3), np.uint8)},
            "plain arrays",
        ),
        ({"ids": np.array(["a", "b"]), "pixels": np.zeros((2, 4, 4, 3))}, "pixels are float64"),
        ({"ids": np.array(["a", "b"]), "pixels": np.zeros((2, 4, 4), np.uint8)}, r"\[2, 4, 4\]"),
        ({"ids": np.array(["a"]), "pixels": np.zeros((2, 4, 4, 3), np.uint8)}, "for 2 images"),
        ({"ids": np.array([1, 2]), "pixels": np.zeros((2, 4, 4, 3), np.uint8)}, "ids are int64"),
        ({"ids": np.array([], "U1"), "pixels": np.zeros((0, 4, 4, 3), np.uint8)}, "no images"),
    ],
)
def test_bad_archives(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=rf"bad\.npz: .*{message}"):
        load_images(tmp_path / "bad.npz")


def test_what_is_no_archive_or_folder(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        load_images(tmp_path / "absent.npz")
    with pytest.raises(InputError, match="holds no images"):
        load_images(tmp_path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"one\.npy: not a whole"):
        load_images(tmp_path / "one.npy")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match=r"text\.npz: not a whole"):
        load_images(tmp_path / "text.npz")
