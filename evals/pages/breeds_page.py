"""The section of the report on BREEDS, from answers alone."""

from collections.abc import Mapping

import numpy as np

from evals.answers import PEOPLE, Answers
from evals.pages import breeds_figures, page
from evals.statistics.intervals import Measured

SPLITS, DROP = ("source", "target"), "drop"
TITLE = "Does what it learns about some kinds carry over to others?"
SHOWN = 4  # kinds that the text names
TEXT = (
    "BREEDS (Santurkar et al. 2020): one who has seen spaniels and terriers knows a poodle for a "
    "dog. From a model's frozen representations of ImageNet photographs, a linear read-out learns "
    "to tell broad kinds of things apart, each shown by some of its classes; then it is shown new "
    "photographs, of these classes and of others of the same kinds. What it names worse among the "
    "others, it had learnt of the classes and not of the kind. Intervals are over photographs: "
    "other classes would give other numbers."
)
PICTURE = (
    "Share of photographs whose kind is named rightly, with 95 % intervals: the shorter the line, "
    "the more carries over."
)


def section(answers: Mapping[str, Answers]) -> page.Section:
    """Sets accuracies on classes that were learnt from beside those on others."""
    kinds = {
        name.removesuffix("/kinds"): array.tolist()
        for name, array in answers[PEOPLE].arrays.items()
        if name.endswith("/kinds")
    }
    models = {name: found for name, found in answers.items() if name != PEOPLE}
    scores = {
        name: {
            model: tuple(found.find(f"{name}, {split}", "accuracy") for split in SPLITS)
            for model, found in models.items()
        }
        for name in kinds
    }
    chance = {name: 1 / len(names) for name, names in kinds.items()}
    picture = breeds_figures.pairs(scores, list(models), chance)
    tables = [
        page.Table(
            [
                {"model": model, "same classes": source, "other classes": target}
                | {DROP: models[model].find(name, DROP)}
                for model, (source, target) in by_model.items()
            ],
            _caption(name, kinds[name], chance[name]),
        )
        for name, by_model in scores.items()
    ]
    return page.Section(TITLE, [TEXT, _finding(scores), page.Picture(picture, PICTURE), *tables])


def _finding(scores: Mapping[str, Mapping[str, tuple[Measured, Measured]]]) -> str:
    """Who names most of what is new, on average."""
    source, target = (
        {
            model: float(np.mean([by_model[model][split].value for by_model in scores.values()]))
            for model in next(iter(scores.values()))
        }
        for split in (0, 1)
    )
    ordered = sorted(target, key=lambda model: -target[model])

    def sentence(model: str) -> str:
        return (
            f"{model} names the kind in {100 * target[model]:.1f}\u00a0% of the photographs of "
            f"other classes ({100 * source[model]:.1f}\u00a0% of those that it learnt from)"
        )

    mean = f"On average over the {len(scores)} benchmarks,"
    if len(ordered) == 1:
        return f"{mean} {sentence(ordered[0])}."
    return f"{mean} {sentence(ordered[0])}, the most; {sentence(ordered[-1])}, the least."


def _caption(name: str, kinds: list[str], chance: float) -> str:
    # Of a node's synonyms the first.
    first = [kind.partition(",")[0] for kind in kinds]
    more = f" and {len(first) - SHOWN} more" if len(first) > SHOWN else ""
    return (
        f"{name}: {', '.join(first[:SHOWN])}{more}. Accuracy on the classes that were learnt from "
        f"and on others, and by how much it is lower there; guessing gives {chance:.3f}."
    )
