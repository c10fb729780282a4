"""BREEDS: does what a model lets one learn about some kinds of dog carry over to other dogs?

A linear classifier is fitted to a model's rows of ImageNet's training photographs of some classes,
the source, and names what broader kind of thing is in validation photographs of the same classes
and of others of the same kinds, the target (paper 002, 2.4, Fig. 4B).

Subsets are "entity13, source", "entity13, target" and so on; the metric "drop" of "entity13" is by
how much the accuracy on the target is lower. Of people, who were not asked, there are the arrays
"entity13/kinds", names of what is told apart, and "entity13/photographs", which tell whether two
runs used the same ones.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from alignet.data import breeds, imagenet
from alignet.data.labelled import Labelled, take
from alignet.errors import Absent
from evals import read_out
from evals.answers import PEOPLE, VISION, Answers, Headline, Question, Score
from evals.models import Model, Rows
from evals.options import Options
from evals.pages import breeds_page
from evals.pages.breeds_page import DROP, SPLITS
from evals.probes import linear
from evals.probes.linear import predict
from evals.statistics import intervals
from evals.statistics.intervals import Measured

L2 = 1e-3  # ours


class Examples(NamedTuple):
    """Attributes:
    places: rows of a set.
    kinds: what they show, 0..k−1.
    digest: of their ids and kinds.
    """

    places: Int[np.ndarray, " n"]
    kinds: Int[np.ndarray, " n"]
    digest: str


class Task(NamedTuple):
    """Attributes:
    names: of the kinds.
    train: photographs of the training set, of classes of the source.
    tests: by split, photographs of the validation set.
    """

    names: tuple[str, ...]
    train: Examples
    tests: Mapping[str, Examples]


class Data(NamedTuple):
    """Attributes:
    train, val: photographs of the classes that any task needs, of the two sets.
    tasks: by benchmark.
    files: of the classes' tree.
    fingerprints: of the two sets.
    """

    train: Labelled
    val: Labelled
    tasks: Mapping[str, Task]
    files: tuple[Path, ...]
    fingerprints: Mapping[str, str]


class _Some(NamedTuple):
    """Some rows of a matrix that is not in memory, as `Rows`."""

    rows: Rows
    places: Int[np.ndarray, " n"]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.places), self.rows.shape[1]

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.rows[self.places[part]]


########################################## Data ##########################################


def load(data_dir: Path, options: Options) -> Data:
    """Reads the tree of classes and ImageNet's labels.

    Raises:
      Absent: one of them is not there, or ImageNet lacks photographs of a class.
      InputError: a file is malformed.
    """
    tables = breeds.load(data_dir)
    both = [
        imagenet.open_split(split, data_dir, options.imagenet, options.cache)
        for split in ("train", "val")
    ]
    benchmarks = tables.benchmarks.values()
    sources = {wnid for b in benchmarks for classes in b.source for wnid in classes}
    targets = {wnid for b in benchmarks for classes in b.target for wnid in classes}
    train, val = (
        take(labelled, _of(labelled, wnids))
        for labelled, wnids in zip(both, (sources, sources | targets), strict=True)
    )
    tasks = {
        name: Task(
            benchmark.names,
            _examples(train, benchmark.source),
            {split: _examples(val, getattr(benchmark, split)) for split in SPLITS},
        )
        for name, benchmark in tables.benchmarks.items()
    }
    fingerprints = {labelled.name: labelled.fingerprint for labelled in both}
    return Data(train, val, tasks, (*tables.files, *train.files, *val.files), fingerprints)


def _of(labelled: Labelled, wnids: set[str]) -> Int[np.ndarray, " n"]:
    """Places of the photographs of some classes, all of which there have to be."""
    number = {wnid: label for label, wnid in enumerate(labelled.classes)}
    n = np.bincount(labelled.labels, minlength=len(number))
    for wnid in sorted(wnids):
        if wnid not in number or not n[number[wnid]]:
            raise Absent(
                f"{labelled.name}: has no photographs of {wnid}; expected some of each of "
                "ImageNet's classes."
            )
    return np.flatnonzero(np.isin(labelled.labels, [number[wnid] for wnid in wnids]))


def _examples(labelled: Labelled, classes: Sequence[Sequence[str]]) -> Examples:
    kind_of = {wnid: kind for kind, wnids in enumerate(classes) for wnid in wnids}
    of_label = np.array([kind_of.get(wnid, -1) for wnid in labelled.classes])
    kinds = of_label[labelled.labels]
    places = np.flatnonzero(kinds >= 0)
    digest = hashlib.sha256(json.dumps(labelled.ids[places].tolist()).encode())
    digest.update(kinds[places].astype("<i8"))
    return Examples(places, kinds[places], digest.hexdigest())


def people(data: Data, options: Options) -> Answers:
    """What is told apart, and how many photographs there are."""
    arrays = {}
    for name, task in data.tasks.items():
        arrays[f"{name}/kinds"] = np.array(task.names)
        examples = (task.train, *task.tests.values())
        arrays[f"{name}/photographs"] = np.array([some.digest for some in examples])
    counts = [
        f"{name}: {len(task.train.places):,} photographs to learn from; tested on "
        f"{len(task.tests['source'].places):,} of the same classes and "
        f"{len(task.tests['target'].places):,} of others."
        for name, task in data.tasks.items()
    ]
    return Answers([], arrays, counts)


########################################## Models ##########################################


def score(data: Data, model: Model, options: Options) -> Answers:
    """Fits a classifier to each benchmark's source, and tests it on the source and the target.

    Raises:
      Absent: the model lacks rows of the photographs.
      InputError: the rows are bad.
    """
    train, val = (
        model.lookup(labelled.name, labelled.ids, labelled.source)
        for labelled in (data.train, data.val)
    )
    scores, arrays, notes = [], {}, []
    for name, task in data.tasks.items():
        classifier, converged = read_out.fitted(
            _Some(train, task.train.places),
            task.train.kinds,
            n_classes=len(task.names),
            l2=L2,
            name=name,
            photographs={data.train.name: data.train.fingerprint, name: task.train.digest},
            model=model,
            options=options,
        )
        right = {
            split: predict(linear.scores_of(classifier, _Some(val, test.places))) == test.kinds
            for split, test in task.tests.items()
        }
        if not converged:
            notes.append(f"{name}: the linear read-out was not fitted to the end.")
        for split, correct in right.items():
            accuracy = intervals.proportion(int(correct.sum()), len(correct))
            scores.append(Score(f"{name}, {split}", "accuracy", accuracy))
            arrays[f"{name}, {split}/accuracy/correct"] = correct
        scores.append(Score(name, DROP, _difference(*right.values())))
    return Answers(scores, arrays, notes)


def _difference(source: Bool[np.ndarray, " n"], target: Bool[np.ndarray, " m"]) -> Measured:
    """By how much more is right of the source; the photographs are independent."""
    first, second = (intervals.mean(right.astype(np.float64)) for right in (source, target))
    value = first.value - second.value
    half = float(np.hypot(first.high - first.value, second.high - second.value))
    return Measured(value, value - half, value + half, first.n + second.n)


def headline(answers: Mapping[str, Answers]) -> list[Headline]:
    """Accuracies on the targets."""
    kinds = {name: answers[PEOPLE].arrays[f"{name}/kinds"] for name in breeds.RECIPES}
    return [
        Headline(f"{name}, target", "accuracy", f"{name}, target", chance=1 / len(names))
        for name, names in kinds.items()
    ]


QUESTION = Question(
    headline=headline,
    load=load,
    people=people,
    score=score,
    section=breeds_page.section,
    family=VISION,
)
