"""Pictures with names, from a folder, an `.npz` or a tfds dataset: one by one, or all at once."""

import functools
import hashlib
import io
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from alignet.data.mapped import map_npz, portable, reopened
from alignet.data.records import TFDS, Records, open_records
from alignet.errors import InputError
from alignet.runtime.files import sha256, write_npz

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
# Named, so that no other of Pillow's decoders sees a file that is not what its suffix says.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
# `decode` refuses what Pillow only warns of. For the whole process: in threads, as pictures are
# decoded, the filters cannot be changed for a moment only.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

Resize = Callable[[Image.Image], np.ndarray]
Encoded = Path | io.BytesIO | np.ndarray


class Images(NamedTuple):
    """Equally large RGB images and their names."""

    ids: np.ndarray  # str [n], all different
    pixels: UInt8[np.ndarray, "n h w 3"]


class Source(NamedTuple):
    """Pictures in a fixed order, each of which is read when it is asked for, from any thread.

    Attributes:
      name: what files made of these pictures are called after.
      n: how many there are.
      read: the id and the picture, for `decode`, at a place from 0 to n − 1.
      fingerprint: changes when the pictures do.
      part_of: where these are some of others, those and the places among them; None for none.
    """

    name: str
    n: int
    read: Callable[[int], tuple[str, Encoded]]
    fingerprint: str
    part_of: "tuple[Source, np.ndarray] | None" = None


def save_images(path: str | Path, images: Images) -> None:
    """Writes images to an `.npz` with the arrays `ids` and `pixels`, atomically."""
    write_npz(path, ids=images.ids, pixels=images.pixels)


def load_images(path: str | Path, *, resize: Resize | None = None) -> Images:
    """Reads all images of what `open_source` opens; any that cannot be read is an error.

    Args:
      path: a folder, an `.npz`, or a tfds dataset.
      resize: brings an RGB picture to the size wanted, uint8 [h, w, 3], as a student's
        preprocessing does; None takes the images as they are, which must then be equally large.

    Returns:
      The images, every colour mode turned into RGB.

    Raises:
      InputError: there are no images, or one of them is malformed; the message names it.
    """
    source = open_source(path)
    ids, pictures = [], []
    for place in range(source.n):
        name, encoded = source.read(place)
        where = encoded if isinstance(encoded, Path) else f"{path}: {name}"
        try:
            picture, _ = decode(encoded)
            pictures.append(np.asarray(picture) if resize is None else resize(picture))
        except Exception as error:  # Pillow's decoders raise nearly anything on a corrupt file
            raise InputError(f"{where}: cannot be read as a picture ({error}).") from None
        ids.append(name)
        if pictures[-1].shape != pictures[0].shape:
            height, width, _ = pictures[-1].shape
            raise InputError(
                f"{where}: is {width}×{height} pixels and {ids[0]} is not; "
                "expected equal sizes, or a size to resize to."
            )
    return Images(np.array(ids, np.str_), np.stack(pictures))


def decode(encoded: Encoded) -> tuple[Image.Image, str]:
    """Decodes a picture to RGB, as the codes do that the models come from.

    That is Pillow's `convert("RGB")`: alpha is dropped, and grey levels beyond 255 are white.
    Pictures are read as they are stored: a rotation noted in EXIF is not carried out (but of a
    TIFF, where Pillow does it on its own).

    Args:
      encoded: a picture file, its bytes, or uint8 [h, w, 3].

    Returns:
      The picture, and what it was if not plain 8-bit RGB: its mode, 16 bits.

    Raises:
      Exception: of any type. The picture is damaged, has more pixels than Pillow's limit, or has a
        side of one pixel, in which there is nothing to see.
    """
    try:
        is_array = isinstance(encoded, np.ndarray)
        picture = Image.fromarray(encoded) if is_array else Image.open(encoded, formats=FORMATS)
    except UnidentifiedImageError:  # it names a place in memory
        raise ValueError(f"it is none of {', '.join(FORMATS)}") from None
    with picture:
        width, height = picture.size
        if min(width, height) < 2:
            raise ValueError(f"it is {width}×{height} pixels")
        if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise ValueError(f"it is {width}×{height} pixels, too many to be a photograph")
        remarks = [picture.mode] if picture.mode != "RGB" else []
        # The mode does not tell, where Pillow reads only the upper 8 of them.
        if any(";16" in str(tile[3]) for tile in getattr(picture, "tile", [])[:1]):
            remarks.append("16 bits a channel")
        return picture.convert("RGB"), ", ".join(remarks)


def same_picture(one: Encoded, other: Encoded) -> bool:
    """Whether two pictures can be decoded and have the same pixels."""
    try:
        return np.array_equal(*(np.asarray(decode(encoded)[0]) for encoded in (one, other)))
    except Exception:  # as in `decode`
        return False


def open_source(images: str | Path, *, data_dir: str | Path = "") -> Source:
    """Opens pictures without reading them.

    Args:
      images: one of
        - a folder, searched with the folders inside it and through links, hidden files and folders
          aside, for files with a suffix of `SUFFIXES`. They come in the order of their paths
          inside the folder; these without the suffix are the ids. Of files that differ only in
          the suffix the first is taken, if the pixels are the same. The fingerprint is of their
          paths, sizes and times of change, not of what they hold: a million are not read for it.
        - an `.npz` with `ids` and `pixels`, see `save_images`.
        - "tfds:NAME:SPLIT", for instance "tfds:imagenet_v2/matched-frequency:test", prepared with
          file_format "array_record", see `open_records`. The fingerprint is again of paths, sizes
          and times of change.
      data_dir: where tfds has its datasets; "" for its own default.

    Raises:
      InputError: there is no such thing, it is malformed or holds no pictures, or an id comes
        twice (of a dataset's `file_name`, that is not known before it is read).
    """
    if str(images).startswith(TFDS):
        source = from_records(open_records(str(images), data_dir=str(data_dir)))
    else:
        path = Path(images)
        if path.is_dir():
            source = _open_folder(path)
        elif path.is_file() and path.name.lower().endswith(SUFFIXES):
            raise InputError(f"{path}: is one picture; expected its folder.")
        elif path.is_file():
            source = _open_npz(path)
        else:
            raise InputError(
                f"{path}: no such file or folder; expected images: a folder of pictures, an .npz "
                f"with ids and pixels, or {TFDS}NAME:SPLIT."
            )
    if source.n == 0:
        raise InputError(
            f"{images}: holds no images; expected an .npz or a folder of {', '.join(SUFFIXES)} "
            "files."
        )
    return source


def spelled_out(images: str) -> str:
    """Takes a bare name where there is no such file for a tfds dataset, of which it means train."""
    bare = re.fullmatch(r"\w+", images) and not Path(images).exists()
    return f"{TFDS}{images}:train" if bare else images


def from_records(records: Records) -> Source:
    """The pictures of a tfds split."""

    name = f"{records.name}-{records.split}"
    read = functools.partial(_read_record, records.read)
    return Source(name, records.n, read, records.fingerprint)


def some(source: Source, places: Sequence[int]) -> Source:
    """The pictures at some places of a source."""
    names = [source.read(place)[0] for place in places]
    state = hashlib.sha256(json.dumps([source.fingerprint, names]).encode())
    read = functools.partial(_read_one_of, source.read, [*places])
    return Source(source.name, len(names), read, state.hexdigest())


def first_repeated(ids: Iterable[str]) -> str | None:
    """The first of the ids that came before, or None."""
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            return name
        seen.add(name)
    return None


def _open_folder(path: Path) -> Source:
    try:
        found = sorted(_files(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be searched ({error}); expected a folder.") from None
    names = _without_copies(path, [name for name, _, _ in found])
    state = hashlib.sha256()
    for name, size, mtime_ns in found:
        try:
            state.update(f"{size} {mtime_ns} {name}\n".encode())
        except UnicodeEncodeError:
            raise InputError(
                f"{path}: the file name {name!r} is not UTF-8; expected one that can be printed."
            ) from None

    read = functools.partial(_read_file, path, names)
    return Source(path.resolve().name, len(names), read, state.hexdigest())


def _files(folder: Path, prefix: str = "", above: tuple[str, ...] = ()) -> Iterator[tuple]:
    """Path inside the outermost folder, size and time of change of every picture file."""
    real = os.path.realpath(folder)
    if real in above:
        raise InputError(f"{folder}: a link to a folder that it lies in; expected no such circle.")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(Path(entry.path), f"{prefix}{entry.name}/", (*above, real))
            elif entry.name.lower().endswith(SUFFIXES):
                # Of a link to nothing it is the link's own; that it cannot be read is seen later.
                status = entry.stat(follow_symlinks=entry.is_file())
                yield prefix + entry.name, status.st_size, status.st_mtime_ns


def _without_copies(folder: Path, names: list[str]) -> list[str]:
    """One file an id; the same picture may be there in several formats."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(_id(name), name)
        if other != name and not same_picture(folder / other, folder / name):
            raise InputError(
                f"{folder}: the id {_id(name)!r} comes twice, of {other} and {name}; expected "
                "unique ids, or the same pixels: rename one."
            )
    return [*first.values()]


def _id(name: str) -> str:
    return name.rpartition(".")[0]


def _open_npz(path: Path) -> Source:
    ids, pixels = map_npz(path, ("ids", "pixels"), expected="expected the arrays ids and pixels")
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise InputError(
            f"{path}: pixels are {pixels.dtype} {list(pixels.shape)}; expected uint8 [n, h, w, 3]."
        )
    if ids.dtype.kind != "U" or ids.shape != pixels.shape[:1]:
        raise InputError(
            f"{path}: ids are {ids.dtype} {list(ids.shape)} for {len(pixels)} images; "
            "expected one text each."
        )
    repeated = first_repeated(ids.tolist())
    if repeated is not None:
        raise InputError(f"{path}: the id {repeated!r} comes twice; expected unique ids.")

    return Source(path.stem, len(ids), _ReadPixels(ids, pixels), sha256(path))


# What reads pictures is sent to other processes, too: no closures.


def _read_file(folder: Path, names: list[str], place: int) -> tuple[str, Path]:
    return _id(names[place]), folder / names[place]


def _read_one_of(
    read: Callable[[int], tuple[str, Encoded]], places: list[int], place: int
) -> tuple[str, Encoded]:
    return read(places[place])


def _read_record(
    read: Callable[[int], tuple[str, Mapping[str, Any]]], place: int
) -> tuple[str, io.BytesIO]:
    name, record = read(place)
    return name, io.BytesIO(record["image"])


class _ReadPixels:
    def __init__(self, ids: np.ndarray, pixels: np.ndarray):
        self._ids, self._pixels = ids, pixels

    def __call__(self, place: int) -> tuple[str, np.ndarray]:
        return str(self._ids[place]), np.asarray(self._pixels[place])

    def __getstate__(self) -> tuple[Any, Any]:
        return portable(self._ids), portable(self._pixels)

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self._ids, self._pixels = map(reopened, state)
