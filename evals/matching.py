"""The same models in several finished runs, and whether what they differ in is shown.

A label names a run ("original", "distilled", "ud", "aligned" in paper 002). A model is the same in
two runs if it has the same name there; if every run scored a single model, they are the same model,
whatever they are called.
"""

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from alignet.errors import InputError
from evals.answers import HUMAN, PEOPLE, Answers, Headline, Question
from evals.runs import Run
from evals.statistics import differences
from evals.statistics.differences import Difference
from evals.statistics.intervals import Measured

ONE = "the model"  # what the only model of every run is called if its names differ
# Settings in which runs may differ and still have answered the same questions.
COMPARABLE = ("similarity", "tau", "before")
# What of their data these chose is told by what is known of people.
TOLD = ("fewshot.", "imagenet", "triplets")


class Matched(NamedTuple):
    """Attributes:
    models: in order.
    labels: of the runs, in order.
    answers: by eval, then by model, then by label.
    people: people's answers, by eval, then by label.
    alike: by eval, groups of labels with the same data about people and the same settings, whose
      answers can be compared one by one.
    notes: how the runs differ, and which evals only one of them has.
    """

    models: Sequence[str]
    labels: Sequence[str]
    answers: Mapping[str, Mapping[str, Mapping[str, Answers]]]
    people: Mapping[str, Mapping[str, Answers]]
    alike: Mapping[str, Sequence[Sequence[str]]]
    notes: Sequence[str]


class Test(NamedTuple):
    """A number that is compared.

    Attributes:
      name: for the reader.
      family: HUMAN or VISION.
      eval, subset, metric: where its values come from; more is better.
      chance: what guessing gives.
      scores: by model, then by label, as far as it is defined.
      ceiling: what people reach among themselves, where that is known.
    """

    name: str
    family: str
    eval: str
    subset: str
    metric: str
    chance: float
    scores: Mapping[str, Mapping[str, Measured]]
    ceiling: Measured | None


class Change(NamedTuple):
    """A model in two settings, on one test.

    Attributes:
      difference: the first label is the later one, so that a gain is positive.
      relative: the same in % of the second label's score; None where that is not positive.
    """

    test: Test
    model: str
    difference: Difference
    relative: float | None


def match(runs: Mapping[str, Run], questions: Mapping[str, Question]) -> Matched:
    """Finds the same models, and the evals that two runs or more have in common.

    Args:
      runs: by label.
      questions: the evals by name, in the order of the report.

    Raises:
      InputError: the runs have no model or no eval in common.
    """
    seen = Counter(model for run in runs.values() for model in run.models)
    anonymous = max(seen.values()) == 1
    if anonymous and len(seen) > len(runs):
        names = "; ".join(f"{label}: {', '.join(run.models)}" for label, run in runs.items())
        raise InputError(
            f"the runs have no model in common ({names}); expected the same names in each, or "
            "runs of one model each."
        )
    times = Counter(eval for run in runs.values() for eval in run.answers)
    evals = [eval for eval in questions if times[eval] > 1]
    if not evals:
        names = "; ".join(f"{label}: {', '.join(run.answers)}" for label, run in runs.items())
        raise InputError(f"the runs have no eval in common ({names}); expected at least one.")

    models = [ONE] if anonymous else list(seen)
    names = {
        label: {m: run.models[0] if anonymous else m for m in models} for label, run in runs.items()
    }
    answers: dict[str, dict[str, dict[str, Answers]]] = {}
    people: dict[str, dict[str, Answers]] = {}
    for eval in evals:
        have = {label: run.answers[eval] for label, run in runs.items() if eval in run.answers}
        people[eval] = {label: by_model[PEOPLE] for label, by_model in have.items()}
        answers[eval] = {
            model: {
                label: by_model[names[label][model]]
                for label, by_model in have.items()
                if names[label][model] in by_model
            }
            for model in models
        }
    alike = {eval: _alike(runs, by_label) for eval, by_label in people.items()}
    return Matched(models, list(runs), answers, people, alike, _notes(runs, people))


def headline_tests(matched: Matched, questions: Mapping[str, Question]) -> list[Test]:
    """The headline numbers of all evals that at least one model has."""
    result = []
    for eval, by_model in matched.answers.items():
        somebody = {PEOPLE: next(iter(matched.people[eval].values()))}
        every = {
            f"{model}, {label}": found
            for model, by_label in by_model.items()
            for label, found in by_label.items()
        }
        headline = questions[eval].headline(somebody | every)
        result += tests(matched, eval, headline, family=questions[eval].family)
    return result


def tests(
    matched: Matched, eval: str, wanted: Sequence[Headline], *, family: str = HUMAN
) -> list[Test]:
    """Those numbers of an eval that at least one model has."""
    result = []
    for subset, metric, name, chance in wanted:
        scores = {}
        for model, by_label in matched.answers.get(eval, {}).items():
            found = {label: found.find(subset, metric) for label, found in by_label.items()}
            values = {k: v for k, v in found.items() if v and math.isfinite(v.value)}
            if values:
                scores[model] = values
        if scores:
            somebody = next(iter(matched.people[eval].values()))
            ceiling = somebody.find(subset, f"{metric} ceiling")
            result.append(Test(name, family, eval, subset, metric, chance, scores, ceiling))
    return result


def changes(matched: Matched, compared: Sequence[Test]) -> tuple[list[Change], list[str]]:
    """Compares each model's settings pair by pair.

    Args:
      matched: from `match`.
      compared: the tests. Holm's correction is over all models and pairs of settings of one test.

    Returns:
      The changes, by test, then by model; and notes on what could not be compared.
    """
    result, notes = [], []
    for test in compared:
        found = []
        for model, group in itertools.product(test.scores, matched.alike[test.eval]):
            by_label = matched.answers[test.eval][model]
            # Later labels first, so that a difference is what came of going on from the earlier.
            some = {label: by_label[label] for label in reversed(group) if label in by_label}
            people = {PEOPLE: matched.people[test.eval][group[0]]}
            try:
                pairs = differences.run(people | some, metrics=[(test.subset, test.metric)])
            except InputError as reason:
                notes.append(f"{test.name}, {model}: differences were not tested: {reason}")
                continue
            found += [(model, pair) for pair in pairs]
        corrected = differences.holm(np.array([pair.p for _, pair in found], np.float64))
        for (model, pair), p in zip(found, corrected, strict=True):
            before = test.scores[model][pair.second].value
            relative = 100 * pair.difference.value / before if before > 0 else None
            result.append(Change(test, model, pair._replace(p_holm=float(p)), relative))
    return result, notes


def _alike(runs: Mapping[str, Run], people: Mapping[str, Answers]) -> list[list[str]]:
    groups: dict[Any, list[str]] = {}
    for label, answers in people.items():
        settings = _settings(runs[label])
        rest = sorted(
            (key, repr(value))
            for key, value in settings.items()
            if key not in COMPARABLE and not key.startswith(TOLD)
        )
        groups.setdefault((*rest, _digest(answers)), []).append(label)
    return list(groups.values())


def _notes(runs: Mapping[str, Run], people: Mapping[str, Mapping[str, Answers]]) -> list[str]:
    first, *others = runs
    notes = []
    for label in others:
        before, after = _settings(runs[first]), _settings(runs[label])
        changed = [key for key in before | after if before.get(key) != after.get(key)]
        said = ", ".join(f"{key} {after.get(key)} (not {before.get(key)})" for key in changed)
        so = "part of what they differ in may come of that"
        changed = [key for key in changed if not key.startswith(TOLD)]
        if not set(changed) <= set(COMPARABLE):
            so = "differences between the two were not tested"
        if changed:
            notes.append(f"{label} was scored with other settings than {first}: {said}; {so}.")
    for eval, by_label in people.items():
        base, *rest = by_label
        other = [label for label in rest if _digest(by_label[label]) != _digest(by_label[base])]
        if other:
            notes.append(
                f"{eval}: {', '.join(other)} had other data than {base}; differences between them "
                "were not tested."
            )
    for label, run in runs.items():
        single = [eval for eval in run.answers if eval not in people]
        if single:
            notes.append(f"Left out, as no other run has it: {', '.join(single)} ({label}).")
    return notes


def _settings(run: Run) -> dict[str, Any]:
    """Settings by name, those of an eval's own one by one."""
    result = {}
    for name, value in run.about["settings"].items():
        own = value if isinstance(value, dict) else {}
        result |= {f"{name}.{key}": item for key, item in own.items()} or {name: value}
    return result


def _digest(people: Answers) -> str:
    """Of all that is known of people: their choices, ratings, times."""
    digest = hashlib.sha256()
    for name, array in sorted(people.arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
