"""The capacity of a misaligned teacher's answers, and the bound that follows."""

import math

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.page import Picture
from evals.statistics.intervals import Measured
from theory import channel
from theory.claims import BOUND, HOLDS, NOT_AS_PRINTED, Claim
from theory.plots import Effort, Part

SENT = {True: 20_000, False: 200_000}  # answers at each ε
EPSILON = np.linspace(0, 1, 21)
SPACES = ((16, 2), (128, 2), (128, 8))  # n, d
LIKELY = 5  # of 21 intervals of 95 %, more miss in one run in a thousand
SIZES = tuple(2**i for i in range(3, 11))
DIMS = (1, 2, 4, 8)


def part(effort: Effort) -> Part:
    rng = np.random.default_rng(effort.seed)
    sent = [read_through(float(e), SENT[effort.fast], rng) for e in EPSILON]
    found = np.array([[one.low, one.high] for one in sent])
    expected = channel.capacity(EPSILON)
    missed = int(((expected < found[:, 0]) | (expected > found[:, 1])).sum())
    symmetric = float(np.abs(expected - expected[::-1]).max())
    ends = {"C(0)": expected[0], "C(½)": expected[len(EPSILON) // 2], "C(1)": expected[-1]}
    ratio = {
        f"n = {n}, d = {d}": math.log2(channel.orders(n, d)) / (d * math.log2(n))
        for d in DIMS
        for n in (SIZES[0], SIZES[-1])
    }
    # Of n much larger than d, which the lemma does not say.
    least = min(ratio[f"n = {SIZES[-1]}, d = {d}"] for d in DIMS)
    return Part(
        "How much an answer can say",
        [
            "A student who represents things as the teacher does learns one bit from an answer to "
            "“is it nearer to this than to that?”. Where the two disagree on a share ε of such "
            "questions, an answer says C(ε) bits at most: nothing at ε = ½, and everything again "
            "at ε = 1, if the student knows that the teacher is always wrong.",
            "The bound of Theorem 3.9, m d log n / C(ε), has an unknown constant. It can be known: "
            "bisectors cut space into as many cells as there are orders in which the n objects can "
            "be seen, and log₂ of their number is what must be said. That is between one and two "
            "times d log₂ n where n is much larger than d, and less where it is not.",
        ],
        {"capacity": Picture(_draw(sent), _caption(missed, SENT[effort.fast]))},
        [],
        [
            Claim(
                "000 and 001, Proposition 3.8",
                "An answer through a channel that flips a share ε of them carries at most "
                "C(ε) = 1 + ε log ε + (1 − ε) log(1 − ε); C is symmetric about ½, 0 there, and 1 "
                "at both ends.",
                HOLDS if missed <= LIKELY and symmetric < 1e-12 else NOT_AS_PRINTED,
                f"With logarithms to base 2, which the papers do not say. The information in "
                f"{SENT[effort.fast]:,} simulated answers at each of {len(EPSILON)} values of ε: "
                f"{missed} intervals miss the formula, of which 5 % are expected to.",
                ends | {"epsilon": EPSILON, "capacity": expected, "measured": sent},
            ),
            Claim(
                "000 and 001, Lemma 3.7",
                "Without noise, Ω(d log n) questions are needed to find the place of a new object "
                "relative to n known ones.",
                BOUND if least >= 1 else NOT_AS_PRINTED,
                "Where n is much larger than d: there are no more than n! orders, however many "
                "dimensions. The number of orders is known exactly (Good and Tideman 1977): its "
                "log₂ over d log₂ n is "
                + ", ".join(f"{value:.2f} at {name}" for name, value in ratio.items())
                + ". It bounds the worst place of the object, and no method of asking.",
                {"log2 orders / (d log2 n)": ratio},
            ),
        ],
    )


def read_through(epsilon: float, n: int, rng: np.random.Generator) -> Measured:
    """The mutual information of n random bits and what a binary symmetric channel makes of them.

    Returns:
      Bits an answer, by the shares of the four outcomes. The interval is normal and allows for the
      estimate's bias; at ε = ½, where the estimate has no linear part, by the χ² distribution.
    """
    sent = rng.integers(2, size=n)
    read = sent ^ (rng.random(n) < epsilon)
    p = np.bincount(2 * sent + read, minlength=4).reshape(2, 2) / n
    independent = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    seen = p > 0
    surprise = np.log2(p[seen] / independent[seen])
    value = float(p[seen] @ surprise)
    error = math.sqrt(max(float(p[seen] @ surprise**2) - value**2, 0) / n)
    # Where sent and read are independent, 2 n ln 2 · value is χ² with 1 degree of freedom; 6.6 is
    # its 99 % quantile.
    floor = 6.6 / (2 * n * math.log(2))
    return Measured(value, max(value - 1.96 * error - floor, 0), value + 1.96 * error, n)


@matplotlib.rc_context(figures.STYLE)
def _draw(sent: list[Measured]) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 2.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)

    fine = np.linspace(0, 1, 401)
    left.plot(fine, channel.binary_entropy(fine), color=figures.GREY, ls="--", label="H(ε)")
    left.plot(fine, channel.capacity(fine), color=figures.BLUE, label="C(ε) = 1 − H(ε)")
    values, low, high, _ = np.array(sent).T
    left.errorbar(
        EPSILON, values, yerr=figures.bars(values, low, high), color=figures.ORANGE, ls="",
        marker="o", ms=3, elinewidth=0.8, label="simulated channel", zorder=3,
    )  # fmt: skip
    left.set(xlabel="misalignment ε", ylabel="bits an answer", title="Capacity", ylim=(-0.03, 1.35))
    left.set_yticks([0, 0.5, 1])
    left.legend(loc="upper center", fontsize=6.5, ncols=1, borderpad=0)

    # ½ itself is left out: nothing can be learnt there, and the curve has no end.
    open_half = np.where(np.abs(fine - 0.5) < 1e-9, np.nan, fine)
    for (n, d), colour in zip(SPACES, figures.COLOURS, strict=False):
        finite = np.isfinite(open_half)
        bound = np.full(len(fine), np.nan)
        bound[finite] = channel.queries_to_order(open_half[finite], n=n, d=d)
        middle.plot(fine, bound, color=colour, label=f"n = {n}, d = {d}")
    middle.axvline(0.5, ymax=0.66, **figures.DASHED)
    middle.set(xlabel="misalignment ε", ylabel="answers", title="Capacity bound", yscale="log")
    middle.set_ylim(5, 5e9)
    middle.legend(loc="upper left", fontsize=6.5, borderpad=0)

    for d, colour, marker in zip(DIMS, figures.COLOURS, figures.MARKERS, strict=False):
        bits = [math.log2(channel.orders(n, d)) for n in SIZES]
        right.plot(SIZES, bits, color=colour, marker=marker, ms=3, label=f"d = {d}")
        right.plot(SIZES, [d * math.log2(n) for n in SIZES], color=colour, ls=":", lw=1)
    right.plot([], [], color=figures.GREY, ls=":", lw=1, label="d log₂ n")
    right.set(xlabel="shared objects n", ylabel="bits", title="What must be said", xscale="log")
    right.set_xticks(SIZES[::2], [str(n) for n in SIZES[::2]])
    right.minorticks_off()
    right.legend(loc="upper left", fontsize=6.5, borderpad=0)
    return figure


def _caption(missed: int, sent: int) -> str:
    return (
        f"Left: capacity of the binary symmetric channel, and the information that {sent:,} "
        f"simulated answers carried at each ε, with 95 % intervals ({missed} of {len(EPSILON)} "
        "miss the formula). Middle: answers without which the order of n objects around a new one "
        "stays open, log₂(orders) / C(ε), on a logarithmic axis; at ε = ½ no number is enough. "
        "Right: log₂ of the number of orders (marked), beside d log₂ n (dotted)."
    )
