"""The communication game between embeddings that really differ.

Both agents see the same objects, each in a way of their own. Four ways to differ can be dialled:

- a rotation, which changes no distance and so no answer: misaligned coordinates are not
  misalignment;
- noise: Bob's features are a mixture, by an angle, of Alice's and of others that she does not see;
- scaling: he weighs the dimensions differently, up to leaving half of them out;
- sign flips: what differs in a dimension seems alike to him. With all dimensions flipped he gives
  the opposite answer to every question. (Squared distances with negative weights are no metric,
  but n points with these very orders exist: squared distances plus a constant are those of points
  if the constant is large; Lingoes 1971, Psychometrika 36.)

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
from jaxtyping import Array, Float

from alignet.errors import InputError
from theory import checks as door
from theory import decoder
from theory.game import BATCH, COMPILER, Played, examined, trust

NOISE, SCALING, FLIPS = WAYS = range(3)  # to differ
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
    rng: np.random.Generator, way: int, dial: float, shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, "*b n d"], Float[np.ndarray, "*b n d"], Float[np.ndarray, " d"]]:
    """Objects as two agents see them, all standard normal.

    Args:
      rng: of the objects.
      way: NOISE, SCALING or FLIPS.
      dial: 0, no difference, to 1, the most of it: no feature in common; half of the dimensions
        left out; all dimensions flipped.
      shape: games (or none), objects, dimensions.

    Returns:
      Alice's embedding; Bob's, rotated against hers; the weights of the dimensions of his space.
    """
    alice, unseen = rng.standard_normal((2, *shape), np.float32)
    angle = dial * np.pi / 2 if way == NOISE else 0.0
    bob = np.cos(angle) * alice + np.sin(angle) * unseen
    # Half of the dimensions lose their weight together; or one after the other changes its sign.
    d = shape[-1]
    place = np.arange(d)
    weights = np.ones(d)
    if way == SCALING:
        weights[: d // 2] = 1 - dial
    if way == FLIPS:
        weights = 1 - 2 * np.clip(dial * d - place, 0, 1)
    rotation = np.linalg.qr(rng.standard_normal((*shape[:-2], d, d)))[0]
    rotated = alice @ rotation
    return rotated.astype(np.float32), bob.astype(np.float32), weights.astype(np.float32)


def meet(
    rng: np.random.Generator,
    games: int,
    way: int,
    dial: float,
    *,
    n: int,
    d: int,
    checks: tuple[int, ...],
) -> Met:
    """Plays games between embeddings (000 and 001, Proposition 3.8, Theorem 3.9).

    Questions are random, none comes twice, and Alice's embedding answers them.

    Args:
      rng: of all games; they share no object.
      games: how many.
      way, dial: how the two differ, see `differing`.
      n: shared objects.
      d: dimensions; at least 2 for SCALING.
      checks: after how many answers Bob is examined; ascending, none more than about twice the one
        before, the last at most n(n−1)/2.

    Raises:
      InputError: there is no such way, the dial is outside 0 to 1, n is below 3, games, d or a
        check below 1, or checks do not ascend or go beyond the number of questions.
    """
    if way not in WAYS:
        raise InputError(f"way is {way}; expected NOISE, SCALING or FLIPS, 0 to 2.")
    door.probability(dial, "dial")
    door.at_least(n, 3, "n")
    door.at_least(d, 2 if way == SCALING else 1, "d")  # of one there is no half to leave out
    checks = door.ascending(checks, "checks")
    door.at_least(n * (n - 1) // 2, checks[-1], "the number of questions")
    door.at_least(games, 1, "games")
    alice, bob, weights = differing(rng, way, float(dial), (games, n + 1, d))
    order = np.tile(np.arange(n * (n - 1) // 2), (games, 1))
    turn = rng.permuted(order, axis=1)
    return jax.tree.map(np.asarray, _meet(alice, bob, turn, weights, checks=checks))


@functools.partial(jax.jit, static_argnames="checks", compiler_options=COMPILER)
def _meet(alice, bob, turn, weights, *, checks) -> Met:
    play = functools.partial(_one, weights=weights, checks=checks)
    return jax.lax.map(lambda game: play(*game), (alice, bob, turn), batch_size=BATCH)


def _one(alice, bob, turn, *, weights, checks) -> Met:
    n, d = len(alice) - 1, alice.shape[1]
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
    sizes = np.bincount(DECILES * np.arange(len(truth)) // len(truth))
    by_margin = differ[n][jnp.argsort(jnp.abs(along))]
    flips = jnp.stack([part.mean() for part in jnp.split(by_margin, np.cumsum(sizes)[:-1])])
    return Met(epsilon, shared, flips, play(trusted))
