"""What answers of each kind are worth: measured for the figure and the claims of `labels`."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import labels, labels_answers, labels_learning
from theory.labels import Kind
from theory.labels_learning import Learnt
from theory.plots import Effort

N, D = 20, 3  # shared objects, and their dimensions
PLACES = {True: 500, False: 2000}  # where a new object may be
OBJECTS = {True: 100, False: 400}  # new ones
SETS = {True: 16, False: 32}  # of classes that stay the same
QUESTIONS = {True: 16, False: 128}  # about random classes
TAUS = {True: (0.0, 1.0), False: (0.0, 1.0, 4.0)}
SHOWN = 1.0  # the temperature of the curves
KINDS = {
    "triplet": labels.triplet(),
    "odd one out": labels.odd_one_out(),
    "label, K = 4": labels.label(4),
    "rating, L = 7": labels.rating(7),
    "ranking, K = 4": labels.ranking(4),
}
COUNTS = (0, 1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64, 90, 128)
TARGET = 0.9
CLASSES = {True: (2, 4), False: (2, 3, 4, 5, 8, 12, 16)}
RANKED = {True: (4,), False: (2, 3, 4, 5)}
REPEATED = 64  # labels of the same classes


class Worth(NamedTuple):
    """Attributes:
    bits: of each question, before any answer.
    mean: over questions.
    learnt: from random questions.
    cost: answers until `TARGET` of the questions about a new object are answered right.
    gained: bits that are known of its place by then.
    """

    bits: Float[np.ndarray, " q"]
    mean: Measured
    learnt: Learnt
    cost: Measured
    gained: float


Found = dict[float, dict[str, Worth]]  # by temperature and kind
Fixed = dict[str, dict[int, Measured]]  # by what is said, and number of classes


def world(effort: Effort) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    """The shared objects, and the places where a new one may be: all drawn alike."""
    rng = np.random.default_rng(effort.seed)
    return rng.normal(size=(N, D)), rng.normal(size=(PLACES[effort.fast], D))


def worth(kind: Kind, x: np.ndarray, c: np.ndarray, tau: float, effort: Effort) -> Worth:
    """What answers of a kind say, first and together."""
    # The same for every kind, so that all are asked about the same new objects, and labels and
    # rankings show the same classes.
    rng, learner, bootstrap = (np.random.default_rng((effort.seed, i)) for i in range(3))
    shown = questions(kind, QUESTIONS[effort.fast], rng)
    log_p = labels_answers.log_likelihoods(kind, shown, x, c, tau=tau)
    bits = np.asarray(labels_answers.information(log_p), np.float64)
    asked = in_turn(len(shown), OBJECTS[effort.fast], COUNTS[-1], rng)
    learnt = labels_learning.learn(log_p, x, c, asked, counts=COUNTS, rng=learner)
    cost = labels_learning.cost(learnt, TARGET, bootstrap)
    gained = float(np.interp(cost.value, learnt.counts, learnt.bits.mean(axis=1)))
    return Worth(bits, intervals.mean(bits), learnt, cost, gained)


def fixed_classes(x: np.ndarray, c: np.ndarray, effort: Effort) -> Fixed:
    """The alignment that labels lead to where the classes stay the same."""
    found = {"label": {}, "said again": {}, "noisy": {}, "ranking": {}}
    for k in CLASSES[effort.fast]:
        rng = np.random.default_rng((effort.seed, k))
        shown = rng.permuted(np.tile(np.arange(N), (SETS[effort.fast], 1)), axis=1)[:, :k]
        objects = np.arange(OBJECTS[effort.fast])
        asked = np.repeat(objects[:, None] % len(shown), REPEATED, axis=1)
        certain, noisy = (
            labels_answers.log_likelihoods(labels.label(k), shown, x, c, tau=tau)
            for tau in (0, SHOWN)
        )
        found["label"][k] = intervals.mean(labels_learning.after_one(certain, x, c))
        learnt = labels_learning.learn(certain, x, c, asked, counts=(1, REPEATED), rng=rng)
        found["said again"][k] = intervals.mean(learnt.alignment[1] - learnt.alignment[0])
        learnt = labels_learning.learn(noisy, x, c, asked, counts=(REPEATED,), rng=rng)
        found["noisy"][k] = intervals.mean(learnt.alignment[0])
        if k in RANKED[effort.fast]:
            ranked = labels_answers.log_likelihoods(labels.ranking(k), shown, x, c, tau=0)
            found["ranking"][k] = intervals.mean(labels_learning.after_one(ranked, x, c))
    return found


def right(x: np.ndarray, c: np.ndarray, effort: Effort) -> dict[str, float]:
    """The share of the triplets said by noise-free answers that are so."""
    rng = np.random.default_rng(effort.seed)
    places = c[: OBJECTS[effort.fast]]
    points = np.stack([np.vstack([x, place]) for place in places])
    squares = ((points[:, :, None] - points[:, None]) ** 2).sum(axis=-1)
    found = {}
    for name, kind in KINDS.items():
        shown = questions(kind, QUESTIONS[effort.fast], rng)
        log_p = labels_answers.log_likelihoods(kind, shown, x, c, tau=0)
        outcomes = np.asarray(log_p)[:, :, : len(places)].argmax(axis=1).T
        if kind.name == "rating":
            said = [labels.rating_triplets(shown[:, 0], one) for one in outcomes]
        else:
            said = [labels.said(kind, shown, one).reshape(-1, 3) for one in outcomes]
        so = [s[i, j] < s[i, k] for s, (i, j, k) in zip(squares, [t.T for t in said], strict=True)]
        found[name] = float(np.concatenate(so).mean())
    return found


def as_without(x: np.ndarray, c: np.ndarray, tau: float) -> float:
    """The share of triplet questions that are answered at a temperature as without noise."""
    shown = np.stack(np.triu_indices(N, 1), axis=1)
    log_p = labels_answers.log_likelihoods(labels.triplet(), shown, x, c, tau=tau)
    return float(np.exp(log_p).max(axis=1).mean())


def _predicted(
    of: dict[str, Worth], each: dict[str, int] | dict[str, float]
) -> dict[str, Measured]:
    one = of["triplet"].cost
    return {
        name: Measured(*(end * each["triplet"] / value for end in one[:3]), one.n)
        for name, value in each.items()
        if value and name != "triplet"
    }


def by_triplets(of: dict[str, Worth]) -> dict[str, Measured]:
    """What answers would cost, were each worth the triplets that it says."""
    return _predicted(of, {name: kind.triplets for name, kind in KINDS.items()})


def by_bits(of: dict[str, Worth]) -> dict[str, Measured]:
    """What answers would cost, were each worth the bits that a first one says."""
    return _predicted(of, {name: one.mean.value for name, one in of.items()})


def off(found: Found, by: Callable[[dict[str, Worth]], dict[str, Measured]]) -> float:
    """By what factor a prediction of costs is off at most."""
    ratios = [
        one.value / of[name].cost.value for of in found.values() for name, one in by(of).items()
    ]
    return float(np.exp(np.abs(np.log(ratios)).max()))


def questions(kind: Kind, n: int, rng: np.random.Generator) -> Int[np.ndarray, "q k"]:
    """All questions about one object or about two; n random ones about more."""
    if kind.shown == 1:
        return np.arange(N)[:, None]
    if kind.shown == 2:
        return np.stack(np.triu_indices(N, 1), axis=1)
    return rng.permuted(np.tile(np.arange(N), (n, 1)), axis=1)[:, : kind.shown]


def in_turn(q: int, objects: int, a: int, rng: np.random.Generator) -> Int[np.ndarray, "o a"]:
    """For each new object all q questions in random order, and again, until there are a."""
    order = rng.permuted(np.tile(np.arange(q), (objects, 1)), axis=1)
    return np.tile(order, math.ceil(a / q))[:, :a]


def at(tau: float) -> str:
    """A temperature in words."""
    return f"τ = {tau:g}"
