"""Images with names, from one `.npz` or from a folder of picture files."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from alignet.errors import InputError
from alignet.runtime.files import read_npz, write_npz

SUFFIXES = (".jpg", ".jpeg", ".png")

Resize = Callable[[Image.Image], np.ndarray]


class Images(NamedTuple):
    """Equally large RGB images and their names."""

    ids: np.ndarray  # str [n], all different
    pixels: UInt8[np.ndarray, "n h w 3"]


def save_images(path: str | Path, images: Images) -> None:
    """Writes images to an `.npz` with the arrays `ids` and `pixels`, atomically."""
    write_npz(path, ids=images.ids, pixels=images.pixels)


def load_images(path: str | Path, *, resize: Resize | None = None) -> Images:
    """Reads images from what `save_images` wrote, or from a folder of .jpg and .png files.

    A folder's files come in the order of their names, their ids are the names without the suffix,
    and every colour mode becomes RGB.

    Args:
      path: an `.npz` file or a folder.
      resize: brings an RGB picture to the size wanted, uint8 [h, w, 3], as a student's
        preprocessing does; None takes the images as they are, which must then be equally large.

    Returns:
      The images.

    Raises:
      InputError: there are no images, or one of them is malformed; the message names it.
    """
    path = Path(path)
    if path.is_dir():
        ids, pictures = _read_folder(path, resize)
    elif path.is_file():
        ids, pictures = _read_npz(path, resize)
    else:
        raise InputError(f"{path}: no such file or folder; expected images.")
    if len(ids) == 0:
        raise InputError(f"{path}: holds no images; expected an .npz or .jpg and .png files.")
    names, first, count = np.unique(ids, return_index=True, return_counts=True)
    if len(names) < len(ids):
        name = names[count > 1][np.argmin(first[count > 1])]
        raise InputError(f"{path}: the id {str(name)!r} comes twice; expected unique ids.")
    return Images(ids, pictures)


def _read_folder(path: Path, resize: Resize | None) -> tuple[np.ndarray, np.ndarray]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    pictures = []
    for file in files:
        try:
            with Image.open(file) as picture:
                picture = picture.convert("RGB")
                pictures.append(np.asarray(picture) if resize is None else resize(picture))
        except Exception as error:  # Pillow's decoders raise nearly anything on a corrupt file
            raise InputError(f"{file}: cannot be read as a picture ({error}).") from None
        if pictures[-1].shape != pictures[0].shape:
            height, width, _ = pictures[-1].shape
            raise InputError(
                f"{file}: is {width}×{height} pixels and {files[0].name} is not; "
                "expected equal sizes, or a size to resize to."
            )
    ids = np.array([file.stem for file in files], np.str_)
    return ids, np.stack(pictures) if pictures else np.zeros((0, 0, 0, 3), np.uint8)


def _read_npz(path: Path, resize: Resize | None) -> tuple[np.ndarray, np.ndarray]:
    ids, pixels = read_npz(path, ("ids", "pixels"), expected="expected the arrays ids and pixels")
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise InputError(
            f"{path}: pixels are {pixels.dtype} {list(pixels.shape)}; expected uint8 [n, h, w, 3]."
        )
    if ids.dtype.kind != "U" or ids.shape != pixels.shape[:1]:
        raise InputError(
            f"{path}: ids are {ids.dtype} {list(ids.shape)} for {len(pixels)} images; "
            "expected one text each."
        )
    if resize is not None and len(pixels):
        pixels = np.stack([resize(Image.fromarray(picture)) for picture in pixels])
    return ids, pixels
