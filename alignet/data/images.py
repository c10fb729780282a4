"""Images with names, from one `.npz` or from a folder of picture files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from alignet.errors import InputError
from alignet.runtime.files import write_npz

SUFFIXES = (".jpg", ".jpeg", ".png")


class Images(NamedTuple):
    """Equally large RGB images and their names."""

    ids: np.ndarray  # str [n], all different
    pixels: UInt8[np.ndarray, "n h w 3"]


def save_images(path: str | Path, images: Images) -> None:
    """Writes images to an `.npz` with the arrays `ids` and `pixels`, atomically."""
    write_npz(path, ids=images.ids, pixels=images.pixels)


def load_images(path: str | Path, *, size: int | None = None) -> Images:
    """Reads named images.

    Args:
      path: an `.npz` with `ids` and `pixels`, or a folder of .jpg and .png files, whose stems, in
        sorted order, are the ids.
      size: images are squashed to this height and width by cubic interpolation, without cropping,
        as the official code does. Without it they must be equally large already.

    Raises:
      InputError: the file or folder is absent, empty or malformed, or an image cannot be decoded;
        the message names it.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, size)
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; expected images, an .npz with ids and pixels or a folder of "
            f"{', '.join(SUFFIXES)} files."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            images = Images(archive["ids"], archive["pixels"])
    except (KeyError, ValueError, OSError, EOFError, AttributeError) as error:
        raise InputError(f"{path}: {error}; expected an .npz with ids and pixels.") from None
    ids, pixels = images
    n = len(ids) if ids.ndim == 1 else 0
    if ids.dtype.kind != "U" or n == 0 or len(np.unique(ids)) != n:
        raise InputError(
            f"{path}: ids are {ids.dtype} {list(ids.shape)}; expected different names."
        )
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[::3] != (n, 3):
        raise InputError(
            f"{path}: pixels are {pixels.dtype} {list(pixels.shape)}; "
            f"expected uint8 [{n}, h, w, 3]."
        )
    if size is None or pixels.shape[1:3] == (size, size):
        return images
    return Images(ids, np.stack([_squash(Image.fromarray(image), size) for image in pixels]))


def _read_folder(folder: Path, size: int | None) -> Images:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: holds no {', '.join(SUFFIXES)} files; expected images.")
    ids = np.array([path.stem for path in paths])
    if len(np.unique(ids)) != len(ids):
        names, counts = np.unique(ids, return_counts=True)
        raise InputError(
            f"{folder}: two files are named {names[counts > 1][0]!r}; expected different names."
        )
    pixels: list[np.ndarray] = []
    for path in paths:
        try:
            with Image.open(path) as image:
                pixels.append(_squash(image.convert("RGB"), size))
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
            raise InputError(f"{path}: not a readable picture; expected a JPEG or PNG.") from None
        if pixels[-1].shape != pixels[0].shape:
            raise InputError(
                f"{path}: is {list(pixels[-1].shape[:2])} pixels and {paths[0].name} "
                f"{list(pixels[0].shape[:2])}; expected equally large images."
            )
    return Images(ids, np.stack(pixels))


def _squash(image: Image.Image, size: int | None) -> np.ndarray:
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)
