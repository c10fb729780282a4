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


def grown(*, bent=0.2, slope=1.0, with_d=1.2):
    return Grown({(8, 1): near(4.0)}, near(slope), bent, 1.0, with_d)


@pytest.mark.parametrize(
    ("picked", "random", "sizes", "verdict"),
    [
        ({}, {"bent": 10.0}, law.FULL, ASSUMED),
        ({}, {"bent": 0.5}, law.FULL, HOLDS),
        ({"bent": 1.2}, {"bent": 10.0}, law.FULL, NOT_AS_PRINTED),
        ({"slope": -1.0}, {"bent": 0.5}, law.FULL, NOT_AS_PRINTED),
        ({"with_d": 0.1}, {"bent": 0.5}, law.FULL, NOT_AS_PRINTED),
        ({"with_d": 2.0}, {"bent": 0.5}, law.FULL, NOT_AS_PRINTED),
        ({"with_d": np.nan}, {"bent": 0.5}, law.FULL, NOT_AS_PRINTED),
        ({"bent": np.nan}, {"bent": 0.5}, law.FULL, UNDECIDED),
        ({}, {"bent": 10.0}, law.FAST, UNDECIDED),  # of two numbers of objects
    ],
)
def test_the_law(picked, random, sizes, verdict):
    found = {RANDOM: grown(**random), AMBIGUOUS: grown(), INFORMATIVE: grown(**picked)}
    [claim] = law._claims(found, sizes)
    assert claim.verdict == verdict


def counts(answers):
    sizes = law.FULL
    return {(n, d): near(answers(n, d)) for n in sizes.n for d in sizes.d}


def test_what_answers_grow_with():
    law_itself = counts(lambda n, d: 3 + d * np.log2(n))
    assert law._bent(law_itself, law.FULL) < 1e-9
    assert law._with_d(law_itself, law.FULL) == pytest.approx(1)
    assert law._bent(counts(lambda n, d: 3 + d * n), law.FULL) > 1e9
    assert law._with_d(counts(lambda n, d: 3 + np.log2(n)), law.FULL) == pytest.approx(0)
    assert law._with_d(counts(lambda n, d: d**2 * np.log2(n)), law.FULL) == pytest.approx(2)
    assert np.isnan(law._with_d(counts(lambda n, d: 50 - d * np.log2(n)), law.FULL))


def test_answers_after_which_a_game_stays_above_the_target():
    accuracy = np.array([[0.95, 0.8, 0.95, 0.95], [0.95] * 4, [0.8, 0.8, 0.8, 0.95], [0.8] * 4])
    at = np.array([1, 2, 4, 8])
    assert law._own(accuracy, at).tolist() == [4.0, 1.0, 8.0, np.inf]


def test_several_new_objects():
    sizes = law.FAST._replace(games=40, answers=400, many=5)
    together, alone = law._new_objects(sizes, 0)
    assert all(alone[m].value == pytest.approx(m * alone[1].value) for m in law.MOST)
    assert together[1].value == pytest.approx(alone[1].value)
    rng = np.random.default_rng(0)
    accuracy = [
        law.game.random_questions(
            rng, 40, law.EPSILON, n=law.N, d=law.D, checks=law._checks(sizes)
        ).accuracy
        for _ in range(5)
    ]
    each = law._own(np.concatenate(accuracy).astype(float), np.array(law._checks(sizes)))
    drawn = 8 * rng.choice(each, (200_000, 8)).max(axis=1)
    error = 4 * drawn.std() / 200_000**0.5
    assert together[8].value == pytest.approx(drawn.mean(), abs=error)


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


def claimed_of_embeddings(met, *, ratio=1.0, channel=0.5):
    rows = {
        kind: {"ε": near(float(one.epsilon.mean())), "ratio": ratio if kind[1] < 1 else 1.0}
        | {"channel, as many answers": Measured(channel, channel - 0.01, channel + 0.01, 9)}
        for kind, one in met.items()
    }
    return embeddings._claims(met, rows)


def judged_embeddings(met, **rows):
    return [claim.verdict for claim in claimed_of_embeddings(met, **rows)]


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
    first = claimed_of_embeddings(even)[0]
    assert first.verdict == HOLDS and "do not all depend" in first.found
    # Where the channel comes farther, it is another.
    assert judged_embeddings(even, channel=1.1)[0] == NOT_AS_PRINTED


def test_embeddings_that_never_come_as_far(met):
    first = claimed_of_embeddings(met, ratio=np.inf)[0]
    found = first.numbers["answers, embeddings / channel"]
    assert np.inf in found and 1.0 in found
    assert f"Of {len(found)} pairs" in first.found
    assert f"in {found.count(1.0)}, with 1.00 to 1.00 times" in first.found


def test_embeddings_are_compared_with_a_channel(met):
    kinds = {kind: met[kind] for kind in ((NOISE, 0.0), (FLIPS, 0.5))}
    sizes = embeddings.FAST._replace(games=24)
    rows = embeddings._compared(kinds, 0, sizes, (4, 16, 64, 120))
    assert rows[NOISE, 0.0]["ratio"] == pytest.approx(1, abs=0.5)
    # Nothing comes through a channel of ε = ½, and so neither is compared.
    assert rows[FLIPS, 0.5]["channel, answers"] is None and rows[FLIPS, 0.5]["ratio"] is None


@pytest.mark.parametrize(
    ("informative", "verdict"),
    [
        ((10, 20), HOLDS),
        ((28, 29), UNDECIDED),
        ((10, 40), REFUTED),
        ((10, None), HOLDS),
        ((None, None), UNDECIDED),
    ],
)
def test_picked_questions(informative, verdict):
    rows = {
        (NOISE, dial): {"ε": near(0.1), "random": near(30), "ambiguous in turn": near(30)}
        | {"most informative": None if one is None else near(one)}
        for dial, one in zip((0.1, 0.2), informative, strict=True)
    }
    assert embeddings._of_picking(rows).verdict == verdict


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
    for learner in (learning.TOLD, learning.TRIES):
        assert judged_few_shot({("nearest mean", learner): "rising"})[0] == NOT_AS_PRINTED


def test_alignment_that_determines_accuracy():
    assert judged_few_shot({}, turned=0.75)[1] == REFUTED
