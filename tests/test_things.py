"""The question of THINGS: scores against slow oracles, the published figures, and the report."""

import numpy as np
import pytest
import scipy.special

from alignet.data.things_choices import CATEGORIES, TABLE, VICE
from alignet.errors import Absent, InputError
from evals import answers, things
from evals.answers import PEOPLE, Answers, Score
from evals.options import Options
from evals.pages import figures, page, things_figures, things_page
from evals.statistics import ceilings, odd_one_out
from evals.statistics import people as individuals
from evals.statistics.intervals import Measured
from tests import things_case as case
from tests.evals_case import TRIPLETS, X
from tests.things_case import RAW_IDS, SORTINDEX

OPTIONS = Options(resamples=50)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


######################################## A small release ########################################


@pytest.fixture
def table_dir(tmp_path):
    return case.write_table(tmp_path / "data")


def write_choices(data_dir, triplets=TRIPLETS):
    """Choices in RAW order, as in the release of 2020."""
    case.write_names(data_dir)
    np.savetxt(data_dir / "things" / "triplets.txt", triplets, fmt="%d")
    return data_dir


def score(data_dir, model, options=OPTIONS):
    return things.score(things.load(data_dir, options), model, options)


def test_a_model_is_scored_by_the_names_of_its_rows(tmp_path, table_dir):
    found = score(table_dir, case.model(tmp_path, X))
    row = {name: X[number] for number, name in enumerate(RAW_IDS)}
    s = np.array(
        [(row[i] @ row[j], row[i] @ row[k], row[j] @ row[k]) for i, j, k in case.names_of()]
    )
    right = (s[:, 0] > s[:, 1]) & (s[:, 0] > s[:, 2])
    assert found.find("all", "accuracy").value == right.mean()
    np.testing.assert_array_equal(found.arrays["all/accuracy/correct"], right)
    expected = -scipy.special.log_softmax(s, axis=1)[:, 0].mean()
    assert found.find("all", "cross-entropy").value == pytest.approx(expected)
    people = right[[0, 2, 3, 6, 8]].mean(), right[[1, 4, 7, 9]].mean(), right[[5, 11]].mean()
    np.testing.assert_allclose(found.arrays["all/accuracy/person"], people)
    spread = individuals.spread(
        np.array(people),
        individuals.share_variance(np.array(people), np.array([5, 4, 2])),
        resamples=50,
    )
    assert found.find("all", "accuracy, mean over people") == spread.mean
    assert found.find("all", "accuracy, SD beyond chance") == spread.sd_beyond_chance


def test_the_options_of_similarity_and_temperature_are_heeded(tmp_path):
    data_dir, model = write_choices(tmp_path), case.model(tmp_path, X)
    found = score(data_dir, model, Options(similarity="cosine", tau=2.0))
    expected = odd_one_out.run(X, TRIPLETS, similarity="cosine", tau=2.0)
    assert found.find("all", "accuracy") == expected.accuracy
    assert found.find("all", "cross-entropy") == expected.cross_entropy


def test_rows_in_any_order_among_others_score_the_same(tmp_path, table_dir, rng):
    plain = score(table_dir, case.model(tmp_path, X))
    order = rng.permutation(14)
    matrix = np.concatenate([X, rng.normal(size=(2, 5))])[order]
    ids = np.array([*RAW_IDS, "other", "peterson/animals/1"])[order]
    mixed = score(table_dir, case.model(tmp_path, matrix, ids, name="mixed"))
    assert mixed.scores == plain.scores
    prefixed = np.array([f"things/{name}" for name in RAW_IDS])
    assert score(table_dir, case.model(tmp_path, X, prefixed, name="p")).scores == plain.scores


def test_rows_that_are_missing_are_told(tmp_path, table_dir):
    with pytest.raises(Absent, match=rf"1 of 12 expected ids are missing \({RAW_IDS[11]}\)"):
        score(table_dir, case.model(tmp_path, X[:11], RAW_IDS[:11]))


def test_constant_embeddings_score_nothing_and_random_ones_guess(tmp_path, rng):
    triplets = rng.permuted(TRIPLETS[rng.integers(len(TRIPLETS), size=4000)], axis=1)
    data_dir = write_choices(tmp_path, triplets)
    constant = score(data_dir, case.model(tmp_path, np.ones((12, 3))))
    assert constant.find("all", "accuracy") == Measured(0.0, 0.0, 0.0, 4000)
    assert any("4,000 triplets have no single most similar pair" in n for n in constant.notes)
    guess = score(data_dir, case.model(tmp_path, rng.normal(size=(12, 30)), name="random"))
    accuracy = guess.find("all", "accuracy")
    assert accuracy.low < 1 / 3 < accuracy.high


def test_without_names_rows_are_taken_as_they_are(tmp_path):
    data_dir = write_choices(tmp_path)
    (data_dir / "things" / "sortindex").unlink()
    np.save(tmp_path / "m.npy", X)
    [model] = case.models.from_embeddings(tmp_path / "m.npy")
    assert score(data_dir, model).find("all", "accuracy") == odd_one_out.run(X, TRIPLETS).accuracy
    np.save(tmp_path / "short.npy", X[:11])
    [short] = case.models.from_embeddings(tmp_path / "short.npy")
    with pytest.raises(InputError, match=r"short\.npy: has 11 rows; expected at least 12"):
        score(data_dir, short)


def test_no_choices_are_absent(tmp_path):
    with pytest.raises(Absent, match=r"triplets\.txt: no such file"):
        things.load(tmp_path, OPTIONS)


########################################## People ##########################################


def people(data_dir):
    return things.people(things.load(data_dir, OPTIONS), OPTIONS)


def test_ceilings_are_those_of_the_repeated_sets(table_dir):
    human = people(table_dir)
    # Of three answers to the triplet of the first set two are alike, of two to the third's none.
    votes = np.array([[2, 1, 0], [1, 1, 0]])
    assert human.find("all", "accuracy ceiling") == ceilings.majority_share(votes)
    others = ceilings.leave_one_out(votes)
    assert human.find("all", "accuracy ceiling, leave-one-out") == others.fractional
    assert human.find("all", "accuracy ceiling, leave-one-out, ties right") == others.optimistic
    assert human.find("all", "accuracy ceiling, leave-one-out, ties wrong") == others.strict
    assert human.find("all", "accuracy ceiling, split-half") == ceilings.split_half(votes)
    assert human.find("set 1", "accuracy ceiling").value == 2 / 3
    assert human.find("set 3", "accuracy ceiling").value == 1 / 2
    # Asked again, ann stayed with her answer and bob did not.
    assert human.find("all", "accuracy ceiling, within person").value == 1 / 2
    assert [*human.arrays["all/person"]] == ["ann", "bob", "cat"]
    assert human.arrays["all/answers"].tolist() == [5, 4, 2]
    np.testing.assert_array_equal(RAW_IDS[human.arrays["all/triplets"]], case.names_of())


def test_without_repeats_the_published_ceiling_stands_in(tmp_path):
    data_dir = write_choices(tmp_path)
    human = people(data_dir)
    ceiling = human.find("all", "accuracy ceiling")
    assert ceiling.value == 0.6667 and np.isnan(ceiling.low) and np.isnan(ceiling.high)
    assert any("published one (Hebart et al. 2023" in note for note in human.notes)
    assert any("objects are not the 1,854 that it was measured on" in n for n in human.notes)
    accuracy = score(data_dir, case.model(tmp_path, X)).find
    share = accuracy("all", "accuracy, share of ceiling")
    np.testing.assert_allclose(share[:3], np.array(accuracy("all", "accuracy")[:3]) / 0.6667)
    above = accuracy("all", "accuracy above chance, share of ceiling").value
    expected = (accuracy("all", "accuracy").value - 1 / 3) / (0.6667 - 1 / 3)
    assert above == pytest.approx(expected)


def chosen_by(x):
    """All triplets, of which each has the least similar object last."""
    s = x @ x.T
    rows = [
        max(((i, j, k), (i, k, j), (j, k, i)), key=lambda t: s[t[0], t[1]]) for i, j, k in TRIPLETS
    ]
    return np.array(rows)


def test_a_file_in_the_other_order_gives_itself_away(tmp_path):
    data_dir = write_choices(tmp_path, chosen_by(X))
    np.save(data_dir / VICE, X)
    human = people(data_dir)
    assert human.find("all", "accuracy of published VICE").value == 1
    assert not any("seems to count" in note for note in human.notes)
    back = np.argsort(SORTINDEX)
    np.savetxt(data_dir / "things" / "triplets.txt", back[chosen_by(X)], fmt="%d")
    [note] = [note for note in people(data_dir).notes if "VICE" in note]
    assert "1.0000 in SORTED order" in note
    assert "triplets.txt seems to count in SORTED order" in note
    assert things.order_check(X, back[chosen_by(X)], SORTINDEX)[1] == 1


def test_a_table_in_the_other_order_gives_itself_away(tmp_path):
    # Written as if images were numbered in RAW order.
    rows = [(*(triplet + 1), 3, 900, 0, "ann") for triplet in chosen_by(X)]
    case.write_table(tmp_path, rows)
    np.save(tmp_path / VICE, X)
    [note] = [note for note in people(tmp_path).notes if "VICE" in note]
    assert "read in SORTED order, 1.0000 in RAW order" in note
    assert f"{TABLE.name} seems to count in RAW order" in note


def test_categories_are_scored_on_triplets_with_an_object_of_theirs(tmp_path):
    data_dir = write_choices(tmp_path)
    members = np.zeros((12, 3), int)
    members[SORTINDEX < 2, 0] = members[SORTINDEX > 5, 1] = 1
    np.savetxt(
        data_dir / CATEGORIES, members, fmt="%d", delimiter="\t", header="a\tb\tnone", comments=""
    )
    found = score(data_dir, case.model(tmp_path, X))
    right = found.arrays["all/accuracy/correct"]
    for name, of in (("a", TRIPLETS < 2), ("b", TRIPLETS > 5)):
        rows = of.any(axis=1)
        expected = odd_one_out.accuracy(right[rows], TRIPLETS[rows])
        assert found.find(name, "accuracy") == expected
    assert found.find("none", "accuracy") is None


########################################## Real choices ##########################################


@pytest.mark.parametrize(
    ("file", "similarity", "accuracy"),
    [
        ("vice_embedding.npy", "dot", 0.6454),
        ("vgg16_features_rank200.npy", "dot", 0.4512),
        ("vgg16_features_rank200.npy", "cosine", 0.458),
    ],
)
def test_published_figures_are_reached(shared_data, file, similarity, accuracy):
    options = Options(similarity=similarity, resamples=10)
    [model] = case.models.from_embeddings(shared_data / "things" / file)
    data = things.load(shared_data, options)
    found = things.score(data, model, options)
    measured = found.find("all", "accuracy")
    assert measured.n == 146_168
    assert measured.value == pytest.approx(accuracy, abs=1e-3 if similarity == "cosine" else 6e-5)
    assert 0.005 < measured.high - measured.low < 0.015
    assert len([s for s in found.scores if s.metric == "accuracy"]) == 28


def test_the_real_choices_count_in_raw_order(shared_data):
    human = people(shared_data)
    assert human.find("all", "accuracy of published VICE").value == pytest.approx(0.6454, abs=6e-5)
    assert any("read in RAW order, 0.6412 in SORTED order." in note for note in human.notes)


########################################## Report ##########################################


def report(answered):
    section = things.QUESTION.section(answered)
    return section, page.page("THINGS", [section])


def test_the_section_says_who_is_most_human(tmp_path, table_dir):
    np.savetxt(
        table_dir / CATEGORIES, np.eye(12, 2), fmt="%d", delimiter="\t", header="a\tb", comments=""
    )
    data = things.load(table_dir, OPTIONS)
    models = [case.model(tmp_path, m, name=n) for n, m in (("<good>", X), ("flat", X * 0))]
    answered = {PEOPLE: things.people(data, OPTIONS)}
    answered |= {model.name: things.score(data, model, OPTIONS) for model in models}
    answers.save(tmp_path / "a.npz", answered[PEOPLE])
    answered[PEOPLE] = answers.load(tmp_path / "a.npz")
    section, html = report(answered)
    assert section.heading == things_page.TITLE
    assert "Most human here: <good> makes" in section.blocks[1]
    assert "Least human: flat makes 0.0000" in section.blocks[1]
    assert "&lt;good&gt;" in html and "<good>" not in html
    assert sum(isinstance(block, page.Picture) for block in section.blocks) == 2
    ranking = next(block for block in section.blocks if isinstance(block, page.Table))
    assert [row["model"] for row in ranking.rows] == ["<good>", "flat"]
    assert "leave-one-out, ties wrong" in html


def made_up(n, *, categories=(), people_asked=0):
    """Answers of n models, the first the best."""
    answered = {PEOPLE: Answers([Score("all", "accuracy ceiling", Measured(0.7, 0.69, 0.71, 9))],
                                {"all/answers": np.full(people_asked, 30)}, [])}  # fmt: skip
    for number in range(n):
        value = Measured(0.6 - 0.02 * number, 0.58 - 0.02 * number, 0.62 - 0.02 * number, 1000)
        metrics = ("accuracy", "cross-entropy", "accuracy above chance, share of ceiling")
        scores = [Score("all", metric, value) for metric in metrics]
        scores += [Score(name, "accuracy", value) for name in categories]
        shares = np.random.default_rng(number).binomial(30, value.value, people_asked) / 30
        arrays = {"all/accuracy/person": shares} if people_asked else {}
        answered[f"model {number}"] = Answers(scores, arrays, [])
    return answered


@pytest.mark.parametrize("n", [1, 2, 12])
def test_the_section_is_drawn_of_one_model_and_of_many(n):
    section, _ = report(made_up(n, categories=("animal", "tool"), people_asked=200))
    pictures = [block for block in section.blocks if isinstance(block, page.Picture)]
    assert len(pictures) == 3
    assert ("Least human" in section.blocks[1]) == (n > 1)
    [text] = [b for b in section.blocks if isinstance(b, str) and "People differ" in b]
    assert "Of 200 people with at least 20 answers, model 0" in text


def test_what_is_not_known_is_not_drawn():
    answered = made_up(2, categories=("animal",))
    answered["model 1"] = made_up(2)["model 1"]
    answered[PEOPLE] = Answers([], {}, [])
    section, html = report(answered)
    assert sum(isinstance(block, page.Picture) for block in section.blocks) == 1
    assert "0.667, the ceiling" in html


def test_the_histogram_shows_what_chance_would_make_of_people(tmp_path):
    answers_given = np.repeat([20, 100], 500)
    alike = np.random.default_rng(0).binomial(answers_given, 0.6) / answers_given
    figure = things_figures.individuals(alike, answers_given, model="m")
    [axes] = figure.axes
    *bars, steps = axes.patches
    counts, expected = np.array([bar.get_height() for bar in bars]), steps.get_data().values
    assert expected.sum() == pytest.approx(1000)
    assert np.abs(counts - expected).max() < 5 * expected.max() ** 0.5
    figures.save(figure, tmp_path / "f.png")
