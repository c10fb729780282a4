"""Labelled pictures: archives, folders, tfds and its cache, subsets, and every malformed input."""

import os

import numpy as np
import pytest
from PIL import Image

from alignet.data import labelled as module
from alignet.data.images import decode
from alignet.data.labelled import Labelled, open_labelled, take
from alignet.data.records import open_records
from alignet.errors import Absent, InputError
from tests import tfds_case

GREY = np.random.default_rng(0).integers(0, 256, (4, 6, 8), np.uint8)
LABELS = np.array([2, 0, 2, 1], np.int8)


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


def archive(path, **arrays):
    np.savez(path, **{"labels": LABELS, "images": GREY} | arrays)
    return path


# --- archives ---


def test_grey_pictures_of_an_archive_come_in_rgb(tmp_path):
    found = open_labelled(archive(tmp_path / "set.npz"))
    assert (found.name, found.source.n) == ("set", 4)
    assert found.ids.tolist() == ["0", "1", "2", "3"]
    assert found.labels.tolist() == LABELS.tolist() and found.labels.dtype == np.int64
    assert found.classes == ("0", "1", "2") and found.files == (tmp_path / "set.npz",)
    for place in range(4):
        name, pixels = found.source.read(place)
        picture, remark = decode(pixels)
        assert (name, remark) == (str(place), "")
        for channel in range(3):
            np.testing.assert_array_equal(np.asarray(picture)[..., channel], GREY[place])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_ids_and_classes_of_an_archive_are_kept(tmp_path, save):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), np.uint8)
    arrays = {"ids": np.array([*"dcba"]), "classes": np.array(["x", "y", "z", "never"])}
    save(tmp_path / "set.npz", labels=LABELS, images=pixels, **arrays)
    found = open_labelled(tmp_path / "set.npz", name="set/test")
    assert found.name == "set/test" and found.classes == ("x", "y", "z", "never")
    for place, name in enumerate("dcba"):
        called, read = found.source.read(place)
        assert called == name == found.ids[place]
        np.testing.assert_array_equal(read, pixels[place])


def test_labels_alone_are_for_embeddings_from_elsewhere(tmp_path):
    np.savez(tmp_path / "set.npz", labels=LABELS, ids=np.array([*"dcba"]))
    found = open_labelled(tmp_path / "set.npz")
    assert found.source is None and found.ids.tolist() == [*"dcba"]
    assert take(found, np.array([3, 0])).ids.tolist() == ["a", "d"]


def test_the_fingerprint_of_an_archive_tells_another_label(tmp_path):
    first = open_labelled(archive(tmp_path / "set.npz")).fingerprint
    assert open_labelled(archive(tmp_path / "set.npz")).fingerprint == first
    changed = archive(tmp_path / "set.npz", labels=LABELS[::-1])
    assert open_labelled(changed).fingerprint != first


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS.astype(float)}, r"labels are float64 \[4\] for 4 pictures; .* integer"),
        ({"labels": LABELS[:3]}, r"labels are int8 \[3\] for 4 pictures"),
        ({"labels": LABELS[:, None]}, r"labels are int8 \[4, 1\]"),
        ({"labels": LABELS > 0}, "labels are bool"),
        ({"labels": LABELS.astype(object)}, "plain arrays"),
        ({"labels": LABELS - 1}, r"the label of 1 \(row 1\) is -1; expected 0 to 1"),
        ({"classes": np.array(["x", "y"])}, r"the label of 0 \(row 0\) is 2; expected 0 to 1"),
        ({"labels": np.array([0, 2**63, 1, 1], np.uint64)}, r"\(row 1\) is 9223372036854775808"),
        ({"labels": np.zeros(4, int)}, "has only one class; expected two or more"),
        ({"classes": np.array(["x", "y", "x"])}, "the class 'x' comes twice"),
        ({"classes": np.arange(3)}, r"classes are int64 \[3\]; expected one text each"),
        ({"ids": np.array([*"abca"])}, "the id 'a' comes twice"),
        ({"ids": np.arange(4)}, r"ids are int64 \[4\]; expected one text each"),
        ({"ids": np.array([*"abc"])}, r"ids are <U1 \[3\] for 4 images; expected one text each"),
        ({"ids": np.array("a")}, r"ids are <U1 \[\] for 4 images"),
        ({"images": GREY.astype(float)}, r"images are float64 \[4, 6, 8\]; expected uint8"),
        ({"images": GREY[..., None]}, r"images are uint8 \[4, 6, 8, 1\]"),
        ({"images": GREY[:0], "labels": LABELS[:0]}, r"labels are int8 \[0\] for 0 pictures"),
    ],
)
def test_a_malformed_archive_is_refused(tmp_path, arrays, message):
    path = archive(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=rf"bad\.npz: .*{message}"):
        open_labelled(path)


def test_an_archive_without_labels_or_pictures_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=GREY)
    with pytest.raises(InputError, match=r"a\.npz: has no array labels"):
        open_labelled(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", labels=LABELS)
    with pytest.raises(InputError, match=r"b\.npz: has neither images nor ids"):
        open_labelled(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK no")
    with pytest.raises(InputError, match=r"c\.npz: not a whole"):
        open_labelled(tmp_path / "c.npz")
    with pytest.raises(Absent, match=r"d: no such file or folder; expected a folder of classes"):
        open_labelled(tmp_path / "d")


# --- folders ---


def test_the_first_folder_is_the_class(tmp_path):
    write(tmp_path / "set", "n2/images/x.jpg", "n10/images/a.png", "n2/y.png", "n1/deep/er/z.png")
    (tmp_path / "set" / "empty").mkdir()
    found = open_labelled(tmp_path / "set")
    assert (found.name, found.classes) == ("set", ("n1", "n10", "n2"))
    ids = ["n1/deep/er/z", "n10/images/a", "n2/images/x", "n2/y"]
    assert found.ids.tolist() == ids and found.labels.tolist() == [0, 1, 2, 2]
    assert [found.source.read(place)[0] for place in range(4)] == ids


def test_wordnet_ids_name_the_classes_of_a_flat_folder(tmp_path):
    names = ("n00000002_b.jpg", "n00000001.png", "n00000002_a.png", "n00000003_n00000001.png")
    found = open_labelled(write(tmp_path, *names), name="some")
    assert found.name == "some" and found.classes == ("n00000001", "n00000002", "n00000003")
    assert found.labels.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/x.png", "b/y.png", "n00000001_z.png"], "n00000001_z lies beside the folders of"),
        (["n00000001_x.png", "n000000012_y.png"], "n000000012_y has no class; expected it in a"),
        (["n00000001_x.png", "n0000001_y.png"], "n0000001_y has no class"),
        (["x.png"], "x has no class"),
        (["a/x.png", "a/y.png"], "has only one class"),
        ([], "holds no images"),
    ],
)
def test_a_folder_in_which_a_picture_has_no_class_is_refused(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        open_labelled(write(tmp_path, *names))


# --- subsets ---


def test_a_subset_has_its_own_order_and_fingerprint(tmp_path):
    found = open_labelled(archive(tmp_path / "set.npz"))
    some = take(found, np.array([3, 1]))
    assert some.ids.tolist() == ["3", "1"] and some.labels.tolist() == [1, 0]
    assert some.classes == found.classes and some.source.n == 2
    assert [some.source.read(i)[0] for i in range(2)] == ["3", "1"]
    np.testing.assert_array_equal(some.source.read(0)[1][..., 0], GREY[3])
    other = take(found, np.array([1, 3]))
    sets = (found, some, other)
    assert len({s.fingerprint for s in sets}) == len({s.source.fingerprint for s in sets}) == 3
    # Of a subset, places are in it.
    again = take(some, np.array([1]))
    assert (again.ids.tolist(), again.source.read(0)[0]) == (["1"], "1")


def test_a_subset_may_have_other_classes():
    labels = np.array([0, 1, 2, 1])
    found = Labelled("set", np.array([*"abcd"]), labels, ("x", "y", "z"), None, "")
    some = take(found, np.array([1, 2, 3]), classes=("z", "w", "y"))
    assert some.labels.tolist() == [2, 0, 2] and some.classes == ("z", "w", "y")
    with pytest.raises(InputError, match="set: has pictures of the class 'x'; expected only z, y"):
        take(found, np.array([0, 1]), classes=("z", "y"))


# --- tfds ---


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets", reason="tfds is not installed")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return lambda name, **labels: tfds_case.build(tmp_path / "tfds", name, **labels)


@pytest.fixture
def opened(monkeypatch):
    """How often records were read to get labels."""
    reads = []

    def counting(where, **options):
        records = open_records(where, **options)

        def read(place):
            reads.append(place)
            return records.read(place)

        return records._replace(read=read)

    monkeypatch.setattr(module, "open_records", counting)
    return reads


def test_labels_of_tfds_are_read_once(tmp_path, prepare, opened):
    prepare("oxford_flowers102", train=[5, 0, 101], test=[7, 8])
    first = open_labelled("tfds:oxford_flowers102:train", cache=tmp_path)
    assert len(opened) == 3
    # By the name of the file, which is the example's, and not by tfds's order.
    named = dict(zip(first.ids.tolist(), first.labels.tolist(), strict=True))
    assert named == {"train_0.jpg": 5, "train_1.jpg": 0, "train_2.jpg": 101}
    assert first.name == "oxford_flowers102/train" and first.classes[0] == "pink primrose"
    second = open_labelled("tfds:oxford_flowers102:train", cache=tmp_path, name="flowers")
    assert len(opened) == 3 and second.name == "flowers"
    np.testing.assert_array_equal(second.ids, first.ids)
    np.testing.assert_array_equal(second.labels, first.labels)
    open_labelled("tfds:oxford_flowers102:test", cache=tmp_path)
    part = open_labelled("tfds:oxford_flowers102:train[1:]", cache=tmp_path)
    assert len(opened) == 7 and part.ids.tolist() == first.ids[1:].tolist()
    assert part.fingerprint != first.fingerprint
    open_labelled("tfds:oxford_flowers102:train")
    assert len(opened) == 10
    assert len([*(tmp_path / "labels").iterdir()]) == 3


def test_tfds_may_lie_in_a_folder_that_is_named(tmp_path, prepare):
    tfds_case.build(tmp_path / "elsewhere", "mnist", train=[3, 1, 4])
    found = open_labelled("tfds:mnist:train", data_dir=tmp_path / "elsewhere")
    assert sorted(found.labels) == [1, 3, 4]
    prepare("mnist", train=[5, 9])
    assert sorted(open_labelled("tfds:mnist:train", cache=tmp_path).labels) == [5, 9]
    again = open_labelled("tfds:mnist:train", data_dir=tmp_path / "elsewhere", cache=tmp_path)
    np.testing.assert_array_equal(again.labels, found.labels)


@pytest.mark.parametrize("harm", ["damaged", "of another", "too few", "out of range", "no array"])
def test_labels_kept_that_are_wrong_are_read_again(tmp_path, prepare, opened, harm):
    prepare("mnist", train=[5, 0, 9])
    right = open_labelled("tfds:mnist:train", cache=tmp_path)
    [kept] = (tmp_path / "labels").iterdir()
    with np.load(kept) as file:
        arrays = dict(file)
    if harm == "damaged":
        kept.write_bytes(kept.read_bytes()[:-30])
    elif harm == "of another":
        os.utime(next((tmp_path / "tfds").rglob("*.array_record-*")), ns=(0, 0))
    elif harm == "too few":
        np.savez(kept, **arrays | {"ids": arrays["ids"][:2], "labels": arrays["labels"][:2]})
    elif harm == "out of range":
        np.savez(kept, **arrays | {"labels": arrays["labels"] + 1})
    else:
        np.savez(kept, labels=arrays["labels"])
    opened.clear()
    for _ in range(2):
        found = open_labelled("tfds:mnist:train", cache=tmp_path)
        np.testing.assert_array_equal(found.labels, right.labels)
        np.testing.assert_array_equal(found.ids, right.ids)
    assert len(opened) == 3


def test_of_two_class_labels_the_fine_one_is_taken(prepare):
    prepare("cifar100", test=[99, 3])
    found = open_labelled("tfds:cifar100:test")
    assert sorted(found.labels) == [3, 99] and len(found.classes) == 100
    assert sorted(found.ids) == ["test/0", "test/1"]


def test_a_split_without_labels_is_refused(prepare):
    prepare("mnist", train=[1, -1], test=[0, 1])
    with pytest.raises(InputError, match=r"tfds:mnist:train: the label of .* is -1; .* 0 to 9"):
        open_labelled("tfds:mnist:train")
    with pytest.raises(InputError, match=r"tfds:mnist:test\[2:\]: cannot be opened"):
        open_labelled("tfds:mnist:test[2:]")


def test_a_data_set_without_a_class_label_is_refused(prepare):
    prepare("imagenet2012_real", validation=[1, 2])
    with pytest.raises(InputError, match="validation: has no class label called `label`"):
        open_labelled("tfds:imagenet2012_real:validation")


def test_long_splits_show_how_far_they_are(monkeypatch, capsys, prepare):
    prepare("mnist", train=[1, 2, 3])
    capsys.readouterr()
    open_labelled("tfds:mnist:train")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(module, "MANY", 3)
    open_labelled("tfds:mnist:train")
    assert "labels of tfds:mnist:train: 3/3" in capsys.readouterr().err
