"""Verdicts follow the numbers: made-up ones, that say otherwise than the real ones do."""

import numpy as np
import pytest

from evals.statistics.intervals import Measured
from evals.statistics.u_shape import U
from theory import few_shot as learning
from theory import geometry
from theory.claims import ASSUMED, BOUND, HOLDS, NOT_AS_PRINTED, REFUTED, UNDECIDED
from theory.few_shot import LEARNERS, PLAIN, RULES, Learnt
from theory.game import AMBIGUOUS, INFORMATIVE, RANDOM
from theory.geometry import EACH, FLIPS, NOISE, SCALING
from theory.plots import few_shot, game, law
from theory.plots import geometry as embeddings
from theory.plots.few_shot import MIXED, SQUEEZED, TURNED
from theory.plots.law import Grown

NEVER = Measured(np.inf, np.inf, np.inf, 9)


def near(value):
    return Measured(value, 0.9 * value, 1.1 * value, 9)


########################################### d log n ###########################################


def grown(*, bent=0.2, slope=1.0):
    return Grown({(8, 1): near(4.0)}, near(slope), bent, 1.0)


@pytest.mark.parametrize(
    ("picked", "random", "sizes", "verdict"),
    [
        ({}, {"bent": 10.0}, law.FULL, ASSUMED),
        ({}, {"bent": 0.5}, law.FULL, HOLDS),
        ({"bent": 1.2}, {"bent": 10.0}, law.FULL, NOT_AS_PRINTED),
        ({"slope": -1.0}, {"bent": 0.5}, law.FULL, NOT_AS_PRINTED),
        ({"bent": np.nan}, {"bent": 0.5}, law.FULL, UNDECIDED),
        ({}, {"bent": 10.0}, law.FAST, UNDECIDED),  # of two numbers of objects
    ],
)
def test_the_law(picked, random, sizes, verdict):
    found = {RANDOM: grown(**random), AMBIGUOUS: grown(), INFORMATIVE: grown(**picked)}
    [claim] = law._claims(found, sizes)
    assert claim.verdict == verdict


########################################## The channel ##########################################


def judged_game(answers=None, *, believing=None, used=0.6):
    epsilon = (0.0, 0.25, 0.5, 0.75, 1.0)
    answers = answers or {0.0: near(10), 0.25: near(50), 0.75: near(50), 1.0: near(10)}
    needed = {(RANDOM, e): answers.get(e, NEVER) for e in epsilon}
    believing = {e: NEVER if e >= 0.5 else near(20) for e in epsilon} | (believing or {})
    by_rule = {rule: Measured(used, used - 0.02, used + 0.02, 9) for rule in game.RULES}
    return [claim.verdict for claim in game._claims(needed, believing, {}, by_rule)]


def test_the_channel():
    assert judged_game() == [HOLDS, BOUND, ASSUMED]


def test_more_bits_than_the_capacity_are_none():
    assert judged_game(used=1.02)[0] == HOLDS  # chance
    assert judged_game(used=1.1)[0] == NOT_AS_PRINTED


def test_answers_that_do_not_rise_towards_a_half():
    flat = dict.fromkeys((0.0, 0.25, 0.5, 0.75, 1.0), near(20))
    assert judged_game(flat)[1] == NOT_AS_PRINTED
    falling = {0.0: near(90), 0.25: near(20), 0.75: near(20), 1.0: near(90)}
    assert judged_game(falling)[1] == NOT_AS_PRINTED


def test_answers_that_are_fewer_on_one_side():
    uneven = {0.0: near(10), 0.25: near(50), 0.75: near(200), 1.0: near(100)}
    assert judged_game(uneven)[1:] == [NOT_AS_PRINTED, NOT_AS_PRINTED]


def test_a_believing_bob_who_learns_from_flipped_answers():
    assert judged_game(believing={0.75: near(30)})[2] == NOT_AS_PRINTED


########################################## Embeddings ##########################################


@pytest.fixture(scope="module")
def met():
    checks = (4, 16, 64, 120)
    rng = np.random.default_rng
    return {
        (way, dial): geometry.meet(rng(0), 24, way, dial, n=16, d=4, checks=checks)
        for way in (NOISE, SCALING, FLIPS)
        for dial in (0.0, 0.5, 1.0)
    }


def judged_embeddings(met):
    rows = {
        kind: {"ε": near(float(one.epsilon.mean())), "ratio": 1.0}
        | {"channel, all questions": Measured(0.5, 0.4, 0.6, 9)}
        for kind, one in met.items()
    }
    return [claim.verdict for claim in embeddings._claims(met, rows)]


def right(met, bob, share):
    """Games in which a Bob answers that share of the questions right."""
    accuracy = np.array(met.played.accuracy)
    accuracy[:, bob] = share + np.linspace(-0.01, 0.01, len(accuracy))[:, None]
    return met._replace(played=met.played._replace(accuracy=accuracy))


def test_embeddings(met):
    assert judged_embeddings(met)[0] == NOT_AS_PRINTED
    assert judged_embeddings(met)[2:] == [ASSUMED, HOLDS]


def test_flips_that_do_not_depend_on_the_question(met):
    even = {kind: one._replace(flips=np.full_like(one.flips, 0.3)) for kind, one in met.items()}
    assert judged_embeddings(even)[0] == HOLDS


@pytest.mark.parametrize(
    ("half", "noisy", "verdict"),
    [(0.8, 0.7, NOT_AS_PRINTED), (0.6, 0.7, HOLDS), (0.7, 0.7, UNDECIDED)],
)
def test_what_is_learnt_at_a_half(met, half, noisy, verdict):
    made = met | {
        (FLIPS, 0.5): right(met[FLIPS, 0.5], EACH, half),
        (NOISE, 0.5): right(met[NOISE, 0.5], EACH, noisy),
    }
    if verdict == UNDECIDED:  # chance alone
        made[FLIPS, 0.5].played.accuracy[::2, EACH, -1] += 0.05
        made[FLIPS, 0.5].played.accuracy[1::2, EACH, -1] -= 0.05
    assert judged_embeddings(made)[1] == verdict


def test_a_bob_who_knows_and_learns_nothing(met):
    made = met | {(FLIPS, 1.0): right(met[FLIPS, 1.0], geometry.KNOWN, 0.5)}
    assert judged_embeddings(made)[2] == NOT_AS_PRINTED


def test_a_rotation_that_changes_answers(met):
    turned = met[NOISE, 0.0]._replace(epsilon=np.full(24, 0.02))
    assert judged_embeddings(met | {(NOISE, 0.0): turned})[3] == REFUTED


########################################### Few shots ###########################################


def judged_few_shot(shapes, *, turned=0.3):
    def taught(alignment, accuracy):
        kinds = [(rule, learner) for rule in learning.RULES for learner in LEARNERS]
        return Learnt(alignment, dict.fromkeys(kinds, near(accuracy)))

    students = {
        MIXED: [taught(1 - dial, 0.8) for dial in np.linspace(0, 1, 5)],
        TURNED: [taught(dial, turned) for dial in (0.0, 1.0)],
        SQUEEZED: [taught(1.0, 0.8), taught(0.7, 0.8)],
    }
    default = {
        ("made-up clusters", rule, learner): "rising" if learner == PLAIN else U
        for rule in RULES
        for learner in LEARNERS
    }
    changed = {("made-up clusters", *kind): shape for kind, shape in shapes.items()}
    claims = few_shot._claims({"made-up clusters": students}, default | changed)
    return [claim.verdict for claim in claims]


def test_few_shot_learning():
    assert judged_few_shot({}) == [ASSUMED, HOLDS]


def test_a_u_for_all_learners():
    assert judged_few_shot({(rule, PLAIN): U for rule in RULES})[0] == HOLDS


def test_no_u_for_those_who_are_told():
    told = {("nearest mean", learning.TOLD): "rising"}
    assert judged_few_shot(told)[0] == NOT_AS_PRINTED


def test_alignment_that_determines_accuracy():
    assert judged_few_shot({}, turned=0.75)[1] == REFUTED
