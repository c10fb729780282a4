"""Few-shot data sets of flat colours, models that see them, and answers for reports."""

from pathlib import Path

import numpy as np

from alignet.data.images import decode
from evals import fewshot
from evals.answers import PEOPLE, Answers, Score
from evals.models import Model
from evals.options import FewShot, Options
from evals.pages import fewshot_page
from evals.statistics.intervals import Measured


class Seeing(Model):
    """Embeds every picture that it is shown by its mean colour, in many columns."""

    def __init__(self, name="seeing"):
        super().__init__(name, Path(f"{name}.npz"), [], None)
        self.shown = {}

    def _rows(self, prefix, ids, photographs):
        self.shown[prefix] = (photographs.name, ids.tolist())
        read = [photographs.read(place) for place in range(photographs.n)]
        assert [name for name, _ in read] == ids.tolist()
        level = np.array([np.asarray(decode(picture)[0]).mean() for _, picture in read])
        rows = np.exp(-((level[:, None] - np.arange(0, 256, 5)) ** 2) / 50)
        return rows.astype(np.float32), None


class Given(Model):
    """Has these rows, by set."""

    def __init__(self, name="given", **rows):
        super().__init__(name, Path(f"{name}.npz"), [], None)
        self.rows_of = rows

    def _rows(self, prefix, ids, photographs):
        return self.rows_of[prefix][ids.astype(int)], None


def write(folder, name, labels, **arrays):
    """An `.npz` of labels for rows that are called 0, 1, …."""
    ids = np.arange(len(labels)).astype(str)
    np.savez(folder / f"{name}.npz", ids=ids, labels=np.asarray(labels), **arrays)


def load(folder, *names, **chosen):
    """Data sets, and the options that they were opened with."""
    seed, cache = chosen.pop("seed", 0), chosen.pop("cache", None)
    options = Options(fewshot=FewShot(data=names, **chosen), seed=seed, cache=cache)
    return fewshot.load(folder, options), options


def answers(models, sets, shots, heads):
    """Made-up answers of several models."""
    rng = np.random.default_rng(0)
    known = {fewshot_page.CLASSES: 20.0, fewshot_page.CHANCE: 0.05}
    people = [
        Score(f"set{i}", key, Measured(value, np.nan, np.nan, 9))
        for i in range(sets)
        for key, value in known.items()
    ]
    result = {PEOPLE: Answers(people, {}, [])}
    every = [*heads, *(f"ridge{fewshot_page.STRENGTH}{l2}" for l2 in (16, 1024))]
    for model in range(models):
        scores = []
        for subset in [*(f"set{i}" for i in range(sets)), *([fewshot_page.ALL] * (sets > 1))]:
            for head in every:
                for n in shots:
                    value = rng.random()
                    measured = Measured(value, value - 0.1, value + 0.1, 9)
                    scores.append(Score(subset, fewshot_page.metric(head, n), measured))
        result[f"model {model}"] = Answers(scores, {}, [])
    return result
