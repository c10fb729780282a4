"""VICE: a posterior over concept embeddings from human odd-one-out choices.

Muttenthaler et al. (2022), as used by 002, A.1.1. Every object has a Gaussian variational
distribution in every dimension, a sample is made non-negative by ReLU, and the similarity of two
objects is the dot product of their samples:

    Y = ReLU(μ + σ ⊙ ε),   p(pair | triplet, Y) = softmax([Y_i·Y_j, Y_i·Y_k, Y_j·Y_k])

The parameters maximise the evidence lower bound; per training choice the loss is

    −log p(choice | triplet, Y) + [log q(X) − log p(X)] / n_train,   X = μ + σ ⊙ ε before the ReLU,

where the prior p(X) is, entrywise, a spike-and-slab mixture π N(0, spike²) + (1 − π) N(0, slab²).

One thing differs from the published method: the posterior is a mixture over several seeds. One
Gaussian covers one of many optima that explain the choices differently, and the mixture predicts
held-out choices clearly better (RESULTS.md has both).
"""

import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import scipy.stats
from jaxtyping import Array, Float, Int

from alignet import triplets as kernels
from alignet.errors import InputError
from alignet.runtime import files
from alignet.runtime.progress import progress


class Posterior(NamedTuple):
    """A mixture of Gaussians over concept embeddings, one component a seed.

    Attributes:
      mu: means [seeds, objects, dimensions], the kept dimensions sorted by size; a seed with fewer
        dimensions than another is filled up with zeros, which change no similarity.
      sigma: standard deviations, likewise.
    """

    mu: Float[np.ndarray, "seeds m d"]
    sigma: Float[np.ndarray, "seeds m d"]


class Params(NamedTuple):
    """The variational parameters: means and log standard deviations of X, before the ReLU."""

    mu: Float[Array, "m d"]
    log_sigma: Float[Array, "m d"]


class Prior(NamedTuple):
    """The spike-and-slab prior π N(0, spike²) + (1 − π) N(0, slab²) of every entry of X."""

    spike: float
    slab: float
    pi: float


class Fit(NamedTuple):
    """A posterior and how it was found.

    Attributes:
      posterior: the fitted mixture.
      history: [seeds, checks, 4], columns step, cross-entropy, KL / n_train (both nats a choice,
        means since the last check) and the number of dimensions the pruning would keep; rows after
        a seed's end are NaN.
      converged: [seeds], whether that number stood still for the window before the step limit.
    """

    posterior: Posterior
    history: Float[np.ndarray, "seeds checks 4"]
    converged: np.ndarray


def log_prior(x: Float[Array, "m d"], prior: Prior) -> Float[Array, "m d"]:
    """Log density of the spike-and-slab mixture, in log space throughout."""
    return jnp.logaddexp(
        jnp.log(prior.pi) + jax.scipy.stats.norm.logpdf(x, scale=prior.spike),
        jnp.log1p(-prior.pi) + jax.scipy.stats.norm.logpdf(x, scale=prior.slab),
    )


def negative_elbo(
    params: Params,
    epsilon: Float[Array, "m d"],
    triplets: Int[Array, "b 3"],
    *,
    n_train: int,
    prior: Prior,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """One-sample estimate of the two parts of the negative bound, per training choice.

    Args:
      params: variational parameters.
      epsilon: standard normal noise.
      triplets: choices, the odd one out last; a batch of the training choices or all.
      n_train: number of training choices.
      prior: of X.

    Returns:
      Mean cross-entropy over the batch, and KL / n_train; the loss is their sum. Nats.
    """
    x = params.mu + jnp.exp(params.log_sigma) * epsilon
    similarities = kernels.pair_similarities(jax.nn.relu(x)[triplets])
    log_q = jax.scipy.stats.norm.logpdf(epsilon) - params.log_sigma
    kl = (log_q - log_prior(x, prior)).sum() / n_train
    return kernels.cross_entropy(similarities).mean(), kl


def fit(
    config: ml_collections.ConfigDict,
    triplets: Int[np.ndarray, "n 3"],
    n_objects: int,
    *,
    scratch: Path | None = None,
) -> Fit:
    """Fits one component for each seed.

    Args:
      config: see `configs/things.py` for the fields and where their values come from.
      triplets: training choices, the odd one out last.
      n_objects: number of objects, more than the largest index.
      scratch: folder for the state at every check; an interrupted fit resumes from it to the same
        bits.

    Raises:
      InputError: there are fewer choices than a fit needs.
    """
    if len(triplets) < 100:
        raise InputError(f"{len(triplets)} training choices; VICE expects at least 100.")
    seeds = [config.seed + s for s in range(config.n_seeds)]
    results = [_fit_seed(config, triplets, n_objects, seed, scratch) for seed in seeds]
    n_dims = max(len(kept) for _, kept, _, _ in results)
    n_checks = max(len(history) for _, _, history, _ in results)
    mu, sigma = np.zeros((2, len(seeds), n_objects, n_dims), np.float32)
    history = np.full((len(seeds), n_checks, 4), np.nan)
    for s, (params, kept, rows, _) in enumerate(results):
        mu[s, :, : len(kept)] = params.mu[:, kept]
        sigma[s, :, : len(kept)] = np.exp(params.log_sigma[:, kept])
        history[s, : len(rows)] = rows
    converged = np.array([done for *_, done in results])
    return Fit(Posterior(mu, sigma), history, converged)


def _fit_seed(
    config: ml_collections.ConfigDict,
    triplets: np.ndarray,
    n_objects: int,
    seed: int,
    scratch: Path | None,
) -> tuple[Params, np.ndarray, np.ndarray, bool]:
    n_train, chunk = len(triplets), config.check_every
    key = jax.random.key(seed)
    start = jax.random.uniform(
        jax.random.fold_in(key, 0), (n_objects, config.init_dim), maxval=config.init_scale
    )
    params = Params(mu=start, log_sigma=jnp.full_like(start, -1 / jnp.std(start)))
    prior = Prior(config.spike, config.slab, config.pi)
    optimizer = optax.scale_by_adam()
    device_triplets = jnp.asarray(triplets, jnp.int32)

    def loss(params, key, batch):
        epsilon = jax.random.normal(key, params.mu.shape)
        cross_entropy, kl = negative_elbo(params, epsilon, batch, n_train=n_train, prior=prior)
        return cross_entropy + kl, jnp.stack([cross_entropy, kl])

    def train_step(carry, step_and_lr):
        params, state = carry
        step, lr = step_and_lr
        noise_key, batch_key = jax.random.split(jax.random.fold_in(key, step))
        rows = jax.random.randint(batch_key, (min(config.batch_size, n_train),), 0, n_train)
        grads, parts = jax.grad(loss, has_aux=True)(params, noise_key, device_triplets[rows])
        updates, state = optimizer.update(grads, state, params)
        params = jax.tree.map(lambda value, update: value - lr * update, params, updates)
        return (params, state), parts

    @jax.jit
    def train_chunk(carry, steps, lrs):
        carry, parts = jax.lax.scan(train_step, carry, (steps, lrs))
        return carry, parts.mean(axis=0)

    carry, history, cooldown_from = (params, optimizer.init(params)), [], -1
    saved = scratch / f"seed{seed}.npz" if scratch else None
    if saved and saved.is_file():
        with np.load(saved, allow_pickle=False) as archive:
            leaves = [archive[f"leaf{i}"] for i in range(len(jax.tree.leaves(carry)))]
            history, cooldown_from = archive["history"].tolist(), int(archive["cooldown_from"])
        carry = jax.tree.unflatten(jax.tree.structure(carry), [jnp.asarray(x) for x in leaves])
    bar = progress(total=config.max_steps + config.cooldown_steps, desc=f"VICE seed {seed}")
    step = int(history[-1][0]) if history else 0
    bar.update(step)
    while cooldown_from < 0 or step < cooldown_from + config.cooldown_steps:
        steps = np.arange(step, step + chunk)
        done = 0 if cooldown_from < 0 else (steps - cooldown_from) / config.cooldown_steps
        lrs = np.full(chunk, config.lr) * np.clip(1 - done, 0, 1)
        carry, parts = train_chunk(carry, steps, jnp.asarray(lrs, jnp.float32))
        step += chunk
        cross_entropy, kl = np.asarray(parts, np.float64)
        if not np.isfinite(cross_entropy + kl):
            raise FloatingPointError(f"VICE diverged at step {step}; lower config.vice.lr.")
        host = jax.device_get(carry[0])
        kept = prune(host.mu, np.exp(host.log_sigma), config.fdr_alpha, config.min_objects)
        history.append([step, cross_entropy, kl, len(kept)])
        if cooldown_from < 0 and (_is_stable(history, config) or step >= config.max_steps):
            cooldown_from = step
            bar.total = step + config.cooldown_steps
        text = f"CE {cross_entropy:.4f}, KL/n {kl:.4f}, {len(kept)} dimensions"
        bar.set_postfix_str(text, refresh=False)
        bar.update(chunk)
        if saved:
            leaves = {f"leaf{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(carry))}
            files.write_npz(saved, **leaves, history=history, cooldown_from=cooldown_from)
    bar.close()
    converged = _is_stable([row for row in history if row[0] <= cooldown_from], config)
    if not converged:
        print(
            f"VICE seed {seed}: the number of dimensions still changed at the limit of "
            f"{config.max_steps} steps; a larger config.vice.max_steps may fit better.",
            file=sys.stderr,
        )
    host = jax.device_get(carry[0])
    kept = prune(host.mu, np.exp(host.log_sigma), config.fdr_alpha, config.min_objects)
    if len(kept) == 0:
        print(
            f"VICE seed {seed}: {n_train} choices on {n_objects} objects show no dimension beyond "
            "doubt; all are kept, and p* is close to a third.",
            file=sys.stderr,
        )
        kept = np.argsort(-np.abs(host.mu).sum(axis=0), kind="stable")
    return host, kept, np.array(history), converged


def _is_stable(history: list[list], config: ml_collections.ConfigDict) -> bool:
    """Whether the number of kept dimensions stood still over the window, past the burn-in.

    Single dimensions come and go at the threshold as long as the learning rate is constant, so that
    "still" means within a share of the number.
    """
    step = history[-1][0]
    recent = [row[3] for row in history if row[0] >= step - config.window]
    spread = max(recent) - min(recent)
    return step >= max(config.burn_in, config.window) and spread <= config.tolerance * max(recent)


def prune(
    mu: Float[np.ndarray, "m d"],
    sigma: Float[np.ndarray, "m d"],
    alpha: float,
    min_objects: int,
) -> Int[np.ndarray, "kept"]:
    """Finds the dimensions that describe enough objects, the largest first.

    An object has a dimension if its weight is positive beyond doubt: Φ(0; μ, σ), the probability of
    a weight below zero, is significant under the Benjamini–Hochberg procedure at level `alpha`,
    applied to each dimension. A dimension is kept if more than `min_objects` objects have it.

    Returns:
      Indices of the kept dimensions in descending order of their L1 norm.
    """
    p_values = scipy.stats.norm.cdf(-mu.astype(np.float64) / sigma)
    significant = scipy.stats.false_discovery_control(p_values, axis=0, method="bh") <= alpha
    order = np.argsort(-np.abs(mu).sum(axis=0), kind="stable")
    return order[significant.sum(axis=0)[order] > min_objects]


def p_star(
    posterior: Posterior,
    triplets: Int[np.ndarray, "n 3"],
    *,
    n_samples: int = 50,
    seed: int = 0,
) -> Float[np.ndarray, "n 3"]:
    """Posterior probabilities of the three pairs of any triplets (002, A.1.1).

    The Monte-Carlo mean over R samples of the embedding from every component of the mixture.

    Args:
      posterior: a fitted posterior.
      triplets: object indices, in any order, observed or not.
      n_samples: R, of each component; 50 in the paper, which has one.
      seed: of the samples.

    Returns:
      float64 [n, 3] in the order (ij, ik, jk), rows sum to 1.
    """
    component = np.repeat(np.arange(len(posterior.mu)), n_samples)
    mu, sigma = jnp.asarray(posterior.mu), jnp.asarray(posterior.sigma)
    rows = jnp.asarray(triplets, jnp.int32)

    @jax.jit
    def sample(total, draw):
        s, key = draw
        y = jax.nn.relu(mu[s] + sigma[s] * jax.random.normal(key, mu[s].shape))
        similarities = kernels.gather_similarities(y @ y.T, rows)
        return total + jnp.exp(kernels.log_probabilities(similarities)), None

    keys = jax.random.split(jax.random.key(seed), len(component))
    zeros = jnp.zeros(triplets.shape, jnp.float32)
    total, _ = jax.lax.scan(sample, zeros, (jnp.asarray(component), keys))
    p = np.asarray(total, np.float64)
    return p / p.sum(axis=1, keepdims=True)


def save_posterior(path: str | Path, fitted: Fit) -> None:
    """Writes a fit to an `.npz`, atomically."""
    files.write_npz(
        path, **fitted.posterior._asdict(), history=fitted.history, converged=fitted.converged
    )


def load_posterior(path: str | Path) -> Fit:
    """Reads a fit written by `save_posterior`.

    Raises:
      InputError: an array is missing, of the wrong shape, not finite, or a deviation is negative.
    """
    expected = "expected a VICE posterior with mu, sigma [seeds, objects, dimensions]"
    names = ["mu", "sigma", "history", "converged"]
    mu, sigma, history, converged = files.read_npz(path, names, expected=expected)
    if mu.dtype.kind != "f" or sigma.dtype.kind != "f":
        raise InputError(f"{path}: mu is of type {mu.dtype}, sigma {sigma.dtype}; {expected}.")
    if mu.ndim != 3 or mu.shape != sigma.shape or mu.size == 0:
        raise InputError(f"{path}: mu has shape {mu.shape}, sigma {sigma.shape}; {expected}.")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all() and (sigma >= 0).all()):
        raise InputError(f"{path}: a value is not finite or a deviation negative; {expected}.")
    return Fit(Posterior(mu, sigma), history, converged)
