"""Which labelled sets there are, and that all models mean the same pictures and classes by them."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignet.data.embeddings import differences
from alignet.data.fewshot_sets import FEWSHOT, open_fewshot
from alignet.data.images import first_repeated
from alignet.data.labelled import Labelled, open_labelled
from alignet.data.mapped import map_npz
from alignet.data.records import TFDS
from alignet.errors import InputError
from alignet.runtime.progress import progress

EXPECTED = "expected `ids` and `embeddings`, perhaps `labels` and `classes`"


def labelled_sets(paths: Sequence[Path]) -> list[Labelled]:
    """The labelled sets in models' folders, FOLDER/SET.npz; ids in order, pictures left out.

    Args:
      paths: folders of models; a model in a single file has no labels.

    Returns:
      Of every set of which a file has `labels`: ids (without the set's name), labels and classes.

    Raises:
      InputError: two models' files of a set differ in ids, labels or classes, or one is damaged.
    """
    found: dict[str, list[Path]] = {}
    for path in filter(Path.is_dir, paths):
        for file in sorted(path.rglob("*.npz")):
            # What a process that was killed left begins with a dot.
            if not file.name.startswith("."):
                name = file.relative_to(path).with_suffix("").as_posix()
                found.setdefault(name, []).append(file)
    sets = []
    for name in sorted(found):
        first = next((file for file in found[name] if "labels" in sizes(file)), None)
        if first is None:
            continue
        known = in_order(open_labelled(first, name=name))
        for file in progress(found[name], desc=f"labels of {name}", unit=" file"):
            _check_same(file, known, first)
        sets.append(known)
    return sets


def given_sets(names: Sequence[str], data_dir: Path) -> list[Labelled]:
    """Labels for embeddings that have none; of data sets with a test split, those of this.

    Args:
      names: of `FEWSHOT`, or what `open_fewshot` takes.
      data_dir: the data folder.

    Raises:
      InputError: one is not there or malformed.
    """
    sets = []
    for name in names:
        if name in FEWSHOT:
            called, _, split = FEWSHOT[name]
            sets.append(open_labelled(f"{TFDS}{called}:{split}"))
        else:
            _, pool, test = open_fewshot(name, data_dir=data_dir)
            sets.append(pool if test is None else test)
    return [in_order(one) for one in sets]


def in_order(labelled: Labelled) -> Labelled:
    """Sorted by id: draws of examples depend on the order."""
    ids = _bare(labelled.name, labelled.ids)
    order = np.argsort(ids)
    return labelled._replace(ids=ids[order], labels=labelled.labels[order], source=None)


def _bare(name: str, ids: np.ndarray) -> np.ndarray:
    """Ids without the set's name, which they may begin with."""
    begin = f"{name}/"
    if not np.char.startswith(ids, begin).all():
        return ids
    return np.array([one.removeprefix(begin) for one in ids.tolist()])


def _check_same(file: Path, known: Labelled, first: Path) -> None:
    """That a file's pictures and, if it has them, labels are those of another."""
    names = ["ids", *(name for name in ("labels", "classes") if name in sizes(file))]
    arrays = dict(zip(names, map_npz(file, names, expected=EXPECTED), strict=True))
    ids = arrays["ids"]
    if ids.dtype.kind != "U" or ids.ndim != 1:
        raise InputError(f"{file}: ids are {ids.dtype} {list(ids.shape)}; expected one text each.")
    ids = _bare(known.name, np.asarray(ids))
    if (repeated := first_repeated(ids.tolist())) is not None:
        raise InputError(f"{file}: the id {repeated!r} comes twice; expected unique ids.")
    n = len(known.ids)
    if len(ids) != n:
        raise InputError(
            f"{file}: has {len(ids):,} images of {known.name}; expected {n:,}, as in {first}."
        )
    order = np.argsort(ids)
    if not np.array_equal(ids[order], known.ids):
        raise InputError(f"{file}: {differences(ids[order], known.ids)}; expected those of {first}")
    if "labels" not in arrays:
        return
    labels = arrays["labels"]
    if labels.shape != (n,):
        raise InputError(
            f"{file}: labels are {labels.dtype} {list(labels.shape)} for {n} images; expected one "
            "integer each."
        )
    wrong = np.flatnonzero(labels[order] != known.labels)
    if len(wrong):
        place = wrong[0]
        raise InputError(
            f"{file}: the label of {known.ids[place]} is {labels[order][place]}; expected "
            f"{known.labels[place]}, as in {first}."
        )
    k = len(known.classes)
    classes = arrays["classes"].tolist() if "classes" in arrays else [str(i) for i in range(k)]
    if len(classes) != k:
        raise InputError(f"{file}: has {len(classes)} classes; expected {k}, as in {first}.")
    for place, (one, other) in enumerate(zip(classes, known.classes, strict=True)):
        if one != other:
            raise InputError(
                f"{file}: the class {place} is called {one!r}; expected {other!r}, as in {first}."
            )


def sizes(file: Path) -> dict[str, int]:
    """The arrays in an `.npz`, and how large they are."""
    map_npz(file, (), expected=EXPECTED)  # refuses what is none
    with zipfile.ZipFile(file) as archive:
        return {
            member.filename.removesuffix(".npy"): member.file_size for member in archive.infolist()
        }
