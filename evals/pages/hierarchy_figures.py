"""Figures on the hierarchy of concepts; see `figures` for the style."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from evals.pages import figures
from evals.statistics.intervals import Measured

# From near to far.
COLOURS = (figures.BLACK, figures.BLUE, figures.SKY, figures.ORANGE)
REACH = 4  # SDs, on either side
DIVERGING = "RdBu_r"
NONE = "#BDBDBD"


@matplotlib.rc_context(figures.STYLE)
def changes(
    means: Mapping[str, Measured], distributions: Mapping[str, Float[np.ndarray, " m"]]
) -> Figure:
    """Changes of distances by relation: their means, and their densities one above the other.

    Args:
      means: by relation, from near to far.
      distributions: the changes of some pairs of each.
    """
    figure = Figure(figsize=(figures.WIDTH, 0.9 + 0.42 * len(means)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
    edges = np.linspace(-REACH, REACH, 8 * REACH + 1)
    middle, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    densities = {
        # What lies beyond is counted at the ends.
        name: np.histogram(values.clip(-REACH, REACH), edges)[0] / len(values) / width
        for name, values in distributions.items()
    }
    highest = max(density.max() for density in densities.values())
    colours = COLOURS[-len(means) :]
    for row, (name, (value, low, high, _)) in enumerate(means.items()):
        bar = np.nan_to_num([[value - low], [high - value]]).clip(0)
        left.errorbar(value, row, xerr=bar, fmt="o", color=colours[row], **figures.CAPPED)
        top = row + 0.4 - 0.9 * densities[name] / highest
        right.fill_between(middle, row + 0.4, top, color=colours[row], alpha=0.35, lw=0)
        right.plot(middle, top, color=colours[row], lw=1)
        right.vlines(value, row + 0.4, row - 0.1, color=colours[row], lw=1.6)
    for axes, title in ((left, "Mean change"), (right, "Distribution")):
        axes.axvline(0, **figures.DASHED, zorder=0)
        axes.set(title=title, xlabel="change of distance, SD (− closer)")
        axes.tick_params(axis="y", length=0)
    left.set_yticks(range(len(means)), list(means))
    left.set_ylim(len(means) - 0.4, -0.7)
    left.margins(x=0.12)
    right.set_xlim(-REACH, REACH)
    return figure


@matplotlib.rc_context(figures.STYLE)
def categories(matrix: Float[np.ndarray, "b b"], groups: Mapping[str, int]) -> Figure:
    """Changes between categories, with groups of them boxed on the diagonal.

    Args:
      matrix: symmetric; NaN where there is nothing.
      groups: by name, how many of the categories, which come in this order.
    """
    figure = Figure(figsize=(figures.WIDTH, 5.2), layout="constrained")
    axes = figure.subplots()
    # A few extreme squares, of few pairs each, would leave the others pale.
    limit = np.nanquantile(np.abs(matrix), 0.98)
    colours = matplotlib.colormaps[DIVERGING].with_extremes(bad=NONE)
    image = axes.imshow(matrix, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
    starts = np.cumsum([0, *groups.values()])
    for start, size in zip(starts, groups.values(), strict=False):
        corner = (start - 0.5, start - 0.5)
        axes.add_patch(Rectangle(corner, size, size, fill=False, ec="black", lw=1.1))
    middles = starts[:-1] + np.array(list(groups.values())) / 2 - 0.5
    axes.set_xticks(middles, list(groups), rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(middles, list(groups))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    label = "change of distance, SD (− closer)"
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, extend="both", label=label)
    bar.outline.set_visible(False)
    return figure


@matplotlib.rc_context(figures.STYLE)
def triplets(shares: Float[np.ndarray, "k k"], relations: Sequence[str]) -> Figure:
    """Shares of triplets by the relation of the similar pair and that of the odd one out.

    Args:
      shares: a row for each relation of the pair, a column for each of the odd one out.
      relations: their names.
    """
    figure = Figure(figsize=(4.6, 2.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="cividis", vmin=0, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        ink = "white" if share < shares.max() / 2 else "black"
        text = f"{share:.1%}" if share else "0"
        axes.text(column, row, text, color=ink, fontsize=7, ha="center", va="center")
    names = [name.replace(" ", "\n") for name in relations]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), relations)
    axes.set(xlabel="odd one out, to the nearer of the pair", ylabel="similar pair")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1, decimals=0), pad=0.02)
    bar.outline.set_visible(False)
    return figure
