"""Figures on learning from few examples; see `figures` for the style."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from evals.pages import figures
from evals.pages.table import shortened
from evals.statistics.intervals import Measured

PANELS_A_ROW = 3
KEYS_A_ROW = 3
OTHERS = {"color": "#BBBBBB", "lw": 0.8}


class Panel(NamedTuple):
    """One data set.

    Attributes:
      title: of the data set.
      chance: share that guessing gets right.
      curves: accuracy by model, or by whatever is compared, and by number of examples a class.
    """

    title: str
    chance: float
    curves: Mapping[str, Mapping[int, Measured]]


@matplotlib.rc_context(figures.STYLE)
def curves(panels: Sequence[Panel], names: Sequence[str]) -> Figure:
    """Accuracy against the number of examples of each class, a panel a data set.

    Args:
      panels: at least one.
      names: of the curves; the first seven have colours, the rest are grey.
    """
    columns = min(PANELS_A_ROW, len(panels))
    rows = math.ceil(len(panels) / columns)
    coloured = names[: len(figures.COLOURS)]
    keys = [Line2D([], [], **look(i), label=shortened(name)) for i, name in enumerate(coloured)]
    if len(names) > len(coloured):
        keys.append(Line2D([], [], **OTHERS, label="others"))
    keys.append(Line2D([], [], **figures.DASHED, label="guessing"))
    lines = math.ceil(len(keys) / KEYS_A_ROW)
    size = (figures.WIDTH * max(columns, 2) / PANELS_A_ROW, 1.9 * rows + 0.3 + 0.16 * lines)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        axes.axhline(panel.chance, **figures.DASHED, zorder=0)
        for number, name in enumerate(names):
            if name in panel.curves:
                # A little to the side, so that intervals of several can be told apart.
                aside = 1.04 ** (number - (len(coloured) - 1) / 2)
                _curve(axes, panel.curves[name], number, aside)
        over_shots(axes, panel.curves.values(), panel.title)
        axes.set_ylim(bottom=0)
        if place % columns == 0:
            axes.set_ylabel("accuracy")
        if place + columns >= len(panels):
            axes.set_xlabel("examples of each class")
    figure.legend(handles=keys, loc="outside lower center", ncols=min(KEYS_A_ROW, columns + 1))
    return figure


def look(number: int) -> dict[str, str]:
    """Colour and form of a curve."""
    return {"color": figures.COLOURS[number], "marker": figures.MARKERS[number]}


def _curve(axes: Axes, curve: Mapping[int, Measured], number: int, aside: float) -> None:
    shots = np.array(sorted(curve))
    value, low, high, _ = np.array([curve[n] for n in shots.tolist()], np.float64).T
    if number >= len(figures.COLOURS):
        axes.plot(shots, value, **OTHERS, zorder=1)
        return
    bars = np.stack([value - low, high - value]).clip(0)
    style = look(number) | {"ms": 3.5, "lw": 1.2, "elinewidth": 0.8}
    axes.errorbar(shots * aside, value, yerr=bars, **style)


def over_shots(axes: Axes, curves: Iterable[Mapping[int, Measured]], title: str) -> None:
    """The axes of a panel of curves by number of examples; of no curve, only its title."""
    shots = sorted({n for curve in curves for n in curve})
    if shots:
        axes.set(xscale="log", xlim=(shots[0] / 1.4, shots[-1] * 1.4))
        axes.set_xticks(shots, [str(n) for n in shots])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(shortened(title), fontsize=8)
    axes.tick_params(labelsize=7)
    axes.yaxis.grid(True, color="#E4E4E4", lw=0.6)
    axes.set_axisbelow(True)
