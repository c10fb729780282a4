"""Ridge regression in closed form against scikit-learn, itself, and a penalised bias."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from evals.probes import linear, ridge
from evals.probes.linear import predict

N_CLASSES = 4
L2S = (0.5, 32.0, 1024.0)


def problem(n, d, seed=0):
    """Correlated features of very different scale and mean, and unbalanced classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(N_CLASSES, size=n)
    x = (rng.normal(size=(N_CLASSES, d))[y] + rng.normal(size=(n, d))) @ rng.normal(size=(d, d))
    return 5 + x * rng.gamma(1, size=d), y


@pytest.mark.parametrize("shape", [(12, 30), (30, 30), (90, 30)])
def test_weights_and_scores_are_those_of_scikit_learn(shape):
    x, y = problem(*shape)
    fitted = ridge.fit(x, y, n_classes=N_CLASSES, l2s=L2S)
    standard = StandardScaler().fit(x)
    test, _ = problem(20, shape[1], seed=1)
    for l2, (weights, bias) in zip(L2S, fitted, strict=True):
        theirs = Ridge(alpha=l2).fit(standard.transform(x), np.eye(N_CLASSES)[y])
        scale = standard.scale_[:, None]
        np.testing.assert_allclose(weights * scale, theirs.coef_.T, rtol=1e-6, atol=1e-9)
        expected = theirs.predict(standard.transform(test))
        np.testing.assert_allclose(test @ weights + bias, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(12, 30), (30, 30), (90, 30)])
def test_the_two_forms_agree(shape):
    x, y = problem(*shape)
    x, y = x - x.mean(axis=0), np.eye(N_CLASSES)[y]
    for a, b in zip(ridge.primal(x, y, L2S), ridge.dual(x, y, L2S), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(12, 30), (92, 30)])
def test_a_bias_penalised_as_by_big_vision_gives_the_same_weights_for_equal_classes(shape):
    # There a column of 100 stands for the bias and targets are ±1: twice ours, less 1.
    x, _ = problem(*shape)
    y = np.arange(len(x)) % N_CLASSES
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    padded = np.column_stack([z, np.full(len(z), 100.0)])
    inverse = np.linalg.inv(padded.T @ padded + 1024 * np.eye(padded.shape[1]))
    theirs = inverse @ padded.T @ (2 * np.eye(N_CLASSES)[y] - 1)
    ((weights, bias),) = ridge.fit(x, y, n_classes=N_CLASSES, l2s=(1024.0,))
    np.testing.assert_allclose(2 * weights * x.std(axis=0)[:, None], theirs[:-1], rtol=1e-6)
    np.testing.assert_array_equal(
        predict(np.round(x @ weights + bias, 9)), predict(np.round(padded @ theirs, 9))
    )


def test_constant_columns_have_no_weight_and_change_nothing():
    x, y = problem(40, 6)
    with_constants = np.column_stack([x, np.full(40, 0.1), np.zeros(40)])
    ((weights, bias),) = ridge.fit(with_constants, y, n_classes=N_CLASSES, l2s=(1e-6,))
    ((expected, expected_bias),) = ridge.fit(x, y, n_classes=N_CLASSES, l2s=(1e-6,))
    np.testing.assert_array_equal(weights[6:], 0)
    np.testing.assert_allclose(weights[:6], expected, rtol=1e-9)
    np.testing.assert_allclose(bias, expected_bias, rtol=1e-9)


def test_the_scale_of_a_feature_does_not_matter():
    x, y = problem(50, 6)
    train = [np.arange(30)[None]]
    (found,) = ridge.classify(x, y, x, train, n_classes=N_CLASSES)
    scaled = x * 10.0 ** np.arange(-3, 3) + 7
    (same,) = ridge.classify(scaled, y, scaled, train, n_classes=N_CLASSES)
    np.testing.assert_array_equal(found, same)


def test_each_draw_is_classified_by_what_its_own_rows_taught(monkeypatch):
    monkeypatch.setattr(linear, "BLOCK", 7)
    x, y = problem(60, 8)
    test, _ = problem(17, 8, seed=1)
    rng = np.random.default_rng(0)
    trains = [np.stack([rng.permutation(60)[:n] for _ in range(3)]) for n in (5, 40)]
    found = ridge.classify(x, y, test, trains, n_classes=N_CLASSES, l2s=L2S)
    for rows, classes in zip(trains, found, strict=True):
        assert classes.shape == (3, 3, 17)
        for draw, row in enumerate(rows):
            standard = StandardScaler().fit(x[row])
            for place, l2 in enumerate(L2S):
                model = Ridge(alpha=l2).fit(standard.transform(x[row]), np.eye(N_CLASSES)[y[row]])
                expected = model.predict(standard.transform(test)).argmax(axis=1)
                np.testing.assert_array_equal(classes[place, draw], expected)


def test_features_that_say_nothing_are_never_right():
    x, y = np.full((20, 3), 0.3), np.arange(20) % 4
    (found,) = ridge.classify(x, y, x, [np.arange(8)[None]], n_classes=4)
    np.testing.assert_array_equal(found, -1)
