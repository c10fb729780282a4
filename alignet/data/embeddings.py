"""Embeddings of any model: a matrix, with the names of its rows where they are known."""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from alignet.data.mapped import DAMAGED, let_go, map_npz
from alignet.errors import InputError
from alignet.runtime.files import atomic_path

ROWS_A_CHECK = 8192
LARGEST = 1e30  # in absolute value; products of products would overflow far beyond it
EXPECTED = "expected a float matrix [n, p], or `ids` and `embeddings` in an .npz"


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
      path: `.npy`, a float matrix [n, p]; or `.npz` with `ids` (str [n]) and `embeddings` (float
        [n, p]). What the file holds decides, not its name. The matrix stays memory-mapped unless
        it is compressed. An id that comes again with an equal row counts once.
      ids: the objects wanted, in the order wanted. A file with ids must have exactly these, in any
        order; a file without must have exactly this many rows, which are taken in this order.

    Returns:
      The embeddings; with `ids` given, in that order and with those ids.

    Raises:
      InputError: the file is absent, damaged or a pickle; the matrix is empty, not 2-D, not float32
        or float64, or has a NaN or an infinity; ids are missing or unknown, or one names different
        rows.
    """
    path = Path(path)
    embeddings = _read(path)
    _check_matrix(path, embeddings.matrix)
    if embeddings.ids is not None:
        embeddings = _distinct(path, embeddings)
    if ids is None:
        return embeddings
    ids = np.asarray(ids)
    if embeddings.ids is None:
        n = len(embeddings.matrix)
        if n != len(ids):
            raise InputError(f"{path}: has {n} rows and no ids; expected {len(ids)} rows.")
        return Embeddings(ids, embeddings.matrix)
    row = {name: row for row, name in enumerate(embeddings.ids.tolist())}
    wanted = ids.tolist()
    if row.keys() != set(wanted):
        raise InputError(f"{path}: {differences(row, wanted)}.")
    return Embeddings(ids, embeddings.matrix[[row[name] for name in wanted]])


def differences(found: Iterable[str], expected: Iterable[str]) -> str:
    """How the ids that something has differ from those expected, in both directions.

    >>> differences(["ant", "dog"], ["ant", "bee", "cat"])
    '2 of 3 expected ids are missing (bee, cat) and it has 1 other (dog)'
    """
    # Not sets: the examples are the first in order.
    found, expected = dict.fromkeys(found), dict.fromkeys(expected)
    missing = [name for name in expected if name not in found]
    others = [name for name in found if name not in expected]
    return (
        f"{_count(missing, 'none')} of {len(expected):,} expected ids are missing{_some(missing)} "
        f"and it has {_count(others, 'no')} other{'s' * (len(others) != 1)}{_some(others)}"
    )


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
        _distinct(path, embeddings)
        with atomic_path(path) as temporary:
            _, dimension = embeddings.matrix.shape
            write_embeddings(
                temporary,
                embeddings.ids,
                [embeddings.matrix],
                dimension=dimension,
                dtype=embeddings.matrix.dtype,
            )


def write_embeddings(
    path: str | Path,
    ids: np.ndarray,
    blocks: Iterable[np.ndarray],
    *,
    dimension: int,
    dtype: str | np.dtype,
) -> None:
    """Writes an `.npz` like `numpy.savez`'s, of which one block is in memory at a time.

    Equal embeddings give equal bytes, however they are cut into blocks. Their values are not
    checked and the write is not atomic: that is for the caller, as a step of a chain is.

    Args:
      path: the file.
      ids: str [n].
      blocks: arrays [m, dimension], n rows in all.
      dimension: columns.
      dtype: of the matrix.
    """
    dtype, rows = np.dtype(dtype), 0
    with zipfile.ZipFile(path, "w") as archive:
        # The matrix first: its data then start at a multiple of 64 bytes, aligned in a memory map.
        with archive.open("embeddings.npy", "w", force_zip64=True) as member:
            header = {"descr": dtype.str, "fortran_order": False, "shape": (len(ids), dimension)}
            np.lib.format.write_array_header_1_0(member, header)
            for block in blocks:
                member.write(np.ascontiguousarray(block, dtype))
                rows += len(block)
        with archive.open("ids.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array(member, ids, allow_pickle=False)
    if rows != len(ids):
        raise ValueError(f"{rows} rows for {len(ids)} ids")


def _read(path: Path) -> Embeddings:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected embeddings, a .npy or .npz file.")
    try:
        with open(path, "rb") as file:
            if file.read(2) != b"PK":
                return Embeddings(None, np.lib.format.open_memmap(path, mode="r"))
    except DAMAGED:
        raise InputError(
            f"{path}: not a whole NumPy file of plain arrays (pickled objects are never loaded); "
            f"{EXPECTED}."
        ) from None
    ids, matrix = map_npz(path, ("ids", "embeddings"), expected=EXPECTED)
    return Embeddings(np.array(ids), matrix)


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
        bad = ~(np.abs(matrix[start : start + ROWS_A_CHECK]) < LARGEST)
        let_go(matrix)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InputError(
                f"{path}: row {start + row}, column {column} (both from 0) is "
                f"{matrix[start + row, column]}; expected finite numbers below {LARGEST:g}."
            )


def _distinct(path: Path, embeddings: Embeddings) -> Embeddings:
    """Checks the ids; of rows that are equal and have one id, the first is kept."""
    ids, matrix = embeddings
    n = len(matrix)
    if ids.dtype.kind != "U" or ids.shape != (n,):
        raise InputError(
            f"{path}: `ids` has shape {list(ids.shape)} and type {ids.dtype}; "
            f"expected {n} strings, one a row of `embeddings`."
        )
    first: dict[str, int] = {}
    firsts = np.array([first.setdefault(name, row) for row, name in enumerate(ids.tolist())])
    if len(first) == n:
        return embeddings
    again = np.flatnonzero(firsts != np.arange(n))
    differ = again[(matrix[again] != matrix[firsts[again]]).any(axis=1)]
    if len(differ):
        names = list(dict.fromkeys(ids[differ].tolist()))
        raise InputError(
            f"{path}: {len(names)} ids name more than one row: {few(names)}; expected each once "
            "(equal rows count once)."
        )
    rows = [*first.values()]
    return Embeddings(ids[rows], matrix[rows])


def _count(names: Sequence[str], none: str) -> str:
    return f"{len(names):,}" if names else none


def _some(names: Sequence[str]) -> str:
    return f" ({few(names)})" if names else ""


def few(names: Sequence[str], limit: int = 3) -> str:
    """The first of many names, for a message."""
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
