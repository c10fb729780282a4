"""What the paper concludes, beside what a run gives.

A claim of a sign holds if the 95 % interval of the number lies on that side of 0, is contradicted
if it lies on the other, and is not shown otherwise: by Fisher's interval, which is the paper's and
takes models for independent, and by the bootstrap of whole families. A U is claimed only where the
two-lines test finds one. Where the paper only prints a number, it holds if it lies in the interval,
and differs otherwise. What the paper concludes by comparing means or by counting is judged by these
alone, without intervals.
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
DIFFERS = "differs"
NAMES = {"pearson": "Pearson", "spearman": "Spearman", "triplet": "triplet"}
GROUPS = {"high": "highest", "mid": "nearest to the mean", "low": "lowest"}
# What claims are about, in the order of the report.
MAIN = "cifar100"
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
# Ours: models, and members of a cluster, below which thirds say nothing.
FEWEST_RANKED, FEWEST_MEMBERS = 30, 3
FEWEST_SIZES = 5  # with four, the exact p of a perfect order is .083


class Claim(NamedTuple):
    """Attributes:
    about: one of the topics above.
    claim: what the paper says; what is partial is so given the study's covariates.
    paper: the number it prints; "" if none.
    found: the number of this run, with its interval.
    n: models, or pairs of models.
    verdict: `HOLDS`, `CONTRADICTED`, `NOT_SHOWN`, `DIFFERS` or `UNKNOWN`.
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
      given: what partial correlations and the U of claims are given; "" for nothing.
      learning: the column of few-shot learning on average; "" if there is none.
    """
    return [
        *_learning(found, given),
        *_robustness(found, given),
        *_best(found, table, learning.partition(", ")[0]),
        *_appendices(found, table),
        *_metrics(found),
        *_making(found, learning),
    ]


def verdict(measured: Measured, sign: int = 1) -> str:
    """Of a claim that a number is positive, or negative for −1."""
    if not np.isfinite(measured).all():
        return UNKNOWN
    low, high = sorted((sign * measured.low, sign * measured.high))
    return HOLDS if low > 0 else CONTRADICTED if high < 0 else NOT_SHOWN


def _learning(found: Tables, given: str) -> list[Claim]:
    columns = dict.fromkeys(row["column"] for row in found.correlations)
    one_shot = {
        name: column
        for name in paper.WITH_IMAGENET_1_SHOT
        for column in columns
        if is_one_shot(column, name)
    }
    claims, effects = [], {}
    for name, column in one_shot.items():
        main = name == MAIN
        # Of the other data sets the paper shows Pearson alignment only, and claims no U.
        for metric in METRICS if main else METRICS[:1]:
            row = _cell(found, column, metric, given)
            says = f"{row['property']} rises with z² of {NAMES[metric]} alignment{_given(given)}"
            claim = _of_sign(LEARNING, says, "", row, found.without)
            if main and metric == "pearson":
                effect = f"{claim.found}; r² = {row['r'].value ** 2:.2f}"
                claim = claim._replace(paper=f"r² ≈ {paper.VARIANCE_1_SHOT:.2f}", found=effect)
            claims.append(claim)
        if main:
            claims += [_of_shape(LEARNING, found, column, m, given, u_shape.U) for m in METRICS]
        effects[name] = _cell(found, column, "pearson", given)
    if len(effects) == 3:
        claims.append(_falling([effects[name] for name in ("cifar100", "fashion_mnist", "mnist")]))
    return claims


def _falling(rows: Sequence[Row]) -> Claim:
    """That the effect is largest where pictures are like those of the judgments."""
    says = "the effect falls from CIFAR-100 over Fashion-MNIST to MNIST"
    measured = [row["r"] for row in rows]
    if not np.isfinite(measured).all():
        return Claim(LEARNING, says, "", "–", rows[0]["n"], UNKNOWN)
    first, last = measured[0], measured[-1]
    falls = measured[0].value > measured[1].value > measured[2].value
    judged = HOLDS if falls and first.low > last.high else NOT_SHOWN
    judged = CONTRADICTED if first.high < last.low else judged
    shown = ", ".join(_shown(one) for one in measured)
    return Claim(LEARNING, says, "", shown, rows[0]["n"], judged)


def _robustness(found: Tables, given: str) -> list[Claim]:
    claims = []
    for column, printed in paper.TABLE2.items():
        for metric in METRICS:
            row = _cell(found, column, metric, given)
            says = f"{row['property']} rises with z² of {NAMES[metric]} alignment{_given(given)}"
            claims.append(_of_sign(ROBUST, says, f"r = {printed[metric]:.3f}", row, found.without))
    # Section 5 has a U for domain shift, and none for natural adversarial examples.
    for column in ("r top1", "sketch top1"):
        claims += [_of_shape(ROBUST, found, column, m, given, u_shape.U) for m in METRICS]
    return claims


def _best(found: Tables, table: pd.DataFrame, main: str) -> list[Claim]:
    """The most aligned models are the best, the least aligned better than those between."""
    claims = []
    means = {(r["column"], r["metric"], r["group"]): r["mean"].value for r in found.groups}
    shots = sorted({column for column, *_ in means if column.startswith(f"{main}, ")})
    kinds = {"on ImageNet-A, -R and -Sketch": [*paper.TABLE1], "at few-shot learning": shots}
    n = int(table["pearson"].notna().sum()) if "pearson" in table else 0
    for what, columns in kinds.items():
        cells = [
            [means.get((column, metric, group), np.nan) for group in GROUPS]
            for column in columns
            for metric in METRICS
        ]
        known = np.array([cell for cell in cells if np.isfinite(cell).all()]).reshape(-1, 3)
        high, mid, low = known.T
        for says, is_so in (
            (f"the most aligned models are the best {what}", (high > mid) & (high > low)),
            (f"the least aligned are better than the middling {what}", low > mid),
        ):
            total, right = len(is_so), int(is_so.sum())
            shown = f"in {right} of {total} comparisons of means" if total else "–"
            judged = NOT_SHOWN if right else CONTRADICTED
            judged = UNKNOWN if not total else HOLDS if right == total else judged
            claims.append(Claim(EXTREMES, says, "", shown, n, judged))
    return claims


def _appendices(found: Tables, table: pd.DataFrame) -> list[Claim]:
    claims = []
    for row in found.with_imagenet:
        if row["paper"] is not None:
            says = f"correlation of {row['property']} with ImageNet top-1"
            # Cut off after two decimals, not rounded.
            others = [one for one in found.without if one["metric"] == IMAGENET]
            others = [one for one in others if one["property"] == row["property"]]
            claims.append(_of_number(ACCURACY, says, row, others, digits=2, off=0.01))
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
            first = NAMES[row["first"]]
            says = f"{row['correlation']}'s correlation of {first} and triplet alignment"
            claims.append(_of_number(METRICS_ALIKE, says, row, (), digits=3, off=0.0005))
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
                shown += ": too few to tell" if row["n"] < FEWEST_SIZES else ""
                judged = NOT_SHOWN if not row["p"] < 0.05 else HOLDS if tau > 0 else CONTRADICTED
                claims.append(Claim(MAKING, says, "", shown, row["n"], judged))
        for row in by_column(found.clusters, by=on):
            if row["of"] < FEWEST_RANKED or row["n"] < FEWEST_MEMBERS:
                continue
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
    judged, families_ = verdict(row["r"], sign), row["r by families"]
    others = [
        one
        for one in without
        if one["column"] == row.get("column") and one["metric"] == row.get("metric")
    ]
    changed = [one for one in others if verdict(_fisher(one), sign) != judged]
    return Claim(
        about,
        says,
        printed,
        _shown(row["r"]),
        row["n"],
        judged,
        verdict(families_, sign) if np.isfinite(families_.value) else "",
        _named(changed, others),
    )


def _of_number(
    about: str, says: str, row: Row, without: Sequence[Row], *, digits: int, off: float
) -> Claim:
    """That a number is the one that the paper prints, which is off by as much at most."""
    printed = row["paper"]

    def agrees(measured: Measured) -> bool:
        return measured.low - off <= printed <= measured.high + off

    judged = HOLDS if agrees(row["r"]) else DIFFERS
    judged = judged if np.isfinite(row["r"].value) else UNKNOWN
    changed = [one for one in without if agrees(_fisher(one)) != (judged == HOLDS)]
    paper_ = f"r = {printed:.{digits}f}"
    return Claim(
        about,
        says,
        paper_,
        _shown(row["r"]),
        row["r"].n,
        judged,
        without=_named(changed, without) if judged != UNKNOWN else "",
    )


def _fisher(row: Row) -> Measured:
    """A correlation without a family, with Fisher's interval."""
    half = 1.96 / np.sqrt(row["n"] - row["covariates"] - 3)
    with np.errstate(divide="ignore"):  # of 1 and −1
        ends = np.tanh(np.arctanh(row["r"]) + np.array([-half, half]))
    return Measured(row["r"], *ends.tolist(), row["n"])


def _named(changed: Sequence[Row], others: Sequence[Row]) -> str:
    """Without which families a verdict is another."""
    if not others:
        return ""
    return ", ".join(f"{one['without']} ({number(one['r'])})" for one in changed) or "none"


def _of_shape(
    about: str, found: Tables, column: str, metric: str, given: str, wanted: str
) -> Claim:
    label = {IMAGENET: TOP1.label, REAL_GAIN: GAIN.label}.get(column, column)
    rows = by_column(found.shapes, column=column, metric=metric, given=given)
    row = next(rows, {"property": label, "n": 0, "shape": None})
    says = f"{row['property']} is {_article(wanted)} over {NAMES[metric]} alignment{_given(given)}"
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
        if "shape" in one and given == one["given"]
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


def _given(given: str) -> str:
    return f", given {given}" if given else ""


def _article(shape: str) -> str:
    return "a U" if shape == u_shape.U else "an inverted U"
