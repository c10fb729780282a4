"""A report's first sections: which model is more human, and which sees better; by how much, and
how sure is that?
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from evals.answers import PEOPLE, Answers, Question
from evals.families import WORDS, percent
from evals.pages import page, summary_figures
from evals.statistics import differences
from evals.statistics.differences import Difference
from evals.statistics.intervals import Measured

MOST_COLUMNS = 3  # models that fit beside each other in a table, with intervals
MOST_TESTS = 8  # that fit beside each other, of many models


CORRECTED = (
    "Better is said of a model where a test of the difference has p < .05 after Holm's correction "
    "for the number of pairs of models; intervals are not corrected."
)
PICTURE = "All tests. Dashed: guessing; bars are 95 % intervals."
CEILINGS = " Black: how well people predict each other, where the data tell."
YARDSTICK = (
    "People among themselves are another yardstick than models: on THINGS, the share of people who "
    "give a triplet's most frequent answer; on Levels, how often the majority of the others "
    "predicts one person, whereas a model is scored on the majority of all, which is steadier, so "
    "that it may well come out above people."
)


class Test(NamedTuple):
    """One column of the summary.

    Attributes:
      name: of the column.
      family: HUMAN or VISION.
      eval, subset, metric: where its numbers come from.
      chance: what guessing gives.
      scores: by model.
      ceiling: what people reach among themselves, where that is known.
    """

    name: str
    family: str
    eval: str
    subset: str
    metric: str
    chance: float
    scores: Mapping[str, Measured]
    ceiling: Measured | None


def tests(
    answers: Mapping[str, Mapping[str, Answers]], questions: Mapping[str, Question]
) -> list[Test]:
    """The headline numbers that at least one model has.

    Of an eval without any, its parts by the same metric: a single set of Peterson's, for example.
    """
    result = []
    for name, by_model in answers.items():
        headline = questions[name].headline(by_model)
        scored = {
            (subset, metric): None
            for model, found in by_model.items()
            if model != PEOPLE
            for subset, metric, _ in found.scores
        }
        if not any((shown.subset, shown.metric) in scored for shown in headline):
            wanted = {shown.metric: shown for shown in headline}
            headline = [
                wanted[metric]._replace(
                    subset=subset, name=f"{wanted[metric].name.partition(',')[0]}, {subset}"
                )
                for subset, metric in scored
                if metric in wanted
            ]
        for subset, metric, column, chance in headline:
            scores = {
                model: value
                for model, found in by_model.items()
                if model != PEOPLE and (value := found.find(subset, metric)) is not None
            }
            ceiling = by_model[PEOPLE].find(subset, f"{metric} ceiling")
            if scores:
                family = questions[name].family
                result.append(Test(column, family, name, subset, metric, chance, scores, ceiling))
    return result


def order(found: Sequence[Test], models: Sequence[str]) -> list[str]:
    """The models, the best first, by their mean rank over the tests that they took.

    Ranks go from 0, the best of a test, to 1, the worst: a test of few models counts like any
    other, and one of a single model not at all.
    """
    ranks = _mean_ranks(found, models)
    return sorted(models, key=lambda model: ranks[model])


def _mean_ranks(found: Sequence[Test], models: Sequence[str]) -> dict[str, float]:
    ranks: dict[str, list[float]] = {model: [] for model in models}
    for test in found:
        values = [-value.value for value in test.scores.values()]
        if len(values) == 1:
            continue
        for model, rank in zip(test.scores, scipy.stats.rankdata(values), strict=True):
            ranks[model].append((rank - 1) / (len(values) - 1))
    return {model: float(np.mean(own)) if own else np.inf for model, own in ranks.items()}


def compare(
    found: Sequence[Test], answers: Mapping[str, Mapping[str, Answers]]
) -> dict[str, list[Difference]]:
    """Tests every pair of models on every test, Holm's correction within a test.

    Returns:
      Differences by the name of the test.
    """
    return {
        test.name: differences.run(answers[test.eval], metrics=[(test.subset, test.metric)])
        for test in found
        if len(test.scores) > 1
    }


def section(
    found: Sequence[Test], models: Sequence[str], compared: Mapping[str, Sequence[Difference]]
) -> page.Section:
    """Draws up the summary of a family.

    Args:
      found: from `tests`, of one family; at least one.
      models: in order, see `order`.
      compared: from `compare`.
    """
    several = len(models) > 1
    words = WORDS[found[0].family]
    blocks: list[str | page.Table | page.Picture] = [f"{words.test} Brackets are 95 % intervals."]
    shared = [test for test in found if len(test.scores) > 1]
    if len(shared) > 1:
        blocks.append(_first(shared, models, compared))
    picture = summary_figures.headlines(
        {test.name: test.scores for test in found},
        models,
        chance={test.name: test.chance for test in found},
        ceilings={test.name: test.ceiling for test in found if test.ceiling},
    )
    with_people = any(test.ceiling for test in found)
    caption = PICTURE + (CEILINGS if with_people else "") + (" Orange: the best." * several)
    blocks.append(page.Picture(picture, caption))
    if with_people:
        blocks.append(YARDSTICK)
    blocks += [sentence(test, compared.get(test.name, ())) for test in found]
    if several:
        blocks.append(CORRECTED)
    with_intervals = len(models) <= MOST_COLUMNS
    end = ", with 95 % intervals." if with_intervals else "; scores.csv has their 95 % intervals."
    blocks += [page.Table(rows, f"The same numbers{end}") for rows in tables(found, models)]
    heading = words.which_model if several else words.how.format(models[0])
    return page.Section(heading, blocks)


def tables(found: Sequence[Test], models: Sequence[str]) -> list[list[dict[str, object]]]:
    """One table with a test a row if there are few models, else some with a model a row."""
    if len(models) > MOST_COLUMNS:
        starts = range(0, len(found), MOST_TESTS)
        return [_model_rows(found[start : start + MOST_TESTS], models) for start in starts]
    people = any(test.ceiling for test in found)
    return [
        [
            {"": test.name}
            | {model: test.scores.get(model) for model in models}
            | ({"people": test.ceiling} if people else {})
            for test in found
        ]
    ]


def _model_rows(found: Sequence[Test], models: Sequence[str]) -> list[dict[str, object]]:
    plain = [
        {"model": model}
        | {test.name: test.scores[model].value for test in found if model in test.scores}
        for model in models
    ]
    ceilings = {test.name: test.ceiling.value for test in found if test.ceiling}
    return [*plain, {"model": "people"} | ceilings] if ceilings else plain


def sentence(test: Test, compared: Sequence[Difference]) -> str:
    """What one test says: the best model, by how much, and how sure that is."""
    ranked = sorted(test.scores, key=lambda model: test.scores[model].value, reverse=True)
    best = ranked[0]
    ceiling = f" (people among themselves: {_value(test.ceiling, test)})" if test.ceiling else ""
    text = f"{test.name}: {best} has {_value(test.scores[best], test)}{ceiling}"
    own = {_other(d, best): d for d in compared if best in (d.first, d.second)}
    # A difference cannot always be tested: a model may have answered other questions.
    others = [model for model in ranked[1:] if model in own]
    if not others:
        return f"{text}."
    same = [m for m in ranked[1:] if test.scores[m].value == test.scores[best].value]
    if same:
        text += f"; {_names(same)} {'have' if len(same) > 1 else 'has'} the same"
    elif others[0] == ranked[1]:
        by = _by_how_much(own[ranked[1]], best, test)
        text += f"; that is {by} more than {ranked[1]}"
        text += ", the next best" if len(ranked) > 2 else ""
    unclear = [model for model in others if own[model].better != best]
    if not unclear:
        if len(ranked) == 2:
            return f"{text}. It is better at α = .05."
        who = f"all {len(others)} others" if len(others) > 1 else others[0]
        return f"{text}. It is better than {who} at α = .05."
    if len(unclear) == len(others):
        return f"{text}. It was not shown to be better than any other model."
    return (
        f"{text}. It is better than {len(others) - len(unclear)} of {len(others)} others at "
        f"α = .05; not shown to be better than {_names(unclear)}."
    )


def _value(measured: Measured, test: Test) -> str:
    value, low, high, _ = measured
    unit = "\u00a0%" if percent(test) else ""
    interval = f" [{_number(low, test)}, {_number(high, test)}]" if np.isfinite(low) else ""
    return f"{_number(value, test)}{unit}{interval}"


def _by_how_much(difference: Difference, best: str, test: Test) -> str:
    value, low, high, _ = difference.difference
    if difference.first != best:
        value, low, high = -value, -high, -low
    value, low, high = (_number(x, test) for x in (value, low, high))
    unit = " points" if percent(test) else ""
    return f"{value}{unit} [{low}, {high}] (Holm-corrected {differences.p_text(difference.p_holm)})"


def _number(value: float, test: Test) -> str:
    """An accuracy in %, a correlation as it is."""
    text = f"{100 * value:z.1f}" if percent(test) else f"{value:z.3f}"
    return text.replace("-", "−")


def _first(
    shared: Sequence[Test], models: Sequence[str], compared: Mapping[str, Sequence[Difference]]
) -> str:
    top, most = models[0], WORDS[shared[0].family].most
    ranks = _mean_ranks(shared, models)
    level = [model for model in models if ranks[model] == ranks[top]]
    if len(level) > 1:
        return (
            f"By their mean rank over the tests no model is {most} of {len(models)}: "
            f"{_names(level)} share the first place."
        )
    own = [test for test in shared if top in test.scores]
    wins = sum(
        test.scores[top].value == max(value.value for value in test.scores.values()) for test in own
    )
    clear = sum(_is_better_than_all(top, test, compared.get(test.name, ())) for test in own)
    took = f"test{'s' * (len(own) > 1)}"
    took += f" that it took, of {len(shared)}" if len(own) < len(shared) else ""
    return (
        f"By its mean rank over the tests {top} is {most} of {len(models)} models: it is "
        f"first in {wins} of {len(own)} {took}. In {clear or 'none'} of them it is shown to be "
        "better than every other model."
    )


def _is_better_than_all(model: str, test: Test, compared: Sequence[Difference]) -> bool:
    return sum(d.better == model for d in compared) == len(test.scores) - 1


def _other(difference: Difference, model: str) -> str:
    return difference.second if difference.first == model else difference.first


def _names(names: Sequence[str]) -> str:
    shown = list(names[:4])
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
