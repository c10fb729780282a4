"""The AligNet dataset on disk: image triplets with a teacher's similarities."""

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from alignet.data.mapped import DAMAGED, READ, map_npz
from alignet.errors import InputError
from alignet.runtime import files

# The released rows put the teacher's most similar pair first; a file that breaks this more often
# than rounding can has its similarities in another order (docs of the release are ambiguous).
FIRST_PAIR_SHARE = 0.999
ROWS = 65_536  # written or checked at a time
# What is beyond is damage: a table of all images is made.
MOST_IMAGES, LONGEST_NAME = 100_000_000, 1000


class AligNetTriplets(NamedTuple):
    """Triplets of images and the teacher's soft answers, in the released layout.

    Attributes:
      filenames: str [n, 3], the images' names; the last image is the odd one out. None if they
        were not asked for.
      similarities: float32 [n, 3], the teacher's (s01, s02, s12); s01 is the largest.
      indices: int64 [n, 3], the images' rows in the image set.
    """

    filenames: np.ndarray | None
    similarities: Float[np.ndarray, "n 3"]
    indices: Int[np.ndarray, "n 3"]


EXPECTED = f"expected an AligNet dataset with {', '.join(AligNetTriplets._fields)}"


def save_triplets(path: str | Path, triplets: AligNetTriplets) -> None:
    """Writes the `.npz` of the released layout, atomically."""
    files.write_npz(path, **triplets._asdict())


def write_triplets(
    path: str | Path,
    ids: np.ndarray,
    similarities: Float[np.ndarray, "t 3"],
    indices: Int[np.ndarray, "t 3"],
) -> None:
    """Writes what `save_triplets` would, byte for byte, without all filenames in memory.

    Args:
      path: the `.npz` file.
      ids: str [n], the names of the image set.
      similarities: see `AligNetTriplets`.
      indices: likewise; the filenames are `ids[indices]`.
    """
    arrays: dict[str, tuple[np.dtype, Callable[[slice], np.ndarray]]] = {
        "filenames": (ids.dtype, lambda rows: ids[indices[rows]]),
        "similarities": (np.dtype(np.float32), lambda rows: similarities[rows]),
        "indices": (np.dtype(np.int64), lambda rows: indices[rows]),
    }
    with files.atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, (dtype, read) in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": dtype.str, "fortran_order": False, "shape": indices.shape}
                np.lib.format.write_array_header_1_0(member, header)
                for start in range(0, len(indices), ROWS):
                    block = read(slice(start, start + ROWS))
                    member.write(block.astype(dtype, copy=False).tobytes())


def load_triplets(
    path: str | Path,
    *,
    n_images: int | None = None,
    ids: Sequence[str] | np.ndarray | None = None,
    filenames: bool = True,
) -> AligNetTriplets:
    """Reads an AligNet dataset, ours or a released `alignet_{train,valid}.npz`, and checks it.

    Arrays that the file holds uncompressed and in our types stay memory-mapped. Of the filenames,
    however many they are, the check has one an image in memory.

    Args:
      path: the `.npz` file. Similarities may be of any type of float, indices of any of integer,
        filenames text or ASCII bytes.
      n_images: the number of images; an index at or above it is an error.
      ids: str [n_images], the names of the images. Each must be the filename of its index; folders
        and a suffix that only one of the two has do not count.
      filenames: whether to return them, too; compressed ones are large in memory.

    Raises:
      InputError: a missing, damaged or ill-shaped array, a bad index, a similarity that is not
        finite, rows whose first pair is not the most similar one, an index with two filenames or a
        filename with two indices, filenames that are not those of the image set.
    """
    path = Path(path)
    ids = None if ids is None else np.asarray(ids)
    found, images, names = load_with_names(path, n_images=n_images if ids is None else len(ids))
    if ids is not None:
        _check_ids(path, images, names, ids)
    if not filenames:
        return found
    [names] = map_npz(path, ["filenames"], expected=EXPECTED)
    return found._replace(filenames=names.astype(np.str_, copy=False))


def load_with_names(
    path: str | Path, *, n_images: int | None = None
) -> tuple[AligNetTriplets, Int[np.ndarray, " m"], np.ndarray]:
    """Reads an AligNet dataset as `load_triplets` does, and its images' names instead of filenames.

    Returns:
      The triplets, without filenames; the images that occur in them, sorted; and their names,
      str [m].
    """
    path = Path(path)
    similarities, indices = map_npz(path, AligNetTriplets._fields[1:], expected=EXPECTED)
    with _open_filenames(path) as (names_shape, names_dtype, blocks):
        n = len(indices) if indices.ndim else 0
        arrays = {
            "filenames": (names_shape, names_dtype, "US"),
            "similarities": (similarities.shape, similarities.dtype, "f"),
            "indices": (indices.shape, indices.dtype, "iu"),
        }
        for name, (shape, dtype, kinds) in arrays.items():
            if shape != (n, 3) or dtype.kind not in kinds or n == 0:
                raise InputError(
                    f"{path}: {name} has shape {shape} and type {dtype}; expected [n, 3] rows of "
                    f"{'text' if name == 'filenames' else 'numbers'}, as many as the others."
                )
        _check_similarities(path, similarities)
        largest = _check_indices(path, indices, n_images)
        images, names = _names(path, blocks, indices, largest)
    triplets = AligNetTriplets(
        None, similarities.astype(np.float32, copy=False), indices.astype(np.int64, copy=False)
    )
    return triplets, images, names


def _check_similarities(path: Path, similarities: np.ndarray) -> None:
    first = last = 0
    for start in range(0, len(similarities), ROWS):
        s = similarities[start : start + ROWS]
        finite = np.isfinite(s).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{path}, row {start + int(np.argmin(finite)) + 1}: a similarity is not finite; "
                "expected three numbers."
            )
        first += int((s[:, :1] >= s).all(axis=1).sum())
        last += int((s[:, 2:] <= s).all(axis=1).sum())
    first, last = first / len(similarities), last / len(similarities)
    if first < FIRST_PAIR_SHARE:
        raise InputError(
            f"{path}: the first pair is the most similar one in {first:.2%} of the rows and the "
            f"last the least similar one in {last:.2%}; expected similarities in the order "
            f"(s01, s02, s12) with s01 the largest in at least {FIRST_PAIR_SHARE:.1%}."
        )


def _check_indices(path: Path, indices: np.ndarray, n_images: int | None) -> int:
    """The largest index."""
    limit = MOST_IMAGES if n_images is None else n_images
    largest = 0
    for start in range(0, len(indices), ROWS):
        rows = indices[start : start + ROWS]
        i, j, k = rows.T
        bad = ((rows < 0) | (rows >= limit)).any(axis=1) | (i == j) | (i == k) | (j == k)
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"{path}, row {start + row + 1}: image indices {rows[row].tolist()}; expected "
                f"three different ones from 0 to {limit:,} - 1."
            )
        largest = max(largest, int(rows.max()))
    return largest


@contextlib.contextmanager
def _open_filenames(
    path: Path,
) -> Iterator[tuple[tuple[int, ...], np.dtype, Iterator[np.ndarray]]]:
    """Their shape and type, and blocks of them, in any layout that NumPy writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            if "filenames.npy" not in archive.namelist():
                raise InputError(f"{path}: has no array filenames; {EXPECTED}.")
            with archive.open("filenames.npy") as member:
                version = np.lib.format.read_magic(member)
                if version == (1, 0):
                    header = np.lib.format.read_array_header_1_0(member)
                elif version == (2, 0):
                    header = np.lib.format.read_array_header_2_0(member)
                else:
                    raise ValueError(f"version {version} of the .npy format")
                shape, columns_first, dtype = header
                if dtype.hasobject:
                    raise ValueError("pickled objects")
                if columns_first:
                    [whole] = map_npz(path, ["filenames"], expected=EXPECTED)
                    blocks = (whole[at : at + ROWS] for at in range(0, len(whole), ROWS))
                else:
                    blocks = _blocks(member, shape, dtype)
                try:
                    yield shape, dtype, blocks
                except InputError:
                    # If the file is damaged, that is the reason: its checksum is at its end.
                    while member.read(READ):
                        pass
                    raise
    except InputError:
        raise
    except DAMAGED:
        raise InputError(f"{path}: not a whole .npz of plain arrays; {EXPECTED}.") from None


def _blocks(
    member: zipfile.ZipExtFile, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[np.ndarray]:
    n = shape[0]
    for start in range(0, n, ROWS):
        rows = min(ROWS, n - start)
        read = member.read(rows * 3 * dtype.itemsize)
        if start + rows == n and member.read(1):
            raise ValueError("more than the header says")
        yield np.frombuffer(read, dtype).reshape(rows, 3)


def _names(
    path: Path, blocks: Iterator[np.ndarray], indices: np.ndarray, largest: int
) -> tuple[np.ndarray, np.ndarray]:
    """The images that occur, sorted, and the names of each, which must be one."""
    name_of, seen = None, np.zeros(largest + 1, bool)
    row = 1
    for block in blocks:
        images = indices[row - 1 : row - 1 + len(block)].ravel()
        names = block.ravel().astype(np.str_, copy=False)
        if name_of is None:
            if names.itemsize > 4 * LONGEST_NAME:
                raise InputError(
                    f"{path}: filenames are of type {names.dtype}; expected no more than "
                    f"{LONGEST_NAME} characters."
                )
            name_of = np.zeros(largest + 1, names.dtype)
        new = ~seen[images]
        seen[images[new]], name_of[images[new]] = True, names[new]
        wrong = (name_of[images] != names) | (names == "")
        if wrong.any():
            at = int(np.argmax(wrong))
            one, other = str(names[at]), str(name_of[images[at]])
            raise InputError(
                f"{path}, row {row + at // 3}: image {images[at]} is called {one!r}, and {other!r} "
                "elsewhere; expected every image to have one name."
            )
        row += len(block)
    images = np.flatnonzero(seen)
    names = name_of[images]
    order = np.argsort(names, kind="stable")
    same = np.flatnonzero(names[order[1:]] == names[order[:-1]])
    if len(same):
        one, other = images[order[same[0] : same[0] + 2]]
        raise InputError(
            f"{path}: {len(same)} names are of more than one image, the first "
            f"{str(names[order[same[0]]])!r} of {one} and {other}; expected one image a name."
        )
    return images, names


def _check_ids(path: Path, images: np.ndarray, names: np.ndarray, ids: np.ndarray) -> None:
    differ = np.flatnonzero(names != ids[images])
    pairs = zip(names[differ].tolist(), ids[images[differ]].tolist(), strict=True)
    wrong = [at for at, pair in zip(differ.tolist(), pairs, strict=True) if not _agree(*pair)]
    if wrong:
        known = set().union(*map(_bare, ids.tolist()))
        absent = [name for name in names[wrong].tolist() if known.isdisjoint(_bare(name))]
        image = images[wrong[0]]
        raise InputError(
            f"{path}: {len(wrong):,} of {len(images):,} images are others in the image set, the "
            f"first image {image}, {names[wrong[0]]}, there {ids[image]}, and {len(absent):,} are "
            f"not in it{f', the first {absent[0]}' if absent else ''}; expected the images that "
            "the triplets were drawn from, in their order."
        )


def _agree(one: str, other: str) -> bool:
    """Whether the names differ in no more than folders and a suffix that one of them has."""
    pairs = (one, other), (_without_suffix(one), other), (one, _without_suffix(other))
    return any(f"/{a}".endswith(f"/{b}") or f"/{b}".endswith(f"/{a}") for a, b in pairs)


def _without_suffix(name: str) -> str:
    return name.rpartition(".")[0] or name


def _bare(name: str) -> set[str]:
    """A name without its folder, and without its suffix, too."""
    name = name.rpartition("/")[2]
    return {name, _without_suffix(name)}
