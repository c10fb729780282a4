"""What `configs/photographs.py` measures: tests of settings that are fitted or trained for splits.

A test keeps what a number is made of, item by item and split by split, so that two settings can be
subtracted before the mean is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from evals.answers import PEOPLE, Answers
from evals.pages import fewshot_page, judgments_page
from evals.runs import Run
from evals.statistics import crossed, intervals, odd_one_out
from evals.statistics.intervals import Measured

HEAD, CIFAR = "ridge", "cifar100"


class Test(NamedTuple):
    """Attributes:
    name: of a column.
    percent: whether it is a share; else it is a correlation.
    chance: what guessing gives.
    same_items: whether all splits ask the same.
    units: by setting, what each split's number is made of.
    of_split: the number of one split, by its place.
    of_all: the mean over splits; its interval is for other items.
    """

    name: str
    percent: bool
    chance: float
    same_items: bool
    units: Mapping[str, Sequence[np.ndarray]]
    of_split: Callable[[np.ndarray, int], Measured]
    of_all: Callable[[Sequence[np.ndarray]], Measured]


def choice_test(
    name: str,
    triplets: Int[np.ndarray, "m 3"],
    asked: Sequence[Int[np.ndarray, " _"]],
    rows: Mapping[str, Sequence[Float[np.ndarray, "n _"]]],
) -> Test:
    """Odd-one-out accuracy; a triplet that several splits ask about is averaged over these."""
    parts = [triplets[places] for places in asked]
    units = {
        setting: [
            odd_one_out.score(odd_one_out.pair_similarities(z, part), part).correct.astype(float)
            for z, part in zip(own, parts, strict=True)
        ]
        for setting, own in rows.items()
    }
    times = np.bincount(np.concatenate(asked), minlength=len(triplets))
    once = times > 0
    sharing = odd_one_out.prepare(triplets[once])
    of_parts = [odd_one_out.prepare(part) for part in parts]

    def of_all(splits: Sequence[np.ndarray]) -> Measured:
        total = np.bincount(np.concatenate(asked), np.concatenate(splits), len(triplets))
        return odd_one_out.mean_over_triplets(total[once] / times[once], sharing)

    def of_split(values: np.ndarray, place: int) -> Measured:
        return odd_one_out.mean_over_triplets(values, of_parts[place])

    return Test(name, True, odd_one_out.CHANCE, False, units, of_split, of_all)


def judged_test(title: str, name: str, subset: str, asked: Mapping[str, Sequence[Run]]) -> Test:
    """Spearman's correlation with people's similarities."""
    metric = judgments_page.PAPER

    def units(run: Run) -> np.ndarray:
        """The correlation, and after it the same in each resample."""
        own = answers(run, name)
        return np.append(own.find(subset, metric).value, own.arrays[f"{subset}/{metric}/samples"])

    n = answers(next(iter(asked.values()))[0], name).find(subset, metric).n

    def of_split(values: np.ndarray, place: int) -> Measured:
        return intervals.recentred(values[0], values[1:], n)

    def of_all(splits: Sequence[np.ndarray]) -> Measured:
        return of_split(np.mean(splits, axis=0), 0)

    return Test(title, False, 0.0, True, _of_runs(units, asked), of_split, of_all)


def cifar_test(shots: int, asked: Mapping[str, Sequence[Run]]) -> Test:
    """Accuracy of what is learnt from a few photographs, after each draw of them."""

    def units(run: Run) -> np.ndarray:
        metric = fewshot_page.metric(HEAD, shots)
        return answers(run, "fewshot").arrays[f"{CIFAR}/{metric}/draws"].astype(np.float64)

    def of_split(values: np.ndarray, place: int) -> Measured:
        return crossed.mean(values).measured

    def of_all(splits: Sequence[np.ndarray]) -> Measured:
        return of_split(np.mean(splits, axis=0), 0)

    people = next(iter(asked.values()))[0].answers["fewshot"][PEOPLE]
    chance = people.find(CIFAR, fewshot_page.CHANCE).value
    title = f"{shots}-shot CIFAR-100"
    return Test(title, True, chance, True, _of_runs(units, asked), of_split, of_all)


def _of_runs(
    units: Callable[[Run], np.ndarray], asked: Mapping[str, Sequence[Run]]
) -> dict[str, list[np.ndarray]]:
    return {setting: [units(run) for run in own] for setting, own in asked.items()}


def answers(run: Run, name: str) -> Answers:
    """Those of the only model."""
    return run.answers[name][run.models[0]]
