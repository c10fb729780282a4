"""What answers about a new object tell, in bits: Alice's decisions, and their noise.

She decides about similarities s_j = −|c − x_j|² with noise of temperature τ, in units of squared
distance; squared, so that s_j − s_k is linear in c, and a label is what a softmax classifier with
prototypes gives.

    triplet, label   Luce: p(j) = exp(s_j / τ) / Σ_k exp(s_k / τ) over what is shown
    ranking          Plackett and Luce: by that the first, then of those left the next …
    odd one out      Luce over the three pairs (002, eq. 4)
    rating           the level in which s_j + logistic noise falls

Luce's choice is the largest of s_j + Gumbel noise of scale τ; the noise of a rating has as much
variance. At τ = 0 there is none, and the likeliest answer is certain.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int, Real

from alignet.errors import InputError
from theory import checks, labels
from theory.labels import Kind

RATING_SCALE = math.sqrt(0.5)  # the logistic distribution's, of which the variance is Gumbel's
BISECTIONS = 40


def similarities(
    x: Real[np.ndarray, "n d"], c: Real[np.ndarray, "m _"]
) -> Float[np.ndarray, "n m"]:
    """s_j = −|c − x_j|² of every object with every place of c.

    Raises:
      InputError: there are fewer than 3 objects or places, one is not finite, two are the same, or
        they differ in dimensions.
    """
    x, c = checks.embedding(x, "x"), checks.embedding(c, "c")
    if x.shape[1] != c.shape[1]:
        raise InputError(
            f"x has {x.shape[1]} dimensions and c {c.shape[1]}; expected points of the same space."
        )
    return -((x[:, None] - c[None]) ** 2).sum(axis=-1)


def log_likelihoods(
    kind: Kind,
    shown: Int[np.ndarray, "q k"],
    x: Real[np.ndarray, "n d"],
    c: Real[np.ndarray, "m _"],
    *,
    tau: float | int,
) -> Float[Array, "q outcomes m"]:
    """How likely each answer to each question is, were c at each of m places.

    Args:
      kind: of answer.
      shown: the objects that each question shows, 0 to n − 1, all different; k is `kind.shown`.
      x: the n shared objects.
      c: places; for a rating also those over which its levels are used equally often.
      tau: temperature of her decisions; at 0 the likeliest answer is certain.

    Returns:
      Natural logarithms, −∞ where an answer is impossible, in float32.

    Raises:
      InputError: tau is negative, a question does not show so many different objects, or as of
        `similarities`.
    """
    if not 0 <= tau < math.inf:
        raise InputError(f"tau is {tau:g}; expected a temperature, 0 or more.")
    s = similarities(x, c)
    _check_shown(kind, shown, len(s))
    temperature = np.float32(tau)
    # Differences are taken in float64, so that what is almost equal is told apart.
    if kind.name == "rating":
        ends = [-math.inf, *_cuts(s, kind.outcomes, tau), math.inf]
        above = np.array(ends)[:, None] - s[shown]
        return _ratings(above.astype(np.float32), temperature)
    options = s[shown]
    if kind.name == "odd one out":
        first, second = x.astype(np.float64)[shown.T]
        between = -((first - second) ** 2).sum(axis=-1)
        between = np.broadcast_to(between[:, None, None], (len(shown), 1, s.shape[1]))
        options = np.concatenate([options, between], axis=1)
    below = (options - options.max(axis=1, keepdims=True)).astype(np.float32)
    return _choices(below, temperature, ranked=kind.name == "ranking")


@jax.jit
def information(log_p: Float[Array, "q outcomes m"]) -> Float[Array, " q"]:
    """The bits that the answer to a question says of c, if it is at any of m places alike.

    The mutual information H(mean of p(answer | c)) − mean of H(p(answer | c)), means over the
    places; exact, up to float32.

    Args:
      log_p: of `log_likelihoods`.

    Returns:
      Bits for each question, 0 to log₂(outcomes).
    """
    mixed = jax.nn.logsumexp(log_p, axis=-1) - math.log(log_p.shape[-1])
    bits = entropy(mixed) - entropy(log_p.swapaxes(1, 2)).mean(axis=-1)
    return jnp.maximum(bits, 0)  # of an answer that says nothing, rounding would be negative


def entropy(log_p: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """The entropy of probabilities by their natural logarithms, −∞ among them; in bits."""
    # 0 · (−∞) is not a number.
    finite = jnp.where(jnp.isneginf(log_p), 0, log_p)
    return -(jnp.exp(log_p) * finite).sum(axis=-1) / math.log(2)


@functools.partial(jax.jit, static_argnames="ranked")
def _choices(
    s: Float[Array, "q k m"], tau: Float[Array, ""], *, ranked: bool
) -> Float[Array, "q outcomes m"]:
    """Luce's rule; where all options are ranked, Plackett's and Luce's."""
    k = s.shape[1]
    if not ranked:
        return _luce(s, tau)
    # An order is a chain of choices, and many orders share them: each of the sets of options that
    # can be left is chosen from once.
    sets = [
        set(left) for size in range(2, k + 1) for left in itertools.combinations(range(k), size)
    ]
    left = np.array([[option in one for option in range(k)] for one in sets])
    chosen = _luce(jnp.where(left[None, :, :, None], s[:, None], -jnp.inf), tau)
    orders = labels.orders(k)
    steps = np.array(
        [[(sets.index({*order[i:]}), order[i]) for i in range(k - 1)] for order in orders]
    )
    return sum(chosen[:, among, option] for among, option in steps.transpose(1, 2, 0))


def _luce(s: Float[Array, "*b k m"], tau: Float[Array, ""]) -> Float[Array, "*b k m"]:
    # Less the largest first, so that nothing overflows however small τ is. At τ = 0 the largest are
    # chosen alike: the limit.
    below = s - s.max(axis=-2, keepdims=True)
    noisy = jax.nn.log_softmax(below / jnp.where(tau > 0, tau, 1), axis=-2)
    largest = below == 0
    certain = jnp.where(largest, -jnp.log(largest.sum(axis=-2, keepdims=True)), -jnp.inf)
    return jnp.where(tau > 0, noisy, certain)


def _cuts(s: Float[np.ndarray, "n m"], levels: int, tau: float | int) -> Float[np.ndarray, " cuts"]:
    """Where ratings are cut into levels that are used equally often over all objects and places."""
    shares = np.arange(1, levels) / levels
    if tau == 0:
        return np.quantile(s, shares)
    scale = RATING_SCALE * tau
    reach = 16 * scale  # of which noise is larger once in 10⁷
    low, high = (np.full(len(shares), end) for end in (s.min() - reach, s.max() + reach))
    for _ in range(BISECTIONS):
        cuts = (low + high) / 2
        rare = [scipy.special.expit((cut - s) / scale).mean() for cut in cuts] < shares
        low, high = np.where(rare, cuts, low), np.where(rare, high, cuts)
    return high


@jax.jit
def _ratings(above: Float[Array, "q ends m"], tau: Float[Array, ""]) -> Float[Array, "q levels m"]:
    """By how far the ends of the levels are above the similarities."""
    low, high = above[:, :-1], above[:, 1:]
    certain = jnp.where((low <= 0) & (high > 0), 0, -jnp.inf)
    scale = jnp.where(tau > 0, RATING_SCALE * tau, 1)
    low, high = low / scale, high / scale
    # σ(b) − σ(a) = σ(b) σ(−a) (1 − exp(a − b)), of which no factor cancels.
    noisy = jax.nn.log_sigmoid(high) + jax.nn.log_sigmoid(-low) + jnp.log(-jnp.expm1(low - high))
    return jnp.where(tau > 0, noisy, certain)


def _check_shown(kind: Kind, shown: Int[np.ndarray, "q k"], n: int) -> None:
    if shown.shape[1] != kind.shown or not len(shown):
        raise InputError(
            f"shown has shape {list(shown.shape)}; expected {kind.shown} objects a question for "
            f"the kind {kind.name!r}, and at least one question."
        )
    labels.check_among(shown, n, "shown")
    ordered = np.sort(shown, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if repeated.any():
        raise InputError(
            f"shown: question {int(np.argmax(repeated))} (from 0) shows an object twice; expected "
            "different ones."
        )
