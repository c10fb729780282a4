"""What an eval found about one model, in memory and in a file.

An eval is a module (`things`, `levels`, `judgments`, …) that answers one question in four steps:

    load(data_dir, options) -> data             people's side, read and checked once
    people(data, options) -> Answers            ceilings and whatever is known of people alone
    score(data, model, options) -> Answers      one model
    section(answers) -> page.Section            the report of all models, people's under PEOPLE

`section` sees nothing but answers, so that a report can be made of several finished runs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alignet.errors import InputError
from alignet.runtime import files
from evals.pages import page
from evals.statistics.intervals import Measured

# The name under which people's own answers stand beside the models'.
PEOPLE = "people"
# What an eval is about: does a model judge as people do, or does it see well?
HUMAN, VISION = "human", "vision"
EXPECTED = "expected answers that `python -m evals` wrote"


class Score(NamedTuple):
    """One number about one model: a row of scores.csv.

    Attributes:
      subset: of the eval's data: "all", "coarse", "animals", …
      metric: "accuracy", "spearman/pearson" (comparison/kernel), …
      value: with its interval and the number of units it was measured on.
    """

    subset: str
    metric: str
    value: Measured


class Answers(NamedTuple):
    """What one eval found about one model, or about people.

    Attributes:
      scores: the numbers.
      arrays: what figures and comparisons of models need, by name. Some names have a meaning
        everywhere. Differences of two models are tested on "<subset>/<metric>/correct", bool [m],
        whether each answer was right; or "…/credit", float64 [m], how much of it was; or
        "…/draws", float [draws, m], whether it was after each draw of examples (NaN: not asked); or
        "…/samples", float64 [resamples], the metric in each bootstrap resample, the same resamples
        for every model. "…/person", float64 [people], is the metric with each person (NaN: not
        known). In people's answers, "<subset>/triplets", int [m, 3], has the objects of "correct",
        and "<subset>/person", str [people], the names for "person".
      notes: sentences for the reader: what was left out, and why.
    """

    scores: Sequence[Score]
    arrays: Mapping[str, np.ndarray]
    notes: Sequence[str]

    def find(self, subset: str, metric: str) -> Measured | None:
        """The number of that name, if there is one."""
        for score in self.scores:
            if (score.subset, score.metric) == (subset, metric):
                return score.value
        return None


class Headline(NamedTuple):
    """A number that the summary shows.

    Attributes:
      subset, metric: of the score; more is better. A metric that begins with "accuracy" is a share.
      name: of a column.
      chance: what guessing gives.
    """

    subset: str
    metric: str
    name: str
    chance: float = 0.0


class Changed(NamedTuple):
    """What differs between two models, where a difference of two scores cannot tell it.

    Attributes:
      section: of the report; sentences in it are for the terminal, too.
      scores: numbers, which are differences already.
    """

    section: page.Section
    scores: Sequence[Score]


class Question(NamedTuple):
    """An eval: the functions of its module, and what to show of it first.

    Attributes:
      headline: the numbers that the summary shows, given all models' answers and people's.
      load, people, score, section: see above.
      family: HUMAN or VISION.
      change: from one model to another, given people's answers, the earlier model's and the later
        one's.
    """

    headline: Callable[[Mapping[str, Answers]], Sequence[Headline]]
    load: Callable[..., Any]
    people: Callable[..., Answers]
    score: Callable[..., Answers]
    section: Callable[[Mapping[str, Answers]], page.Section]
    family: str = HUMAN
    change: Callable[[Mapping[str, Answers]], Changed] | None = None


def save(path: Path, answers: Answers) -> None:
    """Writes answers to an `.npz`: the arrays, and the rest as JSON under the name `answers`."""
    scores = [[subset, metric, *value] for subset, metric, value in answers.scores]
    text = json.dumps({"scores": scores, "notes": list(answers.notes)})
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, answers=np.array(text), **answers.arrays)


def load(path: Path) -> Answers:
    """Reads what `save` wrote.

    Raises:
      InputError: the file is absent, damaged or something else.
    """
    arrays = files.read_all_npz(path, expected=EXPECTED)
    try:
        rest = json.loads(str(arrays.pop("answers")))
        scores = [
            Score(str(subset), str(metric), Measured(float(value), float(low), float(high), int(n)))
            for subset, metric, value, low, high, n in rest["scores"]
        ]
        return Answers(scores, arrays, [str(note) for note in rest["notes"]])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise InputError(f"{path}: holds no answers of an eval; {EXPECTED}.") from None
