"""Labels, rankings, ratings and odd-one-out answers, in triplets, in bits and in their number."""

import math

import numpy as np

from evals.pages.page import Picture, Table
from evals.statistics import intervals
from theory.claims import ASSUMED, BOUND, HOLDS, NOT_AS_PRINTED, REFUTED, Claim
from theory.plots import Effort, Part, labels_figure
from theory.plots import labels_measured as measured
from theory.plots.labels_measured import KINDS, REPEATED, SHOWN, TARGET, Fixed, Found, at


def part(effort: Effort) -> Part:
    x, c = measured.world(effort)
    found = {
        tau: {name: measured.worth(kind, x, c, tau, effort) for name, kind in KINDS.items()}
        for tau in measured.TAUS[effort.fast]
    }
    fixed = measured.fixed_classes(x, c, effort)
    prior = found[SHOWN]["triplet"].learnt.alignment[0].mean()
    few, many = min(fixed["label"]), max(fixed["label"])
    return Part(
        "Labels are triplets, too",
        [
            "A teacher need not answer triplets. She can give a label (“of these four it is most "
            "like this one”), rank the four, rate a likeness on a scale, or say which of three is "
            "the odd one out. All of these say triplets, so that alignment is defined for them; "
            "here teacher and student see alike, and it is counted what an answer is worth. "
            "Her decisions are noisy by Luce’s rule; of triplets she answers "
            + ", ".join(
                f"{100 * measured.as_without(x, c, tau):.0f} % right at {at(tau)}" for tau in found
            )
            + ".",
            "Triplets are not bits. Of those that one answer says, some can be guessed from the "
            "others: a label of K classes says K − 1, but at most log₂ K bits. Nor do bits add up: "
            "what the tenth says, nine have said in part, and some bits of a rating tell "
            "distances, which no question about order asks for. Before any answer a student who "
            f"knows how objects are spread has {100 * prior:.0f} % of the questions right.",
            "One label without noise over fixed classes leads to "
            f"{100 * fixed['label'][few].value:.0f} % ({few} classes) to "
            f"{100 * fixed['label'][many].value:.0f} % ({many}), and no repetition to more: "
            "labels alone say nothing of where in its class an object is.",
        ],
        {"labels": Picture(labels_figure.draw(found, fixed, prior), labels_figure.caption(effort))},
        _tables(found),
        [_signals(x, c, found, effort), _one_bit(found), _bounds(found), _ceiling(fixed)],
    )


def _signals(x: np.ndarray, c: np.ndarray, found: Found, effort: Effort) -> Claim:
    so = measured.right(x, c, effort)
    converted = all(share == 1 for share in so.values())
    counted = all(
        one.low <= of[name].cost.high and of[name].cost.low <= one.high
        for of in found.values()
        for name, one in measured.by_triplets(of).items()
    )
    saved = {
        name: {at(tau): of["triplet"].cost.value / of[name].cost.value for tau, of in found.items()}
        for name in KINDS
        if name != "triplet"
    }
    in_words = {
        name: ", ".join(f"{value:.1f}" for value in by_tau.values())
        for name, by_tau in saved.items()
    }
    return Claim(
        "000 and 001, Section 3",
        "Commonly used supervision signals, like hard and soft labels, can be converted into sets "
        "of triplets; reducing the number of required triplets is equivalent to reducing the "
        "number of required labels.",
        (HOLDS if counted else ASSUMED) if converted else NOT_AS_PRINTED,
        f"{'All' if converted else 'Not all'} triplets that noise-free answers say are so. Until "
        f"{100 * TARGET:.0f} % of the questions about an object are answered right, a label of 4 "
        f"classes, which says 3, takes the place of {in_words['label, K = 4']} triplet answers "
        f"at {', '.join(map(at, found))}; a ranking of 4, which says 6, of "
        f"{in_words['ranking, K = 4']}. Predicted by the triplets that they say, costs are off "
        f"by a factor of up to {measured.off(found, measured.by_triplets):.1f}; by the bits of a "
        f"first answer, of up to {measured.off(found, measured.by_bits):.1f}.",
        {
            "said triplets that are so": so,
            "answers needed": {
                at(tau): {name: one.cost for name, one in of.items()} for tau, of in found.items()
            },
            "triplet answers an answer takes the place of": saved,
        },
        ""
        if counted
        else "Each label is over fresh classes, and how many triplet answers it takes the place "
        "of is measured, not counted.",
    )


def _one_bit(found: Found) -> Claim:
    most = max(float(of["triplet"].bits.max()) for of in found.values())
    means = {at(tau): of["triplet"].mean for tau, of in found.items()}
    bounded, below = most <= 1 + 1e-6, all(one.high < 1 for one in means.values())
    return Claim(
        "000 and 001, Section 3",
        "Each triplet corresponds to one bit of information.",
        (BOUND if below else HOLDS) if bounded else NOT_AS_PRINTED,
        "It is one at most. The first answer to a random question says, on average over questions, "
        + ", ".join(
            f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}] at {at}" for at, one in means.items()
        )
        + "; without noise, too, it can often be guessed, and later answers follow in part from "
        "earlier ones.",
        {"bits": means, "most": most},
    )


def _bounds(found: Found) -> Claim:
    every = [(name, one) for of in found.values() for name, one in of.items()]
    within = all(one.bits.max() <= math.log2(KINDS[name].outcomes) + 1e-5 for name, one in every)
    ordered = all(
        (of["ranking, K = 4"].bits >= of["label, K = 4"].bits - 1e-5).all() for of in found.values()
    )
    # What many answers said is an average over new objects; of intervals of 95 % a few may miss.
    exceeded = [
        intervals.mean(bits).low > count * one.mean.high
        for _, one in every
        for count, bits in zip(one.learnt.counts[1:], one.learnt.bits[1:], strict=True)
    ]
    added = np.mean(exceeded) <= 0.05
    kept = {
        at(tau): {name: one.gained / (one.cost.value * one.mean.value) for name, one in of.items()}
        for tau, of in found.items()
    }
    shares = [share for of in kept.values() for share in of.values()]
    return Claim(
        "ours, after Shannon (1948)",
        "No answer says more bits than log₂ of its outcomes, a soft label never less than a hard "
        "one of the same classes, and several answers never more than the sum of what each would "
        "have said first.",
        HOLDS if within and ordered and added else REFUTED,
        f"By the time that {100 * TARGET:.0f} % of the questions are answered right, answers "
        f"have said {100 * min(shares):.0f} % to {100 * max(shares):.0f} % of that sum: they "
        "repeat each other.",
        {
            "bits of a first answer": {
                at(tau): {name: one.mean for name, one in of.items()} for tau, of in found.items()
            },
            "share of the sum": kept,
        },
    )


def _ceiling(fixed: Fixed) -> Claim:
    same = all(one.low == one.high == 0 for one in fixed["said again"].values())
    short = all(one.high < 1 for one in fixed["label"].values())
    few, many = min(fixed["label"]), max(fixed["label"])
    return Claim(
        "ours",
        "Where the classes stay the same, a label without noise can be given once only: its "
        "repetition says nothing, and where in its class an object is stays open.",
        HOLDS if same and short else REFUTED,
        f"Given {REPEATED} times, it leads where it led at once: to an alignment of "
        f"{fixed['label'][few].value:.3f} with {few} classes and {fixed['label'][many].value:.3f} "
        f"with {many}. Noise lifts this ceiling, as how often each class is named says how near it "
        f"is: {REPEATED} labels at {at(SHOWN)} lead to {fixed['noisy'][few].value:.3f} and "
        f"{fixed['noisy'][many].value:.3f}.",
        fixed,
    )


def _tables(found: Found) -> list[Table]:
    says, takes = [], []
    for tau, of in found.items():
        by_triplets, by_bits = measured.by_triplets(of), measured.by_bits(of)
        for name, one in of.items():
            triplets = KINDS[name].triplets
            kind = {"noise": at(tau), "answer": name}
            says.append(kind | {
                "triplets": triplets or None,
                "bits at most": math.log2(KINDS[name].outcomes),
                "bits": one.mean,
                "bits a triplet": one.mean.value / triplets if triplets else None,
            })  # fmt: skip
            takes.append(kind | {
                "answers": one.cost,
                "by triplets": by_triplets[name].value if name in by_triplets else None,
                "by bits": by_bits[name].value if name in by_bits else None,
                "bits gained": one.gained,
            })  # fmt: skip
    return [
        Table(
            says,
            "What the first answer says, in triplets and in bits, on average over random "
            "questions, with 95 % intervals.",
        ),
        Table(
            takes,
            f"How many answers it takes until {100 * TARGET:.0f} % of all questions about a new "
            "object are answered right, with bootstrap intervals over new objects; how many "
            "were predicted from those of triplets, by the number of triplets or the bits of "
            "each; and the bits known of the object’s place by then.",
        ),
    ]
