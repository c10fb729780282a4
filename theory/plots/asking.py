"""Which questions to ask people, and how many: active against random asking."""

import math

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.page import Picture
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import asking, laplace
from theory.asking import Curves, Setting
from theory.claims import HOLDS, REFUTED, UNDECIDED, Claim
from theory.plots import Effort, Part

SETTING = {
    True: Setting(32, 4, 0.33, 300, 1200, 1),
    # Larger rounds than in benchmarks.active, to fit fewer times.
    False: asking.STUDY._replace(batch=400, rounds=9),
}
# Of populations with seed 0, which nothing was tuned on; with seed 8 they are what it was tuned on.
FIRST = 20
SEEDS = {True: 2, False: 10}
SHARE = 0.7  # of the answers of random asking, that active asking is to need at most
FACTOR = 2  # within which Laplace's method is to predict answers


def part(effort: Effort) -> Part:
    setting, n_seeds = SETTING[effort.fast], SEEDS[effort.fast]
    seeds = [FIRST + n_seeds * effort.seed + i for i in range(n_seeds)]
    of = (
        f"of {setting.objects} objects in {setting.dims} dimensions at a noise of {setting.noise:g}"
    )
    curves = asking.compare(setting, seeds)
    accurate = asking.ratio(curves.answers, curves.accuracy)
    aligned = asking.ratio(curves.answers, curves.alignment)
    people = [asking.world(setting, seed).y for seed in seeds]
    correction = asking.beyond_laplace(curves, people, seeds)
    expected = np.array([
        laplace.learn(y, curves.answers.astype(float), np.random.default_rng(seed)).alignment
        for y, seed in zip(people, seeds, strict=True)
    ])  # fmt: skip
    ends = curves.of_ceiling[:, :, -1].mean(axis=1)
    last = curves.answers[-1]
    return Part(
        "Which questions to ask",
        [
            f"Simulated people share an embedding of {setting.objects} objects in {setting.dims} "
            "sparse, non-negative dimensions and answer odd-one-out questions by the softmax of "
            f"its dot products, {100 * setting.noise:.0f} % of them otherwise than most would, "
            "as people do about THINGS. VICE is fitted after each round of questions. These are "
            "drawn at random, or by how many bits their answers are expected to say about the "
            "embedding under VICE’s posterior (BALD; Houlsby et al. 2011).",
            f"After {last:,} answers random asking has come {100 * ends[0]:.1f} % of the way "
            "from chance to the ceiling on held-out questions, active asking "
            f"{100 * ends[1]:.1f} %. Active asking had what random asking has in the end with "
            f"{_text(accurate)} times its answers; for the same triplet alignment with the "
            f"truth, 1 − D_R, it needed {_text(aligned)} times as many. How many answers an "
            "experiment needs: python -m theory.plan.",
        ],
        {"asking": Picture(_draw(curves, expected), _caption(setting, n_seeds))},
        [],
        [
            Claim(
                "ours",
                f"Asking actively takes at most {100 * SHARE:.0f} % of the answers that random "
                f"asking takes for the accuracy on held-out questions that {last:,} lead to, {of}.",
                _verdict(accurate),
                f"{_text(accurate)} of them ({n_seeds} populations){_doubt(accurate)}.",
                {"ratio": accurate, "ceiling": intervals.mean(curves.ceiling)},
            ),
            Claim(
                "ours",
                f"Asking actively takes at most {100 * SHARE:.0f} % of the answers that random "
                f"asking takes for the alignment with the truth that {last:,} lead to, {of}.",
                _verdict(aligned),
                f"{_text(aligned)} of them ({n_seeds} populations){_doubt(aligned)}.",
                {"ratio": aligned},
            ),
            Claim(
                "ours, after Laplace",
                "The Fisher information of random answers says, without a fit, how many of them "
                f"lead to an alignment, within a factor of {FACTOR}, {of}.",
                HOLDS
                if correction.low > 1 / FACTOR and correction.high < FACTOR
                else REFUTED
                if correction.low > FACTOR or correction.high < 1 / FACTOR
                else UNDECIDED,
                f"VICE needed {_text(correction)} times as many ({n_seeds} populations).",
                {"fitted / expected": correction},
            ),
        ],
    )


def _verdict(ratio: Measured) -> str:
    return HOLDS if ratio.high <= SHARE else REFUTED if ratio.low > SHARE else UNDECIDED


@matplotlib.rc_context(figures.STYLE)
def _draw(curves: Curves, expected: np.ndarray) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 2.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.axhline(curves.ceiling.mean(), **figures.DASHED)
    left.annotate(
        "ceiling", (curves.answers[0], curves.ceiling.mean()), xytext=(0, -2),
        textcoords="offset points", va="top", color=figures.GREY, fontsize=7,
    )  # fmt: skip
    _arms(left, curves.answers, curves.accuracy)
    left.set(xlabel="answers", ylabel="accuracy on held-out answers", title="What people answer")
    left.legend(loc="lower right", fontsize=7)

    right.plot(
        curves.answers, expected.mean(axis=0), color=figures.BLACK, ls=":", lw=1.2,
        label="random, by Laplace’s method",
    )  # fmt: skip
    _arms(right, curves.answers, curves.alignment)
    right.set(xlabel="answers", ylabel="alignment 1 − D_R", title="How they see it")
    right.legend(loc="lower right", fontsize=7)
    for axes in (left, right):
        axes.set_xlim(0)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def _arms(axes: Axes, answers: np.ndarray, values: np.ndarray) -> None:
    looks = zip(asking.ARMS, (figures.BLUE, figures.ORANGE), figures.MARKERS, values, strict=False)
    for name, colour, marker, of_arm in looks:
        value, low, high, _ = np.array([intervals.mean(point) for point in of_arm.T]).T
        axes.errorbar(
            answers, value, yerr=figures.bars(value, low, high), color=colour, marker=marker,
            ms=3, lw=1, elinewidth=0.8, label=f"{name} questions",
        )  # fmt: skip


def _text(measured: Measured) -> str:
    if not math.isfinite(measured.value):
        return "more than all"
    return f"{measured.value:.2f} [{measured.low:.2f}, {measured.high:.2f}]"


def _doubt(measured: Measured) -> str:
    return (
        ""
        if measured.high <= SHARE
        else f"; that more than {100 * SHARE:.0f} % is needed is not ruled out"
    )


def _caption(setting: Setting, n_seeds: int) -> str:
    return (
        f"{n_seeds} simulated populations, {setting.objects} objects in {setting.dims} dimensions; "
        "means with 95 % intervals over populations. Left: share of people’s answers to held-out "
        "questions that VICE predicts; above the ceiling nobody can be. Right: share of anchored "
        "triplets on which the learnt embedding agrees with the true one, and what the Fisher "
        "information of so many random answers leads to expect (dotted)."
    )
