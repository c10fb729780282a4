"""How the answers needed grow with the objects n, the dimensions d, and the new objects m."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.page import Picture
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import counting, game
from theory.claims import ASSUMED, HOLDS, NOT_AS_PRINTED, Claim
from theory.game import AMBIGUOUS, INFORMATIVE, RANDOM
from theory.plots import Effort, Part

RULES = {RANDOM: "random", AMBIGUOUS: "ambiguous in turn", INFORMATIVE: "most informative"}
EPSILON, N, D, TARGET = 0.1, 32, 2, 0.9  # of m new objects
MOST = (1, 2, 4, 8, 16)  # m
SHUFFLES = 400
STRAIGHT = 0.9  # R² of what is called a law


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
FULL = Sizes((16, 32, 64), (1, 2, 4), 24, 2500, 48, 10)


class Grown(NamedTuple):
    """Attributes:
    needed: answers, by n and d.
    slope: answers a dimension for every doubling of n.
    straight: the share of the variance of answers a dimension that log₂ n explains.
    power: of n with which the answers grow, a mean over d.
    """

    needed: Mapping[tuple[int, int], Measured]
    slope: Measured
    straight: float
    power: float


def part(effort: Effort) -> Part:
    sizes = FAST if effort.fast else FULL
    grown = {rule: _grown(rule, sizes, effort.seed) for rule in RULES}
    together, alone = _new_objects(sizes, effort.seed)
    return Part(
        "What the answers needed grow with",
        [
            "Bob is to get the order of n objects around a new one right, but for a share of 1/n "
            "of the questions: about as if every object were misplaced by half a rank. Picked "
            "questions, answered without noise, halve what is open each time, and answers grow as "
            "d log₂ n. Random ones seldom ask what is still open: they grow nearly as n.",
            "The order itself, to the last question, takes up to twice as many: how many orders "
            "there are is said under “How much an answer can say”.",
        ],
        {"law": Picture(_draw(grown, together, alone), _caption(sizes))},
        [],
        _claims(grown, together, alone),
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
    slope, straight = counting.slope(
        np.array(x), curves, at, targets, np.array(units, np.float64), seed=seed
    )
    powers = [
        np.polyfit(np.log(sizes.n), np.log([needed[n, d].value for n in sizes.n]), 1)[0]
        for d in sizes.d
    ]
    return Grown(needed, slope, straight, float(np.mean(powers)))


def _checks(sizes: Sizes) -> tuple[int, ...]:
    return tuple(np.unique(np.geomspace(1, sizes.answers, 24).round().astype(int)).tolist())


def _new_objects(sizes: Sizes, seed: int) -> tuple[dict[int, Measured], dict[int, Measured]]:
    """Answers until each of m new objects is known well enough, by m.

    Returns:
      If all are asked about equally often, until the last is known; and if each is asked about
      until it is known.
    """
    at = _checks(sizes)
    rng = np.random.default_rng(seed)
    accuracy = [
        game.random_questions(rng, sizes.games, EPSILON, n=N, d=D, checks=at).accuracy
        for _ in range(sizes.many)
    ]
    each = _own(np.concatenate(accuracy).astype(np.float64), np.array(at))
    together, alone = {}, {}
    for m in MOST:
        samples = []
        for resample in [each, *rng.choice(each, (SHUFFLES, len(each)))]:
            groups = rng.choice(resample, (len(each), m))
            samples.append((m * groups.max(axis=1).mean(), m * resample.mean()))
        value, *resampled = np.array(samples)
        last, total = np.transpose(resampled)
        together[m] = intervals.percentile(value[0], last, len(each))
        alone[m] = intervals.percentile(value[1], total, len(each))
    return together, alone


def _own(accuracy: Float[np.ndarray, "games t"], at: Float[np.ndarray, " t"]) -> np.ndarray:
    """Answers after which each game stays above the target."""
    below = accuracy < TARGET
    last = below.shape[1] - 1 - below[:, ::-1].argmax(axis=1)
    return np.where(below.any(axis=1), at[np.minimum(last + 1, len(at) - 1)], at[0]).astype(float)


def _claims(grown: Mapping[int, Grown], together: Mapping, alone: Mapping) -> list[Claim]:
    picked, random = grown[INFORMATIVE], grown[RANDOM]
    law = picked.slope.low > 0 and picked.straight > STRAIGHT
    m = MOST[-1]
    more = together[m].value / alone[m].value
    return [
        Claim(
            "000 and 001, Lemma 3.7 (the law)",
            "The number of questions grows as d log n.",
            (HOLDS if random.power < 0.5 else ASSUMED) if law else NOT_AS_PRINTED,
            "With the most informative questions every doubling of n takes "
            f"{picked.slope.value:.2f} [{picked.slope.low:.2f}, {picked.slope.high:.2f}] more "
            f"answers a dimension (R² = {picked.straight:.2f}); with ambiguous ones in turn "
            f"{grown[AMBIGUOUS].slope.value:.2f} [{grown[AMBIGUOUS].slope.low:.2f}, "
            f"{grown[AMBIGUOUS].slope.high:.2f}] (R² = {grown[AMBIGUOUS].straight:.2f}). With "
            f"random questions answers grow as n to the power {random.power:.2f}.",
            {
                RULES[rule]: {
                    "answers a dimension and doubling of n": one.slope,
                    "R²": one.straight,
                    "power of n": one.power,
                    "answers": {f"n = {n}, d = {d}": v for (n, d), v in one.needed.items()},
                }
                for rule, one in grown.items()
            },
            assumption="Questions are picked by what is known already.",
        ),
        Claim(
            "000 and 001, Theorem 3.9 (m new objects)",
            "m new objects take m times the questions.",
            ASSUMED if together[m].low > alone[m].high else HOLDS,
            f"If each is asked about until it is known. If {m} objects are asked about in turn "
            f"until the last is known, it takes {more:.1f} times as many.",
            {"until each is known": alone, "until the last is known": together},
            assumption="Somebody knows when an object needs no more questions.",
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
        "Left and middle: answers without noise until Bob has the order of n objects around a new "
        f"one but for a share of 1/n of the questions; {sizes.games} games a point, 95 % intervals "
        "over games. By picked questions they grow as d log₂ n (the axis of n is logarithmic), by "
        f"random ones nearly as n. Right: answers until m new objects are known (n = {N}, d = {D}, "
        f"ε = {EPSILON}, {TARGET:.0%} right), if each is asked about until it is, or all equally "
        "often until the last is."
    )
