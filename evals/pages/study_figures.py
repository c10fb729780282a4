"""Figures of the study of many models; see `figures` for the style."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from evals.pages import figures
from evals.pages.fewshot_figures import look, over_shots
from evals.statistics.intervals import Measured

DOTS = {"ls": "", "marker": "o", "ms": 2.6, "mew": 0, "color": "#A8A8A8", "alpha": 0.8}
GRID = {"color": "#E4E4E4", "lw": 0.6}


class Cloud(NamedTuple):
    """Models in a plane.

    Attributes:
      title: of the panel.
      x, y: a point a model; those with NaN are not drawn.
      parabola: at least two points [2, m] of the fitted curve; None for none.
      lines: the ends [2, 2] of each of two lines; empty for none.
    """

    title: str
    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    parabola: Float[np.ndarray, "2 m"] | None
    lines: Sequence[Float[np.ndarray, "2 2"]]


@matplotlib.rc_context(figures.STYLE)
def clouds(
    panels: Sequence[Cloud],
    marked: Mapping[str, Bool[np.ndarray, " n"]],
    *,
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Scatter plots of models side by side, with a parabola and two lines through each.

    Args:
      panels: at most three fit.
      marked: models to be told from the others, by what they are called; at most five.
      xlabel, ylabel: of the axes.
    """
    figure = Figure(
        figsize=(figures.WIDTH * (1 if len(panels) > 1 else 0.62), 2.9), layout="constrained"
    )
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    looks = {
        name: {"color": figures.COLOURS[i], "marker": figures.MARKERS[i], "ls": "", "ms": 4}
        for i, name in enumerate(marked)
    }
    others = ~np.any([*marked.values(), np.zeros(len(panels[0].x), bool)], axis=0)
    for axes, panel in zip(grid, panels, strict=True):
        axes.plot(panel.x[others], panel.y[others], **DOTS, zorder=1)
        for name, members in marked.items():
            axes.plot(panel.x[members], panel.y[members], **looks[name], zorder=3)
        if panel.parabola is not None:
            axes.plot(*panel.parabola, color=figures.BLACK, lw=1.2, ls=(0, (4, 2)), zorder=4)
        for line in panel.lines:
            axes.plot(*line, color=figures.BLACK, lw=1.6, zorder=5)
        axes.set_title(panel.title, fontsize=8)
        axes.grid(True, **GRID)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=7)
        axes.set_xlabel(xlabel if len(panels) == 1 else "alignment")
    grid[0].set_ylabel(ylabel)
    keys = [Line2D([], [], **own, label=name) for name, own in looks.items()]
    if others.any():
        keys += [Line2D([], [], **DOTS, label="other models" if keys else "models")]
    if any(panel.parabola is not None for panel in panels):
        keys.append(Line2D([], [], color=figures.BLACK, lw=1.2, ls=(0, (4, 2)), label="parabola"))
    if any(len(panel.lines) for panel in panels):
        keys.append(Line2D([], [], color=figures.BLACK, lw=1.6, label="two lines"))
    figure.legend(handles=keys, loc="outside lower center", ncols=min(len(keys), 6))
    return figure


class Curves(NamedTuple):
    """One panel: a measured value by curve and by number of examples a class."""

    title: str
    curves: Mapping[str, Mapping[int, Measured]]


@matplotlib.rc_context(figures.STYLE)
def by_shots(
    panels: Sequence[Curves], *, columns: int, ylabel: str, zero: bool, paper: str = ""
) -> Figure:
    """Curves over the number of examples a class, a grid of panels with one legend.

    Args:
      panels: row by row.
      columns: of the grid.
      ylabel: of the axes on the left.
      zero: whether to draw the line of 0, and scales with it.
      paper: what is said under the legend; "" for nothing.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    rows = math.ceil(len(panels) / columns)
    width = figures.WIDTH * max(columns, 2) / 3 if columns < 3 else figures.WIDTH
    figure = Figure(figsize=(width, 1.75 * rows + 0.55), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey="row")
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        if zero:
            axes.axhline(0, **figures.DASHED, zorder=0)
        for number, name in enumerate(names):
            if panel.curves.get(name):
                # A little to the side, so that intervals of several can be told apart.
                _curve(axes, panel.curves[name], number, 1.05 ** (number - (len(names) - 1) / 2))
        over_shots(axes, panel.curves.values(), panel.title)
        if place % columns == 0:
            axes.set_ylabel(ylabel, fontsize=7)
        if place + columns >= len(panels):
            axes.set_xlabel("examples of each class", fontsize=7)
    keys = [Line2D([], [], **look(i), label=name) for i, name in enumerate(names)]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), title=paper or None)
    return figure


@matplotlib.rc_context(figures.STYLE)
def left_out(
    rows: Sequence[tuple[str, float, Measured, Mapping[str, float]]], *, xlabel: str
) -> Figure:
    """A correlation of all models with its interval, and the same without each family.

    Args:
      rows: what it is called, the paper's number or NaN, the correlation, and it by the family
        that is left out.
      xlabel: of the axis.
    """
    figure = Figure(figsize=(figures.WIDTH, 0.27 * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots()
    for place, (_, printed, measured, without) in enumerate(reversed(rows)):
        values = np.array(list(without.values()))
        heights = np.full(len(values), place + 0.22)
        axes.plot(values, heights, "|", color=figures.ORANGE, ms=5, mew=0.8)
        value, low, high, _ = measured
        bar = figures.bars(np.array([value]), np.array([low]), np.array([high]))
        style = {"color": figures.BLUE, "marker": "o", "ms": 3.5, "elinewidth": 1.2}
        axes.errorbar([value], [place - 0.05], xerr=bar, ls="", **style)
        axes.plot([printed], [place - 0.05], "D", color=figures.BLACK, ms=3.2, mfc="white")
    axes.axvline(0, **figures.DASHED, zorder=0)
    axes.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)], fontsize=7)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(xlabel)
    axes.xaxis.grid(True, **GRID)
    axes.set_axisbelow(True)
    keys = [
        Line2D([], [], color=figures.BLUE, marker="o", ms=3.5, label="all models, 95 % interval"),
        Line2D([], [], color=figures.ORANGE, marker="|", ls="", label="without one family"),
    ]
    if np.isfinite([printed for _, printed, *_ in rows]).any():
        diamond = {"color": figures.BLACK, "marker": "D", "ms": 3.2, "mfc": "white", "ls": ""}
        keys.append(Line2D([], [], **diamond, label="paper"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def _curve(axes: Axes, curve: Mapping[int, Measured], number: int, aside: float) -> None:
    shots = np.array(sorted(curve))
    value, low, high, _ = np.array([curve[n] for n in shots.tolist()], np.float64).T
    # Of a single model there is no interval.
    low, high = np.where(np.isfinite(low), low, value), np.where(np.isfinite(high), high, value)
    style = look(number) | {"ms": 3.5, "lw": 1.2, "elinewidth": 0.8}
    axes.errorbar(shots * aside, value, yerr=figures.bars(value, low, high), **style)
