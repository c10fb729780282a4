"""Active against random asking, in simulated populations.

Rounds: fit VICE to the answers so far, choose the next questions, have them answered. Both arms
start from the same answers to random questions, are fitted alike and from scratch, and are judged
on the same questions, which neither may ask. They differ in one thing: the
one draws its questions at random, the other takes those of `active.next_triplets`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Float, Int

from alignet import agreement
from alignet.runtime.progress import progress
from evals.statistics.intervals import LEVEL, Measured
from theory import active, laplace, population

ARMS = RANDOM, ACTIVE = "random", "active"
COMPONENTS = 2  # of the posterior
SPARE = 2  # dimensions more than the truth has, as nobody knows how many those are
HELD_OUT = 4000  # questions, or a fifth of all where those are fewer
POOL = 40_000  # of active asking


class Setting(NamedTuple):
    """Attributes:
    objects, dims, noise: of the populations, as of `population.make`.
    first: answers to random questions with which both arms begin.
    batch: answers a round.
    rounds: after the first fit.
    """

    objects: int
    dims: int
    noise: float
    first: int
    batch: int
    rounds: int

    @property
    def answers(self) -> Int[np.ndarray, " points"]:
        """At which both arms are judged."""
        return self.first + self.batch * np.arange(self.rounds + 1)


# Of benchmarks.active and the report; tuned, as is how questions are chosen, on seeds from 100 on.
STUDY = Setting(objects=60, dims=6, noise=0.33, first=300, batch=200, rounds=18)


class Curves(NamedTuple):
    """What the arms learnt, after each fit.

    Attributes:
      answers: [points].
      accuracy: [arms, seeds, points], on held-out questions, as of `population.accuracy`.
      alignment: [arms, seeds, points], 1 − D_R of the learnt embedding and the true one.
      ceiling: [seeds], the accuracy of the truth.
    """

    answers: Int[np.ndarray, " points"]
    accuracy: Float[np.ndarray, "arms seeds points"]
    alignment: Float[np.ndarray, "arms seeds points"]
    ceiling: Float[np.ndarray, " seeds"]

    @property
    def of_ceiling(self) -> Float[np.ndarray, "arms seeds points"]:
        """How far each is from chance, ⅓, to the ceiling: 0 to 1."""
        return (self.accuracy - 1 / 3) / (self.ceiling[:, None] - 1 / 3)


class World(NamedTuple):
    """A population's embedding, what may not be asked, and a source of its own randomness."""

    y: np.ndarray
    held_out: np.ndarray
    rng: np.random.Generator


def compare(setting: Setting, seeds: Sequence[int], arms: Sequence[str] = ARMS) -> Curves:
    """Simulates all populations, one a seed, and all arms at once.

    What comes of a seed does not depend on which others there are.

    Args:
      setting: sizes.
      seeds: of populations, answers and fits.
      arms: of `ARMS`.
    """
    points = setting.answers
    worlds = [(seed, arm) for seed in seeds for arm in arms]
    drawn = {seed: world(setting, seed) for seed in seeds}
    own = [drawn[seed]._replace(rng=np.random.default_rng([1, seed])) for seed, _ in worlds]
    answers = np.zeros((len(worlds), points[-1], 3), np.int32)
    for w, arm in enumerate(own):
        answers[w, : setting.first] = population.answer(arm.y, _random(arm, setting.first), arm.rng)
    keys = jnp.stack([jax.random.key(seed) for seed, _ in worlds])
    found = np.zeros((2, len(worlds), len(points)))
    for r, count in enumerate(progress(points.tolist(), desc="asking", unit="round")):
        round_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, r + 1)
        params = population.fit(
            round_keys, jnp.asarray(answers), jnp.asarray(count),
            components=COMPONENTS, n=setting.objects, d=setting.dims + SPARE,
        )  # fmt: skip
        for w, ((_, arm), it) in enumerate(zip(worlds, own, strict=True)):
            posterior = population.posterior(params, w)
            p, _ = active.predict(posterior, it.held_out, seed=r)
            found[0, w, r] = population.accuracy(p, population.probabilities(it.y, it.held_out))
            found[1, w, r] = alignment(population.learnt(posterior), it.y)
            if count == points[-1]:
                continue
            if arm == RANDOM:
                chosen = _random(it, setting.batch)
            else:
                chosen = active.next_triplets(
                    posterior, setting.batch, exclude=it.held_out, pool=POOL,
                    seed=int(it.rng.integers(2**31)),
                )  # fmt: skip
            new = population.answer(it.y, chosen, it.rng)
            answers[w, count : count + setting.batch] = new
    accuracy, aligned = found.reshape(2, len(seeds), len(arms), -1).transpose(0, 2, 1, 3)
    ceilings = [_ceiling(drawn[seed]) for seed in seeds]
    return Curves(points, accuracy, aligned, np.array(ceilings))


def alignment(a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "n q"]) -> float:
    """1 − D_R, the share of the questions of `theory.representation` with the same answer."""
    return agreement.triplet_agreement(a, b).alignment


def ratio(
    answers: Int[np.ndarray, " points"],
    curves: Float[np.ndarray, "2 seeds points"],
    targets: Float[np.ndarray, " seeds"] | None = None,
) -> Measured:
    """The second arm's answers to a target over those of the first, of each seed.

    Args:
      answers: at which the curves were measured.
      curves: of two arms; the best rising curves through them are read, between the measured
        points linearly in the logarithm of answers.
      targets: for each seed; by default what its first arm has at the end.

    Returns:
      The geometric mean, with a 95 % t interval of the mean logarithm; n is the number of seeds.
      Infinite if an arm never gets there.
    """
    both = rising(curves)
    targets = both[0, :, -1] if targets is None else targets
    logs = np.array([
        np.log(needed(answers, second, target) / needed(answers, first, target))
        for first, second, target in zip(*both, targets, strict=True)
    ])  # fmt: skip
    return geometric_mean(logs)


def beyond_laplace(curves: Curves, people: Sequence[np.ndarray], seeds: Sequence[int]) -> Measured:
    """Answers that VICE needed over those that Laplace's method expects (`theory.laplace`).

    Args:
      curves: of random asking, the first arm, and others.
      people: their embeddings, one a seed.
      seeds: of the populations.

    Returns:
      For the alignment that random asking ends with; as `ratio` returns it.
    """
    logs = []
    for y, seed, curve in zip(people, seeds, rising(curves.alignment[0]), strict=True):
        expected, _ = laplace.needed(y, curve[-1:], np.random.default_rng(seed))
        fitted = needed(curves.answers, curve, curve[-1])
        logs.append(math.log(fitted) - math.log(expected[0]))
    return geometric_mean(np.array(logs))


def rising(curves: Float[np.ndarray, "*b points"]) -> Float[np.ndarray, "*b points"]:
    """The rising curves nearest to these: more answers do no harm but by chance."""
    return np.apply_along_axis(lambda one: scipy.optimize.isotonic_regression(one).x, -1, curves)


def needed(
    answers: Int[np.ndarray, " points"], curve: Float[np.ndarray, " points"], target: float
) -> float:
    """The number of answers at which a rising curve reaches the target; infinite if it does not."""
    if curve[-1] < target:
        return math.inf
    after = int(np.argmax(curve >= target))
    if after == 0:
        return float(answers[0])
    ends = slice(after - 1, after + 1)
    return math.exp(np.interp(target, curve[ends], np.log(answers[ends])))


def geometric_mean(logs: Float[np.ndarray, " n"]) -> Measured:
    """exp of a mean logarithm, with the 95 % t interval of that mean; n at least 2."""
    mean = float(logs.mean())
    if not math.isfinite(mean):
        return Measured(math.inf, math.nan, math.nan, len(logs))
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(logs) - 1) * scipy.stats.sem(logs))
    return Measured(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(logs))


def world(setting: Setting, seed: int) -> World:
    rng = np.random.default_rng([0, seed])
    y = population.make(setting.objects, setting.dims, setting.noise, rng)
    questions = active.every_triplet(setting.objects)
    size = min(HELD_OUT, len(questions) // 5)
    return World(y, questions[rng.permutation(len(questions))[:size]], rng)


def _random(arm: World, size: int) -> Int[np.ndarray, "size 3"]:
    """Random questions that are not held out."""
    n = len(arm.y)
    drawn = population.random_triplets(n, 2 * size, arm.rng)
    free = ~np.isin(active.codes(drawn, n), active.codes(arm.held_out, n))
    return drawn[free][:size]


def _ceiling(arm: World) -> float:
    truth = population.probabilities(arm.y, arm.held_out)
    return population.accuracy(truth, truth)
