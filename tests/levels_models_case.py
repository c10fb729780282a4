"""Loaded Levels studies, and models whose similarities, and so whose answers, are known."""

from pathlib import Path

import numpy as np

from evals import levels
from evals.models import Model
from evals.options import Options
from tests import levels_case

QUICK = Options(resamples=50)
KINDS = ("coarse", "fine", "boundary")
VOTES = np.array([[5, 0, 0], [0, 4, 1], [2, 0, 3], [1, 3, 1], [2, 2, 1], [1, 2, 2], [0, 0, 5]])


class Rows(Model):
    """A model with a row for every photograph."""

    def __init__(self, ids, rows, name="model"):
        super().__init__(name, Path(f"{name}.npz"), [], None)
        self._row = dict(zip(np.asarray(ids).tolist(), rows, strict=True))
        self.asked = None

    def _rows(self, prefix, ids, photographs):
        self.asked = prefix, photographs
        return np.array([self._row[name] for name in ids.tolist()], np.float64), None


def model_with(data, similarities, name="model"):
    """A model whose similarities of the study's triplets are exactly these.

    For studies in which every photograph is in one triplet.
    """
    ij, ik, jk = np.asarray(similarities, np.float64).T
    one, none = np.ones_like(ij), np.zeros_like(ij)
    rows = np.array([[ij, ik, none], [one, none, jk], [none, one, one]]).transpose(2, 0, 1)
    ids = data.study.ids[data.study.triplets]
    return Rows(ids.ravel(), rows.reshape(-1, 3), name)


def model_of_shares(data, shares, name="model"):
    """A model that gives every answer the probability `shares`, with the odd one out by column."""
    with np.errstate(divide="ignore"):
        return model_with(data, np.maximum(np.log(shares), -60)[:, ::-1], name)


def study(tmp_path, votes, kind="coarse", options=QUICK):
    levels_case.write_votes(tmp_path, np.asarray(votes), kind)
    return levels.load(tmp_path, options)


def mixed_study(folder):
    """A small study of all three types, with response times that go with disagreement."""
    sizes = {"coarse": (60, 3), "fine": (55, 4), "boundary": (40, 0)}
    made = levels_case.write_study(folder, sizes, people=8, glitches=1, trials=95)
    return made, levels.load(folder, QUICK)


def mixed_folder(mixed):
    return mixed[1].files[0].parents[1]
