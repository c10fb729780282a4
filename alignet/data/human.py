"""Human odd-one-out choices and the order of their objects."""

import io
import re
from pathlib import Path

import numpy as np
from jaxtyping import Int

from alignet.errors import InputError
from alignet.runtime import files

# Where `object_ids` finds the names, within things/.
ORDER_FILES = ("unique_id.txt", "sortindex", "images.npz")
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
RELEASE = "the THINGS odd-one-out release (OSF project f5rn6) has it; README.md says where files go"


def load_triplets(path: str | Path, *, n_objects: int | None = None) -> Int[np.ndarray, "n 3"]:
    """Reads odd-one-out choices: three 0-based object indices a row, the odd one out last.

    Args:
      path: text with three whitespace-separated integers a line (the THINGS release's
        `trainset.txt` and its kin) or an integer `.npy` of shape [n, 3] (VICE's `train_90.npy`).
      n_objects: the number of objects; an index at or above it is an error.

    Returns:
      int64 [n, 3].

    Raises:
      InputError: the file is absent, empty or malformed, or a row is no triplet of three
        different objects; the message names the file and the first such row (from 1).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected odd-one-out triplets ({RELEASE}).")
    triplets = _read_npy(path) if path.suffix == ".npy" else _read_text(path)
    if len(triplets) == 0:
        raise InputError(f"{path}: the file is empty; expected three object indices a row.")
    low, high = triplets.min(axis=1), triplets.max(axis=1)
    if (low < 0).any():
        row = int(np.argmax(low < 0))
        raise InputError(
            f"{path}, row {row + 1}: {triplets[row].tolist()} has a negative index; "
            "expected 0-based object indices."
        )
    if n_objects is not None and (high >= n_objects).any():
        row = int(np.argmax(high >= n_objects))
        raise InputError(
            f"{path}, row {row + 1}: {triplets[row].tolist()} is out of range; "
            f"expected indices from 0 to {n_objects - 1} for {n_objects} objects."
        )
    i, j, k = triplets.T
    repeated = (i == j) | (i == k) | (j == k)
    if repeated.any():
        row = int(np.argmax(repeated))
        raise InputError(
            f"{path}, row {row + 1}: {triplets[row].tolist()} repeats an object; "
            "expected three different objects."
        )
    return triplets


def odd_last(
    triplets: Int[np.ndarray, "n 3"], pair: Int[np.ndarray, " n"]
) -> Int[np.ndarray, "n 3"]:
    """Puts the odd one out last; the two others stay in the order they had.

    Args:
      triplets: three objects (i, j, k) a row.
      pair: the others: 0 for ij, 1 for ik, 2 for jk.
    """
    order = np.array([(0, 1, 2), (0, 2, 1), (1, 2, 0)])[pair]
    return np.take_along_axis(triplets, order, axis=1)


def object_ids(data_dir: str | Path) -> np.ndarray | None:
    """The names of the THINGS objects in the order that `things/triplets.txt` counts in.

    The public `unique_id.txt` is in SORTED order while the triplets are in RAW order;
    `sortindex` maps them: `sorted[s] = raw[sortindex[s]]`. A toy world's images carry their names
    in the triplets' order already.

    Returns:
      str [n], or None where the folder has no names (matrices are then taken in RAW order).

    Raises:
      InputError: one of these files is damaged, or the two do not fit each other.
    """
    things = Path(data_dir) / "things"
    names, order = things / "unique_id.txt", things / "sortindex"
    if names.is_file() and order.is_file():
        try:
            sorted_ids = np.array(names.read_text(encoding="utf-8").split())
        except UnicodeDecodeError as error:
            raise InputError(f"{names}: expected one name a line in UTF-8 ({error}).") from None
        try:
            sortindex = np.loadtxt(order, dtype=np.int64, ndmin=1)
        except ValueError as error:
            raise InputError(f"{order}: expected one integer a line ({error}).") from None
        n = len(sorted_ids)
        if not np.array_equal(np.sort(sortindex), np.arange(n)):
            raise InputError(
                f"{order}: expected each of 0 to {n - 1} once, as {names} has {n} names."
            )
        raw_ids = np.empty_like(sorted_ids)
        raw_ids[sortindex] = sorted_ids
        return raw_ids
    images = things / "images.npz"
    if images.is_file():
        return files.read_npz(images, ["ids"], expected="expected images with their ids")[0]
    return None


def _read_npy(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise InputError(
            f"{path}: not a plain NumPy array (pickles are never loaded); expected integers [n, 3]."
        ) from None
    if not (np.issubdtype(array.dtype, np.integer) and array.ndim == 2):
        raise InputError(
            f"{path}: has shape {array.shape} and type {array.dtype}; expected integers of shape "
            "[n, 3]."
        )
    if array.shape[1] != 3:
        raise InputError(f"{path}: has {array.shape[1]} columns; expected 3, the odd one out last.")
    return array.astype(np.int64)


def _read_text(path: Path) -> np.ndarray:
    text = path.read_bytes()
    if not text.strip():
        return np.empty((0, 3), np.int64)
    try:
        triplets = np.loadtxt(io.BytesIO(text), dtype=np.int64, ndmin=2, comments=None)
    except ValueError:
        triplets = None
    if triplets is None or triplets.shape[1] != 3:
        raise InputError(_first_bad_row(path, text))
    return triplets


def _first_bad_row(path: Path, text: bytes) -> str:
    for row, line in enumerate(text.decode("utf-8", errors="replace").splitlines(), start=1):
        fields = line.split()
        if fields and (len(fields) != 3 or not all(INTEGER.fullmatch(f) for f in fields)):
            shown = line.strip()[:60]
            return (
                f"{path}, row {row}: found {len(fields)} fields, {shown!r}; expected three "
                "whole numbers separated by spaces, the odd one out last."
            )
    return f"{path}: expected three whole numbers of at most 64 bits a row."
