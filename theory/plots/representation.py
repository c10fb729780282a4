"""Representation spaces: misalignment on given objects and on random ones."""

import math
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.page import Picture
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import representation
from theory.claims import HOLDS, NOT_AS_PRINTED, REFUTED, Claim
from theory.plots import Effort, Part

ANGLES = np.linspace(0, math.pi / 2, 9)
DIMS = (1, 2, 16)
TRIPLES = {True: 8_000, False: 200_000}
OBJECTS = (3, 4, 6, 10, 20, 40, 80)
DRAWS = {True: 60, False: 1000}  # of n objects
ANGLE, D = math.pi / 5, 4  # of the lemma


def part(effort: Effort) -> Part:
    rng = np.random.default_rng(effort.seed)
    by_angle = {
        d: [random_misalignment(angle, d, TRIPLES[effort.fast], rng) for angle in ANGLES]
        for d in DIMS
    }
    expected = representation.from_margins(np.cos(ANGLES) ** 2)
    d_p = random_misalignment(ANGLE, D, 5 * TRIPLES[effort.fast], rng)
    drawn = {n: _drawn(n, DRAWS[effort.fast], rng) for n in OBJECTS}
    means = {n: intervals.mean(values) for n, values in drawn.items()}
    apart = {n: _apart(mean, d_p) for n, mean in means.items()}
    same = random_misalignment(0.0, D, 1000, rng)
    # Seven intervals, of which 5 % may miss.
    lemma = sum(value > 1 for value in apart.values()) <= 2
    # Sixteen dimensions are not infinitely many; nine estimates, at most 3 standard errors off.
    near = 0.006 + 3 * 0.5 / TRIPLES[effort.fast] ** 0.5
    off = max(abs(by_angle[DIMS[-1]][i].value - expected[i]) for i in range(len(ANGLES)))
    spread = {n: float(values.std()) for n, values in drawn.items()}
    return Part(
        "Representation spaces",
        [
            "Alice and Bob see the same objects. Bob’s features are a mixture, by an angle, of "
            "Alice’s and of others that she does not see: at 0° he agrees with her on every "
            "triplet, at 90° on half of them. D_P, the share of random triplets on which they "
            "differ, follows arccos(ρ)/π, where ρ = cos² of the angle is the correlation of their "
            "margins, the better the more dimensions there are.",
            "Lemma A.4 says that the misalignment measured on n objects, D_R, is D_P on "
            "average. It is, for every n. But a single set of few objects can be far from it, "
            "and the triplets of n objects are far fewer independent pieces of evidence than "
            f"their number: with {OBJECTS[-1]} objects, which have {_triplets(OBJECTS[-1]):,} "
            f"triplets, D_R still varies by ± {spread[OBJECTS[-1]]:.3f} (standard deviation).",
        ],
        {"representation": Picture(_draw(by_angle, d_p, drawn), _caption(effort.fast))},
        [],
        [
            Claim(
                "000, Definition 3.6",
                "D_P(A, B; X) = P(1_A = 1_B), the probability that the two answer alike, is their "
                "misalignment.",
                NOT_AS_PRINTED if same.value == 0 and d_p.value < 0.5 else HOLDS,
                "It is their alignment: an agent would be misaligned with itself by 1. With ≠, as "
                f"001 has it, that is {same.value:g}, as Lemma 3.7 needs, and Lemma A.4 holds.",
                {"with itself, ≠": same.value, "with itself, =": 1 - same.value},
            ),
            Claim(
                "000 and 001, Lemma A.4",
                "D_P(A, B; X) is the expected D_R(A, B; x) over objects x drawn from X.",
                HOLDS if lemma else NOT_AS_PRINTED,
                f"D_P = {d_p.value:.4f} [{d_p.low:.4f}, {d_p.high:.4f}]; the mean D_R of "
                f"{DRAWS[effort.fast]:,} draws of n objects is "
                + ", ".join(f"{means[n].value:.4f} (n = {n})" for n in (3, 10, 80))
                + ". The spread over draws falls with n, and much slower than if triplets were "
                "independent.",
                {"D_P": d_p, "mean D_R by n": means, "sd of D_R by n": spread},
            ),
            Claim(
                "ours, after Sheppard (1899)",
                "Where margins are jointly normal, D_P = arccos(ρ) / π.",
                HOLDS if off < near else REFUTED,
                f"Over {DIMS[-1]} dimensions it is off by at most {off:.4f}; over one by "
                f"{max(abs(by_angle[1][i].value - expected[i]) for i in range(len(ANGLES))):.3f}.",
                {"angle": ANGLES, "formula": expected, "measured by d": by_angle},
            ),
        ],
    )


def agents(angle: float) -> tuple[representation.Map, representation.Map]:
    """Alice, who sees the first half of the coordinates, and Bob, who mixes in the second half.

    The correlation of their margins, for independent normal coordinates, is cos²(angle).
    """

    def bob(x: np.ndarray) -> np.ndarray:
        seen, unseen = np.split(x, 2, axis=1)
        return math.cos(angle) * seen + math.sin(angle) * unseen

    return (lambda x: x[:, : x.shape[1] // 2]), bob


def random_misalignment(angle: float, d: int, n_samples: int, rng: np.random.Generator) -> Measured:
    """D_P of the agents of an angle, over normal objects that Alice sees in d dimensions."""
    draw: Callable[[int], np.ndarray] = lambda n: rng.normal(size=(n, 2 * d))  # noqa: E731
    return representation.stochastic_misalignment(*agents(angle), draw, n_samples=n_samples)


def _drawn(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    alice, bob = agents(ANGLE)
    x = rng.normal(size=(draws, n, 2 * D))
    return np.array([representation.misalignment(alice(one), bob(one)) for one in x])


def _apart(mean: Measured, d_p: Measured) -> float:
    """The distance of two means in units of that at which their difference is significant."""
    half = math.hypot(mean.high - mean.value, d_p.high - d_p.value)
    return abs(mean.value - d_p.value) / half


def _triplets(n: int) -> int:
    return n * (n - 1) * (n - 2) // 2


@matplotlib.rc_context(figures.STYLE)
def _draw(by_angle: dict, d_p: Measured, drawn: dict[int, np.ndarray]) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 2.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    fine = np.linspace(0, math.pi / 2, 200)
    curve = representation.from_margins(np.cos(fine) ** 2)
    left.plot(np.degrees(fine), curve, color=figures.BLACK, lw=1, label="arccos(cos²θ) / π")
    for (d, measured), colour, marker in zip(
        by_angle.items(), figures.COLOURS, figures.MARKERS, strict=False
    ):
        value, low, high, _ = np.array(measured).T
        left.errorbar(
            np.degrees(ANGLES), value, yerr=figures.bars(value, low, high), color=colour, ls="",
            marker=marker, ms=3.5, elinewidth=0.8, label=f"simulated, d = {d}",
        )  # fmt: skip
    left.set(xlabel="angle θ between Alice and Bob (degrees)", ylabel="misalignment D_P")
    left.set(title="Random triplets", ylim=(-0.02, 0.55))
    left.set_xticks(range(0, 91, 15))
    left.legend(loc="lower right", fontsize=7)

    sizes = np.array(list(drawn))
    values = np.array([np.quantile(one, [0.025, 0.25, 0.5, 0.75, 0.975]) for one in drawn.values()])
    right.fill_between(sizes, values[:, 0], values[:, 4], color=figures.SKY, alpha=0.3, lw=0)
    right.fill_between(sizes, values[:, 1], values[:, 3], color=figures.SKY, alpha=0.6, lw=0)
    means = [intervals.mean(one) for one in drawn.values()]
    value, low, high, _ = np.array(means).T
    right.axhline(d_p.value, color=figures.BLACK, lw=1, label="D_P")
    right.errorbar(
        sizes, value, yerr=figures.bars(value, low, high), color=figures.BLUE, ls="", marker="o",
        ms=3.5, elinewidth=0.8, label="mean D_R",
    )  # fmt: skip
    independent = 1.96 * np.sqrt(
        d_p.value * (1 - d_p.value) / np.array([_triplets(n) for n in drawn])
    )
    for sign in (-1, 1):
        label = "95 %, were triplets independent" if sign > 0 else None
        right.plot(
            sizes, d_p.value + sign * independent, color=figures.ORANGE, ls=":", lw=1.2, label=label
        )
    right.set(xscale="log", xlabel="objects n", ylabel="misalignment D_R", ylim=(0, 1))
    right.set_title("Lemma A.4")
    right.set_xticks(sizes, [str(n) for n in sizes])
    right.minorticks_off()
    right.legend(loc="upper right", fontsize=7)
    return figure


def _caption(fast: bool) -> str:
    return (
        f"Left: share of random triplets on which two agents differ, against the angle between "
        f"their features; {TRIPLES[fast]:,} triplets a point, 95 % intervals. Right: misalignment "
        f"measured on n objects, {DRAWS[fast]:,} draws each: half of the draws lie in the dark "
        "band, 95 % in the light one. Its mean is D_P for every n; its spread is wider than if the "
        "n(n−1)(n−2)/2 triplets were independent (dotted)."
    )
