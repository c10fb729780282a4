"""Logistic regression against scikit-learn's, on features as they come and on awkward ones."""

import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression

from alignet.errors import InputError
from evals.probes import logistic
from evals.probes.linear import predict

K = 4


@pytest.fixture(scope="module")
def world():
    """240 rows of 4 classes in 12 columns of different size; 2 shots and 30 shots, two draws."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(K), 60)
    x = (rng.normal(size=(K, 12))[labels] + 1.5 * rng.normal(size=(240, 12))) * 2.0 ** np.arange(12)
    orders = [[60 * k + rng.permutation(60) for k in range(K)] for _ in range(2)]
    trains = [
        np.array([np.concatenate([o[:s] for o in order]) for order in orders]) for s in (2, 30)
    ]
    return x.astype(np.float32) / 100 + 3, labels, trains


def objective(weights, bias, x, labels, c):
    """scikit-learn's, written down again."""
    if weights.shape[1] == 1:
        margins = (x @ weights[:, 0] + bias[0]) * (2 * labels - 1)
        return c * np.logaddexp(0, -margins).sum() + (weights**2).sum() / 2
    log_p = scipy.special.log_softmax(x @ weights + bias, axis=1)
    return -c * log_p[np.arange(len(x)), labels].sum() + (weights**2).sum() / 2


def reference(x, labels, c=1.0):
    """The minimum by Newton's method in float64, on centred features (b is free)."""
    solver = LogisticRegression(C=c, tol=1e-10, max_iter=1000, solver="newton-cholesky")
    x = x.astype(np.float64)
    found = solver.fit(x - x.mean(axis=0), labels)
    return objective(found.coef_.T, found.intercept_, x - x.mean(axis=0), labels, c), found.coef_.T


def check(x, labels, trains, n_classes, c=1.0, rel=1e-5):
    """Every fit is at the minimum, and says where that is."""
    results = logistic.fit(x, labels, trains, n_classes=n_classes, c=c)
    for train, fits in zip(trains, results, strict=True):
        for r, places in enumerate(train):
            rows = x[places].astype(np.float64)
            best, _ = reference(rows, labels[places], c)
            weights, bias = fits.weights[r], fits.bias[r]
            if n_classes == 2:
                weights, bias = weights[:, 1:] - weights[:, :1], bias[1:] - bias[:1]
            found = objective(weights, bias, rows, labels[places], c)
            assert found == pytest.approx(best, rel=rel)
            assert fits.objective[r] == pytest.approx(found, rel=1e-5)
        assert fits.converged.all()
        assert (fits.gap <= logistic.TOLERANCE * fits.objective).all()
    return results


def test_fits_are_at_scikit_learns_minimum(world):
    x, labels, trains = world
    results = check(x, labels, trains, K)
    for train, fits in zip(trains, results, strict=True):
        _, weights = reference(x[train[0]], labels[train[0]])
        np.testing.assert_allclose(fits.weights[0], weights, atol=5e-3 * np.abs(weights).max())


def _long(x):
    return 300 * x


def _constant(x):
    x[:, 3], x[:, 4] = 7.3, 0
    return x


def _one_column_is_huge(x):
    x[:, 0] *= 1e6
    return x


def _far_from_the_origin(x):
    return x + np.float32(1e4)


def _twice_the_same(x):
    x[1::2] = x[::2]
    return x


@pytest.mark.parametrize(
    "spoil", [_long, _constant, _one_column_is_huge, _far_from_the_origin, _twice_the_same]
)
def test_awkward_features_are_no_obstacle(world, spoil):
    x, labels, trains = world
    check(spoil(x.copy()), labels, trains, K, rel=1e-4)


def test_identical_rows_say_nothing(world):
    x, labels, trains = world
    for fits in logistic.fit(np.broadcast_to(x[:1], x.shape), labels, trains, n_classes=K):
        np.testing.assert_array_equal(fits.weights, 0)
        np.testing.assert_allclose(fits.bias, 0, atol=1e-6)
        assert fits.converged.all()


def test_predictions_are_those_of_the_defaults(world):
    x, labels, trains = world
    predictions, converged = logistic.classify(x, labels, x, trains, n_classes=K)
    for train, predicted, done in zip(trains, predictions, converged, strict=True):
        assert done.all()
        for places, classes in zip(train, predicted, strict=True):
            expected = LogisticRegression(max_iter=5000).fit(x[places], labels[places]).predict(x)
            # The defaults stop early: rows on a border may fall to either side.
            assert (classes == expected).mean() >= 0.98


def test_the_highest_score_wins_and_a_tie_is_wrong():
    scores = np.array([[[0.0, 2, 1], [3, 3, 1]], [[np.nan, 1, 2], [-np.inf, -np.inf, -1]]])
    np.testing.assert_array_equal(predict(scores), [[1, -1], [-1, 2]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": -1}, "labels from -1 to 3; expected 0 to 3"),
        ({"labels": 4}, "labels from 0 to 4; expected 0 to 3"),
        ({"train": 120}, "class 1 has no example in a training set of 8"),
        ({"x": np.nan}, "a feature is not finite"),
    ],
)
def test_what_has_no_minimum_is_refused(world, change, message):
    x, labels, (train, _) = (world[0].copy(), world[1].copy(), (world[2][0].copy(), None))
    x[train[1, 0]] = change.get("x", 0)
    labels[train[1, 0]] = change.get("labels", 0)
    train[1, 2:4] = change.get("train", train[1, 2:4])
    with pytest.raises(InputError, match=message):
        logistic.fit(x, labels, [train], n_classes=K)


@pytest.mark.slow
def test_two_classes_share_one_vector(world):
    x, labels, trains = world
    check(x, labels // 2, trains, 2, c=0.3)


@pytest.mark.slow
def test_more_columns_than_rows_and_a_single_draw(world):
    x, labels, (train, _) = world
    wide = x @ np.random.default_rng(1).normal(size=(12, 400)).astype(np.float32)
    check(wide, labels, [train[:1]], K)


@pytest.mark.slow
def test_a_hundred_classes_at_scikit_learns_accuracy():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), 30)
    x = rng.normal(size=(100, 256))[labels] * 0.25 + 0.6 * rng.normal(size=(3000, 256))
    x = (x * np.linspace(2, 0.1, 256)).astype(np.float32)
    trains = [np.flatnonzero(np.arange(3000) % 30 < shots)[None] for shots in (1, 5, 20)]
    predictions, converged = logistic.classify(x, labels, x, trains, n_classes=100)
    for (places,), (predicted,), (done,) in zip(trains, predictions, converged, strict=True):
        rest = np.setdiff1d(np.arange(3000), places)
        theirs = LogisticRegression(max_iter=5000).fit(x[places], labels[places]).predict(x[rest])
        ours, theirs = (predicted[rest] == labels[rest]).mean(), (theirs == labels[rest]).mean()
        assert done
        assert 0.02 < theirs < 0.98
        assert ours == pytest.approx(theirs, abs=0.005)
