"""Models in a plane, with the curves that the tests of a U draw through them."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from evals.pages import study_figures
from evals.pages.page import Picture
from evals.pages.study_figures import Cloud
from evals.timm_study.claims import NAMES, Tables
from evals.timm_study.families import CLUSTERS
from evals.timm_study.study import Study
from evals.timm_study.tables import by_column

MOST_MARKED = 5  # told apart by colour and form in one legend


def cloud(
    study: Study,
    found: Tables,
    column: str,
    against: Sequence[str],
    given: str,
    ylabel: str,
    caption: str,
    *,
    xlabel: str = "alignment",
) -> Picture:
    panels = []
    for metric in against:
        x, y = study.table[metric].to_numpy(), study.table[column].to_numpy()
        rows = [*by_column(found.shapes, column=column, metric=metric, given=given)]
        parabola, lines = _drawn(x, y, rows[0] if rows else {"shape": None})
        panels.append(Cloud(NAMES.get(metric, metric), x, y, parabola, lines))
    return Picture(
        study_figures.clouds(panels, _marked(study), xlabel=xlabel, ylabel=ylabel),
        f"{caption} Dashed: a parabola; solid: the two lines of the two-lines test.",
    )


def _drawn(
    x: np.ndarray, y: np.ndarray, row: dict[str, Any]
) -> tuple[np.ndarray | None, list[np.ndarray]]:
    """The curves of the tests as they are drawn through the models."""
    known = np.isfinite(x) & np.isfinite(y)
    if row["shape"] is None or known.sum() < 3:
        return None, []
    x, y = x[known], y[known]
    grid = np.linspace(x.min(), x.max(), 100)
    parabola = np.stack([grid, np.polynomial.Polynomial.fit(x, y, 2)(grid)])
    lines = []
    for side in (x <= row["break"], x >= row["break"]):
        if len(np.unique(x[side])) > 1:
            ends = np.array([x[side].min(), x[side].max()])
            lines.append(np.stack([ends, np.polynomial.Polynomial.fit(x[side], y[side], 1)(ends)]))
    return parabola, lines


def _marked(study: Study) -> dict[str, np.ndarray]:
    """The paper's clusters; or of other models the families, if they are few."""
    names, families = [model.name for model in study.models], np.array(study.families)
    found = {
        name: np.array([bool(re.match(pattern, one)) for one in names])
        for name, pattern in CLUSTERS.items()
    }
    found = {name: members for name, members in found.items() if members.any()}
    few = sorted({*study.families})
    if found or not 1 < len(few) <= MOST_MARKED:
        return found
    return {name: families == name for name in few}
