"""The hierarchy of concepts: are things of a kind close to each other, and closer than kinds are?

Photographs of ImageNet's classes are related by WordNet: of the same class, of the same basic-level
category (two dogs), of the same superordinate category (a dog and a fish), or different (a dog and
a chair). Distances are Euclidean, of rows scaled to unit length if the similarity chosen is the
cosine, and relative: divided by the mean over all pairs, so that a model's scale says nothing.
What alignment changed is the change of a pair's relative distance, in standard deviations of the
changes of all pairs (paper 002, 2.3, 4.4 and B.3.2, Figs. 3, 21, 22).

The subset is "all", and "triplets" of people, who were not asked: what the triplets of an AligNet
dataset are made of. Arrays: of people, "all/counts", "all/basic" and "all/superordinate" by class,
"all/pairs" by relation, "all/relations" of the pairs drawn, codes of `relations.RELATIONS`, and
"triplets/counts"; of a model, "all/means", relative distances by class, and "all/distances" of the
pairs drawn. "all/photographs" tells whether two runs used the same ones.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from alignet.data import imagenet, wordnet
from alignet.data.alignet_triplets import load_triplets
from alignet.data.labelled import Labelled
from alignet.errors import InputError
from alignet.runtime import stages
from evals.answers import VISION, Answers, Question, Score
from evals.models import Model, Rows, naming
from evals.options import Options
from evals.pages import hierarchy_page
from evals.pages.hierarchy_page import DISTANCE, GAP
from evals.statistics import intervals, relations, resamples
from evals.statistics.relations import KNOWN, RELATIONS, UNKNOWN

MOST_PAIRS = 600_000  # whose distances are kept: all of 1,000 photographs. Ours
ROWS_A_BLOCK = 4096
# Triplets whose names are looked at in one go.
TRIPLETS_A_BLOCK = 100_000
WNID = re.compile(r"(?:^|/)(n\d{8})(?=[_./]|$)")


class Triplets(NamedTuple):
    """Attributes:
    counts: by the relation of the similar pair, then of the odd one out.
    n: of the data set, with those whose classes are not known.
    """

    counts: Int[np.ndarray, "k k"]
    n: int


class Data(NamedTuple):
    """Attributes:
    photographs: as they come.
    order: of their places, so that they are sorted by class.
    classes: of the photographs in that order, places among `photographs.classes`.
    levels: of the classes.
    relation: of the classes.
    pairs: drawn of the photographs in that order.
    weights: how often each class is drawn: 1, and then in each resample.
    triplets: of an AligNet dataset, if there is one.
    files: of WordNet, and of the triplets.
    fingerprints: of the photographs.
    """

    photographs: Labelled
    order: Int[np.ndarray, " n"]
    classes: Int[np.ndarray, " n"]
    levels: wordnet.Levels
    relation: Int[np.ndarray, "c c"]
    pairs: relations.Pairs
    weights: Int[np.ndarray, "r c"]
    triplets: Triplets | None
    files: tuple[Path, ...]
    fingerprints: Mapping[str, str]


########################################## Data ##########################################


def load(data_dir: Path, options: Options) -> Data:
    """Reads WordNet and the photographs' classes, and counts an AligNet dataset's triplets.

    Raises:
      Absent: WordNet or the photographs are not there.
      InputError: a file is malformed, there is a class that WordNet does not have, or no triplet
        has the WordNet ids of its photographs in their names.
    """
    net = wordnet.load(data_dir)
    found = imagenet.photographs(data_dir, options.imagenet, options.cache)
    levels = wordnet.levels(net, found.classes)
    relation = _relations(levels)
    order = np.argsort(found.labels, kind="stable")
    classes = found.labels[order]
    pairs = relations.draw_pairs(classes, relation, most=MOST_PAIRS, seed=options.seed)
    c = len(found.classes)
    drawn = resamples.draw(c, resamples=options.resamples, seed=options.seed)
    return Data(
        photographs=found,
        order=order,
        classes=classes,
        levels=levels,
        relation=relation,
        pairs=pairs,
        weights=np.vstack([np.ones((1, c), np.int64), drawn]),
        triplets=_triplets(options.triplets, net) if options.triplets else None,
        files=(*net.files, *found.files, *([options.triplets] if options.triplets else [])),
        fingerprints={found.name: found.fingerprint},
    )


def _relations(levels: wordnet.Levels) -> np.ndarray:
    number = {name: place for place, name in enumerate(wordnet.SUPERORDINATES)}
    superordinate = np.array([number.get(name, -1) for name in levels.superordinate.tolist()])
    return relations.relations(np.unique(levels.basic, return_inverse=True)[1], superordinate)


def _triplets(path: Path, net: wordnet.WordNet) -> Triplets:
    names = load_triplets(path).filenames
    wnids: dict[str, int] = {}

    @functools.cache
    def number(name: str) -> int:
        found = WNID.search(name)
        if found is None or found[1] not in net.names:
            return -1
        return wnids.setdefault(found[1], len(wnids))

    # Lists of a part at a time: as Python's, all names would be several times as large.
    blocks = [
        [[number(name) for name in row] for row in names[start : start + TRIPLETS_A_BLOCK].tolist()]
        for start in range(0, len(names), TRIPLETS_A_BLOCK)
    ]
    classes = np.concatenate([np.array(block) for block in blocks])
    known = classes[(classes >= 0).all(axis=1)]
    if not len(known):
        raise InputError(
            f"{path}: no triplet has the WordNet ids of its three photographs in their names, as "
            f"in {str(names[0, 0])!r:.80}; expected names such as n01440764/n01440764_10026.JPEG."
        )
    relation = _relations(wordnet.levels(net, list(wnids)))
    return Triplets(relations.triplet_relations(relation, known), len(names))


########################################## Answers ##########################################


def people(data: Data, options: Options) -> Answers:
    """What is related to what; nothing is asked of people here."""
    levels, counts = data.levels, np.bincount(data.classes)
    ones = data.weights[:1]
    pairs = relations.by_relation(relations.count_pairs(counts), data.relation, ones)[0]
    arrays = {
        "all/photographs": _photographs(data, options),
        "all/counts": counts,
        "all/basic": levels.basic,
        "all/superordinate": levels.superordinate,
        "all/pairs": pairs.astype(np.int64),
        "all/relations": data.pairs.relation.astype(np.int8),
    }
    known = int((levels.superordinate != "").sum())
    notes = [
        f"{len(data.classes):,} photographs ({data.photographs.name}) of {len(counts):,} classes "
        f"in {len(np.unique(levels.basic)):,} basic-level categories; {known:,} classes are in "
        f"{len(np.unique(levels.superordinate[levels.superordinate != ''])):,} superordinate "
        "categories. Pairs with one of the others count only where they are of the same class or "
        f"basic-level category: of {pairs[UNKNOWN]:,.0f} it is not known how they are related."
    ]
    if options.similarity == "cosine":
        notes.append("Rows are scaled to unit length before their distances are taken.")
    scores = []
    if data.triplets:
        arrays["triplets/counts"] = table = data.triplets.counts
        total = int(np.delete(np.delete(table, UNKNOWN, 0), UNKNOWN, 1).sum())
        if total:
            scores = [
                Score("triplets", f"{RELATIONS[i]}, {RELATIONS[j]}", intervals.proportion(n, total))
                for i in KNOWN
                for j in KNOWN
                if (n := int(table[i, j]))
            ]
        notes.append(
            f"{options.triplets}: relations are known in {total:,} of {data.triplets.n:,} "
            f"triplets; {data.triplets.n - int(table.sum()):,} have photographs without a WordNet "
            "id in their name."
        )
    return Answers(scores, arrays, notes)


def score(data: Data, model: Model, options: Options) -> Answers:
    """Mean relative distances by relation, and the gaps between them, of one model.

    Raises:
      Absent: the model has no rows for the photographs.
      InputError: the rows are bad, or all alike.
    """
    photographs = data.photographs
    rows = model.lookup(photographs.name, photographs.ids, photographs.source)
    with naming(model.path):
        x = _standardised(rows, data.order, unit=options.similarity == "cosine")
    sums = relations.class_sums(x, data.classes)
    pairs, distances, squares = (
        relations.by_relation(matrix, data.relation, data.weights) for matrix in sums
    )
    # A resample of few classes may lack a relation, or have no spread.
    with np.errstate(invalid="ignore", divide="ignore"):
        scale, square = (m.sum(axis=1) / pairs.sum(axis=1) for m in (distances, squares))
        means = distances / pairs / scale[:, None]
        spread = np.sqrt((square / scale**2 - 1).clip(0))
        values = {
            DISTANCE.format(RELATIONS[code]): means[:, code] for code in KNOWN if pairs[0, code]
        }
        for near, far in itertools.pairwise([code for code in KNOWN if pairs[0, code]]):
            gap = GAP.format(far=RELATIONS[far], near=RELATIONS[near])
            values[gap] = (means[:, far] - means[:, near]) / spread
        by_class = sums.distances / sums.pairs / scale[0]
    drawn = relations.distances(x, data.pairs) / scale[0]
    arrays = {
        "all/photographs": _photographs(data, options),
        "all/means": by_class.astype(np.float32),
        "all/distances": drawn.astype(np.float32),
    } | {f"all/{metric}/samples": found[1:] for metric, found in values.items()}
    scores = [
        Score("all", metric, intervals.percentile(found[0], found[1:], len(by_class)))
        for metric, found in values.items()
    ]
    return Answers(scores, arrays, [])


def _photographs(data: Data, options: Options) -> np.ndarray:
    """What tells the photographs, their classes and the pairs drawn of them from others."""
    found = data.photographs
    wnids = [found.classes[label] for label in data.classes.tolist()]
    return np.array(stages.config_hash([found.ids[data.order].tolist(), wnids, options.seed]))


def _standardised(
    rows: Rows, order: Int[np.ndarray, " n"], *, unit: bool
) -> Float32[np.ndarray, "n p"]:
    """Rows about the origin, of root mean square norm 1: in float32 distances keep their digits."""
    n, p = rows.shape

    def blocks() -> Iterator[tuple[slice, Float[np.ndarray, "k p"]]]:
        for start in range(0, n, ROWS_A_BLOCK):
            part = slice(start, min(start + ROWS_A_BLOCK, n))
            block = np.asarray(rows[order[part]], np.float64)
            if unit:
                norms = np.linalg.norm(block, axis=1, keepdims=True)
                if not norms.all():
                    place = order[start + int(np.argmin(norms))]
                    raise InputError(
                        f"the row of photograph {place + 1:,} is all "
                        "zeros, which has no cosine with others; expected another, or the "
                        "similarity dot."
                    )
                block = block / norms
            yield part, block

    mean = sum(block.sum(axis=0) for _, block in blocks()) / n
    square = sum(((block - mean) ** 2).sum() for _, block in blocks()) / n
    # Equal rows leave rounding errors behind, not zeros.
    if square <= 1e-24 * (mean @ mean):
        raise InputError("the rows of all photographs are equal; expected rows that differ.")
    result = np.empty((n, p), np.float32)
    for part, block in blocks():
        result[part] = (block - mean) / np.sqrt(square)
    return result


QUESTION = Question(
    headline=lambda _: (),
    load=load,
    people=people,
    score=score,
    section=hierarchy_page.section,
    family=VISION,
    change=hierarchy_page.change,
)
