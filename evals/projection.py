"""What does a model's space of images look like? Maps of it, coloured by kind. (002, B.3.1)

Arrays of a model: "pca" [n, 4], scores on the first principal components; "explained", the shares
of variance of the first 32; "trimap" and "pacmap" [n, 2], where their libraries are installed.
Of people there are "superordinates", names of kinds, and "superordinate" [n], the place of each
photograph's kind among them or −1.

Scores are shares of variance. They have no interval: in a resample of the photographs, copies of
the same ones make any space look flatter than it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from alignet.data import imagenet, wordnet
from alignet.data.labelled import Labelled
from alignet.errors import Absent
from evals.answers import VISION, Answers, Question, Score
from evals.models import Model, naming
from evals.options import Options
from evals.pages import projection_page
from evals.pages.projection_page import EXPLAINED
from evals.statistics import projections
from evals.statistics.intervals import Measured

# Those of paper 002, Figure 22; there are not enough colours for more.
SUPERORDINATES = wordnet.SUPERORDINATES[:7]
N_SCORES = 4  # Figures 18 and 19
N_EXPLAINED = 32  # Figure 18
MAPS = {"trimap": projections.trimap, "pacmap": projections.pacmap}


class Data(NamedTuple):
    """Attributes:
    photographs: whose rows are drawn.
    superordinate: of each, a place in `SUPERORDINATES`, or −1.
    files: of the hierarchy.
    fingerprints: of the photographs.
    """

    photographs: Labelled
    superordinate: Int[np.ndarray, " n"]
    files: tuple[Path, ...]
    fingerprints: Mapping[str, str]


def load(data_dir: Path, options: Options) -> Data:
    """Finds photographs of ImageNet's classes, and what kind of thing these are.

    Raises:
      Absent: there are no photographs, or no hierarchy.
      InputError: they are malformed.
    """
    photographs = imagenet.photographs(data_dir, options.imagenet, options.cache)
    hierarchy = wordnet.load(data_dir)
    names = wordnet.levels(hierarchy, photographs.classes).superordinate.tolist()
    kinds = [SUPERORDINATES.index(name) if name in SUPERORDINATES else -1 for name in names]
    return Data(
        photographs,
        np.array(kinds)[photographs.labels],
        (*hierarchy.files, *photographs.files),
        {photographs.name: photographs.fingerprint},
    )


def people(data: Data, options: Options) -> Answers:
    """What the photographs show."""
    arrays = {
        "superordinates": np.array(SUPERORDINATES),
        "superordinate": data.superordinate,
        "photographs": np.array(data.photographs.digest),
    }
    return Answers([], arrays, [])


def score(data: Data, model: Model, options: Options) -> Answers:
    """Draws up the maps of one model's space.

    Raises:
      Absent: the model lacks rows of the photographs.
      InputError: the rows are bad, or all equal.
    """
    photographs = data.photographs
    rows = model.lookup(photographs.name, photographs.ids, photographs.source)
    with naming(model.path):
        scores, shares = projections.pca(rows, projections.N_INPUTS)
    # A space of few dimensions has nothing in the others.
    scores = np.pad(scores, ((0, 0), (0, max(0, N_SCORES - scores.shape[1]))))
    n = len(scores)
    arrays = {
        "pca": scores[:, :N_SCORES].astype(np.float32),
        "explained": shares[:N_EXPLAINED],
    }
    notes = []
    for name, draw in MAPS.items():
        if n < projections.FEWEST:
            notes.append(f"{name} is left out: {n} photographs are too few for it.")
            continue
        try:
            # Larger seeds would be refused.
            arrays[name] = draw(scores, seed=options.seed % 2**31)
        except Absent as reason:
            notes.append(f"{name} is left out: {reason}")
    measured = [
        Score("all", metric, Measured(float(shares[:m].sum()), np.nan, np.nan, n))
        for m, metric in EXPLAINED.items()
    ]
    return Answers(measured, arrays, notes)


QUESTION = Question(
    headline=lambda answers: (),
    load=load,
    people=people,
    score=score,
    section=projection_page.section,
    family=VISION,
)
