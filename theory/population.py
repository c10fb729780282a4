"""A simulated population that shares a known embedding and answers odd-one-out questions.

Its similarities are dot products of sparse, non-negative embeddings, as VICE's are, and of three
pairs it takes one to be the most similar with the softmax of their similarities (002, eq. 4). The
scale of the embedding is therefore the noise: the share of answers that differ from the most likely
one, from 0 to ⅔. As the truth is known, so is the ceiling, how often anybody could be right.

`fit` is VICE (`alignet.vice`), cut down to be run hundreds of times: many populations in one
compiled call, which stays the same while answers come in, and no pruning.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
import scipy.special
from jaxtyping import Array, Float, Int, Key

from alignet import agreement, vice
from alignet import triplets as kernels
from alignet.data import human
from alignet.errors import InputError
from alignet.vice import Params, Posterior, Prior
from theory import checks

# Of the gamma distribution of weights: mean² / variance of the published VICE embedding of THINGS.
SHAPE = 0.2
CALIBRATION = 20_000  # random questions by which an embedding is scaled
SCALES = (1e-6, 1e24)  # between which the scale is looked for

PRIOR = Prior(spike=0.25, slab=1.0, pi=0.6)  # VICE code
LEARNING_RATE = 0.05
BATCH = 64  # answers a step
STEPS = 1500
LOG_SIGMA = -2.0  # of every weight, to start from


def noise_level(value: float) -> float:
    """The value, if a population can be that noisy.

    Raises:
      InputError: it is outside 0 to ⅔, or ⅔ itself.
    """
    if not 0 <= value < 2 / 3:
        raise InputError(
            f"noise is {value:g}; expected at least 0 and below 2/3, where answers say nothing."
        )
    return float(value)


def make(n: int, d: int, noise: float, rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Draws an embedding that a population may share.

    Args:
      n: objects, at least 3.
      d: dimensions.
      noise: share of answers to random questions that differ from the most likely answer; above 0,
        as people who always agree have no finite embedding. People and THINGS: about ⅓.
      rng: source of randomness.

    Raises:
      InputError: one of these is out of its range.
    """
    checks.at_least(d, 1, "d")
    if not noise_level(noise):
        raise InputError("noise is 0; expected more, as softmax is never without noise.")
    y = rng.gamma(SHAPE, size=(checks.at_least(n, 3, "n"), d))
    s = kernels.pair_similarities(y[random_triplets(n, CALIBRATION, rng)])

    def excess(log_scale: float) -> float:
        return 1 - noise - float(scipy.special.softmax(np.exp(log_scale) * s, axis=1).max(1).mean())

    low, high = np.log(SCALES)
    if excess(low) < 0 or excess(high) > 0:
        raise InputError(
            f"noise is {noise:g}; expected one that {n} objects in {d} sparse dimensions can have."
        )
    return np.exp(scipy.optimize.brentq(excess, low, high) / 2) * y


def random_triplets(n: int, size: int, rng: np.random.Generator) -> Int[np.ndarray, "size 3"]:
    """Questions i < j < k about n objects, each drawn from all of them; one may come twice."""
    return np.sort(agreement.random_triplets(n, size, rng).T, axis=1)


def probabilities(
    y: Float[np.ndarray, "n d"], triplets: Int[np.ndarray, "q 3"]
) -> Float[np.ndarray, "q 3"]:
    """How likely an answer names each pair (ij, ik, jk) the most similar (002, eq. 4)."""
    return scipy.special.softmax(kernels.pair_similarities(y[triplets]), axis=1)


def answer(
    y: Float[np.ndarray, "n d"], triplets: Int[np.ndarray, "q 3"], rng: np.random.Generator
) -> Int[np.ndarray, "q 3"]:
    """One answer to each question: the triplets, the odd one out last."""
    below = rng.random((len(triplets), 1)) > probabilities(y, triplets).cumsum(axis=1)
    return human.odd_last(triplets, below[:, :2].sum(axis=1))


def accuracy(p: Float[np.ndarray, "q 3"], truth: Float[np.ndarray, "q 3"]) -> float:
    """Share of people's answers that a model predicts, on average over their noise.

    Args:
      p: the model's probabilities of the pairs; one whose largest is tied predicts nothing.
      truth: the population's. It predicts itself best: `accuracy(truth, truth)` is the ceiling.
    """
    choice = kernels.choices(p)
    right = np.take_along_axis(truth, choice[:, None], axis=1)[:, 0]
    return float(np.where(choice < 0, 0, right).mean())


################################### VICE, many times at once ###################################


@partial(jax.jit, static_argnames=("components", "n", "d"))
def fit(
    keys: Key[Array, " w"],
    answers: Int[Array, "w rows 3"],
    n_answers: Int[Array, ""],
    *,
    components: int,
    n: int,
    d: int,
) -> Params:
    """Fits every component of every world to the first answers of its own.

    From a random start, by Adam with a learning rate that falls to 0 over the second half. The
    number of answers may change without anything being compiled again.

    Args:
      keys: of each world's randomness; equal keys and answers give equal fits.
      answers: the odd one out last; rows past the first `n_answers` are never read.
      n_answers: how many there are.
      components: of each posterior.
      n: objects.
      d: dimensions.

    Returns:
      Parameters [worlds, components, objects, dimensions].
    """
    mu = jax.vmap(lambda key: jax.random.uniform(key, (components, n, d)))(keys)
    params = Params(mu, jnp.full_like(mu, LOG_SIGMA))
    adam = optax.scale_by_adam()

    def loss(one: Params, key: Array, own: Array) -> Array:
        noise_key, rows_key = jax.random.split(key)
        epsilon = jax.random.normal(noise_key, one.mu.shape)
        batch = own[jax.random.randint(rows_key, (BATCH,), 0, n_answers)]
        cross_entropy, kl = vice.negative_elbo(one, epsilon, batch, n_train=1, prior=PRIOR)
        return cross_entropy + kl / n_answers

    gradient = jax.vmap(jax.vmap(jax.grad(loss), in_axes=(0, 0, None)))

    def step(i: Array, carry: tuple) -> tuple:
        params, state = carry
        own = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, i), components))(keys)
        updates, state = adam.update(gradient(params, own, answers), state)
        rate = LEARNING_RATE * jnp.clip(2 * (1 - i / STEPS), 0, 1)
        return jax.tree.map(lambda value, update: value - rate * update, params, updates), state

    return jax.lax.fori_loop(0, STEPS, step, (params, adam.init(params)))[0]


def posterior(params: Params, world: int) -> Posterior:
    """What one world has learnt."""
    return Posterior(np.asarray(params.mu[world]), np.exp(np.asarray(params.log_sigma[world])))


def learnt(found: Posterior) -> Float[np.ndarray, "n p"]:
    """One embedding for a mixture: E[ReLU(X)] of all components side by side.

    Its similarities and squared distances are the components' means.
    """
    ratio = found.mu / found.sigma
    weights = found.mu * scipy.special.ndtr(ratio) + found.sigma * np.exp(
        -(ratio**2) / 2
    ) / np.sqrt(2 * np.pi)
    return np.concatenate(weights / np.sqrt(len(weights)), axis=1)
