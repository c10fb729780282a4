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
from theory.game import (
    AMBIGUOUS,
    BATCH,
    COMPILER,
    INFORMATIVE,
    Played,
    asked_in_turn,
    examined,
    trust,
)

NOISE, SCALING, FLIPS = range(3)  # the ways to differ
WAYS = {NOISE: "noise", SCALING: "scaling", FLIPS: "sign flips"}
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
    checks = door.ascending(checks, "checks")
    _check(games, way, dial, n, d, checks[-1])
    embeddings = differing(rng, way, float(dial), (games, n + 1, d))
    order = np.tile(np.arange(n * (n - 1) // 2), (games, 1))
    turn = rng.permuted(order, axis=1)
    return jax.tree.map(np.asarray, _meet(*embeddings, turn, checks=checks))


def meet_and_pick(
    rng: np.random.Generator,
    games: int,
    way: int,
    dial: float,
    rule: int,
    *,
    n: int,
    d: int,
    blocks: int,
    block: int,
) -> Met:
    """Plays games between embeddings with questions that Bob picks, none twice (Lemma 3.7).

    Args:
      rng, games, way, dial, n, d: as of `meet`; the same seed gives the same objects.
      rule: `game.AMBIGUOUS` or `game.INFORMATIVE`; see `game.picked_questions`.
      blocks: of questions; after each, Bob is examined and places his candidates anew.
      block: questions in each; all blocks have at most n(n−1)/2.

    Returns:
      What came of it for two Bobs only: KNOWN and SHARED, to whom all answers are as trustworthy.

    Raises:
      InputError: there is no such rule, or as of `meet`.
    """
    if rule not in (AMBIGUOUS, INFORMATIVE):
        raise InputError(f"rule is {rule}; expected AMBIGUOUS or INFORMATIVE, 1 or 2.")
    door.at_least(blocks, 1, "blocks")
    door.at_least(block, 1, "block")
    _check(games, way, dial, n, d, blocks * block)
    embeddings = differing(rng, way, float(dial), (games, n + 1, d))
    # Neither Alice nor these rules need chance; it says how many questions there are.
    chance = np.zeros((games, blocks + 1, block, 2), np.float32)
    return jax.tree.map(np.asarray, _meet_and_pick(*embeddings, chance, rule))


def _check(games: int, way: int, dial: float, n: int, d: int, asked: int) -> None:
    if way not in WAYS:
        raise InputError(f"way is {way}; expected NOISE, SCALING or FLIPS, 0 to 2.")
    door.probability(dial, "dial")
    door.at_least(n, 3, "n")
    door.at_least(d, 2 if way == SCALING else 1, "d")  # of one there is no half to leave out
    door.at_least(n * (n - 1) // 2, asked, "the number of questions")
    door.at_least(games, 1, "games")


@functools.partial(jax.jit, static_argnames="checks", compiler_options=COMPILER)
def _meet(alice, bob, weights, turn, *, checks) -> Met:
    def play(given):
        alice, bob, turn = given
        between, epsilon, shared, each, flips = _between(alice, bob, weights)
        questions, truth, answers = between
        votes = jnp.stack([jnp.where(turn < t, answers, 0) for t in checks])
        everywhere = jnp.ones(len(truth))
        trusted = jnp.stack([
            trust(epsilon) * everywhere,
            trust(shared) * everywhere,
            trust(each),
            trust(BELIEF) * everywhere,
        ])  # fmt: skip
        examine = jax.vmap(lambda lam: examined(votes, lam, questions, truth))
        return Met(epsilon, shared, flips, examine(trusted))

    return jax.lax.map(play, (alice, bob, turn), batch_size=BATCH)


@functools.partial(jax.jit, compiler_options=COMPILER)
def _meet_and_pick(alice, bob, weights, chance, rule) -> Met:
    def play(given):
        alice, bob, chance = given
        between, epsilon, shared, _, flips = _between(alice, bob, weights)
        questions, truth, answers = between

        def answer(asked: Array, _: Array) -> Array:
            return answers[asked]

        def pick(lam: Array) -> Played:
            return asked_in_turn(questions, truth, answer, lam, rule, chance, once=True)

        played = jax.vmap(pick)(jnp.stack([trust(epsilon), trust(shared)]))
        return Met(epsilon, shared, flips, played)

    return jax.lax.map(play, (alice, bob, chance), batch_size=BATCH)


def _between(alice, bob, weights):
    """Bob's questions about the last object, his and Alice's answers; how far the two differ.

    Returns:
      The three; ε about the last object; about the shared ones; of each question; the flips.
    """
    n, d = len(alice) - 1, alice.shape[1]
    hers = decoder.sides(decoder.bisectors(alice[:n], jnp.ones(d)), alice)
    questions = decoder.bisectors(bob[:n], weights)
    his = decoder.sides(questions, bob)
    differ = (hers != his).astype(jnp.float32)

    # Of the shared objects those count that are not among the two asked about.
    j, k = decoder.pairs(n).T
    counts = (np.arange(n)[:, None] != j) & (np.arange(n)[:, None] != k)
    each = (jnp.where(counts, differ[:n], 0).sum(axis=0) + 1) / (n - 2 + 2)
    shared = jnp.where(counts, differ[:n], 0).sum() / float(counts.sum())

    along = bob[n] @ questions.normal.T - questions.offset
    sizes = np.bincount(DECILES * np.arange(len(j)) // len(j))
    by_margin = differ[n][jnp.argsort(jnp.abs(along))]
    flips = jnp.stack([part.mean() for part in jnp.split(by_margin, np.cumsum(sizes)[:-1])])
    truth, answers = (jnp.where(one[n], 1.0, -1.0) for one in (his, hers))
    return (questions, truth, answers), differ[n].mean(), shared, each, flips
