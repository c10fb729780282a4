"""How many answers: the bounds by what is known of them, Laplace's method by its definition."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from evals.statistics.intervals import Measured
from theory import asking, laplace, plan, population, rate

FITS = plan.Fitted(
    Measured(0.9, 0.88, 0.92, 4), Measured(1.2, 1.0, 1.44, 4), Measured(0.5, 0.4, 0.625, 4)
)


def test_what_answers_carry_is_what_their_noise_leaves():
    certain, even = np.eye(3), np.full((4, 3), 1 / 3)
    assert rate.carried(certain) == pytest.approx(math.log2(3))
    assert rate.carried(even) == pytest.approx(0, abs=1e-12)
    p = np.array([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]])
    by_hand = math.log2(3) - (scipy.stats.entropy(p, base=2, axis=1)).mean()
    assert rate.carried(p) == pytest.approx(by_hand)


def test_no_random_question_brings_more_than_answers_carry():
    rng = np.random.default_rng(0)
    worlds = [population.make(20, 3, 0.3, rng) for _ in range(20)]
    asked = population.random_triplets(20, 2000, rng)
    p = np.array([population.probabilities(y, asked) for y in worlds])
    information = scipy.stats.entropy(p.mean(axis=0), axis=1) - scipy.stats.entropy(p, axis=2)
    assert information.mean() / math.log(2) < np.mean([rate.carried(one) for one in p])


@pytest.mark.parametrize("error", [0.9, 0.5, 0.1, 0.02])
def test_rate_of_normal_values_is_shannons(error):
    values = scipy.stats.norm.ppf((np.arange(500) + 0.5) / 500)
    assert rate.rate(values, error) == pytest.approx(0.5 * math.log2(1 / error), abs=0.01)


def test_rate_of_a_coin_at_its_ends():
    coin = np.repeat([-1.0, 1.0], 50)
    assert rate.rate(coin, 1.0) == 0
    assert rate.rate(coin, 1e-4) == pytest.approx(1, abs=0.01)


def test_bound_rises_with_everything_that_is_harder():
    at = {"n": 100, "d": 5, "error": 0.2, "bits": 0.6}
    found = rate.bound(**at)
    for harder in ({"n": 101}, {"d": 6}, {"bits": 0.59}, {"error": 0.19}):
        assert rate.bound(**(at | harder)) > found
    assert rate.bound(**(at | {"bits": 1.2})) == pytest.approx(found / 2)


@pytest.fixture(scope="module")
def people():
    return population.make(12, 2, 0.3, np.random.default_rng(0))


def test_information_is_the_curvature_of_the_likelihood(people, monkeypatch):
    """Of the expected log-likelihood of answers about an object, by finite differences."""
    monkeypatch.setattr(laplace, "OTHERS", 20_000)
    values, vectors = laplace.information(people, np.random.default_rng(1))
    n, i, h = len(people), 4, 1e-3
    questions = np.array([(i, j, k) for j in range(n) for k in range(j) if i not in (j, k)])
    truth = population.probabilities(people, questions)

    def likelihood(move):
        moved = people.copy()
        moved[i] += move
        return (truth * np.log(population.probabilities(moved, questions))).sum(axis=1).mean()

    steps = h * np.eye(2)
    curvature = np.array([
        [
            (likelihood(a + b) - likelihood(a - b) - likelihood(b - a) + likelihood(-a - b)) / 4
            for b in steps
        ]
        for a in steps
    ]) / h**2  # fmt: skip
    found = vectors[i] * values[i] @ vectors[i].T
    np.testing.assert_allclose(found, -3 / n * curvature, atol=0.03 * found.max())


def test_more_answers_lead_nearer_to_the_truth(people):
    found = laplace.learn(people, np.array([1e-6, 1e2, 1e4, 1e8]), np.random.default_rng(0))
    assert (np.diff(found.alignment) > 0).all() and (np.diff(found.error) < 0).all()
    assert found.error[0] == pytest.approx(1, abs=0.05) and found.error[-1] < 1e-3
    assert found.alignment[-1] > 0.99


def test_needed_answers_lead_to_the_alignment(people):
    wanted = np.array([0.75, 0.85, 0.95])
    needed, error = laplace.needed(people, wanted, np.random.default_rng(3))
    assert (np.diff(needed) > 0).all() and (np.diff(error) < 0).all()
    found = laplace.learn(people, needed, np.random.default_rng(3))
    np.testing.assert_allclose(found.alignment, wanted, atol=0.03)
    assert laplace.needed(people, np.array([1 - 1e-9]), np.random.default_rng(3))[0] == np.inf


def test_plan_corrects_and_saves_as_the_fits_say():
    rows = plan.plan(40, 3, 0.33, [0.7, 0.9], FITS, 0)
    bare = plan.plan(40, 3, 0.33, [0.7, 0.9], FITS._replace(correction=Measured(1, 1, 1, 4)), 0)
    for row, uncorrected in zip(rows, bare, strict=True):
        assert row.bound < uncorrected.random.value
        assert row.random.value == pytest.approx(1.2 * uncorrected.random.value)
        assert row.active.value == pytest.approx(0.5 * row.random.value)
        assert row.active.low < row.active.value < row.active.high
    assert rows[0].bound < rows[1].bound and rows[0].random.value < rows[1].random.value


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plan, "fitted", lambda *_: FITS)
    given = ["--objects=30", "--dims=5", "--noise=0.3", f"--out={tmp_path / 'out'}"]
    assert plan.main([*given, "--alignment=0.8"]) == 0
    text = capsys.readouterr().out
    header, _, row, *_ = text.splitlines()
    assert header.startswith("alignment  bound, any  bound, random  random")
    assert row.startswith("0.8 ") and row.count("[") == 2 and "0.9 " not in text
    assert "1.20 [1.00, 1.44]" in text and "0.50 [0.40, 0.62] times the answers" in text
    found = json.loads((tmp_path / "out/plan.json").read_text())
    assert found["objects"] == 30 and found["noise"] == 0.3
    assert [row["alignment"] for row in found["rows"]] == [0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert found["fits"]["saving"]["value"] == 0.5
    assert all((tmp_path / f"out/plan.{kind}").stat().st_size > 1000 for kind in ("pdf", "png"))


def test_noise_that_cannot_be_simulated_is_said():
    quiet, loud = (plan.assumptions(30, 2, noise, FITS) for noise in (0.0, 0.65))
    assert "fits are of noise 0.1" in quiet and "All else is of noise 0.1: with less" in quiet
    assert "fits are of noise 0.5" in loud and "All else" not in loud
    assert "are of noise" not in plan.assumptions(30, 2, 0.33, FITS)


def test_a_poor_approximation_is_said():
    assert "poor" not in plan.assumptions(30, 2, 0.33, FITS)
    far_off = FITS._replace(correction=Measured(4.0, 3.0, 5.3, 4))
    assert "the approximation is poor" in plan.assumptions(30, 2, 0.1, far_off)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"objects": "3"}, "objects is 3; expected at least 4."),
        ({"objects": "many"}, "invalid int value: 'many'; --help"),
        ({"dims": "0"}, "dims is 0; expected at least 1."),
        ({"objects": "1000000", "dims": "40"}, "objects × dims² is 1,600,000,000; expected at"),
        ({"seed": "99999999999999999999"}, "'99999999999999999999' is not a whole number from 0"),
        ({"noise": "0.7"}, "noise is 0.7; expected at least 0 and below 2/3"),
        ({"noise": "-0.1"}, "noise is -0.1; expected"),
        ({"noise": "nan"}, "noise is nan; expected"),
        ({"alignment": "0.5"}, "alignment is 0.5; expected more than 1/2"),
        ({"alignment": "1"}, "alignment is 1; expected more than 1/2"),
    ],
)
def test_bad_input_is_said_in_a_sentence(given, said, capsys):
    good = {"objects": "20", "dims": "2", "noise": "0.3"}
    assert plan.main([f"--{name}={value}" for name, value in (good | given).items()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1


@pytest.mark.slow
def test_fits_at_a_small_size():
    found = plan.fitted(0.33, 0)
    assert 0.5 < found.correction.value < 2.5
    assert found.saving.high < 1 and found.saving.n == plan.FITTED
    assert found.alignment.value > 0.85
    assert isinstance(found.saving, Measured) and asking.ARMS == ("random", "active")
