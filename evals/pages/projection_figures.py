"""Maps of spaces of images; see `figures` for the style."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from scipy.spatial.distance import cdist

from evals.pages import figures
from evals.pages.figures import AMBER, BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY
from evals.pages.table import shortened

# In the order of the kinds: as far as may be, the colours of paper 002, Figure 18.
LOOKS = tuple(zip((BLUE, AMBER, GREEN, ORANGE, PURPLE, SKY, BLACK), "osD^vPX", strict=True))
OTHERS = "#BBBBBB"
MOST_A_ROW = 4
LONGEST_NAME = 20
MOST_COMPARED = 500  # points of a kind, among which the densest spot is looked for


class Map(NamedTuple):
    """Attributes:
    points: where each photograph is.
    axes: what is under and beside the map; "" for nothing.
    """

    points: Float[np.ndarray, "n 2"]
    axes: tuple[str, str] = ("", "")


@matplotlib.rc_context(figures.STYLE)
def maps(panels: Mapping[str, Map], kinds: Int[np.ndarray, " n"], names: Sequence[str]) -> Figure:
    """Maps of the same photographs, up to four in a row.

    Points are pixels also where the rest is drawn as lines: 85,000 of them would be too many.

    Args:
      panels: by title.
      kinds: of each photograph, a place in `names`, or −1 for none of them.
      names: at most seven.
    """
    rows = math.ceil(len(panels) / MOST_A_ROW)
    columns = math.ceil(len(panels) / rows)
    side = min((figures.WIDTH - 0.2) / columns, 2.6)
    size = (figures.WIDTH, rows * (side + 0.25) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    # Shuffled, or else the last kind would lie above the others.
    order = np.random.default_rng(0).permutation(len(kinds))
    order = order[np.argsort(kinds[order] >= 0, kind="stable")]
    palette = np.array([*(colour for colour, _ in LOOKS), OTHERS])
    dots = {"s": np.clip(15_000 / len(kinds), 0.3, 4), "lw": 0, "rasterized": True}
    present = [kind for kind in range(len(names)) if (kinds == kind).any()]
    for axes, (title, (points, labels)) in zip(grid.flat, panels.items(), strict=False):
        axes.scatter(*points[order].T, c=palette[kinds[order]], **dots)
        for kind in present:
            colour, marker = LOOKS[kind]
            at = _densest(points[order][kinds[order] == kind])
            axes.plot(*at, marker, color=colour, ms=6, mec="white", mew=0.8)
        axes.set_title(shortened(title, LONGEST_NAME), fontsize=7.5, fontweight="normal")
        axes.set(xticks=[], yticks=[], xlabel=labels[0], ylabel=labels[1])
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_box_aspect(1)
        axes.spines[:].set(visible=True, color=OTHERS)
    keys = [
        Line2D([], [], ls="", color=LOOKS[kind][0], marker=LOOKS[kind][1], label=names[kind])
        for kind in present
    ]
    if (kinds < 0).any():
        keys.append(Line2D([], [], ls="", color=OTHERS, marker=".", label="other things"))
    figure.legend(handles=keys, loc="outside lower center", ncols=4)
    return figure


@matplotlib.rc_context(figures.STYLE)
def curves(shares: Mapping[str, Float[np.ndarray, " k"]]) -> Figure:
    """Shares of variance that the first 1, 2, … components explain together, a line a model."""
    figure = Figure(figsize=(figures.WIDTH, 2.7), layout="constrained")
    axes = figure.subplots()
    several = len(figures.COLOURS)
    for index, (model, values) in enumerate(shares.items()):
        style = {"color": figures.COLOURS[index % several], "ls": ("-", "--")[index // several % 2]}
        axes.plot(np.arange(1, len(values) + 1), values, **style, label=shortened(model))
    axes.set(xlabel="number of components", ylabel="variance explained", xlim=(0, 33))
    axes.set_ylim(bottom=0)
    axes.set_xticks([1, 5, 10, 15, 20, 25, 30])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\u00a0%"))
    axes.grid(True, color="#E4E4E4", lw=0.6)
    axes.set_axisbelow(True)
    if len(shares) > 1:
        figure.legend(loc="outside right upper")
    return figure


def _densest(points: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "2"]:
    """The point with a third of the others nearest around it; a mean may lie among other kinds."""
    some = points[:MOST_COMPARED]
    third = len(some) // 3
    return some[np.partition(cdist(some, some), third)[:, third].argmin()]
