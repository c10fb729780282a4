"""How the answers needed grow with the objects n, the dimensions d, and the new objects m."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.page import Picture
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import counting, game
from theory.claims import ASSUMED, HOLDS, NOT_AS_PRINTED, UNDECIDED, Claim
from theory.game import INFORMATIVE, RANDOM, RULES
from theory.plots import Effort, Part

EPSILON, N, D, TARGET = 0.1, 32, 2, 0.9  # of m new objects
MOST = (1, 2, 4, 8, 16)  # m
SHUFFLES = 400
LEAST_N = 4  # numbers of objects that tell log n from n
NEAR = 0.5  # to a power of 1, than which none is nearer that is whole


class Sizes(NamedTuple):
    """Attributes:
    n, d: of the games.
    games: of each kind.
    answers: to random questions, at most.
    picked: to picked ones, at most.
    many: times as many games of m new objects.
    """

    n: tuple[int, ...]
    d: tuple[int, ...]
    games: int
    answers: int
    picked: int
    many: int


FAST = Sizes((12, 32), (1, 3), 8, 300, 20, 3)
FULL = Sizes((8, 16, 24, 32, 48, 64), (1, 2, 4), 24, 2500, 48, 10)


class Grown(NamedTuple):
    """Attributes:
    needed: answers, by n and d.
    slope: answers a dimension for every doubling of n.
    bent: residual variance, over the dimensions, of straight lines in log₂ n over that of lines in
      n itself: below 1 where answers grow as log n rather than n.
    power: of n with which the answers grow, a mean over d.
    with_d: the power of d with which what a doubling of n takes grows.
    """

    needed: Mapping[tuple[int, int], Measured]
    slope: Measured
    bent: float
    power: float
    with_d: float


def part(effort: Effort) -> Part:
    sizes = FAST if effort.fast else FULL
    grown = {rule: _grown(rule, sizes, effort.seed) for rule in RULES}
    together, alone = _new_objects(sizes, effort.seed)
    return Part(
        "What the answers needed grow with",
        [
            "Bob is to get the order of n objects around a new one right, but for a share of 1/n "
            "of the questions: about as if every object were misplaced by a rank. Answers are "
            "without noise. The most informative question halves what is open each time; a random "
            "one seldom asks what is still open.",
            "The order itself, to the last question, takes up to twice as many: how many orders "
            "there are is said under “How much an answer can say”.",
            f"Several new objects take m times the answers of one if each is asked about until it "
            f"is known; if {MOST[-1]} are asked about in turn until the last is known, "
            f"{together[MOST[-1]].value / alone[MOST[-1]].value:.1f} times as many.",
        ],
        {"law": Picture(_draw(grown, together, alone), _caption(sizes))},
        [],
        _claims(grown, sizes),
    )


def _grown(rule: int, sizes: Sizes, seed: int) -> Grown:
    needed, x, curves, targets, units = {}, [], [], [], []
    at = _checks(sizes) if rule == RANDOM else tuple(range(1, sizes.picked + 1))
    for n in sizes.n:
        for d in sizes.d:
            rng = np.random.default_rng(seed)
            if rule == RANDOM:
                played = game.random_questions(rng, sizes.games, 0.0, n=n, d=d, checks=at)
            else:
                played = game.picked_questions(
                    rng, sizes.games, 0.0, rule, n=n, d=d, blocks=sizes.picked, block=1
                )
            curves.append(played.accuracy.astype(np.float64))
            x.append(math.log2(n))
            targets.append(1 - 1 / n)
            units.append(d)
            needed[n, d] = counting.answers_to_reach(curves[-1], at, targets[-1], seed=seed)
    slope = counting.slope(np.array(x), curves, at, targets, np.array(units, np.float64), seed=seed)
    powers = [
        np.polyfit(np.log(sizes.n), np.log([needed[n, d].value for n in sizes.n]), 1)[0]
        for d in sizes.d
    ]
    return Grown(
        needed, slope, _bent(needed, sizes), float(np.mean(powers)), _with_d(needed, sizes)
    )


def _with_d(needed: Mapping[tuple[int, int], Measured], sizes: Sizes) -> float:
    slopes = np.array([
        np.polyfit(np.log2(sizes.n), [needed[n, d].value for n in sizes.n], 1)[0] for d in sizes.d
    ])  # fmt: skip
    if not (slopes > 0).all():
        return math.nan
    return float(np.polyfit(np.log(sizes.d), np.log(slopes), 1)[0])


def _bent(needed: Mapping[tuple[int, int], Measured], sizes: Sizes) -> float:
    n = np.array(sizes.n, np.float64)
    left = np.zeros(2)
    for d in sizes.d:
        y = np.array([needed[m, d].value for m in sizes.n])
        for i, x in enumerate((np.log2(n), n)):
            residual = y - np.polyval(np.polyfit(x, y, 1), x) if np.isfinite(y).all() else np.nan
            left[i] += np.sum(residual**2) / np.mean(y) ** 2
    return float(left[0] / left[1]) if left[1] > 0 else float("nan")


def _checks(sizes: Sizes) -> tuple[int, ...]:
    return tuple(np.unique(np.geomspace(1, sizes.answers, 24).round().astype(int)).tolist())


def _new_objects(sizes: Sizes, seed: int) -> tuple[dict[int, Measured], dict[int, Measured]]:
    """Answers until each of m new objects is known well enough, by m.

    Returns:
      If all are asked about equally often, until the last is known; and if each is asked about
      until it is known, which is m times as many as for one.
    """
    at = _checks(sizes)
    rng = np.random.default_rng(seed)
    accuracy = [
        game.random_questions(rng, sizes.games, EPSILON, n=N, d=D, checks=at).accuracy
        for _ in range(sizes.many)
    ]
    each = _own(np.concatenate(accuracy).astype(np.float64), np.array(at))
    resamples = np.sort(np.vstack([each, rng.choice(each, (SHUFFLES, len(each)))]), axis=1)
    rank = np.arange(len(each) + 1) / len(each)
    together, alone = {}, {}
    for m in MOST:
        # The largest of m is at most the k-th of all with probability (k / all)^m.
        last = m * resamples @ np.diff(rank**m)
        total = m * resamples.mean(axis=1)
        together[m] = intervals.percentile(float(last[0]), last[1:], len(each))
        alone[m] = intervals.percentile(float(total[0]), total[1:], len(each))
    return together, alone


def _own(accuracy: Float[np.ndarray, "games t"], at: Int[np.ndarray, " t"]) -> np.ndarray:
    """Answers after which each game stays above the target."""
    below = accuracy < TARGET
    last = below.shape[1] - 1 - below[:, ::-1].argmax(axis=1)
    found = np.where(below.any(axis=1), at[np.minimum(last + 1, len(at) - 1)], at[0])
    return np.where(below[:, -1], np.inf, found)


def _claims(grown: Mapping[int, Grown], sizes: Sizes) -> list[Claim]:
    picked, random = grown[INFORMATIVE], grown[RANDOM]
    verdict = UNDECIDED
    if len(sizes.n) >= LEAST_N and np.isfinite([picked.bent, random.bent]).all():
        law = picked.slope.low > 0 and picked.bent < 1 and abs(picked.with_d - 1) < NEAR
        verdict = (HOLDS if random.bent < 1 else ASSUMED) if law else NOT_AS_PRINTED
    return [
        Claim(
            "000 and 001, Lemma 3.7 (the law)",
            "The number of questions grows as d log n.",
            verdict,
            "Every doubling of n takes, in answers a dimension, "
            + "; ".join(
                f"{one.slope.value:.2f} [{one.slope.low:.2f}, {one.slope.high:.2f}] with "
                f"{RULES[rule]} questions"
                for rule, one in grown.items()
                if rule != RANDOM
            )
            + ". Straight lines in log n leave, of the variance that lines in n leave, "
            + ", ".join(f"{one.bent:.2f} ({RULES[rule]})" for rule, one in grown.items())
            + f"; with random questions answers grow as n to the power {random.power:.2f}. With "
            "the most informative ones, what a doubling of n takes grows as d to the power "
            f"{picked.with_d:.2f}.",
            {
                RULES[rule]: {
                    "answers a dimension and doubling of n": one.slope,
                    "residual variance, log n over n": one.bent,
                    "power of n": one.power,
                    "power of d": one.with_d,
                    "answers": {f"n = {n}, d = {d}": v for (n, d), v in one.needed.items()},
                }
                for rule, one in grown.items()
            },
            assumption="Questions are picked by what is known already, the most informative first.",
        ),
    ]


@matplotlib.rc_context(figures.STYLE)
def _draw(grown: Mapping[int, Grown], together: Mapping, alone: Mapping) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 2.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    picked, random = grown[INFORMATIVE].needed, grown[RANDOM].needed
    dims = sorted({d for _, d in picked})
    sizes = sorted({n for n, _ in picked})
    for d, colour, marker in zip(dims, figures.COLOURS, figures.MARKERS, strict=False):
        for axes, cells in ((left, picked), (middle, random)):
            own = {n: one for (n, other), one in cells.items() if other == d}
            value, low, high, _ = np.array(list(own.values())).T
            high = np.where(np.isfinite(high), high, value)
            axes.errorbar(
                list(own), value, yerr=figures.bars(value, low, high), color=colour,
                marker=marker, ms=4, lw=1, elinewidth=0.8, label=f"d = {d}",
            )  # fmt: skip
    d = dims[-1]
    start = picked[sizes[0], d].value
    law = [start + d * math.log2(n / sizes[0]) for n in sizes]
    left.plot(sizes, law, color=figures.GREY, ls=":", label="d log₂ n + constant")
    start = random[sizes[0], d].value
    middle.plot(sizes, [start * n / sizes[0] for n in sizes], **figures.DASHED, label="∝ n")
    for axes, title in ((left, "Most informative"), (middle, "Random questions")):
        axes.set(xscale="log", xlabel="shared objects n", ylabel="answers", title=title)
        axes.set_xticks(sizes, [str(n) for n in sizes])
        axes.minorticks_off()
        axes.legend(loc="upper left", fontsize=6.5, borderpad=0)
    left.set_ylim(0, None)
    middle.set_yscale("log")

    for points, colour, marker, label in (
        (alone, figures.BLUE, "o", "until each is known"),
        (together, figures.ORANGE, "s", "until the last is known"),
    ):
        value, low, high, _ = np.array(list(points.values())).T
        right.errorbar(
            list(points), value, yerr=figures.bars(value, low, high), color=colour, marker=marker,
            ms=4, lw=1, elinewidth=0.8, label=label,
        )  # fmt: skip
    right.set(xscale="log", yscale="log", xlabel="new objects m", ylabel="answers")
    right.set_title("Several new objects")
    right.set_xticks(list(alone), [str(m) for m in alone])
    right.minorticks_off()
    right.legend(loc="upper left", fontsize=6.5, borderpad=0)
    return figure


def _caption(sizes: Sizes) -> str:
    return (
        "Left and middle: answers without noise until Bob has the order of n objects around a "
        f"new one but for a share of 1/n of the questions; {sizes.games} games a point, 95 % "
        "intervals over games; the axis of n is logarithmic. Right: answers until m new objects "
        f"are known (n = {N}, d = {D}, ε = {EPSILON}, {100 * TARGET:.0f} % right), if each is "
        "asked about until it is, or all equally often until the last is."
    )
