"""Bob, who works out from answers where a new object lies (000 and 001, Figure 2).

A question about a new object, "is it nearer to j than to k?", cuts Bob's space by the bisector of
two objects that he knows. Bob holds a posterior over where the new one lies: the prior is standard
normal, as the objects are, and an answer that he trusts with log odds λ is worth

    log p(answer | z) = ± λ/2 + constant,    λ = log((1 − ε) / ε),

+ if z lies on the answered side. With ε > ½, λ is negative: he takes answers for their opposite.

The posterior is a fine set of weighted candidate positions. They lie where the posterior is, as
points of a normal distribution fitted to it, and a tenth of them as points of the prior; weights
correct for that (adaptive importance sampling; Cappé et al. 2004, doi:10.1198/106186004X12803), so
that the set stays fine however narrow the posterior becomes. The points are Sobol's, which fill
space more evenly than random ones; and so Bob has no chance in him.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Array, Bool, Float, Int

CANDIDATES = 512
ROUNDS = 3  # of fitting the normal distribution and placing candidates by it
FROM_PRIOR = 0.1  # share of the candidates; every tenth
WIDER = 2.0  # variance of the normal distribution, of that of the posterior
ENOUGH = 0.1  # effective candidates, as a share, that a fit is made of
JITTER = 1e-4  # of a correlation matrix, so that float32 can factor it
NARROWEST = 1e-7  # standard deviation


class Bisectors(NamedTuple):
    """The questions about a new object, as half-spaces: "nearer to j" is normal · z > offset.

    Attributes:
      normal: of the q = n(n−1)/2 questions, in the order of `pairs(n)`.
      offset: likewise.
    """

    normal: Float[Array, "q d"]
    offset: Float[Array, " q"]


class Belief(NamedTuple):
    """Where Bob thinks a new object lies.

    Attributes:
      candidates: positions.
      log_weights: natural log, not normalised.
      log_evidence: of the answers, natural log, up to the constant above.
      mean, cholesky: of the normal distribution that later candidates are drawn from.
    """

    candidates: Float[Array, "m d"]
    log_weights: Float[Array, " m"]
    log_evidence: Float[Array, ""]
    mean: Float[Array, " d"]
    cholesky: Float[Array, "d d"]


def pairs(n: int) -> Int[np.ndarray, "q 2"]:
    """All pairs (j, k), j < k, of n shared objects, ordered by k, then j.

    An order in which the questions about the first n objects are the first n(n−1)/2, and that in
    which Jamieson and Nowak (2011) go through them.
    """
    k, j = np.tril_indices(n, -1)
    return np.stack([j, k], axis=1)


def bisectors(points: Float[Array, "n d"], weights: Float[Array, " d"]) -> Bisectors:
    """The questions in a space with squared distances Σ_d w_d (x_d − y_d)².

    Args:
      points: the shared objects.
      weights: of the dimensions: 0 leaves one out; a negative one turns it round, so that what
        differs in it seems alike. Distances are then no metric, but orders they are.
    """
    j, k = pairs(len(points)).T
    pull = 2 * weights * points
    size = (weights * points**2).sum(axis=1)
    return Bisectors(pull[j] - pull[k], size[j] - size[k])


def sides(bisectors: Bisectors, z: Float[Array, "m d"]) -> Bool[Array, "m q"]:
    """The right answer to every question at every position: whether it is nearer to j."""
    # Else accelerators' matrix units would round to bfloat16.
    along = jnp.matmul(z, bisectors.normal.T, precision=jax.lax.Precision.HIGHEST)
    return along > bisectors.offset


def nothing_known(d: int, n_candidates: int = CANDIDATES) -> Belief:
    """The belief before any answer."""
    zeros = jnp.zeros(n_candidates)
    return Belief(normal_points(n_candidates, d), zeros, zeros[0], jnp.zeros(d), jnp.eye(d))


@functools.cache
def normal_points(n: int, d: int) -> Float[np.ndarray, "n d"]:
    """Points that fill the standard normal distribution evenly: scrambled Sobol points.

    Args:
      n: how many; a power of two fills it best.
      d: dimensions.
    """
    cube = scipy.stats.qmc.Sobol(d, rng=0).random(n)
    return scipy.special.ndtri(cube).astype(np.float32)


def decode(
    votes: Float[Array, " q"], questions: Bisectors, before: Belief
) -> tuple[Belief, Bool[Array, "m q"]]:
    """The posterior given all answers so far.

    Args:
      votes: a question's answers, +λ for each "nearer to j" and −λ for each "nearer to k".
      questions: in Bob's space.
      before: his belief given about half of the answers or more: where he looks first.

    Returns:
      His belief, and the candidates' own answers to every question.
    """
    n, d = before.candidates.shape
    points = normal_points(n, d)
    from_prior = (np.arange(n) % round(1 / FROM_PRIOR) == 0)[:, None]

    def look(i, state):
        _, _, mean, cholesky = state
        z = jnp.where(from_prior, points, mean + points @ cholesky.T)
        # Of the small matrix: on CPUs a triangular solve for all candidates takes 100 times longer.
        whiten = jax.scipy.linalg.solve_triangular(cholesky, jnp.eye(d), lower=True)
        log_fitted = _log_normal((z - mean) @ whiten.T) - jnp.log(jnp.diagonal(cholesky)).sum()
        log_drawn = jnp.logaddexp(
            jnp.log(FROM_PRIOR) + _log_normal(z), jnp.log1p(-FROM_PRIOR) + log_fitted
        )
        log_weights = jnp.where(sides(questions, z), votes, 0).sum(axis=1) - votes.sum() / 2
        log_weights += _log_normal(z) - log_drawn
        # The first rounds look where the posterior is, by weights that not one candidate takes all
        # of; the last one's are the posterior's.
        power = jnp.where(i < ROUNDS - 1, _power(log_weights), 1)
        w = jax.nn.softmax(power * log_weights)
        mean = w @ z
        return z, log_weights, mean, jnp.sqrt(WIDER) * _cholesky(w, z - mean)

    state = jax.lax.fori_loop(0, ROUNDS, look, (*before[:2], before.mean, before.cholesky))
    z, log_weights, mean, cholesky = state
    log_evidence = jax.nn.logsumexp(log_weights) - jnp.log(n)
    return Belief(z, log_weights, log_evidence, mean, cholesky), sides(questions, z)


def nearer(belief: Belief, side: Bool[Array, "m q"]) -> Float[Array, " q"]:
    """The probability of "nearer to j", for every question."""
    return jnp.where(side, jax.nn.softmax(belief.log_weights)[:, None], 0).sum(axis=0)


def effective(log_weights: Float[Array, " m"]) -> Float[Array, ""]:
    """The effective share of the candidates, 1/m to 1 (Kish)."""
    w = jax.nn.softmax(log_weights)
    return 1 / (len(w) * (w**2).sum())


def _cholesky(w: Float[Array, " m"], z: Float[Array, "m d"]) -> Float[Array, "d d"]:
    """Of the covariance of weighted points with mean 0, whose dimensions may differ in size."""
    spread = jnp.sqrt(w @ z**2) + NARROWEST
    scaled = z / spread * jnp.sqrt(w)[:, None]
    jitter = JITTER * jnp.eye(len(spread))
    return spread[:, None] * jnp.linalg.cholesky(scaled.T @ scaled + jitter)


def _log_normal(z: Float[Array, "m d"]) -> Float[Array, " m"]:
    return -0.5 * (z**2).sum(axis=1)  # the constant is the same for prior and proposal


def _power(log_weights: Float[Array, " m"]) -> Float[Array, ""]:
    """The largest power of the weights, at most 1, at which enough candidates are effective."""

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        enough = effective(middle * log_weights) >= ENOUGH
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    low, _ = jax.lax.fori_loop(0, 12, halve, (jnp.zeros(()), jnp.ones(())))
    return jnp.where(effective(log_weights) >= ENOUGH, 1.0, low)
