"""The communication game: Bob's decoding against brute force, the games against the capacity."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignet.errors import InputError
from theory import counting, decoder, game, geometry
from theory.channel import capacity
from theory.game import AMBIGUOUS, INFORMATIVE, RANDOM
from theory.geometry import BELIEVED, EACH, FLIPS, KNOWN, NOISE, SCALING, SHARED

RNG = np.random.default_rng
DECODE = jax.jit(decoder.decode)
CHECKS = (4, 8, 16, 32, 64, 128, 256)


def by_grid(votes, questions):
    """Bob's posterior by a fine grid: probabilities of "nearer to j", and the log evidence."""
    d = questions.normal.shape[1]
    line = np.linspace(-5, 5, 20_001 if d == 1 else 601)
    grid = np.stack(np.meshgrid(*[line] * d), axis=-1).reshape(-1, d)
    side = grid @ np.array(questions.normal).T > np.array(questions.offset)
    prior = np.exp(-(grid**2).sum(axis=1) / 2)
    prior /= prior.sum()
    log = np.where(side, 0.5, -0.5) @ votes
    posterior = prior * np.exp(log - log.max())
    evidence = np.log(posterior.sum()) + log.max()
    return (posterior / posterior.sum()) @ side, evidence


def a_game(seed, n, d, answers, epsilon):
    rng = RNG(seed)
    points = jnp.asarray(rng.normal(size=(n + 1, d)), jnp.float32)
    questions, truth = game.placed(points, jnp.ones(d))
    asked = rng.integers(len(truth), size=answers)
    kept = np.where(rng.random(answers) < epsilon, -1.0, 1.0)
    lam = float(game.trust(epsilon))
    votes = np.zeros(len(truth))
    np.add.at(votes, asked, lam * kept * np.array(truth)[asked])
    return questions, np.array(truth), votes


def test_pairs_of_the_first_objects_come_first():
    assert decoder.pairs(4).tolist() == [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 0.3, 0), (1, -1, -0.5)])
def test_sides_are_those_of_the_distances(weights):
    rng = RNG(0)
    points, z, w = rng.normal(size=(6, 3)), rng.normal(size=(50, 3)), np.array(weights, float)
    found = decoder.sides(decoder.bisectors(jnp.asarray(points), jnp.asarray(w)), jnp.asarray(z))
    squares = (w * (z[:, None] - points) ** 2).sum(axis=-1)
    j, k = decoder.pairs(6).T
    np.testing.assert_array_equal(found, squares[:, j] < squares[:, k])


@pytest.mark.parametrize("d, answers, epsilon", [(1, 3, 0.1), (1, 60, 0.2), (2, 20, 0.3)])
def test_the_posterior_is_that_of_a_fine_grid(d, answers, epsilon):
    for seed in range(3):
        questions, _, votes = a_game(seed, 8, d, answers, epsilon)
        expected, evidence = by_grid(votes, questions)
        belief = decoder.nothing_known(d)
        # As in a game: a look after half of the answers, and one after all.
        belief, _ = DECODE(jnp.asarray(votes / 2), questions, belief)
        belief, side = DECODE(jnp.asarray(votes), questions, belief)
        found = decoder.nearer(belief, side)
        np.testing.assert_allclose(found, expected, atol=0.05)
        assert float(belief.log_evidence) == pytest.approx(evidence, abs=0.1)


def test_more_candidates_make_no_difference():
    questions, _, votes = a_game(1, 12, 3, 60, 0.2)
    found = []
    for n in (512, 4096):
        belief, _ = DECODE(jnp.asarray(votes / 2), questions, decoder.nothing_known(3, n))
        belief, side = DECODE(jnp.asarray(votes), questions, belief)
        found.append(decoder.nearer(belief, side))
    np.testing.assert_allclose(*found, atol=0.06)


def test_normal_points_are_standard_normal():
    points = decoder.normal_points(512, 4)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(np.cov(points.T), np.eye(4), atol=0.05)


@pytest.fixture(scope="module")
def channel():
    """Games at several ε by a Bob who knows it, and by one who believes the answers."""
    kwargs = {"n": 12, "d": 2, "checks": CHECKS}
    return {
        (e, believed): game.random_questions(RNG(1), 48, e, believed=believed, **kwargs)
        for e in (0.0, 0.2, 0.4, 0.8)
        for believed in (None, 0.1)
    }


def mean(values):
    return values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5


def test_bob_learns_and_learns_slower_the_nearer_epsilon_is_to_a_half(channel):
    curves = [channel[e, None].accuracy.mean(axis=0) for e in (0.0, 0.2, 0.4)]
    assert curves[0][-1] > 0.98 and curves[1][-1] > 0.95
    assert (curves[0] > curves[1]).all() and (curves[1][2:] > curves[2][2:]).all()


def test_a_bob_who_knows_learns_as_much_from_answers_mostly_flipped(channel):
    (a, error_a), (b, error_b) = (mean(channel[e, None].accuracy) for e in (0.2, 0.8))
    assert (np.abs(a - b) < 3 * np.hypot(error_a, error_b)).all()


def test_a_bob_who_believes_them_learns_the_opposite(channel):
    accuracy, _ = mean(channel[0.8, 0.1].accuracy)
    assert accuracy[-1] < 0.3
    right, _error = mean(channel[0.2, 0.1].accuracy)
    assert right[-1] > 0.9


@pytest.mark.parametrize("epsilon", [0.0, 0.2, 0.4])
def test_random_answers_say_less_than_the_capacity(channel, epsilon):
    bits, error = mean(channel[epsilon, None].bits)
    limit = np.array(CHECKS) * float(capacity(epsilon))
    assert (bits - 3 * error < limit).all()
    # Less and less, as more and more is known already.
    assert bits[-1] + 3 * error[-1] < 0.75 * limit[-1]


@pytest.fixture(scope="module")
def picked():
    kwargs = {"n": 12, "d": 2, "blocks": 24, "block": 2}
    return {
        (rule, e): game.picked_questions(RNG(2), 48, e, rule, **kwargs)
        for rule in (RANDOM, AMBIGUOUS, INFORMATIVE)
        for e in (0.0, 0.2)
    }


def test_informative_answers_reach_the_capacity_and_no_more(picked):
    for epsilon in (0.0, 0.2):
        bits, error = mean(picked[INFORMATIVE, epsilon].bits)
        answers = 2 * np.arange(1, 25)
        limit = float(capacity(epsilon))
        assert (bits - 3 * error < answers * limit + 0.02).all()
        assert bits[2] + 3 * error[2] > 0.85 * answers[2] * limit
    # That of a channel with less noise is more than they reach.
    assert bits[8] + 3 * error[8] < answers[8] * float(capacity(0.1))


def test_picked_questions_take_fewer_answers(picked):
    at = 2 * np.arange(1, 25)
    needed = [
        counting.answers_to_reach(picked[rule, 0.0].accuracy.astype(float), at.tolist(), 0.97)
        for rule in (INFORMATIVE, AMBIGUOUS, RANDOM)
    ]
    assert needed[0].high < needed[2].low and needed[1].high < needed[2].low


def test_random_questions_are_the_same_game_in_either_function(picked, channel):
    at = {4: 1, 8: 3, 16: 7, 32: 15}
    for epsilon in (0.0, 0.2):
        a, error_a = mean(picked[RANDOM, epsilon].accuracy)
        b, error_b = mean(channel[epsilon, None].accuracy)
        for check, (answers, block) in enumerate(at.items()):
            assert CHECKS[check] == answers
            apart = abs(a[block] - b[check])
            assert apart < 3.5 * np.hypot(error_a[block], error_b[check])


def test_the_same_seed_gives_the_same_games():
    kwargs = {"n": 6, "d": 2, "checks": (2, 4)}
    one, other, third = (game.random_questions(RNG(s), 8, 0.1, **kwargs) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.bits, other.bits)
    assert (one.bits != third.bits).any()


def test_trust_is_the_log_odds_and_finite():
    assert float(game.trust(0.5)) == 0
    assert float(game.trust(0.2)) == pytest.approx(np.log(4), rel=1e-5)
    assert float(game.trust(0.0)) == pytest.approx(9.2102, abs=1e-3)
    assert float(game.trust(1.0)) == pytest.approx(-9.2102, abs=1e-3)


########################################### Counting ###########################################


def test_answers_to_reach_a_target():
    curves = np.array([[0.5, 0.7, 0.9, 1.0]] * 5)
    found = counting.answers_to_reach(curves, [1, 2, 4, 8], 0.8)
    assert found == (pytest.approx(2**1.5), pytest.approx(2**1.5), pytest.approx(2**1.5), 5)
    assert counting.answers_to_reach(curves, [1, 2, 4, 8], 0.5).value == 1
    assert counting.answers_to_reach(curves - 0.1, [1, 2, 4, 8], 0.95).value == np.inf


def test_the_interval_of_answers_is_over_games():
    rng = RNG(0)
    own = rng.lognormal(3, 0.5, size=200)
    checks = np.unique(np.geomspace(2, 500, 60).round().astype(int))
    curves = (own[:, None] <= checks).astype(float)
    found = counting.answers_to_reach(curves, checks.tolist(), 0.5)
    assert found.low < np.median(own) < found.high and found.high / found.low < 1.5


def test_slope_of_a_straight_line():
    x, units = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    checks = [2, 4, 8, 16]
    curves = [np.tile(np.array(checks) >= 2 * 2**i, (4, 1)).astype(float) for i in range(3)]
    assert counting.slope(x, curves, checks, [1.0] * 3, units).value == pytest.approx(1.5)
    assert np.isnan(counting.slope(x, curves, checks, [1.0, 1.0, 1.1], units).value)


########################################### Geometry ###########################################


@pytest.fixture(scope="module")
def met():
    kinds = [(w, d) for w in (NOISE, SCALING, FLIPS) for d in (0.0, 0.5, 1.0)]
    checks = (4, 8, 16, 32, 64, 128, 190)
    return {(w, d): geometry.meet(RNG(3), 40, w, d, n=20, d=4, checks=checks) for w, d in kinds}


def test_rotated_agents_agree_and_flipped_ones_never_do(met):
    for way in (NOISE, SCALING, FLIPS):
        assert met[way, 0.0].epsilon.max() == 0 == met[way, 0.0].shared.max()
    assert met[FLIPS, 1.0].epsilon.min() == 1
    assert met[FLIPS, 1.0].shared.min() == pytest.approx(1)
    assert met[NOISE, 1.0].shared.mean() == pytest.approx(0.5, abs=0.03)
    assert met[FLIPS, 0.5].epsilon.mean() == pytest.approx(0.5, abs=0.05)


def test_shared_misalignment_is_d_r(met):
    # Over other objects, but of the same two agents' kind.
    from theory import representation

    values = []
    for seed in range(40):
        alice, bob, _ = geometry.differing(RNG(seed), NOISE, 0.5, (20, 4))
        values.append(representation.misalignment(alice, bob))
    error = np.hypot(np.std(values), met[NOISE, 0.5].shared.std()) / 40**0.5
    assert abs(np.mean(values) - met[NOISE, 0.5].shared.mean()) < 3.5 * error


def test_tenths_of_the_margin_average_to_epsilon(met):
    one = met[NOISE, 0.5]
    assert one.flips.mean() == pytest.approx(one.epsilon.mean(), abs=0.01)
    assert one.flips[:, 0].mean() > one.flips[:, -1].mean() + 0.1


def test_what_alice_does_not_see_bob_does_not_learn(met):
    in_the_end = met[NOISE, 0.5].played.accuracy[:, KNOWN, -1]
    epsilon = float(met[NOISE, 0.5].epsilon.mean())
    played = game.random_questions(RNG(4), 40, epsilon, n=20, d=4, checks=(190, 380, 760, 1520))
    anew = played.accuracy[:, -1]
    assert in_the_end.mean() + 0.05 < anew.mean()


def test_half_flipped_dimensions_can_be_decoded_though_epsilon_is_a_half(met):
    accuracy = met[FLIPS, 0.5].played.accuracy[:, :, -1].mean(axis=0)
    assert accuracy[EACH] > accuracy[KNOWN] + 0.05
    turned = met[FLIPS, 1.0].played.accuracy[:, :, -1].mean(axis=0)
    assert turned[KNOWN] > 0.95 and turned[SHARED] > 0.95 and turned[BELIEVED] < 0.3


GAME = {"n": 6, "d": 2, "checks": (2, 4)}
TURN = {"n": 6, "d": 2, "blocks": 2, "block": 1}


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: game.random_questions(RNG(0), 4, 1.5, **GAME), "epsilon is 1.5"),
        (lambda: game.random_questions(RNG(0), 4, 0.1, believed=-1.0, **GAME), "believed is -1"),
        (lambda: game.random_questions(RNG(0), 4, 0.1, **GAME | {"n": 2}), "n is 2"),
        (lambda: game.random_questions(RNG(0), 4, 0.1, **GAME | {"d": 0}), "d is 0"),
        (lambda: game.random_questions(RNG(0), 0, 0.1, **GAME), "games is 0"),
        (lambda: game.random_questions(RNG(0), 4, 0.1, **GAME | {"checks": (0, 2)}), "checks is 0"),
        (lambda: game.picked_questions(RNG(0), 4, -0.1, RANDOM, **TURN), "epsilon is -0.1"),
        (lambda: game.picked_questions(RNG(0), 4, 0.1, RANDOM, **TURN | {"n": 1}), "n is 1"),
        (lambda: geometry.meet(RNG(0), 4, NOISE, 1.2, **GAME), "dial is 1.2"),
        (lambda: geometry.meet(RNG(0), 4, NOISE, 0.2, **GAME | {"d": -1}), "d is -1"),
        (
            lambda: geometry.meet(RNG(0), 4, NOISE, 0.2, **GAME | {"checks": (2, 16)}),
            "the number of questions is 15; expected at least 16.",
        ),
        (
            lambda: geometry.meet(RNG(0), 4, 9, 0.2, **GAME),
            "way is 9; expected NOISE, SCALING or FLIPS, 0 to 2.",
        ),
        (
            lambda: geometry.meet(RNG(0), 4, SCALING, 0.2, **GAME | {"d": 1}),
            "d is 1; expected at least 2.",
        ),
        (
            lambda: game.random_questions(RNG(0), 4, 0.2, **GAME | {"checks": (8, 2)}),
            "checks are [8, 2]; expected one number or more, ascending.",
        ),
        (
            lambda: game.random_questions(RNG(0), 4, 0.2, **GAME | {"checks": ()}),
            "checks are []; expected one number or more, ascending.",
        ),
        (
            lambda: geometry.meet_and_pick(RNG(0), 4, NOISE, 0.2, RANDOM, **TURN),
            "rule is 0; expected AMBIGUOUS or INFORMATIVE, 1 or 2.",
        ),
        (
            lambda: geometry.meet_and_pick(
                RNG(0), 4, NOISE, 0.2, AMBIGUOUS, **TURN | {"blocks": 16}
            ),
            "the number of questions is 15; expected at least 16.",
        ),
    ],
)
def test_bad_input_is_said_in_one_sentence(call, said):
    with pytest.raises(InputError) as caught:
        call()
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("rule", [AMBIGUOUS, INFORMATIVE])
def test_picked_questions_between_embeddings_end_where_random_ones_do(rule):
    # 66 questions in all, each once.
    options = {"n": 12, "d": 3}
    random = geometry.meet(RNG(5), 48, NOISE, 0.3, checks=(6, 12, 24, 66), **options)
    picked = geometry.meet_and_pick(
        RNG(5), 48, NOISE, 0.3, rule, blocks=11, block=6, **options
    )  # fmt: skip
    np.testing.assert_array_equal(picked.epsilon, random.epsilon)
    np.testing.assert_array_equal(picked.flips, random.flips)
    for bob in (geometry.KNOWN, geometry.SHARED):
        ends = picked.played.accuracy[:, bob, -1], random.played.accuracy[:, bob, -1]
        np.testing.assert_allclose(*ends, atol=0.1)  # by other candidates
        assert ends[0].mean() == pytest.approx(ends[1].mean(), abs=0.01)
        bits = picked.played.bits[:, bob, -1], random.played.bits[:, bob, -1]
        assert np.median(np.abs(np.subtract(*bits))) < 0.3


def test_picked_questions_between_embeddings_take_fewer_answers():
    random = geometry.meet(RNG(5), 64, NOISE, 0.1, n=16, d=3, checks=(4, 8, 16))
    picked = geometry.meet_and_pick(
        RNG(5), 64, NOISE, 0.1, INFORMATIVE, n=16, d=3, blocks=2, block=4
    )
    gained = picked.played.accuracy[:, 0, :2] - random.played.accuracy[:, 0, :2]
    assert (gained.mean(axis=0) > 3 * gained.std(axis=0) / 8).all()


@pytest.mark.slow
def test_ten_million_answers_in_twenty_seconds():
    checks = tuple(np.unique(np.geomspace(4, 20_000, 20).round().astype(int)).tolist())
    start = time.perf_counter()
    played = game.random_questions(RNG(0), 512, 0.4, n=32, d=3, checks=checks)
    seconds = time.perf_counter() - start
    assert played.accuracy.mean(axis=0)[-1] > 0.99
    assert seconds < 20, f"{512 * 20_000:,} answers in {seconds:.1f} s"
