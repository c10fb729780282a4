"""The communication game of Proposition 3.8's proof, played (000 and 001, Figures 1 and 2).

Alice sees a new object; Bob asks her which of two objects that both know it is nearer to. Her
answers are those of her own representation, and he is to say of every such question what his own
would be, had he seen the object. There are two ways for the two to disagree:

- the proof's binary symmetric channel: every answer is the one that Bob's representation would
  give, flipped with probability ε, each time anew;
- two embeddings that differ: which answers are flipped lies in the objects. Asked again, Alice says
  the same, and what she does not see she cannot tell.

Here is the first; `theory.geometry` has the second. Many games are one compiled call, vmapped a few
at a time.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, ScalarLike

from alignet.errors import InputError
from theory import checks as door
from theory import decoder
from theory.decoder import Belief, Bisectors

RANDOM, AMBIGUOUS, INFORMATIVE = range(3)  # how Bob picks questions
RULES = {RANDOM: "random", AMBIGUOUS: "ambiguous in turn", INFORMATIVE: "most informative"}
SETTLED = 0.02  # probability of an answer below which it need not be asked for
SUREST = 1e-4  # an answer is never trusted more than this ε says
LEAST_D = 4  # dimensions are filled up to so many, of weight 0, so that few shapes are compiled
# Compiles in half the time what then takes a quarter longer; each is compiled for seconds of games.
COMPILER = {"xla_cpu_use_fusion_emitters": False}
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


def placed(
    points: Float[Array, "objects d"], weights: Float[Array, " d"]
) -> tuple[Bisectors, Float[Array, " q"]]:
    """Bob's questions about the last point, which he has not seen, and his right answers.

    Args:
      points: the n shared objects and the new one.
      weights: of the dimensions of his space; see `decoder.bisectors`.

    Returns:
      The questions, and +1 for "nearer to j", −1 for k.
    """
    questions = decoder.bisectors(points[:-1], weights)
    return questions, jnp.where(decoder.sides(questions, points[-1:])[0], 1.0, -1.0)


def random_questions(
    rng: np.random.Generator,
    games: int,
    epsilon: float,
    *,
    n: int,
    d: int,
    checks: tuple[int, ...],
    believed: float | None = None,
) -> Played:
    """Plays games through the channel (000 and 001, Proposition 3.8, Figure 2).

    Questions are random, and any of them may come again and again.

    Args:
      rng: of all games; they share no object.
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
      InputError: ε is no probability, n is below 3, games, d or a check below 1, or checks do not
        ascend.
    """
    weights = _checked(games, epsilon, n, d)
    believed = epsilon if believed is None else believed
    door.probability(believed, "believed")
    checks = door.ascending(checks, "checks")
    points = rng.standard_normal((games, n + 1, len(weights)), np.float32)
    chance = rng.random((games, 2, checks[-1]), np.float32)
    played = _channel(points, chance, float(epsilon), float(believed), weights, checks=checks)
    return jax.tree.map(np.asarray, played)


def picked_questions(
    rng: np.random.Generator,
    games: int,
    epsilon: float,
    rule: int,
    *,
    n: int,
    d: int,
    blocks: int,
    block: int,
) -> Played:
    """Plays games with questions picked one after the other (000 and 001, Lemma 3.7, Theorem 3.9).

    By what Bob, who knows ε, has learnt so far.

    Args:
      rng, games, epsilon, n, d: as of `random_questions`; the same seed gives the same objects.
      rule: RANDOM; AMBIGUOUS, the next question in the order of the objects to which the answer is
        not yet clear (Jamieson and Nowak 2011, Algorithm 1, "clear" being 98 % probable);
        INFORMATIVE, that of whose answer Bob knows least, from which he learns most.
      blocks: of questions; after each, Bob is examined and places his candidates anew.
      block: questions in each.

    Returns:
      Arrays [games, blocks].

    Raises:
      InputError: as `random_questions`.
    """
    if rule not in RULES:
        raise InputError(f"rule is {rule}; expected RANDOM, AMBIGUOUS or INFORMATIVE, 0 to 2.")
    weights = _checked(games, epsilon, n, d)
    door.at_least(blocks, 1, "blocks")
    door.at_least(block, 1, "block")
    points = rng.standard_normal((games, n + 1, len(weights)), np.float32)
    chance = rng.random((games, blocks + 1, block, 2), np.float32)
    played = _in_turn(points, chance, float(epsilon), rule, weights)
    return jax.tree.map(np.asarray, played)


def _checked(games: int, epsilon: float, n: int, d: int) -> Float[np.ndarray, " d"]:
    """The weights of d dimensions, filled up."""
    door.probability(epsilon, "epsilon")
    door.at_least(n, 3, "n")
    door.at_least(games, 1, "games")
    dimensions = np.arange(max(door.at_least(d, 1, "d"), LEAST_D))
    return (dimensions < d).astype(np.float32)


@functools.partial(jax.jit, static_argnames="checks", compiler_options=COMPILER)
def _channel(points, chance, epsilon, believed, weights, *, checks) -> Played:
    check = np.searchsorted(checks, np.arange(checks[-1]), side="right")

    def play(given):
        points, (which, flip) = given
        questions, truth = placed(points, weights)
        asked = jnp.floor(which * len(truth)).astype(jnp.int32)
        kept = jnp.where(flip < epsilon, -1.0, 1.0)
        votes = jnp.zeros((len(checks), len(truth))).at[check, asked].add(truth[asked] * kept)
        return examined(votes.cumsum(axis=0), trust(believed), questions, truth)

    return jax.lax.map(play, (points, chance), batch_size=BATCH)


def examined(
    votes: Float[Array, "t q"],
    trusted: ScalarLike | Float[Array, " q"],
    questions: Bisectors,
    truth: Float[Array, " q"],
) -> Played:
    """What Bob makes of the answers up to each check.

    Args:
      votes: the number of "nearer to j" less that of "nearer to k", of every question.
      trusted: λ, of all questions or of each.
      questions, truth: as of `placed`.
    """

    def check(belief: Belief, seen: Array):
        belief, side = decoder.decode(trusted * seen, questions, belief)
        return belief, _examine(belief, side, trusted * seen, truth)

    start = decoder.nothing_known(questions.normal.shape[1])
    _, played = jax.lax.scan(check, start, votes)
    return Played(*played)


@functools.partial(jax.jit, compiler_options=COMPILER)
def _in_turn(points, chance, epsilon, rule, weights) -> Played:
    def play(given):
        points, chance = given
        questions, truth = placed(points, weights)

        def answer(asked: Array, flip: Array) -> Array:
            return truth[asked] * jnp.where(flip < epsilon, -1, 1)

        return asked_in_turn(questions, truth, answer, trust(epsilon), rule, chance)

    return jax.lax.map(play, (points, chance), batch_size=BATCH)


def asked_in_turn(
    questions: Bisectors,
    truth: Float[Array, " q"],
    answer: Callable[[Array, Array], Array],
    trusted: ScalarLike,
    rule: ScalarLike,
    chance: Float[Array, "blocks block 2"],
    *,
    once: bool = False,
) -> Played:
    """What Bob makes of answers to questions that he picks.

    Args:
      questions, truth: as of `placed`.
      answer: Alice's to the question of a number, +1 or −1, given a uniform number.
      trusted: λ, of all questions.
      rule: how he picks.
      chance: uniform numbers, two a question; after each block he places his candidates anew. He is
        examined after all blocks but the last, of which nothing is made.
      once: whether no question is asked again.
    """
    n_questions = len(truth)
    place = jnp.arange(n_questions)

    def ask(state, chance):
        belief, side, votes, may_ask = state
        which, flip = chance
        p = decoder.nearer(belief, side)
        doubt = jnp.minimum(p, 1 - p)
        by_rule = [
            place == jnp.floor(which * n_questions),
            jnp.where(doubt > SETTLED, 1 + (n_questions - place) / n_questions, doubt),
            doubt,
        ]
        asked = jnp.argmax(jnp.where(may_ask, jnp.stack(by_rule)[rule], -1))
        said = trusted * answer(asked, flip)
        log_weights = belief.log_weights + said * jnp.where(side[:, asked], 0.5, -0.5)
        votes, may_ask = votes.at[asked].add(said), may_ask.at[asked].set(not once)
        return (belief._replace(log_weights=log_weights), side, votes, may_ask), None

    def examine_and_ask(state, chance):
        belief, votes, may_ask = state
        belief, side = decoder.decode(votes, questions, belief)
        (_, _, after, may_ask), _ = jax.lax.scan(ask, (belief, side, votes, may_ask), chance)
        return (belief, after, may_ask), _examine(belief, side, votes, truth)

    nothing = decoder.nothing_known(questions.normal.shape[1])
    start = nothing, jnp.zeros(n_questions), jnp.ones(n_questions, bool)
    # Nothing is known at the first examination, and none follows the last questions.
    _, played = jax.lax.scan(examine_and_ask, start, chance)
    return Played(*(column[1:] for column in played))


def _examine(
    belief: Belief, side: Array, votes: Float[Array, " q"], truth: Float[Array, " q"]
) -> tuple[Array, Array, Array]:
    p = decoder.nearer(belief, side)
    accuracy = jnp.where(truth > 0, p > 0.5, p < 0.5).mean()
    bits = (votes @ truth / 2 - belief.log_evidence) / jnp.log(2)
    return accuracy, bits, decoder.effective(belief.log_weights)
