"""k-means against brute force and scikit-learn, what it does with odd rows, and the elbow."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans

from alignet import clustering, kmeans
from alignet.errors import InputError


def blobs(sizes, spread=0.05, width=None):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = 4 * np.eye(len(sizes), width)
    z = centres[labels] + spread * rng.normal(size=(len(labels), centres.shape[1]))
    order = rng.permutation(len(labels))
    return z[order].astype(np.float32), labels[order]


def cloud(n, p, seed=0):
    """Overlapping clusters far from the origin; a few directions have most of the variance."""
    rng = np.random.default_rng(seed)
    scale = 3 / np.sqrt(np.arange(1, p + 1))
    means = rng.normal(size=(12, p))
    z = (means[rng.integers(12, size=n)] + rng.normal(size=(n, p))) * scale + 5 * rng.normal(size=p)
    return z.astype(np.float32)


def same_partition(a, b):
    return len(np.unique(np.stack([a, b]), axis=1).T) == len(np.unique(a)) == len(np.unique(b))


def brute(z, centres):
    """Squared distances [n, k] in float64."""
    z, centres = z.astype(np.float64), centres.astype(np.float64)
    return np.stack([((z - centre) ** 2).sum(axis=1) for centre in centres], axis=1)


def lloyd(z, centres, tolerance=0.0):
    def blocks():
        for start in range(0, len(z), 300):
            yield slice(start, start + 300), z[start : start + 300]

    return kmeans.lloyd(blocks, z.__getitem__, len(z), centres, tolerance=tolerance)


# The first is clustered as it is, the second in principal components first, either from samples.
@pytest.mark.parametrize(("n", "p", "k"), [(2500, 20, 6), (3000, 300, 20)])
@pytest.mark.parametrize("block", [200, 4096])
def test_labels_and_inertia_are_those_of_the_centres(n, p, k, block, monkeypatch):
    monkeypatch.setattr(kmeans, "BLOCK", block)
    z = cloud(n, p)
    found = clustering.cluster(z, ks=(k,), restarts=1, seed=0)
    distances = brute(z, found.centres)
    assert found.centres.dtype == np.float32 and found.labels.dtype == np.int64
    nearest = distances.min(axis=1)
    np.testing.assert_allclose(distances[np.arange(n), found.labels], nearest, rtol=1e-4)
    assert (distances.argmin(axis=1) == found.labels).mean() > 0.999
    assert found.inertia.item() == pytest.approx(nearest.mean(), rel=1e-6)
    sklearn = [KMeans(k, n_init=1, random_state=seed).fit(z).inertia_ / n for seed in range(5)]
    assert found.inertia.item() < 1.01 * max(sklearn)


def test_lloyds_algorithm_is_that_of_sklearn():
    z = cloud(2000, 10)
    start = z[:15].copy()
    found = lloyd(z, start)
    theirs = KMeans(15, init=start, n_init=1, tol=0, max_iter=500, algorithm="lloyd").fit(z)
    np.testing.assert_array_equal(found.labels, theirs.labels_)
    np.testing.assert_allclose(found.centres, theirs.cluster_centers_, rtol=1e-4, atol=1e-4)
    assert found.inertia == pytest.approx(theirs.inertia_ / len(z), rel=1e-5)


def test_no_pass_makes_it_worse(monkeypatch):
    z = cloud(3000, 300)
    points, inertia = kmeans.prepare(z, 0), []
    monkeypatch.setattr(kmeans, "TOLERANCE", 0.0)
    for passes in range(1, 7):
        monkeypatch.setattr(kmeans, "ITERATIONS", passes)
        # The start is the same only if the samples' iterations are: none of these has fewer.
        monkeypatch.setattr(kmeans, "COMPONENTS_TOLERANCE", 1.0)
        count = []
        found = kmeans.fit(
            points, 20, np.random.default_rng(0), on_pass=lambda c=count: c.append(1)
        )
        assert len(count) == passes
        inertia.append(found.inertia)
    assert (np.diff(inertia) < 0).all()


def test_components_are_the_principal_ones_in_random_order():
    z = cloud(1000, 300)
    points = kmeans.prepare(z, 3)
    assert points.components.shape == (1000, 128)
    assert sorted(points.order) == list(range(1000)) != points.order.tolist()
    values = np.linalg.eigvalsh(np.cov(z.T, bias=True))[-128:]
    found = points.components.astype(np.float64)
    np.testing.assert_allclose(found.T @ found / 1000, np.diag(values), atol=1e-4)
    # Rows are those of z: distances are at most the true ones, and near them.
    row = z.astype(np.float64)[points.order]
    true = ((row[:500] - row[500:]) ** 2).sum(axis=1)
    ratio = ((found[:500] - found[500:]) ** 2).sum(axis=1) / true
    assert ratio.max() < 1 + 1e-6 and ratio.mean() > 0.8


def test_blobs_are_found():
    z, labels = blobs([60, 80, 100, 40, 70])
    found = clustering.cluster(z, ks=(12, 2, 3, 5, 8), restarts=4, seed=0)
    assert found.ks.tolist() == [2, 3, 5, 8, 12] and found.inertia.shape == (4, 5)
    assert found.chosen == 5 and found.centres.shape == (5, 5)
    assert same_partition(found.labels, labels)
    nearest = brute(z, found.centres).min(axis=1).mean()
    assert found.inertia[:, 2].min() == pytest.approx(nearest, rel=1e-5)


@pytest.mark.parametrize("width", [40, 300])
def test_many_blobs_are_found(width):
    z, labels = blobs(np.arange(20, 60), width=width)
    found = clustering.cluster(z, ks=(40,), restarts=2, seed=0)
    assert same_partition(found.labels, labels)


def test_the_best_restart_is_kept():
    z, best = cloud(500, 8), set()
    for seed in range(6):
        found = clustering.cluster(z, ks=(9,), restarts=3, seed=seed)
        nearest = brute(z, found.centres).min(axis=1).mean()
        assert found.inertia.min() == pytest.approx(nearest, rel=1e-5)
        assert len(np.unique(found.inertia)) == 3
        best.add(int(found.inertia.argmin()))
        one = clustering.cluster(z, ks=(9,), restarts=1, seed=seed)
        assert one.inertia.item() == found.inertia[0, 0]
    assert len(best) > 1


def test_the_seed_decides():
    z = cloud(2000, 300)
    one, again, other = (
        clustering.cluster(z, ks=(4, 10), restarts=2, seed=seed) for seed in (0, 0, 1)
    )
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one.inertia != other.inertia).any()
    alone = clustering.cluster(z, ks=(10,), restarts=2, seed=0)
    np.testing.assert_array_equal(alone.inertia[:, 0], one.inertia[:, 1])


@pytest.mark.parametrize("p", [30, 300])
def test_it_does_not_matter_where_the_rows_are(tmp_path, p):
    z = cloud(5000, p)
    np.save(tmp_path / "z.npy", z)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    with open(tmp_path / "shifted.npy", "wb") as file:
        file.write(b"123" + z.tobytes())
    shifted = np.memmap(tmp_path / "shifted.npy", np.float32, "r", offset=3, shape=z.shape)
    first = clustering.cluster(z, ks=(12,), restarts=1, seed=0)
    for rows in (mapped, shifted, np.asfortranarray(z), np.repeat(z, 2, axis=0)[::2]):
        for a, b in zip(first, clustering.cluster(rows, ks=(12,), restarts=1, seed=0), strict=True):
            np.testing.assert_array_equal(a, b)
    double = clustering.cluster(z.astype(np.float64), ks=(12,), restarts=1, seed=0)
    assert double.inertia.item() == pytest.approx(first.inertia.item(), rel=1e-2)
    assert double.centres.dtype == np.float32


def test_a_memory_map_is_not_kept_in_memory(tmp_path):
    def resident():
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            pytest.skip("/proc tells it")
        return int(status.partition("RssFile:")[2].split()[0]) * 1024

    z = cloud(60_000, 100)
    np.save(tmp_path / "z.npy", z)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    before = resident()
    clustering.cluster(mapped, ks=(2,), restarts=1, seed=0)
    assert resident() - before < z.nbytes / 4
    float(np.asarray(mapped).sum())
    assert resident() - before > z.nbytes / 2


@pytest.mark.parametrize("tolerance", [0.0, 10.0])
def test_an_empty_cluster_gets_rows(tolerance):
    z, labels = blobs([40, 30, 20])
    z[17] += 2
    # Nothing is near the last two.
    start = np.concatenate([z[labels == 0][:2], np.full((2, 3), [[1e3], [2e3]], np.float32)])
    found = lloyd(z, start, tolerance)
    assert len(np.unique(found.labels)) == 4
    assert found.inertia == pytest.approx(brute(z, found.centres).min(axis=1).mean(), rel=1e-5)
    again = lloyd(z, start, tolerance)
    np.testing.assert_array_equal(found.labels, again.labels)


def test_the_farthest_row_becomes_a_centre(monkeypatch):
    monkeypatch.setattr(kmeans, "ITERATIONS", 2)
    z = cloud(100, 4)
    start = np.concatenate([z[:3], np.full((1, 4), 1e3, np.float32)])
    found = lloyd(z, start)
    distances = brute(z, start)
    np.testing.assert_array_equal(found.centres[3], z[distances.min(axis=1).argmax()])
    labels = distances.argmin(axis=1)
    for name in range(3):
        np.testing.assert_allclose(found.centres[name], z[labels == name].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("p", [3, 300])
def test_one_cluster(p):
    z = cloud(200, p)
    found = clustering.cluster(z, ks=(1,), restarts=1, seed=0)
    assert (found.labels == 0).all() and found.chosen == 1
    np.testing.assert_allclose(found.centres[0], z.mean(axis=0), rtol=1e-4, atol=1e-4)
    assert found.inertia.item() == pytest.approx(z.var(axis=0, dtype=float).sum(), rel=1e-5)


@pytest.mark.parametrize("p", [3, 300])
def test_a_cluster_a_row(p):
    z = cloud(150, p)
    found = kmeans.fit(kmeans.prepare(z, 0), 150, np.random.default_rng(0))
    assert found.inertia == 0 and sorted(found.labels) == list(range(150))
    np.testing.assert_allclose(found.centres[found.labels], z, rtol=1e-5, atol=1e-5)
    assert (clustering.cluster(z, ks=(150,), restarts=1, seed=0).labels == -1).all()


@pytest.mark.parametrize("p", [3, 300])
@pytest.mark.parametrize("k", [1, 5, 7, 30])
def test_rows_that_are_equal(p, k):
    """Seven different rows, many times; with fewer than k some clusters have none, at once."""
    values = cloud(7, p)
    names = np.random.default_rng(0).integers(7, size=400)
    passes = []
    points = kmeans.prepare(values[names], 0)
    found = kmeans.fit(points, k, np.random.default_rng(0), on_pass=lambda: passes.append(1))
    assert len(np.unique(found.labels)) == min(k, 7) and len(passes) < 5
    assert len(np.unique(np.stack([names, found.labels]), axis=1).T) == 7
    if k >= 7:
        assert found.inertia < 1e-9 * values.var()
    nearest = brute(values[names], found.centres).min(axis=1).mean()
    assert found.inertia == pytest.approx(nearest, rel=1e-4, abs=1e-9)


def test_rows_that_are_equal_in_the_principal_components_only():
    z = np.repeat(cloud(150, 400), 2, axis=0)
    z[:, 300:] = 5
    z[::2, 300] += 0.1
    points = kmeans.prepare(z, 0)
    pairs = points.components[np.argsort(points.order)].reshape(150, 2, 128)
    assert np.abs(pairs[:, 0] - pairs[:, 1]).max() < 1e-4
    found = kmeans.fit(points, 300, np.random.default_rng(0))
    assert found.inertia == 0 and sorted(found.labels) == list(range(300))


def test_only_one_row_that_is_different():
    found = clustering.cluster(np.ones((50, 4)), ks=(3,), restarts=2, seed=0)
    assert len(np.unique(found.labels)) == 1 and found.inertia.max() == 0


def test_plus_plus_starts_in_every_blob():
    z, labels = blobs([5, 50, 20, 100, 8, 30, 60, 9])
    name = {row.tobytes(): label for row, label in zip(z, labels, strict=True)}
    for seed in range(20):
        start = kmeans.plus_plus(z, 8, np.random.default_rng(seed))
        assert {name[row.tobytes()] for row in start} == set(range(8))


def test_a_cluster_of_one_image_is_left_out():
    z, labels = blobs([30, 30, 1])
    found = clustering.cluster(z, ks=(3,), restarts=3, seed=0)
    assert found.chosen == 3 and found.centres.shape == (3, 3)
    np.testing.assert_array_equal(found.labels == -1, labels == 2)


@pytest.mark.parametrize(
    ("ks", "restarts", "message"),
    [
        ((2, 7), 1, "7 clusters for 6 images; expected at most one an image"),
        ((0, 2), 1, r"ks = \[0, 2\] and restarts = 1; expected"),
        ((-3,), 1, r"ks = \[-3\]"),
        ((), 1, r"ks = \[\]"),
        ((2,), 0, "restarts = 0; expected"),
    ],
)
def test_what_cannot_be_is_refused(ks, restarts, message):
    with pytest.raises(InputError, match=message):
        clustering.cluster(np.eye(6), ks=ks, restarts=restarts, seed=0)


@pytest.mark.parametrize("bend", [1, 2, 3])
def test_elbow_of_two_lines(bend):
    """Straight in log-log but for one bend."""
    ks = 10 * 2 ** np.arange(5)
    slope = np.where(np.arange(4) < bend, -2.0, -0.2)
    inertia = np.exp(np.concatenate([[9.0], 9 + np.cumsum(slope)]))
    assert clustering.elbow(ks, inertia) == bend
    # Neither unit matters.
    assert clustering.elbow(7 * ks, inertia / 1000) == bend


def test_elbow_of_one_candidate_and_of_a_flat_curve():
    assert clustering.elbow(np.array([500]), np.array([3.0])) == 0
    assert clustering.elbow(np.array([2, 4, 8]), np.array([1.0, 1.0, 1.0])) in (0, 1, 2)
    assert clustering.elbow(np.array([2, 4, 8]), np.array([1.0, 0.0, 0.0])) == 1


@pytest.mark.slow
def test_imagenets_embeddings_take_little_memory(tmp_path):
    """500 clusters of 1,281,167 × 1,152 float32, 5.9 GB on disk, in under 4 GB."""
    if shutil.disk_usage(tmp_path).free < 7e9:
        pytest.skip("needs 7 GB of disk")
    command = [sys.executable, "-m", "benchmarks.clustering", "--large", f"--folder={tmp_path}"]
    root = Path(__file__).resolve().parents[1]
    found = json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout)
    print(found)
    assert found["shape"] == [1_281_167, 1152] and found["peak_gb"] < 4
