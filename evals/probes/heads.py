"""The classification heads of paper 000, trained on frozen features.

    one layer     dropout → linear
    two layers    dropout → linear → ReLU → linear

The dropout drops 80 % of the features and multiplies the others by 5; there is none when the head
is used. Features are standardised by the head's own training rows, so that one learning rate fits
the features of every model. A sweep over draws and numbers of shots is one compiled call: all
heads take equally many steps, on batches drawn from their own rows of one feature matrix.
"""

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from evals.probes.linear import predict

Floats = Float[Array, "_ _"] | Float[np.ndarray, "_ _"]
ROWS_A_BLOCK = 8192  # of test rows, whose scores are in memory at once


class Recipe(NamedTuple):
    """How a head is trained: by Adam, the learning rate falling to 0 along a cosine."""

    drop: float = 0.8  # paper 000
    hidden: int = 256  # ours, as all that follow: the paper's supplement is not public
    steps: int = 2000
    batch: int = 64  # drawn with replacement
    rate: float = 1e-3  # at the first step


RECIPE = Recipe()


class Layer(NamedTuple):
    """The outputs x @ weights.T + bias.

    Attributes:
      weights: [n_out, n_in], as in PyTorch; their gradient takes half the time of [n_in, n_out].
      bias: [n_out].
    """

    weights: Float[Array, "n_out n_in"]
    bias: Float[Array, " n_out"]


Head = tuple[Layer, ...]


def classify(
    x: Float[np.ndarray, "n d"],
    y: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    trains: Sequence[Int[np.ndarray, "r _"]],
    *,
    n_classes: int,
    layers: int,
    seed: int = 0,
    recipe: Recipe = RECIPE,
) -> list[Int[np.ndarray, "r m"]]:
    """Trains a head for every number of shots and draw, and names the class of other rows.

    A head depends on the seed, on its rows and on the number of its draw, not on what else is in
    the sweep. Heads of one draw start alike and drop the same features.

    Args:
      x: features that are learnt from.
      y: their classes.
      test: features to be classified.
      trains: for each number of shots, the rows of x that each of r draws learns from.
      n_classes: number of classes.
      layers: 1 or 2.
      seed: of initial weights, batches and dropout.
      recipe: hyper-parameters.

    Returns:
      For each number of shots, the class of every test row by draw; −1 where several classes have
      the highest score.
    """
    means, scales = _moments(x, trains)
    counts = [rows.shape[1] for rows in trains]
    padded = [np.pad(rows, ((0, 0), (0, max(counts) - rows.shape[1]))) for rows in trains]
    trained = _train(
        jnp.asarray(x, jnp.float32),
        jnp.asarray(y, jnp.int32),
        np.stack(padded, axis=1),
        np.array(counts),
        means,
        scales,
        seed,
        n_classes=n_classes,
        layers=layers,
        recipe=recipe,
    )
    heads = jax.device_get(trained)
    found = []
    for shots, rows in enumerate(trains):
        draws = []
        for place in [(number, shots) for number in range(len(rows))]:
            head = jax.tree.map(operator.itemgetter(place), heads)
            draws.append(_classes(head, test, means[place], scales[place]))
        found.append(np.stack(draws))
    return found


def scores(head: Head, x: Floats) -> Floats:
    """The class scores [b, c] of standardised features [b, d], without dropout."""
    first, *rest = head
    x = x @ first.weights.T + first.bias
    for layer in rest:
        x = x.clip(0) @ layer.weights.T + layer.bias
    return x


def initial(key: Key[Array, ""], sizes: Sequence[int]) -> Head:
    """Weights and biases uniform in ±1/√(number of inputs), as in PyTorch."""
    layers = []
    keys = jax.random.split(key, len(sizes) - 1)
    for own, (n_in, n_out) in zip(keys, itertools.pairwise(sizes), strict=True):
        drawn = jax.random.uniform(own, (n_out, n_in + 1), minval=-1, maxval=1) / n_in**0.5
        layers.append(Layer(drawn[:, :-1], drawn[:, -1]))
    return tuple(layers)


def loss(
    head: Head,
    x: Float[Array, "b d"],
    y: Int[Array, " b"],
    keep: Bool[Array, "b d"],
    *,
    drop: float,
) -> Float[Array, ""]:
    """The mean cross-entropy on a batch of which `keep` is not dropped."""
    kept = jnp.where(keep, x / (1 - drop), 0)
    return optax.softmax_cross_entropy_with_integer_labels(scores(head, kept), y).mean()


def optimiser(recipe: Recipe) -> optax.GradientTransformation:
    """Adam with PyTorch's constants."""
    return optax.adam(optax.cosine_decay_schedule(recipe.rate, recipe.steps))


@functools.partial(jax.jit, static_argnames=("n_classes", "layers", "recipe"))
def _train(x, y, rows, counts, means, scales, seed, *, n_classes: int, layers: int, recipe: Recipe):
    """The heads by draw and shots [r, s, ...].

    Args:
      rows: [r, s, n], of which each head has the first `counts` [s].
      means, scales: [r, s, d], of those rows.
    """
    sizes = (x.shape[1], *[recipe.hidden] * (layers - 1), n_classes)
    adam = optimiser(recipe)

    def one(rows, count, mean, scale, key):
        start, which, dropped = jax.random.split(key, 3)
        places = jax.random.randint(which, (recipe.steps, recipe.batch), 0, count)

        def step(state, chosen):
            head, moments = state
            batch, key = chosen
            keep = jax.random.bernoulli(key, 1 - recipe.drop, (recipe.batch, x.shape[1]))
            z = (x[batch] - mean) * scale
            gradient = jax.grad(loss)(head, z, y[batch], keep, drop=recipe.drop)
            updates, moments = adam.update(gradient, moments)
            return (optax.apply_updates(head, updates), moments), None

        head = initial(start, sizes)
        steps = rows[places], jax.random.split(dropped, recipe.steps)
        (head, _), _ = lax.scan(step, (head, adam.init(head)), steps)
        return head

    # The heads of one draw share what is dropped: to draw it takes as long as their products.
    together = jax.vmap(one, in_axes=(0, 0, 0, 0, None))

    def draw(chosen):
        number, rows, means, scales = chosen
        key = jax.random.fold_in(jax.random.key(seed), number)
        return together(rows, counts, means, scales, key)

    return lax.map(draw, (jnp.arange(len(rows)), rows, means, scales))


def _moments(
    x: np.ndarray, trains: Sequence[np.ndarray]
) -> tuple[Float[np.ndarray, "r s d"], Float[np.ndarray, "r s d"]]:
    """Mean and 1 / standard deviation of every column over each head's rows; 0 if constant.

    Of such a column nothing is learnt, so that what it holds elsewhere must not count.
    """
    means, scales = [], []
    for rows in trains:
        parts = [np.asarray(x[row], np.float64) for row in rows]
        means.append([part.mean(axis=0) for part in parts])
        deviations = [np.where(np.ptp(part, axis=0), part.std(axis=0), np.inf) for part in parts]
        scales.append([1 / deviation for deviation in deviations])
    return tuple(np.array(a, np.float32).swapaxes(0, 1) for a in (means, scales))


def _classes(
    head: Head, x: np.ndarray, mean: np.ndarray, scale: np.ndarray
) -> Int[np.ndarray, " m"]:
    """The class of every row, a block of rows at a time."""
    found = []
    for start in range(0, len(x), ROWS_A_BLOCK):
        z = (np.asarray(x[start : start + ROWS_A_BLOCK], np.float32) - mean) * scale
        found.append(predict(scores(head, z)))
    return np.concatenate(found)
