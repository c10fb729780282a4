"""The report's sections on alignment, on accuracy, and on how the one goes with the other."""

import re
from typing import Any

import numpy as np

from evals.pages.page import Section, Table
from evals.statistics.intervals import Measured
from evals.timm_study import claims as judging
from evals.timm_study import groups, tables
from evals.timm_study.alignment import METRICS
from evals.timm_study.claims import GROUPS, NAMES, Tables
from evals.timm_study.clouds import cloud
from evals.timm_study.study import Study
from evals.timm_study.tables import IMAGENET, REAL_GAIN, by_column


def accuracy(study: Study, found: Tables) -> Section:
    if not study.table[IMAGENET].notna().any():
        return Section("", [])
    rows = [
        {"property": r["property"], "r": short(r["r"]), "paper": _two(r["paper"])}
        | {"families resampled": short(r["r by families"]), "p": judging.p(r["p"]), "n": r["n"]}
        for r in found.with_imagenet
    ]
    caption = (
        "Pearson's correlation of ImageNet top-1 with other properties (the paper's Appendix C, "
        "which cuts off after two decimals). The first interval is Fisher's, of independent "
        "models; the second resamples families."
    )
    gain = study.table[REAL_GAIN].dropna()
    columns = [c for c in study.table if re.fullmatch(r"\w+ top[15]", c)]
    ranges = [
        {"accuracy (%)": column, "mean": f"{one.mean():.2f}", "sd": f"{one.std(ddof=0):.2f}"}
        | {"least": f"{one.min():.2f}, {one.idxmin()}", "most": f"{one.max():.2f}, {one.idxmax()}"}
        | {"n": len(one)}
        for column in columns
        if len(one := study.table[column].dropna())
    ]
    blocks: list[Any] = [
        Table(ranges, "timm's results, over models; models.csv has a row a model."),
        Table(rows, caption),
    ]
    if len(gain):
        lines = [*by_column(found.shapes, column=REAL_GAIN, metric=IMAGENET)]
        worst = gain.idxmin()
        blocks.append(
            f"By the labels of ReaL {int((gain > 0).sum())} of {len(gain)} models have a higher "
            f"top-1 accuracy than by the original ones, by {gain.mean():.2f} points on average "
            f"(least: {worst}, {gain.min():.2f}; most: {gain.idxmax()}, {gain.max():.2f})."
            + (f" {_in_words(lines[0], 'accuracy')}" if lines else "")
        )
        blocks.append(
            cloud(
                study,
                found,
                REAL_GAIN,
                [IMAGENET],
                "",
                "ReaL minus original (points)",
                "What relabelling ImageNet gained each model, against its accuracy by the original "
                "labels.",
                xlabel="ImageNet top-1 (%)",
            )
        )
    return Section("Accuracy on ImageNet and beyond", blocks)


def agreement(study: Study, found: Tables) -> Section:
    rows = []
    for metric in METRICS:
        for group in groups.groups(study.table[metric]):
            value = groups.mean(study.table.loc[list(group.models), metric].to_numpy())
            rows.append(
                {"metric": NAMES[metric], "models": GROUPS[group.name], "mean": value}
                | {"which": ", ".join(group.models)}
            )
    values = study.table[list(METRICS)].describe()
    ranges = "; ".join(
        f"{NAMES[m]} {values[m]['min']:.3f} to {values[m]['max']:.3f}, mean {values[m]['mean']:.3f}"
        for m in METRICS
    )
    between = [
        {"metrics": f"{NAMES[r['first']]} and {NAMES[r['second']]}"}
        | {"correlation": r["correlation"], "r": short(r["r"]), "p": judging.p(r["p"])}
        | {"families resampled": short(r["r by families"]), "n": r["n"], "paper": three(r["paper"])}
        for r in found.intercorrelations
    ]
    blocks: list[Any] = [
        "A model is aligned with people if it finds the pairs of photographs alike that they "
        "do: by Pearson's or Spearman's correlation over all pairs, or by the share of all "
        "triplets “is i more like j or like k?” that it answers as they do. Over models: "
        f"{ranges}.",
        Table(rows, "The models of highest, middling and lowest alignment."),
        Table(
            between,
            "How alike the metrics order models. The paper prints one number each and does not "
            "say by which correlation.",
        ),
    ]
    if study.table[IMAGENET].notna().sum() >= 3:
        blocks.append(
            cloud(
                study,
                found,
                IMAGENET,
                METRICS,
                "",
                "ImageNet top-1 (%)",
                "Alignment and ImageNet accuracy (the paper's Figure 5 has the first panel).",
            )
        )
    return Section("Alignment with people", blocks)


def extremes(study: Study, found: Tables) -> Section:
    """The most and the least aligned models on ImageNet's variants (Table 1)."""
    known = [p for p in tables.RESULTS if p.column in study.table]
    known = [p for p in known if study.table[p.column].notna().any()]
    blocks: list[Any] = []
    for metric in METRICS:
        rows = []
        for column, label in known:
            row: dict[str, Any] = {"accuracy (%)": label}
            for group, called in GROUPS.items():
                for one in by_column(found.groups, column=column, metric=metric, group=group):
                    row[called] = points(one["mean"])
                    row[f"paper, {group}"] = f"{one['paper']:.2f}"
            rows.append(row)
        sizes = {len(group.models) for group in groups.groups(study.table[metric])}
        if rows and sizes:
            caption = (
                f"By {NAMES[metric]} alignment: mean accuracy of the {max(sizes)} models of "
                "highest, of lowest and of the alignment nearest to the mean (the paper's Table "
                "1). Intervals are Student's, over these few models."
            )
            blocks.append(Table(rows, caption))
    return Section("The most and the least aligned", blocks)


def robustness(study: Study, found: Tables) -> Section:
    """Alignment and accuracy on ImageNet's variants, given accuracy on ImageNet (Table 2)."""
    rows = []
    for column, label in (*tables.RESULTS, tables.GAIN):
        for metric in METRICS:
            cells = {
                (r["form"], r["given"]): r
                for r in by_column(found.correlations, column=column, metric=metric)
            }
            if not cells or not np.isfinite(cells["z²", ""]["r"].value):
                continue
            main, raw = cells["z²", study.given], cells["as it is", study.given]
            rows.append(
                {"property": label, "alignment": NAMES[metric], "z²": short(main["r"])}
                | {"p": judging.p(main["p"]), "paper": three(main["paper"])}
                | {"families resampled": short(main["r by families"])}
                | {"z², plain": three(cells["z²", ""]["r"].value)}
                | {"not squared": three(raw["r"].value), "n": main["n"]}
            )
    caption = (
        f"Correlation of z² alignment with accuracy, {study.condition} (the paper's Table 2 is "
        "given ImageNet top-1), and beside it the plain one, and that of alignment as it is, "
        f"{study.condition}. All are in correlations.csv, with intervals."
    )
    return Section("Robustness, given accuracy", [Table(rows, caption)] if rows else [])


def _in_words(row: dict[str, Any], what: str) -> str:
    if row["shape"] is None:
        return ""
    turn = (
        f"the parabola turns at {row['vertex'].value:.1f} %"
        if 0 < row["below vertex"] < 1
        else "the parabola does not turn within the data"
    )
    return (
        f"Against {what} the two-lines test says: {row['shape']} (slopes "
        f"{row['left slope'].value:.3f}, p {judging.p(row['p left'])}, and "
        f"{row['right slope'].value:.3f}, p {judging.p(row['p right'])}); {turn}."
    )


def _two(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def short(value: Measured) -> str:
    """A correlation with its interval, in three decimals."""
    if not np.isfinite(value.value):
        return "–"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]".replace("-", "−")


def three(value: float | None) -> str | None:
    """A correlation in three decimals."""
    return None if value is None or not np.isfinite(value) else f"{value:.3f}".replace("-", "−")


def points(value: Measured) -> str:
    """A percentage with its interval, as the paper prints them."""
    if not np.isfinite(value.low):
        return f"{value.value:.2f}" if np.isfinite(value.value) else "–"
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"
