"""Similarity judgments as evals: subsets, means, notes, refusals, and what the report shows."""

import re

import numpy as np
import pytest
import scipy.stats

from alignet.data import judgments as readers
from alignet.data.embeddings import Embeddings, load_embeddings, save_embeddings
from alignet.errors import Absent, InputError
from evals import answers, judgments
from evals.answers import PEOPLE
from evals.models import from_embeddings
from evals.options import Options
from evals.pages import figures, human_figures, judgments_page, page
from evals.statistics import rsa
from evals.statistics.intervals import Measured
from tests import judgments_case as case

OPTIONS = Options(resamples=40)
QUESTIONS = judgments.QUESTIONS
WRITERS = {
    "peterson": case.write_peterson,
    "king": case.write_king,
    "cichy": case.write_cichy,
    "kriegeskorte92": case.write_kriegeskorte92,
}
SETS = {"fruits": 0, "animals": 1, "various": 2}


@pytest.fixture
def peterson(tmp_path):
    """Three sets, of which two are fine."""
    case.write_peterson(tmp_path, {name: case.ratings(n=8, seed=s) for name, s in SETS.items()})
    return tmp_path


def model_of(sets, path, *, skip=(), seed=0):
    """A model whose rows have something to do with people's judgments."""
    rng = np.random.default_rng(seed)
    ids, rows = ["elsewhere"], [rng.normal(size=(1, 12))]
    for one in sets:
        if one.name not in skip:
            values, vectors = np.linalg.eigh(np.nan_to_num(one.similarity))
            x = vectors[:, -3:] * np.sqrt(np.abs(values[-3:]))
            ids += [f"{one.name}/{name}" for name in one.ids]
            rows.append(np.hstack([x, 0.3 * x.std() * rng.normal(size=(len(x), 9))]))
    return model_of_rows(path, ids, np.concatenate(rows))


def model_of_rows(path, ids, rows):
    save_embeddings(path, Embeddings(np.array(ids), rows))
    (model,) = from_embeddings(path)
    return model


def asked(name, data_dir, path, options=OPTIONS, **settings):
    """People's answers and a model's."""
    question = QUESTIONS[name]
    data = question.load(data_dir, options)
    model = model_of(data.sets.values(), path, **settings)
    return question.people(data, options), question.score(data, model, options)


########################################### Subsets ############################################


def test_petersons_sets_are_coarse_and_fine(peterson, tmp_path):
    people, model = asked("peterson", peterson, tmp_path / "m.npz")
    subsets = dict.fromkeys(score.subset for score in model.scores)
    assert list(subsets) == ["coarse", "fruits", "animals", "fine"]
    for metric in ("spearman/pearson", "pearson/dot", "tau_a/cosine", "triplet/cosine"):
        fine = [model.find(name, metric) for name in ("fruits", "animals")]
        mean = model.find("fine", metric)
        assert mean.value == pytest.approx(np.mean([one.value for one in fine]), rel=1e-12)
        assert mean.n == 16
    missing = "automobiles, furniture, vegetables"
    assert (
        f"“fine” is the mean over animals, fruits; the AligNet paper has {missing} too."
        in (people.notes[-1])
    )
    assert not people.scores


def test_a_mean_over_sets_has_the_uncertainty_of_independent_sets(peterson, tmp_path):
    _, model = asked("peterson", peterson, tmp_path / "m.npz", Options(resamples=500))
    names, metric = ("fruits", "animals", "fine"), "spearman/pearson"
    first, second, mean = (model.arrays[f"{name}/{metric}/samples"] for name in names)
    np.testing.assert_allclose(mean, (first + second) / 2)
    assert abs(scipy.stats.pearsonr(first, second).statistic) < 0.2
    first, second, mean = (model.find(name, "triplet/cosine") for name in names)
    half = np.hypot(first.high - first.value, second.high - second.value) / 2
    np.testing.assert_allclose([mean.value - mean.low, mean.high - mean.value], half)


def test_kings_sets_and_their_mean(tmp_path):
    case.write_king(tmp_path)
    people, model = asked("king", tmp_path, tmp_path / "m.npz")
    subsets = dict.fromkeys(score.subset for score in model.scores)
    assert list(subsets) == ["set1", "set2", "mean"]
    assert people.arrays["set1/person"].tolist() == [f"person {i}" for i in range(1, 5)]
    assert people.find("set2", "spearman with one person ceiling, lower").value < 1


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_headline_has_a_number_and_samples(name, tmp_path):
    WRITERS[name](tmp_path)
    people, model = asked(name, tmp_path, tmp_path / "m.npz")
    for subset, metric, *_ in QUESTIONS[name].headline({}):
        assert model.find(subset, metric) is not None
        assert len(model.arrays[f"{subset}/{metric}/samples"]) == 40
    answers.save(tmp_path / "a.npz", model)
    assert answers.load(tmp_path / "a.npz").scores == model.scores
    assert {score.value.n for score in model.scores} <= {4, 6, 12}
    known = name != "peterson"
    one = [score for score in model.scores if score.metric.startswith("spearman with one person")]
    assert bool(one) == bool(people.scores) == known


def test_with_single_people(tmp_path):
    case.write_cichy(tmp_path)
    people, model = asked("cichy", tmp_path, tmp_path / "m.npz")
    each = model.arrays["all/spearman/pearson/person"]
    one = model.find("all", "spearman with one person")
    assert one.value == pytest.approx(each.mean())
    sd = model.find("all", "spearman with one person, spread over people (SD)")
    assert sd.value == pytest.approx(each.std(ddof=1))
    beyond = model.find("all", "spearman with one person, SD beyond chance")
    assert 0 <= beyond.value <= sd.value
    lower, upper = (
        people.find("all", f"spearman with one person ceiling, {b}") for b in ("lower", "upper")
    )
    assert lower.value < upper.value
    assert len(each) == len(people.arrays["all/person"]) == case.PEOPLE


def test_the_real_judgments(shared_data, tmp_path):
    people, model = asked("peterson", shared_data, tmp_path / "m.npz")
    assert "the AligNet paper has vegetables too" in people.notes[-1]
    for name in ("coarse", *(s for s in readers.FINE if s != "vegetables")):
        assert model.find(name, "spearman/pearson").n == 120
        assert model.find(name, "spearman/pearson").value > 0.2
        assert model.arrays[f"{name}/similarity"].shape == (7140,)
    assert "of 842,520 (coarse)" in people.notes[0]
    people, model = asked("kriegeskorte92", shared_data, tmp_path / "m.npz")
    bounds = [
        people.find("all", f"spearman with one person ceiling, {b}").value
        for b in ("lower", "upper")
    ]
    assert [round(b, 2) for b in bounds] == [0.48, 0.58]
    assert model.find("all", "spearman with one person").value < bounds[1]


########################################## Invariance ##########################################


def test_other_rows_and_the_order_of_rows_do_not_matter(peterson, tmp_path):
    _, first = asked("peterson", peterson, tmp_path / "m.npz")
    ids, rows = load_embeddings(tmp_path / "m.npz")
    order = np.random.default_rng(1).permutation(len(ids) + 2)
    more = np.concatenate([rows, np.ones((2, rows.shape[1]))])[order]
    names = np.concatenate([ids, ["other/a", "b"]])[order]
    data = QUESTIONS["peterson"].load(peterson, OPTIONS)
    model = model_of_rows(tmp_path / "n.npz", names, more)
    assert QUESTIONS["peterson"].score(data, model, OPTIONS).scores == first.scores


def test_masked_pairs_are_left_out_and_said(tmp_path):
    far = case.distances(n=8)
    far[1, 2, 5] = far[1, 5, 2] = far[0, 0, 1] = far[0, 1, 0] = np.nan
    images = np.zeros((8, 4, 4, 3), np.uint8)
    case.write_kriegeskorte92(tmp_path, far, images)
    with pytest.raises(InputError, match="mask"):
        QUESTIONS["kriegeskorte92"].load(tmp_path, OPTIONS)
    masking = OPTIONS._replace(mask_missing=True)
    people, model = asked("kriegeskorte92", tmp_path, tmp_path / "m.npz", masking)
    assert "2 of 28 pairs are not known" in people.notes[0]
    rows = load_embeddings(tmp_path / "m.npz").matrix[1:]
    upper = np.triu_indices(8, 1)
    human = -far.mean(axis=0)[upper]
    known = np.isfinite(human)
    expected = scipy.stats.spearmanr(rsa.rsm(rows)[upper][known], human[known]).statistic
    assert model.find("all", "spearman/pearson").value == pytest.approx(expected, rel=1e-12)
    assert np.isfinite([score.value for score in (*model.scores, *people.scores)]).all()
    assert np.isnan(people.arrays["all/similarity"]).sum() == 2


########################################### Refusals ###########################################


@pytest.mark.parametrize("name", QUESTIONS)
def test_absent_data_are_absent(name, tmp_path):
    with pytest.raises(Absent, match=f"{name}: no such folder"):
        QUESTIONS[name].load(tmp_path, OPTIONS)


def test_sets_without_rows_are_noted_with_both_differences(peterson, tmp_path):
    skip = ("peterson/animals",)
    _, model = asked("peterson", peterson, tmp_path / "m.npz", skip=skip)
    assert model.find("fruits", "spearman/pearson") is not None
    assert model.find("animals", "spearman/pearson") is None
    assert model.find("fine", "spearman/pearson") is None
    assert "not all of peterson/animals is there" in model.notes[0]
    assert "animals0" in model.notes[0]
    assert model.notes[-1] == "“fine” is not scored, as there are no rows for animals."
    with pytest.raises(Absent, match="not all of peterson/"):
        asked("peterson", peterson, tmp_path / "m.npz", skip=[f"peterson/{name}" for name in SETS])


def test_a_model_without_variance_is_named_with_the_set(peterson, tmp_path):
    sets = readers.load_peterson(peterson)
    path = tmp_path / "flat.npz"
    ids = np.concatenate([one.ids for one in sets])
    for rows, message in (
        (np.ones((len(ids), 3)), "row 0 .* is constant"),
        (np.tile([1.0, 2, 4], (len(ids), 1)), "pearson similarities of all 28 pairs are equal"),
    ):
        model = model_of_rows(path, ids, rows)
        data = QUESTIONS["peterson"].load(peterson, OPTIONS)
        with pytest.raises(InputError, match=f"flat.npz, peterson/various: .*{message}"):
            QUESTIONS["peterson"].score(data, model, OPTIONS)


def test_too_few_photographs_are_refused(tmp_path):
    images = np.zeros((3, 4, 4, 3), np.uint8)
    case.write_kriegeskorte92(tmp_path, case.distances(n=3), images)
    with pytest.raises(InputError, match=r"kriegeskorte92\.npz: 3 objects are too few"):
        QUESTIONS["kriegeskorte92"].load(tmp_path, OPTIONS)


########################################### Report #############################################


def text_of(section):
    html = page.page("", [section])
    return html, re.sub(r"<[^>]*>", " ", html)


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("models", [1, 12])
def test_the_section_shows_every_model(name, models, tmp_path):
    WRITERS[name](tmp_path)
    question, found = QUESTIONS[name], {}
    data = question.load(tmp_path, OPTIONS)
    found[PEOPLE] = question.people(data, OPTIONS)
    for number in range(models):
        model = model_of(data.sets.values(), tmp_path / f"model{number}.npz", seed=number)
        found[model.name] = question.score(data, model, OPTIONS)
    html, text = text_of(question.section(found))
    for number in range(models):
        assert f"model{number}" in text
    pictures = html.count("<img")
    assert 2 <= pictures <= 1 + judgments_page.MOST_PANELS
    assert ("noise ceiling" in text) == (name != "peterson")
    assert "nan" not in text.lower().split()


def test_the_section_says_how_close_the_best_model_comes_to_people(tmp_path):
    case.write_cichy(tmp_path)
    people, model = asked("cichy", tmp_path, tmp_path / "m.npz")
    _, text = text_of(QUESTIONS["cichy"].section({PEOPLE: people, "m": model}))
    one, upper = model.find("all", "spearman with one person"), people.scores[1].value
    assert "4 people are known one by one. With one of them, on average, m corr" in text
    assert f"correlates at {one.value:.4f}" in text
    assert f"No model can exceed {upper.value:.4f}" in text


def test_without_scored_models_there_is_nothing_to_show():
    nothing = answers.Answers([], {}, [])
    assert QUESTIONS["cichy"].section({PEOPLE: nothing, "m": nothing}).blocks == []


########################################### Figures ############################################


def test_objects_that_people_find_alike_are_put_together():
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat([0, 1, 2], 5))
    similarity = (group[:, None] == group) + 0.1 * rng.random((15, 15))
    similarity = (similarity + similarity.T) / 2
    similarity[0, 3] = similarity[3, 0] = np.nan
    order = human_figures.human_order(similarity)
    assert sorted(order.tolist()) == list(range(15))
    assert (np.diff(group[order]) != 0).sum() == 2


@pytest.mark.parametrize("n_models", [1, 3])
def test_the_figure_shows_all_matrices_in_peoples_order(n_models):
    rng = np.random.default_rng(0)
    human, *models = (rsa.rsm(x) for x in rng.normal(size=(1 + n_models, 12, 4)))
    human[2, 5] = human[5, 2] = np.nan
    shown = {f"m{i}": (m, Measured(-0.001, -0.25, 0.2, 12)) for i, m in enumerate(models)}
    figure = human_figures.similarity_with_people(human, shown, title="people")
    by_title = {axes.get_title(loc="left"): axes for axes in figure.axes}
    order, upper = human_figures.human_order(human), np.triu_indices(12, 1)
    for title, matrix in {"people": human, **{m: s for m, (s, _) in shown.items()}}.items():
        drawn = np.ma.filled(by_title[title].images[0].get_array(), np.nan)[upper]
        expected = np.where(np.isnan(human), np.nan, matrix)[np.ix_(order, order)][upper]
        assert np.isnan(drawn).sum() == 1
        rho = scipy.stats.spearmanr(drawn, expected, nan_policy="omit").statistic
        assert rho == pytest.approx(1)
    # A true minus, and no negative zero.
    assert "ρ = 0.00 [−0.25, 0.20]" in by_title
    again = human_figures.similarity_with_people(human, shown, title="people")
    assert figures.svg(figure) == figures.svg(again)
