"""Adversarial examples: formulas against exact sums and slow counts, and where they do not hold."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
import scipy.stats

from alignet import agreement
from alignet.errors import InputError
from evals.statistics import intervals
from theory import adversarial, claims
from theory.claims import ASSUMED, NOT_AS_PRINTED
from theory.plots import Effort
from theory.plots import adversarial as plots

RNG = np.random.default_rng
EFFORT = Effort(fast=True, seed=0)


@pytest.fixture(scope="module")
def part():
    return plots.part(EFFORT)


def exactly(n, p, k):
    """The means of the largest and the smallest of k counts, as fractions."""
    chance = [math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1)]
    below = list(itertools.accumulate(chance))[:-1]
    return float(sum(1 - f**k for f in below)), float(sum((1 - f) ** k for f in below))


def by_scipy(n, p, k):
    x = np.arange(n)
    below, above = scipy.stats.binom.cdf(x, n, p), scipy.stats.binom.sf(x, n, p)
    with np.errstate(divide="ignore"):
        largest = -np.expm1(k * np.where(below < 0.5, np.log(below), np.log1p(-above)))
    return largest.sum(), (above**k).sum()


def made(seed=0, n=7, k=5, p=3, q=4):
    rng = RNG(seed)
    return [rng.normal(size=size) for size in ((n, p), (n, q), (k, p), (k, q))]


def one_by_one(a, b, e_a, e_b):
    """Disagreements on one candidate, question by question."""
    differ = 0
    for j, k in itertools.combinations(range(len(a)), 2):
        sides = [
            np.sign(((e - x[j]) ** 2).sum() - ((e - x[k]) ** 2).sum())
            for x, e in ((a, e_a), (b, e_b))
        ]
        differ += sides[0] * sides[1] < 0
    return differ


def read_slowly(flipped, n_classes):
    """The chance of reading class 0 from who beats whom; without flips i beats every j > i."""
    wins = [0] * n_classes
    for (i, j), flip in zip(itertools.combinations(range(n_classes), 2), flipped, strict=True):
        wins[j if flip else i] += 1
    return (wins[0] == max(wins)) / wins.count(max(wins))


########################################## The formula #############################################


@pytest.mark.parametrize("n", [1, 2, 10, 30])
@pytest.mark.parametrize("p", [Fraction(1, 1024), Fraction(1, 4), Fraction(1, 2), Fraction(7, 8)])
@pytest.mark.parametrize("k", [1, 2, 9])
def test_means_are_those_of_fractions(n, p, k):
    found = (
        adversarial.expected_maximum(n, float(p), k),
        adversarial.expected_minimum(n, float(p), k),
    )
    np.testing.assert_allclose(found, exactly(n, p, k), rtol=1e-11)


@pytest.mark.parametrize("n", [45, 3000])
@pytest.mark.parametrize("p", [1e-9, 0.01, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("k", [1, 10, 10**6])
def test_means_are_those_of_scipy(n, p, k):
    found = adversarial.expected_maximum(n, p, k), adversarial.expected_minimum(n, p, k)
    np.testing.assert_allclose(found, by_scipy(n, p, k), rtol=1e-9, atol=1e-300)


def test_counts_that_are_certain():
    found = adversarial.expected_maximum(45, np.array([[0.0, 1.0]]), 10)
    np.testing.assert_array_equal(found, [[0, 45]])
    np.testing.assert_array_equal(adversarial.expected_minimum(45, [0, 1], 10), [0, 45])


@pytest.mark.parametrize("k", [2, 1000, 10**6])
def test_a_million_objects_have_the_maximum_of_normal_counts(k):
    n_triplets = 10**6 * (10**6 - 1) // 2
    found = float(adversarial.expected_disagreement(0.25, n=10**6, k=k))
    sd = math.sqrt(n_triplets * 0.25 * 0.75)
    z = np.linspace(-12, 12, 200_001)
    normal = 12 - np.trapezoid(np.exp(k * scipy.special.log_ndtr(z)), z)
    assert (found - n_triplets / 4) / sd == pytest.approx(normal, abs=1e-4)


def test_the_theorem_has_the_questions_about_one_object():
    found = adversarial.expected_disagreement([0.1, 0.2], n=10, k=10)
    np.testing.assert_array_equal(found, adversarial.expected_maximum(45, [0.1, 0.2], 10))


def test_the_largest_of_simulated_counts_has_the_formula_of_000_and_not_of_001():
    counts = RNG(0).binomial(45, 0.1, size=(50_000, 10))
    largest, smallest = (intervals.mean(f(counts, axis=1) * 1.0) for f in (np.max, np.min))
    assert largest.low < adversarial.expected_maximum(45, 0.1, 10) < largest.high
    assert smallest.low < adversarial.expected_minimum(45, 0.1, 10) < smallest.high
    assert largest.value == pytest.approx(7.78, abs=0.05)
    assert smallest.value == pytest.approx(1.70, abs=0.05)


########################################## Counts ##################################################


@pytest.mark.parametrize("n", [3, 4, 11])
@pytest.mark.parametrize("whole", [False, True])
def test_disagreements_are_those_of_one_question_after_the_other(n, whole):
    a, b, e_a, e_b = made(n=n)
    if whole:  # many distances tie
        a = np.stack([np.arange(n), np.arange(n) % 3], axis=1)
        b = np.stack([np.arange(n) % 2, np.arange(n)[::-1]], axis=1)
        e_a, e_b = RNG(1).integers(n, size=(5, 2)), RNG(2).integers(n, size=(5, 2))
    expected = [one_by_one(a, b, one, other) for one, other in zip(e_a, e_b, strict=True)]
    found = adversarial.disagreements(a, b, e_a, e_b)
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_disagreements_of_objects_themselves_add_up_to_those_of_representations():
    a, b, *_ = made(n=20)
    # A question that has its anchor among its two has the same answer in both.
    found = adversarial.disagreements(a, b, a, b).sum()
    assert found == agreement.triplet_agreement(a, b).disagreements


def test_agents_who_agree_and_agents_who_never_do():
    x = np.arange(6.0)[:, None]
    np.testing.assert_array_equal(
        adversarial.disagreements(x, x, np.array([[-1.0]]), np.array([[-2.0]])), [0]
    )
    np.testing.assert_array_equal(
        adversarial.disagreements(x, x, np.array([[-1.0]]), np.array([[9.0]])), [15]
    )


@pytest.mark.parametrize("n", [10, 40])
def test_of_embeddings_the_maximum_is_above_that_of_independent_counts(n):
    share = plots.counted([plots.mixed(0.3)], n, 100, 60, RNG(0))[:, 0] / plots.pairs(n)
    row = plots.gap(share, n)
    assert row["ε"] == pytest.approx(0.3, abs=0.02)
    assert row["difference"].low > 0.03
    most, k = row["simulated"], row["k"]
    assert not most.low <= adversarial.expected_disagreement(0.3, n=n, k=k) / plots.pairs(n)


def test_maxima_above_a_half_are_of_the_answers_turned_round():
    share = RNG(0).integers(11, size=(4, 3, 5)) / 10
    share[:, 2] = 0.5
    found = plots.maxima(share)
    np.testing.assert_array_equal(found[:, 3], (1 - share[:, 1]).max(axis=1))
    np.testing.assert_array_equal(found[:, 4], (1 - share[:, 0]).max(axis=1))


########################################## Remark A.6 ##############################################


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_classes_are_read_as_by_counting_wins(n_classes):
    flipped = np.array(list(itertools.product([False, True], repeat=plots.pairs(n_classes))))
    expected = [read_slowly(one, n_classes) for one in flipped]
    np.testing.assert_allclose(adversarial.right_class(flipped, n_classes), expected, rtol=1e-12)


@pytest.mark.parametrize("epsilon", [0.0, 0.2, 0.5, 0.6, 1.0])
def test_the_error_is_the_sum_over_all_ways_to_flip(epsilon):
    p = min(epsilon, 1 - epsilon)  # as the read-out turns answers round
    right = sum(
        p ** sum(one) * (1 - p) ** (6 - sum(one)) * read_slowly(one, 4)
        for one in itertools.product([False, True], repeat=6)
    )
    found = adversarial.hard_error(epsilon, n_classes=4)
    assert float(found) == pytest.approx(1 - right, abs=1e-12)


def test_errors_are_those_of_two_classes_of_chance_and_of_simulations():
    epsilon = np.linspace(0, 1, 9)
    found = adversarial.hard_error(epsilon, n_classes=2)
    np.testing.assert_allclose(found, np.minimum(epsilon, 1 - epsilon), atol=1e-12)
    for n_classes in range(2, 7):
        found = adversarial.hard_error(0.5, n_classes=n_classes)
        assert float(found) == pytest.approx(1 - 1 / n_classes)
    read = plots.classified(4000, RNG(0))
    expected = [
        adversarial.expected_maximum(15, plots.GRID, plots.FEW) / 15,
        *(adversarial.hard_error(plots.GRID, n_classes=6, k=k) for k in (plots.FEW, 1)),
    ]
    for means, formula in zip(read.mean(axis=2), expected, strict=True):
        np.testing.assert_allclose(means, formula, atol=0.03)


def test_disagreement_rises_all_along_and_hard_error_falls_again():
    fine = np.linspace(0, 1, 41)
    assert (np.diff(adversarial.expected_maximum(15, fine, 10)) > 0).all()
    error = adversarial.hard_error(fine, n_classes=6)
    assert error.argmax() == 20 and (np.diff(error[:21]) > 0).all()
    np.testing.assert_allclose(error, error[::-1], atol=1e-12)


########################################## The part ################################################


def test_claims_are_judged_by_the_numbers(part):
    assert [one.verdict for one in part.claims] == [
        NOT_AS_PRINTED,
        ASSUMED,
        NOT_AS_PRINTED,
        ASSUMED,
    ]
    assert [bool(one.assumption) for one in part.claims] == [False, True, False, True]
    numbers = part.claims[2].as_dict()["numbers"]
    assert all(step["low"] > 0 for steps in numbers["steps by k"].values() for step in steps)
    uneven, even = numbers["uneven"], numbers["even"]
    assert uneven["D_P"]["high"] < even["D_P"]["low"]
    assert uneven["worst"]["low"] > even["worst"]["high"]
    related = part.claims[3].numbers["correlation with alignment"]
    assert related[2][plots.WHOLE].low < 0.05 and related[2][plots.UPPER].low > 0.9


def test_a_seed_draws_the_same_again(part):
    assert plots.part(EFFORT).claims == part.claims
    other = plots.part(EFFORT._replace(seed=1)).claims
    assert claims.plain(other[1].numbers) != claims.plain(part.claims[1].numbers)


########################################## Bad input ###############################################


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: adversarial.expected_maximum(0, 0.5, 1), r"^n_triplets is 0; expected at least 1"),
        (lambda: adversarial.expected_maximum(9, 1.5, 1), r"^p is 1\.5; expected a probability"),
        (lambda: adversarial.expected_minimum(9, 0.5, 0), r"^k is 0; expected at least 1\.$"),
        (lambda: adversarial.expected_disagreement(0.5, n=2, k=1), r"^n is 2; expected at least 3"),
        (lambda: adversarial.expected_disagreement(-1, n=9, k=1), r"^epsilon is -1; expected"),
        (lambda: adversarial.hard_error(np.nan, n_classes=3), r"^epsilon is nan; expected a prob"),
        (lambda: adversarial.hard_error(0.5, n_classes=7), r"^n_classes is 7; expected at most 6"),
        (lambda: adversarial.hard_error(0.5, n_classes=1), r"^n_classes is 1; expected at least 2"),
        (lambda: adversarial.hard_error(0.5, n_classes=3, k=0), r"^k is 0; expected at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a, b, e, f: (a[:2], b[:2], e, f), r"^a has shape \[2, 3\]; expected at least 3"),
        (lambda a, b, e, f: (a, b[[0, 1, 1]], e, f), r"^b: rows 1 and 2 .* are the same point"),
        (lambda a, b, e, f: (a, b[:5], e, f), r"^a and e_a have 7 and 5 rows, b and e_b 5 and 5;"),
        (lambda a, b, e, f: (a, b, e, f[:1]), r"^a and e_a have 7 and 5 rows, b and e_b 7 and 1;"),
        (lambda a, b, e, f: (a, b, e[:, :2], f), r"^e_a has shape \[5, 2\]; expected at least 1"),
        (lambda a, b, e, f: (a, b, e[:0], f[:0]), r"^e_a has shape \[0, 3\]; expected at least 1"),
        (lambda a, b, e, f: (a, b, e, f * np.inf), r"^e_b: row 0 \(from 0\) is not all finite"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        adversarial.disagreements(*change(*made()))
