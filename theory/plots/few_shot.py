"""Few-shot learning by students whose alignment is dialled: where the U is, and where it is not."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignet.data.embeddings import load_embeddings
from evals.pages import figures
from evals.pages.page import Picture, Table
from evals.pages.table import shortened
from evals.statistics import u_shape
from evals.statistics.u_shape import U
from theory import few_shot, students
from theory.claims import ASSUMED, HOLDS, NOT_AS_PRINTED, REFUTED, Claim
from theory.few_shot import LEARNERS, PLAIN, TOLD, TRIES, Learnt
from theory.plots import Effort, Part
from theory.students import Teacher

MIXED, TURNED, SQUEEZED = "mixed with noise", "turned round", "squeezed"
SHOTS = 5
MOST_OBJECTS = 600  # of a real embedding
CLASSES = 20  # of one
FLAT = 0.1  # accuracies that differ by no more are called the same


class Sizes(NamedTuple):
    """Attributes:
    dials: of each kind of student.
    times: draws of examples.
    """

    dials: int
    times: int


FAST = Sizes(15, 4)
FULL = Sizes(41, 20)


def part(effort: Effort) -> Part:
    sizes = FAST if effort.fast else FULL
    rng = np.random.default_rng(effort.seed)
    teachers = {"made-up clusters": students.clustered(rng)}
    if effort.embedding is not None:
        teachers[effort.embedding.name] = real(effort.embedding, effort.seed)
    taught = {name: _taught(teacher, sizes, rng, effort.seed) for name, teacher in teachers.items()}
    tested, shapes = _shapes(taught)
    return Part(
        "Learning from few examples",
        [
            f"A teacher’s classes are to be learnt from {SHOTS} examples of each, by students "
            "whose alignment with the teacher is dialled from 1 to 0: mixed with noise and "
            "beyond, to the opposite of the teacher’s similarities; with principal components "
            "turned round one by one; or with their variances changed, the large ones made "
            "small.",
            "A learner may take its representation as it is; or be told that its alignment is "
            "below ½, and choose the farthest class; or find that out by trying the rule on its "
            "own examples. Below ½ the first is to do worse than guessing, as what it finds alike "
            "is different.",
        ],
        {"few_shot": Picture(_draw(teachers, taught), _caption(teachers, sizes))},
        [
            Table(
                rows,
                f"{name}: is few-shot accuracy U-shaped in alignment? Two-lines tests over "
                f"{sizes.dials} students mixed with noise: slopes of accuracy left and right of "
                "the break, with 95 % intervals.",
            )
            for name, rows in tested.items()
        ],
        _claims(taught, shapes),
    )


def real(path: Path, seed: int) -> Teacher:
    """Some objects of a real embedding, drawn with the seed, and their clusters.

    Raises:
      InputError: as of `load_embeddings` and `students.from_embedding`.
    """
    matrix = load_embeddings(path).matrix
    kept = np.sort(np.random.default_rng(seed).permutation(len(matrix))[:MOST_OBJECTS])
    return students.from_embedding(
        np.asarray(matrix[kept], np.float64), classes=CLASSES, name=str(path), rows=kept
    )


def _taught(
    teacher: Teacher, sizes: Sizes, rng: np.random.Generator, seed: int
) -> dict[str, list[Learnt]]:
    dials = np.linspace(0, 1, sizes.dials)
    made = {
        MIXED: [students.mixed(teacher, dial, rng) for dial in dials],
        TURNED: [students.turned(teacher, dial) for dial in dials[:: max(1, sizes.dials // 15)]],
        SQUEEZED: [students.squeezed(teacher, dial) for dial in np.linspace(0, 1, 9)],
    }
    return {
        kind: [
            few_shot.learn(teacher, one, shots=SHOTS, times=sizes.times, seed=seed) for one in own
        ]
        for kind, own in made.items()
    }


def _shapes(taught: dict) -> tuple[dict[str, list[dict]], dict]:
    tested, shapes = {}, {}
    for name, by_kind in taught.items():
        x = np.array([one.alignment for one in by_kind[MIXED]])
        for rule in few_shot.RULES:
            for learner in LEARNERS:
                y = np.array([one.accuracy[rule, learner].value for one in by_kind[MIXED]])
                lines = u_shape.two_lines(x, y)
                shapes[name, rule, learner] = lines.shape
                tested.setdefault(name, []).append(
                    {"learner": f"{rule}; {learner}"}
                    | {"left": lines.left.slope, "right": lines.right.slope}
                    | {"break": lines.break_at, "shape": lines.shape}
                )
    return tested, shapes


def _claims(taught: dict, shapes: dict) -> list[Claim]:
    plain, told, tries = (
        [shape for (_, _, own), shape in shapes.items() if own == learner]
        for learner in (PLAIN, TOLD, TRIES)
    )
    u_if_known = all(
        shape == U
        for (_, rule, learner), shape in shapes.items()
        if rule == "nearest mean" and learner in (TOLD, TRIES)
    )
    ends = {
        f"{name}, {rule}, {learner}": [
            by_kind[MIXED][at].accuracy[rule, learner] for at in (-1, len(by_kind[MIXED]) // 2, 0)
        ]
        for name, by_kind in taught.items()
        for rule in few_shot.RULES
        for learner in LEARNERS
    }
    lowest = [one[0].value for name, one in ends.items() if name.endswith(PLAIN)]
    # Two kinds of students of the same alignment, by the same rule.
    squeezed = taught["made-up clusters"][SQUEEZED]
    turned = sorted(taught["made-up clusters"][TURNED], key=lambda one: one.alignment)
    last = squeezed[-1]
    apart = {}
    for rule in few_shot.RULES:
        other = np.interp(
            last.alignment,
            [one.alignment for one in turned],
            [one.accuracy[rule, PLAIN].value for one in turned],
        )
        apart[rule] = (last.accuracy[rule, PLAIN].value, float(other))
    return [
        Claim(
            "000 and 001, after Theorem 3.9 (few-shot learning)",
            "High or low alignment leads to high few-shot learning performance; medium alignment "
            "leads to low performance.",
            (HOLDS if all(shape == U for shape in plain) else ASSUMED)
            if u_if_known
            else NOT_AS_PRINTED,
            f"Two-lines tests find a U in {told.count(U)} of {len(told)} cases where learners "
            f"are told on which side of ½ their alignment is, in {tries.count(U)} of "
            f"{len(tries)} where they try the rule on their own examples, and in "
            f"{plain.count(U)} of {len(plain)} where they take their representation as it is; "
            f"with no alignment these are right in {min(lowest):.2f} to {max(lowest):.2f}.",
            {
                "shapes": {" | ".join(key): shape for key, shape in shapes.items()},
                "accuracy at dials 1, ½, 0": ends,
            },
            assumption="The nearest mean, by learners that know or find out that they see things "
            "the wrong way round.",
        ),
        Claim(
            "ours",
            "Triplet alignment does not determine few-shot accuracy between its ends.",
            HOLDS if all(abs(a - b) > FLAT for a, b in apart.values()) else REFUTED,
            f"At an alignment of {last.alignment:.2f} students whose variances are squeezed are "
            + " and ".join(f"{a:.2f} right by {rule}" for rule, (a, _) in apart.items())
            + ", those some of whose components are turned round "
            + " and ".join(f"{b:.2f}" for _, b in apart.values())
            + ". Squeezing all the way costs ridge regression "
            f"{squeezed[0].accuracy['ridge', PLAIN].value - apart['ridge'][0]:.2f}.",
            {"alignment": [one.alignment for one in squeezed], "squeezed, turned": apart}
            | {rule: [one.accuracy[rule, PLAIN] for one in squeezed] for rule in few_shot.RULES},
        ),
    ]


@matplotlib.rc_context(figures.STYLE)
def _draw(teachers: dict[str, Teacher], taught: dict) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 2.35 * len(taught) + 0.4), layout="constrained")
    grid = figure.subplots(len(taught), 3, squeeze=False, sharey="row", sharex=True)
    looks = list(zip(figures.COLOURS, figures.MARKERS, strict=True))
    for place, (name, by_kind) in enumerate(taught.items()):
        row = grid[place]
        chance = 1 / (int(teachers[name].labels.max()) + 1)
        for axes, rule in zip(row, few_shot.RULES, strict=False):
            # Where curves coincide the last would hide the others.
            for learner, look, size in zip(LEARNERS, looks, (5, 3.6, 2.2), strict=False):
                _curve(axes, by_kind[MIXED], (rule, learner), look, size, learner)
            axes.set_title(rule if not place else "")
        for number, (kind, rule) in enumerate(
            (kind, rule) for kind in (TURNED, SQUEEZED) for rule in few_shot.RULES
        ):
            look = looks[3 + number]
            _curve(row[2], by_kind[kind], (rule, PLAIN), look, 3.2, f"{kind}, {rule}")
        row[2].set_title("other students" if not place else "")
        for axes in row:
            axes.axhline(chance, **figures.DASHED, zorder=0)
            axes.set_ylim(-0.03, 1.03)
        row[0].set_ylabel(f"{shortened(name)}\n{SHOTS}-shot accuracy")
    for axes in grid[-1]:
        axes.set_xlabel("alignment 1 − D_R")
    keys, labels = grid[0, 0].get_legend_handles_labels()
    more = grid[0, 2].get_legend_handles_labels()
    figure.legend(
        keys + more[0], labels + more[1], loc="outside lower center", ncols=4, fontsize=6.5
    )
    return figure


def _curve(
    axes: Axes,
    learnt: Sequence[Learnt],
    kind: tuple[str, str],
    look: tuple[str, str],
    size: float,
    label: str,
) -> None:
    x = [one.alignment for one in learnt]
    value, low, high, _ = np.array([one.accuracy[kind] for one in learnt]).T
    colour, marker = look
    axes.errorbar(
        x, value, yerr=figures.bars(value, low, high), color=colour, marker=marker, ms=size,
        lw=0.8, elinewidth=0.7, label=label,
    )  # fmt: skip


def _caption(teachers: dict[str, Teacher], sizes: Sizes) -> str:
    objects = "; ".join(
        f"{name}: {len(one.labels):,} objects in {int(one.labels.max()) + 1} classes"
        for name, one in teachers.items()
    )
    return (
        f"Accuracy after {SHOTS} examples of each class against alignment with the teacher "
        f"({objects}); means of {sizes.times} draws of examples, 95 % intervals; dashed: guessing. "
        "Left and middle: students that go from the teacher’s similarities over noise to their "
        "opposite, by the nearest class mean and by ridge regression, as three learners do it. "
        "Right: learners that take it as it is, of students whose components are turned round one "
        "by one or whose variances are squeezed."
    )
