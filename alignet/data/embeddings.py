"""Embeddings of any model: a matrix, with the names of its rows where they are known."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from alignet.errors import InputError
from alignet.runtime.files import atomic_path, write_npz

ROWS_A_CHECK = 8192


class Embeddings(NamedTuple):
    """One row an object.

    Attributes:
      ids: str [n], the rows' names, all different; None where the file has none.
      matrix: float32 or float64 [n, p], possibly memory-mapped.
    """

    ids: np.ndarray | None
    matrix: Float[np.ndarray, "n p"]


def load_embeddings(
    path: str | Path, *, ids: Sequence[str] | np.ndarray | None = None
) -> Embeddings:
    """Reads embeddings and checks every value of them.

    Args:
      path: `.npy`, a float matrix [n, p], which stays memory-mapped; or `.npz` with `ids` (str [n])
        and `embeddings` (float [n, p]). What the file holds decides, not its name.
      ids: the objects wanted, in the order wanted. A file with ids must have exactly these, in any
        order; a file without must have exactly this many rows, which are taken in this order.

    Returns:
      The embeddings; with `ids` given, in that order and with those ids.

    Raises:
      InputError: the file is absent, damaged or a pickle; the matrix is empty, not 2-D, not float32
        or float64, or has a NaN or an infinity; ids are missing, repeated or unknown.
    """
    path = Path(path)
    embeddings = _read(path)
    _check_matrix(path, embeddings.matrix)
    if embeddings.ids is not None:
        _check_ids(path, embeddings)
    if ids is None:
        return embeddings
    ids = np.asarray(ids)
    if embeddings.ids is None:
        n = len(embeddings.matrix)
        if n != len(ids):
            raise InputError(f"{path}: has {n} rows and no ids; expected {len(ids)} rows.")
        return Embeddings(ids, embeddings.matrix)
    unknown = embeddings.ids[~np.isin(embeddings.ids, ids)]
    if len(unknown) and not _missing(embeddings, ids).size:
        raise InputError(
            f"{path}: has {len(unknown)} ids that are none of the {len(ids)} expected: "
            f"{_first(unknown)}."
        )
    return select(embeddings, ids, path=path)


def select(
    embeddings: Embeddings, ids: Sequence[str] | np.ndarray, *, path: str | Path = "embeddings"
) -> Embeddings:
    """The rows named `ids`, in that order; the other rows are left out.

    Args:
      embeddings: with ids.
      ids: str [m].
      path: what the error message calls the embeddings.

    Raises:
      InputError: an id is not among the embeddings'.
    """
    ids = np.asarray(ids)
    missing = _missing(embeddings, ids)
    if len(missing):
        raise InputError(
            f"{path}: {len(missing)} of the {len(ids)} expected ids are missing: {_first(missing)}."
        )
    order = np.argsort(embeddings.ids)
    rows: Int[np.ndarray, " m"] = order[np.searchsorted(embeddings.ids, ids, sorter=order)]
    return Embeddings(ids, embeddings.matrix[rows])


def save_embeddings(path: str | Path, embeddings: Embeddings) -> None:
    """Writes embeddings so that `load_embeddings` reads them back, atomically.

    Args:
      path: ends with `.npz`, or with `.npy` where the embeddings have no ids.
      embeddings: what to write.
    """
    path = Path(path)
    expected = ".npy" if embeddings.ids is None else ".npz"
    if path.suffix != expected:
        raise InputError(
            f"{path}: embeddings {'without' if embeddings.ids is None else 'with'} ids "
            f"are written to a {expected} file."
        )
    _check_matrix(path, embeddings.matrix)
    if embeddings.ids is None:
        with atomic_path(path) as temporary:
            np.save(temporary, embeddings.matrix, allow_pickle=False)
    else:
        _check_ids(path, embeddings)
        write_npz(path, ids=embeddings.ids, embeddings=embeddings.matrix)


def _read(path: Path) -> Embeddings:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected embeddings, a .npy or .npz file.")
    damaged = InputError(
        f"{path}: not a whole NumPy file of plain arrays (pickled objects are never loaded); "
        "expected a float matrix [n, p], or `ids` and `embeddings` in an .npz."
    )
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                file.seek(0)
                with np.load(file, allow_pickle=False) as archive:
                    return _read_archive(path, archive)
        return Embeddings(None, np.lib.format.open_memmap(path, mode="r"))
    except InputError:
        raise
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error):
        raise damaged from None


def _read_archive(path: Path, archive: np.lib.npyio.NpzFile) -> Embeddings:
    absent = [key for key in ("ids", "embeddings") if key not in archive.files]
    if absent:
        raise InputError(
            f"{path}: has no array {' and no array '.join(absent)}, only "
            f"{_first(archive.files) or 'nothing'}; expected `ids` and `embeddings`."
        )
    return Embeddings(archive["ids"], archive["embeddings"])


def _check_matrix(path: Path, matrix: np.ndarray) -> None:
    if matrix.ndim != 2:
        raise InputError(
            f"{path}: the embeddings have shape {list(matrix.shape)}; "
            "expected two axes, objects by dimensions."
        )
    if 0 in matrix.shape:
        raise InputError(
            f"{path}: the embeddings are empty, of shape {list(matrix.shape)}; "
            "expected at least one row and one column."
        )
    if matrix.dtype.kind != "f" or matrix.dtype.itemsize not in (4, 8):
        raise InputError(
            f"{path}: the embeddings are of type {matrix.dtype}; expected float32 or float64."
        )
    for start in range(0, len(matrix), ROWS_A_CHECK):
        bad = ~np.isfinite(matrix[start : start + ROWS_A_CHECK])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InputError(
                f"{path}: row {start + row}, column {column} (both from 0) is "
                f"{matrix[start + row, column]}; expected finite numbers."
            )


def _check_ids(path: Path, embeddings: Embeddings) -> None:
    ids, n = embeddings.ids, len(embeddings.matrix)
    if ids.dtype.kind != "U" or ids.shape != (n,):
        raise InputError(
            f"{path}: `ids` has shape {list(ids.shape)} and type {ids.dtype}; "
            f"expected {n} strings, one a row of `embeddings`."
        )
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"{path}: {(counts > 1).sum()} ids name more than one row: "
            f"{_first(names[counts > 1])}; expected each once."
        )


def _missing(embeddings: Embeddings, ids: np.ndarray) -> np.ndarray:
    return ids[~np.isin(ids, embeddings.ids)]


def _first(names: Sequence[str] | np.ndarray, limit: int = 3) -> str:
    return ", ".join(map(str, names[:limit])) + (", …" if len(names) > limit else "")
