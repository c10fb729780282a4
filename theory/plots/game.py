"""The communication game through the proof's channel: answers needed against ε."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.page import Picture, Table
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import channel, counting, game
from theory.claims import ASSUMED, BOUND, HOLDS, NOT_AS_PRINTED, Claim
from theory.game import AMBIGUOUS, INFORMATIVE, RANDOM, RULES, Played
from theory.geometry import BELIEF
from theory.plots import Effort, Part

N, D = 24, 3
TARGET = 0.9
SPENT = 6  # bits that the channel could have carried when what it has carried is measured
BLOCK = 4  # questions picked before Bob places his candidates anew


class Sizes(NamedTuple):
    """Attributes:
    games: of every kind.
    epsilon: of random questions.
    answers: to them, at most.
    picked: ε of questions that are picked.
    blocks: of these.
    """

    games: int
    epsilon: tuple[float, ...]
    answers: int
    picked: tuple[float, ...]
    blocks: int


FAST = Sizes(8, (0.0, 0.2, 0.4, 0.8, 1.0), 1500, (0.0, 0.2, 0.8), 16)
FULL = Sizes(
    *(32, (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)),
    *(20_000, (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0), 64),
)


def part(effort: Effort) -> Part:
    sizes = FAST if effort.fast else FULL
    fresh = functools.partial(np.random.default_rng, effort.seed)  # the same objects throughout
    checks = tuple(np.unique(np.geomspace(4, sizes.answers, 20).round().astype(int)).tolist())
    ask = functools.partial(game.random_questions, n=N, d=D, checks=checks)
    random = {e: ask(fresh(), sizes.games, e) for e in sizes.epsilon}
    trusting = {e: ask(fresh(), sizes.games, e, believed=BELIEF) for e in sizes.epsilon}
    picked = {
        (rule, e): game.picked_questions(
            fresh(), sizes.games, e, rule, n=N, d=D, blocks=sizes.blocks, block=BLOCK
        )
        for rule in (AMBIGUOUS, INFORMATIVE)
        for e in sizes.picked
    }
    at = tuple(BLOCK * (i + 1) for i in range(sizes.blocks))
    games = {(RANDOM, e): (p, checks) for e, p in random.items()}
    games |= {kind: (p, at) for kind, p in picked.items()}
    needed = {kind: _needed(*played) for kind, played in games.items()}
    believing = {e: _needed(p, checks) for e, p in trusting.items()}
    shares = {kind: _used(*played, kind[1]) for kind, played in games.items()}
    shares = {kind: share for kind, share in shares.items() if share is not None}
    used = {kind: intervals.mean(share) for kind, share in shares.items()}
    # Over all ε; the games at each are about the same objects.
    by_rule = {
        rule: intervals.mean(np.mean([s for (own, _), s in shares.items() if own == rule], axis=0))
        for rule in RULES
    }
    answers = needed[INFORMATIVE, 0.0].value
    held = float(np.interp(answers, at, games[INFORMATIVE, 0.0][0].bits.mean(axis=0)))
    return Part(
        "The communication game",
        [
            f"Bob knows {N} objects in {D} dimensions and asks Alice about a new one. Her answers "
            "are what his would be, each flipped with probability ε, as Proposition 3.8 has it. He "
            "weighs candidate places of the object by Bayes’ rule, and is right so far as he then "
            f"answers the {N * (N - 1) // 2} questions as he would if he saw it.",
            "At 1 − ε a Bob who knows ε, from questions about objects that both know, can take "
            "every answer for its opposite. One who does not know, and takes one answer in ten "
            "for wrong, cannot. How many answers Bob needs depends, besides, on what he asks: "
            "anything, or what is not clear yet, in the order of the objects, or that of whose "
            "answer he knows least.",
        ],
        {"game": Picture(_draw(random, checks, needed, believing, used, held), _caption(sizes))},
        [_table(needed, believing)],
        _claims(needed, believing, used, by_rule),
    )


def _needed(played: Played, at: Sequence[int]) -> Measured:
    return counting.answers_to_reach(played.accuracy.astype(np.float64), at, TARGET)


def _used(played: Played, at: Sequence[int], epsilon: float) -> Float[np.ndarray, " games"] | None:
    """Bits learnt an answer, as a share of the capacity, when so many could have been carried."""
    limit = float(channel.capacity(epsilon))
    answers = SPENT / limit if limit else math.inf
    if answers > at[-1]:
        return None
    check = int(np.argmin(np.abs(np.log(at) - math.log(answers))))
    return played.bits[:, check].astype(np.float64) / (at[check] * limit)


def _claims(
    needed: Mapping, believing: Mapping, used: Mapping, by_rule: Mapping[int, Measured]
) -> list[Claim]:
    random = {e: one for (rule, e), one in needed.items() if rule == RANDOM}
    below = sorted((e for e in random if e <= 0.5), reverse=True)
    # From ½ outwards: never more answers than one step nearer to ½, beyond both intervals.
    rises = (
        all(random[a].high >= random[b].low for a, b in itertools.pairwise(below))
        and random[below[-1]].high < random[below[1]].low
    )
    mirrored = [
        (random[e], random[round(1 - e, 9)])
        for e in random
        if e < 0.5 and round(1 - e, 9) in random
    ]
    symmetric = all(a.low <= b.high and b.low <= a.high for a, b in mirrored)
    # One-sided, at 3 standard errors.
    over = [one for one in by_rule.values() if one.value - 3 * (one.value - one.low) / 1.96 > 1]
    wrong = [e for e in believing if e > 0.5 and math.isfinite(believing[e].value)]
    return [
        Claim(
            "000 and 001, Proposition 3.8 (the game)",
            "Through a channel that flips a share ε of answers, each carries at most C(ε) bits.",
            HOLDS if not over else NOT_AS_PRINTED,
            f"When the answers could have carried {SPENT} bits, they had carried, as a share of "
            "that and on average over ε, "
            + ", ".join(
                f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}] ({RULES[rule]})"
                for rule, one in by_rule.items()
            )
            + ".",
            {RULES[rule]: one for rule, one in by_rule.items()}
            | {f"{RULES[rule]}, ε = {e:g}": value for (rule, e), value in used.items()},
        ),
        Claim(
            "000 and 001, Theorem 3.9",
            "If ½ is nearer to ε_B1 than to ε_B2, then B2 needs fewer questions than B1.",
            BOUND if rises and symmetric else NOT_AS_PRINTED,
            "That one bound is larger says nothing of what either needs. In the simulated channel, "
            f"where Bob knows ε, the answers needed {'do' if rises else 'do not'} rise towards ½ "
            f"and {'are' if symmetric else 'are not'} alike at ε and 1 − ε. Between embeddings: "
            "see “Two embeddings that differ”.",
            {"answers to 90 %, random questions": random},
        ),
        Claim(
            "000 and 001, after Theorem 3.9",
            "If Bob knows that most bits from Alice are flipped, he can flip them all.",
            ASSUMED if symmetric and not wrong else NOT_AS_PRINTED,
            "If he knows. A Bob who takes one answer in ten for wrong "
            + (
                "is never 90 % right where ε is above ½."
                if not wrong
                else f"is 90 % right at ε = {wrong[0]:g} all the same."
            ),
            {"answers to 90 %, believing": believing},
            assumption="Bob knows on which side of ½ ε lies.",
        ),
    ]


def _table(needed: Mapping, believing: Mapping) -> Table:
    rows = [
        {"ε": f"{e:g}"}
        | {n: counting.reached(needed[r, e]) for r, n in RULES.items() if (r, e) in needed}
        | {"random, believing": counting.reached(believing[e])}
        for e in believing
    ]
    return Table(
        rows,
        "Answers until Bob is 90 % right, with 95 % intervals over games; – where that was not "
        "reached or not asked.",
    )


########################################## Figures ##########################################


@matplotlib.rc_context(figures.STYLE)
def _draw(
    random: Mapping[float, Played],
    checks: Sequence[int],
    needed: Mapping,
    believing: Mapping,
    used: Mapping,
    held: float,
) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 2.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)

    shown = [e for e in (0.0, 0.1, 0.2, 0.3, 0.4) if e in random]
    for e, colour, marker in zip(shown, figures.COLOURS, figures.MARKERS, strict=False):
        curve = random[e].accuracy
        half = 1.96 * curve.std(axis=0, ddof=1) / len(curve) ** 0.5
        mean = curve.mean(axis=0)
        left.plot(checks, mean, color=colour, marker=marker, ms=2.5, lw=1, label=f"ε = {e:g}")
        left.fill_between(checks, mean - half, mean + half, color=colour, alpha=0.2, lw=0)
    left.axhline(TARGET, **figures.DASHED)
    left.set(xscale="log", xlabel="random questions answered", ylabel="accuracy of Bob")
    left.set(title="Learning a place", ylim=(0.62, 1.005))
    left.legend(loc="lower right", fontsize=6.5, borderpad=0)

    fine = np.linspace(0, 1, 401)
    away = np.abs(fine - 0.5) > 0.02
    bound = np.where(away, held / channel.capacity(np.where(away, fine, 0)), np.nan)
    middle.plot(fine, bound, color=figures.BLACK, lw=1, label=f"{held:.1f} bits / C(ε)")
    for (rule, name), colour, marker in zip(
        RULES.items(), figures.COLOURS, figures.MARKERS, strict=False
    ):
        points = {e: one for (own, e), one in needed.items() if own == rule}
        _points(middle, points, colour, marker, name)
        points = {e: one for (own, e), one in used.items() if own == rule}
        _points(right, points, colour, marker, "")
    _points(middle, believing, figures.GREY, "x", "random, believing")
    middle.axvline(0.5, **figures.DASHED)
    middle.set(yscale="log", xlabel="misalignment ε", ylabel="answers to be 90 % right")
    middle.set(title="Answers needed", xlim=(-0.05, 1.05))
    right.axhline(1, color=figures.BLACK, lw=1)
    right.set(xlabel="misalignment ε", ylabel="bits an answer / C(ε)", ylim=(0, None))
    right.set(title="Capacity used", xlim=(-0.05, 1.05))
    keys, names = middle.get_legend_handles_labels()
    figure.legend(keys, names, loc="outside lower right", ncols=5, fontsize=6.5)
    return figure


def _points(
    axes: Axes, points: Mapping[float, Measured], colour: str, marker: str, label: str
) -> None:
    finite = {e: one for e, one in points.items() if math.isfinite(one.value)}
    if not finite:
        return
    value, low, high, _ = np.array(list(finite.values())).T
    high = np.where(np.isfinite(high), high, value)
    bars = figures.bars(value, low, high)
    axes.errorbar(
        list(finite), value, yerr=bars, color=colour, ls="", marker=marker, ms=3.5,
        elinewidth=0.8, label=label,
    )  # fmt: skip


def _caption(sizes: Sizes) -> str:
    return (
        f"The game through the binary symmetric channel; {sizes.games} games each, n = {N}, d = "
        f"{D}. Left: share of all questions that Bob, who knows ε, answers right, against random "
        "questions asked; bands are 95 % intervals. Middle: answers until he is 90 % right, "
        "against ε: random questions; those still ambiguous, in the order of Jamieson and Nowak; "
        "the most informative ones; random ones where Bob takes one answer in ten for wrong "
        "(crosses, which end at ½); and the bits that he then holds, over C(ε) (line). Right: bits "
        f"learnt an answer, as a share of C(ε), after {SPENT} / C(ε) answers."
    )
