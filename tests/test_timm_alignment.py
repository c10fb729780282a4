"""Alignment with people against slow versions, and what is done about what is missing."""

import itertools

import numpy as np
import pytest
import scipy.stats

from alignet.data.embeddings import Embeddings, save_embeddings
from alignet.data.judgments import JudgmentSet, load_peterson
from alignet.errors import InputError
from evals.timm_study import alignment
from evals.timm_study.alignment import MEAN, METRICS


def judged(n=9, name="peterson/animals", seed=0, ties=False):
    rng = np.random.default_rng(seed)
    similarity = rng.random((n, n))
    similarity = (similarity + similarity.T) / 2
    if ties:
        similarity = np.round(similarity, 1)
    np.fill_diagonal(similarity, 1.0)
    ids = np.array([f"{name.rpartition('/')[2]}-{i}" for i in range(n)])
    return JudgmentSet(name, ids, similarity, None, None, 0, ())


def slow(x, similarity):
    """All three metrics, triplet by triplet, by the cosine."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    own = unit @ unit.T
    pairs = [(i, j) for i, j in itertools.combinations(range(len(x)), 2)]
    a = [own[pair] for pair in pairs if np.isfinite(similarity[pair])]
    b = [similarity[pair] for pair in pairs if np.isfinite(similarity[pair])]
    same = total = 0
    for i in range(len(x)):
        for j, k in itertools.combinations([o for o in range(len(x)) if o != i], 2):
            people = similarity[i, j] - similarity[i, k]
            if people and np.isfinite(people):
                total += 1
                same += (own[i, j] > own[i, k]) == (people > 0)
    return scipy.stats.pearsonr(a, b)[0], scipy.stats.spearmanr(a, b)[0], same / total


@pytest.mark.parametrize("ties", [False, True])
def test_metrics_are_the_slow_ones(ties):
    people, x = judged(ties=ties), np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    if ties:
        people.similarity[2, 3] = people.similarity[3, 2] = np.nan
    found = alignment.align(x, alignment.prepare(people))
    values = [found[metric].value for metric in METRICS]
    np.testing.assert_allclose(values, slow(x.astype(np.float64), people.similarity), atol=1e-12)


def test_intervals_are_of_the_jackknife():
    people, x = judged(), np.random.default_rng(1).normal(size=(9, 5))
    found = alignment.align(x, alignment.prepare(people))
    for place, metric in ((0, "pearson"), (2, "triplet")):
        without = np.array(
            [
                slow(np.delete(x, i, 0), np.delete(np.delete(people.similarity, i, 0), i, 1))[place]
                for i in range(9)
            ]
        )
        half = 1.96 * np.sqrt(8 / 9 * ((without - without.mean()) ** 2).sum())
        np.testing.assert_allclose(found[metric].high - found[metric].value, half, rtol=1e-9)
    # Ranks are kept: near what ranking anew would give.
    assert 0.05 < found["spearman"].high - found["spearman"].value < 1


def test_dot_products_are_another_metric():
    people, x = judged(), np.random.default_rng(1).normal(size=(9, 5))
    prepared = alignment.prepare(people)
    dot = alignment.align(x, prepared, similarity="dot")
    upper = np.triu_indices(9, 1)
    r = scipy.stats.pearsonr((x @ x.T)[upper], people.similarity[upper])[0]
    assert dot["pearson"].value == pytest.approx(r, abs=1e-12)
    assert dot["pearson"].value != alignment.align(x, prepared)["pearson"].value
    assert alignment.align(3 * x, prepared)["pearson"].value == pytest.approx(
        alignment.align(x, prepared)["pearson"].value
    )


def test_all_842520_triplets_of_120_photographs(shared_data):
    animals = next(s for s in load_peterson(shared_data) if s.name == "peterson/animals")
    assert len(animals.ids) == 120
    from evals.statistics import concordance

    distinct = np.random.default_rng(0).normal(size=(120, 120))
    order = concordance.triplet_order(distinct + distinct.T)
    assert concordance.untied_triplets(order, order) == 842_520


@pytest.fixture
def folder(tmp_path):
    def write(name, sets, *, shuffle=False, rows=None):
        for number, people in enumerate(sets):
            rng = np.random.default_rng((number, len(name)))
            n = len(people.ids)
            order = rng.permutation(n) if shuffle else np.arange(n)
            matrix = np.random.default_rng(number).normal(size=(n, 4)).astype(np.float32)
            if rows is not None:
                matrix[rows] = np.nan
            path = tmp_path / name / f"{people.name}.npz"
            if rows is None:
                save_embeddings(path, Embeddings(people.ids[order], matrix[order]))
            else:
                path.parent.mkdir(parents=True)
                np.savez(path, ids=people.ids, embeddings=matrix)
        return tmp_path / name

    return write


def test_shuffled_rows_are_found_by_id(folder):
    sets = [judged(), judged(8, "peterson/fruits", 1)]
    own = {"straight": folder("straight", sets), "shuffled": folder("shuffled", sets, shuffle=True)}
    found, used, notes = alignment.align_all(own, sets)
    assert used == ["peterson/animals", "peterson/fruits"]
    assert found["straight"] == found["shuffled"] and not notes
    assert found["straight"].keys() == {"peterson/animals", "peterson/fruits", MEAN}
    for metric in METRICS:
        each = [found["straight"][s.name][metric].value for s in sets]
        assert found["straight"][MEAN][metric].value == pytest.approx(np.mean(each))


def test_sets_and_models_without_rows_are_said(folder):
    sets = [judged(), judged(8, "peterson/fruits", 1), judged(8, "peterson/various", 2)]
    own = {"whole": folder("whole", sets[:2]), "half": folder("half", sets[:1])}
    found, used, notes = alignment.align_all(own, sets)
    assert MEAN in found["whole"] and MEAN not in found["half"] and len(used) == 2
    assert notes == [
        "No model has rows for peterson/various; it is not in the means.",
        "1 of 2 models lack rows of a set and have no mean: half.",
    ]


def test_nan_features_and_zero_rows_name_the_file(folder, tmp_path):
    people = judged()
    bad = folder("bad", [people], rows=[3])
    with pytest.raises(InputError, match=r"bad.*animals\.npz: row 3, column 0.*is nan"):
        alignment.align_all({"bad": bad}, [people])
    zero = np.ones((9, 4), np.float32)
    zero[5] = 0
    save_embeddings(tmp_path / "zero/peterson/animals.npz", Embeddings(people.ids, zero))
    with pytest.raises(InputError, match=r"zero, peterson/animals: row 5.*all zeros"):
        alignment.align_all({"zero": tmp_path / "zero"}, [people])


def test_another_number_of_photographs_is_refused(folder):
    people, fewer = judged(), judged(8)
    with pytest.raises(InputError, match=r"animals\.npz: .*1 of 9 expected ids are missing"):
        alignment.align_all({"fewer": folder("fewer", [fewer])}, [people])


def test_a_set_that_is_only_begun_with_takes_no_mean_away(folder):
    sets = [judged(), judged(8, "peterson/fruits", 1)]
    own = {name: folder(name, sets[: 1 + (name == "a")]) for name in "abc"}
    found, used, notes = alignment.align_all(own, sets)
    assert used == ["peterson/animals"] and all(MEAN in one for one in found.values())
    assert notes == ["Only 1 of 3 models have rows for peterson/fruits; it is not in the means."]
