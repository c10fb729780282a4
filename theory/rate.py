"""How many bits an embedding takes, and how many an odd-one-out answer can bring.

What it takes to know coordinates is their rate-distortion function (Shannon 1959), R(D) bits for
each at a mean squared error of D times their variance. That error is out of reach with fewer than

    n d R(D) / b   answers,

where b is what an answer brings: log₂ 3 bits at most, however the question is chosen; and of a
random question at most log₂ 3 less the mean entropy of people's answers.

This bounds the error of coordinates that are drawn independently of each other, as those of
`theory.population` are. It does not say which error an alignment needs.
"""

import math

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from jaxtyping import Float

from alignet import triplets as kernels
from alignet.errors import InputError
from theory import checks, population

VALUES = 500  # equally likely ones, for a continuous distribution
GUESSES = 250  # values that a coordinate may be said to have
ITERATIONS = 200
SLOPES = (1e-2, 1e6)


def carried(p: Float[np.ndarray, "q 3"]) -> float:
    """What answers to questions bring at most, on average: log₂ 3 less their entropy, in bits.

    Args:
      p: how likely people name each pair; see `population.probabilities`.
    """
    with np.errstate(divide="ignore"):
        nats = kernels.entropy(np.log(p)).mean()
    return math.log2(3) - float(nats) / math.log(2)


def bound(n: int, d: int, error: float, *, bits: float) -> float:
    """Answers without which the coordinates of a population cannot be known so well.

    Args:
      n: objects, at least 3.
      d: dimensions, at least 1.
      error: mean squared error of coordinates over their variance, above 0.
      bits: that an answer brings at most, above 0.

    Raises:
      InputError: one of these is out of its range.
    """
    for value, name in ((error, "error"), (bits, "bits")):
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value:g}; expected a number above 0.")
    coordinates = checks.at_least(n, 3, "n") * checks.at_least(d, 1, "d")
    probable = (np.arange(VALUES) + 0.5) / VALUES
    weights = scipy.stats.gamma.ppf(probable, population.SHAPE)
    return coordinates * rate(weights, error) / bits


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
