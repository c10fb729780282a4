"""Figures of the method's own steps, from people's choices to students; see `figures`."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import scipy.stats
from jaxtyping import Float, Int, Num, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from evals.pages import figures
from evals.pages.figures import (
    BLACK,
    BLUE,
    CAPPED,
    COLOURS,
    DASHED,
    GREY,
    MARKERS,
    ORANGE,
    WIDTH,
    bars,
)
from evals.statistics.intervals import Measured


@matplotlib.rc_context(figures.STYLE)
def lambda_curve(
    curves: Mapping[str, Mapping[float, Measured]],
    *,
    untransformed: Measured | None = None,
    chosen: Mapping[str, float] | None = None,
    title: str = "",
    ylabel: str = "accuracy on held-out objects",
) -> Figure:
    """Held-out accuracy against the strength λ of the regulariser, on a log axis.

    Args:
      curves: accuracy by λ by name ("soft", "hard"); λ > 0.
      untransformed: level before any transform, drawn as a band.
      chosen: the λ taken, by name; ringed.
      title: over the figure.
      ylabel: what was measured.
    """
    figure = Figure(figsize=(4.4, 3.1), layout="constrained")
    axes = figure.subplots()
    if untransformed is not None:
        axes.axhspan(untransformed.low, untransformed.high, color=GREY, alpha=0.2, lw=0)
        axes.axhline(untransformed.value, **DASHED, label="untransformed")
    for index, (name, curve) in enumerate(curves.items()):
        lams = np.array(sorted(curve))
        points = [curve[lam] for lam in lams]
        # A little to the side, so that intervals of two curves can be told apart.
        x = lams * 1.05 ** (index - (len(curves) - 1) / 2)
        y = np.array([point.value for point in points])
        style = {"color": COLOURS[index], "marker": MARKERS[index], "label": name} | CAPPED
        axes.errorbar(x, y, yerr=_measured_bars(points), **style)
        if chosen and name in chosen:
            at = np.flatnonzero(lams == chosen[name])
            ring = {"ms": 11, "mfc": "none", "mec": COLOURS[index], "mew": 1.2}
            axes.plot(x[at], y[at], "o", **ring, label=None if index else "λ taken")
    axes.set(xscale="log", xlabel="strength λ of the regulariser (log scale)")
    axes.set(ylabel=ylabel, title=title)
    axes.yaxis.grid(True, color="#E4E4E4", lw=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@matplotlib.rc_context(figures.STYLE)
def accuracy_dots(
    scores: Mapping[str, Mapping[str, Measured]],
    *,
    chance: float | None = 1 / 3,
    ceilings: Mapping[str, float] | None = None,
    title: str = "",
    xlabel: str = "odd-one-out accuracy",
) -> Figure:
    """Scores of several models on several test sets, a row of dots a set.

    Args:
      scores: by test set, then by model; models keep their colour and their order from set to set.
      chance: level of guessing.
      ceilings: by test set, the best that anyone can reach.
      title: over the figure.
      xlabel: what was measured.
    """
    models = list(dict.fromkeys(model for by_model in scores.values() for model in by_model))
    height = 0.17 * (len(models) + 1) * len(scores) + 1.1
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    step = 1 / (len(models) + 1)
    for index, model in enumerate(models):
        rows = [row for row, by_model in enumerate(scores.values()) if model in by_model]
        points = [by_model[model] for by_model in scores.values() if model in by_model]
        y = np.array(rows) + step * (index - (len(models) - 1) / 2)
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        style = {"fmt": marker, "color": colour, "elinewidth": 1.2, "label": model}
        axes.errorbar([p.value for p in points], y, xerr=_measured_bars(points), **style)
    if chance is not None:
        axes.axvline(chance, **DASHED, label="chance", zorder=0)
    for row, name in enumerate(scores):
        if row % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", lw=0, zorder=-1)
        if ceilings and name in ceilings:
            label = "ceiling" if name == next(iter(ceilings)) else None
            axes.vlines(ceilings[name], row - 0.5, row + 0.5, color=BLACK, lw=1.2, label=label)
    axes.set_yticks(range(len(scores)), list(scores), fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel=f"{xlabel} (95 % interval)", ylim=(len(scores) - 0.5, -0.5), title=title)
    axes.xaxis.grid(True, color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@matplotlib.rc_context(figures.STYLE)
def elbow_curve(
    k: Int[np.ndarray, " c"],
    inertia: Float[np.ndarray, " c"] | Float[np.ndarray, "r c"],
    *,
    chosen: int | None = None,
    title: str = "",
) -> Figure:
    """What k-means leaves unexplained, against the number of clusters.

    Args:
      k: numbers of clusters.
      inertia: mean squared distance to the centre, for each k; several rows are restarts, of which
        the best is drawn as the line and the range as bars.
      chosen: the number of clusters taken.
      title: over the figure.
    """
    restarts = np.atleast_2d(inertia)
    best, worst = restarts.min(axis=0), restarts.max(axis=0)
    figure = Figure(figsize=(4.0, 3.1), layout="constrained")
    axes = figure.subplots()
    label = f"best of {len(restarts)} restarts; bars: up to the worst"
    style = {"fmt": "o-", "color": BLUE, "label": label if len(restarts) > 1 else None} | CAPPED
    axes.errorbar(k, best, yerr=bars(best, best, worst), **style)
    if chosen is not None:
        axes.axvline(chosen, **DASHED | {"color": ORANGE}, label=f"k = {chosen:,} taken")
    axes.set(xlabel="number of clusters k", ylabel="mean squared distance to the centre")
    axes.set(title=title)
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2)
    return figure


@matplotlib.rc_context(figures.STYLE)
def training_curves(
    steps: Num[np.ndarray, " e"],
    losses: Mapping[str, Num[np.ndarray, " e"] | Num[np.ndarray, "s e"]],
    dimensions: Num[np.ndarray, " e"] | Num[np.ndarray, "s e"],
    *,
    truth: int | None = None,
    title: str = "",
    ylabel: str = "nats per triplet",
) -> Figure:
    """A VICE fit: its losses, and how many dimensions survive the pruning rule.

    Args:
      steps: of the entries that follow.
      losses: by name ("−ELBO", "cross-entropy"); several rows are seeds, NaN after a seed's end.
      dimensions: number of dimensions kept, likewise.
      truth: the true number of dimensions, where it is known.
      title: over the figure.
      ylabel: unit of the losses.
    """
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for index, (name, values) in enumerate(losses.items()):
        _lines(left, steps, values, COLOURS[index], ("-", "--", "-.", ":")[index % 4], name)
    left.set(xlabel="step", ylabel=ylabel, title=title)
    left.legend()
    seeds = len(np.atleast_2d(dimensions))
    _lines(right, steps, dimensions, BLUE, "-", f"mean of {seeds} seeds" if seeds > 1 else "fit")
    if truth is not None:
        right.axhline(truth, **DASHED, label=f"true: {truth}")
    right.legend()
    right.set(xlabel="step", ylabel="dimensions kept")
    right.set_ylim(bottom=0)
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@matplotlib.rc_context(figures.STYLE)
def similarity_panels(
    matrices: Mapping[str, Num[np.ndarray, "n n"]],
    categories: Sequence[str] | np.ndarray,
    *,
    title: str = "",
) -> Figure:
    """Similarity matrices side by side, their objects sorted by category.

    Colours are ranks of the pairs within a matrix, so that the scales of different models do not
    matter, as in a rank correlation.

    Args:
      matrices: by name, in the same order of objects.
      categories: of each object.
      title: over the figure.
    """
    order = np.argsort(categories, kind="stable")
    of = np.asarray(categories)[order]
    labels, starts, sizes = np.unique(of, return_index=True, return_counts=True)
    side = min(2.1, (WIDTH - 1.2) / len(matrices))
    figure = Figure(figsize=(side * len(matrices) + 1.2, side + 0.5), layout="constrained")
    thin = min(0.6, 4 / len(labels))
    panels = np.atleast_1d(figure.subplots(1, len(matrices)))
    for axes, (name, matrix) in zip(panels, matrices.items(), strict=True):
        ranks = _percentiles(matrix)[np.ix_(order, order)]
        image = axes.imshow(ranks, cmap="cividis", vmin=0, vmax=100)
        for start in starts[1:]:
            axes.axhline(start - 0.5, color="white", lw=thin)
            axes.axvline(start - 0.5, color="white", lw=thin)
        axes.set_title(name, fontsize=8, loc="center")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    # A label needs some 7 points of height; smaller categories go without.
    shown = sizes * side * 72 / len(of) >= 7
    middles = starts + (sizes - 1) / 2
    panels[0].set_yticks(middles[shown], labels[shown], fontsize=6.5)
    panels[0].tick_params(axis="y", length=0)
    style = {"fraction": 0.04, "pad": 0.02, "shrink": 0.8, "label": "similarity, percentile"}
    bar = figure.colorbar(image, ax=panels.tolist(), **style)
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=9, fontweight="bold", x=0.01, ha="left")
    return figure


@matplotlib.rc_context(figures.STYLE)
def contact_sheet(
    pixels: UInt8[np.ndarray, "n h w 3"],
    triplets: Int[np.ndarray, "t 3"],
    answers: Mapping[str, Int[np.ndarray, " t"]],
    *,
    title: str = "",
    columns: int = 12,
) -> Figure:
    """All images as a grid; below, some triplets with the odd one out that each answer names.

    Args:
      pixels: the images of the grid, square, which the triplets number.
      triplets: rows of `pixels`.
      answers: by who answers ("people", "teacher"), positions 0..2 of the odd one out; −1, a tie.
      title: over the figure.
      columns: images a row of the grid.
    """
    # One set of axes for everything, in units of a grid's tile, y downwards.
    across = min(4, max(1, len(triplets)))
    cell = columns / across
    side = cell / 3.5
    label = 0.15 * columns / WIDTH
    line = side + label * (len(answers) + 0.9)
    rows, lines = -(-len(pixels) // columns), -(-len(triplets) // across)
    top = 2 * label * bool(title)
    middle = top + rows + 2.6 * label
    height = middle + lines * line
    figure = Figure(figsize=(WIDTH, WIDTH * height / columns))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, columns), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(0, 0.2 * label, title, fontsize=9, fontweight="bold", va="top")
    for index, image in enumerate(pixels):
        y, x = divmod(index, columns)
        _picture(axes, image, x, top + y, 0.96)
    if len(triplets):
        style = {"fontsize": 8, "fontweight": "bold", "va": "bottom"}
        axes.text(0, middle - 0.7 * label, "Which is the odd one out?", **style)
    for index, triplet in enumerate(triplets):
        y, x = divmod(index, across)
        for position, image in enumerate(triplet):
            left, upper = x * cell + position * side * 1.06, middle + y * line
            _picture(axes, pixels[image], left, upper, side)
            takers = [who for who, odd in enumerate(answers.values()) if odd[index] == position]
            for place, who in enumerate(takers):
                colour, inset = COLOURS[who], (0.02 + 0.05 * place) * side
                corner, width = (left + inset, upper + inset), side - 2 * inset
                axes.add_patch(Rectangle(corner, width, width, fill=False, ec=colour, lw=1.6))
                at = (left + side / 2, upper + side + label * (0.25 + place))
                style = {"color": colour, "fontsize": 7, "ha": "center", "va": "top"}
                axes.text(*at, list(answers)[who], **style)
    return figure


def _picture(axes: Axes, image: np.ndarray, left: float | int, top: float, side: float) -> None:
    extent = (left, left + side, top + side, top)
    limits = axes.axis()  # imshow fits the axes to the picture
    axes.imshow(image, extent=extent, interpolation="nearest", aspect="auto")
    axes.axis(limits)


def _lines(
    axes: Axes, x: np.ndarray, values: np.ndarray, colour: str, style: str, label: str | None
) -> None:
    """A line for the mean over seeds, as long as all run, and a thin one for each of several."""
    values = np.atleast_2d(np.asarray(values, float))
    known = np.isfinite(values).any(axis=0)
    x, values = x[known], values[:, known]
    axes.plot(x, values.mean(axis=0), color=colour, ls=style, label=label)
    if len(values) > 1:
        axes.plot(x, values.T, color=colour, lw=0.5, alpha=0.4)


def _measured_bars(points: Sequence[Measured]) -> np.ndarray:
    value, low, high, _ = np.array(points, float).reshape(-1, 4).T
    return bars(value, low, high)


def _percentiles(matrix: np.ndarray) -> np.ndarray:
    """Ranks of the off-diagonal pairs, 0 to 100; the diagonal, which is no pair, blank."""
    n = len(matrix)
    upper = np.triu_indices(n, 1)
    ranks = np.full((n, n), np.nan)
    ranks[upper] = 100 * (scipy.stats.rankdata(matrix[upper]) - 0.5) / len(upper[0])
    ranks.T[upper] = ranks[upper]
    return ranks
