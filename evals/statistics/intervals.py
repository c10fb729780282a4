"""A measured number and its 95 % interval.

Most are bootstrap percentile intervals. That of a proportion needs no sampling: among n answers
drawn with replacement from n of which k are right, the number of right ones is Binomial(n, k/n), so
the interval's ends are that distribution's quantiles. Rank correlations are resampled, by
reweighting: a resample is the vector of how often each item was drawn, and weighted ranks follow
from one sort, made once.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Num

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


class Measured(NamedTuple):
    """A number, the ends of its 95 % interval, and the number of units it was measured on."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; what is undefined (NaN) becomes None."""
        ends = {key: float(getattr(self, key)) for key in ("value", "low", "high")}
        return {k: v if math.isfinite(v) else None for k, v in ends.items()} | {"n": int(self.n)}


def proportion(successes: int | np.integer, n: int | np.integer) -> Measured:
    """A share with its exact bootstrap percentile interval.

    The interval of 0 or n successes has no width: no resample differs from the sample.

    Args:
      successes: how many of the n.
      n: number of independent answers, at least 1.
    """
    import scipy.stats  # half a second that only proportions need

    low, high = scipy.stats.binom.ppf(TAILS, n, successes / n) / n
    return Measured(float(successes / n), float(low), float(high), int(n))


def mean(values: Float[np.ndarray, " n"]) -> Measured:
    """A mean with the interval ± 1.96 standard errors, to which its bootstrap interval tends."""
    n = len(values)
    value = float(values.mean())
    half = 1.96 * float(values.std(ddof=1)) / n**0.5 if n > 1 else 0.0
    return Measured(value, value - half, value + half, n)


def mean_of_independent(measured: Sequence[Measured]) -> Measured:
    """The mean of numbers whose errors are independent, such as those of different data sets.

    Of an interval that was cut, at 0 or 1, the other side is as long as both were.

    Args:
      measured: at least one; n of the result is the sum of theirs.
    """
    value, low, high, n = np.array(measured).T
    half = float(np.linalg.norm(np.maximum(value - low, high - value))) / len(value)
    mean = float(value.mean())
    return Measured(mean, mean - half, mean + half, int(n.sum()))


def percentile(value: float, samples: Float[np.ndarray, " r"], n: int) -> Measured:
    """The percentile interval of bootstrap samples of a statistic; undefined ones are left out."""
    samples = samples[np.isfinite(samples)]
    low, high = np.quantile(samples, TAILS) if len(samples) else (math.nan, math.nan)
    return Measured(float(value), float(low), float(high), n)


def recentred(value: float, samples: Float[np.ndarray, " r"], n: int) -> Measured:
    """`percentile` of the samples of a correlation, moved so that their mean is the value.

    Resampled people repeat themselves, so that their mean is noisier than the sample's and goes
    less well with anything: the bootstrap's bias, which would make intervals lopsided.
    """
    return percentile(value, np.clip(samples - np.nanmean(samples) + value, -1, 1), n)


def jackknife(value: float, *without_each: Float[np.ndarray, " _"]) -> Measured:
    """The interval ± 1.96 standard errors by the jackknife.

    Args:
      value: the statistic.
      without_each: the statistic without one unit after the other; several where units of several
        kinds (objects, people) are samples: their variances add up. The first are those counted.
    """
    parts = [(len(v) - 1) / len(v) * ((v - v.mean()) ** 2).sum() for v in without_each]
    half = 1.96 * math.sqrt(sum(parts))
    return Measured(float(value), float(value - half), float(value + half), len(without_each[0]))


def draw_items(n: int) -> Callable[[np.random.Generator], Float[np.ndarray, " n"]]:
    """How often each of n items is drawn when n are drawn with replacement."""
    return lambda rng: np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)


def draw_objects(n: int) -> Callable[[np.random.Generator], Float[np.ndarray, " m"]]:
    """How often each of the n(n−1)/2 pairs occurs when n objects are drawn with replacement.

    Pairs of an object with a copy of itself do not count: their similarity says nothing. The order
    of the pairs is that of `np.triu_indices(n, 1)`.
    """
    first, second = np.triu_indices(n, 1)
    items = draw_items(n)

    def draw(rng: np.random.Generator) -> np.ndarray:
        counts = items(rng)
        return counts[first] * counts[second]

    return draw


def spearman(
    x: Num[np.ndarray, " m"] | Num[np.ndarray, "k m"],
    y: Num[np.ndarray, " m"],
    *,
    n: int | None = None,
    draw: Callable[[np.random.Generator], np.ndarray] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Measured]:
    """Spearman's rank correlation of each row of x with y, ties at their mean rank.

    Args:
      x: one or several vectors; all share the same resamples.
      y: the vector they are correlated with.
      n: number of units resampled; the length of y if not given.
      draw: makes the weights of one resample; resampling of the m items if not given.
      resamples: number of bootstrap resamples.
      seed: of the resampling.

    Returns:
      One measurement a row of x; NaN where a vector is constant.
    """
    draw = draw or draw_items(len(y))
    rng = np.random.default_rng(seed)
    rows = [_Ranked(row) for row in np.atleast_2d(x)]
    target = _Ranked(y)
    weights = np.ones(len(y))
    value = _correlations(rows, target, weights)
    samples = np.array([_correlations(rows, target, draw(rng)) for _ in range(resamples)])
    samples = samples.reshape(resamples, len(rows))
    n = len(y) if n is None else n
    return [percentile(v, s, n) for v, s in zip(value, samples.T, strict=True)]


class _Ranked:
    """A vector sorted once, for its mean ranks under any weights."""

    def __init__(self, values: np.ndarray):
        self.distinct, self.index = np.unique(values, return_inverse=True)

    def centred(self, weights: np.ndarray) -> np.ndarray:
        """The items' weighted mean ranks, less their weighted mean."""
        group = np.bincount(self.index, weights, minlength=len(self.distinct))
        end = np.cumsum(group)
        return (end - group / 2 - end[-1] / 2)[self.index]


def _correlations(rows: list[_Ranked], target: _Ranked, weights: np.ndarray) -> list[float]:
    ranks = target.centred(weights)
    weighted = weights * ranks
    variance = _dot(weighted, ranks)
    result = []
    for row in rows:
        other = row.centred(weights)
        scale = math.sqrt(variance * _dot(weights * other, other))
        result.append(_dot(weighted, other) / scale if scale > 0 else math.nan)
    return result


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    # Not @: waking BLAS threads takes longer than the product, several times a resample.
    return float(np.einsum("i,i->", a, b))
