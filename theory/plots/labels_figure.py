"""The figure of labels, rankings, ratings and odd-one-out answers."""

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.pages import figures
from evals.statistics import intervals
from theory.plots import Effort
from theory.plots.labels_measured import (
    COUNTS,
    KINDS,
    OBJECTS,
    REPEATED,
    SETS,
    SHOWN,
    TARGET,
    TAUS,
    D,
    Fixed,
    Found,
    N,
    Worth,
    at,
    by_bits,
    by_triplets,
)

GREYS = (figures.BLACK, figures.GREY, "#B0B0B0")  # of temperatures; kinds have colours


@matplotlib.rc_context(figures.STYLE)
def draw(found: Found, fixed: Fixed, prior: float) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 5.2), layout="constrained")
    (first, curves), (costs, ceiling) = figure.subplots(2, 2)
    _draw_bits(first, found)
    _draw_curves(curves, found[SHOWN], prior)
    _draw_costs(costs, found)
    _draw_fixed(ceiling, fixed, prior)
    return figure


def _draw_bits(axes: Axes, found: Found) -> None:
    rows = np.arange(len(KINDS))[::-1]
    for (tau, of), grey, marker in zip(found.items(), GREYS, figures.MARKERS, strict=False):
        value, low, high, _ = np.array([of[name].mean for name in KINDS]).T
        axes.errorbar(
            value, rows, xerr=figures.bars(value, low, high), color=grey, ls="", marker=marker,
            ms=4, elinewidth=0.8, label=f"bits at {at(tau)}", zorder=3,
        )  # fmt: skip
    limits = [math.log2(kind.outcomes) for kind in KINDS.values()]
    said = [kind.triplets or math.nan for kind in KINDS.values()]
    ring = {"marker": "o", "mfc": "none", "ms": 7, "zorder": 4, "label": "bits at most"}
    cross = {"marker": "x", "ms": 5, "mew": 1.2, "label": "triplets"}
    for values, style in ((limits, ring), (said, cross)):
        axes.errorbar(values, rows, ls="", color=figures.BLACK, **style)
    axes.set_yticks(rows, list(KINDS))
    axes.set(xlabel="bits, or triplets, an answer", title="What one answer says")
    axes.set(xlim=(0, 6.3), ylim=(-0.5, len(KINDS) + 0.9))
    axes.legend(loc="upper right", fontsize=6.5, ncols=2, borderpad=0, columnspacing=1)


def _draw_curves(axes: Axes, of: dict[str, Worth], prior: float) -> None:
    for (name, one), colour, marker in zip(
        of.items(), figures.COLOURS, figures.MARKERS, strict=False
    ):
        value, low, high, _ = np.array([intervals.mean(row) for row in one.learnt.alignment[1:]]).T
        axes.errorbar(
            one.learnt.counts[1:], value, yerr=figures.bars(value, low, high), color=colour,
            marker=marker, ms=3, lw=1, elinewidth=0.7, label=name,
        )  # fmt: skip
    _say_prior(axes, COUNTS[-1], prior)
    axes.set(xscale="log", xlabel="answers", ylabel="alignment on questions about c", ylim=(0.5, 1))
    axes.set_title(f"What many answers say ({at(SHOWN)})")
    axes.set_xticks([2**i for i in range(8)], [str(2**i) for i in range(8)])
    axes.minorticks_off()
    axes.legend(loc="lower right", fontsize=6.5, borderpad=0, bbox_to_anchor=(1, 0.39))


def _draw_costs(axes: Axes, found: Found) -> None:
    styles = dict(zip(KINDS, zip(figures.COLOURS, figures.MARKERS, strict=True), strict=False))
    for by, filled in ((by_triplets, False), (by_bits, True)):
        for of in found.values():
            for name, one in by(of).items():
                colour, marker = styles[name]
                cost = of[name].cost
                axes.errorbar(
                    one.value, cost.value, color=colour, marker=marker, ms=4.5, elinewidth=0.7,
                    xerr=figures.bars(*np.array([one[:3]]).T),
                    yerr=figures.bars(*np.array([cost[:3]]).T),
                    mfc=colour if filled else "white", zorder=3,
                )  # fmt: skip
    for label, face in (("triplets it says", "white"), ("bits of a first answer", figures.GREY)):
        axes.plot(
            [], [], ls="", marker="o", color=figures.GREY, mfc=face, ms=4.5, label=f"by the {label}"
        )
    ends = (1, 128)
    axes.plot(ends, ends, **figures.DASHED)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set(xlabel="answers predicted from those of triplets", ylabel="answers needed")
    axes.set_title(f"Answers until {100 * TARGET:.0f} % are right")
    ticks = [1, 4, 16, 64]
    axes.set_xticks(ticks, map(str, ticks))
    axes.set_yticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.legend(loc="upper left", fontsize=6.5, borderpad=0)


def _draw_fixed(axes: Axes, fixed: Fixed, prior: float) -> None:
    colours = dict(zip(KINDS, figures.COLOURS, strict=False))
    green, amber = colours["label, K = 4"], colours["ranking, K = 4"]
    series = (
        ("noisy", f"{REPEATED} labels, {at(SHOWN)}", {"color": green, "mfc": "white", "ls": "--"}),
        ("ranking", "one ranking, τ = 0", {"color": amber, "marker": "v"}),
        ("label", "one label or more, τ = 0", {"color": green}),
    )
    for name, label, style in series:
        value, low, high, _ = np.array(list(fixed[name].values())).T
        axes.errorbar(
            list(fixed[name]), value, yerr=figures.bars(value, low, high), label=label,
            **{"marker": "D", "ms": 3.5, "lw": 1, "elinewidth": 0.8} | style,
        )  # fmt: skip
    _say_prior(axes, max(fixed["label"]), prior)
    axes.set(xscale="log", xlabel="classes K, the same each time", ylim=(0.5, 1))
    axes.set(ylabel="alignment on questions about c", title="What fixed classes can say")
    axes.set_xticks(list(fixed["label"]), [str(k) for k in fixed["label"]])
    axes.minorticks_off()
    axes.legend(loc="lower right", fontsize=6.5, borderpad=0)


def _say_prior(axes: Axes, right: int, prior: float) -> None:
    axes.axhline(prior, **figures.DASHED)
    axes.text(right, prior, "no answer", ha="right", va="top", color=figures.GREY, fontsize=7)


def caption(effort: Effort) -> str:
    return (
        f"Top left: bits that the first answer of each kind says of a new object c among {N} in "
        f"{D} dimensions, mean over random questions with 95 % intervals; the most that it could "
        "say (rings), and how many triplets it says (crosses). Top right: share of all "
        f"{N * (N - 1) // 2} questions about c answered right after random questions of one "
        f"kind, mean over {OBJECTS[effort.fast]} new objects with 95 % intervals. Bottom left: "
        f"answers until {100 * TARGET:.0f} % are right, at "
        f"{', '.join(map(at, TAUS[effort.fast]))}, against how many were predicted from those of "
        "triplets, by the number of triplets that an answer says (hollow) or by its bits "
        "(filled); forms as above. Bottom right: the same share where classes stay the same, "
        f"over {SETS[effort.fast]} sets of classes. All intervals are of the same {N} objects."
    )
