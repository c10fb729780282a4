"""The section of the report on THINGS, from answers alone."""

from collections.abc import Mapping

import numpy as np

from evals.answers import PEOPLE, Answers
from evals.pages import page, things_figures
from evals.pages.table import cell
from evals.statistics.intervals import Measured
from evals.statistics.odd_one_out import CHANCE, PUBLISHED

ACCURACY, CROSS_ENTROPY = "accuracy", "cross-entropy"
SHARE, SHARE_ABOVE_CHANCE = "accuracy, share of ceiling", "accuracy above chance, share of ceiling"
TITLE = "Which of three things is the odd one out?"
YARDSTICK = f"{ACCURACY} of published "
FEWEST_ANSWERS = 20  # of a person, for a share of them to say much; what people did at a time
COLUMNS = {
    "accuracy": ACCURACY,
    "from chance to ceiling": SHARE_ABOVE_CHANCE,
    "cross-entropy": CROSS_ENTROPY,
}
CEILINGS_CAPTION = (
    "How well people predict people. The most frequent answer is the release's ceiling, which all "
    "models are held against; leave-one-out is each answer against the majority of the others, of "
    "which a tie counts in part, as right or as wrong; split-half, how often the majorities of "
    "two halves agree; within person, how often people answer alike when asked again."
)
CATEGORIES_CAPTION = (
    "Accuracy by category: on triplets with at least one object of it, so that one triplet may "
    "count in several."
)
PERSONS_CAPTION = (
    "Single people: the share of a person's choices that the best model makes, too, and how the "
    "shares would spread if people differed by chance alone."
)


def section(answers: Mapping[str, Answers]) -> page.Section:
    """Ranks the models between chance and ceiling, and breaks their accuracies down."""
    human = answers[PEOPLE]
    ceiling = human.find("all", f"{ACCURACY} ceiling") or PUBLISHED
    found = {name: own for name, own in answers.items() if name != PEOPLE}
    reached = {name: own.find("all", ACCURACY) for name, own in found.items()}
    ordered = sorted(found, key=lambda name: -reached[name].value)
    yardsticks = {
        f"{metric.removeprefix(YARDSTICK)}, fitted to people": value.value
        for _, metric, value in human.scores
        if metric.startswith(YARDSTICK)
    }
    ranking = things_figures.ranking(reached, chance=CHANCE, ceiling=ceiling, yardsticks=yardsticks)
    n = reached[ordered[0]].n
    blocks = [
        "THINGS (Hebart et al. 2020, 2023): people saw photographs of three things and picked the "
        "one least like the other two. A model picks the one that is not in its most similar pair. "
        f"Its accuracy is the share of people's {n:,} choices that it makes, too. Guessing "
        f"gives {CHANCE:.3f}; people predict each other with {ceiling.value:.3f}, the ceiling. "
        "Intervals allow for the objects that triplets have in common.",
        _ends(found, ordered),
        page.Picture(ranking, "The odd one out: how often models pick as people do."),
        page.Table(
            [
                {"model": name}
                | {column: found[name].find("all", metric) for column, metric in COLUMNS.items()}
                for name in ordered
            ],
            "Accuracy; how far it gets on the way from chance to the ceiling (1); and how "
            "surprising people's choices are to the model at its temperature τ, in nats (guessing: "
            f"{np.log(3):.3f}; less is better).",
        ),
    ]
    ceilings_found = [
        {"ceiling": metric.partition(", ")[2] or "most frequent answer", "asked of many": subset}
        | {"value": value, "triplets": value.n}
        for subset, metric, value in human.scores
        if metric.startswith(f"{ACCURACY} ceiling")
    ]
    if len(ceilings_found) > 1:
        blocks.append(page.Table(ceilings_found, CEILINGS_CAPTION))
    return page.Section(TITLE, [*blocks, *_categories(found, ordered), *_persons(human, found)])


def _ends(found: Mapping[str, Answers], ordered: list[str]) -> str:
    def end(name: str) -> str:
        own = found[name]
        reached, share = own.find("all", ACCURACY), own.find("all", SHARE_ABOVE_CHANCE)
        # Plus nought: a rounded −0.2 would be "-0".
        percent = np.round(100 * share.value) + 0.0
        way = f"{percent:.0f}\u00a0% of the way from guessing to the ceiling"
        return f"{name} makes {cell(reached)} of people's choices, {way}"

    best, worst = end(ordered[0]), end(ordered[-1])
    return f"{best}." if len(ordered) == 1 else f"Most human here: {best}. Least human: {worst}."


def _categories(found: Mapping[str, Answers], ordered: list[str]) -> list[page.Picture]:
    by_category: dict[str, dict[str, Measured]] = {}
    for name in ordered:
        for subset, metric, value in found[name].scores:
            if metric == ACCURACY and subset != "all":
                by_category.setdefault(subset, {})[name] = value
    # Runs that are compared may not have scored the same ones.
    shared = {name: by for name, by in by_category.items() if len(by) == len(ordered)}
    if not shared:
        return []
    picture = things_figures.categories(shared, chance=CHANCE)
    return [page.Picture(picture, CATEGORIES_CAPTION)]


def _persons(human: Answers, found: Mapping[str, Answers]) -> list[str | page.Picture]:
    of_person = {
        name: own.arrays[f"all/{ACCURACY}/person"]
        for name, own in found.items()
        if f"all/{ACCURACY}/person" in own.arrays
    }
    answers = human.arrays.get("all/answers")
    if not of_person or answers is None or not (answers >= FEWEST_ANSWERS).any():
        return []
    shown = answers >= FEWEST_ANSWERS
    best = max(of_person, key=lambda name: np.nanmean(of_person[name]))
    shares = of_person[best][shown]
    low, middle, high = np.quantile(shares, (0.05, 0.5, 0.95))
    text = (
        f"People differ. Of {shown.sum():,} people with at least {FEWEST_ANSWERS} answers, "
        f"{best} makes the choices of the middle one in {100 * middle:.1f}\u00a0% of cases; for "
        f"nine of ten it is {100 * low:.1f} to {100 * high:.1f}\u00a0%."
    )
    beyond = found[best].find("all", f"{ACCURACY}, SD beyond chance")
    if beyond is not None:
        text += (
            " Beyond what chance makes of few answers each, accuracies of people have a standard "
            f"deviation of {cell(beyond)}."
        )
    picture = things_figures.individuals(shares, answers[shown], model=best)
    return [text, page.Picture(picture, PERSONS_CAPTION)]
