"""Few-shot learning: how well does a model learn from a few labelled examples?

The model is frozen. On its embeddings of n images of each class ("n-shot") a simple read-out is
trained (`evals.probes`), and then tested on other images: those of the data set's test split (paper
002, 2.4 and B.2.1), or, where there is only one split, those of it that are no examples (paper 000,
section 4). All models learn from the same examples.

Subsets are data sets; "all" is their mean. The metric "accuracy, ridge, 1-shot" is the share of
test images whose class is named correctly, a mean over the draws of the examples. Its interval is
for other examples and other test images (`crossed`); of a single draw, for other test images only.
n is the number of test images. Where several classes have the highest score, that is wrong.
"accuracy, ridge λ=16, 1-shot" is by another regulariser; none is chosen by how it does on the test.

Arrays beside those that `Answers` names: "<subset>/<metric>/draws", float16 [draws, images], is 1
where the answer after that draw was right, 0 where wrong, NaN where the image was an example; of a
single draw, "…/correct" has the images that were tested. People's "<subset>/items" is a hash of the
examples, the test images and their classes: only answers to the same ones can be compared.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from alignet.data.fewshot_sets import FEWSHOT, open_fewshot, prepared
from alignet.data.images import first_repeated
from alignet.data.labelled import Labelled, take
from alignet.errors import Absent, InputError
from evals.answers import PEOPLE, VISION, Answers, Headline, Question, Score
from evals.models import Model, naming
from evals.options import Options
from evals.pages import fewshot_page
from evals.pages.fewshot_page import ALL, CHANCE, CLASSES, STRENGTH, metric
from evals.probes import draws, heads, logistic, ridge
from evals.statistics import crossed, intervals
from evals.statistics.intervals import Measured


class Task(NamedTuple):
    """A data set, and what is learnt from.

    Attributes:
      name: of the data set.
      examples: the images of all draws; all images where there is no test split.
      trains: for each number of shots, the rows of `examples` that each draw consists of.
      test: images to be tested; None for those of `examples` that a draw leaves.
      n_pool: of how many images the examples were drawn.
    """

    name: str
    examples: Labelled
    trains: Sequence[Int[np.ndarray, "r _"]]
    test: Labelled | None
    n_pool: int


class Data(NamedTuple):
    """Attributes:
    tasks: the data sets.
    files: of all of them, where they are small.
    fingerprints: of the data sets as they lie on disk, by name.
    """

    tasks: Sequence[Task]
    files: tuple[Path, ...]
    fingerprints: Mapping[str, str]


########################################## Data ##########################################


def load(data_dir: Path, options: Options) -> Data:
    """Opens the data sets and draws the examples.

    Raises:
      Absent: one of them is not there, or none is chosen and none of the paper's is there.
      InputError: one is malformed, or a class has too few images.
    """
    chosen = options.fewshot.data or [name for name in FEWSHOT if prepared(name)]
    if not chosen:
        raise Absent(
            f"none of {', '.join(FEWSHOT)} is prepared; expected one, by `tfds build NAME "
            "--file_format=array_record`, or other data with --fewshot_data."
        )
    opened = [open_fewshot(w, data_dir=data_dir, cache=options.cache) for w in chosen]
    repeated = first_repeated(name for name, _, _ in opened)
    if repeated is not None:
        raise InputError(
            f"--fewshot_data: two data sets are called {repeated!r}; expected different names: "
            "rename one, or leave one out."
        )
    parts = [part for _, pool, test in opened for part in (pool, test) if part is not None]
    return Data(
        [task(name, pool, test, options) for name, pool, test in opened],
        tuple(dict.fromkeys(path for part in parts for path in part.files)),
        {part.name: part.fingerprint for part in parts},
    )


def task(name: str, pool: Labelled, test: Labelled | None, options: Options) -> Task:
    """Draws the examples of a data set: from `pool`; without a test split, its rest is tested.

    Raises:
      InputError: a class has too few images.
    """
    _, shots, times, _ = options.fewshot
    with naming(name):
        # Where there is no test split, some of every class must be left.
        leave = 0 if test else 1
        trains = draws.draw(pool.labels, shots, times, options.seed, pool.classes, leave=leave)
    if test is None:
        return Task(name, pool, trains, None, len(pool.labels))
    # Only these are ever embedded.
    used = np.unique(np.concatenate([train.ravel() for train in trains]))
    examples = take(pool, used)
    trains = [np.searchsorted(used, train) for train in trains]
    return Task(name, examples, trains, test, len(pool.labels))


def people(data: Data, options: Options) -> Answers:
    """What is known of the data sets alone."""
    scores, arrays, notes = [], {}, []
    for name, examples, trains, test, n_pool in data.tasks:
        k = len(examples.classes)
        known = {CLASSES: k, CHANCE: 1 / k, "images to learn from": n_pool}
        if test is None:
            notes.append(
                f"{name} has no test split: the images of it that are not among the examples are "
                "tested."
            )
        else:
            known["test images"] = len(test.labels)
        scores += [
            Score(name, key, Measured(float(value), np.nan, np.nan, n_pool))
            for key, value in known.items()
        ]
        arrays[f"{name}/items"] = np.array(_digest(examples, trains, test))
    times = options.fewshot.draws
    notes.append(
        f"Examples were drawn {times} times, the same for all models; accuracies are means over "
        "the draws."
        if times > 1
        else "Examples were drawn once, the same for all models: intervals do not say what other "
        "examples would change."
    )
    return Answers(scores, arrays, notes)


def _digest(
    examples: Labelled, trains: Sequence[Int[np.ndarray, "r _"]], test: Labelled | None
) -> str:
    state = hashlib.sha256()
    for part in (examples, test):
        if part is not None:
            state.update(json.dumps([part.ids.tolist(), part.labels.tolist()]).encode())
    for train in trains:
        state.update(json.dumps(train.tolist()).encode())
    return state.hexdigest()


########################################## Models ##########################################


def score(data: Data, model: Model, options: Options) -> Answers:
    """One model on the data sets for which it has rows.

    Raises:
      Absent: it has none; or not those of a data set that was asked for by name.
      InputError: the rows are bad.
    """
    scores: list[Score] = []
    arrays: dict[str, np.ndarray] = {}
    notes: list[str] = []
    absent: list[Absent] = []
    for task in data.tasks:
        try:
            found = _score(task, model, options)
        except Absent as reason:
            if options.fewshot.data:
                raise
            absent.append(reason)
            continue
        scores += found.scores
        arrays |= found.arrays
        notes += found.notes
    if not scores:
        raise absent[0]
    notes += [str(reason).removeprefix(f"{model.path}: ") for reason in absent]
    if len(data.tasks) > 1 and not absent:
        scores += _means(scores)
    return Answers(scores, arrays, notes)


def _score(task: Task, model: Model, options: Options) -> Answers:
    rows = _rows(model, task.examples)
    test = task.test or task.examples
    tested_rows = rows
    if task.test is not None:
        tested_rows = _rows(model, test)
        _check_apart(model, task.examples, rows, test, tested_rows)
    scores, arrays, notes = [], {}, []
    for head in options.fewshot.heads:
        with naming(f"{model.path}, {task.name}"):
            read_out, remarks = _read_out(head, task, rows, tested_rows, options.seed)
        notes += [f"{task.name}, {remark}" for remark in remarks]
        for called, by_shots in read_out.items():
            for n, examples, predicted in zip(
                options.fewshot.shots, task.trains, by_shots, strict=True
            ):
                name = metric(called, n)
                tested = np.ones(predicted.shape, bool)
                if task.test is None:
                    np.put_along_axis(tested, examples, False, axis=1)
                value, kind, array = _accuracy(predicted == test.labels, tested)
                scores.append(Score(task.name, name, value))
                if called != head:  # other regularisers, which models are not compared by
                    continue
                arrays[f"{task.name}/{name}/{kind}"] = array
                tied = int((predicted < 0)[tested].sum())
                if tied:
                    notes.append(
                        f"{task.name}, {head}, {n}-shot: {tied:,} of {int(tested.sum()):,} answers "
                        "are ties between classes, which counts as wrong."
                    )
    return Answers(scores, arrays, notes)


def _rows(model: Model, images: Labelled) -> Float[np.ndarray, "n p"]:
    return model.rows(images.name, images.ids, images.source)


def _check_apart(
    model: Model,
    examples: Labelled,
    rows: Float[np.ndarray, "n p"],
    test: Labelled,
    tested: Float[np.ndarray, "m p"],
) -> None:
    """That rows of one split are not those of the other, in which pictures are called the same."""
    _, one, other = np.intersect1d(examples.ids, test.ids, return_indices=True)
    if len(one) and np.array_equal(rows[one], tested[other]):
        raise Absent(
            f"{model.path}: its rows of {test.name} are those of {examples.name}; expected ids "
            f"that begin with {test.name}/ and {examples.name}/."
        )


def _read_out(
    head: str,
    task: Task,
    rows: Float[np.ndarray, "n p"],
    tested: Float[np.ndarray, "m p"],
    seed: int,
) -> tuple[dict[str, Sequence[Int[np.ndarray, "r m"]]], list[str]]:
    """Classes by read-out and number of shots, and what is to be said of them."""
    given = (rows, task.examples.labels, tested, task.trains)
    k = len(task.examples.classes)
    if head == "ridge":
        found = ridge.classify(*given, n_classes=k, l2s=ridge.L2S)
        by_l2 = {l2: [one[place] for one in found] for place, l2 in enumerate(ridge.L2S)}
        others = {f"ridge{STRENGTH}{l2:g}": classes for l2, classes in by_l2.items()}
        return {"ridge": by_l2[ridge.L2]} | others, []
    if head == "logistic":
        found, converged = logistic.classify(*given, n_classes=k)
        failed = sum(int((~fits).sum()) for fits in converged)
        remark = f"logistic: {failed} of {sum(map(len, converged))} fits did not converge."
        return {head: found}, [remark] * (failed > 0)
    layers = {"linear": 1, "mlp": 2}[head]
    return {head: heads.classify(*given, n_classes=k, layers=layers, seed=seed)}, []


def _accuracy(
    correct: Bool[np.ndarray, "r m"], tested: Bool[np.ndarray, "r m"]
) -> tuple[Measured, str, np.ndarray]:
    """The accuracy over all draws, and the array that models are compared by, with its name."""
    if len(correct) == 1:
        right = correct[tested]
        return intervals.proportion(int(right.sum()), len(right)), "correct", right
    values = np.where(tested, correct, np.nan).astype(np.float16)
    return _share(crossed.mean(values).measured), "draws", values


def _means(scores: Sequence[Score]) -> list[Score]:
    """The mean over data sets, whose errors are independent, of every metric."""
    result = []
    for name in dict.fromkeys(score.metric for score in scores):
        values = [score.value for score in scores if score.metric == name]
        result.append(Score(ALL, name, _share(intervals.mean_of_independent(values))))
    return result


def _share(measured: Measured) -> Measured:
    """Of a share, which is nowhere below 0 or above 1."""
    value, low, high, n = measured
    return Measured(value, max(low, 0.0), min(high, 1.0), n)


def headline(answers: Mapping[str, Answers]) -> list[Headline]:
    """The accuracy on each data set from each number of examples, by the first read-out."""
    names, shots = fewshot_page.measured(answers)
    return [
        Headline(score.subset, metric(names[0], n), f"{score.subset}, {n}-shot", score.value.value)
        for score in answers[PEOPLE].scores
        if score.metric == CHANCE
        for n in shots
    ]


QUESTION = Question(
    headline=headline,
    load=load,
    people=people,
    score=score,
    section=fewshot_page.section,
    family=VISION,
)
