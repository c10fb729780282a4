"""Parts of L-BFGS: its memory, the direction of a step and the length."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Of the classes' means, see `inverse_hessian`: ours. With 0, as if the rows that matter were
# centred, fits took up to twice as many steps; 0.7 to 0.9 are alike.
SHARE = 0.75


class Memory(NamedTuple):
    """The latest pairs, the last one newest.

    Attributes:
      steps: [m, *shape of the parameters].
      changes: of the gradient, likewise.
      weights: [m], 1 / ⟨step, change⟩; 0 for a pair that is not there.
    """

    steps: Float[Array, "m *p"]
    changes: Float[Array, "m *p"]
    weights: Float[Array, " m"]


def dot(a: Float[Array, "*p"], b: Float[Array, "*p"]) -> Float[Array, ""]:
    """Inner product, added up in float64, which the caller has enabled."""
    return (a * b).sum(dtype=jnp.float64)


def empty(size: int, like: Float[Array, "*p"]) -> Memory:
    """A memory for pairs of that shape."""
    pairs = jnp.zeros((size, *like.shape), like.dtype)
    return Memory(pairs, pairs, jnp.zeros(size, like.dtype))


def remember(memory: Memory, step: Float[Array, "*p"], change: Float[Array, "*p"]) -> Memory:
    """Adds a pair and drops the oldest; one without curvature changes nothing."""
    product = dot(step, change)
    # Below this it is rounding.
    useful = product > 1e-7 * jnp.sqrt(dot(step, step) * dot(change, change))
    new = Memory(step, change, (1 / product).astype(memory.weights.dtype))
    added = (jnp.roll(old, -1, axis=0).at[-1].set(x) for old, x in zip(memory, new, strict=True))
    return jax.tree.map(lambda a, b: jnp.where(useful, a, b), Memory(*added), memory)


def direction(
    memory: Memory,
    gradient: Float[Array, "*p"],
    inverse: Callable[[Float[Array, "*p"]], Float[Array, "*p"]] = lambda q: q,
) -> Float[Array, "*p"]:
    """Minus the approximate inverse Hessian times the gradient (Nocedal's two loops).

    Args:
      memory: of at least one pair that may be empty.
      gradient: at the current point.
      inverse: multiplies by a first approximation of the inverse Hessian, symmetric and positive,
        up to a factor that the newest pair sets.
    """
    kind = gradient.dtype

    def backwards(q, pair):
        step, change, weight = pair
        amount = (weight * dot(step, q)).astype(kind)
        return q - amount * change, amount

    def forwards(q, pair):
        step, change, weight, amount = pair
        return q + (amount - (weight * dot(change, q)).astype(kind)) * step, None

    q, amounts = jax.lax.scan(backwards, gradient, memory, reverse=True)
    curvature = memory.weights[-1] * dot(memory.changes[-1], inverse(memory.changes[-1]))
    q = inverse(q) / jnp.where(curvature > 0, curvature, 1).astype(kind)
    return -jax.lax.scan(forwards, q, (*memory, amounts))[0]


def inverse_hessian(
    g: Float[Array, "e k"],
    means: Float[Array, "d k"],
    curvature: Float[Array, "..."] | float,
    of_bias: Float[Array, "..."],
) -> Float[Array, "e k"]:
    """Multiplies by about the inverse Hessian of softmax regression.

    For class k, whose p(1 − p) is large for rows around a mean m, the Hessian in its weights and
    its bias is about [diag(curvature) + n m mᵀ, n m; n mᵀ, n], n being `of_bias`.

    Args:
      g: like the coefficients, the bias below the weights.
      means: m of each class, `SHARE` of the mean of its rows.
      curvature: [d, k] or what broadcasts to it, in the weights, around m.
      of_bias: [k], likewise, in the bias.
    """
    weights = (g[:-1] - means * g[-1]) / curvature
    bias = g[-1] / of_bias - (means * weights).sum(axis=0)
    return jnp.append(weights, bias[None], axis=0)


def line_search(
    derivatives: Callable[[Float[Array, ""]], tuple[Float[Array, ""], Float[Array, ""]]],
) -> Float[Array, ""]:
    """The length at which a convex function has its minimum along a direction.

    Newton's method kept between known bounds, until the slope is a tenth of that at 0.

    Args:
      derivatives: the first and second derivative at a length; the first is negative at 0.
    """
    zero, unknown = jnp.zeros(()), jnp.full((), jnp.inf)

    def refine(carry):
        number, length, low, high, slope, _ = carry
        first, second = derivatives(length)
        slope = jnp.where(number == 0, first, slope)
        done = jnp.abs(first) <= 0.1 * jnp.abs(slope)
        low, high = jnp.where(first < 0, length, low), jnp.where(first < 0, high, length)
        furthest = jnp.where(number == 0, unknown, jnp.minimum(high, 10 * length))
        between = jnp.where(low > 0, jnp.sqrt(low * furthest), furthest / 10)
        newton = length - first / second
        better = jnp.where((low < newton) & (newton < furthest), newton, between)
        return number + 1, jnp.where(done, length, better), low, high, slope, done

    def unfinished(carry):
        return (carry[0] < 40) & ~carry[-1]

    start = (0, zero, zero, unknown, -unknown, jnp.array(False))
    _, length, low, _, _, done = jax.lax.while_loop(unfinished, refine, start)
    # Down to `low` a convex function has fallen all the way.
    return jnp.where(done, length, low)
