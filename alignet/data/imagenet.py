"""ImageNet (ILSVRC 2012) and the sets made after it, all with standard labels.

A standard label is a class's place among the 1,000 WordNet ids in order, `WNIDS`. A set is looked
for in its folder, with a folder of photographs for each class; then in an `.npz` of that name, see
`open_labelled`; and then among the data sets that tfds has prepared.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from alignet.data.imagenet_facts import ALEXNET_ERRORS, WNIDS
from alignet.data.labelled import Labelled, open_labelled
from alignet.data.records import TFDS, open_records
from alignet.errors import Absent, InputError
from alignet.runtime.files import sha256
from alignet.runtime.progress import progress

SPLITS = {"train": "train", "val": "validation"}
SEVERITIES = (1, 2, 3, 4, 5)
# Of ImageNet-C, by corruption and severity.
CORRUPTED = {
    (corruption, severity): f"imagenet_c/{corruption}_{severity}"
    for corruption in ALEXNET_ERRORS
    for severity in SEVERITIES
}
# The folder of each set, and what tfds calls it.
VARIANTS = {
    "imagenet_v2": ("imagenet_v2", "imagenet_v2/matched-frequency:test"),
    "imagenet_a": ("imagenet_a", "imagenet_a:test"),
    "imagenet_r": ("imagenet_r", "imagenet_r:test"),
    "imagenet_sketch": ("imagenet_sketch", "imagenet_sketch:test"),
} | {
    name: (
        f"imagenet_c/{corruption}/{severity}",
        f"imagenet2012_corrupted/{corruption}_{severity}:validation",
    )
    for (corruption, severity), name in CORRUPTED.items()
}
# Some photographs of each class, for what needs no training set.
SAMPLES = ("images/imagenet_sample_1000", "imagenet_photographs")
# The ReaL labels (Beyer et al. 2020), in the order of the validation set's file names.
REAL = ("imagenet/real.json", "timm_results/imagenet_real_labels.json")
REAL_TFDS = "tfds:imagenet2012_real:validation"
N_VALIDATION = 50_000
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})")
_PLACES = {wnid: place for place, wnid in enumerate(WNIDS)}


class Real(NamedTuple):
    """Attributes:
    valid: [n, k], the labels that are right for each photograph, filled up with −1.
    fingerprint: changes when they do.
    """

    valid: Int[np.ndarray, "n k"]
    fingerprint: str


def open_split(
    split: str, data_dir: str | Path, where: str | Path = "", cache: Path | None = None
) -> Labelled:
    """ImageNet itself.

    Args:
      split: "train" or "val"; the set is called "imagenet/train" or "imagenet/val".
      data_dir: the data folder.
      where: a folder that has the splits in place of data_dir/imagenet; "" for that one, or else
        what tfds has prepared as imagenet2012.
      cache: folder for labels, see `open_labelled`.

    Raises:
      Absent: it is not there.
      InputError: it is malformed, or has classes that are not ImageNet's.
    """
    folder = Path(where) if where else Path(data_dir) / "imagenet"
    tfds = None if where else f"imagenet2012:{SPLITS[split]}"
    return _open(folder / split, tfds, f"imagenet/{split}", cache)


def photographs(
    data_dir: str | Path, where: str | Path = "", cache: Path | None = None
) -> Labelled:
    """Photographs of ImageNet's classes: the validation set, or else a sample of some folder.

    Args:
      data_dir, where, cache: as for `open_split`.

    Returns:
      The photographs, with the WordNet ids that occur as classes, sorted.

    Raises:
      Absent: there are none.
      InputError: they are malformed.
    """
    try:
        found = open_split("val", data_dir, where, cache)
    except Absent as reason:
        samples = [Path(data_dir) / name for name in SAMPLES]
        sample = next((path for path in samples if path.is_dir()), None)
        if where:
            raise
        if sample is None:
            raise Absent(f"{samples[0]}: no such folder; {reason}") from None
        found = open_labelled(sample, name=sample.name, cache=cache)
    kept, labels = np.unique(found.labels, return_inverse=True)
    return found._replace(labels=labels, classes=[found.classes[label] for label in kept])


def variant(name: str, data_dir: str | Path, cache: Path | None = None) -> Labelled:
    """A set of the same classes that looks different.

    Args:
      name: of `VARIANTS`.
      data_dir, cache: as for `open_split`.

    Raises:
      Absent: it is not there.
      InputError: it is malformed, or has classes that are not ImageNet's.
    """
    folder, tfds = VARIANTS[name]
    return _open(Path(data_dir) / folder, tfds, name, cache)


def real_labels(validation: Labelled, data_dir: str | Path) -> Real:
    """Everything that people see in the photographs of the validation set; in some, nothing.

    Args:
      validation: photographs that are called as in the release, ILSVRC2012_val_00000001 and so on.
      data_dir: has real.json in imagenet/; else what tfds has prepared as imagenet2012_real.

    Raises:
      Absent: the labels are not there, or the photographs are called otherwise.
      InputError: the labels are malformed.
    """
    numbers = [_NUMBER.search(name) for name in validation.ids.tolist()]
    if None in numbers:
        raise Absent(
            f"{validation.name}: {validation.ids[numbers.index(None)]} does not say which "
            "photograph of the validation set it is; expected ILSVRC2012_val_00000001 or the like."
        )
    paths = [Path(data_dir) / name for name in REAL]
    path = next((path for path in paths if path.is_file()), None)
    if path:
        by_number, fingerprint = _real_of_json(path), sha256(path)
    else:
        try:
            records = open_records(REAL_TFDS)
        except Absent as reason:
            raise Absent(f"{paths[0]}: no such file; {reason}") from None
        read = map(records.read, progress(range(records.n), desc=REAL_TFDS, unit=" record"))
        by_number = {
            number[1]: list(map(int, record["real_label"]))
            for name, record in read
            if (number := _NUMBER.search(name))
        }
        fingerprint = records.fingerprint
    found = [by_number.get(number[1], []) for number in numbers]
    valid = np.full((len(found), max(map(len, found))), -1)
    for row, labels in enumerate(found):
        valid[row, : len(labels)] = labels
    return Real(valid, fingerprint)


def _real_of_json(path: Path) -> dict[str, list[int]]:
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        lists = None
    if not isinstance(lists, list) or len(lists) != N_VALIDATION:
        raise InputError(f"{path}: is no list of {N_VALIDATION:,} in JSON; expected ReaL labels.")
    for place, labels in enumerate(lists):
        if not isinstance(labels, list) or not all(
            type(label) is int and 0 <= label < len(WNIDS) for label in labels
        ):
            raise InputError(
                f"{path}: the entry {place} is {str(labels)[:40]}; expected a list of labels, 0 to "
                f"{len(WNIDS) - 1}."
            )
    return {f"{place:08}": labels for place, labels in enumerate(lists, start=1)}


def _open(place: Path, tfds: str | None, name: str, cache: Path | None) -> Labelled:
    file = place.with_name(f"{place.name}.npz")
    where = file if file.is_file() and not place.is_dir() else place
    if tfds and not where.exists():
        where = f"{TFDS}{tfds}"
    try:
        found = open_labelled(where, name=name, cache=cache)
    except Absent as reason:
        # Of tfds, whose reason does not say that a folder would do.
        or_folder = f"{place}: no such folder, of one with photographs for each class; {reason}"
        raise Absent(or_folder if tfds else str(reason)) from None
    # Numbers are labels already: folders of ImageNet-V2 as released, an `.npz` without classes.
    places = [int(c) if c.isdecimal() else _PLACES.get(c, -1) for c in found.classes]
    for label, place in zip(found.classes, places, strict=True):
        if not 0 <= place < len(WNIDS):
            raise InputError(
                f"{where}: the class {label!r} is none of ImageNet's 1,000; expected WordNet ids "
                "such as n01440764."
            )
    return found._replace(labels=np.array(places)[found.labels], classes=WNIDS)
