"""How many answers it took, from simulated games that were examined now and then."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from evals.statistics import intervals
from evals.statistics.intervals import Measured

RESAMPLES = 400


def answers_to_reach(
    accuracy: Float[np.ndarray, "games t"], checks: Sequence[int], target: float, *, seed: int = 0
) -> Measured:
    """After how many answers the mean accuracy over games first is the target.

    Between two checks the mean is taken to be linear in the logarithm of the answers.

    Args:
      accuracy: of each game, after so many answers.
      checks: the numbers of answers, ascending, from 1 on.
      target: the accuracy.
      seed: of the resampling of games.

    Returns:
      Answers, with a bootstrap interval over games: infinite where the target was not reached, and
      likewise the interval's upper end.
    """
    value, *samples = _needed(accuracy, checks, target, np.random.default_rng(seed))
    low, high = np.quantile(samples, intervals.TAILS, method="nearest")
    return Measured(float(value), float(low), float(high), len(accuracy))


def reached(measured: Measured) -> Measured | None:
    """What can be put into a table: None if the target, or the interval's end, was not reached."""
    return measured if math.isfinite(measured.high) else None


def slope(
    x: Float[np.ndarray, " k"],
    accuracy: Sequence[Float[np.ndarray, "games t"]],
    checks: Sequence[int],
    targets: Sequence[float],
    units: Float[np.ndarray, " k"],
    *,
    seed: int = 0,
) -> Measured:
    """How the answers needed grow with x: the slope of a straight line.

    Args:
      x: of each kind of game.
      accuracy, targets: of each kind, as of `answers_to_reach`.
      checks: of all.
      units: what the answers of each kind are divided by.
      seed: of the resampling of games.

    Returns:
      Units of answers per unit of x, with a bootstrap interval over games; NaN if a target is not
      reached.
    """
    rng = np.random.default_rng(seed)
    kinds = zip(accuracy, targets, strict=True)
    answers = np.array([_needed(of_kind, checks, target, rng) for of_kind, target in kinds])
    answers /= units[:, None]
    if not np.isfinite(answers[:, 0]).all():
        return Measured(math.nan, math.nan, math.nan, len(x))
    finite = answers[:, np.isfinite(answers).all(axis=0)]
    centred = x - x.mean()
    value, *slopes = centred @ finite / (centred @ centred)
    return intervals.percentile(float(value), np.array(slopes), len(x))


def _needed(
    accuracy: Float[np.ndarray, "games t"],
    checks: Sequence[int],
    target: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, " r"]:
    """Of all games, and then of each resample of them."""
    games = len(accuracy)
    draws = rng.multinomial(games, np.full(games, 1 / games), size=RESAMPLES) / games
    return _crossing(np.vstack([accuracy.mean(axis=0), draws @ accuracy]), checks, target)


def _crossing(
    curves: Float[np.ndarray, "r t"], checks: Sequence[int], target: float
) -> Float[np.ndarray, " r"]:
    at = np.log(checks)
    reached = curves >= target
    last = reached.argmax(axis=1)
    before = np.maximum(last - 1, 0)
    rows = np.arange(len(curves))
    low, high = curves[rows, before], curves[rows, last]
    share = np.where(high > low, (target - low) / np.where(high > low, high - low, 1), 1)
    found = np.exp(at[before] + np.where(last > 0, share, 0) * (at[last] - at[before]))
    return np.where(reached.any(axis=1), found, np.inf)
