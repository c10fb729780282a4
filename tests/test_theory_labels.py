"""Labels as triplets, bits and answers, against enumeration, slow Bayes and naive counts."""

import itertools
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from alignet.errors import InputError
from evals.statistics import intervals
from theory import labels, labels_answers, labels_learning
from theory.claims import ASSUMED, BOUND, HOLDS
from theory.labels import NEW
from theory.labels_learning import Learnt
from theory.plots import Effort, labels_measured
from theory.plots import labels as plot

KINDS = [
    labels.triplet(),
    labels.odd_one_out(),
    labels.label(4),
    labels.ranking(4),
    labels.rating(5),
]
named = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def world(n=6, m=40, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d))


def every(kind, n):
    """All questions of a kind about n objects, each set of objects once."""
    return np.array(list(itertools.combinations(range(n), kind.shown)))


def probabilities(kind, tau, n=6, m=40):
    x, c = world(n, m)
    log_p = labels_answers.log_likelihoods(kind, every(kind, n), x, c, tau=tau)
    return x, c, log_p, np.exp(np.asarray(log_p, np.float64))


# Conversion.


@named
def test_triplets_said_without_noise_are_so_and_as_many_as_a_kind_says(kind):
    x, c, _, p = probabilities(kind, 0)
    shown, outcome = every(kind, len(x)), p.argmax(axis=1)
    for place, answered in zip(c, outcome.T, strict=True):
        points = np.vstack([x, place])
        if kind.name == "rating":
            said = labels.rating_triplets(shown[:, 0], answered)
        else:
            said = labels.said(kind, shown, answered)
            assert said.shape == (len(shown), kind.triplets, 3)
        for i, j, k in said.reshape(-1, 3):
            assert np.linalg.norm(points[i] - points[j]) < np.linalg.norm(points[i] - points[k])


def test_a_label_says_that_the_chosen_class_is_nearer_than_each_other():
    shown, chosen = np.array([[7, 3, 5], [1, 0, 2]]), np.array([1, 2])
    assert labels.label_triplets(shown, chosen).tolist() == [
        [[NEW, 3, 7], [NEW, 3, 5]],
        [[NEW, 2, 1], [NEW, 2, 0]],
    ]


def test_a_ranking_says_every_pair_in_its_order():
    assert labels.ranking_triplets(np.array([4, 9, 2])).tolist() == [
        [NEW, 4, 9], [NEW, 4, 2], [NEW, 9, 2],
    ]  # fmt: skip
    outcome = np.array(3)  # of (0 1 2), (0 2 1), (1 0 2), (1 2 0), …
    said = labels.said(labels.ranking(3), np.array([4, 9, 2]), outcome)
    assert said.tolist() == labels.ranking_triplets(np.array([9, 2, 4])).tolist()


def test_ratings_that_are_equal_say_nothing():
    said = labels.rating_triplets(np.array([5, 6, 7]), np.array([2, 4, 2]))
    assert said.tolist() == [[NEW, 6, 5], [NEW, 6, 7]]


@pytest.mark.parametrize(
    ("pair", "said", "anchored"),
    [
        (0, [[NEW, 8, 9], [8, NEW, 9]], 1),
        (1, [[NEW, 9, 8], [9, NEW, 8]], 1),
        (2, [[8, 9, NEW], [9, 8, NEW]], 0),
    ],
)
def test_an_odd_one_out_says_two_triplets_of_which_not_all_are_of_the_new_object(
    pair, said, anchored
):
    found = labels.odd_one_out_triplets(np.array([8, 9]), np.array(pair))
    assert found.tolist() == said
    assert (found[:, 0] == NEW).sum() == anchored


# Decisions.


def slow_choices(kind, s, x, shown, tau):
    """The probabilities of one question's outcomes at one place, one after the other."""
    options = [s[j] for j in shown]
    if kind.name == "odd one out":
        options.append(-((x[shown[0]] - x[shown[1]]) ** 2).sum())
    if kind.name != "ranking":
        weights = np.exp(np.array(options) / tau)
        return weights / weights.sum()
    found = []
    for order in itertools.permutations(options):
        chances = [
            math.exp(order[i] / tau) / sum(math.exp(left / tau) for left in order[i:])
            for i in range(len(order))
        ]
        found.append(math.prod(chances))
    return np.array(found)


@pytest.mark.parametrize("kind", KINDS[:-1], ids=lambda kind: kind.name)
def test_choices_are_luces(kind):
    x, c, _, p = probabilities(kind, 0.7)
    for q, shown in enumerate(every(kind, len(x))):
        for m in range(0, len(c), 8):
            s = -((c[m] - x) ** 2).sum(axis=1)
            expected = slow_choices(kind, s, x, shown, 0.7)
            np.testing.assert_allclose(p[q, :, m], expected, rtol=2e-5, atol=1e-12)


@pytest.mark.parametrize("tau", [0, 1e-30, 0.01, 1.0, 50.0])
@named
def test_outcomes_are_all_there_are(kind, tau):
    _, _, log_p, p = probabilities(kind, tau)
    assert p.shape[1] == kind.outcomes
    assert not np.isnan(np.asarray(log_p)).any()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


@named
def test_without_noise_is_the_limit(kind):
    certain, almost = probabilities(kind, 0)[3], probabilities(kind, 1e-30)[3]
    assert set(np.unique(certain)) == {0, 1}
    # Between two similarities a rating's cut may lie anywhere: two of 240 change their level.
    assert (certain != almost).any(axis=1).sum() <= (2 if kind.name == "rating" else 0)


@pytest.mark.parametrize("tau", [0, 0.3, 3.0])
def test_levels_are_used_equally_often(tau):
    p = probabilities(labels.rating(5), tau, m=200)[3]
    np.testing.assert_allclose(p.mean(axis=(0, 2)), 0.2, atol=2e-4 if tau else 1e-3)


def test_a_rating_is_the_similarity_with_logistic_noise_as_large_as_gumbels():
    tau = 1.5
    x, c, _, p = probabilities(labels.rating(5), tau)
    s = -((x[:, None] - c) ** 2).sum(axis=-1)
    scale = tau * math.sqrt(scipy.stats.gumbel_r.var() / scipy.stats.logistic.var())
    for level in range(1, 5):
        cut = s / scale - scipy.special.logit(p[:, level:].sum(axis=1))
        np.testing.assert_allclose(cut, cut.mean(), atol=2e-3)


@named
def test_answers_do_not_depend_on_where_the_origin_is(kind):
    x, c = world()
    near, far = (
        labels_answers.log_likelihoods(kind, every(kind, 6), x + at, c + at, tau=1.0)
        for at in (0, 1000)
    )
    np.testing.assert_allclose(near, far, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tau", [0, 1.0])
def test_of_two_a_label_and_a_ranking_are_triplets(tau):
    x, c, triplet, _ = probabilities(labels.triplet(), tau)
    asked = np.tile(np.arange(15), (20, 1))
    learnt = {}
    for kind in (labels.triplet(), labels.label(2), labels.ranking(2)):
        log_p = labels_answers.log_likelihoods(kind, every(kind, 6), x, c, tau=tau)
        np.testing.assert_array_equal(log_p, triplet)
        outcome = np.arange(15) % 2
        said = labels.said(kind, every(kind, 6), outcome)
        assert said.tolist() == labels.said(labels.triplet(), every(kind, 6), outcome).tolist()
        rng = np.random.default_rng(0)
        learnt[kind.name] = labels_learning.learn(log_p, x, c, asked, counts=(3, 15), rng=rng)
    for one in learnt.values():
        np.testing.assert_array_equal(one.alignment, learnt["triplet"].alignment)


# Information.


@pytest.mark.parametrize("tau", [0, 0.5, 4.0])
@named
def test_information_is_how_much_narrower_belief_becomes(kind, tau):
    _, c, log_p, p = probabilities(kind, tau)
    m = len(c)
    found = np.asarray(labels_answers.information(log_p))
    for q in range(len(p)):
        left = 0.0
        for given in p[q]:  # the places' probabilities of one outcome
            if given.sum():
                left += given.mean() * scipy.stats.entropy(given / given.sum(), base=2)
        assert found[q] == pytest.approx(math.log2(m) - left, abs=2e-5)


@pytest.mark.parametrize("tau", [0, 0.5, 4.0])
def test_bits_are_bounded_and_ordered(tau):
    bits = {
        kind.name: np.asarray(labels_answers.information(probabilities(kind, tau)[2]))
        for kind in KINDS
    }
    for kind in KINDS:
        assert (bits[kind.name] <= math.log2(kind.outcomes) + 1e-6).all()
        assert (bits[kind.name] > 0).any()
    # The same classes: a ranking says its first place, too, and more.
    assert (bits["ranking"] >= bits["label"]).all()
    assert bits["ranking"].mean() > 1.3 * bits["label"].mean()
    # K − 1 triplets are not K − 1 bits, and not K − 1 times what one says.
    assert bits["label"].mean() < 0.8 * 3 * bits["triplet"].mean()


def test_a_certain_answer_says_the_entropy_of_its_outcomes():
    _, _, log_p, p = probabilities(labels.triplet(), 0)
    shares = p.mean(axis=2)
    expected = scipy.stats.entropy(shares, axis=1, base=2)
    np.testing.assert_allclose(labels_answers.information(log_p), expected, atol=1e-5)


# Learning.


def consistent(p, asked, truth, answers):
    """Without noise: which places give all of the answers that the true one gives."""
    left = np.ones(p.shape[2], bool)
    for q in asked[:answers]:
        left &= p[q].argmax(axis=0) == p[q][:, truth].argmax()
    return left


@named
def test_without_noise_belief_is_in_the_places_that_remain(kind):
    x, c, log_p, p = probabilities(kind, 0)
    rng = np.random.default_rng(1)
    asked = np.array([rng.permutation(len(p))[:4] for _ in range(10)])
    found = labels_learning.learn(
        log_p, x, c, asked, counts=(0, 1, 4), rng=np.random.default_rng(2)
    )
    truths = np.random.default_rng(2).integers(len(c), size=10)
    s = -((x[:, None] - c) ** 2).sum(axis=-1)
    pairs = list(itertools.combinations(range(len(x)), 2))
    for o, truth in enumerate(truths):
        for t, answers in enumerate((0, 1, 4)):
            left = consistent(p, asked[o], truth, answers)
            right = 0
            for j, k in pairs:
                agree = ((s[j] > s[k]) == (s[j, truth] > s[k, truth]))[left].sum()
                right += 2 * agree > left.sum()  # half of them is undecided, and wrong
            assert found.alignment[t, o] == pytest.approx(right / len(pairs))
            assert found.bits[t, o] == pytest.approx(math.log2(len(c) / left.sum()), abs=1e-4)


def test_belief_by_halves_is_wrong():
    x, c = np.array([[0.0], [1.0], [5.0]]), np.array([[0.1], [0.9], [4.8], [4.4]])
    nothing = np.zeros((1, 1, 4), np.float32)
    # Of (0, 1) one place says so and three otherwise; of the others, each two.
    expected = 3 / 4 / 3
    log_p = jnp.asarray(nothing)
    assert labels_learning.after_one(log_p, x, c) == pytest.approx(expected)
    learnt = labels_learning.learn(
        log_p, x, c, np.zeros((4000, 1), int), counts=(1,), rng=np.random.default_rng(0)
    )
    assert set(np.unique(learnt.alignment).round(3)) == {0, 0.333}


@pytest.mark.parametrize("tau", [0, 1.0])
@named
def test_after_one_answer_alignment_is_its_mean_over_all_answers(kind, tau):
    x, c, log_p, p = probabilities(kind, tau)
    signs = labels_learning.nearer(x, c)
    found = labels_learning.after_one(log_p, x, c)
    for q in range(0, len(p), 4):
        expected = 0.0
        for given in p[q]:
            margins = given @ signs
            decided = np.where(np.abs(margins) > 1e-5 * given.sum(), np.sign(margins), 0)
            expected += (given * (decided == signs).mean(axis=1)).mean()
        assert found[q] == pytest.approx(expected, abs=1e-6)


def test_two_noisy_answers_teach_what_bayes_rule_says():
    x, c, log_p, p = probabilities(labels.label(4), 1.0, m=12)
    expected = 0.0
    for first, second in itertools.product(p[0], p[5]):
        joint = first * second
        expected += joint.mean() * (
            math.log2(12) - scipy.stats.entropy(joint / joint.sum(), base=2)
        )
    asked = np.tile([0, 5], (20_000, 1))
    learnt = labels_learning.learn(log_p, x, c, asked, counts=(1, 2), rng=np.random.default_rng(0))
    one, two = (intervals.mean(bits) for bits in learnt.bits)
    alone = np.asarray(labels_answers.information(log_p))
    assert abs(two.value - expected) < 1.5 * (two.high - two.value)
    assert abs(one.value - alone[0]) < 1.5 * (one.high - one.value)
    # Answers repeat each other: together they say less than the sum.
    assert two.high < alone[0] + alone[5]


def test_the_same_label_again_says_nothing_new_unless_it_is_noisy():
    x, c = world(n=12, m=600)
    shown = np.arange(4)[None]
    asked = np.zeros((300, 64), int)
    learnt = {}
    for tau in (0.0, 1.0):
        log_p = labels_answers.log_likelihoods(labels.label(4), shown, x, c, tau=tau)
        learnt[tau] = labels_learning.learn(
            log_p, x, c, asked, counts=(1, 64), rng=np.random.default_rng(0)
        )
    once, always = learnt[0.0].alignment
    np.testing.assert_array_equal(once, always)
    assert once.mean() < 0.9
    assert learnt[1.0].alignment[0].mean() < once.mean()
    assert learnt[1.0].alignment[1].mean() > once.mean() + 0.05


def test_results_do_not_hang_on_the_number_of_places():
    rng = np.random.default_rng(0)
    x, c = world(n=12, m=2000, d=3)
    shown = np.array([rng.permutation(12)[:4] for _ in range(30)])
    asked = np.array([rng.permutation(30)[:8] for _ in range(500)])
    means = []
    for m in (1000, 2000):
        log_p = labels_answers.log_likelihoods(labels.label(4), shown, x, c[:m], tau=1.0)
        learnt = labels_learning.learn(
            log_p, x, c[:m], asked, counts=(0, 2, 8), rng=np.random.default_rng(3)
        )
        means.append([intervals.mean(row) for row in learnt.alignment])
    for half, whole in zip(*means, strict=True):
        assert half.low < whole.high
        assert whole.low < half.high


def test_answers_are_counted_where_the_mean_first_is_as_high():
    alignment = np.tile([[0.5], [0.7], [0.9], [0.8]], (1, 30))
    learnt = Learnt(np.array([0, 2, 4, 8]), alignment, alignment)
    at = lambda target: labels_learning.cost(learnt, target, np.random.default_rng(0))  # noqa: E731
    assert at(0.8)[:3] == pytest.approx((3, 3, 3))
    assert at(0.4)[:3] == (0, 0, 0)
    assert at(0.95)[:3] == (math.inf, math.inf, math.inf)
    assert at(0.8).n == 30


def test_interval_of_answers_is_over_new_objects():
    rng = np.random.default_rng(0)
    # Half of the objects are known after 2 answers, half after 4; by the mean, 0.75 after 3.
    alignment = np.array([[0.0, 0, 0], [1, 0, 0.5], [1, 1, 1]])[:, rng.integers(2, size=200)]
    alignment[1] = rng.random(200) < 0.5
    cost = labels_learning.cost(Learnt(np.array([0, 2, 4]), alignment, alignment), 0.75, rng)
    assert cost.low < cost.value < cost.high
    assert cost.low > 2.5
    assert cost.high < 3.5


# What is refused.


def likelihoods(kind=KINDS[0], shown=((0, 1),), x=None, c=None, tau=1.0):
    objects, places = world()
    return labels_answers.log_likelihoods(
        kind, np.array(shown), objects if x is None else x, places if c is None else c, tau=tau
    )


def learn(asked=((0, 0),), counts=(1,), c=None):
    x, places = world()
    return labels_learning.learn(
        likelihoods(), x, places if c is None else c, np.array(asked), counts=counts,
        rng=np.random.default_rng(0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: labels.label(1), "k is 1; expected at least 2"),
        (lambda: labels.ranking(1), "k is 1; expected at least 2"),
        (lambda: labels.ranking(7), "k is 7; expected at most 6"),
        (lambda: labels.rating(1), "levels is 1; expected at least 2"),
        (lambda: labels.label_triplets(np.array([3, 4]), np.array(2)), "chosen has 2; expected"),
        (lambda: labels.label_triplets(np.array([3]), np.array(0)), "k is 1; expected"),
        (lambda: labels.ranking_triplets(np.array([3])), "k is 1; expected"),
        (lambda: labels.odd_one_out_triplets(np.array([3, 4]), np.array(3)), "pair has 3"),
        (lambda: labels.said(labels.rating(3), np.array([3]), np.array(0)), "says no triplet"),
        (lambda: labels.said(labels.triplet(), np.array([3, 4]), np.array(-1)), "outcome has -1"),
        (lambda: likelihoods(tau=-0.1), "tau is -0.1; expected a temperature"),
        (lambda: likelihoods(tau=math.nan), "tau is nan; expected a temperature"),
        (lambda: likelihoods(x=np.eye(2)), "x has shape [2, 2]; expected at least 3"),
        (lambda: likelihoods(x=np.eye(4)[[0, 1, 2, 1]]), "x: rows 1 and 3"),
        (lambda: likelihoods(c=np.full((3, 2), np.nan)), "c: row 0 (from 0) is not all finite"),
        (lambda: likelihoods(x=np.eye(4)), "x has 4 dimensions and c 2; expected"),
        (lambda: likelihoods(shown=((0, 1, 2),)), "shown has shape [1, 3]; expected 2 objects"),
        (lambda: likelihoods(shown=np.zeros((0, 2), int)), "at least one question"),
        (lambda: likelihoods(shown=((0, 6),)), "shown has 6; expected numbers 0 to 5"),
        (lambda: likelihoods(shown=((0, 1), (2, 2))), "question 1 (from 0) shows an object twice"),
        (lambda: learn(asked=((0, 1),)), "asked is from 0 to 1; expected 0 to 0"),
        (lambda: learn(counts=(2, 1)), "counts are [2, 1]; expected ascending"),
        (lambda: learn(counts=(3,)), "counts are [3]; expected ascending ones, at most 2"),
        (lambda: learn(counts=()), "counts are []; expected"),
        (lambda: learn(c=world(m=39)[1]), "c has 39 places and log_p is of 40"),
        (
            lambda: labels_learning.cost(
                Learnt(np.arange(2), np.ones((2, 3)), np.ones((2, 3))), 90.0,
                np.random.default_rng(0),
            ),
            "target is 90; expected a probability",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_a_sentence(call, message):
    with pytest.raises(InputError) as raised:
        call()
    text = str(raised.value)
    assert message in text
    assert text.endswith(".") and "\n" not in text


# The part of the report.


def test_part_judges_the_papers():
    found = plot.part(Effort(fast=True, seed=0))
    assert [claim.verdict for claim in found.claims] == [ASSUMED, BOUND, HOLDS, HOLDS]
    assert found.claims[0].assumption
    json.dumps([claim.as_dict() for claim in found.claims], allow_nan=False)
    said = found.claims[0].numbers["said triplets that are so"]
    assert set(said) == set(labels_measured.KINDS) and set(said.values()) == {1}
