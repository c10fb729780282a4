"""ImageNet and the sets made after it: does a model still recognise things that look different?

One linear classifier is fitted to a model's rows of ImageNet's training set, and then names what is
in the photographs of other sets of the same classes: drawn, taken anew, chosen to be hard,
corrupted (paper 002, 2.4 and B.2.2, Figs. 4C and 13). Of ImageNet-A and -R, which have 200 of the
1,000 classes, only these are in the running; with the ReaL labels any of several classes is right.

Subsets are the sets, "imagenet" the validation set; "imagenet_real" is the same with ReaL labels;
"imagenet_c" is the mean over all 75 corrupted sets, "imagenet_c/fog" over the five severities of
one corruption, and "imagenet_c/fog_3" is one set. Where not all 75 are there, "imagenet_c, 10 of
75" is the mean of those, of models that have rows of all of them; its array ".../accuracy/credit"
has each photograph's share of right answers, in the order of the photographs' names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from alignet.data import imagenet
from alignet.data.imagenet_facts import ALEXNET_ERRORS, MASKS, WNIDS
from alignet.data.labelled import Labelled
from alignet.errors import Absent, InputError
from alignet.runtime import stages
from evals import read_out
from evals.answers import VISION, Answers, Headline, Question, Score
from evals.models import Model, Rows
from evals.options import Options
from evals.pages import ood_page
from evals.pages.ood_page import ACCURACY, IMAGENET, IMAGENET_C, MCE, REAL
from evals.probes import linear
from evals.probes.linear import predict
from evals.statistics import intervals

L2 = 1e-5  # ours


class Data(NamedTuple):
    """Attributes:
    train: what the classifier is fitted to.
    sets: by name, those that are there.
    real: the valid labels of the validation set, if they are there.
    files: of labels.
    fingerprints: by set.
    notes: what is not there.
    """

    train: Labelled
    sets: Mapping[str, Labelled]
    real: imagenet.Real | None
    files: tuple[Path, ...]
    fingerprints: Mapping[str, str]
    notes: tuple[str, ...]


########################################## Numbers ##########################################


def top1(
    scores: Float[np.ndarray, "n c"], classes: Int[np.ndarray, " k"] | None = None
) -> Int[np.ndarray, " n"]:
    """The class with the highest score, −1 where several share it.

    Args:
      scores: a column a class.
      classes: those in the running; None for all.
    """
    if classes is None:
        return predict(scores)
    best = predict(scores[:, classes])
    return np.where(best < 0, -1, classes[best])


def is_valid(best: Int[np.ndarray, " n"], valid: Int[np.ndarray, "n k"]) -> Bool[np.ndarray, " n"]:
    """Whether each answer is among its valid labels; −1 is none in both."""
    return ((best[:, None] == valid) & (valid >= 0)).any(axis=1)


def mce(
    errors: Mapping[str, float] | Mapping[str, Float[np.ndarray, " n"]],
) -> float | Float[np.ndarray, " n"]:
    """Mean corruption error (Hendrycks and Dietterich 2019) as a share: AlexNet's is 1.

    Args:
      errors: under each corruption, the mean of the severities; or of each photograph, when the
        mean of the result is that of all photographs.
    """
    relative = [errors[name] / alexnet for name, alexnet in ALEXNET_ERRORS.items()]
    return sum(relative) / len(relative)


########################################## Data ##########################################


def load(data_dir: Path, options: Options) -> Data:
    """Reads labels.

    Raises:
      Absent: the training set is not there, or nothing else is.
      InputError: a set is malformed.
    """
    train = imagenet.open_split("train", data_dir, options.imagenet, options.cache)
    sets, absent = {}, {}
    for name in (IMAGENET, *imagenet.VARIANTS):
        try:
            if name == IMAGENET:
                sets[name] = imagenet.open_split("val", data_dir, options.imagenet, options.cache)
            else:
                sets[name] = imagenet.variant(name, data_dir, options.cache)
        except Absent as reason:
            absent[name] = str(reason)
    if not sets:
        raise Absent(f"there is no set to try a classifier on; {absent[IMAGENET]}")
    _check(sets)
    real = None
    try:
        if IMAGENET in sets:
            real = imagenet.real_labels(sets[IMAGENET], data_dir)
    except Absent as reason:
        absent[REAL] = str(reason)
    fingerprints = {one.name: one.fingerprint for one in (train, *sets.values())}
    paths = [path for one in (train, *sets.values()) for path in one.files]
    if real:
        fingerprints[REAL] = real.fingerprint
    return Data(train, sets, real, tuple(paths), fingerprints, tuple(_notes(absent)))


def _check(sets: Mapping[str, Labelled]) -> None:
    for name, classes in MASKS.items():
        others = np.setdiff1d(sets[name].labels, classes) if name in sets else ()
        if len(others):
            raise InputError(
                f"{name}: has photographs of {WNIDS[others[0]]}; expected only the "
                f"{len(classes)} classes that this set is made of."
            )
    corrupted = [sets[name] for name in imagenet.CORRUPTED.values() if name in sets]
    for one in corrupted:
        if not np.array_equal(np.sort(one.ids), np.sort(corrupted[0].ids)):
            raise InputError(
                f"{one.name}: has other photographs than {corrupted[0].name}; expected the same "
                "photographs under every corruption."
            )


def _notes(absent: Mapping[str, str]) -> list[str]:
    """Why sets are absent; the same of many corruptions is one note."""
    corrupted = [name for name in absent if name in imagenet.CORRUPTED.values()]
    notes = [reason for name, reason in absent.items() if name not in corrupted]
    if corrupted:
        notes.append(
            f"{len(corrupted)} of {len(imagenet.CORRUPTED)} sets of ImageNet-C are not there; "
            f"{absent[corrupted[0]]}"
        )
    return notes


def people(data: Data, options: Options) -> Answers:
    """What is there, and what is not: nobody was asked.

    The array "photographs" tells whether two runs used the same ones.
    """
    used = {one.name: one.digest for one in (data.train, *data.sets.values())}
    if data.real:
        used[REAL] = data.real.valid.tolist()
    return Answers([], {"photographs": np.array(stages.config_hash(used))}, data.notes)


########################################## Models ##########################################


def score(data: Data, model: Model, options: Options) -> Answers:
    """Fits a classifier to a model's rows and tries it on every set of which it has rows.

    Raises:
      Absent: the model has no rows of the training set, or of nothing else.
      InputError: the rows are bad.
    """
    train = data.train
    rows = model.lookup(train.name, train.ids, train.source)
    classifier, converged = read_out.fitted(
        rows,
        train.labels,
        n_classes=len(train.classes),
        l2=L2,
        name=IMAGENET,
        photographs={train.name: train.fingerprint},
        model=model,
        options=options,
    )
    found, right, absent, clean = _Findings(), {}, {}, None
    if not converged:
        found.notes.append("The fit of the classifier was stopped before it had converged.")
    for name, photographs in data.sets.items():
        try:
            rows = model.lookup(photographs.name, photographs.ids, photographs.source)
            if name == IMAGENET:
                clean = rows
            elif clean is not None and name in imagenet.CORRUPTED.values():
                _check_corrupted(rows, photographs, clean, data.sets[IMAGENET], model)
        except Absent as reason:
            absent[name] = str(reason)
            continue
        best = top1(linear.scores_of(classifier, rows), MASKS.get(name))
        right[name] = best == photographs.labels
        found.add(name, right[name])
        if name == IMAGENET and data.real and (data.real.valid >= 0).any():
            known = (data.real.valid >= 0).any(axis=1)
            found.add(REAL, is_valid(best[known], data.real.valid[known]))
        if (best < 0).any():
            found.notes.append(
                f"{name}: {(best < 0).sum():,} photographs have no single most probable class, "
                "which counts as a wrong answer."
            )
    if not right:
        raise Absent(f"{model.path}: has rows of {train.name} only; {_notes(absent)[0]}")
    corrupted = {
        key: right[name][np.argsort(data.sets[name].ids)]
        for key, name in imagenet.CORRUPTED.items()
        if name in right
    }
    # A mean over other sets could not be compared with another model's.
    whole = not {*absent} & {*imagenet.CORRUPTED.values()}
    if corrupted and not whole:
        found.notes.append(
            "There is no mean over ImageNet-C: rows of some of its sets are missing."
        )
    found.add_means(corrupted, whole=whole)
    return Answers(found.scores, found.arrays, [*_notes(absent), *found.notes])


class _Findings:
    """Answers in the making."""

    def __init__(self) -> None:
        self.scores: list[Score] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.notes: list[str] = []

    def add(self, subset: str, right: Bool[np.ndarray, " n"]) -> None:
        """Adds the share of right answers."""
        accuracy = intervals.proportion(int(right.sum()), len(right))
        self.scores.append(Score(subset, ACCURACY, accuracy))
        self.arrays[f"{subset}/{ACCURACY}/correct"] = right

    def add_means(
        self, right: Mapping[tuple[str, int], Bool[np.ndarray, " n"]], *, whole: bool
    ) -> None:
        """Adds means over corrupted sets of the same photographs, which are the units.

        Args:
          right: by corruption and severity.
          whole: whether these are all sets that are there.
        """
        credit = {}
        for corruption in ALEXNET_ERRORS:
            sets = [right.get((corruption, severity)) for severity in imagenet.SEVERITIES]
            if all(one is not None for one in sets):
                credit[corruption] = np.mean(sets, axis=0)
                value = intervals.mean(credit[corruption])
                self.scores.append(Score(f"{IMAGENET_C}/{corruption}", ACCURACY, value))
        if not right or not whole:
            return
        every = len(right) == len(imagenet.CORRUPTED)
        subset = IMAGENET_C if every else f"{IMAGENET_C}, {len(right)} of {len(imagenet.CORRUPTED)}"
        mean = np.mean(list(right.values()), axis=0)
        self.scores.append(Score(subset, ACCURACY, intervals.mean(mean)))
        self.arrays[f"{subset}/{ACCURACY}/credit"] = mean
        if every:
            relative = mce({name: 1 - share for name, share in credit.items()})
            self.scores.append(Score(subset, MCE, intervals.mean(relative)))


def _check_corrupted(
    rows: Rows, photographs: Labelled, clean: Rows, originals: Labelled, model: Model
) -> None:
    """That rows are not those of the same photographs before they were corrupted."""
    place = np.flatnonzero(originals.ids == photographs.ids[0])
    if len(place) and np.array_equal(rows[0:1], clean[place[0] : place[0] + 1]):
        raise Absent(
            f"{model.path}: its rows of {photographs.name} are those of {originals.name}; expected "
            f"ids that begin with {photographs.name}/."
        )


def headline(answers: Mapping[str, Answers]) -> list[Headline]:
    """A column a set."""
    return [
        Headline(subset, ACCURACY, title, ood_page.chance(subset))
        for subset, title in ood_page.titles(answers).items()
    ]


QUESTION = Question(
    headline=headline,
    load=load,
    people=people,
    score=score,
    section=ood_page.section,
    family=VISION,
)
