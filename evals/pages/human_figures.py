"""People beside models, their similarities and their choices; see `figures` for the style."""

from collections.abc import Mapping

import matplotlib
import numpy as np
import scipy.cluster.hierarchy
import scipy.stats
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.spatial.distance import squareform

from evals.pages import figures
from evals.statistics.calibration import Bins
from evals.statistics.intervals import Measured

BINS = 8
LONGEST_NAME = 19


def human_order(similarity: Float[np.ndarray, "n n"]) -> Int[np.ndarray, " n"]:
    """Objects in an order that puts together what people find alike.

    Average-linkage clustering; of the orders that the tree allows, the one with the most similar
    neighbours. Pairs that are NaN count as unlike; the diagonal is not used.
    """
    distance = np.nanmax(similarity) - similarity
    np.copyto(distance, np.nanmax(distance), where=np.isnan(distance))
    np.fill_diagonal(distance, 0)
    condensed = squareform((distance + distance.T) / 2)
    tree = scipy.cluster.hierarchy.linkage(condensed, "average", optimal_ordering=True)
    return scipy.cluster.hierarchy.leaves_list(tree).astype(np.int64)


@matplotlib.rc_context(figures.STYLE)
def similarity_with_people(
    people: Float[np.ndarray, "n n"],
    models: Mapping[str, tuple[Float[np.ndarray, "n n"], Measured]],
    *,
    title: str = "people",
) -> Figure:
    """People's similarities, models', and each against people's; all as percentile ranks.

    Args:
      people: similarities of all pairs of objects; NaN where not known.
      models: the same of up to three models, by name, and Spearman's correlation with people.
      title: over people's.
    """
    order = human_order(people)
    pairs = np.array(np.triu_indices(len(people), 1))
    pairs = pairs[:, np.isfinite(people[*pairs])]

    def ranks(matrix: np.ndarray) -> np.ndarray:
        result = np.full(people.shape, np.nan)
        result[*pairs] = 100 * (scipy.stats.rankdata(matrix[*pairs]) - 0.5) / pairs.shape[1]
        return result

    figure = Figure(layout="constrained")
    if len(models) == 1:
        figure.set_size_inches(figures.WIDTH, 2.2)
        first, *both = figure.subplots(1, 3)
        panels = [both]
    else:
        columns = len(models) + 1
        figure.set_size_inches(figures.WIDTH, 2 * figures.WIDTH / columns)
        (first, *above), (empty, *below) = figure.subplots(2, columns)
        empty.remove()
        panels = list(zip(above, below, strict=True))
    human = ranks(people)
    image = _matrix(first, human, order, title)
    for (upper, lower), (name, (matrix, rho)) in zip(panels, models.items(), strict=True):
        own = ranks(matrix)
        _matrix(upper, own, order, name)
        _density(lower, human[*pairs], own[*pairs], rho)
    panels[0][1].set(xlabel="people, percentile", ylabel="model, percentile")
    below_first = first.inset_axes((0, -0.1, 1, 0.05))
    bar = figure.colorbar(image, cax=below_first, orientation="horizontal", ticks=(0, 100))
    bar.ax.set_xticklabels(("unlike", "alike"))
    bar.outline.set_visible(False)
    return figure


def _matrix(
    axes: Axes, ranks: Float[np.ndarray, "n n"], order: Int[np.ndarray, " n"], title: str
) -> AxesImage:
    """Draws the ranks of the upper triangle, the objects in another order."""
    whole = np.fmax(ranks, ranks.T)[np.ix_(order, order)]
    image = axes.imshow(whole, cmap="cividis", vmin=0, vmax=100, interpolation="none")
    short = title if len(title) <= LONGEST_NAME else f"{title[: LONGEST_NAME - 1]}…"
    axes.set_title(short, fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return image


def _density(
    axes: Axes, x: Float[np.ndarray, " m"], y: Float[np.ndarray, " m"], correlation: Measured
) -> None:
    """Where the pairs are, with the mean of y in eight equally full bins of x."""
    bins = {"gridsize": 18, "extent": (0, 100, 0, 100), "mincnt": 1}
    # As pixels: the report would be mostly outlines of hexagons.
    axes.hexbin(x, y, **bins, cmap="Blues", lw=0.2, rasterized=True)
    parts = np.array_split(np.argsort(x, kind="stable"), min(BINS, len(x)))
    middles = [x[part].mean() for part in parts]
    means = [y[part].mean() for part in parts]
    axes.plot(middles, means, "o-", color=figures.ORANGE, lw=1.2, ms=3.5)
    axes.set(xlim=(0, 100), ylim=(0, 100), xticks=(0, 50, 100), yticks=(0, 50, 100), aspect=1)
    value, low, high = (f"{v:z.2f}".replace("-", "−") for v in correlation[:3])
    axes.set_title(f"ρ = {value} [{low}, {high}]", fontsize=7.5)


@matplotlib.rc_context(figures.STYLE)
def reliability_diagram(
    bins: Bins, *, title: str = "", probability: str = "probability of the most probable answer"
) -> Figure:
    """How often answers come true, against their probability, over the number of answers.

    Args:
      bins: from `calibration.run`.
      title: over the figure.
      probability: what the probability is of.
    """
    figure = Figure(figsize=(3.4, 3.9), layout="constrained")
    top, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    limits = (max(0.0, bins.left.min() - 0.02), 1.0)
    top.plot(limits, limits, **figures.DASHED, label="calibrated", zorder=1)
    style = {"fmt": "o", "color": figures.BLUE, "label": "people (95 % interval)"} | figures.CAPPED
    reach = figures.bars(bins.frequency, bins.low, bins.high)
    top.errorbar(bins.confidence, bins.frequency, yerr=reach, **style)
    top.set(ylabel="share of people who gave it", xlim=limits, ylim=(limits[0], 1.02), title=title)
    top.legend(loc="upper left")
    style = {"align": "edge", "color": figures.SKY, "edgecolor": "white", "lw": 0.8}
    drawn = counts.bar(bins.left, bins.n, bins.right - bins.left, **style)
    counts.bar_label(drawn, map(_thousands, bins.n), padding=1, fontsize=6.5, color=figures.GREY)
    counts.set(xlabel=probability, ylabel="answers")
    counts.yaxis.set_major_formatter(FuncFormatter(lambda n, _: _thousands(n)))
    counts.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    counts.margins(y=0.3)
    return figure


def _thousands(n: float | np.integer) -> str:
    if n < 1000:
        return f"{n:.0f}"
    return f"{n / 1000:.1f}k" if n < 10_000 else f"{n / 1000:,.0f}k"
