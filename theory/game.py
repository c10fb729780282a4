"""The communication game of Proposition 3.8's proof, played (000 and 001, Figures 1 and 2).

Alice sees a new object; Bob asks her which of two objects that both know it is nearer to. Her
answers are those of her own representation, and he is to say of every such question what his own
would be, had he seen the object. There are two ways for the two to disagree:

- `channel`: the proof's binary symmetric channel. Every answer is the one that Bob's representation
  would give, flipped with probability ε, each time anew.
- `geometry`: two embeddings that differ. Which answers are flipped lies in the objects: asked
  again, Alice says the same, and what she does not see she cannot tell.

Here is the first; `theory.geometry` has the second. Many games are one compiled call.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, ScalarLike

from theory import checks as door
from theory import decoder
from theory.decoder import Belief, Bisectors

RANDOM, AMBIGUOUS, INFORMATIVE = range(3)  # how Bob picks questions
SETTLED = 0.02  # probability of an answer below which it need not be asked for
SUREST = 1e-4  # an answer is never trusted more than this ε says
LEAST_D = 4  # dimensions are filled up to so many, of weight 0, so that few shapes are compiled
BATCH = 8  # games at once: what they hold fits a processor's cache


class Played(NamedTuple):
    """How games went, after so many answers.

    Attributes:
      accuracy: share of the n(n−1)/2 questions that Bob answers as his own representation would,
        by the side that he holds for more probable.
      bits: log₂ p(answers | the object's place) − log₂ p(answers): what they told him of it.
      effective: share of his candidates, see `decoder.effective`.
    """

    accuracy: Float[Array | np.ndarray, "*games t"]
    bits: Float[Array | np.ndarray, "*games t"]
    effective: Float[Array | np.ndarray, "*games t"]


def trust(epsilon: ScalarLike | Float[Array, " q"]) -> Float[Array, "*q"]:
    """λ, the log odds that an answer is right; one that can be ±∞ is cut at ε = 10⁻⁴."""
    e = jnp.clip(epsilon, SUREST, 1 - SUREST)
    return jnp.log1p(-e) - jnp.log(e)


def new_game(
    key: Key[Array, ""], n: int, weights: Float[Array, " d"]
) -> tuple[Bisectors, Float[Array, " q"]]:
    """Shared objects and a new one, all standard normal.

    Args:
      key: of the objects.
      n: shared objects.
      weights: of the dimensions of Bob's space; see `decoder.bisectors`.

    Returns:
      The questions in Bob's space, and his right answers: +1 for "nearer to j", −1 for k.
    """
    points = jax.random.normal(key, (n + 1, len(weights)))
    questions = decoder.bisectors(points[:n], weights)
    return questions, jnp.where(decoder.sides(questions, points[n:])[0], 1.0, -1.0)


def random_questions(
    key: Key[Array, ""],
    games: int,
    epsilon: float,
    *,
    n: int,
    d: int,
    checks: tuple[int, ...],
    believed: float | None = None,
) -> Played:
    """Plays games with random questions, any of them again and again, through the channel.

    Args:
      key: of all games; they share no object.
      games: how many.
      epsilon: probability that an answer is flipped.
      n: shared objects.
      d: dimensions.
      checks: after how many answers Bob is examined; ascending, none more than about twice the one
        before.
      believed: what Bob takes ε for; None if he knows it.

    Returns:
      Arrays [games, checks].

    Raises:
      InputError: ε is no probability, n is below 3, or games, d or a check below 1.
    """
    believed = epsilon if believed is None else believed
    door.probability(believed, "believed")
    keys, weights = _games(key, games, epsilon, n, d)
    door.at_least(min(checks), 1, "checks")
    played = _many_channel(keys, float(epsilon), float(believed), weights, n=n, checks=checks)
    return jax.tree.map(np.asarray, played)


def picked_questions(
    key: Key[Array, ""],
    games: int,
    epsilon: float,
    rule: int,
    *,
    n: int,
    d: int,
    blocks: int,
    block: int,
) -> Played:
    """Plays games with questions picked one after the other, by what Bob, who knows ε, has learnt.

    Args:
      key, games, epsilon, n, d: as of `random_questions`; the same key gives the same objects.
      rule: RANDOM; AMBIGUOUS, the next question in the order of the objects to which the answer is
        not yet clear (Jamieson and Nowak 2011, Algorithm 1, "clear" being 98 % probable);
        INFORMATIVE, that of whose answer Bob knows least, from which he learns most.
      blocks: of questions; after each, Bob is examined and draws his candidates anew.
      block: questions in each.

    Returns:
      Arrays [games, blocks].

    Raises:
      InputError: as `random_questions`.
    """
    keys, weights = _games(key, games, epsilon, n, d)
    door.at_least(blocks, 1, "blocks")
    door.at_least(block, 1, "block")
    played = _many_in_turn(keys, float(epsilon), rule, weights, n=n, blocks=blocks, block=block)
    return jax.tree.map(np.asarray, played)


def _games(
    key: Key[Array, ""], games: int, epsilon: float, n: int, d: int
) -> tuple[Key[Array, " games"], Float[Array, " d"]]:
    door.probability(epsilon, "epsilon")
    door.at_least(n, 3, "n")
    weights = jnp.arange(max(door.at_least(d, 1, "d"), LEAST_D)) < d
    return jax.random.split(key, door.at_least(games, 1, "games")), weights.astype(jnp.float32)


@functools.partial(jax.jit, static_argnames=("n", "checks"))
def _many_channel(keys, epsilon, believed, weights, *, n, checks):
    play = functools.partial(
        _channel, epsilon=epsilon, believed=believed, weights=weights, n=n, checks=checks
    )
    return jax.lax.map(play, keys, batch_size=BATCH)


@functools.partial(jax.jit, static_argnames=("n", "blocks", "block"))
def _many_in_turn(keys, epsilon, rule, weights, *, n, blocks, block):
    play = functools.partial(
        _in_turn, epsilon=epsilon, rule=rule, weights=weights, n=n, blocks=blocks, block=block
    )
    return jax.lax.map(play, keys, batch_size=BATCH)


def _channel(key, *, epsilon, believed, weights, n, checks) -> Played:
    objects, which, flip, candidates = jax.random.split(key, 4)
    questions, truth = new_game(objects, n, weights)
    asked = jax.random.randint(which, (checks[-1],), 0, len(truth))
    kept = 1 - 2.0 * jax.random.bernoulli(flip, epsilon, asked.shape)
    check = np.searchsorted(checks, np.arange(checks[-1]), side="right")
    votes = jnp.zeros((len(checks), len(truth))).at[check, asked].add(truth[asked] * kept)
    return examined(candidates, votes.cumsum(axis=0), trust(believed), questions, truth)


def examined(
    key: Key[Array, ""],
    votes: Float[Array, "t q"],
    trusted: ScalarLike | Float[Array, " q"],
    questions: Bisectors,
    truth: Float[Array, " q"],
) -> Played:
    """What Bob makes of the answers up to each check.

    Args:
      key: of his candidates.
      votes: the number of "nearer to j" less that of "nearer to k", of every question.
      trusted: λ, of all questions or of each.
      questions, truth: as of `new_game`.
    """

    def check(belief: Belief, given):
        own, seen = given
        belief, side = decoder.decode(own, trusted * seen, questions, belief)
        return belief, _examine(belief, side, trusted * seen, truth)

    start = decoder.nothing_known(questions.normal.shape[1])
    _, played = jax.lax.scan(check, start, (jax.random.split(key, len(votes)), votes))
    return Played(*played)


def _in_turn(key, *, epsilon, rule, weights, n, blocks, block) -> Played:
    objects, play = jax.random.split(key)
    questions, truth = new_game(objects, n, weights)
    n_questions, lam = len(truth), trust(epsilon)
    start = decoder.nothing_known(questions.normal.shape[1])
    start, side = decoder.decode(play, jnp.zeros(n_questions), questions, start)

    def ask(state, own):
        belief, side, votes = state
        pick, flip = jax.random.split(own)
        p = decoder.nearer(belief, side)
        doubt = jnp.minimum(p, 1 - p)
        turn = 1 - jnp.arange(n_questions) / n_questions
        scores = jnp.stack([
            jax.random.uniform(pick, p.shape),
            jnp.where(doubt > SETTLED, 1 + turn, doubt),
            doubt,
        ])  # fmt: skip
        asked = jnp.argmax(scores[rule])
        answer = truth[asked] * jnp.where(jax.random.bernoulli(flip, epsilon), -1, 1)
        log_weights = belief.log_weights + lam * answer * jnp.where(side[:, asked], 0.5, -0.5)
        votes = votes.at[asked].add(lam * answer)
        return (belief._replace(log_weights=log_weights), side, votes), None

    def ask_some(state, own):
        *asking, drawing = jax.random.split(own, block + 1)
        (belief, side, votes), _ = jax.lax.scan(ask, state, jnp.stack(asking))
        belief, side = decoder.decode(drawing, votes, questions, belief)
        return (belief, side, votes), _examine(belief, side, votes, truth)

    state = (start, side, jnp.zeros(n_questions))
    _, played = jax.lax.scan(ask_some, state, jax.random.split(jax.random.fold_in(key, 1), blocks))
    return Played(*played)


def _examine(
    belief: Belief, side: Array, votes: Float[Array, " q"], truth: Float[Array, " q"]
) -> tuple[Array, Array, Array]:
    p = decoder.nearer(belief, side)
    accuracy = jnp.where(truth > 0, p > 0.5, p < 0.5).mean()
    bits = (votes @ truth / 2 - belief.log_evidence) / jnp.log(2)
    return accuracy, bits, decoder.effective(belief.log_weights)
