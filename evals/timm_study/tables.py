"""The study's numbers, a row each: what the CSVs and the report are made of.

Every function takes the table of models (a row a model, NaN where a number is not known) and the
properties to be looked at; every row states on how many models it was measured.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from alignet.errors import InputError
from alignet.runtime.progress import progress
from evals.statistics import u_shape
from evals.timm_study import correlations, families, groups, paper
from evals.timm_study.alignment import METRICS
from evals.timm_study.models import Listed

IMAGENET = "imagenet top1"
REAL_GAIN = "real gain"
Row = dict[str, Any]
# What relations are looked at given: covariates [n, c] by what they are called; "" for none.
Conditions = Mapping[str, np.ndarray]


class Property(NamedTuple):
    """What a model may be good at: a column of the table, and what it is called."""

    column: str
    label: str


RESULTS = tuple(
    Property(f"{key} {column}", f"{name} {called}")
    for key, name in {"a": "ImageNet-A", "r": "ImageNet-R", "sketch": "ImageNet-Sketch"}.items()
    for column, called in {"top1": "top-1", "top5": "top-5"}.items()
)
GAIN = Property(REAL_GAIN, "ReaL minus original top-1")
TOP1 = Property(IMAGENET, "ImageNet top-1")


def intercorrelations(table: pd.DataFrame, family: Sequence[str], **drawn: int) -> list[Row]:
    """How alike the three metrics order models (000, section 5)."""
    rows = []
    for first, second in (("spearman", "triplet"), ("pearson", "triplet"), ("pearson", "spearman")):
        for kind in ("Pearson", "Spearman"):
            x, y = table[first], table[second]
            if kind == "Spearman":
                known = x.notna() & y.notna()
                x, y = x[known].rank().reindex(x.index), y[known].rank().reindex(y.index)
            found = correlations.correlate(
                x.to_numpy(), y.to_numpy(), np.empty((len(table), 0)), family, **drawn
            )
            printed = paper.WITH_TRIPLET.get(first) if second == "triplet" else None
            rows.append(
                {"first": first, "second": second, "correlation": kind, "r": found.r}
                | {"r by families": found.families, "p": found.p, "n": found.r.n, "paper": printed}
            )
    return rows


def with_imagenet(
    table: pd.DataFrame, properties: Sequence[Property], family: Sequence[str], **drawn: int
) -> list[Row]:
    """Plain correlations of properties with ImageNet top-1 (000, Appendix C)."""
    rows = []
    for column, label in properties:
        found = correlations.correlate(
            table[IMAGENET].to_numpy(),
            table[column].to_numpy(),
            np.empty((len(table), 0)),
            family,
            **drawn,
        )
        rows.append(
            {"property": label, "r": found.r, "r by families": found.families, "p": found.p}
            | {"n": found.r.n, "paper": _printed_with_imagenet(column)}
        )
    return rows


def _printed_with_imagenet(column: str) -> float | None:
    for name, value in paper.WITH_IMAGENET_1_SHOT.items():
        if is_one_shot(column, name):
            return value
    return paper.WITH_IMAGENET.get(column)


def is_one_shot(column: str, name: str) -> bool:
    """Whether this is 1-shot learning of a data set by the linear probe: "cifar100/test, …"."""
    # A set may be called cifar100, cifar100/test or cifar100_test.
    called, _, rest = column.partition(", ")
    return called.replace("_test", "").split("/")[0] == name and rest == "logistic, 1-shot"


def all_correlations(
    table: pd.DataFrame,
    properties: Sequence[Property],
    conditions: Conditions,
    family: Sequence[str],
    **drawn: int,
) -> list[Row]:
    """Alignment, as it is and as z², with every property, on every condition."""
    rows = []
    cells = [(p, m, form) for p in properties for m in METRICS for form in ("as it is", "z²")]
    for (column, label), metric, form in _shown(cells, "correlations"):
        x = table[metric].to_numpy()
        x = correlations.z_squared(x) if form == "z²" else x
        for given, covariates in conditions.items():
            # ImageNet top-1 is no condition of itself.
            if column == IMAGENET and TOP1.label in given:
                continue
            found = correlations.correlate(x, table[column].to_numpy(), covariates, family, **drawn)
            as_printed = form == "z²" and given == TOP1.label
            printed = paper.TABLE2.get(column, {}).get(metric) if as_printed else None
            rows.append(
                {"property": label, "metric": metric, "form": form, "given": given}
                | {"r": found.r, "p": found.p, "r by families": found.families, "n": found.r.n}
                | {"paper": printed, "column": column}
            )
    return rows


def shapes(
    table: pd.DataFrame,
    properties: Sequence[Property],
    conditions: Conditions,
    *,
    against: Sequence[str] = METRICS,
) -> list[Row]:
    """Is the relation U-shaped? A parabola against a line, and two lines; on every condition."""
    rows = []
    for column, label in properties:
        for metric in against:
            for given, covariates in conditions.items():
                if IMAGENET in (column, metric) and TOP1.label in given:
                    continue
                found = shape(table[metric].to_numpy(), table[column].to_numpy(), covariates)
                start = {"property": label, "metric": metric, "given": given}
                rows.append(start | _shape_row(found, metric, table) | {"column": column})
    return rows


def shape(
    x: np.ndarray, y: np.ndarray, covariates: np.ndarray
) -> tuple[u_shape.Quadratic, u_shape.TwoLines] | int:
    """Both tests over the models that have all; or how many have, if too few to test."""
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(covariates).all(axis=1)
    try:
        data = x[known], y[known], covariates[known]
        return u_shape.quadratic(*data), u_shape.two_lines(*data)
    except InputError:  # too few, or all alike
        return int(known.sum())


def _shape_row(found: Any, metric: str, table: pd.DataFrame) -> Row:
    if isinstance(found, int):
        return {"n": found, "shape": None}
    parabola, lines = found
    return {
        "n": parabola.n,
        "curvature": parabola.curvature,
        "p curvature": parabola.p,
        "ΔAIC": parabola.aic_linear - parabola.aic_quadratic,
        "vertex": parabola.vertex,
        "below vertex": parabola.below,
        "break": lines.break_at,
        "left slope": lines.left.slope,
        "p left": lines.left.p,
        "n left": lines.left.n,
        "right slope": lines.right.slope,
        "p right": lines.right.p,
        "n right": lines.right.n,
        "shape": lines.shape,
    }


def without_families(
    table: pd.DataFrame,
    properties: Sequence[Property],
    covariates: np.ndarray,
    given: str,
    family: Sequence[str],
    *,
    tested: Sequence[Property] = (),
) -> list[Row]:
    """The partial correlation of z² with every property without one family after the other.

    z² is taken anew each time, as without the family. Of `tested` the two lines are drawn anew,
    too.
    """
    rows = []
    family = np.asarray(family)
    cells = [(p, m) for p in properties for m in METRICS]
    for (column, label), metric in _shown(cells, "without each family"):
        y = table[column].to_numpy()
        # To leave out a family of which nothing is known changes nothing.
        counted = table[[metric, column]].notna().all(axis=1).to_numpy()
        for name in np.unique(family[counted]).tolist():
            keep = family != name
            x = table[metric].to_numpy()[keep]
            known = np.isfinite(x) & np.isfinite(y[keep])
            known &= np.isfinite(covariates[keep]).all(axis=1)
            if known.sum() < correlations.fewest(covariates):
                continue
            data = [correlations.z_squared(x), y[keep], covariates[keep]]
            r = float(correlations.partial(np.column_stack(data)[known]))
            row = {"property": label, "metric": metric, "without": name, "r": r}
            row |= {"n": int(known.sum()), "covariates": covariates.shape[1], "given": given}
            row |= {"column": column}
            if any(column == one.column for one in tested):
                found = shape(x, y[keep], covariates[keep])
                if not isinstance(found, int):
                    row |= {"p curvature": found[0].p, "shape": found[1].shape}
            rows.append(row)
    return rows


def imagenet_without_families(
    table: pd.DataFrame, properties: Sequence[Property], family: Sequence[str]
) -> list[Row]:
    """The same of the plain correlations with ImageNet top-1 (Appendix C)."""
    rows, family = [], np.asarray(family)
    for column, label in properties:
        pairs = table[[IMAGENET, column]].to_numpy()
        known = np.isfinite(pairs).all(axis=1)
        for name in np.unique(family[known]).tolist():
            rest = pairs[known & (family != name)]
            if len(rest) >= correlations.FEWEST:
                row = {"property": label, "metric": IMAGENET, "without": name}
                row |= {"r": float(correlations.partial(rest)), "n": len(rest)}
                rows.append(row | {"covariates": 0, "given": "", "column": column})
    return rows


def group_means(table: pd.DataFrame, properties: Sequence[Property]) -> list[Row]:
    """Table 1 of the paper, and the same of few-shot learning (its Figure 3, left)."""
    rows = []
    for metric in METRICS:
        for place, group in enumerate(groups.groups(table[metric])):
            for column, label in properties:
                printed = paper.TABLE1.get(column, {}).get(metric)
                value = groups.mean(table.loc[list(group.models), column].to_numpy())
                rows.append(
                    {"property": label, "metric": metric, "group": group.name, "mean": value}
                    | {"n": value.n, "paper": printed[place] if printed else None}
                    | {"models": ", ".join(group.models), "column": column}
                )
    return rows


def family_rows(
    table: pd.DataFrame, models: Sequence[Listed], values: Sequence[Property]
) -> tuple[list[Row], list[Row], list[Row]]:
    """Effects of pairs, rows of sizes, and clusters, on alignment and few-shot learning."""
    known = [(column, label) for column, label in values if table[column].notna().any()]
    family = {model.name: model.family for model in models}
    effects = [
        {"effect": e.name, "on": label, "difference": e.difference, "higher in": e.higher, "p": e.p}
        | {"families": len({family[one] for pair in e.pairs for one in pair})}
        | {"n": e.difference.n, "pairs": "; ".join(" → ".join(pair) for pair in e.pairs)}
        for column, label in known
        for e in families.effects(models, table[column])
    ]
    trends = [
        {"row": t.name, "of": label, "Kendall's τ with size": t.tau, "p": t.p}
        | {"largest minus smallest": t.change, "n": len(t.models), "models": ", ".join(t.models)}
        for column, label in known
        for t in families.trends(table[column])
    ]
    clusters = [
        {"cluster": c.name, "by": label, "mean rank": c.rank, "low third": c.low}
        | {"middle third": c.middle, "high third": c.high, "n": len(c.models)}
        | {"of": int(table[column].notna().sum())}
        for column, label in known
        for c in families.clusters(table[column])
    ]
    return effects, trends, clusters


def _shown(cells: Sequence[Any], desc: str) -> Iterable[Any]:
    return progress(cells, desc=desc, unit=" cell") if cells else cells


def by_column(rows: Sequence[Row], **wanted: Any) -> Iterator[Row]:
    """The rows with these values."""
    return (row for row in rows if all(row.get(key) == value for key, value in wanted.items()))
