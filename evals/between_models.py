"""How alike are models' representations to each other? (002, Figure 3A)"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from alignet.data import human, judgments, things_choices
from alignet.errors import Absent
from evals.answers import PEOPLE, Answers, Question
from evals.models import Model, naming
from evals.options import Options
from evals.pages import between_figures, page
from evals.statistics import representations
from evals.statistics.intervals import Measured
from evals.statistics.representations import CKA, MEASURES, RSA

TITLE = "How alike are the models to each other?"
ARRAY = "/embeddings"
MOST_OBJECTS = 1000
# More models make too many pairs for a table, and for the measures that take long.
MOST_IN_TABLE = 6
CAPTION = (
    "Every pair of models; columns are numbered as the rows. RSA: rank correlation of the "
    "similarities of all pairs of objects. CKA: the same without ranks, so that the largest "
    "similarities count most. 1: the same representation; about 0: unrelated ones."
)
TABLE = (
    "RSA and CKA (about 0 for unrelated models) and Procrustes (the fit after the best rotation, "
    "higher the more features models have) compare the whole structure; mutual k-NN is the share "
    "of an object's ten nearest neighbours that two models have in common. 95 % intervals over "
    "objects."
)


class Objects(NamedTuple):
    """Objects to compare models on: a prefix for `Model.rows`, and what else that takes."""

    name: str
    ids: np.ndarray | None
    photographs: Path | UInt8[np.ndarray, "n h w 3"] | None


class Data(NamedTuple):
    """Attributes:
    sets: of objects.
    files: that name them.
    """

    sets: Sequence[Objects]
    files: tuple[Path, ...]


class Similarity(NamedTuple):
    """How alike two models are on a set of objects, by one measure."""

    first: str
    second: str
    set: str
    measure: str
    value: Measured


def load(data_dir: Path, options: Options) -> Data:
    """Takes the THINGS objects and the photographs of all judgments, whatever is there.

    Raises:
      Absent: there are neither.
      InputError: a file is malformed.
    """
    things = data_dir / "things"
    sets: list[Objects] = []
    files: list[Path] = []
    if things.is_dir():
        names = (things / name for name in human.ORDER_FILES)
        files += [path for path in names if path.is_file()]
        photographs = things_choices.photographs(data_dir)
        sets.append(Objects("things", human.object_ids(data_dir), photographs))
    for read in (
        judgments.load_peterson,
        judgments.load_king,
        judgments.load_cichy,
        judgments.load_kriegeskorte92,
    ):
        try:
            # People's matrices are not used.
            found = read(data_dir, mask_missing=True)
        except Absent:
            continue
        sets += [Objects(one.name, one.ids, one.photographs) for one in found]
        files += [path for one in found for path in one.files]
    if not sets:
        raise Absent(f"{data_dir}: has neither THINGS objects nor photographs of judgments.")
    return Data(sets, tuple(dict.fromkeys(files)))


def people(data: Data, options: Options) -> Answers:
    """Nothing is known of people here."""
    return Answers([], {}, [])


def score(data: Data, model: Model, options: Options) -> Answers:
    """Keeps a model's rows of each set, at most 1,000 of them and of every model the same.

    Raises:
      Absent: the model has no rows for any set, or too few.
      InputError: the rows are bad, or have no variance.
    """
    arrays: dict[str, np.ndarray] = {}
    reasons: list[Absent] = []
    for name, ids, photographs in data.sets:
        try:
            rows = model.rows(name, ids, photographs)
        except Absent as reason:
            reasons.append(reason)
            continue
        if len(rows) < representations.LEAST_OBJECTS:
            few = f"{len(rows)} objects are too few to compare representations on"
            reasons.append(Absent(f"{model.path}: {name}: {few}."))
            continue
        rng = np.random.default_rng(options.seed)
        drawn = np.sort(rng.permutation(len(rows))[:MOST_OBJECTS])
        arrays[name + ARRAY] = np.asarray(rows[drawn], np.float32)
    if not arrays:
        raise reasons[0]
    with naming(model.path):
        for rows in arrays.values():
            representations.check(rows)
    return Answers([], arrays, [])


def compute(
    answers: Mapping[str, Answers], *, measures: Sequence[str] = MEASURES
) -> list[Similarity]:
    """Compares every pair of models on every set that both have.

    Args:
      answers: of `score`, by model.
      measures: which, of `representations.MEASURES`.

    Returns:
      By set, pair of models and measure.

    Raises:
      InputError: two models' rows are not of the same objects.
    """
    result = []
    for name in _sets(answers):
        rows = {
            model: found.arrays[name + ARRAY]
            for model, found in answers.items()
            if name + ARRAY in found.arrays
        }
        if len(rows) < 2:
            continue
        found = representations.compare(list(rows.values()), measures=measures)
        for (i, first), (j, second) in itertools.combinations(enumerate(rows), 2):
            result += [
                Similarity(first, second, name, measure, similarities.pair(i, j))
                for measure, similarities in found.items()
            ]
    return result


def section(answers: Mapping[str, Answers]) -> page.Section:
    """Draws models against models, on the set of most objects that several of them have."""
    models = [name for name in answers if name != PEOPLE]
    few = len(models) <= MOST_IN_TABLE
    drawn = _most_shared(answers)
    if drawn is None:
        return page.Section(TITLE, [])
    models = [name for name in models if drawn in answers[name].arrays]
    shared = {name: Answers([], {drawn: answers[name].arrays[drawn]}, []) for name in models}
    found = compute(shared, measures=MEASURES if few else (RSA, CKA))
    blocks: list[str | page.Table | page.Picture] = [_words(found)]
    if len(models) > 2:
        matrices = {name: _matrix(found, models, name) for name in (RSA, CKA)}
        picture = between_figures.heat_maps(matrices, models)
        blocks.append(page.Picture(picture, CAPTION))
    if few:
        rows = [
            {"models": f"{first} – {second}"} | {one.measure: _number(one) for one in group}
            for (first, second), group in itertools.groupby(found, key=lambda one: one[:2])
        ]
        blocks.append(page.Table(rows, TABLE))
    return page.Section(TITLE, blocks)


def _most_shared(answers: Mapping[str, Answers]) -> str | None:
    """The array of the set that most models have rows for; of several, of most objects."""
    sizes: dict[str, list[int]] = {}
    for found in answers.values():
        for name, rows in found.arrays.items():
            if name.endswith(ARRAY):
                sizes.setdefault(name, []).append(len(rows))
    several = [name for name, lengths in sizes.items() if len(lengths) > 1]
    return max(several, key=lambda name: (len(sizes[name]), sizes[name][0]), default=None)


def _sets(answers: Mapping[str, Answers]) -> list[str]:
    names = (name for found in answers.values() for name in found.arrays if name.endswith(ARRAY))
    return [name.removesuffix(ARRAY) for name in dict.fromkeys(names)]


def _matrix(found: Sequence[Similarity], models: Sequence[str], measure: str) -> np.ndarray:
    result = np.eye(len(models))
    for first, second, _, name, value in found:
        if name == measure:
            i, j = models.index(first), models.index(second)
            result[i, j] = result[j, i] = value.value
    return result


def _words(found: Sequence[Similarity]) -> str:
    pairs = sorted(
        (one for one in found if one.measure == RSA), key=lambda one: one.value.value, reverse=True
    )
    most, least = pairs[0], pairs[-1]
    start = (
        f"This compares models with each other, not with people, on {most.value.n:,} objects "
        f"({most.set})."
    )
    if len(pairs) == 1:
        return (
            f"{start} How alike any two objects are to {most.first} and to {most.second} "
            f"correlates {_number(most)} (RSA)."
        )
    mean = np.mean([one.value.value for one in pairs])
    return (
        f"{start} Of {len(pairs)} pairs of models, {most.first} and {most.second} are the most "
        f"alike (RSA {_number(most)}), {least.first} and {least.second} the least (RSA "
        f"{_number(least)}); the mean is {_decimals(mean)}."
    )


def _number(one: Similarity) -> str:
    value, low, high = (_decimals(number) for number in one.value[:3])
    return f"{value}\u00a0[{low},\u00a0{high}]"


def _decimals(number: float | np.floating) -> str:
    # + 0.0: no negative zero.
    return f"{round(float(number), 2) + 0.0:.2f}".replace("-", "−")


QUESTION = Question(headline=lambda _: (), load=load, people=people, score=score, section=section)
