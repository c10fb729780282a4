"""The report's sections on few-shot learning, on the U, and on what hangs on one family."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evals.pages import figures, study_figures
from evals.pages.page import Picture, Section, Table
from evals.pages.study_figures import Curves
from evals.statistics.intervals import Measured
from evals.timm_study import claims as judging
from evals.timm_study import groups
from evals.timm_study.alignment import METRICS
from evals.timm_study.claims import GROUPS, NAMES, Tables
from evals.timm_study.clouds import cloud
from evals.timm_study.report_accuracy import points
from evals.timm_study.study import Study
from evals.timm_study.tables import REAL_GAIN, by_column

HEADS = {
    "ridge": "ridge regression",
    "logistic": "linear probe",
    "linear": "1-layer head",
    "mlp": "2-layer head",
}


def learning(study: Study, found: Tables) -> Section:
    """Few-shot learning by alignment (Figures 3 and 4)."""
    main = study.main_set
    heads, shots = study.fewshot.heads, study.fewshot.shots
    blocks: list[Any] = [
        "A model stays as it is; from its embeddings of n images of each class, drawn from the "
        "test split, a read-out learns to name the class and is tested on the rest of the split."
    ]
    if study.sets and groups.groups(study.table["pearson"]):
        panels = [
            Curves(
                f"{HEADS[head]}, {NAMES[metric]}",
                {
                    GROUPS[group]: {
                        n: row["mean"]
                        for n in shots
                        for row in by_column(
                            found.groups,
                            column=f"{main}, {head}, {n}-shot",
                            metric=metric,
                            group=group,
                        )
                        if row["n"]
                    }
                    for group in ("high", "mid", "low")
                },
            )
            for head in heads
            for metric in METRICS
        ]
        blocks.append(
            Picture(
                study_figures.by_shots(panels, columns=3, ylabel="accuracy (%)", zero=False),
                f"Few-shot learning on {main} by the models of highest and lowest alignment and of "
                "the alignment nearest to the mean (the paper's Figure 3, left). Intervals are "
                "Student's, over models.",
            )
        )
        panels = [
            Curves(
                HEADS[head],
                {NAMES[m]: _by_shots(found, study, main, head, m, shots) for m in METRICS},
            )
            for head in heads
        ]
        blocks += _correlations(
            study,
            panels,
            f"Correlation of z² alignment with few-shot accuracy on {main}, {study.condition} (the "
            "paper's Figure 3, right, is given ImageNet top-1). Intervals are Fisher's.",
        )
        shown = study.labelled[: len(figures.COLOURS)]
        if len(shown) > 1:
            head = study.linear_probe
            curves = {name: _by_shots(found, study, name, head, "pearson", shots) for name in shown}
            blocks += _correlations(
                study,
                [Curves(f"{HEADS[head]}, Pearson", curves)],
                f"The same by data set, with the {HEADS[head]} and Pearson alignment (the paper's "
                "Figure 4, right).",
            )
    blocks.append(_accuracies(study))
    return Section("Learning from few examples", blocks)


def _correlations(study: Study, panels: Sequence[Curves], caption: str) -> list[Picture]:
    """A picture, if there is anything to be seen."""
    if not any(curve for panel in panels for curve in panel.curves.values()):
        return []
    figure = study_figures.by_shots(
        panels, columns=len(panels), ylabel=f"r, {study.condition}", zero=True
    )
    return [Picture(figure, caption)]


def _by_shots(
    found: Tables, study: Study, name: str, head: str, metric: str, shots: Sequence[int]
) -> dict[int, Measured]:
    return {
        n: row["r"]
        for n in shots
        for row in by_column(
            found.correlations,
            column=f"{name}, {head}, {n}-shot",
            metric=metric,
            form="z²",
            given=study.given,
        )
        if np.isfinite(row["r"].value)
    }


def _accuracies(study: Study) -> Table:
    rows, probe = [], study.linear_probe
    for column, values in study.learned.items():
        name, head, *rest = column.split(", ")
        if rest and head == probe and values:
            ordered = sorted(values, key=lambda model: -values[model].value)
            rows.append(
                {"data set": name, "examples a class": rest[0].removesuffix("-shot")}
                | {
                    "models": len(values),
                    "mean": points(groups.mean(study.table[column].to_numpy())),
                }
                | {"best": ordered[0], "its accuracy": points(_percent(values[ordered[0]]))}
            )
    return Table(
        rows,
        f"Accuracy in % by the {HEADS[probe]}, the mean over models and the best "
        "model; its interval is for other examples and other test images.",
    )


def shapes(study: Study, found: Tables) -> Section:
    """Whether relations with alignment are U-shaped."""
    blocks: list[Any] = [
        "A correlation with z² does not show a U: any bent curve has one. A parabola that fits "
        "better than a line shows a bend (AIC of the line minus that of the parabola above 2), "
        "but not that the curve turns within the data. The two-lines test (Simonsohn 2018) asks "
        "for that: one line through the models of low alignment and one through those of high "
        "alignment, both significant and of opposite slope.",
    ]
    for given in dict.fromkeys((study.given, "")):
        rows = [
            _shape_row(row, label, metric)
            for column, label in study.headline
            for metric in METRICS
            for row in by_column(found.shapes, column=column, metric=metric, given=given)
        ]
        what = f"given {given}" if given else "nothing else given"
        blocks.append(
            Table(
                rows,
                f"Is it a U, {what}? ΔAIC is the line's less the parabola's. Slopes are in "
                "points of accuracy per unit of alignment, their p by errors robust to unequal "
                "variances.",
            )
        )
    main = study.main_set
    pictures = []
    if main:
        head, least = study.linear_probe, min(study.fewshot.shots)
        pictures.append(
            (
                f"{main}, {head}, {least}-shot",
                f"{least}-shot accuracy (%)",
                f"{least}-shot learning on {main} by the {HEADS[head]} against alignment (the "
                "paper's Figure 4, left, has the first panel).",
            )
        )
    pictures.append(
        (REAL_GAIN, "ReaL minus original (points)", "What relabelling gained (Appendix D).")
    )
    for column, ylabel, caption in pictures:
        if column in study.table and (
            study.table[[column, "pearson"]].notna().all(axis=1).sum() > 2
        ):
            blocks.append(cloud(study, found, column, METRICS, "", ylabel, caption))
    return Section("Is it a U?", blocks)


def _shape_row(row: dict[str, Any], label: str, metric: str) -> dict[str, Any]:
    shown = {"property": label, "alignment": NAMES[metric], "n": row["n"]}
    if row["shape"] is None:
        return shown | {"two lines": "–"}
    sides = {}
    for side in ("left", "right"):
        slope = f"{row[f'{side} slope'].value:.2f}".replace("-", "−")
        sides[f"slope, {side}"] = f"{slope} (p {judging.p(row[f'p {side}'])})"
    turns = f"{row['vertex'].value:.3f}" if 0 < row["below vertex"] < 1 else "outside the data"
    return shown | {
        "ΔAIC": f"{row['ΔAIC']:.1f}".replace("-", "−"),
        "parabola turns at": turns,
        **sides,
        "two lines": row["shape"],
    }


def left_out(study: Study, found: Tables) -> Section:
    """Correlations without one family after the other."""
    rows = []
    for column, label in study.headline:
        for metric in METRICS:
            partials = by_column(
                found.correlations, column=column, metric=metric, form="z²", given=study.given
            )
            for one in partials:
                without = {
                    r["without"]: r["r"]
                    for r in by_column(found.without, column=column, metric=metric)
                }
                if without and np.isfinite(one["r"].value):
                    printed = one["paper"] if one["paper"] is not None else math.nan
                    name = f"{label}, {NAMES[metric]}"
                    rows.append((name, printed, one["r"], without))
    if not rows:
        return Section("", [])
    figure = study_figures.left_out(rows, xlabel=f"r of z² alignment, {study.condition}")
    caption = (
        "The correlation of z² alignment with each property over all models, and without one "
        "family of architectures after the other; without_families.csv names them."
    )
    return Section("Does it hang on one family?", [Picture(figure, caption)])


def _percent(value: Measured) -> Measured:
    return Measured(100 * value.value, 100 * value.low, 100 * value.high, value.n)
