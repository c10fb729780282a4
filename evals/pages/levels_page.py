"""The report's section on Levels, from answers alone; see `evals.levels` for what is in them."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evals.answers import PEOPLE, Answers
from evals.pages import figures, levels_figures, page, summary_figures
from evals.statistics.intervals import Measured
from evals.statistics.uncertainty import TAUS

KINDS = ("coarse", "fine", "boundary")
# The names of numbers.
AGREEMENT = "agreement with one person"
CEILING = "accuracy ceiling"
DISAGREEMENT = "spearman of entropy with disagreement"
DOUBT = "spearman of entropy with RT"
ECE = "ECE"
SLOWER = "log median response time"
SPEED = "median response time, s"

CHANCE = 1 / 3
MOST_CURVES = len(figures.COLOURS)
TASK = (
    "People saw three photographs and picked the odd one out. Coarse: the three show three "
    "different kinds of thing, such as a dog, a cup and a tree, and the question is what two of "
    "them have in common at all. Fine: all three show the same kind, three dogs, and details "
    "decide. Boundary: two show one kind and the third another. Some five people answered each "
    "triplet. A model is right where it picks what most of them picked; guessing is right in 1 of "
    "3 triplets."
)
PICTURE = (
    "Share of triplets in which the model picks the majority's odd one out, with 95 % intervals. "
    "Orange: the best; dashed: guessing; black: how well the majority of the other people predicts "
    "one person."
)
YARDSTICKS = (
    "Two yardsticks, not to be mixed up. Above, the model is scored on a majority of five, which "
    "is steadier than any one person, whereas people are scored on one person by the majority of "
    "the four others; models may well come out above people. Below, both predict single answers: "
    "a model, the four others, and the best that is possible at all, which is always to name the "
    "triplet's most frequent answer."
)
ONE_PERSON = "Share of single people's answers that are predicted."
CLOCK = (
    "Top left: mean response times to the triplets. Top right: triplets over which people disagree "
    "take longer; dots are means over the triplets with the same votes, bars their 95 % intervals, "
    "ρ is Spearman's rank correlation over all triplets. Bottom: how far people disagree (entropy "
    "of the votes; 0: all agree)."
)
DOUBTS = (
    "People take longer over triplets that are hard to decide. Does the model hesitate there, too? "
    "Its hesitation is the entropy of the probabilities that it gives the three answers. The rank "
    "correlation of that entropy with people's response times is 0 for a model whose hesitation "
    "has nothing to do with people's; the black line is people's own, of their disagreement with "
    "their response times."
)
TEMPERATURE = (
    "The same rank correlation when similarities are divided by other temperatures τ before they "
    "become probabilities: it depends on τ, so that models should be compared each at its own "
    "temperature of training, or all along the sweep. Empty: the entropy is the same for all."
)
CALIBRATION = (
    "Do the model's probabilities mean what they say? On the dashed line, answers of probability "
    "40 % are given by 40 % of people. Probabilities of all three answers, in ten bins."
)
PERSONS = (
    "Individuals: agreement with each person's own answers, and correlation of the model's entropy "
    "with each person's own response times; mean over people, and the standard deviation between "
    "people that remains when what chance makes of a person's few answers is taken away. In the "
    "row of people stand, instead of a model, the others' majority and their disagreement."
)
COUNTS = "What was read, kept and left out, in the order in which it was decided."


def section(answers: Mapping[str, Answers]) -> page.Section:
    """Draws up the section of all models."""
    people = answers[PEOPLE]
    models = {name: found for name, found in answers.items() if name != PEOPLE}
    kinds = [kind for kind in KINDS if people.find(kind, CEILING)]
    subsets = [*kinds, "all"] if people.find("all", CEILING) else kinds
    blocks: list[str | page.Table | page.Picture] = [TASK]
    if models:
        blocks += _accuracies(people, models, kinds, subsets)
    blocks += _people(people, kinds, subsets)
    if models:
        blocks += _doubts(people, models, kinds)
        blocks += _probabilities(models, kinds)
        blocks.append(page.Table(_persons(answers, kinds), PERSONS))
    counts = zip(people.arrays["counts/of"].tolist(), people.arrays["counts"].tolist(), strict=True)
    rows = [{"what": what, "number": number} for what, number in counts]
    return page.Section(
        "Odd one out at three levels of abstraction", [*blocks, page.Table(rows, COUNTS)]
    )


########################################## Choices ##########################################


def _accuracies(
    people: Answers, models: Mapping[str, Answers], kinds: Sequence[str], subsets: Sequence[str]
) -> list[Any]:
    ceilings = {kind: people.find(kind, CEILING) for kind in kinds}
    shown = _numbers(models, kinds, "accuracy")
    picture = summary_figures.headlines(
        shown, list(models), chance=dict.fromkeys(kinds, CHANCE), ceilings=ceilings
    )
    rows = [_plain(name, found, subsets, "accuracy") for name, found in models.items()]
    rows.append(_plain("people, leave-one-out", people, subsets, CEILING))
    single = [_plain(name, found, subsets, AGREEMENT) for name, found in models.items()]
    single.append(_plain("four other people", people, subsets, CEILING))
    single.append(_plain("the best possible", people, subsets, f"{AGREEMENT} ceiling"))
    return [
        *(_finding(kind, shown[kind], ceilings[kind]) for kind in kinds if shown[kind]),
        page.Picture(picture, PICTURE),
        page.Table(rows, "Share of triplets answered as the majority did."),
        YARDSTICKS,
        page.Table(single, ONE_PERSON),
    ]


def _finding(kind: str, scores: Mapping[str, Measured], ceiling: Measured) -> str:
    best = max(scores, key=lambda name: scores[name].value)
    value, n = scores[best], scores[best].n
    text = (
        f"{kind.capitalize()}: {best} answers {_percent(value.value)} of {n:,} triplets as the "
        f"majority did (95 % interval {_percent(value.low)} to {_percent(value.high)})"
    )
    if len(scores) > 1:
        worst = min(scores, key=lambda name: scores[name].value)
        text += f", the most of {len(scores)} models; the least is "
        text += f"{_percent(scores[worst].value)}, by {worst}"
    return (
        f"{text}. For comparison, the majority of four people names the answer of a fifth in "
        f"{_percent(ceiling.value)}."
    )


########################################## People ##########################################


def _people(people: Answers, kinds: Sequence[str], subsets: Sequence[str]) -> list[Any]:
    rows = []
    for subset in (*subsets, "pooled"):
        row = {"triplets": "mean of the three" if subset == "all" else subset}
        row |= {"n": people.find(subset, CEILING).n if subset != "all" else None}
        metrics = {
            "leave-one-out": CEILING,
            "optimistic": f"{CEILING}, optimistic",
            "strict": f"{CEILING}, strict",
            "best possible": f"{AGREEMENT} ceiling",
            "time, s": SPEED,
        }
        for column, metric in metrics.items():
            value = people.find(subset, metric)
            row[column] = None if value is None else value.value
        if (speed := people.find(subset, SPEED)) is not None:
            row["SE"] = (speed.high - speed.low) / 2 / 1.96
        rows.append(row)
    caption = (
        "How well people predict people. Leave-one-out: how often the majority of the others "
        "predicts one person's answer, where answers tied for the majority count in part "
        "(optimistic: in full; strict: not at all). Best possible: the share of the most frequent "
        "answer. Time: mean over people of each person's median, and its standard error. Pooled: "
        "all triplets alike."
    )
    arrays = {
        name: {kind: people.arrays[f"{kind}/{name}"] for kind in kinds}
        for name in ("log_rt", "entropy")
    }
    correlations = {kind: people.find(kind, DOUBT) for kind in kinds}
    picture = levels_figures.response_times(arrays["log_rt"], arrays["entropy"], correlations)
    tests = [sentence for pair in itertools.pairwise(kinds) if (sentence := _test(people, *pair))]
    return [page.Table(rows, caption), *tests, page.Picture(picture, CLOCK)]


def _test(people: Answers, slow: str, fast: str) -> str | None:
    metric = f"{SLOWER}, {slow} − {fast}"
    difference, t, p = (people.find("all", metric + end) for end in ("", ", t", ", p"))
    if difference is None:
        return None
    ratio, low, high = np.exp(difference[:3])
    return (
        f"A person's median response time to {slow} triplets is {ratio:.2f} times that to {fast} "
        f"ones (95 % interval {low:.2f} to {high:.2f}; paired t({t.n - 1}) = {t.value:.1f}, "
        f"{'p < 0.001' if p.value < 0.001 else f'p = {p.value:.3f}'})."
    )


########################################## Doubts ##########################################


def _doubts(people: Answers, models: Mapping[str, Answers], kinds: Sequence[str]) -> list[Any]:
    own = {kind: value for kind in kinds if (value := people.find(kind, DOUBT))}
    shown = _numbers(models, kinds, DOUBT)
    blocks: list[Any] = [DOUBTS]
    if any(shown.values()):
        shown = {kind: by_model for kind, by_model in shown.items() if by_model}
        picture = summary_figures.headlines(
            shown, list(models), chance=dict.fromkeys(shown, 0.0), ceilings=own
        )
        caption = "Rank correlation with people's response times, with 95 % intervals."
        blocks.append(page.Picture(picture, caption))
    sweep = {
        kind: np.array(
            [
                [_value(found.find(kind, f"{DOUBT}, tau={tau:g}")) for tau in TAUS]
                for found in models.values()
            ]
        )
        for kind in kinds
    }
    picture = levels_figures.sweep(sweep, list(models), TAUS, own)
    rows = [_row(name, found, kinds, DISAGREEMENT) for name, found in models.items()]
    caption = "Rank correlation of the model's entropy with people's disagreement, 95 % intervals."
    return [*blocks, page.Picture(picture, TEMPERATURE), page.Table(rows, caption)]


def _probabilities(models: Mapping[str, Answers], kinds: Sequence[str]) -> list[Any]:
    rows = [_row(name, found, kinds, f"{ECE} of all pairs") for name, found in models.items()]
    caption = (
        "Calibration error: by how much the probability of an answer and the share of people who "
        "gave it differ on average, in bins of probability; 0 is perfect."
    )
    blocks: list[Any] = [page.Table(rows, caption)]
    if len(models) <= MOST_CURVES:
        curves = {
            kind: {name: found.arrays[f"{kind}/reliability"] for name, found in models.items()}
            for kind in kinds
        }
        blocks.insert(0, page.Picture(levels_figures.reliability(curves), CALIBRATION))
    return blocks


def _persons(answers: Mapping[str, Answers], kinds: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for name, found in answers.items():
        row: dict[str, Any] = {"model": name}
        for metric, what in ((AGREEMENT, "agreement"), (DOUBT, "time")):
            for kind in kinds:
                mean = found.find(kind, f"{metric}, mean over people")
                sd = found.find(kind, f"{metric}, SD beyond chance")
                known = mean is not None and sd is not None
                text = f"{mean.value:z.2f} ±\u00a0{sd.value:.2f}" if known else "–"
                row[f"{what}, {kind}"] = text.replace("-", "−")
        rows.append(row)
    return rows


########################################## Tables ##########################################


def _numbers(
    models: Mapping[str, Answers], subsets: Sequence[str], metric: str
) -> dict[str, dict[str, Measured]]:
    return {
        subset: {
            name: value
            for name, found in models.items()
            if (value := found.find(subset, metric)) is not None
        }
        for subset in subsets
    }


def _row(name: str, found: Answers, subsets: Sequence[str], metric: str) -> dict[str, Any]:
    titles = {"all": "mean of the three"}
    return {"model": name} | {titles.get(s, s): found.find(s, metric) for s in subsets}


def _plain(
    name: str, found: Answers, subsets: Sequence[str], metric: str
) -> dict[str, str | float | None]:
    """As `_row`, without intervals: of four columns they would not fit the page."""
    row = _row(name, found, subsets, metric)
    return {k: v.value if isinstance(v, Measured) else v for k, v in row.items()}


def _value(measured: Measured | None) -> float:
    return np.nan if measured is None else measured.value


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
