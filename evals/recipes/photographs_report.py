"""The report of `configs/photographs.py`: does alignment help a student that saw photographs?

The original, the distilled, the transformed (UD) and the aligned student are set side by side, as
in Tables 1 to 3 of paper 002, and the teacher before and after UD. Each difference has an interval,
and what is not shown, or the opposite, is said as well.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from alignet import cross_validation
from alignet.recipes import concepts, photographs
from alignet.runtime import files
from evals import runs
from evals.families import listed
from evals.pages import page, settings_figures
from evals.pages.table import table
from evals.recipes import photographs_scores as scores
from evals.recipes import photographs_tables as tables
from evals.recipes import provenance
from evals.recipes.photographs_scores import (
    ALIGNET,
    CENTRED,
    DENSE,
    DENSE_SHORT,
    DISTILLATION,
    ORIGINAL,
    PEOPLE_CHOOSE,
    SAMPLED,
    SAMPLED_SHORT,
    UD,
    VICE,
    Scores,
)
from evals.recipes.photographs_tests import Test
from evals.report import DIFFERENCES
from evals.statistics.intervals import Measured

TITLE = "AligNet on photographs: a teacher, its student, and people"
STUDENT, TEACHER = "student", "teacher"
BATCH = "student, all triplets in a batch"
# What is subtracted from what, and what the former is called in a sentence.
COMPARED = {
    STUDENT: {
        (ALIGNET, CENTRED): "the student that it was made from",
        (ALIGNET, DISTILLATION): "a student of the teacher as it is",
        (ALIGNET, UD): "UD alone",
    },
    BATCH: {
        (DENSE_SHORT, SAMPLED_SHORT): "the drawn ones, {few:,} images each",
        (DENSE, SAMPLED): "the drawn ones, {many:,} images each",
        (DENSE_SHORT, SAMPLED): "the drawn ones, {few:,} images against {many:,}",
    },
    TEACHER: {
        (UD, ORIGINAL): "the teacher as it is",
        (UD, CENTRED): "the teacher, its mean subtracted",
    },
}
SCORE_COLUMNS = ("network", "setting", "test", "split", *Measured._fields)
DIFFERENCE_COLUMNS = ("network", "first", "second", "test", "split", *Measured._fields)
MEAN = "mean"
INTERVALS = (
    "Brackets are 95 % intervals, not corrected for the number of comparisons: for other concepts, "
    "photographs or examples, and, of what was trained or fitted several times, for other "
    "trainings and splits. With so few of these the intervals are wide where they differ."
)


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> int:
    """Scores what is in `workdir`, and writes and prints what was found.

    Returns:
      Exit status, always 0: it is no failure if alignment does not help.
    """
    workdir = Path(workdir)
    found = {
        STUDENT: scores.student(config, workdir),
        BATCH: scores.dense(config, workdir),
        TEACHER: scores.teacher(config, workdir),
    }
    of_batch = batch_findings(config, found[BATCH])
    told = findings(found) + of_batch
    rows = {network: tables.rows(own) for network, own in found.items()}
    changes = {network: tables.changes(own, COMPARED[network]) for network, own in found.items()}
    folders = [workdir, *(workdir / f"split{place}" for place in range(len(config.splits)))]
    artifacts = sorted(path for folder in folders for path in folder.glob("*.npz"))
    about = provenance.of(
        config, {path.relative_to(workdir).as_posix(): path for path in artifacts}
    )
    sections = [
        _first_section(config, found[STUDENT], told, rows[STUDENT], changes[STUDENT]),
        _batch_section(config, of_batch, rows[BATCH], changes[BATCH]),
        _teacher_section(config, found[TEACHER], rows[TEACHER], changes[TEACHER]),
        _made_section(config, workdir),
        provenance.section(about),
    ]
    for name in (runs.SCORES, DIFFERENCES, runs.RESULTS, "report.html"):
        files.remove_temporaries(workdir / name)
    scored, compared = list(_scored(found)), list(_compared(found))
    runs.write_csv(workdir / runs.SCORES, SCORE_COLUMNS, _plain(scored))
    runs.write_csv(workdir / DIFFERENCES, DIFFERENCE_COLUMNS, _plain(compared))
    page.write_page(workdir / "report.html", TITLE, sections)
    page.write_figures(workdir / "figures", sections)
    results = {
        "found": told,
        "scores": [dict(zip(SCORE_COLUMNS, row, strict=True)) for row in _plain(scored)],
        "differences": [
            dict(zip(DIFFERENCE_COLUMNS, row, strict=True)) for row in _plain(compared)
        ],
    }
    files.write_json(workdir / runs.RESULTS, results | about)

    print(f"\n{TITLE}\n")
    for network in found:
        print(table(rows[network]), table(changes[network]), sep="\n\n", end="\n\n")
    print("\n".join(told))
    print(f"\n{provenance.closing(about, workdir)}", flush=True)
    return 0


def _scored(found: Mapping[str, Scores]) -> Iterator[tuple[Any, ...]]:
    for network, own in found.items():
        for test in own.tests:
            for setting in test.units:
                yield from _by_split((network, setting, test.name), own.score(test, setting))


def _compared(found: Mapping[str, Scores]) -> Iterator[tuple[Any, ...]]:
    for network, own in found.items():
        for first, second in COMPARED[network]:
            for test in own.tests:
                difference = own.difference(test, first, second)
                yield from _by_split((network, first, second, test.name), difference)


def _by_split(
    names: tuple[str, ...], measured: tuple[Measured, Sequence[Measured]]
) -> Iterator[tuple[Any, ...]]:
    overall, each = measured
    yield (*names, MEAN, overall)
    yield from ((*names, place, one) for place, one in enumerate(each))


def _plain(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(*names, *measured.as_dict().values()) for *names, measured in rows]


########################################## Words ##########################################


def findings(found: Mapping[str, Scores]) -> list[str]:
    """What came out, in words."""
    student, teacher = found[STUDENT], found[TEACHER]
    choices = next(test for test in teacher.tests if test.name == PEOPLE_CHOOSE)
    own = next(test for test in student.tests if test.name == PEOPLE_CHOOSE)

    def said(of: Scores, test: Test, setting: str, interval: bool = True) -> str:
        measured = of.score(test, setting)[0]
        return tables.text(measured, test) if interval else tables.number(measured.value, test)

    gain = tables.text(teacher.difference(choices, UD, ORIGINAL)[0], choices, signed=True)
    sentences = [
        "Of people's choices between concepts that UD was not fitted to, the teacher answers "
        f"{said(teacher, choices, ORIGINAL)} % as they did, {said(teacher, choices, CENTRED)} % "
        f"with its mean subtracted and {said(teacher, choices, UD)} % after UD: {gain} points. "
        f"Guessing gives {tables.number(choices.chance, choices)} %; VICE, which was fitted to "
        "people's choices between these very concepts, gives "
        f"{said(teacher, choices, VICE, False)} %.",
        f"The student answers {said(student, own, ORIGINAL)} % as it is, and "
        f"{said(student, own, CENTRED)} % with the mean of its read-out subtracted, from which "
        f"distillation starts. Students of the teacher as it is answer "
        f"{said(student, own, DISTILLATION)} %, the student by UD alone {said(student, own, UD)} % "
        f"and students of the aligned teacher (AligNet) {said(student, own, ALIGNET)} %; VICE "
        f"{said(student, own, VICE, False)} % of the same choices.",
    ]
    for (first, second), words in COMPARED[STUDENT].items():
        sentences.append(f"{first} against {words}: {tables.verdicts(student, first, second)}.")
    words = tables.verdicts(teacher, UD, ORIGINAL)
    return [*sentences, f"UD against the teacher as it is: {words}."]


def batch_findings(config: ml_collections.ConfigDict, found: Scores) -> list[str]:
    """Whether all triplets in a batch save images, in words."""
    n = 3 * config.distill.batch_size
    few, many = n * config.short_steps, n * config.distill.steps
    return [
        f"All triplets in a batch against {words.format(few=few, many=many)}: "
        f"{tables.verdicts(found, first, second)}."
        for (first, second), words in COMPARED[BATCH].items()
    ]


########################################## Sections ##########################################


def _pictures(found: Scores, trainings: str) -> settings_figures.Figure:
    panels: dict[str, dict[str, tuple[Measured, list[float]]]] = {}
    for test in found.tests:
        panels[tables.titled(test)] = panel = {}
        for setting in test.units:
            overall, each = found.score(test, setting)
            shown = each if setting in found.repeated else []
            panel[setting] = (
                tables.scaled(overall, test),
                [tables.scaled(one, test).value for one in shown],
            )
    chance = {
        tables.titled(test): test.chance * (100 if test.percent else 1) for test in found.tests
    }
    return settings_figures.scores(panels, chance=chance, trainings=trainings)


def _first_section(
    config: ml_collections.ConfigDict,
    student: Scores,
    told: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    changes: Sequence[Mapping[str, str]],
) -> page.Section:
    units = {True: "difference of accuracies, points", False: "difference of correlations"}
    panels: dict[str, dict[str, dict[str, Measured]]] = {}
    for test in student.tests:
        panels.setdefault(units[test.percent], {})[test.name] = {
            f"{first} − {second}": tables.scaled(student.difference(test, first, second)[0], test)
            for first, second in COMPARED[STUDENT]
        }
    k = config.n_students
    return page.Section(
        "What was found",
        [
            *told,
            INTERVALS,
            page.Table(
                rows,
                f"The student in every setting: means over {k} splits of the concepts, for each of "
                "which UD was fitted and students were trained. Choices are those between "
                "concepts that a split holds out; correlations are Spearman's, between the "
                "similarities of all pairs of photographs by the Pearson kernel and people's. Of "
                f"CIFAR-100 {config.cifar.images_per_class} test photographs a class are used: "
                "ridge regression learns from some of them and is tested on the others, "
                f"{config.cifar.draws} times.",
            ),
            page.Table(
                changes,
                "What AligNet adds, by the same items and splits: accuracies in points.",
            ),
            page.Picture(
                settings_figures.differences(panels),
                "The same differences with 95 % intervals: to the right of the line AligNet is "
                "better.",
            ),
            page.Picture(
                _pictures(student, "a split's own"),
                "All scores of the student, and VICE on the same choices.",
            ),
        ],
    )


def _batch_section(
    config: ml_collections.ConfigDict,
    told: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    changes: Sequence[Mapping[str, str]],
) -> page.Section:
    n = 3 * config.distill.batch_size
    return page.Section(
        "All triplets in a batch",
        [
            "AligNet's students answer the triplets that were drawn: three pairs a triplet. Others "
            "answer these and all triplets that a pair of them makes with another image of the "
            f"batch, {n} images, which takes no further passes. Short: after "
            f"{config.short_steps} steps, {n * config.short_steps:,} images; else after "
            f"{config.distill.steps}, {n * config.distill.steps:,} images.",
            *told,
            page.Table(rows, "Students by drawn and by all triplets, as the table above."),
            page.Table(changes, "Differences by the same items and splits."),
        ],
    )


def _teacher_section(
    config: ml_collections.ConfigDict,
    teacher: Scores,
    rows: Sequence[Mapping[str, str]],
    changes: Sequence[Mapping[str, str]],
) -> page.Section:
    return page.Section(
        "The teacher, for reference",
        [
            f"UD of the teacher is fitted for all {len(config.splits)} splits: choices here are "
            f"those that any of them holds out, above those of the first {config.n_students}.",
            page.Table(rows, "The teacher before and after UD; as the table above."),
            page.Table(changes, "What UD adds to the teacher."),
            page.Picture(
                _pictures(teacher, "a split's own"),
                "All scores of the teacher, and VICE on the same choices.",
            ),
        ],
    )


def _made_section(config: ml_collections.ConfigDict, workdir: Path) -> page.Section:
    names, groups, _ = concepts.load_concepts(workdir / "concepts.npz")
    splits = []
    for place, held_out in enumerate(config.splits):
        folder = workdir / f"split{place}"
        row = {"split": str(place), "groups held out": listed([str(group) for group in held_out])}
        row |= {"concepts held out": int(np.isin(groups, held_out).sum())}
        for network in (TEACHER, STUDENT):
            path = folder / f"ud_{network}.npz"
            # There may be more, of an earlier run with more students.
            if network == TEACHER or place < config.n_students:
                folds = cross_validation.load_cross_validation(path)
                row[f"λ, {network}"] = f"{folds.lambdas[folds.best]:g}"
        splits.append(row)
    blocks: list[str | page.Table | page.Picture] = [
        f"{len(names)} concepts that photographs show are dealt into {config.n_groups} groups that "
        "have no class in common. UD of a split is fitted to the concepts that it does not hold "
        "out, and λ is cross-validated among these; photographs of the others are in no triplet "
        "that a student of the split is trained on.",
        page.Table(splits, "The splits, and the strength of the regulariser that was chosen."),
    ]
    if learnt := _learnt(config, workdir):
        blocks.append(
            page.Table(
                learnt,
                "Students in training: the share of triplets of a batch that they answer as their "
                "teacher does, means over the first and the last quarter of what was logged.",
            )
        )
    return page.Section("How it was made", blocks)


def _learnt(config: ml_collections.ConfigDict, workdir: Path) -> list[dict[str, Any]]:
    rows = []
    for place in range(config.n_students):
        for name in photographs.STUDENTS:
            path = workdir / f"split{place}" / f"{name}.metrics.jsonl"
            if path.is_file():
                lines = path.read_text(encoding="utf-8").splitlines()
                agreement = [json.loads(line)["triplet_accuracy"] for line in lines]
                quarter = max(1, len(agreement) // 4)
                rows.append(
                    {
                        "split": str(place),
                        "student": name.replace("_", ", "),
                        "first": float(np.mean(agreement[:quarter])),
                        "last": float(np.mean(agreement[-quarter:])),
                    }
                )
    return rows
