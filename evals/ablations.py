"""What a comparison of several trainings adds up to: paper 002, B.2.3 and Figs. 14 to 17.

Over all few-shot data sets together, does the setting matter (ANOVA)? If settings are numbers, of
images or of triplets, how does accuracy grow with them? And does what makes a model more human make
it see better?
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from alignet.errors import InputError
from evals.answers import HUMAN
from evals.families import listed, percent
from evals.matching import Matched, Test
from evals.pages import ablation_figures, page
from evals.pages.ablation_figures import Curves
from evals.statistics import anova, differences
from evals.statistics.anova import LEAST, Effect
from evals.statistics.intervals import Measured

FEWSHOT = "fewshot"
UNITS = {"": 1, "k": 1e3, "m": 1e6}
LEAST_NUMBERS, LEAST_SETTINGS = 3, 3  # that make a curve, and a cloud
MOST_MODELS = 6  # that a figure has panels or colours for


def sections(matched: Matched, tests: Sequence[Test]) -> Iterator[page.Section]:
    """Sections for the page of a comparison; none where there is nothing of the kind.

    Args:
      matched: the runs.
      tests: what was compared.
    """
    learning = _by_metric(test for test in tests if test.eval == FEWSHOT)
    first, *others = matched.labels
    # The baseline is not one of the numbers, or all of them are.
    numbers = {label: number(label) or 0.0 for label in matched.labels}
    numbered = all(numbers[label] for label in others)
    # Beside a baseline any effect of training at all would make the settings differ.
    baseline = not (numbered and numbers[first])
    varied = others if baseline and len(others) > 1 else matched.labels
    blocks = [block for some in learning.values() for block in _anova(matched, some, varied)]
    if blocks:
        yield page.Section("Over all data sets, does the setting matter?", blocks)
    human = [test for test in tests if test.family == HUMAN and percent(test)]
    if numbered and sum(map(bool, numbers.values())) >= LEAST_NUMBERS:
        yield from _curves(matched, numbers, learning, human)
    elif learning and human and len(matched.labels) >= LEAST_SETTINGS:
        yield _cloud(matched, next(iter(learning.values())), human[0])


def number(label: str) -> float | None:
    """The number that a label is ("5000", "5,000", "10k", "1.5M"), if it is a positive one."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)([km]?)", label.lower().replace(",", ""))
    value = float(found[1]) * UNITS[found[2]] if found else 0.0
    return value if 0 < value < math.inf else None


def mean_over_data_sets(
    tests: Sequence[Test], model: str, label: str
) -> tuple[float, float] | None:
    """Mean and standard error over data sets; None unless the model has all of them."""
    found = [test.scores.get(model, {}).get(label) for test in tests]
    if not found or None in found:
        return None
    values = np.array([one.value for one in found])
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(values.mean()), float(error)


def complete(
    tests: Sequence[Test], models: Sequence[str], labels: Sequence[str]
) -> tuple[list[str], list[str], Float[np.ndarray, "d m k"]]:
    """Accuracies of the models that have all labels, on the data sets that all of these have.

    Returns:
      Names of the tests, the models, and the accuracies.
    """
    models = [m for m in models if any({*labels} <= t.scores.get(m, {}).keys() for t in tests)]
    tests = [t for t in tests if all({*labels} <= t.scores.get(m, {}).keys() for m in models)]
    values = [[[t.scores[m][x].value for x in labels] for m in models] for t in tests]
    shape = (len(tests), len(models), len(labels))
    return [t.name for t in tests], models, np.array(values, np.float64).reshape(shape)


def _by_metric(tests: Iterator[Test]) -> dict[str, list[Test]]:
    found: dict[str, list[Test]] = {}
    for test in tests:
        found.setdefault(test.metric, []).append(test)
    return found


def _anova(
    matched: Matched, tests: Sequence[Test], labels: Sequence[str]
) -> Iterator[str | page.Table]:
    names, models, accuracy = complete(tests, matched.models, labels)
    if len(names) < LEAST or not models:
        return
    metric = tests[0].metric
    try:
        found = anova.repeated_measures(accuracy)
    except InputError as reason:
        yield f"{metric}: {reason}"
        return
    method = next(effect for effect in found.effects if effect.source == "method")
    if method.p_corrected < differences.ALPHA:
        verdict = "accuracy depends on the setting"
    else:
        verdict = "it is not shown that accuracy depends on the setting"
    yield (
        f"{metric}, of {len(models)} model{'s' * (len(models) > 1)} in the settings "
        f"{listed(labels)} on {found.n} data sets: {verdict} (repeated-measures ANOVA, "
        f"{_told(method)})."
    )
    rows = [
        {
            "effect": effect.source.replace("method", "setting"),
            "F": effect.f,
            "df": f"{effect.df1}, {effect.df2}",
            "p": differences.p_text(effect.p),
            "ε": effect.epsilon,
            "p, corrected": differences.p_text(effect.p_corrected),
            "sphericity": "–" if math.isnan(p := effect.p_sphericity) else differences.p_text(p),
            "generalised η²": effect.eta,
        }
        for effect in found.effects
    ]
    yield page.Table(
        rows,
        f"{metric}: repeated-measures ANOVA with data sets as subjects. p is corrected by "
        "Greenhouse and Geisser's ε; sphericity: Mauchly's test.",
    )
    normal = differences.p_text(found.p_normality)
    yield (
        "The test takes the settings' differences over data sets as normally distributed: by "
        f"Shapiro and Wilk's test, {normal}"
        + (
            ", so that the p above is to be taken with care."
            if found.p_normality < differences.ALPHA
            else ", nothing speaks against it."
        )
    )


def _told(effect: Effect) -> str:
    p = differences.p_text(effect.p_corrected)
    return f"F({effect.df1}, {effect.df2}) = {effect.f:.2f}, {p}"


def _curves(
    matched: Matched,
    numbers: Mapping[str, float],
    learning: Mapping[str, Sequence[Test]],
    human: Sequence[Test],
) -> Iterator[page.Section]:
    """Figure 14 of paper 002; the baseline's number is 0."""
    curves: dict[str, Curves] = {}
    models = matched.models[:MOST_MODELS]
    for metric, tests in learning.items():
        title = f"{metric}, mean of {len(tests)} data sets"
        curves[title] = {
            model: [
                (numbers[label], mean[0], mean[1])
                for label in sorted(numbers, key=numbers.get)
                if (mean := mean_over_data_sets(tests, model, label)) is not None
            ]
            for model in models
        }
    for test in human:
        curves[test.name] = {
            model: [
                (numbers[label], score.value, _half(score))
                for label in sorted(numbers, key=numbers.get)
                if (score := test.scores.get(model, {}).get(label)) is not None
            ]
            for model in models
        }
    if curves:
        picture = ablation_figures.curves(curves)
        caption = (
            "Accuracy against what was varied (logarithmic). Means over data sets with their "
            "standard errors; single tests with 95 % intervals."
        )
        first = matched.labels[0]
        caption += "" if numbers[first] else f" Dashed: {first}."
        yield page.Section("How does it grow?", [page.Picture(picture, caption)])


def _half(score: Measured) -> float:
    return (score.high - score.low) / 2


def _cloud(matched: Matched, tests: Sequence[Test], human: Test) -> page.Section:
    """Figure 17 of paper 002."""
    points = {
        model: {
            label: (mean[0], human.scores[model][label].value)
            for label in matched.labels
            if (mean := mean_over_data_sets(tests, model, label)) is not None
            and label in human.scores.get(model, {})
        }
        for model in matched.models[:MOST_MODELS]
    }
    of = f"{tests[0].metric}, mean of {len(tests)} data sets" if len(tests) > 1 else tests[0].name
    picture = ablation_figures.cloud(points, x=of, y=human.name)
    caption = "Further right: learns better from few examples; further up: more human."
    shown = page.Picture(picture, caption)
    return page.Section("More human, and better at seeing?", [shown])
