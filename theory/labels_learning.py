"""How many answers of a kind it takes until Bob knows where a new object is (see `theory.labels`).

Bob holds c to be at one of m places, all as likely beforehand, and updates by Bayes' rule after
each answer. What he knows is measured as the share of the n(n−1)/2 questions about c, "is it nearer
to j than to k?", that he then answers right, going by where most of his belief lies; undecided is
wrong. This is the alignment (000, Definition 3.5) on the triplets that are anchored at c.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from alignet.errors import InputError
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import checks, labels_answers

# Belief in one answer less that in the other is undecided below this: float32 sums of thousands of
# places are off by less.
UNDECIDED = 1e-5
RESAMPLES = 1000


class Learnt(NamedTuple):
    """What Bob knows of o new objects after some numbers of answers.

    Attributes:
      counts: these numbers of answers.
      alignment: the share of questions about each object that he answers right.
      bits: what he has learnt of its place: log₂ m less the entropy of what he believes. For one
        object that may be less than nothing, or more than was said; on average it is neither.
    """

    counts: Int[np.ndarray, " t"]
    alignment: Float[np.ndarray, "t o"]
    bits: Float[np.ndarray, "t o"]


def learn(
    log_p: Float[Array, "q outcomes m"],
    x: Real[np.ndarray, "n d"],
    c: Real[np.ndarray, "_ _"],
    asked: Int[np.ndarray, "o a"],
    *,
    counts: Sequence[int],
    rng: np.random.Generator,
) -> Learnt:
    """Places o new objects, has Alice answer the questions about each, and Bob learn from that.

    Args:
      log_p: of `labels_answers.log_likelihoods` for x and c: by these Alice answers, as Bob knows.
      x: the n shared objects.
      c: the m places at which a new object may be; each is at a random one.
      asked: for each new object the numbers of its questions, 0 to q − 1.
      counts: after how many of its answers to look, ascending, at most a.
      rng: of places and answers.

    Raises:
      InputError: a question or a count is not among these, log_p is of other places, or as of
        `labels_answers.similarities`.
    """
    q, _, m = log_p.shape
    if asked.size and (asked.min() < 0 or asked.max() >= q):
        raise InputError(f"asked is from {asked.min()} to {asked.max()}; expected 0 to {q - 1}.")
    ends = np.array([0, *counts])
    if (np.diff(ends) < 0).any() or ends[-1] > asked.shape[1] or len(ends) == 1:
        raise InputError(
            f"counts are {list(counts)}; expected ascending ones, at most {asked.shape[1]}, the "
            "number of answers."
        )
    signs = _signs(log_p, x, c)
    truth = rng.integers(m, size=len(asked))
    told = np.asarray(log_p)
    # Of logarithms + Gumbel noise the largest is a draw by their probabilities.
    chances = told[asked, :, truth[:, None]]
    answers = (chances + rng.gumbel(size=chances.shape)).argmax(axis=-1)
    believed = np.full((len(asked), m), -math.log(m), np.float32)
    alignment, bits = [], []
    for start, end in itertools.pairwise(ends):
        for i in range(start, end):
            believed += told[asked[:, i], answers[:, i]]
        believed, *known = map(np.array, _known(believed, signs, truth))
        alignment.append(known[0])
        bits.append(known[1])
    return Learnt(ends[1:], *(np.array(one, np.float64) for one in (alignment, bits)))


def _signs(log_p: Float[Array, "q outcomes m"], x: np.ndarray, c: np.ndarray) -> np.ndarray:
    if len(c) != log_p.shape[-1]:
        raise InputError(
            f"c has {len(c)} places and log_p is of {log_p.shape[-1]}; expected the same ones."
        )
    return nearer(x, c)


@jax.jit
def _known(
    believed: Float[Array, "o m"], signs: Float[Array, "m p"], truth: Int[Array, " o"]
) -> tuple[Float[Array, "o m"], Float[Array, " o"], Float[Array, " o"]]:
    """Logarithms of belief in each place, so that it sums to 1; what is answered right; bits."""
    believed = jax.nn.log_softmax(believed, axis=1)
    margins = jnp.matmul(jnp.exp(believed), signs, precision="highest")
    right = (margins * signs[truth] > UNDECIDED).mean(axis=1)
    return believed, right, math.log2(signs.shape[0]) - labels_answers.entropy(believed)


def nearer(x: Real[np.ndarray, "n d"], c: Real[np.ndarray, "m _"]) -> Float[np.ndarray, "m p"]:
    """The right answers to all n(n−1)/2 questions about c, were it at each of m places.

    Returns:
      1 where it is nearer to the first of a pair, −1 where to the second; pairs in the order of
      `np.triu_indices`, in float32.

    Raises:
      InputError: as of `labels_answers.similarities`.
    """
    s = labels_answers.similarities(x, c)
    first, second = np.triu_indices(len(s), 1)
    return np.sign(s[first] - s[second]).T.astype(np.float32)


def after_one(
    log_p: Float[Array, "q outcomes m"], x: Real[np.ndarray, "n d"], c: Real[np.ndarray, "_ _"]
) -> Float[np.ndarray, " q"]:
    """The alignment that is expected after one answer to each question; exact.

    Args, Raises: as of `learn`, which draws answers.
    """
    signs = _signs(log_p, x, c)
    q, outcomes, m = log_p.shape
    p = np.exp(np.asarray(log_p).reshape(-1, m))
    margins = p @ signs
    undecided = np.abs(margins) <= UNDECIDED * p.sum(axis=1, keepdims=True)
    decided = np.where(undecided, 0, np.sign(margins))
    # Where d questions are decided, (d + Σ decided · right) / 2 of them are right.
    right = (np.abs(decided).sum(axis=1, keepdims=True) + decided @ signs.T) / (2 * signs.shape[1])
    return (p * right).reshape(q, outcomes, m).sum(axis=1).mean(axis=1, dtype=np.float64)


def cost(learnt: Learnt, target: float, rng: np.random.Generator) -> Measured:
    """Answers until the alignment, averaged over new objects, is as high as the target.

    Between the numbers of answers after which Bob was looked at, it is taken to be linear.

    Args:
      learnt: of `learn`; counts start at 0.
      target: alignment, 0 to 1.
      rng: of the bootstrap over new objects.

    Returns:
      Answers with their interval; infinite where that many were not given.

    Raises:
      InputError: the target is none.
    """
    level = float(checks.probability(target, "target"))
    o = learnt.alignment.shape[1]
    weights = rng.multinomial(o, np.full(o, 1 / o), size=RESAMPLES)
    curves = np.vstack([np.ones(o), weights]) @ learnt.alignment.T / o
    # By chance a mean can fall again; what counts is when it first was as high.
    needed = np.array([
        np.interp(level, curve, learnt.counts, right=math.inf)
        for curve in np.maximum.accumulate(curves, axis=1)
    ])  # fmt: skip
    low, high = np.quantile(needed[1:], intervals.TAILS, method="inverted_cdf")
    return Measured(float(needed[0]), float(low), float(high), o)
