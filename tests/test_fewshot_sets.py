"""Few-shot data sets: each of tfds through the real loader, splits, folders and wrong names."""

import sys

import numpy as np
import pytest
from PIL import Image

from alignet.data.fewshot_sets import FEWSHOT, open_fewshot, prepared
from alignet.data.images import decode
from alignet.errors import Absent, InputError
from tests import tfds_case

pytest.importorskip("tensorflow_datasets", reason="tfds is not installed")

# As their authors say.
CLASSES = {
    "cifar100": 100,
    "imagenet2012": 1000,
    "places365_small": 365,
    "caltech_birds2011": 200,
    "cars196": 196,
    "oxford_flowers102": 102,
    "oxford_iiit_pet": 37,
    "uc_merced": 21,
    "colorectal_histology": 8,
    "dtd": 47,
    "mnist": 10,
    "fashion_mnist": 10,
}
# Of sets with one split, the records to draw from.
FIRST = {"uc_merced": 1000, "colorectal_histology": 2000}


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Prepares data sets where tfds looks for them."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return lambda name, **labels: tfds_case.build(tmp_path / "tfds", name, **labels)


@pytest.mark.parametrize("name", FEWSHOT)
def test_each_data_set_of_tfds_is_read_with_its_labels(tmp_path, prepare, name):
    k = CLASSES[name]
    assert not prepared(name)
    if name in FIRST:
        splits = {"train": [7 * i % k for i in range(FIRST[name] + 3)]}
        sizes = [FIRST[name], 3]
    else:
        second = "validation" if name in ("imagenet2012", "places365_small") else "test"
        splits = {"train": [0, k - 1, k // 2, 1, 3], second: [2, k - 1, 0]}
        sizes = [5, 3]
    prepare(name, **splits)
    assert prepared(name)
    called, pool, test = open_fewshot(name, data_dir=tmp_path, cache=tmp_path)
    assert called == name
    for part, n in zip((pool, test), sizes, strict=True):
        assert len(part.ids) == len(part.labels) == part.source.n == n
        assert len(part.classes) == len(set(part.classes)) == k
        assert part.name.startswith(f"{name}/")
        for place in range(min(n, 20)):
            called, encoded = part.source.read(place)
            pixels = np.asarray(decode(encoded)[0]).astype(int)
            assert pixels.shape[2] == 3 and called == part.ids[place]
            assert np.abs(pixels - tfds_case.colour(part.labels[place])).max() <= 2
    labels = np.sort(np.concatenate([pool.labels, test.labels]))
    assert labels.tolist() == sorted(label for part in splits.values() for label in part)
    assert pool.name != test.name and pool.fingerprint != test.fingerprint
    assert "tensorflow" not in sys.modules


def test_one_split_is_drawn_from_and_classified(tmp_path, prepare):
    prepare("mnist", test=[1, 2, 3])
    for where in ("mnist:test", "tfds:mnist:test", "tfds:mnist:3.0.1:test"):
        name, pool, test = open_fewshot(where, data_dir=tmp_path)
        assert name == where.removeprefix("tfds:") and test is None
        assert sorted(pool.labels) == [1, 2, 3]
    # Half of it is there.
    assert not prepared("mnist")


def test_a_set_that_cannot_be_read_without_tensorflow_is_not_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    for split in ("train", "test"):
        (tmp_path / "mnist" / "3.0.1" / f"mnist-{split}.tfrecord-00000-of-00001").touch()
    assert not prepared("mnist")


def test_without_a_word_tfds_data_lie_at_home(tmp_path, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "tensorflow_datasets" / "uc_merced" / "2.0.0"
    folder.mkdir(parents=True)
    assert not prepared("uc_merced")
    (folder / "uc_merced-train.array_record-00000-of-00001").touch()
    assert prepared("uc_merced")


@pytest.mark.parametrize("name", FEWSHOT)
def test_what_is_not_on_disk_is_absent_and_the_command_said(tmp_path, monkeypatch, name):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(Absent, match=f"`tfds build {name} --file_format=array_record`.*TFDS_DATA"):
        open_fewshot(name, data_dir=tmp_path)


def test_an_unknown_name_gets_a_list_of_those_known(tmp_path):
    known = rf"^cifar: .* {tmp_path} or here; .*cifar100, .*fashion_mnist.*path"
    with pytest.raises(Absent, match=known):
        open_fewshot("cifar", data_dir=tmp_path)
    with pytest.raises(InputError, match="names no split"):
        open_fewshot("cifar100:", data_dir=tmp_path)


# --- folders and files ---


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


@pytest.mark.parametrize("second", ["test", "val"])
def test_a_folder_with_two_splits_has_one_list_of_classes(tmp_path, second):
    write(tmp_path / "pets" / "train", "cat/a.png", "dog/b.png", "eel/c.png")
    # Without the class in the middle, the labels are to be those of train/.
    write(tmp_path / "pets" / second, "eel/d.png", "cat/e.png")
    for where in ("pets", str(tmp_path / "pets")):
        name, pool, test = open_fewshot(where, data_dir=tmp_path)
        assert (name, pool.name, test.name) == ("pets", "pets/train", f"pets/{second}")
        assert pool.classes == test.classes == ("cat", "dog", "eel")
        assert pool.labels.tolist() == [0, 1, 2]
        assert dict(zip(test.ids, test.labels, strict=True)) == {"cat/e": 0, "eel/d": 2}
    write(tmp_path / "pets" / second, "fox/f.png")
    with pytest.raises(InputError, match=f"pets/{second}: has pictures of the class 'fox'; .*cat"):
        open_fewshot("pets", data_dir=tmp_path)


def test_a_folder_of_classes_or_a_file_is_one_split(tmp_path):
    write(tmp_path / "pets", "cat/a.png", "dog/b.png")
    name, pool, test = open_fewshot("pets", data_dir=tmp_path)
    assert (name, pool.classes, test) == ("pets", ("cat", "dog"), None)
    write(tmp_path / "half", "train/cat/a.png", "tset/cat/b.png")
    with pytest.raises(
        InputError, match="half: has folders of classes in train and in none of tes"
    ):
        open_fewshot("half", data_dir=tmp_path)
    # Of CIFAR-100's classes one is called so.
    write(tmp_path / "classes", "train/a.png", "tractor/b.png", "test/c.png")
    name, pool, test = open_fewshot("classes", data_dir=tmp_path)
    assert (pool.classes, test) == (("test", "tractor", "train"), None)
    np.savez(tmp_path / "x.npz", labels=[0, 1], images=np.zeros((2, 4, 4), np.uint8))
    name, pool, test = open_fewshot("x.npz", data_dir=tmp_path)
    assert (name, pool.name, test) == ("x", "x", None)


def test_imagenets_test_split_has_no_classes_and_is_passed_over(tmp_path):
    names = (
        "train/cat/a.png",
        "train/dog/b.png",
        "val/cat/c.png",
        "val/dog/d.png",
        "test/ILSVRC2012_test_00000001.png",
    )
    write(tmp_path / "imagenet", *names)
    name, pool, test = open_fewshot("imagenet", data_dir=tmp_path)
    assert (name, pool.name, test.name) == ("imagenet", "imagenet/train", "imagenet/val")
    assert test.ids.tolist() == ["cat/c", "dog/d"]


def test_the_real_sets_are_as_described(shared_data):
    for file, k, n in [("cifar100_test", 100, 100), ("fashion_mnist_900", 10, 90)]:
        name, pool, test = open_fewshot(f"images/{file}.npz", data_dir=shared_data)
        assert (name, test) == (file, None)
        assert np.bincount(pool.labels).tolist() == [n] * k == [n] * len(pool.classes)
        assert pool.ids[:2].tolist() == ["0", "1"]
    picture, remark = decode(pool.source.read(0)[1])
    assert picture.size == (28, 28) and remark == ""
