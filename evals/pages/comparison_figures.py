"""The same models in several settings (original, distilled, aligned, …); see `figures` for style.

A setting keeps its colour and its marker throughout.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from evals.pages import figures
from evals.pages.table import shortened
from evals.statistics.intervals import Measured

PANELS_A_ROW = 3
BINS = 36  # of a density, either way
MOST_COLOURS = len(figures.COLOURS)
PEOPLE = {"color": figures.BLACK, "lw": 1.2, "ls": (0, (1, 1))}


class Panel(NamedTuple):
    """One test.

    Attributes:
      title: of the test.
      unit: what is measured, for the axis.
      scores: by model, then by setting.
      chance: level of guessing.
      ceiling: what people reach among themselves, where that is known.
    """

    title: str
    unit: str
    scores: Mapping[str, Mapping[str, Measured]]
    chance: float
    ceiling: Measured | None


@matplotlib.rc_context(figures.STYLE)
def by_setting(panels: Sequence[Panel], models: Sequence[str], labels: Sequence[str]) -> Figure:
    """Scores of all models: a panel a test, a row a model, a dot a setting.

    Args:
      panels: at least one.
      models: in the order of the rows.
      labels: of the settings; a line joins a model's in this order.
    """
    height = 0.62 + len(models) * (0.1 + 0.08 * len(labels))
    figure, grid = _grid(len(panels), height, sharey=True)
    # How far below the middle of a model's row each setting is.
    places = (np.arange(len(labels)) - (len(labels) - 1) / 2) * 0.66 / len(labels)
    for axes, panel in zip(grid, panels, strict=True):
        rows = {model: row for row, model in enumerate(models) if model in panel.scores}
        for row in range(0, len(models), 2):
            axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", lw=0, zorder=-2)
        for model, row in rows.items():
            found = panel.scores[model]
            known = [index for index, label in enumerate(labels) if label in found]
            values = [found[labels[index]].value for index in known]
            axes.plot(values, row + places[known], color="#BBBBBB", lw=0.8, zorder=1)
        for index, label in enumerate(labels):
            some = [model for model in rows if label in panel.scores[model]]
            points = [panel.scores[model][label] for model in some]
            y = np.array([rows[model] for model in some]) + places[index]
            style = _look(index) | {"elinewidth": 1, "ms": 4}
            axes.errorbar([p.value for p in points], y, xerr=_bars(points), **style)
        _levels(axes.axvline, axes.axvspan, panel)
        axes.set(ylim=(len(models) - 0.5, -0.5), xlabel=panel.unit)
        axes.set_title(panel.title, fontsize=8)
        axes.set_yticks(range(len(models)), [shortened(model) for model in models])
        axes.tick_params(axis="y", length=0)
        _finish(axes, "x")
    _legend(figure, panels, [_key(_look(index), label) for index, label in enumerate(labels)])
    return figure


@matplotlib.rc_context(figures.STYLE)
def against_baseline(
    panels: Sequence[Panel], models: Sequence[str], labels: Sequence[str]
) -> Figure:
    """Scores in every other setting against those in the first, a panel a test.

    Settings differ in shape, and up to seven models in colour; of more models only the settings
    can be told apart.

    Args:
      panels: at least one.
      models: in order.
      labels: of the settings, the baseline first.
    """
    figure, grid = _grid(len(panels), 2.05)
    few = len(models) <= MOST_COLOURS
    colours = [{"color": colour} if few else {} for colour in figures.COLOURS]
    for axes, panel in zip(grid, panels, strict=True):
        for index, model in enumerate(models):
            found = panel.scores.get(model, {})
            others = [i for i, label in enumerate(labels) if i and label in found]
            for place in others if labels[0] in found else []:
                x, y = found[labels[0]], found[labels[place]]
                style = _look(place) | colours[index % MOST_COLOURS] | {"elinewidth": 0.6}
                axes.errorbar(x.value, y.value, xerr=_bars([x]), yerr=_bars([y]), **style)
        _levels(axes.axhline, axes.axhspan, panel)
        ends = [*axes.get_xlim(), *axes.get_ylim()]
        limits = (min(ends), max(ends))
        axes.plot(limits, limits, color=figures.BLACK, lw=0.7, zorder=0)
        axes.set(xlim=limits, ylim=limits, aspect=1)
        axes.set(xlabel=f"{panel.unit}, {shortened(labels[0])}", ylabel="other settings")
        axes.set_title(panel.title, fontsize=8)
        _finish(axes, "both")
    black = {"color": figures.BLACK} if few else {}
    keys = [_key(_look(place) | black, labels[place]) for place in range(1, len(labels))]
    if few:
        keys += [
            Line2D([], [], **colour, marker="s", ms=6, ls="", label=shortened(model))
            for model, colour in zip(models, colours, strict=False)
        ]
    keys.append(Line2D([], [], color=figures.BLACK, lw=0.7, label="no change"))
    _legend(figure, panels, keys)
    return figure


@matplotlib.rc_context(figures.STYLE)
def response_times(
    points: Mapping[str, Mapping[str, tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]]],
    correlations: Mapping[str, Mapping[str, Measured]],
) -> Figure:
    """People's response times against one model's entropy: a row a setting, a column a type.

    Args:
      points: by setting, then by type of triplet: the model's entropies in nats, and log seconds;
        triplets with a NaN are not drawn.
      correlations: Spearman's, by type, then by setting.
    """
    types = list(dict.fromkeys(kind for by_type in points.values() for kind in by_type))
    size = (0.6 + 1.95 * len(types), 0.5 + 1.45 * len(points))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(points), len(types), sharex=True, sharey=True, squeeze=False)
    lows, highs = [], []
    for row, (label, by_type) in zip(grid, points.items(), strict=True):
        for axes, kind in zip(row, types, strict=True):
            if kind in by_type:
                entropy, seconds = by_type[kind]
                known = np.isfinite(entropy) & np.isfinite(seconds)
                if known.any():
                    _density(axes, entropy[known], seconds[known])
                    lows.append(seconds[known].min())
                    highs.append(seconds[known].max())
            if rho := correlations.get(kind, {}).get(label):
                at = {"fontsize": 7.5, "va": "top", "transform": axes.transAxes}
                axes.text(0.03, 0.98, f"ρ = {_interval(rho)}", **at)
        row[0].set_ylabel(f"{shortened(label)}\nlog seconds")
    for axes, kind in zip(grid[0], types, strict=True):
        axes.set_title(kind, fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("model's entropy, nats")
    if lows:
        # Room for ρ over the points.
        space = max(highs) - min(lows)
        grid[0, 0].set_ylim(min(lows), max(highs) + 0.2 * space)
    return figure


def _density(axes: Axes, x: Float[np.ndarray, " m"], y: Float[np.ndarray, " m"]) -> None:
    """How many points are where, on a logarithmic scale, and the line of least squares."""
    counts, *edges = np.histogram2d(x, y, BINS)
    shades = np.log1p(counts).T
    shades[shades == 0] = np.nan
    extent = (*edges[0][[0, -1]], *edges[1][[0, -1]])
    style = {"cmap": "Blues", "vmin": 0, "origin": "lower", "interpolation": "none"}
    axes.imshow(shades, extent=extent, aspect="auto", **style)
    if x.std() > 0:
        line = np.polynomial.Polynomial.fit(x, y, 1)
        axes.plot(*line.linspace(2), color=figures.ORANGE)


def _grid(panels: int, height: float, *, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    columns = min(PANELS_A_ROW, panels)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(figures.WIDTH, rows * height + 0.5), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    grid = figure.subplots(rows, columns, sharey=sharey, squeeze=False)
    for axes in grid.flat[panels:]:
        axes.remove()
    return figure, list(grid.flat[:panels])


def _levels(line: Callable, span: Callable, panel: Panel) -> None:
    """Guessing, and what people reach among themselves."""
    line(panel.chance, **figures.DASHED, zorder=0)
    if panel.ceiling is None:
        return
    line(panel.ceiling.value, **PEOPLE, zorder=0)
    if math.isfinite(panel.ceiling.low):
        ends = panel.ceiling.low, panel.ceiling.high
        span(*ends, color=figures.GREY, alpha=0.2, lw=0, zorder=-1)


def _look(place: int) -> dict[str, str]:
    markers = figures.MARKERS
    return {
        "fmt": markers[place % len(markers)],
        "color": figures.COLOURS[place % MOST_COLOURS],
    }


def _key(look: Mapping[str, str], label: str) -> Line2D:
    return Line2D([], [], ls="", marker=look["fmt"], color=look["color"], label=shortened(label))


def _legend(figure: Figure, panels: Sequence[Panel], keys: list[Line2D]) -> None:
    keys = [*keys, Line2D([], [], **figures.DASHED, label="guessing")]
    if any(panel.ceiling for panel in panels):
        keys.append(Line2D([], [], **PEOPLE, label="people among themselves"))
    figure.legend(handles=keys, loc="outside lower center", ncols=4)


def _finish(axes: Axes, grid: str) -> None:
    # Neither end: the last number of a panel would touch the first of the next.
    axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    axes.tick_params(axis="both", labelsize=7)
    axes.grid(True, axis=grid, color="#E4E4E4", lw=0.6)
    axes.set_axisbelow(True)


def _bars(points: Sequence[Measured]) -> Float[np.ndarray, "2 k"]:
    """Lengths of the intervals, none where an end is not known."""
    value, low, high, _ = np.array(points, np.float64).reshape(-1, 4).T
    return np.nan_to_num(np.stack([value - low, high - value])).clip(0)


def _interval(rho: Measured) -> str:
    value, low, high = (f"{end:z.2f}".replace("-", "−") for end in rho[:3])
    return f"{value} [{low}, {high}]"
