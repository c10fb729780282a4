"""Two embeddings that really differ: where the independent channel is a fair picture of them."""

import functools
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
from theory import counting, game, geometry
from theory.claims import ASSUMED, HOLDS, NOT_AS_PRINTED, REFUTED, UNDECIDED, Claim
from theory.game import AMBIGUOUS, INFORMATIVE, RANDOM, RULES
from theory.geometry import BELIEVED, EACH, FLIPS, KNOWN, NOISE, SCALING, SHARED, WAYS, Met
from theory.plots import Effort, Part
from theory.plots.game import BLOCK

D = 4
BOBS = {
    KNOWN: "knows ε",
    SHARED: "ε of shared objects",
    EACH: "ε of each question",
    BELIEVED: "believes",
}
TARGET = 0.8  # accuracy that answers are counted to
MIDDLE = 0.5  # dial at which half of the dimensions are flipped


class Sizes(NamedTuple):
    """Attributes:
    n: shared objects.
    games: of each kind.
    dials: of each way to differ.
    picked: those of them at which questions are picked, too; none, to compile one game less.
    blocks: of these.
    """

    n: int
    games: int
    dials: tuple[float, ...]
    picked: tuple[float, ...]
    blocks: int


FAST = Sizes(16, 8, (0.0, 0.25, 0.5, 1.0), (), 0)
FULL = Sizes(24, 64, (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0), (0.2, 0.8), 10)


def part(effort: Effort) -> Part:
    sizes = FAST if effort.fast else FULL
    fresh = functools.partial(np.random.default_rng, effort.seed)  # the same objects throughout
    asked = sizes.n * (sizes.n - 1) // 2
    checks = tuple(np.unique(np.geomspace(2, asked, 9).round().astype(int)).tolist())
    met = {
        (way, dial): geometry.meet(fresh(), sizes.games, way, dial, n=sizes.n, d=D, checks=checks)
        for way in WAYS
        for dial in sizes.dials
    }
    rows = _compared(met, effort.seed, sizes, checks)
    picked = _picked(rows, effort.seed, sizes)
    channel = {(way, dial): row["channel, as many answers"] for (way, dial), row in rows.items()}
    return Part(
        "Two embeddings that differ",
        [
            "Now Alice and Bob have embeddings. A rotation changes none of their answers. Noise, "
            "unequal scaling of dimensions, and dimensions in which what differs seems alike do, "
            "and the last reach any misalignment from 0 to 1. Bob decodes as before: as if answers "
            "were flipped independently.",
            "They are not. Flips come more often where a decision is close, where they matter "
            "less. But asked again Alice says the same: what she does not see he never learns, "
            "while answers that are flipped anew each time can be averaged.",
            "Nor does ε alone say what can be learnt. Where half of the dimensions are flipped, ε "
            "is about ½, and the channel’s capacity 0; but which questions are flipped is then the "
            "same for many objects, and a Bob can trust each question as far as Alice’s answers to "
            "it about the shared objects agreed with his.",
            "Questions may be picked here, too, each once. That saves answers and leads no "
            "farther: when all are given, their order does not matter.",
        ],
        {"geometry": Picture(_draw(met, channel, sizes), _caption(sizes, asked))},
        [
            _table(
                rows,
                ("ε", "embeddings, answers", "channel, answers", "ratio"),
                f"Answers to be {100 * TARGET:.0f} % right, by Alice’s embedding and through a "
                f"channel of the same ε; means over {sizes.games} games, with 95 % intervals.",
            ),
            _table(
                rows,
                ("ε", "embeddings, all questions", "channel, as many answers"),
                f"Accuracy when all {asked} questions are answered, and after as many answers "
                "through the channel, to random questions; likewise.",
            ),
            *([_of_rules(picked, sizes, asked)] if picked else []),
        ],
        [*_claims(met, rows), *([_of_picking(picked)] if picked else [])],
    )


def _picked(
    rows: Mapping[tuple[int, float], dict], seed: int, sizes: Sizes
) -> dict[tuple[int, float], dict]:
    """Answers needed by each rule of asking, about the same objects; Bob knows ε."""
    at = tuple(BLOCK * (i + 1) for i in range(sizes.blocks))
    found = {}
    for way, dial in ((way, dial) for way in WAYS for dial in sizes.picked):
        row = rows[way, dial]
        found[way, dial] = {"ε": row["ε"], RULES[RANDOM]: row["embeddings, answers"]}
        for rule in (AMBIGUOUS, INFORMATIVE):
            met = geometry.meet_and_pick(
                np.random.default_rng(seed), sizes.games, way, dial, rule,
                n=sizes.n, d=D, blocks=sizes.blocks, block=BLOCK,
            )  # fmt: skip
            needed = _needed(met.played.accuracy[:, KNOWN], at)
            found[way, dial][RULES[rule]] = counting.reached(needed)
    return found


def _table(rows: Mapping[tuple[int, float], dict], columns: Sequence[str], caption: str) -> Table:
    kinds = [{"way, dial": f"{WAYS[way]}, {dial:g}"} | row for (way, dial), row in rows.items()]
    return Table(kinds, caption, ["way, dial", *columns])


def _compared(
    met: Mapping[tuple[int, float], Met],
    seed: int,
    sizes: Sizes,
    checks: Sequence[int],
) -> dict[tuple[int, float], dict]:
    rows = {}
    for kind, one in met.items():
        epsilon = float(one.epsilon.mean())
        # The channel's Bob may have each question answered anew.
        rng = np.random.default_rng(seed)
        played = game.random_questions(rng, sizes.games, epsilon, n=sizes.n, d=D, checks=checks)
        here = _needed(one.played.accuracy[:, KNOWN], checks)
        there = _needed(played.accuracy, checks)
        ratio = here.value / there.value if math.isfinite(there.value) else None
        rows[kind] = {
            "ε": intervals.mean(one.epsilon.astype(np.float64)),
            "embeddings, answers": counting.reached(here),
            "channel, answers": counting.reached(there),
            "ratio": ratio,
            "embeddings, all questions": accuracy(one, KNOWN),
            "channel, as many answers": intervals.mean(played.accuracy[:, -1].astype(np.float64)),
        }
    return rows


def accuracy(met: Met, bob: int) -> Measured:
    """Of a Bob to whom all questions were answered."""
    return intervals.mean(met.played.accuracy[:, bob, -1].astype(np.float64))


def _needed(curves: Float[np.ndarray, "games t"], checks: Sequence[int]) -> Measured:
    return counting.answers_to_reach(curves.astype(np.float64), checks, TARGET)


def _of_rules(picked: Mapping[tuple[int, float], dict], sizes: Sizes, asked: int) -> Table:
    return _table(
        picked,
        tuple(RULES.values()),
        f"Answers to be {100 * TARGET:.0f} % right between embeddings, by how questions are "
        f"picked; likewise, – where it took more than {BLOCK * sizes.blocks} picked or {asked} "
        "random ones.",
    )


def _of_picking(picked: Mapping[tuple[int, float], dict]) -> Claim:
    informative, random = RULES[INFORMATIVE], RULES[RANDOM]
    both = [row for row in picked.values() if row[informative] and row[random]]
    shares = [row[informative].value / row[random].value for row in both]
    saves = all(share < 1 for share in shares)
    surely = [row[informative].high < row[random].low for row in both]
    within = f", {min(shares):.2f} to {max(shares):.2f} of those of random ones" if both else ""
    return Claim(
        "ours, for Lemma 3.7 (embeddings)",
        "Between embeddings, too, the most informative questions take fewer answers than random "
        "ones.",
        HOLDS if saves and any(surely) else UNDECIDED if saves else REFUTED,
        f"In {len(both)} of {len(picked)} pairs of embeddings both lead to {100 * TARGET:.0f} % "
        f"right. There they take fewer in {sum(share < 1 for share in shares)}{within}; in "
        f"{sum(surely)} the intervals are apart.",
        {f"{WAYS[way]}, {dial:g}": row for (way, dial), row in picked.items()},
    )


def _claims(met: Mapping[tuple[int, float], Met], rows: Mapping) -> list[Claim]:
    flips = {WAYS[w]: _tenths(met[w, MIDDLE]) for w in (NOISE, SCALING)}
    uneven = {name: tenths[0].low > tenths[-1].high for name, tenths in flips.items()}
    ratios = [row["ratio"] for row in rows.values() if row["ratio"] and row["ε"].value > 0.02]
    reached = [ratio for ratio in ratios if math.isfinite(ratio)]
    half, noisy = met[FLIPS, MIDDLE], met[NOISE, MIDDLE]
    each, known, less = accuracy(half, EACH), accuracy(half, KNOWN), accuracy(noisy, EACH)
    # Of the same objects, seen by Bob in two ways.
    more = intervals.mean(
        (half.played.accuracy[:, EACH, -1] - noisy.played.accuracy[:, EACH, -1]).astype(np.float64)
    )
    verdict = NOT_AS_PRINTED if more.low > 0 else HOLDS if more.high < 0 else UNDECIDED
    turned = met[FLIPS, 1.0]
    knows, believes = accuracy(turned, KNOWN), accuracy(turned, BELIEVED)
    estimates = accuracy(turned, SHARED)
    ceiling = {dial: accuracy(one, KNOWN) for (way, dial), one in met.items() if way == NOISE}
    capped = [
        d for d, one in ceiling.items() if one.high < rows[NOISE, d]["channel, as many answers"].low
    ]
    return [
        Claim(
            "000 and 001, proof of Proposition 3.8",
            "Misalignment is equivalent to a binary symmetric channel that flips a share ε of "
            "bits.",
            NOT_AS_PRINTED if all(uneven.values()) or capped else HOLDS,
            f"Flips {'depend' if all(uneven.values()) else 'do not all depend'} on the question: "
            "between embeddings that differ by noise "
            f"{flips['noise'][0].value:.2f} of the closest tenth of decisions are flipped and "
            f"{flips['noise'][-1].value:.2f} of the clearest; by scaling "
            f"{flips['scaling'][0].value:.2f} and {flips['scaling'][-1].value:.2f}. When all "
            "questions are answered, and to ask again would say nothing new, Bob is right on "
            f"{ceiling[MIDDLE].value:.2f}, where as many answers through the channel bring him to "
            f"{rows[NOISE, MIDDLE]['channel, as many answers'].value:.2f}. Of {len(ratios)} pairs "
            f"of which the channel leads to {100 * TARGET:.0f} % right, embeddings do in "
            f"{len(reached)}, with {min(reached):.2f} to {max(reached):.2f} times the answers.",
            {
                "flips by tenth of the margin": flips,
                "answers, embeddings / channel": ratios,
                "accuracy with all questions answered, noise": ceiling,
            },
        ),
        Claim(
            "000 and 001, Theorem 3.9 (embeddings)",
            "The nearer ε is to ½, the less Bob learns from as many answers.",
            verdict,
            f"With half of the dimensions flipped, ε = {rows[FLIPS, MIDDLE]['ε'].value:.2f}, a Bob "
            f"who knows how far to trust each question is {each.value:.2f} [{each.low:.2f}, "
            f"{each.high:.2f}] right when all are answered, one who knows only ε "
            f"{known.value:.2f}. With noise of ε = {rows[NOISE, MIDDLE]['ε'].value:.2f}, farther "
            f"from ½, the first is {less.value:.2f} right; the difference over the same objects is "
            f"{more.value:.2f} [{more.low:.2f}, {more.high:.2f}].",
            {
                "half flipped": {"ε": rows[FLIPS, MIDDLE]["ε"], "each": each, "known": known},
                "noise": {"ε": rows[NOISE, MIDDLE]["ε"], "each": less},
                "difference": more,
            },
        ),
        Claim(
            "000 and 001, after Theorem 3.9 (embeddings)",
            "A Bob who knows that most answers are flipped learns as from an aligned Alice.",
            ASSUMED if knows.low > 0.9 and estimates.low > 0.9 else NOT_AS_PRINTED,
            f"With all dimensions flipped (ε = {rows[FLIPS, 1.0]['ε'].value:.2f}) Bob comes to be "
            f"{knows.value:.2f} right if he knows ε, {estimates.value:.2f} if he takes it from the "
            f"shared objects, and {believes.value:.2f} if he believes the answers.",
            {"knows": knows, "shared": estimates, "believes": believes},
            assumption="Bob knows on which side of ½ ε lies; shared objects tell him.",
        ),
        Claim(
            "ours",
            "A rotation of the whole space changes no answer.",
            HOLDS if all(float(met[way, 0.0].epsilon.max()) < 0.01 for way in WAYS) else REFUTED,
            "Alice’s space is rotated against Bob’s in all games; at dial 0 the largest ε of "
            f"any is {max(float(met[way, 0.0].epsilon.max()) for way in WAYS):g} (of rounding).",
            {"ε at dial 0": {WAYS[way]: float(met[way, 0.0].epsilon.max()) for way in WAYS}},
        ),
    ]


def _tenths(met: Met) -> list[Measured]:
    return [intervals.mean(column.astype(np.float64)) for column in met.flips.T]


########################################## Figure ##########################################


@matplotlib.rc_context(figures.STYLE)
def _draw(met: Mapping[tuple[int, float], Met], channel: Mapping, sizes: Sizes) -> Figure:
    figure = Figure(figsize=(figures.WIDTH, 2.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    looks = list(zip(figures.COLOURS, figures.MARKERS, strict=True))

    for way, look in zip(WAYS, looks, strict=False):
        at = MIDDLE if way != FLIPS else min(d for d in sizes.dials if d > 0)
        tenths = _tenths(met[way, at])
        _bars(left, range(1, len(tenths) + 1), tenths, look, WAYS[way])
    left.set(xlabel="tenth of the margin (1: closest)", ylabel="share of answers flipped")
    left.set(title="Where answers flip", ylim=(0, 0.6))
    left.legend(loc="upper right", fontsize=6.5, borderpad=0)

    for way, look in zip(WAYS, looks, strict=False):
        kinds = [(way, dial) for dial in sizes.dials]
        x = [float(met[kind].epsilon.mean()) for kind in kinds]
        _bars(middle, x, [accuracy(met[kind], KNOWN) for kind in kinds], look, WAYS[way])
    x, y = zip(*sorted(
        (float(met[kind].epsilon.mean()), one.value)
        for kind, one in channel.items() if kind[0] == FLIPS
    ), strict=True)  # fmt: skip
    middle.plot(x, y, color=figures.BLACK, lw=1, label="channel")
    middle.set(xlabel="misalignment ε", ylabel="accuracy, all questions answered")
    middle.set(title="What is learnt in the end", ylim=(0.45, 1.02))
    middle.legend(loc="lower center", fontsize=6.5, borderpad=0)

    kinds = [(FLIPS, dial) for dial in sizes.dials]
    x = [float(met[kind].epsilon.mean()) for kind in kinds]
    for bob, look in zip(BOBS, looks, strict=False):
        _bars(right, x, [accuracy(met[kind], bob) for kind in kinds], look, BOBS[bob])
    right.set(xlabel="misalignment ε", title="Sign flips, by Bob", ylim=(0, 1.02))
    right.legend(loc="lower left", fontsize=6.5, borderpad=0)
    return figure


def _bars(
    axes: Axes, x: Sequence[float], points: Sequence[Measured], look: tuple[str, str], label: str
) -> None:
    value, low, high, _ = np.array(points).T
    colour, marker = look
    axes.errorbar(
        list(x), value, yerr=figures.bars(value, low, high), color=colour, marker=marker, ms=3.5,
        lw=1, elinewidth=0.8, label=label,
    )  # fmt: skip


def _caption(sizes: Sizes, asked: int) -> str:
    return (
        f"Games between two embeddings, n = {sizes.n}, d = {D}, {sizes.games} games a point, 95 "
        "% intervals over games. Left: answers flipped, by how close the decision is for Bob "
        "(noise and scaling at dial ½, one dimension in four flipped or less). Middle: his "
        f"accuracy when all {asked} questions are answered, if he knows ε; the line is that of "
        "the channel after as many answers. Right: with dimensions flipped one after the other, "
        "if he knows ε, takes it from the shared objects, takes it from them for each question "
        "apart, or takes one answer in ten for wrong."
    )
