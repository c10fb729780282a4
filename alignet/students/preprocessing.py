"""How a picture becomes a network's input: resized on the host, scaled on the device."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, UInt8
from PIL import Image

from alignet.errors import InputError
from alignet.students.student import Student


def resize(student: Student, picture: Image.Image) -> UInt8[np.ndarray, "s s 3"]:
    """Brings one picture to the student's image size, as `student.preprocessing` says.

    Args:
        student: whose input this will be.
        picture: RGB, of any size.

    Returns:
        uint8, image_size by image_size.
    """
    side = student.image_size
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))


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
