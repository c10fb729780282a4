"""Scores of `configs/photographs.py`: the student and the teacher in every setting.

A setting is scored once, or once a split where it was fitted or trained for each. People's and
VICE's choices are those between concepts that a split holds out, so that each split asks about
others; photographs that people judged alike, and CIFAR-100, are the same for all.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_collections
import numpy as np
from jaxtyping import Float, Int

from alignet import embed, human_side
from alignet.data import things_choices, things_photographs
from alignet.data.embeddings import load_embeddings
from alignet.data.labelled import open_labelled
from alignet.data.things_photographs import class_of
from alignet.errors import InputError
from alignet.recipes import concepts as held_out
from alignet.recipes import photographs
from alignet.runtime import files, stages
from alignet.transform import Transform, save_transform
from evals import models, networks, runs, scoring
from evals.models import Model, naming
from evals.options import FewShot, Options
from evals.pages import judgments_page
from evals.probes import draws
from evals.recipes.photographs_tests import (
    CIFAR,
    HEAD,
    Test,
    answers,
    choice_test,
    cifar_test,
    judged_test,
)
from evals.runs import Run
from evals.statistics import trainings
from evals.statistics.intervals import Measured

# Settings, as papers and tables call them; VICE is people's own measure of the same concepts.
ORIGINAL, CENTRED = "original", "mean subtracted"
DISTILLATION, UD, ALIGNET, VICE = "distillation", "UD", "AligNet", "VICE"
# Students of the aligned teacher by the triplets that were drawn, or by all in a batch, too.
SAMPLED, DENSE = "drawn triplets", "all triplets"
SAMPLED_SHORT, DENSE_SHORT = f"{SAMPLED}, short", f"{DENSE}, short"
PEOPLE_CHOOSE, VICE_CHOOSES = "people's choices", "VICE's choices"
# Eval, subset and what it is called here.
JUDGED = (
    ("peterson", "animals", "Peterson animals"),
    ("peterson", "fruits", "Peterson fruits"),
    ("kriegeskorte92", "all", "92 photographs"),
)


class Subject(NamedTuple):
    """A network in a setting.

    Attributes:
      name: of the folder of its run.
      seen: has rows of the concepts' photographs.
      network: the same, for photographs that are yet to be embedded.
      inputs: what both depend on.
    """

    name: str
    seen: Model
    network: Model
    inputs: Mapping[str, Path]


class Scores(NamedTuple):
    """Attributes:
    settings: in order.
    repeated: those that were fitted or trained for each split.
    tests: in order.
    """

    settings: Sequence[str]
    repeated: frozenset[str]
    tests: Sequence[Test]

    def score(self, test: Test, setting: str) -> tuple[Measured, list[Measured]]:
        """The mean over splits, and each split's own number."""
        overall, each = self._weighed(test, {setting: 1})
        return _share(overall, test), [_share(one, test) for one in each]

    def difference(self, test: Test, first: str, second: str) -> tuple[Measured, list[Measured]]:
        """The same of first − second, item by item and split by split."""
        return self._weighed(test, {first: 1, second: -1})

    def _weighed(self, test: Test, weights: Mapping[str, int]) -> tuple[Measured, list[Measured]]:
        splits = [
            sum(weight * part for weight, part in zip(weights.values(), parts, strict=True))
            for parts in zip(*(test.units[name] for name in weights), strict=True)
        ]
        each = [test.of_split(part, place) for place, part in enumerate(splits)]
        overall = test.of_all(splits)
        if self.repeated & {*weights}:
            overall = trainings.mean(overall, each, same_items=test.same_items)
        return overall, each


def _share(measured: Measured, test: Test) -> Measured:
    if not test.percent:
        return measured
    return measured._replace(low=max(0.0, measured.low), high=min(1.0, measured.high))


def student(config: ml_collections.ConfigDict, workdir: Path) -> Scores:
    """Scores the student in all settings, on the splits that students were trained for."""
    original = workdir / "student.npz"
    splits = [workdir / f"split{i}" for i in range(config.n_students)]
    subjects = {
        ORIGINAL: [_student(workdir, original)],
        CENTRED: [_student(workdir, workdir / "student_centred.npz")],
        DISTILLATION: _trained(config, workdir, photographs.DISTILLED),
        UD: [_student(workdir, original, split / "ud_student.npz") for split in splits],
        ALIGNET: _trained(config, workdir, photographs.ALIGNED),
    }
    return _score(config, workdir, subjects, config.splits[: config.n_students])


def dense(config: ml_collections.ConfigDict, workdir: Path) -> Scores:
    """Scores students by drawn and by all triplets, after all steps and after few."""
    names = {
        SAMPLED_SHORT: photographs.ALIGNED_SHORT,
        DENSE_SHORT: photographs.DENSE_SHORT,
        SAMPLED: photographs.ALIGNED,
        DENSE: photographs.DENSE,
    }
    subjects = {setting: _trained(config, workdir, name) for setting, name in names.items()}
    start = {CENTRED: [_student(workdir, workdir / "student_centred.npz")]}
    return _score(config, workdir, start | subjects, config.splits[: config.n_students])


def _trained(config: ml_collections.ConfigDict, workdir: Path, name: str) -> list[Subject]:
    splits = range(config.n_students)
    return [_student(workdir, workdir / f"split{i}" / f"{name}.npz") for i in splits]


def _student(workdir: Path, weights: Path, ud: Path | None = None) -> Subject:
    # Those of different splits have the same name.
    cache = workdir / "evals" / "embeddings" / weights.parent.relative_to(workdir)
    network = networks.from_checkpoint(weights, cache=cache, transform=ud)
    inputs = {"weights": weights} | ({"ud": ud} if ud else {})
    name = (ud or weights).relative_to(workdir).with_suffix("").as_posix()
    return Subject(name, network, network, inputs)


def teacher(config: ml_collections.ConfigDict, workdir: Path) -> Scores:
    """Scores the teacher before and after UD, on all splits."""
    seen = workdir / "embeddings" / f"{held_out.LABELLED}.npz"
    weights = Path(config.teacher.weights)

    def centre(out: Path, _: Path) -> None:
        mean = load_embeddings(seen).matrix.mean(axis=0, dtype=np.float64)
        save_transform(out, Transform(np.array(0.0), np.array(1.0), np.eye(len(mean)), -mean))

    def subject(name: str, transform: Path | None) -> Subject:
        network = networks.from_zoo(
            config.teacher.name,
            weights,
            **embed.layer_and_size(config.teacher),
            cache=workdir / "evals" / "embeddings",
            transform=transform,
        )
        [own] = models.from_embeddings(seen, transform=transform)
        inputs = {"weights": weights} | ({"transform": transform} if transform else {})
        return Subject(name, own, network, inputs)

    centred = workdir / "evals" / "teacher_centring.npz"
    stages.run(centred, centre, config={}, inputs={"embeddings": seen})
    uds = [f"split{i}/ud_teacher" for i in range(len(config.splits))]
    subjects = {
        ORIGINAL: [subject("teacher", None)],
        CENTRED: [subject("teacher_centred", centred)],
        UD: [subject(name, workdir / f"{name}.npz") for name in uds],
    }
    return _score(config, workdir, subjects, config.splits)


def _score(
    config: ml_collections.ConfigDict,
    workdir: Path,
    subjects: Mapping[str, Sequence[Subject]],
    splits: Sequence[Sequence[int]],
) -> Scores:
    def of_splits(scored: Mapping[str, Sequence]) -> dict[str, list]:
        # What is the same for all splits, for each of them.
        return {
            name: [*own] if len(own) > 1 else [*own] * len(splits) for name, own in scored.items()
        }

    data_dir = human_side.data_dir(config)
    names, groups, vice = held_out.load_concepts(workdir / "concepts.npz")
    of = held_out.classes_of(workdir / "concepts.npz", data_dir)
    rows = {
        setting: [_concept_rows(one, of, data_dir) for one in own]
        for setting, own in subjects.items()
    }
    hidden = [np.flatnonzero(np.isin(groups, split)) for split in splits]
    people = people_choose(data_dir, names, hidden)
    theirs = vice_chooses(config, vice, hidden)
    tests = [
        choice_test(PEOPLE_CHOOSE, *people, of_splits(rows | {VICE: [vice]})),
        choice_test(VICE_CHOOSES, *theirs, of_splits(rows)),
    ]
    cifar = _some_of_cifar(config.cifar, workdir, data_dir)
    asked = {
        setting: [_run(config, one, workdir, data_dir, cifar) for one in own]
        for setting, own in subjects.items()
    }
    if all(run is not None for own in asked.values() for run in own):
        tests += _asked_tests(config, of_splits(asked))
    repeated = frozenset(setting for setting, own in subjects.items() if len(own) > 1)
    return Scores([*subjects, VICE], repeated, tests)


########################################## Choices ##########################################


def _concept_rows(
    subject: Subject, of: Mapping[str, tuple[str, ...]], data_dir: Path
) -> Float[np.ndarray, "n p"]:
    classes = {name for names in of.values() for name in names}
    folder = data_dir / things_photographs.FOLDER
    found = subject.seen.find(folder, lambda name: class_of(name) in classes)
    rows = things_photographs.concept_rows(of, found)
    if len(rows.ids) < len(of):
        absent = next(name for name in of if name not in {*rows.ids.tolist()})
        raise InputError(
            f"{subject.seen.path}: no photographs of {absent}; expected some in {folder}."
        )
    return rows.matrix


def people_choose(
    data_dir: Path, names: np.ndarray, hidden: Sequence[Int[np.ndarray, " _"]]
) -> tuple[Int[np.ndarray, "m 3"], list[Int[np.ndarray, " _"]]]:
    """People's choices between concepts, and which of them each split holds out."""
    choices = things_choices.load(data_dir)
    if choices.ids is None:
        raise InputError(
            f"{data_dir / 'things'}: objects have no names; expected unique_id.txt and sortindex."
        )
    number = {name: place for place, name in enumerate(choices.ids.tolist())}
    objects = np.array([number[name] for name in names.tolist()])
    triplets = things_photographs.choices_among(choices.triplets, objects)
    asked = [np.flatnonzero(np.isin(triplets, concepts).all(axis=1)) for concepts in hidden]
    for place, rows in enumerate(asked):
        if not len(rows):
            raise InputError(
                f"{choices.files[0]}: nobody chose between concepts that split {place} holds out; "
                "expected some choices: hold out more concepts, or get more choices."
            )
    return triplets, asked


def vice_chooses(
    config: ml_collections.ConfigDict, vice: np.ndarray, hidden: Sequence[Int[np.ndarray, " _"]]
) -> tuple[Int[np.ndarray, "m 3"], list[Int[np.ndarray, " _"]]]:
    """The same of VICE, which is asked about triplets drawn at random."""
    n = config.n_vice_triplets
    parts = [
        concepts[photographs.soft_answers(vice[concepts], n, config.seed + place)[0]]
        for place, concepts in enumerate(hidden)
    ]
    ends = np.cumsum([len(part) for part in parts])
    asked = [np.arange(end - len(part), end) for end, part in zip(ends, parts, strict=True)]
    return np.concatenate(parts), asked


########################################## Photographs ##########################################


def _some_of_cifar(config: ml_collections.ConfigDict, workdir: Path, data_dir: Path) -> Path | None:
    """So many photographs of each class; None if there is no CIFAR-100."""
    path = data_dir / config.path
    if not path.is_file():
        return None

    def step(out: Path, _: Path) -> None:
        found = open_labelled(path)
        with naming(path):
            [chosen] = draws.draw(
                found.labels, [config.images_per_class], 1, config.seed, found.classes
            )
        rows = np.sort(chosen[0])
        [images] = files.read_npz(path, ["images"], expected="expected images")
        classes = np.array(found.classes, np.str_)
        one = {"ids": found.ids[rows], "images": images[rows], "labels": found.labels[rows]}
        files.write_npz(out, **one, classes=classes)

    settings = {"n": config.images_per_class, "seed": config.seed}
    out = workdir / "evals" / f"{CIFAR}.npz"
    return stages.run(out, step, config=settings, inputs={"photographs": path})


def _run(
    config: ml_collections.ConfigDict,
    subject: Subject,
    workdir: Path,
    data_dir: Path,
    cifar: Path | None,
) -> Run | None:
    """A finished run of `python -m evals`; None if there are no data."""
    judged = dict.fromkeys(name for name, *_ in JUDGED if (data_dir / name).is_dir())
    evals = [*judged, *(["fewshot"] if cifar else [])]
    if not evals:
        return None
    sets = (str(cifar.resolve()),) if cifar else ()
    shots = FewShot(sets, tuple(config.cifar.shots), config.cifar.draws, (HEAD,))
    options = Options(seed=config.seed, fewshot=shots)

    def step(out: Path, scratch: Path) -> None:
        own = options._replace(cache=scratch)
        runs.write(out, scoring.run([subject.network], data_dir, own, evals=evals))

    inputs = {name: data_dir / name for name in judged} | ({"cifar": cifar} if cifar else {})
    settings = [options.seed, shots[1:], subject.network.name]
    return runs.load(
        stages.run(
            workdir / "evals" / "runs" / subject.name,
            step,
            config=settings,
            inputs={**subject.inputs, **inputs},
        )
    )


def _asked_tests(
    config: ml_collections.ConfigDict, asked: Mapping[str, Sequence[Run]]
) -> Iterator[Test]:
    first = next(iter(asked.values()))[0]
    for name, subset, title in JUDGED:
        if name in first.answers and answers(first, name).find(subset, judgments_page.PAPER):
            yield judged_test(title, name, subset, asked)
    for shots in config.cifar.shots if "fewshot" in first.answers else ():
        yield cifar_test(shots, asked)
