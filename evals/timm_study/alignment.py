"""How alike each model's similarities are to people's: three metrics on the sets of Peterson et al.

Pearson's and Spearman's correlation over the pairs of photographs of a set, and the share of its
anchored triplets "is i more like j or like k?" that are answered alike (000, Definition 3.5), all
of them: 842,520 of 120 photographs. A model's alignment is the mean over the sets (000, section 4).

Intervals are of the jackknife over photographs; those of Spearman's correlation keep the ranks that
all photographs give. Triplets that people leave undecided do not count, nor do those of the model.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float, Int, Int8

from alignet.data.embeddings import few
from alignet.data.judgments import JudgmentSet
from alignet.errors import Absent, InputError
from alignet.runtime.progress import progress
from evals import models
from evals.models import naming
from evals.statistics import concordance, intervals, rsa
from evals.statistics.intervals import Measured
from evals.statistics.resampled_pairs import one_blas_thread

METRICS = ("pearson", "spearman", "triplet")
MEAN = "mean"


class People(NamedTuple):
    """People's side of a set, prepared once for all models.

    Attributes:
      judged: the set.
      pairs: those that are known.
      similarity, ranks: of these pairs, less their means.
      order: of the triplets, see `concordance.triplet_order`.
    """

    judged: JudgmentSet
    pairs: Int[np.ndarray, "2 m"]
    similarity: Float[np.ndarray, " m"]
    ranks: Float[np.ndarray, " m"]
    order: Int8[np.ndarray, "n n n"]


def prepare(judged: JudgmentSet) -> People:
    """People's similarities as models are compared with them."""
    upper = np.array(np.triu_indices(len(judged.ids), 1))
    pairs = upper[:, np.isfinite(judged.similarity[*upper])]
    known = judged.similarity[*pairs]
    order = concordance.triplet_order(judged.similarity)
    return People(judged, pairs, _centred(known), _centred(scipy.stats.rankdata(known)), order)


def align(
    embeddings: Float[np.ndarray, "n p"], people: People, *, similarity: str = "cosine"
) -> dict[str, Measured]:
    """The three metrics on one set.

    Args:
      embeddings: of its photographs, in its order.
      people: of the set.
      similarity: "cosine" or "dot"; paper 000 names none.

    Raises:
      InputError: an embedding is zero, or all similarities are equal.
    """
    own = rsa.rsm(embeddings, kernel=similarity)
    n, known = len(own), own[*people.pairs]
    found = {}
    for metric, x, y in (
        ("pearson", known, people.similarity),
        ("spearman", scipy.stats.rankdata(known), people.ranks),
    ):
        value, without_each = _correlation(_centred(x), y, people.pairs, n)
        found[metric] = intervals.jackknife(value, without_each)
    order = concordance.triplet_order(own)
    found["triplet"] = intervals.jackknife(
        concordance.triplet_alignment(order, people.order),
        concordance.triplet_alignment_without_each(order, people.order),
    )
    return found


@one_blas_thread
def align_all(
    paths: Mapping[str, Path], sets: Sequence[JudgmentSet], *, similarity: str = "cosine"
) -> tuple[dict[str, dict[str, dict[str, Measured]]], list[str], list[str]]:
    """All models on all sets for which they have rows.

    Args:
      paths: of the models' embeddings, by name; see `from_embeddings`.
      sets: people's judgments.
      similarity: see `align`.

    Returns:
      By model, set ("peterson/animals", …) and metric, and as `MEAN` the mean over the sets that
      at least half as many models have as any, of models that have all of them; the names of these
      sets; and what is to be said of sets and models left out.

    Raises:
      InputError: rows are bad; the message names the model and the set.
    """
    peoples = [prepare(judged) for judged in sets]
    # NumPy parses headers with `ast`, which in Python 3.11 fails at times in two threads at once
    # ("AST constructor recursion depth mismatch").
    reading = threading.Lock()

    def one(path: Path) -> dict[str, dict[str, Measured]]:
        # Opened one after the other: the files of 491 models are more than may be open.
        with reading:
            [model] = models.from_embeddings(path)
        found = {}
        for people in peoples:
            judged = people.judged
            try:
                # No photographs: the study is of what was embedded before.
                with reading:
                    rows = model.rows(judged.name, judged.ids, None)
            except Absent as reason:
                # A file of this set that lacks some of its photographs was made of something else.
                if (path / f"{judged.name}.npz").is_file():
                    raise InputError(f"{path / judged.name}.npz: {reason}") from None
                continue
            with naming(f"{path}, {judged.name}"):
                found[judged.name] = align(rows, people, similarity=similarity)
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        each = pool.map(one, paths.values())
        listed = list(progress(each, total=len(paths), desc="alignment", unit=" model"))
    found = dict(zip(paths, listed, strict=True))
    having = {s.name: sum(s.name in one for one in listed) for s in sets}
    # A set that is only begun with would take the mean from all other models.
    used = [name for name, n in having.items() if n and 2 * n >= max(having.values())]
    notes = []
    for name, n in having.items():
        if name not in used:
            who = f"Only {n} of {len(paths)} models have" if n else "No model has"
            notes.append(f"{who} rows for {name}; it is not in the means.")
    whole = [name for name, one in found.items() if used and {*used} <= one.keys()]
    for name in whole:
        found[name][MEAN] = _mean([found[name][one] for one in used])
    part = [name for name in paths if name not in whole]
    if used and part:
        notes.append(
            f"{len(part)} of {len(paths)} models lack rows of a set and have no mean: "
            f"{few(part, 4)}."
        )
    return found, used, notes


def _mean(of_sets: Sequence[Mapping[str, Measured]]) -> dict[str, Measured]:
    return {
        metric: intervals.mean_of_independent([one[metric] for one in of_sets])
        for metric in METRICS
    }


def _centred(x: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    return x - x.mean()


def _correlation(
    x: Float[np.ndarray, " m"], y: Float[np.ndarray, " m"], pairs: Int[np.ndarray, "2 m"], n: int
) -> tuple[float, Float[np.ndarray, " n"]]:
    """Pearson's correlation over pairs of objects, and the same without one object after the other.

    Args:
      x, y: of the pairs, about their means: what is left of sums without an object loses no digits.
      pairs: the two objects of each.
      n: number of objects.
    """
    sums = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])
    total = sums.sum(axis=1)
    of_object = np.array(
        [sum(np.bincount(side, values, minlength=n) for side in pairs) for values in sums]
    )
    everything = np.column_stack([total, total[:, None] - of_object])
    m, sx, sy, sxx, syy, sxy = everything
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (sxy - sx * sy / m) / np.sqrt((sxx - sx**2 / m) * (syy - sy**2 / m))
    return float(r[0]), r[1:]
