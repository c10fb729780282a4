"""All models on all tests at a glance; see `figures` for the style."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.table import shortened
from evals.statistics.intervals import Measured

PANELS_A_ROW = 4
LONGEST_LINE = 21  # of a title


@matplotlib.rc_context(figures.STYLE)
def headlines(
    scores: Mapping[str, Mapping[str, Measured]],
    models: Sequence[str],
    *,
    chance: Mapping[str, float],
    ceilings: Mapping[str, Measured],
) -> Figure:
    """One panel a test, one row a model, the same rows in every panel.

    Args:
      scores: by test, then by model; the best of a test is orange.
      models: in the order of the rows.
      chance: by test, the level of guessing; dashed.
      ceilings: by test, what people reach among themselves; black.
    """
    columns = min(PANELS_A_ROW, len(scores))
    rows = math.ceil(len(scores) / columns)
    titles = {test: _lines(test) for test in scores}
    lines = max(map(len, titles.values()))
    size = (figures.WIDTH, rows * (0.7 + 0.15 * lines + 0.17 * len(models)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (test, by_model) in zip(panels.flat, scores.items(), strict=False):
        best = max(measured.value for measured in by_model.values())
        for row, model in enumerate(models):
            if row % 2 == 0:
                axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", lw=0, zorder=-1)
            if model not in by_model:
                continue
            value, low, high, _ = by_model[model]
            colour = figures.ORANGE if value == best and len(models) > 1 else figures.BLUE
            bar = np.nan_to_num([[value - low], [high - value]]).clip(0)
            axes.errorbar(value, row, xerr=bar, fmt="o", color=colour, elinewidth=1.2)
        axes.axvline(chance[test], **figures.DASHED, zorder=0)
        ceiling = ceilings.get(test)
        if ceiling is not None:
            if math.isfinite(ceiling.low):
                axes.axvspan(ceiling.low, ceiling.high, color=figures.GREY, alpha=0.3, lw=0)
            axes.axvline(ceiling.value, color=figures.BLACK, lw=1.2)
        axes.set_title("\n".join(titles[test]), fontsize=8)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_yticks(range(len(models)), [shortened(model) for model in models])
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=7)
        axes.margins(x=0.12)
        axes.xaxis.grid(True, color="#DDDDDD", lw=0.6)
        axes.set_axisbelow(True)
    for axes in panels.flat[len(scores) :]:
        axes.remove()
    return figure


def _lines(test: str) -> list[str]:
    """A title in lines that fit a panel: what comes after the last comma is the most telling."""
    lines = test.split("\n")
    if lines == [test] and len(test) > LONGEST_LINE and ", " in test:
        head, _, tail = test.rpartition(", ")
        lines = [f"{shortened(head, LONGEST_LINE - 1)},", tail]
    return [shortened(line, LONGEST_LINE) for line in lines]
