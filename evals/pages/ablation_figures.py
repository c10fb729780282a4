"""What trainings that differ in one thing come to; see `figures` for the style."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evals.pages import figures
from evals.pages.table import shortened

PANELS_A_ROW = 3
MOST_NAMED = 12  # settings whose names fit beside their dots
# By model: what was varied, the accuracy, and half the length of its bar, in order. What was varied
# is 0 for a baseline without any.
Curves = Mapping[str, Sequence[tuple[float, float, float]]]


@matplotlib.rc_context(figures.STYLE)
def curves(panels: Mapping[str, Curves]) -> Figure:
    """Accuracy against a number, logarithmic; a panel a test, a line a model, dashed at 0."""
    columns = min(PANELS_A_ROW, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(figures.WIDTH, 0.5 + 1.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (title, by_model) in zip(grid.flat, panels.items(), strict=False):
        for index, (model, points) in enumerate(by_model.items()):
            if points:
                x, y, error = np.array(points).T
                some, bars, look = x > 0, np.nan_to_num(error), _look(index)
                axes.errorbar(x[some], y[some], yerr=bars[some], label=model, **look)
                for level in y[~some]:
                    axes.axhline(level, color=look["color"], ls="--", lw=1)
        axes.set_xscale("log")
        axes.set_title("\n".join(_wrapped(title)), fontsize=8)
        _in_percent(axes, "y")
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    _legend(figure, list(next(iter(panels.values()))))
    return figure


@matplotlib.rc_context(figures.STYLE)
def cloud(points: Mapping[str, Mapping[str, tuple[float, float]]], *, x: str, y: str) -> Figure:
    """Two accuracies against each other: a panel a model, a dot a setting.

    Args:
      points: by model, then by setting; the first setting is the baseline.
      x, y: what they are.
    """
    columns = min(PANELS_A_ROW, len(points))
    rows = math.ceil(len(points) / columns)
    width = figures.WIDTH * max(columns, 2) / PANELS_A_ROW
    figure = Figure(figsize=(width, 0.6 + 2.1 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (model, by_label) in zip(grid.flat, points.items(), strict=False):
        for index, (label, (right, up)) in enumerate(by_label.items()):
            colour, marker = (figures.GREEN, "D") if index == 0 else (figures.BLUE, "o")
            axes.plot(right, up, color=colour, marker=marker, ls="")
            if len(by_label) <= MOST_NAMED:
                at = {"xytext": (4, 3), "textcoords": "offset points", "fontsize": 7}
                axes.annotate(shortened(label, 20), (right, up), **at)
        axes.set_title(shortened(model), fontsize=8)
        axes.margins(0.18)
        _in_percent(axes, "both")
    for axes in grid.flat[len(points) :]:
        axes.remove()
    figure.supxlabel(x, fontsize=8)
    figure.supylabel(y, fontsize=8)
    return figure


def _look(index: int) -> dict[str, object]:
    colour = figures.COLOURS[index % len(figures.COLOURS)]
    marker = figures.MARKERS[index % len(figures.MARKERS)]
    return {"color": colour, "marker": marker, **figures.CAPPED}


def _in_percent(axes: Axes, which: str) -> None:
    if which == "both":
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\u00a0%"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\u00a0%"))
    axes.grid(True, axis=which, color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)


def _legend(figure: Figure, models: Sequence[str]) -> None:
    if len(models) > 1:
        blank = figure.axes[0]
        keys = [
            blank.plot([], [], label=shortened(m), **_plain(i))[0] for i, m in enumerate(models)
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=3)


def _plain(index: int) -> dict[str, object]:
    look = _look(index)
    return {"color": look["color"], "marker": look["marker"]}


def _wrapped(title: str) -> list[str]:
    head, comma, tail = title.rpartition(", ")
    return [head + comma, tail] if len(title) > 28 and comma else [title]
