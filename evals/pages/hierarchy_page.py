"""The section of the report on the hierarchy of concepts, from answers alone."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from alignet.data.wordnet import SUPERORDINATES
from alignet.errors import InputError
from evals.answers import PEOPLE, Answers, Changed, Score
from evals.pages import hierarchy_figures, page, summary_figures
from evals.pages.table import number
from evals.statistics import intervals, relations
from evals.statistics.intervals import Measured
from evals.statistics.relations import BASIC, KNOWN, RELATIONS

TITLE = "Do its representations follow the hierarchy of concepts?"
DISTANCE, GAP = "relative distance, {}", "{far} − {near}, SD"
CHANGE = "change of relative distance, {}, SD"
SHOWN = SUPERORDINATES[:7]  # 002, Fig. 22
# Of the mean distance: a standard deviation of changes that is less is rounding. Ours.
NO_CHANGE = 1e-4
INTRODUCTION = (
    "Pairs of photographs of ImageNet's classes, by how WordNet relates them: of the same class "
    "(two beagles), the same basic-level category (a beagle and a poodle), the same superordinate "
    "category (a beagle and a trout), or different ones (a beagle and a chair). Which synsets are "
    "such categories is this project's choice. Distances are relative to the mean over all pairs, "
    "so that a model's scale says nothing."
)
GAPS = (
    "Gaps: by how much pairs of a farther relation are farther apart than those of the next nearer "
    "one, in standard deviations of the distances of all pairs, with 95 % intervals over classes. "
    "0: the hierarchy makes no difference at this level."
)
DISTANCES = (
    "Mean relative distances, exact over all pairs, whose mean is 1. 95 % intervals over classes."
)
TRIPLETS = (
    "What the triplets of the AligNet dataset are made of (002, Fig. 3C): shares by the relation "
    "of the similar pair and by that of the odd one out to the nearer of the two."
)
CHANGES = (
    "Change of relative distances by relation (002, Figs. 3D and 21), in standard deviations of "
    "the changes of all pairs; negative: closer. Left: means, exact over all pairs, with 95 % "
    "intervals over classes. Right: how pairs are distributed; lines are their means."
)
CATEGORIES = (
    "Mean change of relative distances between basic-level categories (002, Figs. 3E and 22), in "
    "the order of WordNet within each superordinate category, which is boxed; in standard "
    "deviations of the changes of all pairs. Blue: closer. Grey: no pair."
)


class Changes(NamedTuple):
    """Changes of relative distances, in their standard deviation over all pairs; − is closer.

    Attributes:
      scale: that standard deviation, of relative distances; 0 if nothing changed.
      means: by relation, exact, with intervals over classes.
      drawn: by relation, of the pairs drawn.
    """

    scale: float
    means: Mapping[str, Measured]
    drawn: Mapping[str, np.ndarray]


def section(answers: Mapping[str, Answers]) -> page.Section:
    """Shows each model's gaps and distances by relation."""
    people, models = answers[PEOPLE], [name for name in answers if name != PEOPLE]
    counts = _pairs(people)
    gaps: dict[str, dict[str, Measured]] = {}
    for near, far in itertools.pairwise(counts):
        metric = GAP.format(far=far, near=near)
        found = {name: answers[name].find("all", metric) for name in models}
        gaps[f"{far} −\n{near}"] = {name: gap for name, gap in found.items() if gap is not None}
    rows = [
        {"model": name}
        | {relation: answers[name].find("all", DISTANCE.format(relation)) for relation in counts}
        for name in models
    ]
    n = "; ".join(f"{relation}: {count:,}" for relation, count in counts.items())
    blocks: list[Any] = [INTRODUCTION, f"Pairs: {n}.{_largest(people)}"]
    # Runs that are compared may have seen other photographs, without some relation.
    gaps = {name: by_model for name, by_model in gaps.items() if by_model}
    if gaps:
        zero = dict.fromkeys(gaps, 0.0)
        picture = summary_figures.headlines(gaps, models, chance=zero, ceilings={})
        best = " Orange: the largest gap." * (len(models) > 1)
        blocks.append(page.Picture(picture, GAPS + best))
    blocks.append(page.Table(rows, DISTANCES))
    table = people.arrays.get("triplets/counts")
    if table is not None and (known := table[np.ix_(KNOWN, KNOWN)]).any():
        picture = hierarchy_figures.triplets(known / known.sum(), [RELATIONS[i] for i in KNOWN])
        blocks.append(page.Picture(picture, f"{TRIPLETS} n = {known.sum():,}."))
    return page.Section(TITLE, blocks)


def change(answers: Mapping[str, Answers]) -> Changed:
    """Shows what moved closer together, and what farther apart, from one model to another.

    Args:
      answers: people's, then the earlier model's, then the later one's.

    Raises:
      InputError: the answers are about other photographs, or other pairs of them.
    """
    people, before, after = answers.values()
    _, *names = answers
    found = changes(answers)
    heading = f"Which concepts moved closer together, from {names[0]} to {names[1]}?"
    if not found.scale:
        text = f"From {names[0]} to {names[1]} none did: all relative distances are the same."
        return Changed(page.Section(heading, [text]), [])
    rows = [
        {"relation": relation, "pairs": count}
        | {
            name: own.find("all", DISTANCE.format(relation)).value
            for name, own in zip(names, (before, after), strict=True)
        }
        | {"change, SD": found.means[relation]}
        for relation, count in _pairs(people).items()
    ]
    picture = hierarchy_figures.changes(found.means, found.drawn)
    blocks: list[Any] = [
        _words(found.means, *names),
        page.Picture(picture, CHANGES),
        page.Table(
            rows, f"Mean relative distances, and their change; 1 SD is {number(found.scale)}."
        ),
    ]
    matrix, groups = _categories(people, before, after)
    if len(matrix) > 1:
        picture = hierarchy_figures.categories(matrix / found.scale, groups)
        blocks.append(page.Picture(picture, CATEGORIES))
    scores = [Score("all", CHANGE.format(name), value) for name, value in found.means.items()]
    return Changed(page.Section(heading, blocks), scores)


def changes(answers: Mapping[str, Answers]) -> Changes:
    """What `change` shows; arguments and errors are its own."""
    people, before, after = answers.values()
    hashes = [str(found.arrays["all/photographs"]) for found in (people, before, after)]
    if len(set(hashes)) > 1:
        _, *names = answers
        raise InputError(
            f"{' and '.join(names)}: their distances are not between the same photographs "
            f"({', '.join(hashes)}); expected answers about the same ones, with the same seed."
        )
    moved = after.arrays["all/distances"].astype(np.float64) - before.arrays["all/distances"]
    codes = people.arrays["all/relations"].astype(np.int64)
    scale = relations.spread(moved, codes, people.arrays["all/pairs"])
    if scale < NO_CHANGE:
        return Changes(0.0, {}, {})
    counts = _pairs(people)
    return Changes(
        scale,
        {relation: _change(before, after, relation, scale) for relation in counts},
        {relation: moved[codes == RELATIONS.index(relation)] / scale for relation in counts},
    )


def _pairs(people: Answers) -> dict[str, int]:
    """How many pairs there are, by relation; those that do not occur are left out."""
    counts = people.arrays["all/pairs"]
    return {RELATIONS[code]: int(counts[code]) for code in KNOWN if counts[code]}


def _largest(people: Answers) -> str:
    """Which category has most of the pairs of the same basic-level category."""
    pairs = people.arrays["all/pairs"][BASIC]
    if not pairs:
        return ""
    counts = people.arrays["all/counts"].astype(np.float64)
    names, category = np.unique(people.arrays["all/basic"], return_inverse=True)
    own = (np.bincount(category, counts) ** 2 - np.bincount(category, counts**2)) / 2
    most = int(own.argmax())
    share = f"{own[most] / pairs:.0%}"
    return f" Of those of the same basic-level category, {share} are of the category {names[most]}."


def _change(before: Answers, after: Answers, relation: str, scale: float) -> Measured:
    metric = DISTANCE.format(relation)
    old, new = (found.find("all", metric) for found in (before, after))
    samples = [found.arrays[f"all/{metric}/samples"] for found in (before, after)]
    return intervals.percentile(
        (new.value - old.value) / scale, (samples[1] - samples[0]) / scale, new.n
    )


def _categories(
    people: Answers, before: Answers, after: Answers
) -> tuple[np.ndarray, dict[str, int]]:
    """Mean changes between basic-level categories, and how many each superordinate one has."""
    basic, superordinate = people.arrays["all/basic"], people.arrays["all/superordinate"]
    order: dict[str, dict[str, None]] = {name: {} for name in SHOWN}
    for name, above in zip(basic.tolist(), superordinate.tolist(), strict=True):
        if above in order:
            order[above][name] = None
    place = {name: i for i, name in enumerate(itertools.chain(*order.values()))}
    number_of = np.array([place.get(name, -1) for name in basic.tolist()])
    pairs = relations.count_pairs(people.arrays["all/counts"])
    changes = after.arrays["all/means"].astype(np.float64) - before.arrays["all/means"]
    groups = {name: len(members) for name, members in order.items() if members}
    if not place:
        return np.zeros((0, 0)), groups
    sums = np.where(pairs > 0, changes * pairs, 0)
    return relations.mean_by_category(sums, pairs, number_of), groups


def _words(moved: Mapping[str, Measured], before: str, after: str) -> str:
    parts = []
    for relation, (value, low, high, _) in moved.items():
        direction = "closer" if high < 0 else "farther apart" if low > 0 else "neither way clearly"
        interval = f"{_signed(low)} to {_signed(high)}"
        parts.append(f"{relation}: {direction} ({_signed(value)} SD, 95 % interval {interval})")
    return f"From {before} to {after}, relative to all pairs: {'; '.join(parts)}."


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
