"""Capacity, orders and representation spaces: against brute force and known numbers."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from alignet import agreement
from alignet.errors import InputError
from theory import channel, representation
from theory.plots import capacity as capacity_plot
from theory.plots import representation as representation_plot
from theory.plots.representation import agents

RNG = np.random.default_rng
GRID = np.linspace(0, 1, 1001)


def test_capacity_is_1_at_the_ends_and_0_at_a_half():
    assert channel.capacity([0, 0.5, 1]).tolist() == [1, 0, 1]
    assert channel.binary_entropy([0, 0.5, 1]).tolist() == [0, 1, 0]


def test_capacity_rises_with_the_distance_from_a_half_and_is_symmetric():
    found = channel.capacity(GRID)
    assert (np.diff(found[:501]) < 0).all() and (np.diff(found[500:]) > 0).all()
    np.testing.assert_allclose(found, found[::-1], atol=1e-13)


def test_capacity_is_one_less_the_entropy():
    np.testing.assert_allclose(channel.capacity(GRID), 1 - channel.binary_entropy(GRID), atol=1e-14)
    by_hand = 1 + 0.2 * math.log2(0.2) + 0.8 * math.log2(0.8)
    assert channel.capacity(0.2) == pytest.approx(by_hand, rel=1e-14)


@pytest.mark.parametrize("off", [1e-3, 1e-6, 1e-9])
def test_capacity_near_a_half_keeps_its_digits(off):
    # The series in ε − ½; one less the entropy has no right digit at 1e-9.
    off = (0.5 + off) - 0.5
    series = (2 * off**2 + 4 / 3 * off**4) / math.log(2)
    assert channel.capacity(0.5 + off) == pytest.approx(series, rel=1e-9)


def test_queries_are_the_rate_over_the_capacity_and_infinite_at_a_half():
    found = channel.queries([0, 0.2, 0.5, 1], n=16, d=3, m=2)
    assert found.tolist() == [24, pytest.approx(24 / float(channel.capacity(0.2))), np.inf, 24]
    assert channel.queries_to_order(0.5, n=16, d=3) == np.inf


@pytest.mark.parametrize("n, d", [(4, 1), (4, 2), (5, 3)])
def test_orders_are_those_that_points_of_space_see(n, d):
    rng = RNG(n + d)
    # Some cells are small, and some are far away, where bisectors meet that are almost parallel.
    seen = rng.normal(size=(400_000, d)) * 10 ** rng.uniform(-1, 6, size=(400_000, 1))
    shared = rng.normal(size=(n, d))
    distances = ((seen[:, None] - shared) ** 2).sum(axis=-1)
    found = len(np.unique(np.argsort(distances, axis=1), axis=0))
    assert 0.97 * channel.orders(n, d) <= found <= channel.orders(n, d)


def test_orders_in_one_and_in_many_dimensions():
    assert [channel.orders(n, 1) for n in (3, 10)] == [4, 46]
    assert [channel.orders(n, 9) for n in (3, 5)] == [math.factorial(3), math.factorial(5)]
    assert channel.orders(5, 2) == 1 + 10 + 35


def test_queries_to_order_of_numbers_that_no_float_holds():
    bits = float(channel.queries_to_order(0.0, n=400, d=399))
    assert bits == pytest.approx(math.lgamma(401) / math.log(2), rel=1e-12)


@pytest.mark.parametrize("epsilon", [0.0, 0.05, 0.3, 0.5, 0.9])
def test_what_a_simulated_channel_carries(epsilon):
    sent = [capacity_plot.read_through(epsilon, 20_000, RNG(seed)) for seed in range(40)]
    truth = float(channel.capacity(epsilon))
    covered = sum(one.low <= truth <= one.high for one in sent)
    assert covered >= 35
    # And the intervals are not so wide that they cover anything.
    assert not any(one.low <= float(channel.capacity(0.2)) <= one.high for one in sent)


@pytest.mark.parametrize("n", [3, 4, 7])
def test_questions_are_all_there_are(n):
    expected = [
        (i, j, k)
        for i in range(n)
        for j, k in itertools.combinations([x for x in range(n) if x != i], 2)
    ]
    assert representation.questions(n).tolist() == [list(q) for q in expected]


def test_120_objects_have_842520_triplets():
    assert len(representation.questions(120)) == 842_520


def test_representation_space_answers_each_question():
    x = RNG(0).normal(size=(7, 3))
    by_hand = [
        math.dist(x[i], x[j]) < math.dist(x[i], x[k]) for i, j, k in representation.questions(7)
    ]
    assert representation.representation_space(x).tolist() == by_hand


def test_misalignment_is_the_share_of_bits_that_differ():
    rng = RNG(1)
    for n in (3, 6, 20):
        a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 5))
        s_a, s_b = (representation.representation_space(x) for x in (a, b))
        assert representation.misalignment(a, b) == pytest.approx((s_a != s_b).mean(), abs=1e-15)
    assert representation.misalignment(a, 3 - 2 * a) == 0


def test_agents_of_whom_one_has_no_answer_are_refused():
    with pytest.raises(InputError, match="every question is tied in a or b; expected some"):
        representation.misalignment(np.eye(4), RNG(0).normal(size=(4, 2)))


def test_misalignment_of_distances_of_the_opposite_order_is_1():
    x = RNG(2).normal(size=(9, 2))
    squares = ((x[:, None] - x) ** 2).sum(axis=-1)
    found = agreement.triplet_agreement(x, -squares, kind=("embedding", "dissimilarity"))
    assert found.alignment == 0


@pytest.mark.parametrize("angle", [0.3, 0.8, 1.1])
def test_margins_that_are_jointly_normal(angle):
    truth = float(representation.from_margins(math.cos(angle) ** 2))
    many = representation_plot.random_misalignment(angle, 64, 40_000, RNG(3))
    one = representation_plot.random_misalignment(angle, 1, 40_000, RNG(3))
    slack = 0.003  # 64 dimensions are not infinitely many
    assert many.low - slack <= truth <= many.high + slack
    # In one dimension margins are not normal, and the formula is wrong.
    assert not one.low - slack <= truth <= one.high + slack


def test_the_correlation_of_margins_is_the_squared_cosine():
    alice, bob = agents(0.7)
    x = RNG(4).normal(size=(3 * 100_000, 8))
    margins = []
    for f in (alice, bob):
        i, j, k = f(x).reshape(-1, 3, 4).transpose(1, 0, 2)
        margins.append(((i - k) ** 2).sum(axis=1) - ((i - j) ** 2).sum(axis=1))
    assert np.corrcoef(margins)[0, 1] == pytest.approx(math.cos(0.7) ** 2, abs=0.01)


def test_expected_misalignment_of_any_number_of_objects_is_that_of_random_triplets():
    alice, bob = agents(0.6)
    rng = RNG(5)
    truth = representation_plot.random_misalignment(0.6, 4, 200_000, rng).value
    for n in (3, 12):
        drawn = [
            representation.misalignment(alice(x), bob(x)) for x in rng.normal(size=(300, n, 8))
        ]
        error = np.std(drawn) / 300**0.5
        assert abs(np.mean(drawn) - truth) < 3 * error
        # Were triplets independent, draws would vary less.
        independent = (truth * (1 - truth) / (n * (n - 1) * (n - 2) / 2)) ** 0.5
        assert np.std(drawn) > 1.15 * independent or n == 3


def test_an_agent_is_not_misaligned_with_itself():
    alice, _ = agents(0.0)
    draw = lambda n: RNG(6).normal(size=(n, 4))  # noqa: E731
    found = representation.stochastic_misalignment(alice, alice, draw, n_samples=500)
    assert found.value == 0 and found.n == 500


def test_formulas_take_scalars_and_arrays():
    for f in (channel.capacity, channel.binary_entropy):
        assert f(0.3).shape == () and f([0.3, 0.4]).shape == (2,)
        assert f(jnp.array([0.25])).tolist() == f([0.25]).tolist()
    assert representation.from_margins(0.5).shape == ()


POINTS = RNG(7).normal(size=(5, 2))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: channel.capacity(1.2), "epsilon is 1.2; expected a probability, 0 to 1."),
        (lambda: channel.capacity([0.1, -0.5]), "epsilon is -0.5; expected a probability"),
        (lambda: channel.binary_entropy(math.nan), "epsilon is nan; expected a probability"),
        (lambda: channel.queries(0.1, n=2, d=1), "n is 2; expected at least 3."),
        (lambda: channel.queries(0.1, n=5, d=0), "d is 0; expected at least 1."),
        (lambda: channel.queries(0.1, n=5, d=1, m=0), "m is 0; expected at least 1."),
        (lambda: channel.orders(5, -1), "d is -1; expected at least 1."),
        (lambda: representation.questions(2), "n is 2; expected at least 3."),
        (lambda: representation.representation_space(POINTS[:2]), "expected at least 3 points"),
        (lambda: representation.misalignment(POINTS[:, :0], POINTS), "of 1 dimension or more"),
        (lambda: representation.misalignment(POINTS, POINTS[:4]), "expected the same objects"),
        (lambda: representation.misalignment(POINTS[[0, 1, 2, 1]], POINTS[:4]), "a: rows 1 and 3"),
        (
            lambda: representation.representation_space(np.array([[0.0], [1.0], [-1.0], [3.0]])),
            "x: point 0 is as far from 1 as from 2",
        ),
        (
            lambda: representation.representation_space(np.array([[0.0], [np.nan], [1.0]])),
            "x: row 1 (from 0) is not all finite.",
        ),
    ],
)
def test_bad_input_is_said_in_one_sentence(call, said):
    with pytest.raises(InputError) as caught:
        call()
    assert said in str(caught.value) and "\n" not in str(caught.value)
