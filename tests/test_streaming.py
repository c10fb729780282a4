"""The linear probe that reads its features block by block."""

import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression

from alignet.errors import InputError
from evals.probes import linear, streaming

ROOT = Path(__file__).resolve().parents[1]
N, D, K, L2, BLOCK = 600, 8, 5, 1e-3, 96


class Counted:
    """Rows that count what is read and what is kept of them, and end a fit that reads too often."""

    def __init__(self, x, last=10**9):
        self.x, self.shape, self.last = x, x.shape, last
        self.reads, self.largest, self.kept, self.given = 0, 0, 0, []

    def __getitem__(self, places):
        self.reads += 1
        if self.reads > self.last:
            raise KeyboardInterrupt
        found = self.x[places].copy()
        self.largest = max(self.largest, len(found))
        self.kept = max(self.kept, sum(block() is not None for block in self.given))
        self.given.append(weakref.ref(found))
        return found


@pytest.fixture(scope="module")
def world():
    """Classes of different size, sorted; columns of different size, one of them constant."""
    rng = np.random.default_rng(0)
    labels = np.sort(np.append(np.arange(K), rng.choice(K, N - K, p=[0.4, 0.3, 0.15, 0.1, 0.05])))
    x = (
        0.8 * rng.normal(size=(K, D))[labels]
        + rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) / 2
    )
    x = x * 10.0 ** np.arange(-3, D - 3) + 20
    x[:, 2] = 7.3
    return x.astype(np.float32), labels


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(streaming, "BLOCK", BLOCK)
    monkeypatch.setattr(streaming, "SAMPLE", 150)


def fit(x, labels, **options):
    return streaming.fit(x, labels, n_classes=K, l2=L2, **options)


def same(a, b):
    """The same bits."""
    return all(
        np.array_equal(x, y) for x, y in zip((*a.linear, *a[1:]), (*b.linear, *b[1:]), strict=True)
    )


def test_the_minimum_is_scikit_learns(world, monkeypatch):
    monkeypatch.setattr(streaming, "TOLERANCE", 1e-9)
    x, labels = world
    found = fit(x, labels)
    std = x.std(axis=0, dtype=np.float64)
    std = np.where(np.arange(D) == 2, 1, std)
    standard = (x - x.mean(axis=0, dtype=np.float64)) / std
    solver = LogisticRegression(C=1 / (N * L2), tol=1e-10, max_iter=1000, solver="newton-cholesky")
    theirs = solver.fit(standard, labels)
    log_p = scipy.special.log_softmax(theirs.decision_function(standard), axis=1)
    best = -log_p[np.arange(N), labels].mean() + L2 / 2 * (theirs.coef_**2).sum()
    assert found.converged
    assert found.objective == pytest.approx(best, rel=1e-6)
    np.testing.assert_allclose(found.linear.weights * std[:, None], theirs.coef_.T, atol=2e-3)
    predicted = linear.predict(linear.scores_of(found.linear, x))
    np.testing.assert_array_equal(predicted, theirs.predict(standard))
    assert 0.5 < (predicted == labels).mean() < 0.99


def test_few_passes_are_needed_and_no_more_than_a_block_is_in_memory(world):
    x, labels = world
    rows = Counted(x)
    found = fit(rows, labels)
    assert found.converged
    assert found.passes <= 25
    assert rows.reads == found.passes * -(-N // BLOCK)
    assert rows.largest == BLOCK
    # The block before is let go when the next one is there.
    assert rows.kept <= 2


@pytest.mark.parametrize("reads", [3, 10, 40])
def test_an_interrupted_fit_ends_in_the_same_bits(world, tmp_path, reads):
    x, labels = world
    whole = fit(x, labels)
    with pytest.raises(KeyboardInterrupt):
        fit(Counted(x, reads), labels, scratch=tmp_path)
    rest = Counted(x)
    assert same(fit(rest, labels, scratch=tmp_path), whole)
    # Whole passes are not made again.
    per_pass = -(-N // BLOCK)
    assert rest.reads == (whole.passes - reads // per_pass) * per_pass


def test_passes_are_bounded(world, monkeypatch):
    monkeypatch.setattr(streaming, "MAX_PASSES", 4)
    found = fit(*world)
    assert (found.passes, found.converged) == (4, False)
    assert found.gap > streaming.TOLERANCE * found.objective


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, labels: (x, labels[1:]), "599 labels for 600 rows"),
        (lambda x, labels: (x, labels - 1), "from -1 to 3"),
        (lambda x, labels: (x, labels + 1), "expected all classes from 0 to 4"),
        (lambda x, labels: (x, np.minimum(labels, 3)), "labels of 4 classes from 0 to 3"),
        (
            lambda x, labels: (np.where(np.arange(N)[:, None] == 321, np.inf, x), labels),
            "row 321 of",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(world, spoil, message):
    with pytest.raises(InputError, match=message):
        fit(*spoil(*world))


@pytest.mark.slow
def test_eight_devices_find_what_one_does(world, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "TOLERANCE", 1e-9)
    x, labels = world
    np.savez(tmp_path / "world.npz", x=x, labels=labels)
    program = f"""
import numpy as np
from evals.probes import streaming
streaming.BLOCK, streaming.SAMPLE, streaming.TOLERANCE = {BLOCK}, 150, 1e-9
world = np.load("world.npz")
found = streaming.fit(world["x"], world["labels"], n_classes={K}, l2={L2})
np.savez("found.npz", **found.linear._asdict())
"""
    flags = "--xla_force_host_platform_device_count=8"
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=tmp_path, env=os.environ | environment, check=True)
    one = fit(x, labels).linear
    with np.load(tmp_path / "found.npz") as found:
        eight = linear.Linear(found["weights"], found["bias"])
    scale = x.std(axis=0)[:, None]
    np.testing.assert_allclose(eight.weights * scale, one.weights * scale, atol=5e-5)
    np.testing.assert_array_equal(*(linear.predict(linear.scores(f, x)) for f in (one, eight)))
