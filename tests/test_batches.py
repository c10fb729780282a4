"""The input of training: which triplets, in which order, with which pixels."""

import numpy as np
import pytest
from PIL import Image

from alignet.data.alignet_triplets import AligNetTriplets
from alignet.data.images import open_source
from alignet.errors import InputError
from alignet.training import batches
from alignet.training.batches import Batches

N_IMAGES, N = 12, 10
SIDE = 4


def triplets():
    rng = np.random.default_rng(0)
    indices = np.array([rng.permutation(N_IMAGES)[:3] for _ in range(N)])
    return AligNetTriplets(None, rng.normal(size=(N, 3)).astype(np.float32), indices)


def pixels():
    return np.random.default_rng(1).integers(0, 256, (N_IMAGES, SIDE, SIDE, 3), np.uint8)


def fit(picture):
    return np.asarray(picture)


def make(images, **options):
    settings = {"fit": fit, "teacher_z": None, "batch_size": 4, "seed": 0}
    return Batches(images, triplets(), **settings | options)


@pytest.fixture
def folder(tmp_path):
    for i, image in enumerate(pixels()):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    return tmp_path


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_batch_has_the_images_and_answers_of_its_triplets():
    z = np.random.default_rng(2).normal(size=(N_IMAGES, 5))
    batch = make(pixels(), teacher_z=z)(7)
    rows = batches.batch_rows(0, 7, n=N, batch_size=4)
    for b, row in enumerate(rows):
        np.testing.assert_array_equal(batch["teacher"][b], triplets().similarities[row])
        for position, image in enumerate(triplets().indices[row]):
            np.testing.assert_array_equal(batch["images"][b, position], pixels()[image])
            np.testing.assert_array_equal(batch["teacher_z"][b, position], np.float32(z[image]))
            assert batch["index"][b, position] == image
    assert (batch["weight"] == 1).all()


def test_pictures_of_a_folder_give_the_same_batches_and_each_is_decoded_once(folder):
    read, source = [], open_source(folder)

    def reading(place):
        read.append(place)
        return source.read(place)

    for step in range(3):
        read.clear()
        assert_equal(make(source._replace(read=reading))(step), make(pixels())(step))
        rows = batches.batch_rows(0, step, n=N, batch_size=4)
        assert read == sorted(set(triplets().indices[rows].ravel().tolist()))


def test_worker_processes_give_the_same_batches_in_order(folder, tmp_path):
    z = np.random.default_rng(2).normal(size=(N_IMAGES, 5)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    load = make(open_source(folder), teacher_z=mapped)
    found = list(batches.stream(load, range(3, 9), workers=2))
    assert len(found) == 6
    for step, batch in enumerate(found, start=3):
        assert_equal(batch, make(pixels(), teacher_z=z)(step))


def test_a_memory_map_is_not_copied_to_the_workers(tmp_path):
    np.save(tmp_path / "z.npy", np.arange(12.0).reshape(6, 2))
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    state = make(pixels(), teacher_z=mapped).__getstate__()
    assert not isinstance(state["teacher_z"], np.ndarray)
    again = make(pixels())
    again.__setstate__(state)
    assert isinstance(again.teacher_z, np.memmap)
    np.testing.assert_array_equal(again.teacher_z, mapped)
    # A view says nothing of where in the file it begins.
    assert isinstance(make(pixels(), teacher_z=mapped[2:]).__getstate__()["teacher_z"], np.ndarray)


def test_processes_share_a_batch_out():
    whole = make(pixels())(5)
    parts = [make(pixels(), part=part, parts=2)(5) for part in range(2)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in whole}
    assert_equal(joined, whole)


def test_the_pieces_of_a_batch_are_the_same_in_however_many_processes():
    whole = make(pixels(), accumulate=2)(5)
    parts = [make(pixels(), part=part, parts=2, accumulate=2)(5) for part in range(2)]
    for piece in range(2):
        found = np.concatenate([np.split(part["teacher"], 2)[piece] for part in parts])
        np.testing.assert_array_equal(found, np.split(whole["teacher"], 2)[piece])


def test_validation_goes_through_once_and_fills_up_with_nothing():
    load = make(pixels(), seed=None)
    assert len(load) == 3
    found = [load(step) for step in range(3)]
    weight = np.concatenate([batch["weight"] for batch in found])
    np.testing.assert_array_equal(weight, [1] * N + [0, 0])
    teacher = np.concatenate([batch["teacher"] for batch in found])
    np.testing.assert_array_equal(teacher[:N], triplets().similarities)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_damaged_picture_is_named(folder, workers):
    (folder / "03.png").write_bytes(b"no picture")
    load = make(open_source(folder))
    with pytest.raises(InputError, match="03 cannot be read as a picture"):
        list(batches.stream(load, range(4), workers=workers))


def test_every_triplet_is_seen_once_an_epoch():
    n, size = 10, 4
    stream = np.concatenate([batches.batch_rows(0, s, n=n, batch_size=size) for s in range(10)])
    epochs = stream.reshape(4, n)
    assert (np.sort(epochs, axis=1) == np.arange(n)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 4
    other = np.concatenate([batches.batch_rows(1, s, n=n, batch_size=size) for s in range(10)])
    assert (stream != other).any()


def test_a_batch_may_span_several_epochs():
    rows = batches.batch_rows(0, 1, n=3, batch_size=8)
    whole = np.concatenate([batches.batch_rows(0, s, n=3, batch_size=3) for s in range(6)])
    np.testing.assert_array_equal(rows, whole[8:16])


def test_batches_come_in_order_and_ahead():
    loaded = []

    def load(step):
        loaded.append(step)
        return {"step": np.array(step)}

    stream = batches.stream(load, range(3, 30), workers=0)
    assert int(next(stream)["step"]) == 3
    seen = [int(batch["step"]) for batch in stream]
    assert seen == list(range(4, 30))
    assert sorted(loaded) == list(range(3, 30))
    assert list(batches.stream(load, range(0), workers=0)) == []
