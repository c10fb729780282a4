"""How much an answer of a misaligned teacher can say (000 and 001, Proposition 3.8, Theorem 3.9).

Alice answers Bob's questions about an object that only she sees. Where their representations
disagree on a share ε of triplets, Bob reads her answers as if through a binary symmetric channel,
of which the capacity is

    C(ε) = 1 − H(ε) = 1 + ε log₂ ε + (1 − ε) log₂(1 − ε)   bits an answer,

so that what takes b bits takes at least b / C(ε) answers. Logarithms are base 2: C is 1 where ε is
0 or 1 and 0 where it is ½. b / C(ε) is a bound: that it is larger for one ε than for another says
nothing yet about how many answers a Bob really needs; `theory.game` counts those.
"""

import numpy as np
import scipy.special
from jaxtyping import Float

from theory import checks


def binary_entropy(epsilon: object) -> Float[np.ndarray, "*b"]:
    """Entropy of a coin that falls on one side with probability ε, in bits.

    Args:
      epsilon: one or more probabilities.

    Raises:
      InputError: one is outside 0 to 1.
    """
    e = checks.probability(epsilon, "epsilon")
    nats = -(scipy.special.xlogy(e, e) + scipy.special.xlog1py(1 - e, -e))
    return np.asarray(nats / np.log(2))


def capacity(epsilon: object) -> Float[np.ndarray, "*b"]:
    """Capacity of the binary symmetric channel, in bits an answer (Proposition 3.8).

    To full precision near ½ too, where 1 − H(ε) loses it: there C(ε) ≈ 2 (ε − ½)² / ln 2.

    Args:
      epsilon: one or more probabilities that an answer is flipped.

    Returns:
      From 0, at ½, to 1, at 0 and 1.

    Raises:
      InputError: one is outside 0 to 1.
    """
    e = checks.probability(epsilon, "epsilon")
    u = 2 * e - 1  # the correlation of what is sent with what is read
    near = np.where(np.abs(u) < 0.5, u, 0)
    exact_near_half = (2 * near * np.arctanh(near) + np.log1p(-(near**2))) / (2 * np.log(2))
    return np.where(np.abs(u) < 0.5, exact_near_half, 1 - binary_entropy(e))


def queries(epsilon: object, *, n: int, d: int, m: int = 1) -> Float[np.ndarray, "*b"]:
    """The rate of Theorem 3.9, m d log₂(n) / C(ε), without its unknown constant.

    Args:
      epsilon: one or more probabilities that an answer is flipped.
      n: shared objects, at least 3.
      d: dimensions of the space, at least 1.
      m: new objects to be located.

    Returns:
      Answers; infinite where ε is ½.

    Raises:
      InputError: one of these is out of its range.
    """
    bits = checks.at_least(m, 1, "m") * checks.at_least(d, 1, "d")
    return _divided(bits * np.log2(checks.at_least(n, 3, "n")), capacity(epsilon))


def queries_to_order(epsilon: object, *, n: int, d: int, m: int = 1) -> Float[np.ndarray, "*b"]:
    """Answers without which Bob cannot know in which order m new objects see n shared ones.

    The bound of Theorem 3.9 with its constant: m log₂(orders(n, d)) / C(ε). For some places of the
    new objects, however well the questions are chosen, fewer answers leave the order open.

    Args, Returns, Raises: as of `queries`.
    """
    bits = float(_log2(orders(n, d))) * checks.at_least(m, 1, "m")
    return _divided(bits, capacity(epsilon))


def orders(n: int, d: int) -> int:
    """In how many orders of distance a point can see n others in d dimensions.

    The bisectors between n points in general position cut space into Σ_{k ≤ d} |s(n, n − k)| cells,
    one an order; s are Stirling numbers of the first kind (Good and Tideman 1977). For n ≫ d these
    are about n^2d / (2^d d!), so that to know the cell takes close to 2 d log₂ n bits, and not more
    than log₂ n! however large d is.

    Raises:
      InputError: n is below 3 or d below 1.
    """
    checks.at_least(n, 3, "n")
    checks.at_least(d, 1, "d")
    # Of Π_{j<n} (1 + j z): |s(n, n − k)| is the coefficient of z^k.
    coefficients = [1] + [0] * min(d, n - 1)
    for j in range(1, n):
        for k in range(len(coefficients) - 1, 0, -1):
            coefficients[k] += j * coefficients[k - 1]
    return sum(coefficients)


def _log2(value: int) -> float:
    # Of integers that no float can hold, too.
    shift = max(value.bit_length() - 64, 0)
    return shift + float(np.log2(value >> shift))


def _divided(bits: float, by: Float[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    with np.errstate(divide="ignore"):
        return np.where(by > 0, bits / by, np.inf)
