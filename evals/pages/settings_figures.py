"""One network in several settings, some of them trained several times; see `figures` for style."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from evals.pages import figures
from evals.statistics.intervals import Measured

PANELS_A_ROW = 4
LONGEST_LINE = 16  # of a title


@matplotlib.rc_context(figures.STYLE)
def scores(
    panels: Mapping[str, Mapping[str, tuple[Measured, Sequence[float]]]],
    *,
    chance: Mapping[str, float],
    trainings: str,
) -> Figure:
    """One panel a test, one row a setting, the same rows in every panel.

    Args:
      panels: by test, then by setting: the number, and those of the single trainings.
      chance: by test, the level of guessing; dashed.
      trainings: what the single ones are called.
    """
    settings = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    columns = min(PANELS_A_ROW, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = (figures.WIDTH, rows * (0.75 + 0.21 * len(settings)) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (test, panel) in zip(grid.flat, panels.items(), strict=False):
        for row, setting in enumerate(settings):
            if setting not in panel:
                continue
            measured, each = panel[setting]
            colour = figures.COLOURS[row % len(figures.COLOURS)]
            below = np.full(len(each), row + 0.3)
            axes.plot(each, below, "|", color=colour, ms=4, mew=1)
            bar = figures.bars(*np.array(measured[:3])[:, None])
            axes.errorbar(measured.value, row, xerr=bar, fmt="o", color=colour, **figures.CAPPED)
        axes.axvline(chance[test], **figures.DASHED, zorder=0)
        axes.set_title(textwrap.fill(test, LONGEST_LINE), fontsize=8)
        axes.set_yticks(range(len(settings)), settings)
        _rows(axes, len(settings))
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    dark = {"color": figures.BLACK, "ls": ""}
    keys = [
        Line2D([], [], **dark, marker="o", label="mean, 95 % interval"),
        Line2D([], [], **dark, marker="|", label=trainings),
        Line2D([], [], **figures.DASHED, label="guessing"),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


@matplotlib.rc_context(figures.STYLE)
def differences(panels: Mapping[str, Mapping[str, Mapping[str, Measured]]]) -> Figure:
    """A panel a unit, a row a test, a dot a difference, and a line where there is none.

    Args:
      panels: by what the axis is called, then by test, then by the difference's name.
    """
    heights = [len(panel) for panel in panels.values()]
    names = list(next(iter(next(iter(panels.values())).values())))
    figure = Figure(figsize=(figures.WIDTH, 0.9 + 0.5 * sum(heights)), layout="constrained")
    grid = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)
    for axes, (unit, panel) in zip(grid.flat, panels.items(), strict=True):
        for index, name in enumerate(names):
            points = [by_name[name] for by_name in panel.values()]
            y = np.arange(len(panel)) + (index - (len(names) - 1) / 2) * 0.7 / len(names)
            value, low, high, _ = np.array(points).T
            look = {"fmt": figures.MARKERS[index], "color": figures.COLOURS[index]}
            axes.errorbar(value, y, xerr=figures.bars(value, low, high), **look, **figures.CAPPED)
        axes.axvline(0, color=figures.BLACK, lw=0.8, zorder=0)
        axes.set_yticks(range(len(panel)), list(panel))
        axes.set_xlabel(unit)
        _rows(axes, len(panel))
    keys = [
        Line2D([], [], ls="", marker=figures.MARKERS[i], color=figures.COLOURS[i], label=name)
        for i, name in enumerate(names)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def _rows(axes: Axes, n: int) -> None:
    for row in range(0, n, 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", lw=0, zorder=-1)
    axes.set_ylim(n - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    axes.xaxis.grid(True, color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
