"""Pictures with the class of each: from tfds, a folder of classes, or an `.npz`."""

import hashlib
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from alignet.data.embeddings import few
from alignet.data.images import Encoded, Source, first_repeated, from_records, open_source
from alignet.data.mapped import map_npz
from alignet.data.records import TFDS, Records, open_records
from alignet.errors import Absent, InputError
from alignet.runtime.files import read_npz, remove_temporaries, sha256, write_npz
from alignet.runtime.progress import progress

EXPECTED = "expected `labels`, and `images` or `ids`"
WNID = re.compile(r"n\d{8}(?=$|[_.])")
# The most classes that are believed without their names. Ours.
UNNAMED = 100_000
# Records, from which on to read the labels takes long enough to show a bar. Ours.
MANY = 10_000


class Labelled(NamedTuple):
    """Pictures, or only their names, with the class of each.

    Attributes:
      name: of the set and the split, "cifar100/test"; embeddings of it may be called after it.
      ids: str [n], all different.
      labels: int64 [n], places among `classes`.
      classes: the names of the k classes; not all of them need to occur.
      source: the pictures in this order, with these ids, called as the set is, and some of them
        after what they are; None if only the labels are known.
      fingerprint: changes when the pictures or the labels do.
      files: that were read whole.
    """

    name: str
    ids: np.ndarray
    labels: Int[np.ndarray, "n"]
    classes: Sequence[str]
    source: Source | None
    fingerprint: str
    files: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        """Of ids and classes: copies of the same pictures, elsewhere or of another time, agree."""
        return _hash(self.ids.tolist(), self.labels.tolist(), list(self.classes))


def open_labelled(
    where: str | Path,
    *,
    name: str | None = None,
    cache: Path | None = None,
    data_dir: str | Path = "",
) -> Labelled:
    """Opens labelled pictures without reading the pictures.

    Args:
      where: one of
        - "tfds:NAME:SPLIT" with a class `label`, see `open_records`. To get the labels, all records
          are read once, without decoding pictures.
        - a folder with a folder for each class, named after it, in which pictures lie at any depth;
          or a folder of pictures whose names begin with their class's WordNet id ("n01440764_…").
          Classes are in the order of their names.
        - an `.npz` with `labels`, integer [n], and `images`, uint8 [n, h, w] (grey) or
          [n, h, w, 3]; perhaps `ids`, else "0", "1", …; perhaps `classes`, the names of the labels
          0, 1, …, else these numbers. With `ids` and no `images`, labels for embeddings that
          were made elsewhere.
      name: what to call it; None for NAME/SPLIT, or the name of the folder or the file.
      cache: keeps the labels of tfds data sets, in cache/labels; None reads them each time.
      data_dir: where tfds has its data sets; "" for its own default.

    Raises:
      Absent: it is not there; the message says how to get it.
      InputError: it is malformed, or has fewer than two classes.
    """
    if str(where).startswith(TFDS):
        records = open_records(str(where), data_dir=str(data_dir))
        return _of_records(str(where), records, name, cache)
    path = Path(where)
    if path.is_dir():
        return _of_folder(path, name or path.resolve().name)
    if path.is_file():
        return _of_npz(path, name or path.stem)
    raise Absent(
        f"{path}: no such file or folder; expected a folder of classes, an .npz with labels and "
        f"images, or {TFDS}NAME:SPLIT."
    )


def has_classes(folder: Path) -> bool:
    """Whether it is a folder of classes: with folders, or pictures called by their WordNet id."""
    if not folder.is_dir():
        return False
    inside = (one for one in folder.iterdir() if not one.name.startswith("."))
    return any(one.is_dir() or WNID.match(one.name) for one in inside)


def take(
    labelled: Labelled, places: Int[np.ndarray, "m"], *, classes: Sequence[str] | None = None
) -> Labelled:
    """Some of the pictures, in the order of their places.

    Args:
      labelled: n pictures.
      places: from 0 to n − 1.
      classes: what the labels are places in, afterwards; None for the same as before.

    Raises:
      InputError: one of the pictures is of a class that is not among `classes`.
    """
    labels = labelled.labels[places]
    if classes is not None:
        place = {name: i for i, name in enumerate(classes)}
        for label in np.unique(labels):
            if labelled.classes[label] not in place:
                raise InputError(
                    f"{labelled.name}: has pictures of the class {labelled.classes[label]!r}; "
                    f"expected only {few(classes)}."
                )
        labels = np.array([place.get(name, -1) for name in labelled.classes])[labels]
    ids, source = labelled.ids[places], labelled.source
    if source is not None:
        whole, fingerprint = source, _hash(source.fingerprint, places.tolist())
        source = Source(
            f"{whole.name}/{len(ids)}-{fingerprint[:8]}",
            len(ids),
            lambda i: whole.read(int(places[i])),
            fingerprint,
            (whole, places),
        )
    return labelled._replace(
        ids=ids,
        labels=labels,
        classes=labelled.classes if classes is None else classes,
        source=source,
        fingerprint=_hash(labelled.fingerprint, places.tolist(), list(classes or ())),
    )


def _of_records(where: str, records: Records, name: str | None, cache: Path | None) -> Labelled:
    if records.classes is None:
        raise InputError(f"{where}: has no class label called `label`; expected one.")
    ids, labels = _labels(where, records, cache)
    name = name or f"{records.name}/{records.split}"
    source = from_records(records)._replace(name=name)
    return Labelled(name, ids, labels, records.classes, source, records.fingerprint)


def _labels(where: str, records: Records, cache: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels of all records, from the cache if it is of these records."""
    kept = cache and cache / "labels" / f"{records.name}-{records.split}.npz".replace("/", "-")
    if kept:
        arrays = ("ids", "labels", "fingerprint")
        try:
            ids, labels, fingerprint = read_npz(kept, arrays, expected="expected labels")
            if str(fingerprint) == records.fingerprint and ids.shape == (records.n,):
                return ids, _checked(str(kept), ids, labels, records.classes)
        except InputError:  # it is made again
            remove_temporaries(kept)
    places = range(records.n)
    if records.n >= MANY:
        places = progress(places, desc=f"labels of {where}", unit=" record")
    names, found = [], []
    for place in places:
        name, record = records.read(place)
        names.append(name)
        found.append(int(record["label"]))
    ids = np.array(names)
    labels = _checked(where, ids, np.array(found), records.classes)
    if kept:
        write_npz(kept, ids=ids, labels=labels, fingerprint=np.array(records.fingerprint))
    return ids, labels


def _of_folder(path: Path, name: str) -> Labelled:
    source = open_source(path)
    ids = np.array([source.read(place)[0] for place in range(source.n)])
    in_folders = any("/" in called for called in ids.tolist())
    found = []
    for called in ids.tolist():
        folder, inside, _ = called.partition("/")
        wnid = WNID.match(called)
        if in_folders and not inside:
            raise InputError(
                f"{path}: the picture {called} lies beside the folders of classes; expected it in "
                "one of them."
            )
        if not in_folders and not wnid:
            raise InputError(
                f"{path}: the picture {called} has no class; expected it in a folder of that name, "
                "or to begin with a WordNet id."
            )
        found.append(folder if in_folders else wnid.group())
    classes, labels = np.unique(found, return_inverse=True)
    labels = _checked(str(path), ids, labels, classes.tolist())
    source = source._replace(name=name)
    return Labelled(name, ids, labels, tuple(classes.tolist()), source, source.fingerprint)


def _of_npz(path: Path, name: str) -> Labelled:
    arrays = _arrays(path)
    labels = arrays["labels"]
    ids, images, names = (arrays.get(key) for key in ("ids", "images", "classes"))
    if images is not None and not _are_pictures(images):
        raise InputError(
            f"{path}: images are {images.dtype} {list(images.shape)}; expected uint8 [n, h, w] or "
            "[n, h, w, 3]."
        )
    if ids is None:
        ids = np.arange(len(images)).astype(str)
    classes = None
    if names is not None:
        if names.dtype.kind != "U" or names.ndim != 1:
            raise InputError(
                f"{path}: classes are {names.dtype} {list(names.shape)}; expected one text each."
            )
        classes = tuple(names.tolist())
    if images is not None and ids.shape != images.shape[:1]:
        raise InputError(
            f"{path}: ids are {ids.dtype} {list(ids.shape)} for {len(images)} images; expected one "
            "text each."
        )
    labels = _checked(str(path), ids, labels, classes)
    if classes is None:
        classes = tuple(map(str, range(labels.max() + 1)))
    fingerprint = sha256(path)
    source = None
    if images is not None:

        def read(place: int) -> tuple[str, Encoded]:
            picture = np.asarray(images[place])
            grey = picture.ndim == 2
            return str(ids[place]), np.repeat(picture[..., None], 3, -1) if grey else picture

        source = Source(name, len(ids), read, fingerprint)
    return Labelled(name, ids, labels, classes, source, fingerprint, (path,))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """What there is of labels, images, ids and classes; the images not in memory if possible."""
    [labels] = map_npz(path, ["labels"], expected=EXPECTED)
    with zipfile.ZipFile(path) as archive:
        there = {name.removesuffix(".npy") for name in archive.namelist()}
    names = [name for name in ("images", "ids", "classes") if name in there]
    if not {"images", "ids"} & {*names}:
        raise InputError(f"{path}: has neither images nor ids; {EXPECTED}.")
    others = map_npz(path, names, expected=EXPECTED)
    return {"labels": labels} | dict(zip(names, others, strict=True))


def _are_pictures(images: np.ndarray) -> bool:
    return images.dtype == np.uint8 and (
        images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    )


def _checked(
    where: str, ids: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None
) -> Int[np.ndarray, "n"]:
    """The labels as int64.

    Raises:
      InputError: they or the ids are malformed.
    """
    if ids.dtype.kind != "U" or ids.ndim != 1:
        raise InputError(f"{where}: ids are {ids.dtype} {list(ids.shape)}; expected one text each.")
    if (repeated := first_repeated(ids.tolist())) is not None:
        raise InputError(f"{where}: the id {repeated!r} comes twice; expected unique ids.")
    if labels.dtype.kind not in "iu" or labels.shape != ids.shape or not len(labels):
        raise InputError(
            f"{where}: labels are {labels.dtype} {list(labels.shape)} for {len(ids)} pictures; "
            "expected one integer each."
        )
    k = len(classes) if classes is not None else min(int(labels.max()) + 1, UNNAMED)
    wrong = np.flatnonzero((labels < 0) | (labels >= k))
    if len(wrong):
        row = wrong[0]
        raise InputError(
            f"{where}: the label of {ids[row]} (row {row}) is {labels[row]}; expected 0 to {k - 1}."
        )
    if classes is not None and (repeated := first_repeated(classes)) is not None:
        raise InputError(f"{where}: the class {repeated!r} comes twice; expected different names.")
    if k < 2:
        raise InputError(f"{where}: has only one class; expected two or more.")
    return labels.astype(np.int64)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
