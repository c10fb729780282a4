"""People's odd-one-out choices, where a model has seen photographs of the same kinds of things.

The photographs of THINGS need a licence. WordNet links many of its concepts to classes of ILSVRC
2012: with photographs of these classes a model can be scored on all choices between concepts that
have any, without the images that people saw. That costs accuracy, hence the yardstick: the
published VICE embedding, fitted to people, on the same choices.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from alignet.data import things_choices
from alignet.data.things_photographs import (
    FOLDER,
    MAPPING,
    Concepts,
    choices_among,
    class_of,
    concept_rows,
    load_concepts,
)
from alignet.errors import Absent
from evals.answers import PEOPLE, Answers, Headline, Question, Score
from evals.models import Model, naming
from evals.options import Options
from evals.pages import page, summary_figures
from evals.statistics import odd_one_out
from evals.statistics.intervals import Measured

VICE = "accuracy of published VICE"
YARDSTICK = "VICE, fitted to people"
# As a figure calls the two mappings from concepts to classes.
SETS = {"exact": "own class", "exact_or_hyponyms": "own class, or classes under it"}
TITLE = "Odd one out, from ILSVRC photographs"
TEXT = (
    "People saw other photographs of the same concepts. A concept's row is the mean over the "
    "photographs of its classes: of the class with its own WordNet id, or else of all classes "
    "under it. Intervals allow for the concepts that triplets have in common."
)
CAPTION = (
    "Share of triplets answered as people did, with 95 % intervals. Orange: the highest; dashed: "
    "guessing; black: how well people predict each other on all of THINGS, as published."
)


class Data(NamedTuple):
    """Attributes:
    concepts: those that people were asked about.
    number: of each concept.
    triplets: people's choices, the odd one out last, as such numbers.
    vice: the published embedding of all objects, where it is there.
    folder: of the photographs.
    files: what all this was read from.
    """

    concepts: Concepts
    number: Mapping[str, int]
    triplets: Int[np.ndarray, "m 3"]
    vice: Float[np.ndarray, "n d"] | None
    folder: Path
    files: tuple[Path, ...]


def load(data_dir: Path, options: Options) -> Data:
    """Reads the choices, and which classes of ILSVRC show their objects.

    Raises:
      Absent: one of the files is not there, or the objects have no names.
      InputError: a file is malformed.
    """
    mapped = load_concepts(data_dir)
    choices = things_choices.load(data_dir)
    if choices.ids is None:
        raise Absent(
            f"{data_dir / 'things'}: objects have no names; expected unique_id.txt and sortindex."
        )
    number = {name: index for index, name in enumerate(choices.ids.tolist())}
    concepts = Concepts(*({c: of[c] for c in of if c in number} for of in mapped))
    path, vice = data_dir / things_choices.VICE, None
    if path.is_file():
        vice = np.asarray(things_choices.load_vice(data_dir, choices.ids), np.float64)
    files = (data_dir / MAPPING, *choices.files, *([path] if path.is_file() else []))
    return Data(concepts, number, choices.triplets, vice, data_dir / FOLDER, files)


def people(data: Data, options: Options) -> Answers:
    """The objects of the choices; what there is to know of people alone, `things` tells."""
    arrays = {
        f"{subset}/triplets": _choices(data, list(classes_of))[1]
        for subset, classes_of in data.concepts._asdict().items()
    }
    return Answers([], arrays, [])


def score(data: Data, model: Model, options: Options) -> Answers:
    """Scores one model on the choices between concepts that photographs show.

    Raises:
      Absent: no row's id is, or begins with, the WordNet id of a class, or there are no choices
        between the concepts.
      InputError: a row has no such similarity.
    """
    classes = {name for names in data.concepts.exact_or_hyponyms.values() for name in names}
    found = model.find(data.folder, lambda name: class_of(name) in classes)
    if not len(found.matrix):
        raise Absent(f"{model.path}: no id is, or begins with, the WordNet id of an ILSVRC class.")
    scores, arrays, notes = [], {}, []
    for subset, classes_of in data.concepts._asdict().items():
        names, matrix = concept_rows(classes_of, found)
        objects, chosen = _choices(data, names.tolist())
        if not len(chosen):
            notes.append(f"{subset}: there are no choices among the {len(objects)} concepts.")
            continue
        sharing = odd_one_out.prepare(chosen)
        with naming(f"{model.path}, {subset}"):
            similarities = odd_one_out.pair_similarities(
                matrix, chosen, similarity=options.similarity
            )
            own = odd_one_out.score(similarities, sharing, tau=options.tau)
        scores.append(Score(subset, "accuracy", own.accuracy))
        if len(objects) == len(classes_of):
            arrays[f"{subset}/accuracy/correct"] = own.correct
        else:
            notes.append(
                f"{subset}: photographs of {len(objects)} of {len(classes_of)} concepts; without "
                "all of them, differences from other models are not tested."
            )
        if own.ties:
            notes.append(f"{subset}: {own.ties:,} ties, counted as wrong.")
        if data.vice is not None:
            theirs = odd_one_out.pair_similarities(data.vice[objects], chosen)
            accuracy = odd_one_out.score(theirs, sharing).accuracy
            scores.append(Score(subset, VICE, accuracy))
    if not scores:
        raise Absent(f"{model.path}: {notes[0]}")
    return Answers(scores, arrays, notes)


def _choices(
    data: Data, concepts: Sequence[str]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, "k 3"]]:
    """The concepts' numbers, and people's choices between them as positions among them."""
    objects = np.array([data.number[name] for name in concepts], np.int64)
    return objects, choices_among(data.triplets, objects)


def section(answers: Mapping[str, Answers]) -> page.Section:
    """Dots for every model, beside the published VICE embedding's."""
    models = [model for model in answers if model != PEOPLE]
    dots: dict[str, dict[str, Measured]] = {}
    for subset, name in SETS.items():
        metrics = {model: (model, "accuracy") for model in models} | {YARDSTICK: (models[0], VICE)}
        found = {row: answers[m].find(subset, metric) for row, (m, metric) in metrics.items()}
        by_row = {row: value for row, value in found.items() if value is not None}
        if by_row:
            n = max(value.n for value in by_row.values())
            dots[f"{name}\n({n:,} choices)"] = by_row
    rows = [row for row in (*models, YARDSTICK) if any(row in by_row for by_row in dots.values())]
    picture = summary_figures.headlines(
        dots,
        rows,
        chance=dict.fromkeys(dots, odd_one_out.CHANCE),
        ceilings=dict.fromkeys(dots, odd_one_out.PUBLISHED),
    )
    return page.Section(TITLE, [TEXT, page.Picture(picture, CAPTION)])


QUESTION = Question(
    headline=lambda _: [
        Headline("exact_or_hyponyms", "accuracy", "THINGS, by ILSVRC", odd_one_out.CHANCE)
    ],
    load=load,
    people=people,
    score=score,
    section=section,
)
