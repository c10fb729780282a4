"""Doubts and probabilities on THINGS: statistics against SciPy, the question on a small world."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from alignet import triplets as kernels
from alignet.data.things_choices import Repeats
from alignet.errors import Absent, InputError
from evals import models
from evals import uncertainty as question
from evals.answers import PEOPLE, Answers
from evals.options import Options
from evals.pages import page
from evals.statistics import calibration, intervals, odd_one_out, uncertainty
from tests import things_case
from tests.evals_case import IDS, X

OPTIONS = Options(tau=2.0, resamples=40)
NOBODY = np.empty((0, 3), np.int64)


########################################## Statistics ##########################################


def test_entropy_is_scipys():
    s = np.random.default_rng(0).normal(size=(50, 3)) * 5
    p = scipy.special.softmax(s / 2, axis=1)
    expected = scipy.stats.entropy(p, axis=1)
    np.testing.assert_allclose(uncertainty.model_entropy(s, tau=2.0), expected, rtol=1e-12)
    np.testing.assert_allclose(uncertainty.entropy(p), expected, rtol=1e-12)
    np.testing.assert_array_equal(uncertainty.entropy(np.eye(3)), 0)


def test_the_order_of_uncertainties_depends_on_the_temperature():
    s = np.array([[10.0, 9, 0], [10, 6, 6]])
    cold, warm = (uncertainty.model_entropy(s, tau=tau) for tau in (1.0, 10.0))
    assert cold[0] > cold[1]
    assert warm[0] < warm[1]


def test_uncertainty_correlates_and_sweeps():
    rng = np.random.default_rng(0)
    s = rng.normal(size=(200, 3)) * 3
    human = uncertainty.model_entropy(s) + 0.1 * rng.normal(size=200)
    scores = uncertainty.run(s, human, taus=(1.0, 50.0), resamples=100)
    assert [score.tau for score in scores] == [1, 50]
    for score in scores:
        entropies = uncertainty.model_entropy(s, tau=score.tau)
        assert score.entropy.value == pytest.approx(entropies.mean())
        expected = scipy.stats.spearmanr(entropies, human).statistic
        assert score.spearman.value == pytest.approx(expected, rel=1e-12)
        assert score.spearman.low < score.spearman.value < score.spearman.high
    assert uncertainty.run(s)[0].spearman is None


def test_many_triplets_have_the_interval_that_resampling_gives():
    rng = np.random.default_rng(1)
    human = rng.normal(size=3000)
    for strength in (0.0, 0.7, 3.0):
        x = np.exp(strength * human + rng.normal(size=3000))
        measured = uncertainty._spearman(x, human)
        [resampled] = intervals.spearman(x, human, resamples=1000)
        width = resampled.high - resampled.low
        assert measured.value == pytest.approx(resampled.value, rel=1e-12)
        np.testing.assert_allclose(measured[1:3], resampled[1:3], atol=0.1 * width)
        assert measured.n == 3000


@pytest.mark.filterwarnings("error")
def test_many_triplets_of_one_entropy_have_no_correlation_and_equal_ones_no_doubt():
    rng = np.random.default_rng(2)
    human = rng.normal(size=uncertainty.MOST_RESAMPLED + 1)
    [found] = uncertainty.run(np.ones((len(human), 3)), human, taus=[1.0])
    assert np.isnan(found.spearman[:3]).all()
    np.testing.assert_allclose(uncertainty._spearman(human, human)[:3], 1, rtol=1e-12)
    similarities = rng.normal(size=(len(human), 3))
    [found] = uncertainty.run(similarities, human, taus=[1.0])
    entropies = uncertainty.model_entropy(similarities)
    assert found.spearman.value == pytest.approx(scipy.stats.spearmanr(entropies, human).statistic)


######################################## Best temperature ########################################


def loss(log_tau, similarities):
    return -scipy.special.log_softmax(similarities / np.exp(log_tau), axis=1)[:, 0].mean()


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
@pytest.mark.parametrize("tails", ["light", "heavy"])
def test_the_best_temperature_is_scipys(scale, tails):
    rng = np.random.default_rng(3)
    lengths = rng.exponential(size=(400, 1)) ** (1 if tails == "light" else 6)
    similarities = rng.normal(size=(400, 3)) * lengths
    similarities[:, 0] += 0.4 * lengths[:, 0]
    found = scipy.optimize.minimize_scalar(
        loss, bounds=(-20, 20), args=(similarities,), options={"xatol": 1e-9}
    )
    best = uncertainty.best_tau(scale * similarities)
    assert best == pytest.approx(scale * np.exp(found.x), rel=1e-5)
    # Shifts of a triplet's similarities do not matter to probabilities.
    shifted = similarities + rng.normal(size=(400, 1))
    assert uncertainty.best_tau(scale * shifted) == pytest.approx(best, rel=1e-8)


def test_the_best_temperature_is_that_at_which_people_chose():
    rng = np.random.default_rng(4)
    similarities = rng.normal(size=(20_000, 3)) * 7
    p = scipy.special.softmax(similarities / 3, axis=1)
    chosen = (rng.random((20_000, 1)) > p.cumsum(axis=1)[:, :2]).sum(axis=1)
    first = (chosen[:, None] + np.arange(3)) % 3
    similarities = np.take_along_axis(similarities, first, axis=1)
    assert uncertainty.best_tau(similarities) == pytest.approx(3, rel=0.03)


@pytest.mark.parametrize(
    "similarities",
    [
        np.full((9, 3), 3.3),
        np.arange(9.0)[:, None] + np.zeros((9, 3)),
        np.array([[0.0, 1.0, 1.0], [0.0, -1.0, -1.0]]),
        np.tile([0.0, 1.0, 0.0], (9, 1)),
        np.tile([1.0, 0.0, 0.0], (9, 1)),
        np.tile([1.0, 1.0, 0.0], (9, 1)),
        -np.sort(-np.random.default_rng(6).normal(size=(500, 3)), axis=1),
    ],
    ids=["equal", "equal rows", "unrelated", "opposite", "agree", "agree or tie", "all agree"],
)
def test_there_may_be_no_best_temperature(similarities):
    assert uncertainty.best_tau(similarities) is None


##################################### Given uncertainty #####################################


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(5), r"shape \[5\]; expected finite floats of shape \[3\]"),
        (np.ones(3, int), "holds no floats"),
        (np.array([1, np.nan, 2]), "row 1 .* is nan"),
        (np.array([[0.5, 0.5, 0], [1, 1, 1], [0, 0, 1]]), "row 1"),
        (np.array([[0.5, 0.5, 0], [0, 0, 1], [-1, 1, 1]]), "row 2"),
        (np.array([{}, {}, {}]), "not a whole .npy file"),
    ],
)
def test_bad_uncertainties_are_named(tmp_path, values, message):
    path = tmp_path / "u.npy"
    np.save(path, values, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        uncertainty.load_human(path, n=3)


def test_uncertainties_are_read_as_numbers_or_probabilities(tmp_path):
    path = tmp_path / "u.npy"
    p = np.array([[0.5, 0.5, 0], [1, 0, 0]])
    np.save(path, p)
    np.testing.assert_allclose(uncertainty.load_human(path, n=2), [np.log(2), 0], atol=1e-12)
    np.save(path, np.array([3, 4], np.float32))
    np.testing.assert_array_equal(uncertainty.load_human(path, n=2), [3, 4])


########################################## The question ##########################################


def repeats(one=NOBODY, two=NOBODY, again=NOBODY, three=NOBODY):
    return Repeats(*(np.array(x, np.int64).reshape(-1, 3) for x in (one, two, again, three)))


def test_shares_are_of_first_answers_whatever_the_order_of_the_objects():
    # Of 4, 7 and 9: nine is odd in two answers, four in two, seven in one.
    first = [(4, 7, 9), (7, 4, 9), (9, 7, 4), (7, 9, 4), (9, 4, 7)]
    objects, shares = question.repeated_shares(repeats(one=first))
    np.testing.assert_array_equal(objects, [[4, 7, 9]])
    # The pairs (4, 7), (4, 9) and (7, 9), the odd object being the one that is left.
    np.testing.assert_allclose(shares, [[0.4, 0.2, 0.4]])


def test_second_answers_and_triplets_with_few_answers_are_left_out():
    two = [(0, 1, 2), (2, 1, 0), (0, 1, 2)]
    again = [(0, 2, 1)] * 3
    three = [(1, 0, 2), (3, 4, 5), (3, 4, 5), (3, 4, 5)]
    objects, shares = question.repeated_shares(repeats(two=two, again=again, three=three))
    np.testing.assert_array_equal(objects, [[0, 1, 2]])
    np.testing.assert_allclose(shares, [[0.75, 0, 0.25]])
    objects, shares = question.repeated_shares(repeats())
    assert objects.shape == shares.shape == (0, 3)


def asked_again(places, rng):
    """Choices by the places, but for some noise; ten triplets are put to six people."""
    rows = []
    for number in range(200):
        objects = rng.permutation(12)[:3]
        rows.append((*objects, number % 6, 0))
    for asked in (1, 3):
        for objects in (rng.permutation(12)[:3] for _ in range(5)):
            rows += [(*objects, person, asked) for person in range(6)]
    result = []
    for *objects, person, asked in rows:
        i, j, k = places[objects]
        alike = np.array([j @ k, i @ k, i @ j]) + 2 * rng.normal(size=3)
        shown, rt = [int(o) + 1 for o in objects], "" if person == 5 else 500 + 100 * person
        result.append((*shown, int(alike.argmax()) + 1, rt, asked, f"p{person}"))
    return result


@pytest.fixture
def data_dir(tmp_path):
    rows = asked_again(X, np.random.default_rng(0))
    return things_case.write_table(tmp_path / "data", rows)


def in_order(choices):
    """Rows of X by the objects' names."""
    row = dict(zip(IDS.tolist(), X, strict=True))
    return np.stack([row[name] for name in choices.ids.tolist()])


def score(data_dir, model, options=OPTIONS):
    return question.score(question.load(data_dir, options), model, options)


def test_a_model_is_scored_at_the_best_and_at_fixed_temperatures(tmp_path, data_dir):
    data = question.load(data_dir, OPTIONS)
    found = score(data_dir, things_case.model(tmp_path, X, IDS))
    x = in_order(data.choices)
    s = odd_one_out.pair_similarities(x, data.choices.triplets)
    best = found.find("all", question.TAU).value
    assert best == uncertainty.best_tau(s) > 0
    for end, tau in {"": best, ", tau=0.1": 0.1, ", tau=2": 2, ", tau=100": 100}.items():
        log_p = kernels.log_probabilities(s, tau=tau)
        ece = calibration.run(np.exp(log_p), resamples=40)
        assert found.find("all", f"ECE{end}") == ece.ece
        assert found.find("all", f"ECE of all pairs{end}") == ece.pairwise_ece
        entropy = scipy.stats.entropy(np.exp(log_p), axis=1)
        assert found.find("all", f"entropy{end}").value == pytest.approx(entropy.mean())
    assert found.find("all", "ECE").value < found.find("all", "ECE, tau=0.1").value
    assert not found.notes


def test_doubts_are_correlated_with_disagreement_and_response_times(tmp_path, data_dir):
    data = question.load(data_dir, OPTIONS)
    assert list(data.doubts) == ["disagreement", "RT"]
    found = score(data_dir, things_case.model(tmp_path, X, IDS))
    x = in_order(data.choices)
    best = found.find("all", question.TAU).value
    asked, shares = question.repeated_shares(data.choices.repeats)
    timed = np.isfinite(data.choices.rt)
    assert 0 < timed.sum() < len(timed)
    human = {
        "disagreement": (asked, uncertainty.entropy(shares)),
        "RT": (data.choices.triplets[timed], np.log(data.choices.rt[timed])),
    }
    for name, (triplets, doubt) in human.items():
        s = odd_one_out.pair_similarities(x, triplets)
        for end, tau in {"": best, ", tau=2": 2.0}.items():
            entropies = uncertainty.model_entropy(s, tau=tau)
            expected = scipy.stats.spearmanr(entropies, doubt).statistic
            value = found.find("all", f"spearman of entropy with {name}{end}")
            assert value.value == pytest.approx(expected, rel=1e-9)
            assert value.n == len(triplets)
    p = scipy.special.softmax(odd_one_out.pair_similarities(x, asked) / 2, axis=1)
    ece = calibration.run(p, shares, resamples=40).ece
    assert found.find("repeated", "ECE, tau=2").value == pytest.approx(ece.value)
    told = question.people(data, OPTIONS)
    [mean] = told.scores
    assert mean.value.value == pytest.approx(human["disagreement"][1].mean())


@pytest.mark.parametrize("rt", ["", 0])
def test_choices_without_response_times_have_the_rest(tmp_path, rt):
    rows = [(*row[:4], rt, *row[5:]) for row in asked_again(X, np.random.default_rng(0))]
    data_dir = things_case.write_table(tmp_path / "data", rows)
    assert list(question.load(data_dir, OPTIONS).doubts) == ["disagreement"]
    found = score(data_dir, things_case.model(tmp_path, X, IDS))
    assert found.find("all", "spearman of entropy with disagreement")
    assert not found.find("all", "spearman of entropy with RT")


def test_given_uncertainties_are_of_the_choices_in_order(tmp_path, data_dir):
    choices = question.load(data_dir, OPTIONS).choices.triplets
    model = things_case.model(tmp_path, X, IDS)
    x = np.stack(
        [X[IDS.tolist().index(name)] for name in question.load(data_dir, OPTIONS).choices.ids]
    )
    p = scipy.special.softmax(odd_one_out.pair_similarities(x, choices) / 2, axis=1)
    np.save(tmp_path / "p.npy", p)
    options = OPTIONS._replace(human_uncertainty=tmp_path / "p.npy")
    data = question.load(data_dir, options)
    assert tmp_path / "p.npy" in data.files
    found = score(data_dir, model, options)
    metric = "spearman of entropy with given uncertainty, tau=2"
    # But for what rounding makes of the same triplet, asked twice.
    assert found.find("all", metric).value == pytest.approx(1, abs=1e-4)
    np.save(tmp_path / "p.npy", p[1:])
    with pytest.raises(InputError, match=r"p\.npy: has shape .*; expected finite floats of shape"):
        question.load(data_dir, options)


def test_without_names_of_people_or_repeats_probabilities_remain(tmp_path):
    things_case.write_names(tmp_path)
    np.savetxt(tmp_path / "things" / "triplets.txt", np.argsort(X[:, :3], axis=1), fmt="%d")
    data = question.load(tmp_path, OPTIONS)
    assert not data.doubts and not len(data.repeated)
    found = question.score(data, things_case.model(tmp_path, X, IDS), OPTIONS)
    assert {score.subset for score in found.scores} == {"all"}
    assert found.find("all", "ECE, tau=1").n == 12
    assert question.people(data, OPTIONS) == Answers([], {}, [])
    (tmp_path / "things" / "triplets.txt").unlink()
    with pytest.raises(Absent, match=r"triplets\.txt: no such file"):
        question.load(tmp_path, OPTIONS)


def test_a_model_without_variance_has_no_best_temperature_and_a_note(tmp_path, data_dir):
    model = things_case.model(tmp_path, np.tile(X[:1], (12, 1)), IDS)
    found = score(data_dir, model)
    assert found.find("all", question.TAU) is None and found.find("all", "ECE") is None
    assert found.find("all", "entropy, tau=1").value == pytest.approx(np.log(3))
    # It never holds an answer most probable, which is wrong like any tie.
    assert found.find("all", "ECE, tau=1").value == pytest.approx(1 / 3)
    assert not any(score.metric.startswith("spearman") for score in found.scores)
    assert len(found.notes) == 1 and "no temperature is best" in found.notes[0]
    section = question.section({PEOPLE: Answers([], {}, []), "constant": found})
    assert not any(isinstance(block, page.Picture) for block in section.blocks)


@pytest.mark.parametrize(("n", "diagrams"), [(1, 1), (3, 3), (4, 1)])
def test_the_section_has_a_row_a_model_and_few_diagrams(tmp_path, data_dir, n, diagrams):
    found = score(data_dir, things_case.model(tmp_path, X, IDS))
    answers = {PEOPLE: Answers([], {}, [])} | {f"model {i}": found for i in range(n)}
    section = question.section(answers)
    [table] = [block for block in section.blocks if isinstance(block, page.Table)]
    assert [row["model"] for row in table.rows] == [f"model {i}" for i in range(n)]
    assert table.rows[0]["best temperature"] == f"{found.find('all', question.TAU).value:.3g}"
    assert table.rows[0]["ECE"] == found.find("all", "ECE")
    assert table.rows[0]["ρ of doubt with RT"] == found.find("all", "spearman of entropy with RT")
    captions = [block.caption for block in section.blocks if isinstance(block, page.Picture)]
    assert [caption.partition(":")[0] for caption in captions] == [
        f"model {i}" for i in range(diagrams)
    ]


def test_too_few_rows_for_objects_without_names_are_refused(tmp_path):
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "triplets.txt").write_text("0 1 2\n3 4 11\n")
    np.save(tmp_path / "few.npy", X[:5])
    [model] = models.from_embeddings(tmp_path / "few.npy")
    data = question.load(tmp_path, Options())
    with pytest.raises(InputError, match=r"few\.npy: has 5 rows; expected at least 12"):
        question.score(data, model, Options())
