"""timm's own results on ImageNet and its variants: a folder of CSVs, of early 2022 or later.

Until 2022 a row is called as the model was, later after the model and the tag of its weights, and
from 2024 on a model may have several rows, for several sizes of image. The row taken is that of the
weights and the size of early 2022 where there is one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from alignet.errors import Absent, InputError
from evals.timm_study.models import Listed, table

FILES = {
    "imagenet": "results-imagenet.csv",
    "real": "results-imagenet-real.csv",
    "a": "results-imagenet-a.csv",
    "r": "results-imagenet-r.csv",
    "sketch": "results-sketch.csv",
    "v2": "results-imagenetv2-matched-frequency.csv",
}
# The last is of use only; without it a property is missing, but not the study's.
OPTIONAL = ("v2",)
ACCURACIES = ("top1", "top5")
COLUMNS = ("model", "img_size", *ACCURACIES)


class Results(NamedTuple):
    """What timm's results say of the models.

    Attributes:
      table: a row a model, in %: "imagenet top1", "imagenet top5", "real top1", …, and "real gain",
        top-1 by the labels of ReaL less that by the original ones; NaN where there is no row.
      files: that were read.
      notes: what is missing or was measured otherwise.
    """

    table: pd.DataFrame
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def load(folder: str | Path, models: Sequence[Listed]) -> Results:
    """Reads a snapshot of timm's `results/`.

    Args:
      folder: has the `FILES`.
      models: whose rows are wanted.

    Raises:
      Absent: there is no such folder.
      InputError: a file is missing, lacks a column, has a model twice, an accuracy that is none, or
        no model of the study's table.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise Absent(f"{folder}: no such folder; expected timm's results, {FILES['imagenet']} ….")
    known = {name for row in table() for name in (row.name, row.timm)}
    columns, files, notes, lacking, resized = {}, [], [], {}, {}
    for variant, file in FILES.items():
        path = folder / file
        if variant in OPTIONAL and not path.exists():
            notes.append(f"{path.name} is not there: nothing is said of it.")
            continue
        rows = _read(path)
        found, missing, others = _of(rows, models)
        if not found and not rows["model"].isin(known).any():
            raise InputError(
                f"{path}: has no model of the study; expected timm's names, such as vgg11 or "
                "vgg11.tv_in1k."
            )
        files.append(path)
        for column in ACCURACIES:
            columns[f"{variant} {column}"] = {name: row[column] for name, row in found.items()}
        lacking.setdefault(missing, []).append(path.name)
        resized.setdefault(others, []).append(path.name)
    notes += [f"{', '.join(at)}: without {_some(names)}." for names, at in lacking.items() if names]
    notes += [
        f"{', '.join(at)}: another image size than in January 2022 for {_some(names)}."
        for names, at in resized.items()
        if names
    ]
    found = pd.DataFrame(columns, index=[row.name for row in models], dtype=np.float64)
    found["real gain"] = found["real top1"] - found["imagenet top1"]
    return Results(found, tuple(files), tuple(notes))


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; expected timm's results, with {', '.join(COLUMNS)}."
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError):
        raise InputError(f"{path}: not a whole CSV; expected {', '.join(COLUMNS)}.") from None
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        there = ", ".join(map(str, table.columns[:6]))
        raise InputError(
            f"{path}: has no column {' or '.join(missing)}, but {there} …; expected "
            f"{', '.join(COLUMNS)}."
        )
    table = table[list(COLUMNS)]
    for column in COLUMNS[1:]:
        values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
        most = np.inf if column == "img_size" else 100
        bad = np.flatnonzero(~((values >= 0) & (values <= most)))
        if len(bad):
            row = bad[0]
            raise InputError(
                f"{path}: {column} of {table['model'][row]} (line {row + 2}) is "
                f"{table[column][row]!r}; expected "
                f"{'pixels' if column == 'img_size' else 'a number from 0 to 100'}."
            )
        table[column] = values
    over = np.flatnonzero(table["top1"] > table["top5"])
    if len(over):
        row = over[0]
        raise InputError(
            f"{path}: of {table['model'][row]} (line {row + 2}), top1 is {table['top1'][row]:g} "
            f"and top5 {table['top5'][row]:g}; expected top5 to be no less."
        )
    again = np.flatnonzero(table.duplicated(["model", "img_size"]))
    if len(again):
        row = again[0]
        raise InputError(
            f"{path}: {table['model'][row]} at {table['img_size'][row]:g} pixels comes twice, the "
            f"second time on line {row + 2}; expected each model once a size."
        )
    return table


def _of(
    table: pd.DataFrame, models: Sequence[Listed]
) -> tuple[dict[str, pd.Series], tuple[str, ...], tuple[str, ...]]:
    """The models' rows, those without, and those only measured at another size."""
    by_name = {name: rows for name, rows in table.groupby("model")}
    found, missing, others = {}, [], []
    for model in models:
        # A bare name stands for other weights where the tag has a row.
        rows = next((by_name[n] for n in (model.timm, model.name) if n in by_name), None)
        if rows is None:
            missing.append(model.name)
            continue
        size = model.img_size or rows["img_size"].max()
        found[model.name] = row = rows.loc[(rows["img_size"] - size).abs().idxmin()]
        if row["img_size"] != size:
            others.append(model.name)
    return found, tuple(missing), tuple(others)


def _some(names: Sequence[str], shown: int = 4) -> str:
    more = len(names) - shown
    listed = ", ".join(names[:shown])
    return f"{len(names)} of the models: {listed}" + (f" and {more} more" if more > 0 else "")
