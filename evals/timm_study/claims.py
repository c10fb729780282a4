"""What the paper concludes, beside what a run gives.

A claim of a sign holds if the 95 % interval of the number lies on that side of 0, is contradicted
if it lies on the other, and is not shown otherwise: by Fisher's interval, which is the paper's and
takes models for independent, and by the bootstrap of whole families. A U is claimed only where the
two-lines test finds one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from evals.pages.table import number
from evals.statistics import u_shape
from evals.statistics.intervals import Measured
from evals.timm_study import families, paper
from evals.timm_study.alignment import METRICS
from evals.timm_study.tables import (
    GAIN,
    IMAGENET,
    REAL_GAIN,
    RESULTS,
    TOP1,
    Row,
    by_column,
    is_one_shot,
)

HOLDS, CONTRADICTED, NOT_SHOWN, UNKNOWN = "holds", "contradicted", "not shown", "no data"
NAMES = {"pearson": "Pearson", "spearman": "Spearman", "triplet": "triplet"}
GROUPS = {"high": "highest", "mid": "nearest to the mean", "low": "lowest"}
# What claims are about, in the order of the report.
LEARNING, ROBUST, EXTREMES = "few-shot learning", "robustness", "the most and the least aligned"
ACCURACY, METRICS_ALIKE, MAKING = "ImageNet accuracy", "the metrics", "what goes with alignment"
# By effect: the sign that the paper gives it, on alignment and on few-shot learning. It says that
# pruning "maintains" learning, which no interval can show.
EFFECTS = {
    families.DISTILLATION: (1, 1),
    families.IN21K: (1, 1),
    families.BATCH_NORM: (-1, 1),
    families.PRUNING: (-1, 0),
}
# The rows of sizes that raise alignment, and those that raise learning.
SIZES = (
    ("ResNet (torchvision)", "ResNet (gluon, v1b)", "ResNet-D (timm)", "Swin, 224 px"),
    ("ResNet-RS", "Swin, 224 px"),
)
# The thirds of all models in which a cluster lies, by alignment and by learning.
THIRDS = {
    "MobileNet": (("low", "middle"), ("low",)),
    "NFNet": (("high",), ("middle", "high")),
    "BEiT": (("low",), ("high",)),
}
ALMOST_ALL = 0.9  # ours


class Claim(NamedTuple):
    """Attributes:
    about: one of the topics above.
    claim: what the paper says; what is partial is so given the study's covariates.
    paper: the number it prints; "" if none.
    found: the number of this run, with its interval.
    n: models, or pairs of models.
    verdict: `HOLDS`, `CONTRADICTED`, `NOT_SHOWN` or `UNKNOWN`.
    by_families: the verdict by the bootstrap of families; "" where there is none.
    without: without which families the verdict is another.
    """

    about: str
    claim: str
    paper: str
    found: str
    n: int
    verdict: str
    by_families: str = ""
    without: str = ""


class Tables(NamedTuple):
    """All rows of a run that claims are judged by; see `tables`."""

    intercorrelations: Sequence[Row]
    with_imagenet: Sequence[Row]
    correlations: Sequence[Row]
    shapes: Sequence[Row]
    groups: Sequence[Row]
    without: Sequence[Row]
    effects: Sequence[Row]
    trends: Sequence[Row]
    clusters: Sequence[Row]


def judge(found: Tables, table: pd.DataFrame, given: str, learning: str) -> list[Claim]:
    """All claims, in the paper's order.

    Args:
      found: all rows.
      table: of the models.
      given: what the covariates are.
      learning: the column of few-shot learning on average; "" if there is none.
    """
    claims = []
    one_shot = [
        row["column"]
        for row in by_column(found.correlations, metric="pearson", form="z²", given=given)
        if any(is_one_shot(row["column"], name) for name in paper.WITH_IMAGENET_1_SHOT)
    ]
    claims += _learning(found, one_shot, given)
    claims += _robustness(found, given)
    claims += _best(found)
    claims += _appendices(found, table)
    claims += _metrics(found)
    claims += _making(found, learning)
    return claims


def verdict(measured: Measured, sign: int = 1) -> str:
    """Of a claim that a number is positive, or negative for −1."""
    if not np.isfinite(measured).all():
        return UNKNOWN
    low, high = sorted((sign * measured.low, sign * measured.high))
    return HOLDS if low > 0 else CONTRADICTED if high < 0 else NOT_SHOWN


def _learning(found: Tables, one_shot: Sequence[str], given: str) -> list[Claim]:
    claims = []
    for column in one_shot:
        for metric in METRICS:
            row = _cell(found, column, metric, given)
            says = f"{row['property']} rises with z² of {NAMES[metric]} alignment"
            square = (
                f"r² about {paper.VARIANCE_1_SHOT:.2f}" if is_one_shot(column, "cifar100") else ""
            )
            printed = square if metric == "pearson" else ""
            claims.append(_of_sign(LEARNING, says, printed, row, found.without))
        for metric in METRICS:
            claims.append(_of_shape(LEARNING, found, column, metric, given, u_shape.U))
    effects = {
        name: row["r"].value
        for column in one_shot
        for name in paper.WITH_IMAGENET_1_SHOT
        if is_one_shot(column, name)
        for row in [_cell(found, column, "pearson", given)]
    }
    if len(effects) == 3:
        order = [effects[name] for name in ("cifar100", "fashion_mnist", "mnist")]
        right = order == sorted(order, reverse=True)
        shown = " > ".join(f"{name} {number(value)}" for name, value in effects.items())
        row = _cell(found, one_shot[0], "pearson", given)
        says = "the effect falls from CIFAR-100 over Fashion-MNIST to MNIST"
        claims.append(Claim(LEARNING, says, "", shown, row["n"], HOLDS if right else CONTRADICTED))
    return claims


def _robustness(found: Tables, given: str) -> list[Claim]:
    claims = []
    for column, printed in paper.TABLE2.items():
        for metric in METRICS:
            row = _cell(found, column, metric, given)
            says = f"{row['property']} rises with z² of {NAMES[metric]} alignment"
            claims.append(_of_sign(ROBUST, says, f"r = {printed[metric]:.3f}", row, found.without))
    return claims


def _best(found: Tables) -> list[Claim]:
    """The most aligned models are the best, the least aligned better than those between."""
    claims = []
    means = {(r["column"], r["metric"], r["group"]): r["mean"].value for r in found.groups}
    kinds = {
        "on ImageNet-A, -R and -Sketch": [c for c in paper.TABLE1],
        "at few-shot learning": sorted({c for c, *_ in means if "-shot" in c}),
    }
    for what, columns in kinds.items():
        cells = [
            [means.get((column, metric, group), np.nan) for group in ("high", "mid", "low")]
            for column in columns
            for metric in METRICS
        ]
        known = np.array([cell for cell in cells if np.isfinite(cell).all()]).reshape(-1, 3)
        high, mid, low = known.T
        for says, share in (
            (f"the most aligned models are the best {what}", (high > mid) & (high > low)),
            (f"the least aligned are better than the middling {what}", low > mid),
        ):
            total, right = len(share), int(share.sum())
            shown = f"in {right} of {total} comparisons" if total else "–"
            judged = UNKNOWN if not total else HOLDS if right == total else NOT_SHOWN
            judged = CONTRADICTED if total and not right else judged
            every = "in all" if says.startswith("the most") else ""
            claims.append(Claim(EXTREMES, says, every, shown, total, judged))
    return claims


def _appendices(found: Tables, table: pd.DataFrame) -> list[Claim]:
    claims = []
    for row in found.with_imagenet:
        if row["paper"] is not None:
            says = f"{row['property']} goes with ImageNet top-1"
            claims.append(_of_sign(ACCURACY, says, f"r = {row['paper']:.2f}", row, ()))
    gain = table[REAL_GAIN].dropna()
    if len(gain):
        better = int((gain > 0).sum())
        worst = f"{better} of {len(gain)}; the least gain is {gain.min():.2f} points"
        claims.append(
            Claim(
                ACCURACY,
                "every model does better by the labels of ReaL",
                "all",
                worst,
                len(gain),
                HOLDS if better == len(gain) else CONTRADICTED,
            )
        )
    for metric in METRICS:
        claims.append(_of_shape(ACCURACY, found, REAL_GAIN, metric, "", u_shape.INVERTED))
    for metric in METRICS:
        claims.append(_of_shape(ACCURACY, found, IMAGENET, metric, "", u_shape.U))
    return claims


def _metrics(found: Tables) -> list[Claim]:
    claims = []
    for row in found.intercorrelations:
        if row["paper"] is not None:
            says = (
                f"{row['first'].capitalize()} alignment goes with triplet alignment "
                f"({row['correlation']}'s correlation)"
            )
            claims.append(_of_sign(METRICS_ALIKE, says, f"ρ = {row['paper']:.3f}", row, ()))
    return claims


def _making(found: Tables, learning: str) -> list[Claim]:
    """What the paper says of depth, distillation and the like (4.1), by Pearson alignment."""
    aligned = NAMES["pearson"]
    claims = []
    for on in (aligned, learning):
        what = "Pearson alignment" if on == aligned else f"learning on {learning}"
        for row in by_column(found.effects, on=on):
            sign = EFFECTS[row["effect"]][on != aligned]
            if sign:
                says = f"{row['effect']} {'raises' if sign > 0 else 'lowers'} {what}"
                judged = verdict(row["difference"], sign)
                claims.append(Claim(MAKING, says, "", _shown(row["difference"]), row["n"], judged))
        for row in by_column(found.trends, of=on):
            if row["row"] in SIZES[on != aligned]:
                says = f"size raises {what} in {row['row']}"
                tau = row["Kendall's τ with size"]
                shown = f"τ = {tau:.2f} (p {p(row['p'])})".replace("-", "−")
                judged = NOT_SHOWN if not row["p"] < 0.05 else HOLDS if tau > 0 else CONTRADICTED
                claims.append(Claim(MAKING, says, "", shown, row["n"], judged))
        for row in by_column(found.clusters, by=on):
            thirds = THIRDS[row["cluster"]][on != aligned]
            inside = sum(row[f"{third} third"] for third in thirds)
            share = inside / row["n"]
            says = f"{row['cluster']}s are in the {' or '.join(thirds)} third by {what}"
            judged = HOLDS if share >= ALMOST_ALL else CONTRADICTED if share < 0.5 else NOT_SHOWN
            claims.append(Claim(MAKING, says, "", f"{inside} of {row['n']}", row["n"], judged))
    return claims


def _cell(found: Tables, column: str, metric: str, given: str) -> Row:
    """The partial correlation of z², or what stands for it where there is none."""
    rows = by_column(found.correlations, column=column, metric=metric, form="z²", given=given)
    none = Measured(np.nan, np.nan, np.nan, 0)
    label = next((p.label for p in RESULTS if p.column == column), column)
    start = {"property": label, "column": column, "metric": metric}
    return next(rows, start | {"r": none, "r by families": none, "n": 0})


def _of_sign(
    about: str, says: str, printed: str, row: Row, without: Iterable[Row], sign: int = 1
) -> Claim:
    judged = verdict(row["r"], sign)
    others = [
        one
        for one in without
        if one["column"] == row.get("column") and one["metric"] == row.get("metric")
    ]
    changed = []
    for one in others:
        half = 1.96 / np.sqrt(one["n"] - one["covariates"] - 3)  # Fisher's
        ends = np.tanh(np.arctanh(one["r"]) + np.array([-half, half]))
        if verdict(Measured(one["r"], *ends.tolist(), one["n"]), sign) != judged:
            changed.append(f"{one['without']} ({number(one['r'])})")
    return Claim(
        about,
        says,
        printed,
        _shown(row["r"]),
        row["n"],
        judged,
        verdict(row["r by families"], sign),
        ", ".join(changed) if changed else "none" if others else "",
    )


def _of_shape(
    about: str, found: Tables, column: str, metric: str, given: str, wanted: str
) -> Claim:
    label = {IMAGENET: TOP1.label, REAL_GAIN: GAIN.label}.get(column, column)
    rows = by_column(found.shapes, column=column, metric=metric, given=given)
    row = next(rows, {"property": label, "n": 0, "shape": None})
    says = f"{row['property']} is {_article(wanted)} over {NAMES[metric]} alignment"
    if row["shape"] is None:
        return Claim(about, says, "", "–", row["n"], UNKNOWN)
    opposite = u_shape.U if wanted == u_shape.INVERTED else u_shape.INVERTED
    judged = {wanted: HOLDS, opposite: CONTRADICTED}.get(row["shape"], NOT_SHOWN)
    slopes = " and ".join(
        f"{number(row[f'{side} slope'].value)} (p {p(row[f'p {side}'])})"
        for side in ("left", "right")
    )
    shown = f"{row['shape']}: slopes {slopes}".replace("-", "−")
    others = [
        one
        for one in by_column(found.without, column=column, metric=metric)
        if given and "shape" in one
    ]
    changed = [one["without"] for one in others if one["shape"] != row["shape"]]
    listed = ", ".join(changed) if changed else "none" if others else ""
    return Claim(about, says, "", shown, row["n"], judged, without=listed)


def p(value: float) -> str:
    """A p value for print: never 0.000.

    >>> p(1e-9), p(0.0421)
    ('<.001', '.042')
    """
    if not np.isfinite(value):
        return "–"
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _shown(measured: Measured) -> str:
    if not np.isfinite(measured.value):
        return "–"
    value, low, high = (f"{end:.3f}".replace("-", "−") for end in measured[:3])
    return f"{value} [{low}, {high}]"


def _article(shape: str) -> str:
    return "a U" if shape == u_shape.U else "an inverted U"
