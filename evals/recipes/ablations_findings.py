"""What paper 002 found in its ablations (B.2.3), held against students' scores.

Each finding is a difference whose 95 % interval is above 0 or not.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alignet.recipes import ablations
from alignet.recipes.ablations import BASE, CLASS, DENSE, DISTILLED, MAIN, RANDOM, Ablation
from evals.pages import fewshot_page, things_page
from evals.runs import Run
from evals.statistics import crossed, intervals, odd_one_out
from evals.statistics.intervals import Measured
from evals.statistics.odd_one_out import Sharing

HEAD = "ridge"
# Data folders within tests/, and what is asked there.
KNOWN, NEW = "", ablations.NEW_CATEGORIES
EVALS = {KNOWN: ("things", "fewshot"), NEW: ("things",)}
CHOICES = {KNOWN: "people's choices", NEW: "new categories"}
Weights = Mapping[tuple[str, str], int | float]  # of an arm and a size


class Scored(NamedTuple):
    """All students' runs, and what differences between them are made of.

    Attributes:
      runs: by data folder, then by arm.
      sharing: by data folder, which of its triplets have objects in common.
      shots: examples a class that findings about learning are about.
    """

    runs: Mapping[str, Mapping[str, Run]]
    sharing: Mapping[str, Sharing]
    shots: int

    def chosen(self, folder: str, weights: Weights) -> Measured:
        """A weighted sum of shares of people's choices; its interval is for other triplets."""
        total = 0.0
        for (arm, size), weight in weights.items():
            arrays = self.runs[folder][arm].answers["things"][size].arrays
            total = total + weight * arrays[f"all/{things_page.ACCURACY}/correct"]
        return odd_one_out.mean_over_triplets(total, self.sharing[folder])

    def learned(
        self, sets: Iterable[str], weights: Weights, *, shots: int | None = None
    ) -> Measured:
        """A weighted sum of accuracies, the mean over data sets.

        Its interval is for other examples and test images of these data sets, whose errors are
        independent; not for other data sets.
        """
        found, metric = [], fewshot_page.metric(HEAD, shots or self.shots)
        for name in sets:
            total = 0.0
            for (arm, size), weight in weights.items():
                arrays = self.runs[KNOWN][arm].answers["fewshot"][size].arrays
                total = total + weight * arrays[f"{name}/{metric}/draws"].astype(np.float64)
            found.append(crossed.mean(total).measured)
        return intervals.mean_of_independent(found)


class Finding(NamedTuple):
    """Something that the paper found, and the difference that is positive if it is so.

    Attributes:
      ablation: by name.
      paper: what it found; or what we expected, of what is ours.
      here: of few-shot accuracy on categories, or of people's choices.
      verdict: what `here` says of it.
      also: the same of what people do not judge by, or of objects of new categories.
    """

    ablation: str
    paper: str
    here: Measured
    verdict: str
    also: Measured


SHOWN, OPPOSITE, UNCLEAR = "as in the paper", "the opposite", "not shown"
OURS = "shown"  # what the paper has not
ALIKE, DIFFER = "none is shown", "a difference"  # where the paper found none


def _capacity(scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    first, last = ablation.sizes[0], ablation.sizes[-1]
    paper = "Aligned students learn better from one example than those they were made from."
    yield _learning("capacity", paper, scored, _evenly({MAIN: 1, BASE: -1}, ablation.sizes))
    if last != first:
        paper = f"Alignment adds more to larger students: to the {last} ones than to the {first}."
        weights = {(MAIN, last): 1, (BASE, last): -1, (MAIN, first): -1, (BASE, first): 1}
        yield _learning("capacity", paper, scored, weights)


def _growth(name: str, paper: str, scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    arms = {int(label): arm.name for label, arm in ablation.arms.items()}
    least, most = min(arms), max(arms)
    weights = _evenly({arms[most]: 1, arms[least]: -1}, ablation.sizes)
    yield _learning(name, f"{paper}: {most:,} against {least:,}.", scored, weights)
    few = max((n for n in arms if n <= most / 100), default=None)
    if few:
        paper = f"Most of what alignment adds is there with a hundredth of the {name}, {few:,}."
        weights = {arms[few]: 1, arms[most]: -0.5, BASE: -0.5}
        yield _learning(name, paper, scored, _evenly(weights, ablation.sizes))


def _sampling(scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    random, by_class = (ablation.arms[scheme].name for scheme in (RANDOM, CLASS))
    paper = "Triplets at the boundaries of clusters are better than random ones."
    weights = _evenly({MAIN: 1, random: -1}, ablation.sizes)
    yield _learning("sampling", paper, scored, weights)
    paper = "They are as good as triplets at the boundaries of classes."
    weights = _evenly({MAIN: 1, by_class: -1}, ablation.sizes)
    yield _learning("sampling", paper, scored, weights, alike=True)


def _teacher(scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    distilled = ablation.arms[DISTILLED].name
    weights = _evenly({MAIN: 1, distilled: -1}, ablation.sizes)
    paper = "Students choose more as people do if their teacher was aligned."
    yield _choosing("teacher", paper, scored, weights)
    paper = "They learn better from few examples, too."
    yield _learning("teacher", paper, scored, weights)
    paper = "Most of what they learn better than the base does not need the teacher's alignment."
    weights = _evenly({distilled: 1, MAIN: -0.5, BASE: -0.5}, ablation.sizes)
    yield _learning("teacher", paper, scored, weights)


def _dense(scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    for label, arm in ablation.arms.items():
        if label + DENSE in ablation.arms:
            dense = ablation.arms[label + DENSE]
            claim = f"Of {int(label):,} images, all triplets within a batch teach more (ours)."
            weights = _evenly({dense.name: 1, arm.name: -1}, ablation.sizes)
            found = _choosing("dense", claim, scored, weights)
            yield found._replace(verdict=OURS if found.verdict == SHOWN else found.verdict)


def _things(scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    sizes = ablation.sizes
    direct = [arm.name for arm in ablation.arms.values() if arm.name != MAIN]
    learned = {
        arm: scored.learned(ablations.CATEGORIES, _evenly({arm: 1}, sizes)).value
        for arm in (BASE, *direct)
    }
    chosen = {arm: scored.chosen(KNOWN, _evenly({arm: 1}, sizes)).value for arm in direct}
    paper = "Fine-tuning on people's choices, at its best, makes students learn worse than AligNet."
    weights = _evenly({MAIN: 1, max(direct, key=learned.get): -1}, sizes)
    yield _learning("things", paper, scored, weights)
    below = sum(learned[arm] < learned[BASE] for arm in direct)
    paper = f"It makes them learn worse than the base: here in {below} of {len(direct)} settings."
    weights = _evenly({BASE: 1} | dict.fromkeys(direct, -1 / len(direct)), sizes)
    yield _learning("things", paper, scored, weights)
    paper = "At its best it does not even make them choose as people do more than AligNet does."
    weights = _evenly({MAIN: 1, max(direct, key=chosen.get): -1}, sizes)
    yield _choosing("things", paper, scored, weights)


FINDINGS = {
    "capacity": _capacity,
    "images": functools.partial(_growth, "images", "More images help"),
    "triplets": functools.partial(_growth, "triplets", "More triplets help"),
    "sampling": _sampling,
    "teacher": _teacher,
    "things": _things,
    "dense": _dense,
}


def _evenly(weights: Mapping[str, int | float], sizes: Sequence[str]) -> Weights:
    """The same weights of all sizes of students, in the mean."""
    return {(arm, s): weight / len(sizes) for arm, weight in weights.items() for s in sizes}


def _learning(
    ablation: str, paper: str, scored: Scored, weights: Weights, *, alike: bool = False
) -> Finding:
    here = scored.learned(ablations.CATEGORIES, weights)
    also = scored.learned(ablations.SURFACE, weights)
    return Finding(ablation, paper, here, _verdict(here, alike), also)


def _choosing(ablation: str, paper: str, scored: Scored, weights: Weights) -> Finding:
    here, also = (scored.chosen(folder, weights) for folder in (KNOWN, NEW))
    return Finding(ablation, paper, here, _verdict(here, alike=False), also)


def _verdict(here: Measured, alike: bool) -> str:
    if not (here.low > 0 or here.high < 0):
        return ALIKE if alike else UNCLEAR
    if alike:
        return DIFFER
    return SHOWN if here.low > 0 else OPPOSITE
