"""How a picture becomes a network's input: resized on the host, scaled on the device."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, UInt8
from PIL import Image

from alignet.errors import InputError
from alignet.students.student import Student

PILLOW = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def resize(student: Student, picture: Image.Image) -> UInt8[np.ndarray, "s s 3"]:
    """Brings one picture to the student's image size, as `student.preprocessing` says.

    The pixels are those of the code the weights come from: torchvision's `Resize` and `CenterCrop`
    on Pillow pictures for "bicubic" and "bilinear", big_vision's `resize`, `resize_small` and
    `central_crop` on a CPU for "tf_bilinear" and "tf_area". The two families round the long side
    and an odd margin differently.

    Args:
        student: whose input this will be.
        picture: RGB, of any size.

    Returns:
        uint8, image_size by image_size.
    """
    side, wanted = student.image_size, student.preprocessing
    if wanted.interpolation in PILLOW:
        scaled, sizes_around, margin = _pillow, _torchvision_sizes, _half_to_even
    else:
        scaled, sizes_around, margin = _tensorflow, _big_vision_sizes, _half_down
    if wanted.resize == "squash":
        return scaled(picture, side, side, wanted.interpolation)

    height, width = sizes_around(picture, wanted.short_side or side)
    pixels = scaled(picture, height, width, wanted.interpolation)
    top, left = margin(height - side), margin(width - side)
    return pixels[top : top + side, left : left + side]


def normalise(student: Student, images: Num[Array | np.ndarray, "..."]) -> Float[Array, "b h w 3"]:
    """Scales pixels to what the student expects; runs inside a jitted function too.

    Args:
        student: whose input this will be.
        images: uint8 [b, h, w, 3], already of the student's image size.

    Returns:
        float32, (pixel / 255 − mean) / std.

    Raises:
        InputError: the images are of another type, shape or size.
    """
    side = student.image_size
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3):
        raise InputError(
            f"images are {images.dtype} {list(images.shape)}; "
            f"this student expects uint8 [n, {side}, {side}, 3]."
        )
    mean, std = np.array(student.preprocessing.mean), np.array(student.preprocessing.std)
    scale, shift = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
    return jnp.asarray(images, jnp.float32) * scale + shift


# --- torchvision on Pillow pictures ---


def _pillow(picture: Image.Image, height: int, width: int, interpolation: str) -> np.ndarray:
    return np.asarray(picture.resize((width, height), PILLOW[interpolation]))


def _torchvision_sizes(picture: Image.Image, short_side: int) -> tuple[int, int]:
    width, height = picture.size
    short = min(width, height)
    return int(short_side * height / short), int(short_side * width / short)


def _half_to_even(excess: int) -> int:
    return round(excess / 2)


# --- big_vision on TensorFlow ---
# The results are truncated to whole numbers, so that the last bit of a float32 can decide on a
# pixel. Every operation below is therefore float32 and in the order of TensorFlow's CPU kernels:
# columns before rows, the pixels of a window from first to last.


def _tensorflow(picture: Image.Image, height: int, width: int, interpolation: str) -> np.ndarray:
    pixels = np.asarray(picture)
    if pixels.shape[:2] == (height, width):
        return pixels
    if interpolation == "tf_bilinear":
        pixels = _bilinear(_bilinear(pixels.astype(np.float32), width, axis=1), height, axis=0)
    else:
        area = np.float32(pixels.shape[0] / height) * np.float32(pixels.shape[1] / width)
        pixels = _window_sum(_window_sum(pixels.astype(np.float32), width, axis=1), height, axis=0)
        pixels = pixels * np.float32(1 / float(area))
    return pixels.astype(np.uint8)


def _big_vision_sizes(picture: Image.Image, short_side: int) -> tuple[int, int]:
    width, height = picture.size
    factor = np.float32(short_side) / np.float32(min(width, height))
    return int(np.round(height * factor)), int(np.round(width * factor))


def _half_down(excess: int) -> int:
    return excess // 2


def _bilinear(x: np.ndarray, size: int, *, axis: int) -> np.ndarray:
    """Linear interpolation between the two nearest pixel centres, without antialiasing."""
    last = x.shape[axis] - 1
    scale = np.float32(x.shape[axis] / size)
    centre = (np.arange(size, dtype=np.float32) + 0.5) * scale - 0.5
    floor = np.floor(centre)
    before = x.take(np.maximum(floor, 0).astype(int), axis)
    after = x.take(np.minimum(np.ceil(centre), last).astype(int), axis)
    return before + (after - before) * _along(centre - floor, axis)


def _window_sum(x: np.ndarray, size: int, *, axis: int) -> np.ndarray:
    """Sums what lies in each of `size` equal windows; a pixel cut by an edge counts in part."""
    last = x.shape[axis] - 1
    scale = np.float32(x.shape[axis] / size)
    start = np.arange(size, dtype=np.float32) * scale
    end = np.arange(1, size + 1, dtype=np.float32) * scale
    first = np.floor(start)
    total = np.float32(0)
    for step in range(int((np.ceil(end) - first).max())):
        pixel = first + step
        overlap = np.minimum(pixel + 1, end) - np.maximum(pixel, start)
        within = (pixel < start) & (end < pixel + 1)
        weight = np.where(within, scale, np.maximum(overlap, 0))
        total = total + x.take(np.minimum(pixel, last).astype(int), axis) * _along(weight, axis)
    return total


def _along(weights: np.ndarray, axis: int) -> np.ndarray:
    return weights[:, None, None] if axis == 0 else weights[:, None]
