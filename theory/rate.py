"""How many bits an embedding takes, and how many an odd-one-out answer can bring.

An answer that is wrong with probability e, either wrong one alike, is the output of a symmetric
ternary channel; it brings at most

    C₃(e) = log₂ 3 − H(e) − e   bits:

log₂ 3 at e = 0 and nothing at e = ⅔. What it takes to know coordinates is their rate-distortion
function (Shannon 1959), R(D) bits for each at a mean squared error of D times their variance. So
that error is out of reach, however questions are chosen, with fewer answers than

    n d R(D) / C₃(e).

This bounds the error of coordinates that are drawn independently of each other, as those of
`theory.population` are. It does not say which error an alignment needs.
"""

import math

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from jaxtyping import Float

from theory import channel, checks, population

VALUES = 500  # equally likely ones, for a continuous distribution
GUESSES = 250  # values that a coordinate may be said to have
ITERATIONS = 200
SLOPES = (1e-2, 1e6)


def ternary_capacity(noise: float) -> float:
    """Bits an answer brings at most, from 0 to log₂ 3.

    Args:
      noise: e, from 0 to below ⅔.

    Raises:
      InputError: it is outside.
    """
    e = population.noise_level(noise)
    return math.log2(3) - float(channel.binary_entropy(e)) - e


def bound(n: int, d: int, noise: float, error: float) -> float:
    """Answers without which the coordinates of a population cannot be known so well.

    Args:
      n: objects, at least 3.
      d: dimensions, at least 1.
      noise: share of answers that are not the most likely one, from 0 to below ⅔.
      error: mean squared error of coordinates over their variance, above 0.

    Raises:
      InputError: one of these is out of its range.
    """
    coordinates = checks.at_least(n, 3, "n") * checks.at_least(d, 1, "d")
    probable = (np.arange(VALUES) + 0.5) / VALUES
    weights = scipy.stats.gamma.ppf(probable, population.SHAPE)
    return coordinates * rate(weights, error) / ternary_capacity(noise)


def rate(values: Float[np.ndarray, " v"], error: float) -> float:
    """R(D) of a variable with these equally likely values, by Blahut's algorithm (1972).

    Args:
      values: of the variable.
      error: D, mean squared error over their variance, above 0.

    Returns:
      Bits; 0 where D ≥ 1, as the mean is known for nothing.
    """
    if error >= 1:
        return 0.0
    x = (values - values.mean()) / values.std()
    # Between the quantiles, and the mean, which is the best guess where nothing is known.
    guesses = np.append(np.quantile(x, np.linspace(0, 1, GUESSES - 1)), 0)
    squares = (x[:, None] - guesses) ** 2

    def at(log_slope: float) -> tuple[float, float]:
        kernel = np.exp(-np.exp(log_slope) * (squares - squares.min(axis=1, keepdims=True)))
        used = np.full(GUESSES, 1 / GUESSES)
        for _ in range(ITERATIONS):
            used *= (kernel / (kernel @ used)[:, None]).mean(axis=0)
        joint = kernel * used / (kernel @ used)[:, None]
        bits = scipy.special.rel_entr(joint, joint.mean(axis=0)).sum(axis=1).mean() / math.log(2)
        return (joint * squares).sum(axis=1).mean(), bits

    low, high = np.log(SLOPES)
    if at(high)[0] >= error:
        return at(high)[1]
    slope = scipy.optimize.brentq(lambda s: at(s)[0] - error, low, high, xtol=1e-3)
    return at(slope)[1]
