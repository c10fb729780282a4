"""Figures on Levels: people's response times and disagreement, and models' doubts.

See `figures` for the style.
"""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evals.pages import figures
from evals.pages.table import shortened
from evals.statistics import intervals
from evals.statistics.intervals import Measured

KIND_COLOURS = {"coarse": figures.BLUE, "fine": figures.ORANGE, "boundary": figures.GREEN}
FEWEST = 10  # triplets whose mean is drawn
SECONDS = (1, 2, 3, 5, 10)
# Of five people, by tenths of nats.
VOTES = {0: "all agree", 5: "4 : 1", 6: "3 : 2", 9: "3 : 1 : 1", 10: "2 : 2 : 1"}


@matplotlib.rc_context(figures.STYLE)
def response_times(
    log_rt: Mapping[str, Float[np.ndarray, " t"]],
    entropy: Mapping[str, Float[np.ndarray, " t"]],
    correlations: Mapping[str, Measured | None],
) -> Figure:
    """People's response times and disagreement by type of triplet (002, Fig. 5).

    Args:
      log_rt: mean log response time of each triplet, natural log of seconds.
      entropy: of its votes, nats.
      correlations: Spearman's, of the two.
    """
    figure = Figure(figsize=(figures.WIDTH, 4.6), layout="constrained")
    panels = figure.subplot_mosaic(
        [["times", "relation"], ["votes", "votes"]], height_ratios=(4, 3)
    )
    times, relation, votes = panels["times"], panels["relation"], panels["votes"]
    every = np.concatenate(list(log_rt.values()))
    edges = np.linspace(every.min(), every.max() + 1e-9, 50)
    for kind, values in log_rt.items():
        style = {"color": KIND_COLOURS[kind], "density": True, "histtype": "stepfilled"}
        times.hist(values, edges, **style, alpha=0.25)
        times.hist(values, edges, **style | {"histtype": "step"}, lw=1.2)
        _relation(relation, entropy[kind], values, kind, correlations[kind])
    times.set(title="How long people take", xlabel="response time, s (log scale)", yticks=[])
    times.spines["left"].set_visible(False)
    _in_seconds(times.xaxis, edges[0], edges[-1])
    relation.set(title="Disagreement takes time", xlabel="disagreement, nats")
    relation.set(ylabel="response time, s (log scale)")
    _in_seconds(relation.yaxis, *relation.get_ylim())
    relation.set_xlim(right=1.3 * relation.get_xlim()[1])  # room for ρ
    _votes(votes, entropy)
    figure.legend(*votes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _relation(
    axes: Axes, entropy: np.ndarray, log_rt: np.ndarray, kind: str, correlation: Measured | None
) -> None:
    # The same votes have the same entropy up to the order in which it was summed.
    levels, index, count = np.unique(entropy.round(6), return_inverse=True, return_counts=True)
    drawn = [place for place in range(len(levels)) if count[place] >= FEWEST]
    means = [intervals.mean(log_rt[index == place]) for place in drawn]
    value, low, high, _ = np.array(means, float).reshape(-1, 4).T
    style = {"fmt": "o-", "color": KIND_COLOURS[kind]} | figures.CAPPED
    axes.errorbar(levels[drawn], value, yerr=[value - low, high - value], **style)
    if correlation is not None and drawn:
        style = {"color": KIND_COLOURS[kind], "fontsize": 7, "textcoords": "offset points"}
        end = (levels[drawn][-1], value[-1])
        axes.annotate(f"ρ = {correlation.value:.2f}", end, (7, 0), va="center", **style)


def _votes(axes: Axes, entropy: Mapping[str, np.ndarray]) -> None:
    """Shares of triplets by disagreement, in bins of 0.1 nats, the empty ones left out."""
    bins = {kind: (values / 0.1 + 1e-6).astype(int) for kind, values in entropy.items()}
    filled = np.unique(np.concatenate(list(bins.values())))
    width = 0.8 / len(bins)
    for place, (kind, values) in enumerate(bins.items()):
        share = [(values == level).mean() for level in filled]
        x = np.arange(len(filled)) + width * (place - (len(bins) - 1) / 2)
        axes.bar(x, share, width, color=KIND_COLOURS[kind], label=kind)
    ranges = [f"{level / 10:.1f}–{level / 10 + 0.1:.1f}" for level in filled]
    labels = [
        f"{text}\n{VOTES.get(level, '')}"
        for text, level in zip(ranges, filled.tolist(), strict=True)
    ]
    axes.set_xticks(range(len(filled)), labels)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(title="How far people disagree", xlabel="disagreement, nats", ylabel="triplets")


def _in_seconds(axis: Axis, low: float, high: float) -> None:
    ticks = [seconds for seconds in SECONDS if low <= np.log(seconds) <= high]
    axis.set_ticks(np.log(ticks), [str(seconds) for seconds in ticks])


@matplotlib.rc_context(figures.STYLE)
def sweep(
    correlations: Mapping[str, Float[np.ndarray, "m k"]],
    models: Sequence[str],
    taus: Sequence[float],
    people: Mapping[str, Measured],
) -> Figure:
    """Correlations of models' entropy with response times by temperature, a panel a type.

    Args:
      correlations: one row a model, one column a temperature; NaN where there is none.
      models: names of the rows.
      taus: the temperatures.
      people: what is reached by people's own disagreement, in the panels' titles.
    """
    height = 0.9 + 0.2 * len(models)
    figure = Figure(figsize=(figures.WIDTH, height), layout="constrained")
    panels = figure.subplots(1, len(correlations), sharey=True, squeeze=False)[0]
    known = [np.abs(values[np.isfinite(values)]) for values in correlations.values()]
    limit = max([0.05, *np.concatenate(known).tolist(), *(p.value for p in people.values())])
    for axes, (kind, values) in zip(panels, correlations.items(), strict=True):
        axes.imshow(values, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = "white" if abs(value) > 0.7 * limit else "black"
                text = f"{value:z.2f}".replace("-", "−")
                axes.text(column, row, text, color=ink, fontsize=6.5, ha="center", va="center")
        axes.set_title(
            f"{kind} (people {people[kind].value:.2f})" if kind in people else kind, fontsize=8
        )
        axes.set_xticks(range(len(taus)), [f"{tau:g}" for tau in taus])
        axes.set(xlabel="temperature τ")
        axes.set_yticks(range(len(models)), [shortened(model) for model in models])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


@matplotlib.rc_context(figures.STYLE)
def reliability(curves: Mapping[str, Mapping[str, Float[np.ndarray, "b 3"]]]) -> Figure:
    """Shares of people's answers against models' probabilities, a panel a type of triplets.

    Args:
      curves: by type, then by model; columns: mean probability, share, number of triplets.
    """
    figure = Figure(figsize=(figures.WIDTH, 2.7), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (kind, by_model) in zip(panels, curves.items(), strict=True):
        axes.plot((0, 1), (0, 1), **figures.DASHED)
        for place, (model, curve) in enumerate(by_model.items()):
            style = {"color": figures.COLOURS[place], "marker": figures.MARKERS[place], "ms": 3.5}
            axes.plot(curve[:, 0], curve[:, 1], **style, label=model if axes is panels[0] else None)
        axes.set_title(kind, fontsize=8)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="probability", aspect=1)
    panels[0].set_ylabel("share of people's answers")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
