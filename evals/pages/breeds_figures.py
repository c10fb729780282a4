"""Figures on BREEDS; see `figures` for the style."""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evals.pages import figures
from evals.pages.table import shortened
from evals.statistics.intervals import Measured

PANELS_A_ROW = 2


@matplotlib.rc_context(figures.STYLE)
def pairs(
    scores: Mapping[str, Mapping[str, tuple[Measured, Measured]]],
    models: Sequence[str],
    chance: Mapping[str, float],
) -> Figure:
    """Accuracies on classes that were learnt from and on others, a panel a benchmark.

    Args:
      scores: by benchmark, then by model: source and target.
      models: in the order of the rows.
      chance: by benchmark, what guessing gives.
    """
    rows = -(-len(scores) // PANELS_A_ROW)
    size = (figures.WIDTH, 0.4 + rows * (0.75 + 0.19 * len(models)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, PANELS_A_ROW, sharex=True, sharey=True, squeeze=False)
    for axes, (name, by_model) in zip(panels.flat, scores.items(), strict=False):
        _panel(axes, by_model, models)
        axes.axvline(chance[name], **figures.DASHED, zorder=0, label="guessing")
        axes.set_title(name, fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("accuracy (95 % interval)")
    for axes in panels.flat[len(scores) :]:
        axes.remove()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    # One of each: every model drew its own.
    shown = dict(zip(labels, handles, strict=True))
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=3)
    return figure


def _panel(
    axes: Axes, by_model: Mapping[str, tuple[Measured, Measured]], models: Sequence[str]
) -> None:
    for row, model in enumerate(models):
        if row % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", lw=0, zorder=-1)
        if model not in by_model:
            continue
        source, target = by_model[model]
        axes.plot((source.value, target.value), (row, row), color=figures.GREY, lw=0.8, zorder=1)
        for measured, label, style in (
            (source, "classes it learnt from", {"mfc": "white", "color": figures.BLUE}),
            (target, "other classes of the same kinds", {"color": figures.ORANGE}),
        ):
            value, low, high, _ = measured
            bar = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.errorbar(value, row, xerr=bar, fmt="o", elinewidth=1.2, label=label, **style)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_yticks(range(len(models)), [shortened(model) for model in models])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.margins(x=0.08)
    axes.xaxis.grid(True, color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
