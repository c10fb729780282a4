"""What is known of every model, in one table: results, alignment, few-shot learning.

A model is called as in early 2022 (see `models`), whatever today's name its embeddings have. What
is not known stays empty: with no embeddings, a model's row has timm's results only.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from alignet.data import judgments
from alignet.data.embeddings import few
from alignet.errors import Absent, InputError
from evals.options import FewShot
from evals.statistics.intervals import Measured
from evals.timm_study import alignment, labels, learning, models, paper, results, tables
from evals.timm_study.alignment import MEAN, METRICS
from evals.timm_study.models import Listed
from evals.timm_study.tables import IMAGENET, REAL_GAIN, TOP1, Conditions, Property

COVARIATES = ("top1", "pretraining")
LINEAR_PROBE = "logistic"
# Of a data set: what is meant by few-shot learning where no number of examples is named (000, 4.1).
ON_AVERAGE = "mean over heads and shots"


class Options(NamedTuple):
    """Attributes:
    embeddings: a folder with a folder or an `.npz` a model; None for results alone.
    human: the folder of Peterson et al.'s sets; None for no alignment.
    timm_results: a snapshot of timm's results; None for none.
    models: what `models.chosen` takes.
    similarity: of embeddings: "cosine" or "dot".
    covariates: some of `COVARIATES`.
    fewshot: examples, draws and heads; `data` are labels for embeddings that have none.
    data_dir: where `fewshot.data` is looked for.
    seed: of examples and resamples.
    resamples: of families.
    processes: at a time.
    cache: for finished few-shot runs.
    """

    embeddings: Path | None
    human: Path | None
    timm_results: Path | None
    models: str
    similarity: str
    covariates: tuple[str, ...]
    fewshot: FewShot
    data_dir: Path
    seed: int
    resamples: int
    processes: int
    cache: Path


class Study(NamedTuple):
    """Attributes:
    models: all, in the order of the table.
    table: a row a model, accuracies in %; see `tables`.
    aligned: alignment by model, set (and their mean) and metric.
    learned: accuracy (a share) by column of the table and model.
    sets: people's sets that alignment is the mean of.
    labelled: the data sets of few-shot learning.
    conditions: what relations are looked at given, see `tables`: nothing, ImageNet top-1, and the
      covariates that were asked for, as far as they are known.
    given: the last of them, which claims are judged by.
    notes: what is missing, or was done otherwise.
    embedded: how many models have embeddings.
    files: of the results and of people's judgments.
    fewshot: as of the options.
    """

    models: Sequence[Listed]
    table: pd.DataFrame
    aligned: dict[str, dict[str, dict[str, Measured]]]
    learned: dict[str, dict[str, Measured]]
    sets: Sequence[str]
    labelled: Sequence[str]
    conditions: Conditions
    given: str
    notes: list[str]
    embedded: int
    files: tuple[Path, ...]
    fewshot: FewShot

    @property
    def families(self) -> list[str]:
        """Of the models."""
        return [model.family for model in self.models]

    @property
    def condition(self) -> str:
        """What claims are judged given, for captions."""
        return f"given {self.given}" if self.given else "nothing else given"

    @property
    def main_set(self) -> str:
        """CIFAR-100, of which the paper shows most, or else the first labelled set, or ""."""
        first = next(iter(paper.WITH_IMAGENET_1_SHOT))
        named = [name for name in self.labelled if name.startswith(first)]
        return (named or [*self.labelled] or [""])[0]

    @property
    def linear_probe(self) -> str:
        """The head of which the paper shows most, or else the first."""
        heads = self.fewshot.heads
        return LINEAR_PROBE if LINEAR_PROBE in heads else heads[0]

    @property
    def average(self) -> str:
        """The column of few-shot learning on the main set, whatever the head and number; or ""."""
        return f"{self.main_set}, {ON_AVERAGE}" if self.main_set else ""

    @property
    def headline(self) -> list[Property]:
        """What shapes and robustness are shown of; everything is in the CSVs."""
        found = [p for p in tables.RESULTS if p.column.endswith("top1")]
        shots = min(self.fewshot.shots)
        found += [
            Property(f"{name}, {self.linear_probe}, {shots}-shot", f"{name}, {shots}-shot")
            for name in self.labelled
        ]
        found += [tables.GAIN, tables.TOP1]
        return [p for p in found if p.column in self.table and self.table[p.column].notna().any()]

    def learning(self, *, averages: bool = False) -> list[Property]:
        """The columns of few-shot learning; of the averages, or of all else."""
        return [
            Property(column, column)
            for column in self.learned
            if column.endswith(ON_AVERAGE) == averages
        ]


def collect(options: Options) -> Study:
    """Reads and measures all there is.

    Raises:
      InputError: something that was given is bad, or nothing was.
    """
    listed = models.chosen(options.models)
    embedded = _embedded(options.embeddings, listed)
    if options.models == models.NAMES491:
        listed += [row for row in embedded if row not in listed]
    if options.timm_results is None:
        listed = [row for row in listed if row in embedded]
    if not listed:
        raise InputError("no models: expected --embeddings, or --timm_results, or both.")
    own = {row.name: path for row, path in embedded.items() if row in listed}
    notes = _missing(own, listed, embedded)

    table, read = pd.DataFrame(index=[row.name for row in listed]), ()
    if options.timm_results is None:
        notes.append("No results of timm were given: there is no accuracy on ImageNet.")
        table = table.assign(**{IMAGENET: np.nan, REAL_GAIN: np.nan})
    else:
        known = results.load(options.timm_results, listed)
        table, read, notes = known.table, known.files, notes + list(known.notes)
    aligned, sets, judged = _align(options, own, notes)
    for metric in METRICS:
        table[metric] = pd.Series(
            {name: one[MEAN][metric].value for name, one in aligned.items() if MEAN in one},
            dtype=np.float64,
        )
    learned, labelled = _learn(options, own, notes)
    for column, values in learned.items():
        table[column] = pd.Series({name: 100 * value.value for name, value in values.items()})
    conditions = _conditions(options.covariates, table, listed)
    given = [*conditions][-1]
    return Study(
        listed,
        table,
        aligned,
        learned,
        sets,
        labelled,
        conditions,
        given,
        notes,
        len(own),
        (*read, *judged),
        options.fewshot,
    )


def _embedded(folder: Path | None, listed: Sequence[Listed]) -> dict[Listed, Path]:
    """The models that have embeddings, and where."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a folder or an .npz a model in it.")
    every = [*listed, *(row for row in models.table() if row not in listed)]
    found: dict[Listed, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not _is_model(path):
            continue
        row = models.find(path.name if path.is_dir() else path.stem, every)
        if row in found:
            raise InputError(
                f"{folder}: {found[row].name} and {path.name} are both {row.name}; expected one."
            )
        found[row] = path
    if not found:
        raise InputError(
            f"{folder}: has no folder with .npz files and no .npz; expected one a model."
        )
    return found


def _is_model(path: Path) -> bool:
    return any(path.rglob("*.npz")) if path.is_dir() else path.suffix == ".npz"


def _missing(
    own: Mapping[str, Path], listed: Sequence[Listed], embedded: Mapping[Listed, Path]
) -> list[str]:
    notes = []
    without = [row.name for row in listed if row.name not in own]
    if own and without:
        notes.append(
            f"{len(without)} of {len(listed)} models have no embeddings, and results only: "
            f"{few(without, 4)}."
        )
    if not own:
        notes.append("No model has embeddings: nothing is said of alignment and few-shot learning.")
    unasked = [row.name for row in embedded if row.name not in own]
    if unasked:
        notes.append(
            f"{len(unasked)} models with embeddings are not among those asked for: "
            f"{few(unasked, 4)}."
        )
    return notes


def _align(
    options: Options, own: Mapping[str, Path], notes: list[str]
) -> tuple[dict[str, dict[str, dict[str, Measured]]], list[str], list[Path]]:
    """Alignment by model, set and metric, the sets of the means, and the files of judgments."""
    if options.human is None or not own:
        if own:
            notes.append("No judgments were given with --human: nothing is said of alignment.")
        return {}, [], []
    sets = judgments.read_peterson(options.human)
    aligned, used, remarks = alignment.align_all(own, sets, similarity=options.similarity)
    notes += remarks
    missing = [name for name in judgments.COARSE + judgments.FINE if f"peterson/{name}" not in used]
    if used and missing:
        notes.append(
            f"Alignment is the mean over {len(used)} sets of Peterson et al.; the paper has "
            f"{', '.join(missing)} too."
        )
    read = dict.fromkeys(path for one in sets if one.name in used for path in one.files)
    return aligned, used, [*read]


def _learn(
    options: Options, own: Mapping[str, Path], notes: list[str]
) -> tuple[dict[str, dict[str, Measured]], list[str]]:
    """Accuracies by column and model, and the data sets."""
    if not own:
        return {}, []
    sets = labels.labelled_sets([*own.values()])
    sets += labels.given_sets(options.fewshot.data, options.data_dir)
    if not sets:
        notes.append(
            "No embeddings have labels, and --fewshot_data gives none: nothing is said of few-shot "
            "learning."
        )
        return {}, []
    found, remarks = learning.accuracies(
        own,
        sets,
        options.fewshot,
        seed=options.seed,
        cache=options.cache,
        processes=options.processes,
    )
    notes += remarks
    learned: dict[str, dict[str, Measured]] = {}
    for one in sets:
        averages: dict[str, list[Measured]] = {}
        for head in options.fewshot.heads:
            for shots in options.fewshot.shots:
                column = f"{one.name}, {head}, {shots}-shot"
                values = {
                    name: found[name, one.name][head, shots]
                    for name in own
                    if (name, one.name) in found
                }
                learned[column] = values
                for name, value in values.items():
                    averages.setdefault(name, []).append(value)
        learned[f"{one.name}, {ON_AVERAGE}"] = {
            # The same images: no interval follows from those of the parts.
            name: Measured(float(np.mean([v.value for v in each])), np.nan, np.nan, each[0].n)
            for name, each in averages.items()
        }
    return learned, [one.name for one in sets]


def _conditions(
    names: Sequence[str], table: pd.DataFrame, listed: Sequence[Listed]
) -> dict[str, np.ndarray]:
    top1 = table[[IMAGENET]].to_numpy()
    data = [row.pretraining for row in listed]
    known = np.array([bool(kind) for kind in data])
    # ImageNet-1k alone is what the others are compared with.
    kinds = sorted({*data} - {"", "in1k"})
    is_kind = np.array([[one == kind for kind in kinds] for one in data]).reshape(len(data), -1)
    columns = {"top1": top1, "pretraining": np.where(known[:, None], is_kind, np.nan)}
    called = {"top1": TOP1.label, "pretraining": "pretraining data"}
    # A covariate that no model has would leave none.
    there = {"top1": np.isfinite(top1).any(), "pretraining": known.any()}
    found = {"": np.empty((len(table), 0))}
    for chosen in (("top1",), tuple(names)):
        chosen = [name for name in chosen if there[name]]
        if chosen:
            given = " and ".join(called[name] for name in chosen)
            found[given] = np.column_stack([columns[name] for name in chosen])
    return found


def check(options: Options) -> None:
    """That what is given is there, before anything lasts long.

    Raises:
      Absent: a folder is not there.
    """
    for name in ("embeddings", "human", "timm_results"):
        path = getattr(options, name)
        if path is not None and not path.is_dir():
            raise Absent(f"--{name}: {path}: no such folder.")
