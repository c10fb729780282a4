"""THINGS: does a model pick the odd one out of three things that people picked?

Its accuracy stands between chance and the ceiling: how well people predict each other, from
triplets that many were asked. The release's own ceiling is the share of the most frequent answer.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from alignet.data import things_choices
from alignet.data.things_choices import Choices, Repeats
from alignet.errors import InputError
from evals.answers import Answers, Headline, Question, Score
from evals.models import Model, naming
from evals.options import Options
from evals.pages import things_page
from evals.pages.things_page import ACCURACY, CROSS_ENTROPY, SHARE, SHARE_ABOVE_CHANCE, YARDSTICK
from evals.statistics import ceilings, odd_one_out
from evals.statistics import people as individuals
from evals.statistics.intervals import Measured
from evals.statistics.odd_one_out import CEILING, CHANCE, Sharing

OBJECTS = 1854  # of THINGS


class Category(NamedTuple):
    """Triplets with at least one object of a category.

    Attributes:
      name: "animal", "tool", …
      rows: which triplets these are.
      sharing: which objects they have in common.
    """

    name: str
    rows: Int[np.ndarray, " r"]
    sharing: Sharing


class Data(NamedTuple):
    """Attributes:
    choices: people's.
    sharing: which triplets have objects in common.
    categories: those that any triplet has an object of.
    published: name and rows of an embedding that was fitted to such choices, if there is one.
    sortindex: RAW number of each object in SORTED order, if known.
    photographs: folder or file of them, if there is one.
    ceiling: how well people predict each other; its interval is NaN if it is the published one.
    files: all that was read.
    """

    choices: Choices
    sharing: Sharing
    categories: list[Category]
    published: tuple[str, Float[np.ndarray, "n d"]] | None
    sortindex: Int[np.ndarray, " n"] | None
    photographs: Path | None
    ceiling: Measured
    files: tuple[Path, ...]


def load(data_dir: Path, options: Options) -> Data:
    """Reads the choices.

    Raises:
      Absent: there are none.
      InputError: a file is malformed.
    """
    choices = things_choices.load(data_dir)
    files = list(choices.files)
    published = things_choices.load_published(data_dir, choices.ids)
    if published:
        files.append(published[2])
    categories = things_choices.load_categories(data_dir, choices.ids)
    if categories:
        files.append(data_dir / things_choices.CATEGORIES)
    several = _between(choices.repeats)
    return Data(
        choices,
        odd_one_out.prepare(choices.triplets),
        _by_category(choices.triplets, *categories) if categories else [],
        published[:2] if published else None,
        things_choices.sortindex(data_dir, choices.ids),
        things_choices.photographs(data_dir),
        ceilings.majority_share(several) if len(several) else odd_one_out.PUBLISHED,
        tuple(files),
    )


########################################## People ##########################################


def people(data: Data, options: Options) -> Answers:
    """Ceilings, a published embedding as a yardstick, and which release this is."""
    choices = data.choices
    n = len(choices.ids) if choices.ids is not None else int(choices.triplets.max()) + 1
    arrays = {"all/triplets": choices.triplets.astype(np.int16 if n < 1 << 15 else np.int32)}
    notes = [f"{things_choices.version(len(choices.triplets))} of {n:,} objects."]
    if choices.people is not None:
        known = choices.person[choices.person >= 0]
        arrays["all/person"] = choices.people
        arrays["all/answers"] = np.bincount(known, minlength=len(choices.people))
    scores = [Score("all", f"{ACCURACY} ceiling", data.ceiling), *_ceilings(choices.repeats)]
    if np.isnan(data.ceiling.low):
        notes.append(
            f"The ceiling, {CEILING:.4f}, is the published one (Hebart et al. 2023): the triplets "
            "that many people were asked, testset1.txt and its kin, are not here."
        )
        if n != OBJECTS:
            notes.append(
                f"These {n:,} objects are not the {OBJECTS:,} that it was measured on: theirs is "
                "not known, and shares of it say little."
            )
    if data.published:
        name, rows = data.published
        similarities = odd_one_out.pair_similarities(rows, choices.triplets)
        reached = odd_one_out.score(similarities, data.sharing).accuracy
        scores.append(Score("all", f"{YARDSTICK}{name}", reached))
        notes.append(_order_note(data, name, rows, reached.value))
    return Answers(scores, arrays, notes)


def order_check(
    embedding: Float[np.ndarray, "n d"],
    triplets: Int[np.ndarray, "m 3"],
    sortindex: Int[np.ndarray, " n"],
) -> tuple[float, float]:
    """How well an embedding predicts choices if they count in RAW order, and if in SORTED.

    Args:
      embedding: objects in RAW order.
      triplets: numbers as in the file, from 0, the odd one out last.
      sortindex: RAW number of each object in SORTED order.

    Returns:
      Both accuracies; the order in which the file counts gives the higher one.
    """

    def accuracy(numbers: np.ndarray) -> float:
        s = odd_one_out.pair_similarities(embedding, numbers)
        return float((s[:, 0] > s[:, 1:].max(axis=1)).mean())

    return accuracy(triplets), accuracy(sortindex[triplets])


def _order_note(data: Data, name: str, rows: np.ndarray, accuracy: float) -> str:
    says = f"The published {name} embedding predicts {accuracy:.4f} of the choices"
    if data.sortindex is None:
        return f"{says}."
    is_sorted = data.choices.sorted_file
    numbers = data.choices.triplets
    numbers = np.argsort(data.sortindex)[numbers] if is_sorted else numbers
    other = order_check(rows, numbers, data.sortindex)[not is_sorted]
    read, unread = ("SORTED", "RAW") if is_sorted else ("RAW", "SORTED")
    note = f"{says} read in {read} order, {other:.4f} in {unread} order"
    if other > accuracy:
        return f"{note}: {data.files[0]} seems to count in {unread} order, so scores are too low."
    return f"{note}."


def _ceilings(repeats: Repeats) -> list[Score]:
    metric, scores = f"{ACCURACY} ceiling", []
    votes = _between(repeats)
    if len(votes):
        others = ceilings.leave_one_out(votes)
        measured = {
            "leave-one-out": others.fractional,
            "leave-one-out, ties right": others.optimistic,
            "leave-one-out, ties wrong": others.strict,
            "split-half": ceilings.split_half(votes),
        }
        scores += [Score("all", f"{metric}, {name}", value) for name, value in measured.items()]
        for name, asked in (("set 1", repeats.one), ("set 3", repeats.three)):
            votes = _votes(asked)
            if len(votes):
                scores.append(Score(name, metric, ceilings.majority_share(votes)))
    if len(repeats.two):
        measured = ceilings.within_person(repeats.two, repeats.again)
        scores.append(Score("all", f"{metric}, within person", measured))
    return scores


def _between(repeats: Repeats) -> Int[np.ndarray, "t 3"]:
    # Not the set that people were asked twice: their first answer colours the second.
    return np.concatenate([_votes(repeats.one), _votes(repeats.three)])


def _votes(answers: Int[np.ndarray, "r 3"]) -> Int[np.ndarray, "t 3"]:
    _, votes = ceilings.count_votes(answers)
    return votes[votes.sum(axis=1) > 1]


########################################## A model ##########################################


def score(data: Data, model: Model, options: Options) -> Answers:
    """Scores one model's answers, altogether, by category and by person.

    Raises:
      Absent: the model does not have rows for all objects.
      InputError: its rows have no such similarity.
    """
    found = odd_one_out.score(similarities(data, model, options), data.sharing, tau=options.tau)
    above_chance = ceilings.share_of_ceiling(found.accuracy, data.ceiling, chance=CHANCE)
    scores = [
        Score("all", ACCURACY, found.accuracy),
        Score("all", CROSS_ENTROPY, found.cross_entropy),
        Score("all", SHARE, ceilings.share_of_ceiling(found.accuracy, data.ceiling)),
        Score("all", SHARE_ABOVE_CHANCE, above_chance),
    ]
    arrays = {f"all/{ACCURACY}/correct": found.correct}
    for category in data.categories:
        value = odd_one_out.accuracy(found.correct[category.rows], category.sharing)
        scores.append(Score(category.name, ACCURACY, value))
    if data.choices.people is not None:
        shares, variance = _by_person(data.choices, found.correct)
        arrays[f"all/{ACCURACY}/person"] = shares
        if len(shares) > 1:
            spread = individuals.spread(
                shares, variance, seed=options.seed, resamples=options.resamples
            )
            scores += individuals.scores("all", ACCURACY, spread)
    notes = []
    if found.ties:
        notes = [f"{found.ties:,} triplets have no single most similar pair; that counts as wrong."]
    return Answers(scores, arrays, notes)


def similarities(data: Data, model: Model, options: Options) -> Float[np.ndarray, "m 3"]:
    """A model's similarities of the pairs of every triplet.

    Raises:
      Absent: the model does not have rows for all objects.
      InputError: its rows have no such similarity.
    """
    rows = object_rows(data.choices, model, data.photographs)
    with naming(model.path):
        return odd_one_out.pair_similarities(
            rows, data.choices.triplets, similarity=options.similarity
        )


def object_rows(
    choices: Choices, model: Model, photographs: Path | None
) -> Float[np.ndarray, "n p"]:
    """A model's rows of the objects that people chose between.

    Raises:
      Absent: the model does not have rows for all objects.
      InputError: the objects have no names, and there are too few rows.
    """
    rows = model.rows("things", choices.ids, photographs)
    if len(rows) <= choices.triplets.max():
        raise InputError(
            f"{model.path}: has {len(rows)} rows; expected at least {choices.triplets.max() + 1}, "
            f"the objects that {choices.files[0]} names."
        )
    return rows


def _by_category(
    triplets: Int[np.ndarray, "m 3"], names: list[str], members: Bool[np.ndarray, "n c"]
) -> list[Category]:
    result = []
    i, j, k = triplets.T
    for name, member in zip(names, members.T.copy(), strict=True):
        rows = np.flatnonzero(member[i] | member[j] | member[k])
        if len(rows):
            result.append(Category(name, rows, odd_one_out.prepare(triplets[rows])))
    return result


def _by_person(
    choices: Choices, correct: Bool[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Each person's share of choices that the model makes, too, and its squared standard error."""
    known, n = choices.person >= 0, len(choices.people)
    answers = np.bincount(choices.person[known], minlength=n)
    shares = np.bincount(choices.person[known], correct[known], minlength=n) / answers
    return shares, individuals.share_variance(shares, answers)


QUESTION = Question(
    headline=lambda _: [Headline("all", ACCURACY, "THINGS", CHANCE)],
    load=load,
    people=people,
    score=score,
    section=things_page.section,
)
