"""The data sets of few-shot classification, and others of the same form."""

import os
from pathlib import Path

import numpy as np

from alignet.data.labelled import Labelled, has_classes, open_labelled, take
from alignet.data.records import TFDS
from alignet.errors import Absent, InputError

# Name in tfds, the split that examples are drawn from, and the split to classify. Paper 002 names
# the data sets (2.4 and B.2.1) and no splits. Two sets are not split: as is usual for them, the
# first 1,000 and 2,000 of tfds's shuffled records are the ones to draw from. The test splits of
# imagenet2012 and places365_small have no labels.
FEWSHOT = {
    "cifar100": ("cifar100", "train", "test"),
    "imagenet2012": ("imagenet2012", "train", "validation"),
    "places365_small": ("places365_small", "train", "validation"),
    "caltech_birds2011": ("caltech_birds2011", "train", "test"),
    "cars196": ("cars196", "train", "test"),
    "oxford_flowers102": ("oxford_flowers102", "train", "test"),
    "oxford_iiit_pet": ("oxford_iiit_pet", "train", "test"),
    "uc_merced": ("uc_merced", "train[:1000]", "train[1000:]"),
    "colorectal_histology": ("colorectal_histology", "train[:2000]", "train[2000:]"),
    "dtd": ("dtd", "train", "test"),
    "mnist": ("mnist", "train", "test"),
    "fashion_mnist": ("fashion_mnist", "train", "test"),
}


TESTS = ("test", "val", "validation", "valid")  # folders of pictures to classify


def prepared(name: str) -> bool:
    """Whether a data set of `FEWSHOT` is on disk, where tfds looks, in a format that can be read.

    That is by the names of files in `TFDS_DATA_DIR`, or else ~/tensorflow_datasets; tfds is not
    imported.
    """
    called, *splits = FEWSHOT[name]
    default = "~/tensorflow_datasets"
    folder = Path(os.environ.get("TFDS_DATA_DIR") or default).expanduser() / called
    parts = (f"*/{called}-{split.partition('[')[0]}.array_record-*" for split in splits)
    return all(any(folder.glob(part)) for part in parts)


def open_fewshot(
    where: str, *, data_dir: str | Path, cache: Path | None = None
) -> tuple[str, Labelled, Labelled | None]:
    """Opens a data set to draw labelled examples from and to classify.

    Args:
      where: one of
        - a name of `FEWSHOT`.
        - "NAME:SPLIT", of the same names, or "tfds:NAME:SPLIT", of any other: the examples are
          drawn from this split and the rest of it is classified (paper 000).
        - a path, inside `data_dir` or else as it is: a folder with train/ and one of `TESTS`, or
          what `open_labelled` takes, of which again the rest is classified.
      data_dir: the data folder.
      cache: keeps labels, see `open_labelled`.

    Returns:
      The name, the pictures to draw examples from, and those to classify, with the same classes;
      None for the rest.

    Raises:
      Absent: it is not there; the message says how to get it.
      InputError: it is malformed, or there are pictures to classify of a class without examples.
    """
    if where in FEWSHOT:
        called, *splits = FEWSHOT[where]
        pool, test = (open_labelled(f"{TFDS}{called}:{split}", cache=cache) for split in splits)
        return where, pool, test
    if where.partition(":")[0] in FEWSHOT:
        return where, open_labelled(f"{TFDS}{where}", cache=cache), None
    if where.startswith(TFDS):
        return where.removeprefix(TFDS), open_labelled(where, cache=cache), None
    inside = Path(data_dir) / where
    path = inside if inside.exists() else Path(where)
    if not path.exists():
        raise Absent(
            f"{where}: neither the name of a data set nor a path, in {data_dir} or here; expected "
            f"one of {', '.join(FEWSHOT)}, NAME:SPLIT of these, {TFDS}NAME:SPLIT, or a path."
        )
    # CIFAR-100 has a class called train, and ImageNet's test split no classes.
    if not has_classes(path / "train"):
        pool = open_labelled(path, cache=cache)
        return pool.name, pool, None
    tests = [path / part for part in TESTS if has_classes(path / part)]
    if not tests:
        raise InputError(
            f"{path}: has folders of classes in train and in none of {', '.join(TESTS)}; expected "
            "both, or folders of classes alone."
        )
    name = path.resolve().name
    pool, test = (
        open_labelled(part, name=f"{name}/{part.name}") for part in (path / "train", tests[0])
    )
    return name, pool, take(test, np.arange(len(test.ids)), classes=pool.classes)
