"""Domain shift: sensitivity against slow counts, its formula, and where that does not hold."""

import itertools

import numpy as np
import pytest

from alignet.errors import InputError
from theory import domain_shift
from theory.claims import ASSUMED, NOT_AS_PRINTED
from theory.plots import Effort
from theory.plots import domain_shift as plots

RNG = np.random.default_rng
EFFORT = Effort(fast=True, seed=0)
GRID = np.linspace(0, 1, 11)


@pytest.fixture(scope="module")
def part():
    return plots.part(EFFORT)


@pytest.fixture(scope="module")
def renewed():
    return plots.shifted(0.0, 60, RNG(0))


def made(seed=0, n=8, k=4, d=3):
    rng = RNG(seed)
    return [rng.normal(size=size) for size in ((n, d), (k, d), (k, d))]


def one_by_one(x, c, c_star):
    flipped = []
    for before, after in zip(c, c_star, strict=True):
        for j, k in itertools.combinations(range(len(x)), 2):
            nearer = [((e - x[j]) ** 2).sum() < ((e - x[k]) ** 2).sum() for e in (before, after)]
            flipped.append(nearer[0] != nearer[1])
    return np.mean(flipped)


def simulated(epsilon, sigma_a, r, n, rng):
    """The share of B's answers that change, drawn from the joint distribution of two errors."""
    both = epsilon**2 + r * epsilon * (1 - epsilon)
    chances = [both, epsilon - both, epsilon - both, 1 - 2 * epsilon + both]
    case = rng.choice(4, size=n, p=chances)
    wrong_before, wrong_after = case < 2, (case == 0) | (case == 2)
    a_before = rng.random(n) < 0.5
    a_after = a_before ^ (rng.random(n) < sigma_a)
    return ((a_before ^ wrong_before) != (a_after ^ wrong_after)).mean()


########################################## Sensitivity #############################################


@pytest.mark.parametrize("n, k", [(3, 1), (4, 2), (12, 5)])
def test_sensitivity_is_the_share_of_flipped_questions(n, k):
    x, c, c_star = made(n=n, k=k)
    assert domain_shift.sensitivity(x, c, c_star) == pytest.approx(one_by_one(x, c, c_star))


def test_an_update_can_flip_nothing_or_all():
    line = np.arange(5.0)[:, None]
    ends = np.array([[-1.0], [7.0]])
    assert domain_shift.sensitivity(line, ends, ends) == 0
    assert domain_shift.sensitivity(line, ends, ends[::-1]) == 1
    assert domain_shift.sensitivity(line, ends, np.array([[-2.0], [-1.0]])) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_within_their_cells_centroids_move_as_far_as_half_the_way(seed):
    x, c, step = made(seed, n=15)
    moved = domain_shift.within_cells(x, c, step)
    assert domain_shift.sensitivity(x, c, moved) == 0
    assert (np.abs(moved - c).max(axis=1) > 0).all()
    # As far again is the wall, and all but a step beyond it flips something.
    for before, after in zip(c, moved, strict=True):
        near, beyond = before + 1.999 * (after - before), before + 2.001 * (after - before)
        assert domain_shift.sensitivity(x, before[None], near[None]) == 0
        assert domain_shift.sensitivity(x, before[None], beyond[None]) > 0


def test_where_no_wall_is_met_centroids_go_the_whole_step():
    line, c, step = np.arange(4.0)[:, None], np.array([[-1.0]]), np.array([[-5.0]])
    np.testing.assert_array_equal(domain_shift.within_cells(line, c, step), [[-6.0]])


########################################## The formula #############################################


def test_the_formula_has_its_known_values():
    found = domain_shift.expected_sensitivity([0.05, 0.2, 0.5, 0.8])
    np.testing.assert_allclose(found, [0.095, 0.32, 0.5, 0.32], rtol=1e-12)
    assert domain_shift.expected_sensitivity(GRID).argmax() == 5
    np.testing.assert_array_equal(domain_shift.expected_sensitivity(GRID, correlation=1), 0)
    np.testing.assert_allclose(domain_shift.expected_sensitivity(0.5, GRID), 0.5)
    np.testing.assert_allclose(domain_shift.expected_sensitivity([0, 1], 0.3), 0.3)
    # The least correlation: never wrong twice, or never right twice.
    found = domain_shift.expected_sensitivity([0.1, 0.5, 0.8], correlation=[-1 / 9, -1, -1 / 4])
    np.testing.assert_allclose(found, [0.2, 1, 0.4])


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("sigma_a, r", [(0, 0), (0.3, 0), (0.2, 0.6), (1, -0.05)])
def test_the_formula_is_what_errors_of_that_correlation_make(epsilon, sigma_a, r):
    n = 100_000
    found = simulated(epsilon, sigma_a, r, n, RNG(0))
    expected = float(domain_shift.expected_sensitivity(epsilon, sigma_a, r))
    assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / n))


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 0.5, 0.8])
def test_independent_errors_have_the_formula_and_not_the_printed_order(epsilon):
    found = plots.misread(epsilon, 0.0, 100_000, RNG(1))
    assert found.low <= domain_shift.expected_sensitivity(epsilon) <= found.high
    further = plots.misread(0.02, 0.0, 100_000, RNG(2))
    assert further.high < found.low


########################################## Embeddings ##############################################


def test_embeddings_are_as_misaligned_as_was_asked_for_and_alice_stays(renewed):
    sigma_a, before, after, _ = renewed
    assert (sigma_a == 0).all()
    for epsilon in (before, after):
        np.testing.assert_allclose(epsilon.mean(axis=0), plots.MIXED, atol=0.02)


def test_embeddings_are_less_sensitive_than_independent_errors_and_as_margins_say(renewed):
    rows = plots.by_epsilon(0.0, renewed)
    expected = domain_shift.from_margins(plots.MIXED, 0.0)
    for row, by_margins in zip(rows[1:], expected[1:], strict=True):
        assert row["σ_B"].high < row["2ε(1−ε)"] - 0.05
        assert row["σ_B"].value == pytest.approx(by_margins, abs=0.015)
        assert row["r"].low > 0.1
        by_r = domain_shift.expected_sensitivity(row["ε"], correlation=row["r"].value)
        assert row["σ_B"].value == pytest.approx(float(by_r), abs=1e-3)


def test_the_correlation_is_that_of_errors_one_by_one():
    rng = RNG(0)
    wrong = rng.random((2, 40, 500)) < 0.3
    wrong[1, :, ::2] = wrong[0, :, ::2]
    shares = [*wrong.mean(axis=2), (wrong[0] != wrong[1]).mean(axis=1)]
    found = np.stack([np.zeros(40), *shares])[..., None]
    row = plots.by_epsilon(0.5, found)[0]
    assert row["r"].value == pytest.approx(np.corrcoef(wrong.reshape(2, -1))[0, 1], abs=1e-6)
    assert row["r"].low < 0.5 < row["r"].high


def test_margins_have_their_limits():
    np.testing.assert_array_equal(domain_shift.from_margins(GRID, 1), 0)
    np.testing.assert_allclose(domain_shift.from_margins([0, 1], 0.5), 0, atol=1e-7)
    assert float(domain_shift.from_margins(0.5, 0)) == pytest.approx(np.arccos(1 / 3) / np.pi)
    found = domain_shift.from_margins(GRID[1:-1], 0)
    assert (found < domain_shift.expected_sensitivity(GRID[1:-1])).all()


def test_orders_are_counted_by_intervals_that_are_apart():
    found = [plots.intervals.proportion(k, 1000) for k in (0, 300, 500, 305)]
    assert plots.orders(np.array([0, 0.2, 0.5, 0.9]), found) == (0, 5)
    # As printed, of what is the other way round; 300 and 305 cannot be told apart.
    assert plots.orders(np.array([0.5, 0.3, 0, 0.2]), found) == (5, 0)


########################################## The part ################################################


def test_claims_are_judged_by_the_numbers(part):
    assert [one.verdict for one in part.claims] == [NOT_AS_PRINTED, ASSUMED, ASSUMED]
    assert all(one.assumption for one in part.claims[1:])
    numbers = part.claims[0].as_dict()["numbers"]
    assert numbers["pairs as printed"] == 0 and numbers["pairs the other way round"] > 150
    same = numbers["embeddings"]["1.0"]
    assert all(row["σ_B"]["high"] < 0.01 for row in same)


def test_a_seed_draws_the_same_again(part):
    assert plots.part(EFFORT).claims == part.claims
    assert plots.part(EFFORT._replace(seed=1)).claims != part.claims


########################################## Bad input ###############################################


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: domain_shift.expected_sensitivity(1.1), r"^epsilon is 1\.1; expected a probabil"),
        (lambda: domain_shift.expected_sensitivity(0.5, -0.1), r"^sigma_a is -0\.1; expected a p"),
        (
            lambda: domain_shift.expected_sensitivity([0.5, 0.2], 0, -0.5),
            r"^correlation is -0\.5; expected -0\.25 to 1, as epsilon is 0\.2\.$",
        ),
        (lambda: domain_shift.expected_sensitivity(0.5, 0, 1.01), r"^correlation is 1\.01; expect"),
        (lambda: domain_shift.expected_sensitivity(0.5, 0, np.nan), r"^correlation is nan; expect"),
        (lambda: domain_shift.from_margins(0.5, -1), r"^kept is -1; expected a probability"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, c, s: (x[:2], c, s), r"^x has shape \[2, 3\]; expected at least 3 points"),
        (lambda x, c, s: (x[[0, 1, 0]], c, s), r"^x: rows 0 and 2 .* are the same point"),
        (lambda x, c, s: (x, c[:0], s[:0]), r"^c has shape \[0, 3\]; expected at least 1 row of 3"),
        (lambda x, c, s: (x, c, s[:, :2]), r"^c_star has shape \[4, 2\]; expected at least 1 row"),
        (lambda x, c, s: (x, c, s[:2]), r"^c has 4 rows and c_star 2; expected the same classes"),
        (lambda x, c, s: (x, c * np.nan, s), r"^c: row 0 \(from 0\) is not all finite"),
    ],
)
def test_points_that_do_not_fit_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        domain_shift.sensitivity(*change(*made()))
