"""Clusters, the triplets drawn from them, the teacher's answers and the files they are kept in."""

import numpy as np
import pytest

from alignet import clustering, sampling
from alignet.data.alignet_triplets import AligNetTriplets, load_triplets, save_triplets
from alignet.errors import InputError

# Sizes 50, 5, 20, 1, 3; the cluster of one image has no pair; two images are left out.
SIZES = (50, 5, 20, 1, 3)
LABELS = np.random.default_rng(0).permutation(
    np.concatenate([np.full(size, name) for name, size in enumerate(SIZES)] + [[-1, -1]])
)


def _rng():
    return np.random.default_rng(7)


def _close(counts, probabilities):
    """Frequencies within five standard errors of what they should be."""
    n, p = counts.sum(), np.asarray(probabilities) / np.sum(probabilities)
    return (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p)) + 1e-9).all()


@pytest.mark.parametrize("by_size", [False, True])
def test_boundary_triplets(by_size):
    n = 40_000
    triplets = sampling.boundary_triplets(LABELS, n, _rng(), by_size=by_size)
    assert triplets.shape == (n, 3)
    i, j, k = LABELS[triplets].T
    assert (i == j).all() and (i != k).all() and (i >= 0).all() and (k >= 0).all()
    assert (triplets[:, 0] != triplets[:, 1]).all()

    sizes = np.array(SIZES)
    weight = sizes if by_size else np.ones(5)
    pair_weight = weight * (sizes > 1)
    assert _close(np.bincount(i, minlength=5), pair_weight)
    # The third cluster is drawn by weight from all but the first.
    first = pair_weight / pair_weight.sum()
    third = [
        sum(first[c] * weight[d] / (weight.sum() - weight[c]) for c in range(5) if c != d)
        for d in range(5)
    ]
    assert _close(np.bincount(k, minlength=5), third)
    # Within a cluster all images, and all ordered pairs of them, are as likely.
    members = np.flatnonzero(LABELS == 4)
    pairs = triplets[i == 4][:, :2]
    counts = [(pairs == [a, b]).all(axis=1).sum() for a in members for b in members if a != b]
    assert _close(np.array(counts), np.ones(6))
    counts = np.bincount(triplets[k == 2][:, 2], minlength=len(LABELS))[LABELS == 2]
    assert _close(counts, np.ones(20))


def test_boundary_triplets_of_many_clusters_of_two():
    labels = np.repeat(np.arange(300), 2)
    i, j, k = labels[sampling.boundary_triplets(labels, 1000, _rng())].T
    assert (i == j).all() and (i != k).all()


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [-1, -1, 0, 0], [-1, -1, -1]])
def test_no_boundary_is_an_input_error(labels):
    with pytest.raises(InputError, match="boundary triplets expect at least two clusters"):
        sampling.boundary_triplets(np.array(labels), 5, _rng())


def test_random_triplets():
    triplets = sampling.random_triplets(6, 30_000, _rng())
    assert triplets.shape == (30_000, 3)
    code = triplets @ [36, 6, 1]
    counts = np.bincount(code, minlength=216)
    different = [len({a, b, c}) == 3 for a in range(6) for b in range(6) for c in range(6)]
    assert (counts[~np.array(different)] == 0).all()
    assert _close(counts[different], np.ones(120))


def test_random_triplets_of_three_classes():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 3])
    triplets = sampling.random_triplets(8, 20_000, _rng(), labels=labels)
    assert triplets.shape == (20_000, 3)
    i, j, k = labels[triplets].T
    assert ((i != j) & (i != k) & (j != k)).all()
    # Every triplet of images of three classes is as likely.
    counts = np.unique(np.sort(triplets, axis=1), axis=0, return_counts=True)[1]
    assert len(counts) == 4 * 2 * 1 * 3 - 4 * 2 * 1 * 3 + 4 * 2 + 4 * 2 + 4 + 2
    assert _close(counts, np.ones(len(counts)))


def test_too_few_images_or_classes():
    with pytest.raises(InputError, match="three images, of three classes"):
        sampling.random_triplets(2, 5, _rng())
    with pytest.raises(InputError, match="three images, of three classes"):
        sampling.random_triplets(4, 5, _rng(), labels=np.array([0, 0, 1, 1]))


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: sampling.random_triplets(50, 100, rng),
        lambda rng: sampling.random_triplets(len(LABELS), 100, rng, labels=LABELS),
        lambda rng: sampling.boundary_triplets(LABELS, 100, rng),
    ],
)
def test_the_seed_decides(draw):
    one, again, other = (draw(np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.fixture(scope="module")
def teacher():
    """Embeddings of 30 images, names, triplets, and the teacher's answers."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(30, 5)).astype(np.float32)
    names = np.array([f"image{n}.jpg" for n in range(30)])
    triplets = np.stack([rng.permutation(30)[:3] for _ in range(500)])
    return z, names, triplets, sampling.answer(z, triplets, names)


def test_answers(teacher):
    z, names, triplets, found = teacher
    assert found.similarities.dtype == np.float32 and found.indices.dtype == np.int64
    np.testing.assert_array_equal(found.filenames, names[found.indices])
    np.testing.assert_array_equal(np.sort(found.indices, axis=1), np.sort(triplets, axis=1))
    assert (np.diff(found.similarities, axis=1) <= 0).all()
    for (a, b, c), s in zip(found.indices, found.similarities, strict=True):
        expected = [z[a] @ z[b], z[a] @ z[c], z[b] @ z[c]]
        np.testing.assert_allclose(s, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_the_order_of_the_question_does_not_matter(teacher, order):
    z, names, triplets, found = teacher
    permuted = sampling.answer(z, triplets[:, order], names)
    for one, other in zip(found, permuted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_answers_do_not_depend_on_the_chunk(teacher, monkeypatch):
    z, names, triplets, found = teacher
    monkeypatch.setattr(sampling, "CHUNK", 7)
    for one, other in zip(found, sampling.answer(z, triplets, names), strict=True):
        np.testing.assert_array_equal(one, other)


def test_save_and_load(teacher, tmp_path):
    found = teacher[-1]
    path = tmp_path / "t.npz"
    save_triplets(path, found)
    for one, other in zip(found, load_triplets(path, n_images=30), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def _swap(a):
    a["similarities"] = a["similarities"][:, ::-1]


def _set(name, value):
    return lambda a: a[name].__setitem__((4, 1), value)


def _cast(name, dtype):
    return lambda a: a.update({name: a[name].astype(dtype)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_swap, r"first pair is the most similar one in 0\.0%.*expected"),
        (_set("indices", 30), r"row 5: image indices \[.*30.*\]; expected"),
        (_set("indices", -1), "row 5: image indices"),
        (lambda a: a["indices"].__setitem__((4, 1), a["indices"][4, 0]), "row 5: image indices"),
        (_set("similarities", np.nan), "row 5: a similarity is not finite; expected"),
        (_set("similarities", -np.inf), "row 5: a similarity is not finite; expected"),
        (lambda a: a.pop("filenames"), "filenames.*expected"),
        (lambda a: a.pop("similarities"), "similarities.*expected"),
        (lambda a: a.pop("indices"), "indices.*expected"),
        (lambda a: a.update(filenames=a["filenames"][:-1]), "filenames has shape.*expected"),
        (lambda a: a.update(indices=a["indices"][:, :2]), "has shape.*expected"),
        (lambda a: a.update(indices=np.array(3)), "has shape.*expected"),
        (lambda a: a.update({n: v[:0] for n, v in a.items()}), "has shape.*expected"),
        (_cast("indices", float), "indices has shape.*type float64; expected"),
        (_cast("filenames", object), "plain arrays; expected"),
        (_cast("similarities", object), "plain arrays; expected"),
        (_cast("similarities", int), "similarities has shape.*type int64; expected"),
    ],
)
def test_a_bad_file_is_named(teacher, tmp_path, change, message):
    path = tmp_path / "t.npz"
    arrays = {name: value.copy() for name, value in teacher[-1]._asdict().items()}
    change(arrays)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=rf"t\.npz.*{message}"):
        load_triplets(path, n_images=30)


@pytest.mark.parametrize("length", [0, 3, 100, -200, -10])
def test_a_cut_file_is_named(teacher, tmp_path, length):
    path = tmp_path / "t.npz"
    save_triplets(path, teacher[-1])
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"t\.npz: .*expected an AligNet dataset"):
        load_triplets(path)
    with pytest.raises(InputError, match=r"other\.npz: no such file; expected an AligNet dataset"):
        load_triplets(tmp_path / "other.npz")


def test_a_few_rows_may_be_rounded(tmp_path):
    n = 2000
    found = AligNetTriplets(
        np.full((n, 3), "a.jpg"),
        np.tile(np.float32([0.9, 0.5, 0.1]), (n, 1)),
        np.tile([0, 1, 2], (n, 1)),
    )
    found.similarities[0] = [0.5, 0.50001, 0.1]
    save_triplets(tmp_path / "t.npz", found)
    assert len(load_triplets(tmp_path / "t.npz").indices) == n


def _blobs(sizes, spread=0.05):
    rng = np.random.default_rng(0)
    centres = 4 * np.eye(len(sizes))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return centres[labels] + spread * rng.normal(size=(len(labels), len(sizes))), labels


def _same_partition(a, b):
    return len(np.unique(np.stack([a, b]), axis=1).T) == len(np.unique(a)) == len(np.unique(b))


def test_blobs_are_found():
    z, labels = _blobs([60, 80, 100, 40, 70])
    found = clustering.cluster(
        z.astype(np.float32), ks=(12, 2, 3, 5, 8), restarts=4, batch_size=128, seed=0
    )
    assert found.ks.tolist() == [2, 3, 5, 8, 12] and found.inertia.shape == (4, 5)
    assert found.chosen == 5
    assert _same_partition(found.labels, labels)
    # The kept labels are those of the restart with the smallest inertia.
    centres = np.stack([z[found.labels == name].mean(axis=0) for name in range(5)])
    inertia = ((z - centres[found.labels]) ** 2).sum() / len(z)
    assert found.inertia.min(axis=0)[2] == pytest.approx(inertia, rel=0.05)
    again = clustering.cluster(
        z.astype(np.float32), ks=(12, 2, 3, 5, 8), restarts=4, batch_size=128, seed=0
    )
    np.testing.assert_array_equal(found.labels, again.labels)


def test_a_cluster_of_one_image_is_left_out():
    z, labels = _blobs([30, 30, 1])
    found = clustering.cluster(z, ks=(3,), restarts=3, batch_size=64, seed=0)
    assert found.chosen == 3
    np.testing.assert_array_equal(found.labels == -1, labels == 2)
    triplets = sampling.boundary_triplets(found.labels, 50, _rng())
    assert 60 not in triplets


def test_more_clusters_than_images():
    with pytest.raises(InputError, match="7 clusters for 6 images"):
        clustering.cluster(np.eye(6), ks=(2, 7), restarts=1, batch_size=8, seed=0)


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
