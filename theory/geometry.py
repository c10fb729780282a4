"""The communication game between embeddings that really differ.

Both agents see the same objects, each in a way of their own. Four ways to differ can be dialled:

- a rotation, which changes no distance and so no answer: misaligned coordinates are not
  misalignment;
- noise: Bob's features are a mixture, by an angle, of Alice's and of others that she does not see;
- scaling: he weighs the dimensions differently, up to leaving half of them out;
- sign flips: what differs in a dimension seems alike to him. With all dimensions flipped he gives
  the opposite answer to every question. (Squared distances with negative weights are no metric,
  but n points with these very orders exist: constant − squared distance can be embedded if the
  constant is large; Cailliez 1983, doi:10.1007/BF02294026.)

Alice answers each question once: asked again she would say the same. Bob treats her answers as if
they were flipped independently, and trusts them as far as ε says: the share of answers about this
object that are flipped (which he cannot know), that share among the objects both know (which he
can), or for each question the share of shared objects to which the two answer it differently.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from theory import checks as door
from theory import decoder
from theory.game import BATCH, Played, examined, trust

NOISE, SCALING, FLIPS = range(3)  # the ways to differ
KNOWN, SHARED, EACH, BELIEVED = range(4)  # whence Bob has ε
BELIEF = 0.1  # ε of a Bob who believes the answers
DECILES = 10


class Met(NamedTuple):
    """Games between two embeddings, an array [games, …] each.

    Attributes:
      epsilon: share of the questions about the new object that the two answer differently.
      shared: share of such questions about the shared objects, D_R.
      flips: share of answers that are flipped, by tenths of Bob's margin: how much farther one of
        the two objects is from the new one than the other; the closest decisions first.
      played: by each Bob: KNOWN, SHARED, EACH, BELIEVED.
    """

    epsilon: Float[Array | np.ndarray, "*games"]
    shared: Float[Array | np.ndarray, "*games"]
    flips: Float[Array | np.ndarray, "*games deciles"]
    played: Played


def differing(
    key: Key[Array, ""], way: Int[Array, ""], dial: Float[Array, ""], n: int, d: int
) -> tuple[Float[Array, "n d"], Float[Array, "n d"], Float[Array, " d"]]:
    """Objects as two agents see them, all standard normal.

    Args:
      key: of the objects.
      way: NOISE, SCALING or FLIPS.
      dial: 0, no difference, to 1, the most of it: no feature in common; half of the dimensions
        left out; all dimensions flipped.
      n: objects.
      d: dimensions.

    Returns:
      Alice's embedding, Bob's, rotated against each other where that can be, and the weights of the
      dimensions of Bob's space.
    """
    own, other, turn = jax.random.split(key, 3)
    alice, unseen = jax.random.normal(own, (n, d)), jax.random.normal(other, (n, d))
    angle = jnp.where(way == NOISE, dial, 0) * jnp.pi / 2
    bob = jnp.cos(angle) * alice + jnp.sin(angle) * unseen
    # Dimensions lose their weight, or change its sign, smoothly and one after the other.
    place = jnp.arange(d)
    lost = jnp.where(place < d // 2, 1 - dial, 1.0)
    flipped = 1 - 2 * jnp.clip(dial * d - place, 0, 1)
    weights = jnp.stack([jnp.ones(d), lost, flipped])[way]
    rotation = jnp.linalg.qr(jax.random.normal(turn, (d, d)))[0]
    return alice @ rotation, bob, weights


def meet(
    key: Key[Array, ""],
    games: int,
    way: int,
    dial: float,
    *,
    n: int,
    d: int,
    checks: tuple[int, ...],
) -> Met:
    """Plays games with random questions, none twice, answered by Alice's embedding.

    Args:
      key: of all games; they share no object.
      games: how many.
      way, dial: how the two differ, see `differing`.
      n: shared objects.
      d: dimensions.
      checks: after how many answers Bob is examined; ascending, none more than about twice the one
        before, the last at most n(n−1)/2.

    Raises:
      InputError: the dial is outside 0 to 1, n is below 3, games, d or a check below 1, or a check
        above the number of questions.
    """
    door.probability(dial, "dial")
    door.at_least(n, 3, "n")
    door.at_least(d, 1, "d")
    door.at_least(min(checks), 1, "checks")
    door.at_least(n * (n - 1) // 2, max(checks), "the number of questions")
    keys = jax.random.split(key, door.at_least(games, 1, "games"))
    met = _many(keys, way, float(dial), n=n, d=d, checks=checks)
    return jax.tree.map(np.asarray, met)


@functools.partial(jax.jit, static_argnames=("n", "d", "checks"))
def _many(keys, way, dial, *, n, d, checks):
    play = functools.partial(_meet, way=way, dial=dial, n=n, d=d, checks=checks)
    return jax.lax.map(play, keys, batch_size=BATCH)


def _meet(key, *, way, dial, n, d, checks) -> Met:
    objects, order = jax.random.split(key)
    alice, bob, weights = differing(objects, way, dial, n + 1, d)
    hers = decoder.sides(decoder.bisectors(alice[:n], jnp.ones(d)), alice)
    his_questions = decoder.bisectors(bob[:n], weights)
    his = decoder.sides(his_questions, bob)
    differ = (hers != his).astype(jnp.float32)

    # Of the shared objects those count that are not among the two asked about.
    j, k = decoder.pairs(n).T
    counts = (np.arange(n)[:, None] != j) & (np.arange(n)[:, None] != k)
    each = (jnp.where(counts, differ[:n], 0).sum(axis=0) + 1) / (n - 2 + 2)
    shared = jnp.where(counts, differ[:n], 0).sum() / float(counts.sum())
    epsilon = differ[n].mean()

    truth = jnp.where(his[n], 1.0, -1.0)
    answers = jnp.where(hers[n], 1.0, -1.0)
    turn = jax.random.permutation(order, len(truth))
    votes = jnp.stack([jnp.where(turn < t, answers, 0) for t in checks])
    everywhere = jnp.ones(len(truth))
    trusted = jnp.stack([
        trust(epsilon) * everywhere,
        trust(shared) * everywhere,
        trust(each),
        trust(BELIEF) * everywhere,
    ])  # fmt: skip
    play = jax.vmap(lambda lam: examined(votes, lam, his_questions, truth))

    along = bob[n] @ his_questions.normal.T - his_questions.offset
    rank = jnp.argsort(jnp.argsort(jnp.abs(along)))
    tenth = DECILES * rank // len(rank)
    flips = jnp.zeros(DECILES).at[tenth].add(differ[n]) / jnp.bincount(tenth, length=DECILES)
    return Met(epsilon, shared, flips, play(trusted))
