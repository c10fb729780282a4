"""Disagreement on adversarial examples: of independent answers, of embeddings, and of classes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
import scipy.special
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.page import Picture, Table
from evals.pages.table import cell
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import adversarial, representation
from theory.adversarial import expected_maximum, expected_minimum
from theory.claims import ASSUMED, HOLDS, NOT_AS_PRINTED, Claim
from theory.plots import Effort, Part
from theory.plots.representation import agents

DRAWS = {True: 100, False: 400}  # of objects and candidates
EPSILON = np.linspace(0, 1, 11)
N, K, D = 20, 100, 8  # objects, candidates, dimensions
FEW = 10  # candidates
OBJECTS = {True: (10, 20, 40), False: (10, 20, 40, 80, 160)}
SEVERAL = (0.1, 0.3, 0.5)  # ε, by the number of objects
DRAWN = 0.3  # of these
PATCHES = 0.05  # share of objects that the uneven Bob takes for others
AGAINST = 0.2  # ε of the Bob he is compared with
CLASSES = 6
GRID = np.linspace(0, 1, 21)  # ε, of classes
SETS = {True: 2000, False: 20_000}  # of candidates to classify, at each ε
BLOCKS = 20  # into which they are split, for the intervals of correlations
WHOLE, UPPER = "alignment 0 to 1", "½ to 1"
RANGES = {WHOLE: 0, "¼ to 1": 0.25, UPPER: 0.5}  # the least of each
ROBUSTNESS = ("disagreement on the worst", "hard error on the worst", "hard error on any")
LIKELY = 3  # of 11 intervals of 95 %; more miss what is true 2 times in 1000


def part(effort: Effort) -> Part:
    rng, draws = np.random.default_rng(effort.seed), DRAWS[effort.fast]
    binomial = [independent(e, 10 * draws, rng) for e in EPSILON]
    missed = _missed(binomial, expected_maximum(pairs(N), EPSILON, K) / pairs(N))
    share = counted([mixed(e) for e in EPSILON[EPSILON <= 0.5]], N, K, draws, rng) / pairs(N)
    # Draws are the same at each ε.
    steps = {k: [intervals.mean(s) for s in np.diff(maxima(share[..., :k])).T] for k in (FEW, K)}
    rises = [step.low > 0 for of_k in steps.values() for step in of_k]
    gaps = gaps_by_size(OBJECTS[effort.fast], draws // 2, rng)
    rows = [row for of_one in gaps.values() for row in of_one]
    beyond = [row["difference"].low > 0 for row in rows]
    most = gaps[DRAWN][-1]  # of objects
    (uneven_d, uneven_most), (even_d, even_most) = counterexample(draws, rng)
    fails = uneven_d.high < even_d.low and uneven_most.low > even_most.high
    largest, smallest = (float(f(45, 0.1, 10)) for f in (expected_maximum, expected_minimum))
    ten = rng.binomial(45, 0.1, size=(1000 * draws, 10)).max(axis=1)
    ten = intervals.mean(ten.astype(np.float64))
    read = classified(SETS[effort.fast], rng)
    related = correlations(read)
    whole, upper = ([row[name] for row in related] for name in (WHOLE, UPPER))
    return Part(
        "Adversarial examples",
        [
            "An adversarial example is the one of k candidates on which Alice and Bob disagree "
            "most, over the n(n−1)/2 questions about it and n objects they share. Were questions "
            "answered independently, that would be the largest of k binomial counts, of which the "
            "mean is known. It is compared with simulated counts that are independent, and with "
            "those of embeddings: Bob’s features are a mixture, by an angle, of Alice’s and of "
            "others; above ε = ½ he answers everything the other way round.",
            "All questions about an object share it: if Bob sees it elsewhere than Alice does, he "
            "has many of them wrong at once. So the worst candidate is worse than independent "
            "counts say. More objects do not mend that, except where ε is 0, ½ or 1 and all "
            f"candidates are alike: with {most['n']} objects and {most['k']} candidates the "
            f"largest share is {cell(most['simulated'])} at ε = {most['ε']:.3f}; independence "
            f"would make it {most['independent']:.3f}.",
            "Remark A.6: a read-out of classes that knows ε, having been trained on labels, turns "
            "Bob’s answers round where most are wrong. The Bob who disagrees with Alice about "
            "everything has every class right.",
        ],
        {"adversarial": Picture(_draw(binomial, share, gaps, read), _caption(effort.fast))},
        [
            Table(rows, "The largest share of disagreements among k candidates: of embeddings, and "
                  "of independent questions at the same ε (mean, 95 % interval)."),
            Table(related, "Pearson correlation of alignment, 1 − ε, with robustness, over ranges "
                  "of alignment (95 % interval)."),
        ],
        [
            Claim(
                "001, proof of Theorem A.5",
                "The expected disagreement on an adversarial example is Σ (1 − F(x))^k.",
                NOT_AS_PRINTED if smallest < ten.low else HOLDS,
                f"That is the mean of the smallest of k counts: {smallest:.2f} at N = 45, ε = 0.1, "
                f"k = 10, where the largest is {ten.value:.2f} [{ten.low:.2f}, {ten.high:.2f}] "
                "simulated. (Equation 1 prints max for argmax.)",
                {"as printed in 001": smallest, "simulated": ten},
            ),
            Claim(
                "000, proof of Theorem A.5",
                "The expected disagreement on an adversarial example is Σ (1 − F(x)^k).",
                NOT_AS_PRINTED if missed > LIKELY else ASSUMED if any(beyond) else HOLDS,
                f"Right of independent counts: {largest:.2f} at N = 45, ε = 0.1, k = 10, and of "
                f"{len(EPSILON)} simulated means {missed} miss it. Embeddings’ counts are larger "
                f"in {sum(beyond)} of {len(beyond)} cases of the table: at ε = {most['ε']:.3f}, "
                f"n = {most['n']}, k = {most['k']} by {cell(most['difference'])} of all "
                "questions.",
                {"as printed in 000": largest, "simulated": ten, "embeddings": rows},
                "Questions about an object are answered independently, and so are candidates.",
            ),
            Claim(
                "000 and 001, Theorem A.5",
                "Of two agents, the less misaligned disagrees less on its adversarial example.",
                NOT_AS_PRINTED if fails or not all(rises) else HOLDS,
                "Among agents of one kind, and of embeddings, where nothing is independent, "
                f"{sum(rises)} of {len(rises)} steps from ε = 0 to 1 go up. Between two kinds it "
                f"{'does not hold' if fails else 'holds, too'}: a Bob who takes "
                f"{100 * PATCHES:g} % of objects for others, and "
                f"is else like Alice, has D_P = {uneven_d.value:.3f}, and disagrees on "
                f"{uneven_most.value:.3f} of the questions about the worst of {K}; one who is "
                f"evenly misaligned, by {even_d.value:.3f}, on {even_most.value:.3f}.",
                {"steps by k": steps, "uneven": {"D_P": uneven_d, "worst": uneven_most},
                 "even": {"D_P": even_d, "worst": even_most}},
            ),
            Claim(
                "000 and 001, Remark A.6",
                "Measured by hard classification error, the effect of alignment on adversarial "
                "robustness is dampened by a U shape.",
                NOT_AS_PRINTED if not dampened(whole) else HOLDS if dampened(upper) else ASSUMED,
                f"Over all alignments, robustness correlates with alignment by {cell(whole[0])} "
                f"if measured by disagreement on the adversarial example; by {cell(whole[1])} if "
                f"by the error of classifying that example; and by {cell(whole[2])} by the error "
                "on any object, which is "
                f"{float(adversarial.hard_error(0.5, n_classes=CLASSES)):.3f} at ε = ½ and 0 at "
                f"both ends. From ½ to 1, half of the U, by {', '.join(map(cell, upper))}. (Over "
                "an even grid of ε; the adversarial example is the worst before its answers are "
                "turned round.)",
                {"correlation with alignment": related},
                "Some agents have most answers wrong (ε > ½), and their read-outs turn them round.",
            ),
        ],
    )  # fmt: skip


def pairs(n: int) -> int:
    """The questions about one object and n others."""
    return n * (n - 1) // 2


def mixed(epsilon: float) -> representation.Map:
    """The Bob of `agents` who is about as misaligned as ε, to ½."""
    return agents(math.acos(math.sqrt(max(math.cos(math.pi * epsilon), 0))))[1]


def uneven(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n p"]:
    """A Bob who sees what Alice sees, but takes some objects for what she does not see of them."""
    seen, unseen = np.split(x, 2, axis=1)
    return np.where(unseen[:, :1] > scipy.special.ndtri(1 - PATCHES), unseen, seen)


def independent(epsilon: float, draws: int, rng: np.random.Generator) -> Measured:
    """The largest share of K independent counts."""
    counts = rng.binomial(pairs(N), epsilon, size=(draws, K))
    return intervals.mean(counts.max(axis=1) / pairs(N))


def counted(
    bobs: Sequence[representation.Map], n: int, k: int, draws: int, rng: np.random.Generator
) -> Int[np.ndarray, "draws bobs k"]:
    """Disagreements of Alice with each Bob on k candidates, about the same n objects."""
    alice, _ = agents(0.0)
    found = np.empty((draws, len(bobs), k), np.int64)
    for i, x in enumerate(rng.normal(size=(draws, n + k, 2 * D))):
        a = alice(x)
        for j, bob in enumerate(bobs):
            b = bob(x)
            found[i, j] = adversarial.disagreements(a[:n], b[:n], a[n:], b[n:])
    return found


def maxima(share: Float[np.ndarray, "draws e k"]) -> Float[np.ndarray, "draws f"]:
    """The largest shares at each ε to ½ and, of the Bob who answers the other way round, above."""
    return np.concatenate([share.max(axis=2), 1 - share.min(axis=2)[:, -2::-1]], axis=1)


def gaps_by_size(
    sizes: Sequence[int], draws: int, rng: np.random.Generator
) -> dict[float, list[dict[str, Any]]]:
    """Rows of `gap` by ε, for numbers of candidates and of objects."""
    bobs = [mixed(e) for e in SEVERAL]
    shares = {n: counted(bobs, n, K, draws, rng) / pairs(n) for n in sizes}
    return {
        e: [gap(shares[n][:, i, :k], n) for k in (FEW, K) for n in sizes]
        for i, e in enumerate(SEVERAL)
    }


def gap(share: Float[np.ndarray, "draws k"], n: int) -> dict[str, Any]:
    """A row: the largest share, and by how much it is above that of independent counts.

    The formula is taken at the agents' own ε, the mean share; the interval of the difference allows
    for the errors of both, as if they always added up.
    """
    epsilon, most = intervals.mean(share.mean(axis=1)), intervals.mean(share.max(axis=1))
    value, low, high = expected_maximum(pairs(n), epsilon[:3], share.shape[1]) / pairs(n)
    above = Measured(most.value - value, most.low - high, most.high - low, most.n)
    return {"ε": epsilon.value, "n": n, "k": share.shape[1], "simulated": most,
            "independent": float(value), "difference": above}  # fmt: skip


def counterexample(draws: int, rng: np.random.Generator) -> list[tuple[Measured, Measured]]:
    """D_P and the largest share, of the uneven Bob and of one who is evenly misaligned."""
    alice, bobs = agents(0.0)[0], (uneven, mixed(AGAINST))
    most = counted(bobs, N, K, draws, rng).max(axis=2) / pairs(N)
    draw: Callable[[int], np.ndarray] = lambda n: rng.normal(size=(n, 2 * D))  # noqa: E731
    return [
        (
            representation.stochastic_misalignment(alice, bob, draw, n_samples=100 * draws),
            intervals.mean(most[:, i]),
        )
        for i, bob in enumerate(bobs)
    ]


def classified(draws: int, rng: np.random.Generator) -> Float[np.ndarray, "3 e draws"]:
    """Disagreement on the adversarial one of few objects, the hard error on it, and on any."""
    found = np.empty((3, len(GRID), draws))
    for i, e in enumerate(GRID):
        flipped = rng.random((draws, FEW, pairs(CLASSES))) < e
        counts = flipped.sum(axis=2)
        worst = flipped[np.arange(draws), counts.argmax(axis=1)]
        found[0, i] = counts.max(axis=1) / pairs(CLASSES)
        for row, read in ((1, worst), (2, flipped[:, 0])):
            found[row, i] = 1 - adversarial.right_class(read ^ (e > 0.5), CLASSES)
    return found


def correlations(found: Float[np.ndarray, "3 e draws"]) -> list[dict[str, str | Measured]]:
    """Rows: alignment with each of what `classified` found, turned into robustness."""
    robustness = 1 - found.reshape(3, len(GRID), BLOCKS, -1).mean(axis=3)
    rows: list[dict[str, str | Measured]] = [{"robustness by": name} for name in ROBUSTNESS]
    for name, least in RANGES.items():
        alignment = 1 - GRID
        inside = alignment > least - 1e-9
        for row, blocks in zip(rows, robustness[:, inside], strict=True):
            whole = blocks.mean(axis=1, keepdims=True)
            curves = np.hstack([whole, (BLOCKS * whole - blocks) / (BLOCKS - 1)])
            r = np.array([np.corrcoef(alignment[inside], one)[0, 1] for one in curves.T])
            row[name] = intervals.jackknife(float(r[0]), r[1:])
    return rows


def dampened(by: Sequence[Measured]) -> bool:
    """Whether alignment goes with robustness by disagreement more than with both by hard error."""
    return by[0].low > max(by[1].high, by[2].high)


def _missed(found: Sequence[Measured], expected: Float[np.ndarray, " e"]) -> int:
    _, low, high, _ = np.array(found).T
    return int(((expected < low) | (expected > high)).sum())


@matplotlib.rc_context(figures.STYLE)
def _draw(
    binomial: list[Measured], share: np.ndarray, gaps: dict[float, list[dict]], read: np.ndarray
) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 2.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    fine = np.linspace(0, 1, 101)

    largest, smallest = (
        f(pairs(N), fine, K) / pairs(N) for f in (expected_maximum, expected_minimum)
    )
    left.plot(fine, largest, color=figures.BLUE, label="Σ(1 − Fᵏ), 000")
    left.plot(fine, smallest, color=figures.GREY, ls="--", label="Σ(1 − F)ᵏ, 001")
    points(left, EPSILON, binomial, 0, "independent")
    below = share.mean(axis=(0, 2))
    own = np.concatenate([below, 1 - below[-2::-1]])
    points(left, own, [intervals.mean(one) for one in maxima(share).T], 1, "embeddings")
    left.set(xlabel="misalignment ε", ylabel=f"largest share of k = {K}")
    left.set(title="Theorem A.5", ylim=(-0.03, 1.42), yticks=[0, 0.5, 1])
    left.legend(loc="upper left", fontsize=6.5, borderpad=0)

    for i, k in enumerate((K, FEW)):
        rows = [row for row in gaps[DRAWN] if row["k"] == k]
        sizes = np.array([row["n"] for row in rows])
        middle.plot(sizes, [row["independent"] for row in rows], color=figures.COLOURS[i], lw=1.2,
                    label=f"independent, k = {k}")  # fmt: skip
        points(middle, sizes, [row["simulated"] for row in rows], i, f"embeddings, k = {k}")
    middle.axhline(float(np.mean([row["ε"] for row in gaps[DRAWN]])), **figures.DASHED)
    middle.set(xlabel="shared objects n", xscale="log", title="More objects", ylim=(0.25, 0.89))
    middle.set_ylabel("largest share of k")
    middle.set_xticks(sizes, [str(n) for n in sizes])
    middle.minorticks_off()
    middle.legend(loc="upper right", fontsize=6.5, borderpad=0)

    questions = pairs(CLASSES)
    right.plot(fine, expected_maximum(questions, fine, FEW) / questions, color=figures.BLUE)
    for i, k in ((1, FEW), (2, 1)):
        error = adversarial.hard_error(fine, n_classes=CLASSES, k=k)
        for side in (fine <= 0.5, fine > 0.5):
            right.plot(fine[side], error[side], color=figures.COLOURS[i])
    for i, (name, found) in enumerate(zip(ROBUSTNESS, read, strict=True)):
        points(right, GRID, [intervals.mean(one) for one in found], i, name)
    right.set(xlabel="misalignment ε", ylabel="share", title="Remark A.6", ylim=(-0.03, 1.62))
    right.set_yticks([0, 0.5, 1])
    right.legend(loc="upper left", fontsize=6.5, borderpad=0)
    return figure


def points(axes: Axes, x: np.ndarray, found: Sequence[Measured], i: int, label: str) -> None:
    """Draws measured numbers with their intervals, in the i-th colour and form."""
    value, low, high, _ = np.array(found).T
    axes.errorbar(
        x, value, yerr=figures.bars(value, low, high), color=figures.COLOURS[i], ls="",
        marker=figures.MARKERS[i], ms=3, elinewidth=0.8, label=label, zorder=3,
    )  # fmt: skip


def _caption(fast: bool) -> str:
    return (
        f"Left: the share of {pairs(N)} questions, about {N} objects, on which two agents differ "
        f"for the worst of {K} candidates: by the formulas, of independent answers, and of "
        f"embeddings in {D} dimensions ({DRAWS[fast]} draws). Middle: by number of objects, at "
        f"ε ≈ {SEVERAL[1]} (dashed). Right: {CLASSES} classes; disagreement on the worst of {FEW} "
        "objects, how often a read-out that knows ε mistakes its class, and how often that of any "
        "object; lines are exact. All with 95 % intervals."
    )
