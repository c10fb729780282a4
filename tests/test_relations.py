"""Relations of classes, and sums of distances by them, against loops over pairs."""

import itertools

import numpy as np
import pytest

from evals.statistics import relations
from evals.statistics.relations import (
    BASIC,
    CLASS,
    DIFFERENT,
    RELATIONS,
    SUPERORDINATE,
    UNKNOWN,
    Pairs,
)

BASICS = np.array([0, 0, 1, 2, 2, 3, 4])
ABOVE = np.array([0, 0, 0, 1, 1, -1, -1])
RELATION = relations.relations(BASICS, ABOVE)
COUNTS = (5, 1, 8, 3, 7, 2, 4)
CLASSES = np.repeat(np.arange(7), COUNTS)
N = len(CLASSES)


def rows(n=N, p=6, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, p))
    return (x / np.sqrt(p)).astype(np.float32)


def slow_sums(x, classes, power=1):
    """By class, every pair of rows once."""
    c = classes.max() + 1
    result = np.zeros((c, c))
    for i, j in itertools.combinations(range(len(x)), 2):
        d = np.linalg.norm(x[i].astype(np.float64) - x[j]) ** power
        result[classes[i], classes[j]] += d
        if classes[i] != classes[j]:
            result[classes[j], classes[i]] += d
    return result


def test_relations_of_classes():
    assert (RELATION == RELATION.T).all()
    names = {
        (0, 0): CLASS,
        (5, 5): CLASS,
        (0, 1): BASIC,
        (0, 2): SUPERORDINATE,
        (3, 4): BASIC,
        (2, 3): DIFFERENT,
        (5, 6): UNKNOWN,
        (0, 5): UNKNOWN,
    }
    assert {pair: RELATION[pair] for pair in names} == names


def test_classes_of_no_superordinate_category_may_share_the_one_below():
    assert relations.relations(np.array([3, 3]), np.array([-1, -1]))[0, 1] == BASIC


@pytest.mark.parametrize("block", [3, 11, 1024])
def test_sums_over_all_pairs_by_class(monkeypatch, block):
    monkeypatch.setattr(relations, "ROWS_A_BLOCK", block)
    x = rows()
    found = relations.class_sums(x, CLASSES)
    np.testing.assert_array_equal(found.pairs, slow_sums(x, CLASSES, power=0))
    np.testing.assert_allclose(found.distances, slow_sums(x, CLASSES), rtol=1e-5)
    np.testing.assert_allclose(found.squares, slow_sums(x, CLASSES, power=2), rtol=1e-5)


def test_equal_rows_are_no_distance_apart():
    x = np.repeat(rows(7), COUNTS, axis=0)
    found = relations.class_sums(x, CLASSES)
    # In float32 |x|² + |y|² − 2x·y is not quite 0.
    assert (found.distances.diagonal() <= 1e-3 * found.pairs.diagonal()).all()
    assert not relations.distances(x, Pairs(*np.triu_indices(5, 1), np.zeros(10, int))).any()


def test_sums_by_relation_in_a_resample_are_those_of_the_classes_drawn():
    x = rows()
    sums = slow_sums(x, CLASSES)
    drawn = [0, 0, 2, 3, 6, 6, 6]
    weights = np.stack([np.ones(7, int), np.bincount(drawn, minlength=7)])
    found = relations.by_relation(sums, RELATION, weights)
    for row, chosen in zip(found, (range(7), drawn), strict=True):
        expected = np.zeros(len(RELATIONS))
        for c in chosen:
            expected[CLASS] += sums[c, c]
        for c, d in itertools.combinations(chosen, 2):
            if c != d:
                expected[RELATION[c, d]] += sums[c, d]
        np.testing.assert_allclose(row, expected)
    assert found[0].sum() == pytest.approx(np.triu(sums).sum())


def test_few_pairs_are_all_drawn():
    found = relations.draw_pairs(CLASSES, RELATION, most=N * (N - 1) // 2, seed=0)
    assert list(zip(found.first, found.second, strict=True)) == list(
        itertools.combinations(range(N), 2)
    )
    np.testing.assert_array_equal(
        found.relation, RELATION[CLASSES[found.first], CLASSES[found.second]]
    )


def test_of_many_pairs_as_many_are_drawn_of_each_relation():
    classes = np.repeat(np.arange(7), [5, 1, 8, 3, 7, 2, 94])
    found = relations.draw_pairs(classes, RELATION, most=5000, seed=0)
    assert (found.first != found.second).all()
    codes = RELATION[classes[found.first], classes[found.second]]
    np.testing.assert_array_equal(found.relation, codes)
    assert np.bincount(codes).tolist() == [1000] * 5
    # The five pairs of the only two basic-level categories of several classes, and 21 of the other.
    ends = np.sort([found.first, found.second], axis=0)[:, codes == BASIC]
    pairs, times = np.unique(ends, axis=1, return_counts=True)
    assert pairs.shape[1] == 5 * 1 + 3 * 7
    assert np.abs(times - 1000 / 26).max() < 5 * np.sqrt(1000 / 26)
    same = relations.draw_pairs(classes, RELATION, most=5000, seed=0)
    np.testing.assert_array_equal(found.first, same.first)
    other = relations.draw_pairs(classes, RELATION, most=5000, seed=1)
    assert (found.first != other.first).any()


def test_a_relation_that_does_not_occur_is_not_drawn():
    classes = np.arange(7).repeat(1)
    found = relations.draw_pairs(classes, RELATION, most=20, seed=0)
    assert np.bincount(found.relation, minlength=5).tolist() == [0, 5, 5, 5, 5]


def test_distances_of_pairs(monkeypatch):
    monkeypatch.setattr(relations, "PAIRS_A_BLOCK", 7)
    x = rows()
    pairs = relations.draw_pairs(CLASSES, RELATION, most=1000, seed=0)
    expected = [
        np.linalg.norm(x[i].astype(np.float64) - x[j])
        for i, j in zip(pairs.first, pairs.second, strict=True)
    ]
    np.testing.assert_allclose(relations.distances(x, pairs), expected, rtol=1e-6)


def test_the_spread_counts_relations_by_their_pairs_not_by_those_drawn():
    changes = np.array([1.0, -3.0, 2.0, 2.0, 2.0])
    relation = np.array([CLASS, CLASS, DIFFERENT, DIFFERENT, DIFFERENT])
    pairs = np.array([10, 0, 0, 0, 30])
    expected = ((5 * 10 + 4 * 30) / 40) ** 0.5
    assert relations.spread(changes, relation, pairs) == pytest.approx(expected)


def test_triplets_are_counted_by_the_pair_and_by_the_nearer_of_it():
    triplets = np.array(
        [
            [0, 0, 1],  # same class, same basic
            [0, 0, 3],  # same class, different
            [0, 1, 2],  # same basic, same superordinate
            [3, 0, 0],  # different, same class
            [3, 0, 2],  # different, same superordinate: as 0, unlike 3
            [3, 0, 5],  # different, not known
            [5, 0, 2],  # not known, same superordinate: no nearer to the first, whatever it is
            [0, 0, 3],
        ]
    )
    expected = np.zeros((5, 5), int)
    expected[CLASS, BASIC] = expected[BASIC, SUPERORDINATE] = expected[DIFFERENT, CLASS] = 1
    expected[DIFFERENT, SUPERORDINATE] = expected[DIFFERENT, UNKNOWN] = 1
    expected[UNKNOWN, SUPERORDINATE] = 1
    expected[CLASS, DIFFERENT] = 2
    np.testing.assert_array_equal(relations.triplet_relations(RELATION, triplets), expected)


def test_means_between_categories():
    x = rows()
    sums, pairs = slow_sums(x, CLASSES), slow_sums(x, CLASSES, power=0)
    categories = np.array([0, 0, 1, -1, 2, 3, -1])
    found = relations.mean_by_category(sums, pairs, categories)
    for a, b in itertools.product(range(4), repeat=2):
        distances = [
            np.linalg.norm(x[i].astype(np.float64) - x[j])
            for i, j in itertools.permutations(range(N), 2)
            if categories[CLASSES[i]] == a and categories[CLASSES[j]] == b
        ]
        assert found[a, b] == pytest.approx(np.mean(distances))
    alone = relations.mean_by_category(np.zeros((2, 2)), np.eye(2)[::-1], np.array([0, 1]))
    np.testing.assert_array_equal(alone, [[np.nan, 0], [0, np.nan]])
