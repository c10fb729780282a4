"""Preprocessing against the code that published weights were trained with, pixel by pixel.

The golden numbers are what big_vision's own preprocessing ops gave under TensorFlow 2.21 (CPU).
"""

import hashlib
import importlib

import numpy as np
import pytest
from PIL import Image

from alignet import students
from alignet.errors import InputError
from alignet.students import zoo
from alignet.students.preprocessing import normalise, resize

BILINEAR = students.Preprocessing(interpolation="bilinear")
SIZES = [(375, 500), (500, 374), (333, 501), (300, 224), (100, 77), (224, 224), (227, 224)]


def picture(height, width):
    """Colour ramps that wrap around, and rectangles: far harder to resize than a photograph."""
    y, x = np.mgrid[:height, :width]
    channels = 37 * x + 11 * y + x * y, x * x + 3 * y, x // 5 * 40 + y // 7 * 30
    return Image.fromarray((np.stack(channels, -1) % 256).astype(np.uint8))


def student(preprocessing, side=224):
    return students.Student("B/1", side, "gap", preprocessing)


def pixels(preprocessing, height, width, side=224):
    return resize(student(preprocessing, side), picture(height, width))


# --- big_vision ---


@pytest.mark.parametrize(
    "interpolation, height, width, red",
    [
        (
            "tf_bilinear", 7, 9,
            [[17, 84, 151, 217, 28], [33, 102, 172, 118, 54], [49, 120, 193, 60, 80],
             [64, 139, 214, 63, 107], [80, 157, 235, 56, 133]],
        ),
        (
            "tf_bilinear", 3, 4,
            [[0, 25, 55, 85, 111], [4, 30, 60, 90, 116], [11, 37, 68, 98, 125],
             [17, 44, 75, 106, 133], [22, 49, 80, 111, 139]],
        ),
        (
            "tf_area", 7, 9,
            [[19, 86, 152, 190, 28], [34, 102, 171, 130, 52], [50, 121, 192, 93, 79],
             [67, 140, 190, 80, 105], [81, 157, 176, 53, 129]],
        ),
        (
            "tf_area", 3, 4,
            [[0, 27, 55, 83, 110], [3, 31, 59, 87, 115], [11, 39, 68, 96, 124],
             [18, 47, 76, 105, 134], [21, 51, 80, 109, 138]],
        ),
    ],
)  # fmt: skip
def test_squashing_gives_tensorflows_pixels(interpolation, height, width, red):
    found = pixels(students.Preprocessing(interpolation=interpolation), height, width, side=5)
    np.testing.assert_array_equal(found[..., 0], red)


def test_cropping_gives_big_visions_pixels():
    crop = students.Preprocessing(resize="crop", short_side=6, interpolation="tf_area")
    expected = [
        [121, 173, 188, 26, 77],
        [140, 193, 92, 50, 104],
        [163, 219, 62, 81, 137],
        [182, 148, 58, 106, 163],
        [206, 128, 73, 136, 190],
    ]
    np.testing.assert_array_equal(pixels(crop, 9, 13, side=5)[..., 0], expected)


@pytest.mark.parametrize(
    "height, width, squashed, cropped",
    [
        (375, 500, "478c4921c5315b40", "5cbc3595531c4972"),
        (500, 333, "896ab1b63bf761c0", "0e6cb33e08aae5ff"),
        (100, 77, "53ae2e017bac6bce", "99bd996c799da365"),
        (224, 300, "442d556c208e8a63", "ee303708a7898ac4"),
        (1200, 1601, "958d81df63ccdf57", "2226c2ab72a20596"),
        (1, 3, "dbf08ea1e3ee2707", "f3ee689fccf4d400"),
    ],
)
def test_every_pixel_of_whole_pictures_is_big_visions(height, width, squashed, cropped):
    for preprocessing, expected in ((zoo.BV_SQUASH, squashed), (zoo.BV_CROP, cropped)):
        found = np.ascontiguousarray(pixels(preprocessing, height, width))
        assert hashlib.sha256(found).hexdigest()[:16] == expected


@pytest.mark.parametrize("height, width", [(640, 427), (61, 300)])
def test_tensorflow_itself_gives_the_same_pixels(height, width):
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow where it is installed")
    image = np.asarray(picture(height, width))
    for method in ("bilinear", "area"):
        expected = np.asarray(tf.cast(tf.image.resize(image, (224, 224), method), tf.uint8))
        found = pixels(students.Preprocessing(interpolation=f"tf_{method}"), height, width)
        np.testing.assert_array_equal(found, expected)


def test_one_colour_stays_that_colour():
    # But not under "tf_area": truncation darkens parts by one level, in TensorFlow as well.
    for colour in range(256):
        flat = Image.new("RGB", (11, 13), (colour, 0, 255))
        for interpolation in ("bicubic", "bilinear", "tf_bilinear"):
            wanted = students.Preprocessing("crop", 8, interpolation)
            assert (resize(student(wanted, 7), flat) == (colour, 0, 255)).all()


@pytest.mark.parametrize("resizing", ["squash", "crop"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "tf_bilinear", "tf_area"])
def test_a_picture_of_the_right_size_is_left_alone(resizing, interpolation):
    wanted = students.Preprocessing(resize=resizing, interpolation=interpolation)
    np.testing.assert_array_equal(pixels(wanted, 24, 24, side=24), picture(24, 24))


# --- torchvision and transformers ---


@pytest.fixture(scope="module")
def torchvision():
    torch = pytest.importorskip("torch", reason="compares with torchvision where it is installed")
    try:
        yield pytest.importorskip("torchvision.transforms", reason="torchvision is not installed")
    except RuntimeError:  # its compiled part does not fit this torch; declare what it would
        library = torch.library.Library("torchvision", "DEF")
        for operation in ("nms", "qnms"):
            library.define(f"{operation}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        yield importlib.import_module("torchvision.transforms")
        library._destroy()


@pytest.mark.parametrize("height, width", [*SIZES, (224, 231), (640, 427)])
def test_crops_are_torchvisions(torchvision, height, width):
    bicubic = torchvision.InterpolationMode.BICUBIC
    for preprocessing, short_side in ((zoo.CLIP_CROP, 224), (zoo.DINO_CROP, 256)):
        resized = torchvision.Resize(short_side, bicubic)(picture(height, width))
        expected = torchvision.CenterCrop(224)(resized)
        np.testing.assert_array_equal(pixels(preprocessing, height, width), expected)


HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
IMAGENET = {f"image_{name}": value for name, value in zoo.IMAGENET.items()}
DINO = {"size": {"shortest_edge": 256}, "crop_size": 224, "resample": 3, **IMAGENET}
PROCESSORS = [
    ("CLIP", {}, zoo.CLIP_CROP),
    ("Bit", DINO, zoo.DINO_CROP),  # DINOv2's
    ("ViT", IMAGENET, BILINEAR._replace(**zoo.IMAGENET)),  # DINOv1's, unlike DINO's own code
    ("ViT", HALF, BILINEAR),
    ("Siglip", HALF, students.Preprocessing()),
]


def ours(preprocessing, height, width):
    scaled = normalise(student(preprocessing), pixels(preprocessing, height, width)[None])
    return np.asarray(scaled)[0]


def theirs(image, module, kind="Pil", **settings):
    transformers = pytest.importorskip(
        "transformers", reason="compares with transformers where it is installed"
    )
    processor = getattr(transformers, f"{module}ImageProcessor{kind}")(**settings)
    found = processor(image, return_tensors="np")["pixel_values"][0]
    return np.asarray(found).transpose(1, 2, 0)


@pytest.mark.parametrize("module, settings, preprocessing", PROCESSORS)
def test_inputs_are_those_of_transformers_on_pillow_pictures(
    torchvision, module, settings, preprocessing
):
    for height, width in [(375, 500), (333, 501), (300, 224), (100, 77), (224, 224)]:
        expected = theirs(picture(height, width), module, **settings)
        # Equal pixels; what is left is the order of float32 operations in the scaling.
        np.testing.assert_allclose(ours(preprocessing, height, width), expected, atol=1e-6, rtol=0)


def test_transformers_rounds_an_odd_margin_the_other_way(torchvision):
    # 3 rows too many: torchvision, and with it CLIP's own code, drops 2 of them at the top,
    # transformers 1. Of 5 rows both drop 2.
    for excess, shift in ((3, 1), (5, 0)):
        found = ours(zoo.CLIP_CROP, 224 + excess, 224)
        expected = theirs(picture(224 + excess, 224), "CLIP")
        np.testing.assert_allclose(found[: 224 - shift], expected[shift:], atol=1e-6, rtol=0)


@pytest.mark.parametrize("module, settings, preprocessing", PROCESSORS)
def test_transformers_on_tensors_is_a_level_or_two_away(
    torchvision, module, settings, preprocessing
):
    # Its default processors resize tensors: another fixed-point rounding than Pillow's. Measured
    # on pictures of 8 sizes: mostly 1 or 2 levels, on up to 1.2% of the values; at worst
    # (640x427, SigLIP) 10 levels, and 17% of the values.
    expected = theirs(picture(375, 500), module, kind="", **settings)
    levels = np.abs(ours(preprocessing, 375, 500) - expected) * np.array(preprocessing.std) * 255
    assert levels.max() < 2.01
    assert (levels > 0.5).mean() < 0.01


# --- scaling ---


@pytest.mark.parametrize("constants", [{}, zoo.IMAGENET, zoo.CLIP_PIXELS])
def test_scaling_is_the_formula(constants):
    preprocessing = students.Preprocessing(**constants)
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    found = normalise(student(preprocessing, 16), levels)
    expected = (levels / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_images_already_scaled_are_refused():
    with pytest.raises(InputError, match=r"float32.*expects uint8 \[n, 16, 16, 3\]"):
        normalise(student(BILINEAR, 16), np.zeros((1, 16, 16, 3), np.float32))
