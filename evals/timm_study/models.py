"""The models of the study: what they were called in early 2022, and where their weights are today.

`models.csv` lists the 491 of paper 000, Appendix B (paper 001 has 490 of them, some damaged in
print). Its columns:

  model        the name of early 2022
  timm         today's timm name and the tag of the weights that the name stood for then (a name
               alone may stand for newer ones now); empty if timm has the network no more
  img_size     in pixels, at which timm's results of January 2022 were measured
  top1_2022    the ImageNet accuracy then, in %
  top1_today   of that tag in timm's results of October 2025, or of May 2023 where those have no row
               of the same image size; empty where neither does
  evidence     file: timm 1.0.31 gives the tag the file of weights that timm gave the name in
               January 2022; tag: it gives no file, and the tag is the network's only one or the
               one of this accuracy; replaced: the file was replaced by another; gone
  family       of architectures, ours: what is left out together, as its members are alike
  pretraining  data beyond ImageNet-1k, by timm's metadata of 2022, or else by the tag
  distilled    whether it learned from a larger network, by the same

Accuracies agree to 0.05 points for 466 of 489. Of the other 23, 17 have the same file: they were
measured with another crop, or after a mistake in the network was mended.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alignet.data.images import first_repeated
from alignet.errors import InputError

NAMES491 = "names491"
TABLE = Path(__file__).with_name("models.csv")


class Listed(NamedTuple):
    """A row of the table; of a model that is not in it, only the name and what timm calls it.

    Attributes:
      name: of early 2022, or timm's own.
      timm: name and tag of today; None if timm has the network no more.
      img_size: in pixels; None if not known.
      family: see `find` if it is not in the table.
    pretraining: "" if not known.
      distilled: None if not known.
    """

    name: str
    timm: str | None
    img_size: int | None = None
    family: str = ""
    pretraining: str = ""
    distilled: bool | None = None


def table() -> list[Listed]:
    """The 491, in the order of their names."""
    with open(TABLE, encoding="utf-8", newline="") as file:
        return [
            Listed(
                row["model"],
                row["timm"] or None,
                int(row["img_size"]),
                row["family"],
                row["pretraining"],
                row["distilled"] == "yes",
            )
            for row in csv.DictReader(file)
        ]


def chosen(what: str) -> list[Listed]:
    """The models that are asked for.

    Args:
      what: "names491"; or names by commas, of the table or of timm; or a file with a name a line.

    Raises:
      InputError: a name comes twice, or there is none.
    """
    every = table()
    if what == NAMES491:
        return every
    if os.path.isfile(what):  # a list of names is too long for a path, which this bears
        lines = Path(what).read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    else:
        names = what.split(",")
    if not names or not all(names):
        raise InputError(f"--models: {what!r} has an empty name; expected names by commas, a file.")
    repeated = first_repeated(names)
    if repeated is not None:
        raise InputError(f"--models: {repeated!r} comes twice; expected each model once.")
    rows = [find(name, every) for name in names]
    same = first_repeated([row.name for row in rows])
    if same is not None:
        both = [name for name, row in zip(names, rows, strict=True) if row.name == same]
        raise InputError(f"--models: {' and '.join(both)} are both {same}; expected one.")
    return rows


def find(name: str, every: Sequence[Listed]) -> Listed:
    """The row of a name of early 2022, or of a name and tag of today.

    Others are timm's own, or anybody's; those with the same network's name, before the dot, are of
    one family.
    """
    own = next((row for row in every if name in (row.name, row.timm)), None)
    return own or Listed(name, name, family=name.partition(".")[0])
