"""The releases of THINGS odd-one-out choices: who chose what, which were asked again, categories.

    file                                                  order   from
    triplets_large_final_correctednc_correctedorder.csv   SORTED  1     release of 2023, with people
    testset1.txt, testset2.txt, testset2_repeat.txt,      SORTED  0     the same, without
      testset3.txt, validationset.txt
    triplets.txt                                          RAW     0     release of 2020 and its kin
    vice_embedding.npy                                    RAW
    spose_embedding_66d_sorted.txt, …_49d_sorted.txt      SORTED
    category_mat_manual.tsv                               SORTED

SORTED is the order of `unique_id.txt`, RAW another in which 21 of the 1,854 objects stand
elsewhere; `sortindex` maps one to the other. The order is a property of the file and cannot be seen
in it. What is returned here is in RAW order throughout, that of `human.object_ids`.
"""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from alignet.data.embeddings import load_embeddings
from alignet.data.human import INTEGER, RELEASE, load_triplets, object_ids, odd_last
from alignet.errors import Absent, InputError

if TYPE_CHECKING:
    import pandas

FOLDER = Path("things")
TABLE = FOLDER / "triplets_large_final_correctednc_correctedorder.csv"
# What is scored without it, the first that is there, and whether it counts in SORTED order.
PLAIN = ((FOLDER / "triplets.txt", False), (FOLDER / "validationset.txt", True))
REPEATED = ("testset1.txt", "testset2.txt", "testset2_repeat.txt", "testset3.txt")
VICE = FOLDER / "vice_embedding.npy"
SPOSE = (FOLDER / "spose_embedding_66d_sorted.txt", FOLDER / "spose_embedding_49d_sorted.txt")
CATEGORIES = FOLDER / "category_mat_manual.tsv"
# The columns that are read, which come first; others follow.
COLUMNS = ("image1", "image2", "image3", "choice", "RT", "noise_ceiling", "subject_id")
KNOWN = {
    146_012: "the test set of the 2020 release as cblearn has it",
    146_168: "the test tenth of the 2020 release",
}


class Repeats(NamedTuple):
    """Answers to triplets that many people were asked, the odd one out last; perhaps none.

    Attributes:
      one: to 1,000 triplets.
      two, again: to another 1,000, row for row the same person's first and second answer.
      three: to the triplets of `two`, one answer a person.
    """

    one: Int[np.ndarray, "a 3"]
    two: Int[np.ndarray, "b 3"]
    again: Int[np.ndarray, "b 3"]
    three: Int[np.ndarray, "c 3"]


class Choices(NamedTuple):
    """People's odd-one-out choices.

    Attributes:
      triplets: numbers of objects in the order of `ids`, the odd one out last.
      ids: str [n], the objects' names; None where they have none.
      person: number of who chose, −1 if not known; None where no choice names anybody.
      people: str [p], what the release calls them; None likewise.
      rt: response times as the release has them, NaN if not known; None likewise.
      repeats: of questions that were asked again and again.
      sorted_file: whether the file counts in SORTED order, see above.
      files: all that was read.
    """

    triplets: Int[np.ndarray, "m 3"]
    ids: np.ndarray | None
    person: Int[np.ndarray, " m"] | None
    people: np.ndarray | None
    rt: Float[np.ndarray, " m"] | None
    repeats: Repeats
    sorted_file: bool
    files: tuple[Path, ...]


def load(data_dir: str | Path) -> Choices:
    """Reads the choices of the release of 2023 with people if it is there, else those without.

    Args:
      data_dir: has them in `things/`, with the names of the objects. Repeated triplets are read
        from the testset files where the choices do not say which those are.

    Raises:
      Absent: there are no choices.
      InputError: a file is malformed, or the order it counts in is not known.
    """
    data_dir = Path(data_dir)
    ids = object_ids(data_dir)
    index = sortindex(data_dir, ids)
    names: tuple[Path, ...] = ()
    if ids is not None:
        used = ("images.npz",) if index is None else ("unique_id.txt", "sortindex")
        names = tuple(data_dir / FOLDER / name for name in used)
    path = data_dir / TABLE
    if path.is_file():
        return _load_table(path, ids, index, names)
    for name, in_order in PLAIN:
        path = data_dir / name
        if path.is_file():
            triplets = load_triplets(path, n_objects=None if ids is None else len(ids))
            triplets = _known(path, index)[triplets] if in_order else triplets
            repeats, more = _load_repeats(data_dir, ids, index)
            files = (path, *names, *more)
            return Choices(triplets, ids, None, None, None, repeats, in_order, files)
    path = data_dir / PLAIN[0][0]
    raise Absent(f"{path}: no such file; expected odd-one-out triplets ({RELEASE}).")


def load_vice(data_dir: str | Path, ids: np.ndarray | None) -> Float[np.ndarray, "n d"]:
    """Reads the published VICE embedding, in the order of `ids`."""
    return np.asarray(load_embeddings(Path(data_dir) / VICE, ids=ids).matrix)


def load_published(
    data_dir: str | Path, ids: np.ndarray | None
) -> tuple[str, Float[np.ndarray, "n d"], Path] | None:
    """Reads a published embedding that was fitted to people's choices: VICE, or else SPoSE.

    Returns:
      Its name, its rows in the order of `ids`, and its path; None if none is there or the objects
      have no names.

    Raises:
      InputError: it is damaged, or not about these objects.
    """
    path, index = Path(data_dir) / VICE, sortindex(data_dir, ids)
    if path.is_file() and ids is not None:
        return "VICE", load_vice(data_dir, ids), path
    for path in (Path(data_dir) / name for name in SPOSE):
        if path.is_file() and index is not None:
            return "SPoSE", _from_sorted(path, _read_matrix(path, len(index)), index), path
    return None


def load_categories(
    data_dir: str | Path, ids: np.ndarray | None
) -> tuple[list[str], Bool[np.ndarray, "n c"]] | None:
    """Reads which objects are in which of the 27 categories, in the order of `ids`.

    Returns:
      The categories' names and the objects' membership, in none, one or several of them; None if
      the file, or the order of its rows, is not there.

    Raises:
      InputError: it is no table of 0 and 1 with one row an object.
    """
    path, index = Path(data_dir) / CATEGORIES, sortindex(data_dir, ids)
    if not path.is_file() or index is None:
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        names = file.readline().rstrip("\r\n").split("\t")
    if len(set(names)) < len(names) or not all(names):
        raise InputError(f"{path}: expected different names of categories in its first row.")
    matrix = _read_matrix(path, len(index), columns=len(names), header=1)
    if not np.isin(matrix, (0, 1)).all():
        row, column = np.argwhere(~np.isin(matrix, (0, 1)))[0]
        raise InputError(
            f"{path}, row {row + 2}: {names[column]} is {matrix[row, column]:g}; expected 0 or 1."
        )
    return names, _from_sorted(path, matrix, index) == 1


def photographs(data_dir: str | Path) -> Path | None:
    """The file or folder of the objects' photographs, if there is one."""
    folder = Path(data_dir) / FOLDER
    return next((p for p in (folder / "images.npz", folder / "images") if p.exists()), None)


def sortindex(data_dir: str | Path, ids: np.ndarray | None) -> Int[np.ndarray, " n"] | None:
    """RAW number of each object in SORTED order; None where the names do not come from there."""
    path = Path(data_dir) / FOLDER / "unique_id.txt"
    if ids is None or not path.is_file() or not path.with_name("sortindex").is_file():
        return None
    raw = {name: number for number, name in enumerate(ids.tolist())}
    names = path.read_text(encoding="utf-8").split()
    if len(raw) < len(ids) or sorted(raw) != sorted(names):
        raise InputError(f"{path}: does not name {len(ids)} different objects, each once.")
    return np.array([raw[name] for name in names], np.int64)


def version(n: int) -> str:
    """Which release has so many choices.

    >>> version(146_168), version(9)
    ('146,168 choices (the test tenth of the 2020 release)', '9 choices')
    """
    known = "the release of 2023" if 4_690_000 <= n < 4_710_000 else KNOWN.get(n)
    return f"{n:,} choices ({known})" if known else f"{n:,} choices"


########################################## The table ##########################################


def _load_table(
    path: Path, ids: np.ndarray | None, index: np.ndarray | None, names: tuple[Path, ...]
) -> Choices:
    raw = _known(path, index)
    table = _read_table(path)
    images = np.stack([table[name].to_numpy() for name in COLUMNS[:3]], axis=1)
    choice, asked = table["choice"].to_numpy(), np.nan_to_num(table["noise_ceiling"].to_numpy())
    i, j, k = images.T
    bad = (images.min(axis=1) < 1) | (images.max(axis=1) > len(raw))
    bad |= (i == j) | (i == k) | (j == k)
    _refuse(path, bad, images, f"three different images from 1 to {len(raw)}")
    _refuse(path, (choice < 1) | (choice > 3), choice, "choice 1, 2 or 3")
    _refuse(path, ~np.isin(asked, (0, 1, 2, 3)), asked, "noise_ceiling 0, 1, 2 or 3")
    triplets = raw[odd_last(images, 3 - choice) - 1]
    person, people = table["subject_id"].factorize()
    two, again = _asked_twice(triplets[asked == 2], person[asked == 2])
    return Choices(
        triplets,
        ids,
        person.astype(np.int64) if len(people) else None,
        np.array(people.tolist(), np.str_) if len(people) else None,
        table["RT"].to_numpy(),
        Repeats(triplets[asked == 1], two, again, triplets[asked == 3]),
        True,
        (path, *names),
    )


def _refuse(path: Path, rows: np.ndarray, values: np.ndarray, expected: str) -> None:
    if rows.any():
        row = int(np.argmax(rows))
        # Rows are counted as in the file, from the header.
        raise InputError(
            f"{path}, row {row + 2}: found {values[row].tolist()}; expected {expected}."
        )


def _read_table(path: Path) -> "pandas.DataFrame":
    # Not at the top: it takes half a second, and most data have no such table.
    import pandas

    with open(path, "rb") as file:
        header = file.readline().decode("utf-8", errors="replace").rstrip("\r\n").split("\t")
        tabs = sum(block.count(b"\t") for block in iter(lambda: file.read(1 << 24), b""))
    for number, expected in enumerate(COLUMNS):
        found = header[number] if number < len(header) else "missing"
        if found != expected:
            raise InputError(
                f"{path}, row 1: column {number + 1} is {found[:60]!r}; expected {expected!r}, as "
                f"in tab-separated {', '.join(COLUMNS)} and more; {RELEASE}."
            )
    whole = dict.fromkeys(COLUMNS[:4], np.int64)
    types = whole | {"RT": np.float64, "noise_ceiling": np.float64, "subject_id": str}
    try:
        table = pandas.read_csv(
            path, sep="\t", usecols=list(COLUMNS), dtype=types, quoting=csv.QUOTE_NONE
        )
    except (ValueError, OverflowError):
        raise InputError(_first_bad_row(path)) from None
    # Too many or too few fields to the right would go unnoticed.
    if tabs != len(table) * (len(header) - 1):
        raise InputError(_first_bad_row(path))
    if table.empty:
        raise InputError(f"{path}: has no choices; {RELEASE}.")
    return table


def _first_bad_row(path: Path) -> str:
    columns = f"tab-separated {', '.join(COLUMNS)} and more, all but subject_id numbers"
    with open(path, encoding="utf-8", errors="replace") as file:
        width = len(next(file).split("\t"))
        for row, line in enumerate(file, start=2):
            fields = line.rstrip("\r\n").split("\t")
            whole = all(INTEGER.fullmatch(field) for field in fields[:4])
            if len(fields) != width or not whole or not all(map(_is_number, fields[4:6])):
                return (
                    f"{path}, row {row}: found {len(fields)} fields, {line.strip()[:60]!r}; "
                    f"expected {width}, {columns}."
                )
    return f"{path}: not a table of plain text; expected {columns}."


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _asked_twice(triplets: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second answer of each person to each triplet of the second set."""
    triplets, person = triplets[person >= 0], person[person >= 0]
    keys = np.column_stack([person, np.sort(triplets, axis=1)])
    order = np.lexsort(keys.T[::-1])  # stable: answers stay in the order of the file
    same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    starts = np.flatnonzero(np.append(same, False) & ~np.insert(same, 0, False))
    return triplets[order[starts]], triplets[order[starts + 1]]


########################################## Plain files ##########################################


def _load_repeats(
    data_dir: Path, ids: np.ndarray | None, index: np.ndarray | None
) -> tuple[Repeats, list[Path]]:
    found = {}
    for name in REPEATED:
        path = data_dir / FOLDER / name
        found[path] = np.empty((0, 3), np.int64)
        if path.is_file():
            triplets = load_triplets(path, n_objects=None if ids is None else len(ids))
            found[path] = triplets if index is None else index[triplets]
    one, two, again, three = found.values()
    if not len(again):
        two = again
    if len(two) != len(again) or (np.sort(two, axis=1) != np.sort(again, axis=1)).any():
        raise InputError(
            f"{data_dir / FOLDER / REPEATED[2]}: expected the triplets of {REPEATED[1]}, row for "
            "row, as the same people answered them a second time."
        )
    return Repeats(one, two, again, three), [path for path, read in found.items() if len(read)]


def _known(path: Path, index: np.ndarray | None) -> np.ndarray:
    if index is None:
        raise InputError(
            f"{path}: counts objects in the order of unique_id.txt; expected that and sortindex "
            "beside it."
        )
    return index


def _read_matrix(
    path: Path, rows: int, *, columns: int | None = None, header: int = 0
) -> Float[np.ndarray, "n d"]:
    try:
        matrix = np.loadtxt(path, skiprows=header, ndmin=2, comments=None)
    except ValueError as error:
        raise InputError(f"{path}: expected rows of numbers ({error}).") from None
    if len(matrix) != rows or (columns and matrix.shape[1] != columns):
        raise InputError(
            f"{path}: has {len(matrix)} rows and {matrix.shape[1]} columns of numbers; expected "
            f"{rows} rows{f' and {columns} columns' if columns else ''}."
        )
    return matrix


def _from_sorted(path: Path, matrix: np.ndarray, index: np.ndarray) -> np.ndarray:
    if not np.isfinite(matrix).all():
        raise InputError(f"{path}: has numbers that are not finite.")
    result = np.empty_like(matrix)
    result[index] = matrix
    return result
