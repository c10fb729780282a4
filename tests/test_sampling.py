"""Which triplets are drawn, how often, and what the teacher answers."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from alignet import sampling
from alignet.errors import InputError
from benchmarks import dataset

# Sizes 4, 2, 3, 1 and, left out, 2.
LABELS = np.array([7, 2, -1, 0, 7, 3, 0, 0, 2, 7, -1, 7])
SCHEMES = ("cluster-boundary", "class-boundary", "random", "within-class")


def fits(triplets, probabilities):
    """Whether ordered triplets come as often as they should, and no others, by chi-square."""
    found, counts = np.unique(triplets, axis=0, return_counts=True)
    counts = dict(zip(map(tuple, found.tolist()), counts.tolist(), strict=True))
    assert counts.keys() <= probabilities.keys()
    seen = [counts.get(key, 0) for key in probabilities]
    expected = np.array([*probabilities.values()])
    assert expected.sum() == pytest.approx(1)
    return chisquare(seen, expected * len(triplets)).pvalue > 1e-3


def members(label):
    return np.flatnonzero(label == LABELS).tolist()


SIZE = {label: len(members(label)) for label in (0, 2, 3, 7)}


def share(among, label, by_size):
    return SIZE[label] / sum(SIZE[other] for other in among) if by_size else 1 / len(among)


@pytest.mark.parametrize("by_size", [False, True])
@pytest.mark.parametrize("scheme", ["cluster-boundary", "class-boundary"])
def test_two_of_one_label_and_a_third_of_another(scheme, by_size):
    probabilities = {}
    for one in (0, 2, 7):
        others = [label for label in SIZE if label != one]
        pairs = [*itertools.permutations(members(one), 2)]
        for (i, j), other in itertools.product(pairs, others):
            for k in members(other):
                probabilities[i, j, k] = (
                    share((0, 2, 7), one, by_size)
                    / len(pairs)
                    * share(others, other, by_size)
                    / SIZE[other]
                )
    drawn = sampling.draw(scheme, LABELS, 150_000, by_size=by_size, seed=1).train
    assert drawn.shape == (150_000, 3) and drawn.dtype == np.int32
    assert fits(drawn, probabilities)


@pytest.mark.parametrize("by_size", [False, True])
def test_three_of_one_label(by_size):
    probabilities = {
        triplet: share((0, 7), one, by_size) / (SIZE[one] * (SIZE[one] - 1) * (SIZE[one] - 2))
        for one in (0, 7)
        for triplet in itertools.permutations(members(one), 3)
    }
    assert fits(
        sampling.draw("within-class", LABELS, 30_000, by_size=by_size, seed=2).train, probabilities
    )


@pytest.mark.parametrize("labels", [LABELS, np.where(LABELS < 0, -1, np.arange(len(LABELS)))])
def test_any_three_of_three_labels(labels):
    every = [
        triplet
        for triplet in itertools.permutations(np.flatnonzero(labels >= 0).tolist(), 3)
        if len({*labels[[*triplet]].tolist()}) == 3
    ]
    drawn = sampling.draw("random", labels, 100_000, seed=3).train
    assert fits(drawn, dict.fromkeys(every, 1 / len(every)))


def test_all_of_many_clusters_are_drawn_alike():
    """500 clusters of very unequal size: the first image's cluster, and the third's, uniformly."""
    labels = np.repeat(np.arange(500), np.random.default_rng(0).integers(2, 400, 500))
    uniform, sized = (
        labels[sampling.draw("cluster-boundary", labels, 200_000, by_size=by, seed=4).train]
        for by in (False, True)
    )
    for column in (0, 2):
        assert chisquare(np.bincount(uniform[:, column], minlength=500)).pvalue > 1e-3
    size = np.bincount(labels)
    counts = np.bincount(sized[:, 0], minlength=500)
    assert chisquare(counts, 200_000 * size / size.sum()).pvalue > 1e-3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_seed_decides(scheme):
    one, again, other = (sampling.draw(scheme, LABELS, 100, seed=s).train for s in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_few_triplets_are_the_first_of_many(scheme):
    labels = np.arange(3000) % 100
    few = sampling.draw(scheme, labels, 50, n_validation=20, seed=0)
    many = sampling.draw(scheme, labels, sampling.DRAWN + 1000, n_validation=20, seed=0)
    assert len(many.train) == sampling.DRAWN + 1000
    np.testing.assert_array_equal(few.train, many.train[:50])
    # And those for training do not depend on how many there are for validation.
    for n in (0, 2000):
        other = sampling.draw(scheme, labels, 50, n_validation=n, seed=0)
        np.testing.assert_array_equal(few.train, other.train)
        np.testing.assert_array_equal(few.validation[:n], other.validation[:20])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_validation_triplets_are_of_other_images_than_those_for_training(scheme):
    labels = np.arange(24) % 4
    drawn = sampling.draw(scheme, labels, 60, n_validation=30_000, seed=0)
    train, validation = ({frozenset(row) for row in part.tolist()} for part in drawn)
    assert len(drawn.validation) == 30_000 and not train & validation
    alone = sampling.draw(scheme, labels, 1, n_validation=30_000, seed=0).validation
    everything = {frozenset(row) for row in alone.tolist()} | train
    assert validation == everything - train


def test_sets_of_images_have_a_number_of_their_own_in_any_order():
    n = 2**22  # whose cube is beyond 64 bits
    triplets = np.random.default_rng(0).integers(0, n, (20_000, 3)).astype(np.int32)
    triplets[10_000:] = triplets[:10_000, [2, 0, 1]]
    numbers = sampling._sets(triplets, n)
    np.testing.assert_array_equal(numbers[10_000:], numbers[:10_000])
    assert len(np.unique(numbers)) == len({frozenset(row) for row in triplets.tolist()})


BAD = {
    "one label": ("cluster-boundary", [0, 0, 0], {}, "boundary triplets expect at least 2"),
    "no pair": ("class-boundary", [0, 1, 2], {}, "3 clusters or classes, the largest of 1 images"),
    "all but one": ("cluster-boundary", [-1, -1, 0, 0], {}, "1 clusters or classes"),
    "none": ("cluster-boundary", [-1, -1, -1], {}, "0 clusters or classes, the largest of 0"),
    "no three": ("within-class", [0, 0, 1, 1], {}, "within a class expect at least 1 and 3 images"),
    "none within": ("within-class", [-1], {}, "0 clusters or classes"),
    "two classes": ("random", [0, 0, 1, 1], {}, "three images, of three classes"),
    "none at random": ("random", [-1, -1], {}, "0 labels of 0 images"),
    "nearly one class": ("random", [1, 2] + 60_000 * [0], {}, "the largest of 60000"),
    "scheme": ("border", [0, 0, 1], {}, "'border'; expected one of cluster-boundary, class-boun"),
    "none wanted": ("random", [0, 1, 2], {"n_triplets": 0}, "0 triplets .*expected at least 1"),
    "negative": ("random", [0, 1, 2], {"n_validation": -1}, "-1 for validation; expected"),
    "no others": ("random", [0, 1, 2], {"n_validation": 1}, "9 training triplets leave no others"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_drawn_is_refused(name):
    scheme, labels, settings, message = BAD[name]
    with pytest.raises(InputError, match=message):
        sampling.draw(scheme, np.array(labels), **{"n_triplets": 9, "seed": 0} | settings)


########################################## Answers ##########################################


N, WIDTH = 300, 300  # two parts of 128 columns, and one of 44


@pytest.fixture(scope="module")
def teacher():
    """Embeddings of 300 images, 2,000 triplets, and the teacher's answers."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(N, WIDTH)).astype(np.float32)
    triplets = sampling.draw("random", np.arange(N), 2000, seed=0).train
    return z, triplets, sampling.soft_answers(z, triplets)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_answers(teacher, dtype):
    z, triplets, _ = teacher
    z = z.astype(dtype) * (1 + 1e-9 * (dtype == np.float64))
    similarities, images = sampling.soft_answers(z, triplets)
    assert similarities.dtype == np.float32 and images.dtype == triplets.dtype
    np.testing.assert_array_equal(np.sort(images, axis=1), np.sort(triplets, axis=1))
    assert (np.diff(similarities, axis=1) <= 0).all()
    exact = z.astype(np.float64)
    for (a, b, c), s in zip(images, similarities, strict=True):
        expected = np.array([exact[a] @ exact[b], exact[a] @ exact[c], exact[b] @ exact[c]])
        scale = np.abs(exact[a] * exact[b]).sum()
        assert np.abs(s - expected).max() < (3e-7 * scale if dtype == np.float32 else 1e-5)
        assert dtype == np.float32 or (s == expected.astype(np.float32)).mean() > 0.6


@pytest.mark.parametrize("width", [1, 5, 127, 128, 129])
def test_answers_of_any_width(width):
    z = np.random.default_rng(0).normal(size=(20, width))
    triplets = sampling.draw("random", np.arange(20), 50, seed=0).train
    similarities, images = sampling.soft_answers(z, triplets)
    a, b, c = (z[column] for column in images.T)
    expected = np.stack([(a * b).sum(1), (a * c).sum(1), (b * c).sum(1)], axis=1)
    np.testing.assert_allclose(similarities, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_the_order_of_the_question_does_not_matter(teacher, order):
    z, triplets, found = teacher
    for one, other in zip(found, sampling.soft_answers(z, triplets[:, order]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 100, 3), (1000, 30, 1000)])
def test_answers_do_not_depend_on_blocks_and_threads(teacher, monkeypatch, sizes, cores):
    z, triplets, found = teacher
    triplets, found = triplets[:600], [part[:600] for part in found]
    for name, size in zip(("IMAGES", "TASK", "CACHED"), sizes, strict=True):
        monkeypatch.setattr(sampling, name, size)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    for one, other in zip(found, sampling.soft_answers(z, triplets), strict=True):
        np.testing.assert_array_equal(one, other)


def test_parts_may_be_answered_apart(teacher):
    z, triplets, found = teacher
    parts = [sampling.soft_answers(z, part) for part in np.array_split(triplets, 7)]
    for one, other in zip(found, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(one, np.concatenate(other))


def resident():
    """Bytes of files that are mapped and in memory."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        pytest.skip("/proc tells it")
    return int(status.partition("RssFile:")[2].split()[0]) * 1024


def test_a_memory_map_is_answered_and_not_kept_in_memory(tmp_path):
    z = np.random.default_rng(0).normal(size=(50_000, 160)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    triplets = sampling.draw("random", np.arange(len(z)), 1000, seed=0).train
    sampling.soft_answers(z, triplets)
    before = resident()
    found = sampling.soft_answers(mapped, triplets)
    assert resident() - before < z.nbytes / 4
    float(np.asarray(mapped).sum())
    assert resident() - before > z.nbytes / 2
    for one, other in zip(sampling.soft_answers(z, triplets), found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_changes_to_a_memory_map_are_kept(tmp_path, mode):
    np.save(tmp_path / "z.npy", np.ones((50, 4), np.float32))
    z = np.load(tmp_path / "z.npy", mmap_mode=mode)
    z[7] = 3
    similarities, _ = sampling.soft_answers(z, np.array([[6, 7, 8]], np.int32))
    assert similarities.tolist() == [[12, 12, 4]] and (z[7] == 3).all()


@pytest.mark.parametrize("triplet", [[0, 1, 50], [-1, 2, 3]])
def test_an_image_that_is_not_there_is_an_error(triplet):
    with pytest.raises(IndexError, match="of 50"):
        sampling.soft_answers(np.ones((50, 2)), np.array([triplet]))


@pytest.mark.slow
def test_imagenets_ten_million_triplets_take_little_time_and_memory(tmp_path):
    """Under 90 s and 2 GB from embeddings and clusters to the file, 30 s to read and check it."""
    if shutil.disk_usage(tmp_path).free < 12e9:
        pytest.skip("needs 12 GB of disk")
    dataset.write_world(tmp_path, dataset.IMAGES)
    for side, limit in (("ours", 90), ("load", 30)):
        out = subprocess.run(
            [sys.executable, "-m", "benchmarks.dataset", f"--side={side}", f"--folder={tmp_path}"],
            cwd=Path(__file__).resolve().parents[1],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        found = json.loads(out)
        print(side, found)
        assert sum(found["seconds"].values()) < limit and found["peak_gb"] < 2
    # The files are large, and pytest keeps folders.
    for file in tmp_path.iterdir():
        file.unlink()
