"""Human choices: every way to get the file wrong ends in one sentence; names are in RAW order."""

import pickle

import numpy as np
import pytest

from alignet.data.human import load_triplets, object_ids, odd_last
from alignet.errors import InputError


def test_text_and_npy_give_the_same_triplets(tmp_path):
    rows = np.array([[0, 1, 2], [3, 1, 0], [2, 3, 1]])
    (tmp_path / "t.txt").write_text("0 1 2\n3\t1  0\n\n2 3 1")
    np.save(tmp_path / "t.npy", rows.astype(np.int32))
    for name in ("t.txt", "t.npy"):
        found = load_triplets(tmp_path / name, n_objects=4)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, rows)


def test_the_odd_one_out_goes_last_and_the_others_stay_in_order():
    triplets = np.array([[7, 3, 5]] * 3, np.int32)
    ordered = odd_last(triplets, np.array([0, 1, 2]))
    assert ordered.tolist() == [[7, 3, 5], [7, 5, 3], [3, 5, 7]] and ordered.dtype == np.int32


@pytest.mark.parametrize(
    ("text", "row", "expectation"),
    [
        (b"0 1 2\n0 1 4\n", 2, "expected indices from 0 to 3 for 4 objects"),
        (b"0 1 2\n0 -1 2\n", 2, "expected 0-based object indices"),
        (b"0 1 2\n1 2 3\n3 1 3\n", 3, "expected three different objects"),
        (b"0 1 2\n0 1\n", 2, "expected three whole numbers"),
        (b"0 1\n0 1\n", 1, "expected three whole numbers"),
        (b"0 1 2 3\n", 1, "expected three whole numbers"),
        (b"0 1 2\n0 1 2.0\n", 2, "expected three whole numbers"),
        (b"0 1 2\n0 1 2.5\n", 2, "expected three whole numbers"),
        (b"0 1 2\n0 1 nan\n", 2, "expected three whole numbers"),
        (b"0,1,2\n", 1, "expected three whole numbers"),
        (b"i j k\n0 1 2\n", 1, "expected three whole numbers"),
        (b"# choices\n0 1 2\n", 1, "expected three whole numbers"),
        (b"0 1 2\ncat dog bee\n", 2, "expected three whole numbers"),
        (b"\x00\xff\xfe\x80\n\x93NUMPY\n", 1, "expected three whole numbers"),
        ("0 1 ２\n".encode(), 1, "expected three whole numbers"),
        (b"0 1 99999999999999999999\n", None, "at most 64 bits"),
        (b"", None, "the file is empty"),
        (b" \n\n\t\n", None, "the file is empty"),
    ],
)
def test_bad_text(tmp_path, text, row, expectation):
    path = tmp_path / "t.txt"
    path.write_bytes(text)
    with pytest.raises(InputError) as caught:
        load_triplets(path, n_objects=4)
    message = str(caught.value)
    assert str(path) in message and expectation in message
    assert row is None or f", row {row}:" in message


def _npy(array):
    return lambda path: np.save(path, array)


def _truncated(path):
    np.save(path, np.tile([[0, 1, 2]], (50, 1)))
    path.write_bytes(path.read_bytes()[:-100])


def _objects(path):
    np.save(path, np.array([[0, 1, 2]], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("write", "expectation"),
    [
        (_objects, "pickles are never loaded"),
        (lambda path: path.write_bytes(pickle.dumps([[0, 1, 2]])), "not a plain NumPy array"),
        (_truncated, "not a plain NumPy array"),
        (lambda path: path.write_bytes(b""), "not a plain NumPy array"),
        (lambda path: path.write_bytes(bytes(range(256))), "not a plain NumPy array"),
        # Begins like an .npz.
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(60)), "not a plain NumPy array"),
        (_npy(np.array([[0.0, 1.0, 2.0]])), "expected integers"),
        (_npy(np.array([[True, False, True]])), "expected integers"),
        (_npy(np.array([["0", "1", "2"]])), "expected integers"),
        (_npy(np.array([0, 1, 2])), "expected integers of shape [n, 3]"),
        (_npy(np.array([[0, 1, 2, 3]])), "has 4 columns; expected 3"),
        (_npy(np.zeros((0, 3), int)), "the file is empty"),
        (_npy(np.array([[0, 1, 2], [0, 1, 4]])), "row 2: [0, 1, 4] is out of range"),
        (_npy(np.array([[0, 1, 2], [0, 1, 2**64 - 1]], np.uint64)), "row 2"),
        (_npy(np.array([[0, 1, 1]])), "row 1: [0, 1, 1] repeats an object"),
    ],
)
def test_bad_npy(tmp_path, write, expectation):
    path = tmp_path / "t.npy"
    write(path)
    with pytest.raises(InputError) as caught:
        load_triplets(path, n_objects=4)
    assert str(path) in str(caught.value) and expectation in str(caught.value)


def test_a_missing_file_says_where_it_comes_from(tmp_path):
    with pytest.raises(InputError, match=r"triplets\.txt: no such file.*OSF"):
        load_triplets(tmp_path / "triplets.txt")


@pytest.fixture
def things(tmp_path):
    folder = tmp_path / "things"
    folder.mkdir()
    return folder


def test_names_come_in_the_order_of_the_triplets(tmp_path, things):
    raw = ["dog", "ant", "eel", "bee", "cat"]
    sortindex = np.argsort(raw)
    (things / "unique_id.txt").write_text("\n".join(np.array(raw)[sortindex]) + "\n")
    (things / "sortindex").write_text("\n".join(map(str, sortindex)) + "\n")
    assert list(object_ids(tmp_path)) == raw


def test_names_of_a_toy_world_and_of_a_folder_without_names(tmp_path, things):
    assert object_ids(tmp_path) is None
    np.savez(things / "images.npz", ids=np.array(["b", "a"]), pixels=np.zeros(2))
    assert list(object_ids(tmp_path)) == ["b", "a"]


@pytest.mark.parametrize(
    "sortindex", ["0\n1\n", "0\n1\n1\n", "1\n2\n3\n", "0\nx\n2\n", "0\n.5\n2\n"]
)
def test_a_wrong_sortindex_is_named(tmp_path, things, sortindex):
    (things / "unique_id.txt").write_text("a\nb\nc\n")
    (things / "sortindex").write_text(sortindex)
    with pytest.raises(InputError, match="sortindex: expected"):
        object_ids(tmp_path)


def test_names_that_are_no_text_are_named(tmp_path, things):
    (things / "unique_id.txt").write_bytes(b"\xff\xfe\x00a\n")
    (things / "sortindex").write_text("0\n")
    with pytest.raises(InputError, match=r"unique_id\.txt"):
        object_ids(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "no ids", "objects", "npy"])
def test_damaged_images_are_named(tmp_path, things, damage):
    path = things / "images.npz"
    np.savez(path, ids=np.array(["a", "b"]), pixels=np.zeros((2, 4)))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "garbage":
        path.write_bytes(b"\x00garbage" * 20)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no ids":
        np.savez(path, pixels=np.zeros((2, 4)))
    elif damage == "objects":
        np.savez(path, ids=np.array(["a", "b"], object))
    else:
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    with pytest.raises(InputError, match=r"images\.npz.*expected"):
        object_ids(tmp_path)
