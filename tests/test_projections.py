"""PCA against scikit-learn, its signs, and what TriMap and PaCMAP make of two clusters."""

import sys

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.decomposition import PCA

from alignet.errors import Absent, InputError
from evals.statistics import projections
from evals.statistics.projections import mirrored, pca, turned

RNG = np.random.default_rng(0)
# Skewed, so that the third moments are far from 0.
SPACE = RNG.gamma(2, size=(200, 12)) * np.linspace(5, 1, 12) + 100


class Lazy:
    """Rows that can only be read by slices of at most a block."""

    def __init__(self, matrix):
        self.matrix, self.shape = matrix, matrix.shape

    def __getitem__(self, places):
        block = self.matrix[places]
        assert len(block) <= projections.BLOCK
        return block


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [5, 12])
def test_pca_is_that_of_scikit_learn_but_for_signs(monkeypatch, dtype, k):
    monkeypatch.setattr(projections, "BLOCK", 37)
    rows = SPACE.astype(dtype)
    expected = PCA(k, svd_solver="full").fit(rows.astype(np.float64))
    found = pca(Lazy(rows), k)
    np.testing.assert_allclose(found.shares, expected.explained_variance_ratio_, rtol=1e-10)
    scores = expected.transform(rows.astype(np.float64))
    np.testing.assert_allclose(abs(found.scores), abs(scores), atol=1e-9)
    np.testing.assert_allclose(mirrored(scores, found.scores), found.scores, atol=1e-9)


def test_equal_spaces_look_alike():
    found = pca(SPACE, 6)
    assert ((found.scores**3).sum(axis=0) > 0).all()
    rotation = ortho_group.rvs(12, random_state=1)
    for other in (-SPACE, SPACE @ rotation, SPACE[:, ::-1] - 7):
        again = pca(other, 6)
        np.testing.assert_allclose(again.scores, found.scores, atol=1e-8)
        np.testing.assert_allclose(again.shares, found.shares)


def test_points_span_one_dimension_less_than_they_are():
    found = pca(RNG.normal(size=(10, 40)), 100)
    assert found.scores.shape == (10, 9)
    assert found.shares.sum() == pytest.approx(1)
    two = pca(np.array([[0.0, 0.0], [3.0, 4.0]]), 100)
    np.testing.assert_allclose(abs(two.scores), [[2.5], [2.5]])
    np.testing.assert_allclose(two.shares, [1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_points_have_no_components(dtype):
    rows = np.full((1000, 7), 0.1, dtype)
    with pytest.raises(InputError, match=r"all 1,000 rows are equal; expected rows that differ"):
        pca(rows, 4)
    rows[500, 3] = 0.2
    np.testing.assert_allclose(pca(rows, 4).shares, [1, 0, 0, 0], atol=1e-12)


def test_a_map_is_turned_to_lie_like_another():
    points = RNG.normal(size=(50, 2)) * [3, 1]
    mirror = np.array([[0.6, 0.8], [0.8, -0.6]])
    again = turned(points @ mirror + 5, points)
    np.testing.assert_allclose(again, points - points.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("name", ["trimap", "pacmap"])
def test_without_its_library_a_map_says_how_to_install_it(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        Absent, match=rf"^{name} cannot be imported .* `pip install {name}==[\d.]+`"
    ):
        getattr(projections, name)(SPACE, seed=0)


@pytest.mark.slow  # both compile when they are imported
@pytest.mark.parametrize("name", ["trimap", "pacmap"])
def test_two_clusters_stay_apart_and_a_seed_gives_the_same_map(name):
    pytest.importorskip(name, reason=f"needs {name}")
    import numba

    threads = numba.get_num_threads()
    cluster = np.arange(300) % 2
    points = RNG.normal(size=(300, 20)) + 8 * cluster[:, None]
    draw = getattr(projections, name)
    found = draw(points, seed=0)
    centres = np.stack([found[cluster == c].mean(axis=0) for c in (0, 1)])
    along = (found - centres.mean(axis=0)) @ (centres[1] - centres[0])
    np.testing.assert_array_equal(along > 0, cluster == 1)
    np.testing.assert_array_equal(draw(points, seed=0), found)
    assert not np.array_equal(draw(points, seed=1), found)
    assert numba.get_num_threads() == threads
