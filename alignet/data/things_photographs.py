"""THINGS concepts that are classes of ILSVRC 2012, by WordNet, and photographs of these classes.

The photographs of THINGS need a licence; those of the same kinds of things can stand in for them.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from alignet.data.embeddings import Embeddings
from alignet.errors import Absent, InputError

MAPPING = Path("imagenet", "DERIVED_things_to_ilsvrc.csv")
FOLDER = Path("images", "imagenet_sample_1000")
ANNOTATIONS = "val_annotations.txt"
COLUMNS = ("uniqueID", "ilsvrc_exact", "ilsvrc_hyponyms")


class Concepts(NamedTuple):
    """THINGS concepts that are ILSVRC classes, or have such classes under them.

    Attributes:
      exact: the classes with the concept's own WordNet id, by the concept's name.
      exact_or_hyponyms: these, or else the classes under it ("antelope": hartebeest, impala and
        gazelle).
    """

    exact: Mapping[str, tuple[str, ...]]
    exact_or_hyponyms: Mapping[str, tuple[str, ...]]


def load_concepts(data_dir: str | Path) -> Concepts:
    """Reads `imagenet/DERIVED_things_to_ilsvrc.csv`.

    Raises:
      Absent: there is no such file.
      InputError: it lacks a column.
    """
    path = Path(data_dir) / MAPPING
    if not path.is_file():
        raise Absent(f"{path}: no such file; expected a table with {', '.join(COLUMNS)}.")
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    absent = [column for column in COLUMNS if any(row.get(column) is None for row in rows)]
    if absent or not rows:
        raise InputError(
            f"{path}: has no column {absent[0] if absent else COLUMNS[0]} in every row; expected "
            f"{', '.join(COLUMNS)}, WordNet ids separated by |."
        )
    exact = {row["uniqueID"]: _split(row["ilsvrc_exact"]) for row in rows}
    under = {row["uniqueID"]: _split(row["ilsvrc_hyponyms"]) for row in rows}
    return Concepts(
        exact={name: classes for name, classes in exact.items() if classes},
        exact_or_hyponyms={
            name: classes for name in exact if (classes := exact[name] or under[name])
        },
    )


def class_of(name: str) -> str:
    """The WordNet id that a photograph's id is or begins with.

    >>> [class_of(name) for name in ("n02666196", "n02666196_abacus", "n02666196/val_1")]
    ['n02666196', 'n02666196', 'n02666196']
    """
    return re.split("[/_]", name, maxsplit=1)[0]


def photograph_classes(folder: Path, names: Sequence[str]) -> list[str]:
    """The WordNet id of every photograph in a folder.

    Args:
      folder: of photographs. With a `val_annotations.txt`, as Tiny ImageNet's validation set has
        one, this tells the class of each file; without it, the names begin with it.
      names: of the photographs, their paths in the folder without the suffix.

    Raises:
      InputError: the class of a photograph is not known.
    """
    known = {}
    for table in annotations(folder):
        rows = (line.split("\t") for line in table.read_text(encoding="utf-8").splitlines())
        known |= {Path(row[0]).stem: row[1] for row in rows if len(row) > 1}
    classes = [known.get(Path(name).name) if known else class_of(name) for name in names]
    for name, wnid in zip(names, classes, strict=True):
        if wnid is None or not re.fullmatch(r"n\d{8}", wnid):
            raise InputError(
                f"{folder}: the class of {name} is not known; expected names that begin with a "
                f"WordNet id (n01440764/…), or {ANNOTATIONS} with a file's name and id in each row."
            )
    return classes


def annotations(folder: Path) -> list[Path]:
    """The files that tell the classes of photographs in a folder."""
    return sorted(folder.rglob(ANNOTATIONS))


def concept_rows(concepts: Mapping[str, tuple[str, ...]], photographs: Embeddings) -> Embeddings:
    """Averages the photographs of each concept's classes.

    Args:
      concepts: classes by the concept's name.
      photographs: with ids that begin with their class.

    Returns:
      Rows of those concepts of which there is a photograph, float64, with their names as ids.
    """
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(photographs.ids.tolist()):
        rows_of.setdefault(class_of(name), []).append(row)
    names, means = [], []
    for name, classes in concepts.items():
        rows = [row for wnid in classes for row in rows_of.get(wnid, [])]
        if rows:
            names.append(name)
            means.append(photographs.matrix[rows].mean(axis=0, dtype=np.float64))
    width = photographs.matrix.shape[1]
    return Embeddings(np.array(names, np.str_), np.array(means).reshape(-1, width))


def choices_among(
    triplets: Int[np.ndarray, "m 3"], objects: Int[np.ndarray, " n"]
) -> Int[np.ndarray, "k 3"]:
    """The triplets all of whose objects are among some, as positions in `objects`."""
    position = np.full(max(triplets.max(), objects.max(initial=0)) + 1, -1)
    position[objects] = np.arange(len(objects))
    found = position[triplets]
    return found[(found >= 0).all(axis=1)]


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split("|")))
