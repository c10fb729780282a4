"""Which odd-one-out questions to ask next, by what their answers are expected to say.

Under a posterior over embeddings a question is worth asking where its answer is uncertain although
every embedding is sure of it, each of another answer. That is the mutual information of the answer
and the embedding (Lindley 1956; BALD, Houlsby et al. 2011),

    I(answer; Y) = H(E_Y p(· | Y)) − E_Y H(p(· | Y))   bits,

with p the softmax over the three dot products and E over samples of the posterior. What is noise
even to those who know Y is not counted as information.

The best k questions by this number are nearly the same question k times. A batch is therefore drawn
without replacement in proportion to gain^SHARPNESS (power acquisition, Kirsch et al. 2023), by
the k largest of SHARPNESS · log gain + Gumbel noise. Gain about the answers to other, random
questions (EPIG, Bickford Smith et al. 2023) was no better on simulated populations.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from alignet import triplets as kernels
from alignet.errors import InputError
from alignet.vice import Posterior
from theory import checks, population

SHARPNESS = 3.0  # tuned on simulated populations other than those reported
LEAST_GAIN = 1e-9  # bits; float32 tells no smaller ones from 0


def information_gain(
    posterior: Posterior,
    triplets: Int[np.ndarray, "q 3"],
    *,
    n_samples: int = 100,
    seed: int = 0,
) -> Float[np.ndarray, " q"]:
    """What the answer to each question is expected to say about the embedding.

    Args:
      posterior: a mixture of Gaussians before the ReLU.
      triplets: the questions, in any order.
      n_samples: embeddings drawn, in turn from the mixture's components. Few see information where
        there is none: on average up to about 1.4 / n_samples bits too much.
      seed: of the draws.

    Returns:
      Bits, from 0 to log₂ 3.

    Raises:
      InputError: a triplet is not of three of the posterior's objects, or the posterior is not
        finite.
    """
    _, gain = predict(posterior, triplets, n_samples=n_samples, seed=seed)
    return gain


def predict(
    posterior: Posterior,
    triplets: Int[np.ndarray, "q 3"],
    *,
    n_samples: int = 100,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "q 3"], Float[np.ndarray, " q"]]:
    """Posterior probabilities of the three pairs, and the information gain of asking.

    The probabilities are those of `vice.p_star`, which compiles anew at every call.

    Args, Raises, and the second of what it returns: as of `information_gain`.
    """
    checks.at_least(n_samples, 1, "n_samples")
    _check(triplets, posterior.mu.shape[1], "triplets")
    if not all(np.isfinite(one).all() for one in posterior) or (posterior.sigma < 0).any():
        raise InputError(
            "the posterior has a mean or a deviation that is not finite, or a deviation below 0."
        )
    component = np.arange(n_samples) % len(posterior.mu)
    p, gain = _predict(
        jnp.asarray(posterior.mu, jnp.float32),
        jnp.asarray(posterior.sigma, jnp.float32),
        jnp.asarray(triplets, jnp.int32),
        jnp.asarray(component, jnp.int32),
        jax.random.split(jax.random.key(seed), n_samples),
    )
    return np.asarray(p), np.asarray(gain)


@jax.jit
def _predict(
    mu: Float[Array, "c n d"],
    sigma: Float[Array, "c n d"],
    triplets: Int[Array, "q 3"],
    component: Int[Array, " s"],
    keys: Key[Array, " s"],
) -> tuple[Float[Array, "q 3"], Float[Array, " q"]]:
    # One embedding at a time: the memory is that of the questions, whatever the samples.
    def add(total: tuple, draw: tuple) -> tuple:
        p_sum, entropy_sum = total
        c, key = draw
        y = jax.nn.relu(mu[c] + sigma[c] * jax.random.normal(key, mu[c].shape))
        log_p = kernels.log_probabilities(kernels.gather_similarities(y @ y.T, triplets))
        return (p_sum + jnp.exp(log_p), entropy_sum + kernels.entropy(log_p)), None

    nothing = jnp.zeros(triplets.shape), jnp.zeros(len(triplets))
    (p_sum, entropy_sum), _ = jax.lax.scan(add, nothing, (component, keys))
    p = p_sum / p_sum.sum(axis=1, keepdims=True)
    nats = kernels.entropy(jnp.log(p)) - entropy_sum / len(keys)
    return p, jnp.clip(nats / jnp.log(2), 0, jnp.log2(3))


def next_triplets(
    posterior: Posterior,
    k: int,
    *,
    exclude: Int[np.ndarray, "e 3"] | None = None,
    pool: int = 100_000,
    n_samples: int = 100,
    seed: int = 0,
) -> Int[np.ndarray, "k 3"]:
    """Chooses the next questions to ask.

    Args:
      posterior: what the answers so far have taught, from `vice.fit` or `vice.load_posterior`.
      k: how many.
      exclude: questions that shall not come again, such as those asked; objects in any order.
      pool: random questions of which to choose; all there are, if they are no more.
      n_samples: as of `information_gain`.
      seed: of the pool, the samples and the choice: the same gives the same questions.

    Returns:
      Different triplets i < j < k, those first that came out first.

    Raises:
      InputError: the pool has fewer questions than are asked for, or as `information_gain`.
    """
    rng = np.random.default_rng(seed)
    n = posterior.mu.shape[1]
    every = checks.at_least(n, 3, "objects") * (n - 1) * (n - 2) // 6
    if every <= pool:
        candidates = every_triplet(n)
    else:
        candidates = population.random_triplets(n, checks.at_least(pool, 1, "pool"), rng)
    code = codes(candidates, n)
    _, first = np.unique(code, return_index=True)
    free = np.zeros(len(code), bool)
    free[first] = True
    if exclude is not None:
        _check(exclude, n, "exclude")
        free &= ~np.isin(code, codes(exclude, n))
    if not free.any():
        raise InputError("every question of the pool is excluded; expected some to choose from.")
    if not 1 <= k <= free.sum():
        raise InputError(
            f"{k} questions are asked for; expected 1 to {free.sum()}, which the pool has."
        )
    # All candidates, so that what is compiled does not depend on how many are free.
    gain = information_gain(posterior, candidates, n_samples=n_samples, seed=seed)
    score = SHARPNESS * np.log(np.maximum(gain, LEAST_GAIN)) + rng.gumbel(size=len(gain))
    score[~free] = -np.inf
    return candidates[np.argsort(-score, kind="stable")[:k]]


def _check(triplets: Int[np.ndarray, "q 3"], n: int, name: str) -> None:
    if triplets.ndim != 2 or triplets.shape[1] != 3:
        raise InputError(f"{name} has shape {list(triplets.shape)}; expected rows of 3 objects.")
    low, middle, high = np.sort(triplets, axis=1).T
    bad = (low < 0) | (high >= n) | (low == middle) | (middle == high)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{name}, row {row} (from 0): {triplets[row].tolist()}; expected three different "
            f"objects, 0 to {n - 1}."
        )


def every_triplet(n: int) -> Int[np.ndarray, "q 3"]:
    """All n(n−1)(n−2)/6 questions i < j < k, in lexical order."""
    i, j, k = np.ogrid[:n, :n, :n]
    return np.argwhere((i < j) & (j < k))


def codes(triplets: Int[np.ndarray, "q 3"], n: int) -> Int[np.ndarray, " q"]:
    i, j, k = np.sort(triplets, axis=1).T
    return (i * n + j) * n + k
