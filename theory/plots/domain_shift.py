"""How far answers about centroids change when these move, by misalignment."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.page import Picture, Table
from evals.pages.table import cell
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import adversarial, domain_shift
from theory.claims import ASSUMED, HOLDS, NOT_AS_PRINTED, REFUTED, Claim
from theory.domain_shift import expected_sensitivity
from theory.plots import Effort, Part
from theory.plots.adversarial import mixed, pairs, points
from theory.plots.representation import agents

EPSILON = np.linspace(0, 1, 21)
SIGMA_A = (0.0, 0.1, 0.3)
ASKED = {True: 20_000, False: 200_000}  # independent questions at each ε
DRAWS = {True: 20, False: 300}  # of objects and centroids
GIVEN = (1, 4, 10, 16)  # of these, to be named
LIKELY = 8  # of 63 intervals of 95 %; more miss what is true 4 times in 1000
N, K, D = 20, 10, 16  # objects, centroids, dimensions
MIXED = np.linspace(0, 0.5, 6)  # ε of embeddings
KEPT = (0.0, 0.5, 0.9, 1.0)  # correlation of what Alice does not see of centroids with what it was


def part(effort: Effort) -> Part:
    rng = np.random.default_rng(effort.seed)
    independent = {
        sigma: [misread(float(e), sigma, ASKED[effort.fast], rng) for e in EPSILON]
        for sigma in SIGMA_A
    }
    missed = sum(
        not one.low <= expected <= one.high
        for sigma, found in independent.items()
        for one, expected in zip(found, expected_sensitivity(EPSILON, sigma), strict=True)
    )
    given = {f"ε = {EPSILON[i]:.2g}": independent[0.0][i] for i in GIVEN}
    moved = {kept: shifted(kept, DRAWS[effort.fast], rng) for kept in KEPT}
    sigma_a = max(float(found[0].max()) for found in moved.values())
    rows = {kept: by_epsilon(kept, found) for kept, found in moved.items()}
    changing = [[row["σ_B"] for row in rows[kept]] for kept in KEPT if kept < 1]
    told_apart = [orders(EPSILON, independent[0.0]), *(orders(MIXED, one) for one in changing)]
    as_printed, turned = (sum(counts) for counts in zip(*told_apart, strict=True))
    rises = [
        intervals.mean(one).low > 0
        for kept in KEPT
        if kept < 1
        for one in np.diff(moved[kept][3]).T
    ]
    renewed, same = rows[KEPT[0]], rows[KEPT[-1]]
    half = renewed[-1]["σ_B"]
    dependent = half.high < renewed[-1]["2ε(1−ε)"]
    blind, seeing = same[-1]["σ_B"], renewed[1]["σ_B"]
    stays = max(row["σ_B"].value for row in same)
    return Part(
        "Domain shift",
        [
            "The centroids of classes move, and an agent is sensitive to that as far as it answers "
            "“is the centroid nearer to this object than to that?” differently after it. Alice’s "
            "answers stay. Bob has a share ε of them wrong; were what he has wrong after the shift "
            "independent of what he had wrong before, his own would change at a rate of "
            "2 ε (1 − ε). The less Bob has to do with Alice, in either sense, the more sensitive "
            "he is.",
            "Embeddings are not independent of their past. Bob’s features are a mixture, by an "
            "angle, of Alice’s, which move so far only that none of her answers changes "
            f"(σ_A = {sigma_a:g}), and of others, which keep a correlation with what they were, "
            "from 1 to 0. What he has wrong is then correlated (r), as the objects are the same, "
            "even where all that Alice does not see of a centroid is new: at ε = ½ σ_B is "
            f"{cell(half)}, not ½. Where nothing is new he stays with what he has wrong, and "
            f"changes {100 * stays:.1f} % of his answers at most, whatever ε.",
        ],
        {"domain_shift": Picture(_draw(independent, rows), _caption(effort.fast, missed))},
        [
            Table([row | {"kept": f"{row['kept']:g}"}
                   for of_kept in rows.values() for row in of_kept if row["ε"] > 0],
                  "Embeddings: σ_B, by independence and as found, and the correlation r of being "
                  "wrong before with being wrong after (mean, 95 % interval)."),
        ],
        [
            Claim(
                "000 and 001, Corollary A.2",
                "If σ_A = 0 and |½ − ε₁| < |½ − ε₂|, then σ_B1 < σ_B2.",
                NOT_AS_PRINTED if turned else HOLDS,
                f"{'The sign is the wrong way round. ' if turned > as_printed else ''}"
                f"Of {as_printed + turned} pairs of ε, of "
                "independent answers and of embeddings with part of the centroids new, whose "
                f"intervals tell σ_B1 from σ_B2, {as_printed} are as printed, and {turned} the "
                "reverse.",
                {"pairs as printed": as_printed, "pairs the other way round": turned,
                 "independent": independent[0.0], "embeddings": rows},
            ),
            Claim(
                "ours, for Corollary A.2",
                "If σ_A = 0, then σ_B = 2 ε (1 − ε), so that |½ − ε₁| < |½ − ε₂| makes "
                "σ_B1 > σ_B2.",
                REFUTED if missed > LIKELY else ASSUMED if dependent else HOLDS,
                "Of independent answers σ_B is "
                + ", ".join(f"{one.value:.3f} at {name}" for name, one in given.items())
                + f"; with σ_A > 0 too, {missed} of {len(SIGMA_A) * len(EPSILON)} intervals miss "
                "the formula. Of embeddings it is less, by the factor 1 − r: "
                f"{cell(half)} at ε = ½ even where all that Alice does not see is new.",
                {"independent": independent, "embeddings": rows},
                "What Bob has wrong after the shift is independent of what he had wrong before; "
                "for the order alone, its correlation is not larger where ε is nearer to ½.",
            ),
            Claim(
                "000 and 001, after Definition A.1",
                "If the teacher is robust to domain shift, the student’s sensitivity to it is as "
                "U-shaped in alignment as few-shot learning is.",
                NOT_AS_PRINTED if not all(rises) else ASSUMED if blind.high < seeing.low else HOLDS,
                "Robustness has the U shape: no sensitivity at ε = 0 and 1, most at ½. Of "
                f"embeddings, too, {sum(rises)} of {len(rises)} steps of ε towards ½ raise σ_B. "
                f"But a Bob to whom nothing is new has {blind.value:.3f} at ε = ½, and one to whom "
                f"all is new {seeing.value:.3f} at ε = {renewed[1]['ε']:.2f}.",
                {"embeddings": rows},
                "Students differ in ε, and not in how far they see the shift.",
            ),
        ],
    )  # fmt: skip


def misread(epsilon: float, sigma_a: float, n: int, rng: np.random.Generator) -> Measured:
    """σ_B of n questions that Bob has wrong independently of each other, before and after."""
    changes = rng.random(n) < sigma_a
    wrong = rng.random((2, n)) < epsilon
    return intervals.proportion(int((changes ^ wrong[0] ^ wrong[1]).sum()), n)


def shifted(kept: float, draws: int, rng: np.random.Generator) -> Float[np.ndarray, "4 draws e"]:
    """Of embeddings: σ_A, Bob's ε before and after the shift, and σ_B.

    Alice's part of the centroids moves so far only that none of her answers changes.
    """
    found = np.empty((4, draws, len(MIXED)))
    alice, _ = agents(0.0)
    bobs = [mixed(e) for e in MIXED]
    for i in range(draws):
        x, c, new = (rng.normal(size=(rows, 2 * D)) for rows in (N, K, K))
        seen = domain_shift.within_cells(alice(x), alice(c), alice(new))
        unseen = kept * c[:, D:] + math.sqrt(1 - kept**2) * new[:, D:]
        c_star = np.hstack([seen, unseen])
        found[0, i] = domain_shift.sensitivity(alice(x), alice(c), seen)
        for j, bob in enumerate(bobs):
            for row, where in ((1, c), (2, c_star)):
                wrong = adversarial.disagreements(alice(x), bob(x), alice(where), bob(where))
                found[row, i, j] = wrong.mean() / pairs(N)
            found[3, i, j] = domain_shift.sensitivity(bob(x), bob(c), bob(c_star))
    return found


def by_epsilon(kept: float, found: Float[np.ndarray, "4 draws e"]) -> list[dict[str, Any]]:
    """Rows: Bob's ε and σ_B, and the correlation of being wrong before with being wrong after."""
    rows = []
    for shares in found[1:].transpose(2, 0, 1):
        epsilon = float(shares[:2].mean())
        r = None
        if epsilon > 0:
            total, draws = shares.sum(axis=1, keepdims=True), shares.shape[1]
            without_each = _phi(*(total - shares) / (draws - 1))
            r = intervals.jackknife(float(_phi(*total / draws)[0]), without_each)
        expected = float(expected_sensitivity(epsilon))
        sigma = intervals.mean(shares[2])
        rows.append({"kept": kept, "ε": epsilon, "2ε(1−ε)": expected, "σ_B": sigma, "r": r})
    return rows


def orders(epsilon: Float[np.ndarray, " e"], found: Sequence[Measured]) -> tuple[int, int]:
    """Pairs |½ − ε₁| < |½ − ε₂| of which σ_B1 is below σ_B2, and above, by disjoint intervals."""
    _, low, high, _ = np.array(found).T
    away = np.abs(0.5 - epsilon)
    nearer = away[:, None] < away - 1e-9
    return int((nearer & (high[:, None] < low)).sum()), int((nearer & (low[:, None] > high)).sum())


def _phi(before: np.ndarray, after: np.ndarray, once: np.ndarray) -> np.ndarray:
    both = (before + after - once) / 2
    spread = np.sqrt(before * (1 - before) * after * (1 - after))
    return (both - before * after) / spread


@matplotlib.rc_context(figures.STYLE)
def _draw(independent: dict[float, list[Measured]], rows: dict[float, list[dict]]) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 2.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    fine = np.linspace(0, 1, 201)
    for i, (sigma, found) in enumerate(independent.items()):
        left.plot(fine, expected_sensitivity(fine, sigma), color=figures.COLOURS[i], lw=1.2)
        points(left, EPSILON, found, i, f"σ_A = {sigma:g}")
    left.set(title="Independent", ylabel="sensitivity σ_B")

    middle.plot(fine, expected_sensitivity(fine), label="2ε(1 − ε)", **figures.DASHED)
    for i, (kept, of_kept) in enumerate(rows.items()):
        middle.plot(fine, domain_shift.from_margins(fine, kept), color=figures.COLOURS[i], lw=1.2)
        own = np.array([row["ε"] for row in of_kept])
        found = [row["σ_B"] for row in of_kept]
        points(middle, own, found, i, f"kept {kept:g}")
        points(middle, 1 - own, found, i, "")
        points(right, own[1:], [row["r"] for row in of_kept[1:]], i, "")
        open_ends = fine[1 : len(fine) // 2 + 1]
        once = expected_sensitivity(open_ends)
        r = 1 - domain_shift.from_margins(open_ends, kept) / once
        right.plot(open_ends, r, color=figures.COLOURS[i], lw=1.2)
    middle.set(title="Embeddings, σ_A = 0", ylabel="sensitivity σ_B")
    for axes in (left, middle):
        axes.set(xlabel="misalignment ε", ylim=(-0.02, 0.75), xticks=[0, 0.5, 1])
        axes.set_yticks(np.arange(0, 0.6, 0.1))
        axes.legend(loc="upper center", fontsize=6.5, borderpad=0, ncols=2)
    right.axhline(0, **figures.DASHED)
    right.set(title="Errors that stay", xlabel="misalignment ε", ylabel="correlation r")
    right.set_ylim(-0.05, 1.05)
    return figure


def _caption(fast: bool, missed: int) -> str:
    return (
        "How many of Bob’s answers about centroids a shift changes. Left: of "
        f"{ASKED[fast]:,} questions a point that he has wrong independently before and after, by "
        f"how many change for Alice, and by the formula; {missed} of "
        f"{len(SIGMA_A) * len(EPSILON)} intervals of 95 % miss it. Middle: of embeddings in {D} "
        f"dimensions, {K} centroids and {N} objects, {DRAWS[fast]} draws; “kept” is the "
        "correlation with its past of what Alice does not see; lines take margins for normal. "
        "Above ½ Bob answers everything the other way round, and changes as much. Right: the "
        "correlation of having an answer wrong before with having it wrong after; independence "
        "is 0 (dashed)."
    )
