"""Arrays of an `.npz` that stay on disk."""

import math
import mmap
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from alignet.errors import InputError

# What NumPy and zipfile raise over a damaged or hostile file.
DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
READ = 1 << 22  # bytes at a time


def map_npz(path: str | Path, names: Sequence[str], *, expected: str) -> list[np.ndarray]:
    """Opens arrays of an `.npz` by name; pickles are refused.

    What `numpy.savez` wrote, and so lies uncompressed in the file, is memory-mapped, read-only.
    What `numpy.savez_compressed` wrote is read. Checksums are verified: the file is read once.

    Args:
      path: the archive.
      names: of the arrays wanted.
      expected: ends the error messages.

    Returns:
      The arrays, in the order of `names`.

    Raises:
      InputError: the file is absent or damaged, or an array is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; {expected}.")
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            found = [name.removesuffix(".npy") for name in archive.namelist()]
            absent = [name for name in names if name not in found]
            if not absent:
                return [_array(path, file, archive, f"{name}.npy") for name in names]
    except DAMAGED:
        raise InputError(
            f"{path}: not a whole NumPy file of plain arrays (pickled objects are never loaded); "
            f"{expected}."
        ) from None
    raise InputError(
        f"{path}: has no array {' and no array '.join(absent)}, only "
        f"{', '.join(found[:3]) or 'nothing'}{', …' if len(found) > 3 else ''}; {expected}."
    )


def let_go(array: np.ndarray) -> None:
    """Gives back the pages of a file that have been read, which would count as memory in use.

    They stay in the file, and in its cache while there is room. Arrays in memory are left alone.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    # Only what cannot have been changed: a private change would be lost.
    mapped = isinstance(owner, mmap.mmap) and not array.flags.writeable
    if mapped and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


class Where(NamedTuple):
    """Where the array of a memory map lies; the arguments of `numpy.memmap`."""

    filename: str
    dtype: np.dtype
    mode: str
    offset: int
    shape: tuple[int, ...]
    order: str


def portable(value: Any) -> Any:
    """What to send to another process: of a memory map where it is; pickled, it would be copied."""
    # A view of a part has the offset of the whole: it is sent as it is.
    if not isinstance(value, np.memmap) or not isinstance(value.base, mmap.mmap):
        return value
    order = "C" if value.flags.c_contiguous else "F"
    return Where(str(value.filename), value.dtype, "r", value.offset, value.shape, order)


def reopened(value: Any) -> Any:
    """Undoes `portable`."""
    return np.memmap(*value) if isinstance(value, Where) else value


def _array(path: Path, file: BinaryIO, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    info = archive.getinfo(name)
    with archive.open(info) as member:
        # Read to its end, a member whose checksum is wrong raises; and what follows trusts it.
        while member.read(READ):
            pass
    with archive.open(info) as member:
        if info.compress_type != zipfile.ZIP_STORED:
            return np.lib.format.read_array(member, allow_pickle=False)
        version = np.lib.format.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of the .npy format")
        first = version == (1, 0)
        read_header = (
            np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        )
        shape, fortran_order, dtype = read_header(member)
        header = member.tell()
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or header + size != info.file_size:
        raise ValueError("pickled objects, or a header that does not fit what follows")
    if size == 0:  # cannot be mapped
        return np.zeros(shape, dtype)
    # The member's data follow its local header, whose name and extra field vary in length.
    file.seek(info.header_offset + 26)
    lengths = struct.unpack("<HH", file.read(4))
    offset = info.header_offset + 30 + sum(lengths) + header
    order = "F" if fortran_order else "C"
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order=order)
