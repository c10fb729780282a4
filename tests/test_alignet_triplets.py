"""AligNet datasets on disk: ours, the released ones, and what is none."""

import tracemalloc
import zipfile

import numpy as np
import pytest

from alignet import sampling
from alignet.data import alignet_triplets
from alignet.data.alignet_triplets import (
    AligNetTriplets,
    load_triplets,
    save_triplets,
    write_triplets,
)
from alignet.errors import InputError

N, TRIPLETS = 30, 500
IDS = np.array([f"n{i % 7:08}_{i}.JPEG" for i in range(N)])


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    monkeypatch.setattr(alignet_triplets, "ROWS", 64)


@pytest.fixture(scope="module")
def answers():
    z = np.random.default_rng(3).normal(size=(N, 5)).astype(np.float32)
    drawn = sampling.draw("random", np.arange(N), TRIPLETS, seed=0)
    return sampling.soft_answers(z, drawn.train)


@pytest.fixture
def arrays(answers):
    """The three arrays, for the test to change."""
    similarities, indices = answers
    return {
        "filenames": IDS[indices],
        "similarities": similarities.copy(),
        "indices": indices.astype(np.int64),
    }


def same(found, arrays):
    for one, other, dtype in zip(found, arrays.values(), ("U", "f4", "i8"), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype.kind == dtype or one.dtype == np.dtype(dtype)


@pytest.mark.parametrize("rows", [64, 7, 1000])
def test_what_is_written_in_blocks_is_what_numpy_writes(
    arrays, answers, tmp_path, monkeypatch, rows
):
    monkeypatch.setattr(alignet_triplets, "ROWS", rows)
    write_triplets(tmp_path / "blocks.npz", IDS, *answers)
    save_triplets(tmp_path / "whole.npz", AligNetTriplets(**arrays))
    assert (tmp_path / "blocks.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert len([*tmp_path.iterdir()]) == 2
    same(load_triplets(tmp_path / "blocks.npz", n_images=N), arrays)


def test_a_write_that_fails_leaves_nothing(answers, tmp_path):
    with pytest.raises(IndexError):
        write_triplets(tmp_path / "t.npz", IDS[:5], *answers)
    assert not [*tmp_path.iterdir()]


def test_what_is_not_compressed_stays_on_disk(arrays, tmp_path):
    np.savez(tmp_path / "t.npz", **arrays)
    found = load_triplets(tmp_path / "t.npz", ids=IDS)
    assert all(isinstance(array, np.memmap) for array in found)
    same(found, arrays)
    some = load_triplets(tmp_path / "t.npz", ids=IDS, filenames=False)
    assert some.filenames is None
    np.testing.assert_array_equal(some.indices, arrays["indices"])


def columns_first(array):
    return np.asfortranarray(array)


RELEASED = {
    "compressed": {},
    "bytes": {"filenames": lambda a: a.astype("S")},
    "other types": {
        "similarities": lambda a: a.astype(np.float64),
        "indices": lambda a: a.astype(np.int32),
    },
    "half": {"similarities": lambda a: a.astype(np.float16)},
    "big-endian": {
        "filenames": lambda a: a.astype(a.dtype.newbyteorder(">")),
        "similarities": lambda a: a.astype(">f8"),
        "indices": lambda a: a.astype(">u4"),
    },
    "columns first": dict.fromkeys(AligNetTriplets._fields, columns_first),
    "wider": {"filenames": lambda a: a.astype("U60")},
}


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
@pytest.mark.parametrize("layout", RELEASED)
def test_released_layouts(arrays, tmp_path, layout, save):
    changed = {name: RELEASED[layout].get(name, np.array)(a) for name, a in arrays.items()}
    save(tmp_path / "t.npz", **changed)
    expected = arrays | {"similarities": changed["similarities"].astype(np.float32)}
    same(load_triplets(tmp_path / "t.npz", ids=IDS), expected)
    assert load_triplets(tmp_path / "t.npz", n_images=N, filenames=False).filenames is None


@pytest.mark.parametrize(
    "ids",
    [
        IDS,
        [name.removesuffix(".JPEG") for name in IDS],
        [f"{name[:9]}/{name.removesuffix('.JPEG')}" for name in IDS],
        [f"train/{name}" for name in IDS],
        [*IDS, "another"],
    ],
)
def test_folders_and_suffixes_of_the_image_set_do_not_count(arrays, tmp_path, ids):
    np.savez(tmp_path / "t.npz", **arrays)
    same(load_triplets(tmp_path / "t.npz", ids=ids), arrays)


def test_images_in_another_order_are_refused(arrays, tmp_path):
    np.savez(tmp_path / "t.npz", **arrays)
    moved = IDS.copy()
    moved[[4, 9]] = moved[[9, 4]]
    message = (
        r"t\.npz: 2 of 30 images are others in the image set, the first image 4, "
        r"n00000004_4\.JPEG, there n00000002_9\.JPEG, and 0 are not in it; expected"
    )
    with pytest.raises(InputError, match=message):
        load_triplets(tmp_path / "t.npz", ids=moved)


def test_images_that_are_not_in_the_image_set_are_counted(arrays, tmp_path):
    np.savez(tmp_path / "t.npz", **arrays)
    ids = IDS.copy()
    ids[[5, 20, 21]] = "cat", "dog", "n00000005_5.JPEG"
    message = (
        r"3 of 30 .* first image 5, n00000005_5\.JPEG, there cat, and 2 are not in it, "
        r"the first n00000006_20\.JPEG; expected"
    )
    with pytest.raises(InputError, match=message):
        load_triplets(tmp_path / "t.npz", ids=ids)
    with pytest.raises(InputError, match=r"row \d+: image indices .*29.*from 0 to 29 - 1"):
        load_triplets(tmp_path / "t.npz", ids=IDS[:29])


def test_a_folder_counts_where_both_have_one(arrays, tmp_path):
    ids = np.array([f"class{i % 3}/{i // 3}" for i in range(N)])
    np.savez(tmp_path / "t.npz", **arrays | {"filenames": ids[arrays["indices"]]})
    assert load_triplets(tmp_path / "t.npz", ids=[f"pool/{name}.png" for name in ids])
    for other in (np.roll(ids, 1), [f"{name[-1]}.png" for name in np.roll(ids, 3)]):
        with pytest.raises(InputError, match=r"30 of 30 images .*, and 0 are not in it; expected"):
            load_triplets(tmp_path / "t.npz", ids=other)


def test_images_that_no_triplet_has_do_not_count(arrays, tmp_path):
    rows = (arrays["indices"] != 7).all(axis=1)
    np.savez(tmp_path / "t.npz", **{name: array[rows] for name, array in arrays.items()})
    ids = IDS.copy()
    ids[7] = "another"
    assert len(load_triplets(tmp_path / "t.npz", ids=ids).indices) == rows.sum()


def test_compressed_filenames_are_never_all_in_memory(arrays, tmp_path):
    many = {name: np.tile(array, (40, 1)) for name, array in arrays.items()}
    many["filenames"] = many["filenames"].astype("U100")
    np.savez_compressed(tmp_path / "t.npz", **many)
    others = many["similarities"].nbytes + many["indices"].nbytes
    tracemalloc.start()
    try:
        load_triplets(tmp_path / "t.npz", ids=IDS, filenames=False)
        assert tracemalloc.get_traced_memory()[1] < others + 2e6 < many["filenames"].nbytes / 8
    finally:
        tracemalloc.stop()


def _swap(a):
    a["similarities"] = a["similarities"][:, ::-1]


def _rotate(a):
    a["similarities"] = a["similarities"][:, [1, 2, 0]]


def _third_of_rows_with_the_second_pair_first(a):
    a["similarities"][::3] = a["similarities"][::3, [1, 0, 2]]


def _set(name, value, place=(4, 1)):
    return lambda a: a[name].__setitem__(place, value)


def _cast(name, dtype):
    return lambda a: a.update({name: a[name].astype(dtype)})


def _call_one_image_as_another(a):
    a["filenames"][a["indices"] == 3] = "n00000005_5.JPEG"


def _call_all(name):
    return lambda a: a["filenames"][a["indices"] == 3].fill(name)


def _leave_unnamed(a):
    a["filenames"][a["indices"] == 3] = ""


BAD = {
    "reversed": (
        _swap,
        r"first pair is the most similar one in 0\.00%.*last .* in 0\.00%; expected",
    ),
    "s12 first": (_rotate, r"first pair is the most similar one in 0\.00%"),
    "s02 first": (
        _third_of_rows_with_the_second_pair_first,
        r"in 66\.60% of the rows and the last the least similar one in 100\.00%; expected",
    ),
    "index too large": (_set("indices", N), r"row 5: image indices \[.*30.*\]; expected"),
    "index below 0": (_set("indices", -1), "row 5: image indices"),
    "index far away": (_set("indices", -1, (400, 0)), "row 401: image indices"),
    "image twice": (
        lambda a: a["indices"].__setitem__((4, 1), a["indices"][4, 0]),
        "row 5: image indices",
    ),
    "nan": (_set("similarities", np.nan), "row 5: a similarity is not finite; expected"),
    "infinite": (_set("similarities", -np.inf, (300, 2)), "row 301: a similarity is not finite"),
    "no filenames": (lambda a: a.pop("filenames"), "no array filenames; expected"),
    "no similarities": (lambda a: a.pop("similarities"), "no array similarities.*expected"),
    "no indices": (lambda a: a.pop("indices"), "no array indices.*expected"),
    "fewer names": (
        lambda a: a.update(filenames=a["filenames"][:-1]),
        r"filenames has shape \(499, 3\).*expected",
    ),
    "pairs": (lambda a: a.update(indices=a["indices"][:, :2]), "indices has shape.*expected"),
    "scalar": (lambda a: a.update(indices=np.array(3)), "has shape.*expected"),
    "a name": (lambda a: a.update(filenames=np.array("a")), r"filenames has shape \(\).*expected"),
    "empty": (lambda a: a.update({n: v[:0] for n, v in a.items()}), "has shape.*expected"),
    "float indices": (_cast("indices", float), "indices has shape.*type float64; expected"),
    "pickled names": (_cast("filenames", object), "plain arrays; expected"),
    "pickled numbers": (_cast("similarities", object), "plain arrays .*; expected"),
    "whole numbers": (_cast("similarities", int), "similarities has shape.*type int64; expected"),
    "numbers as names": (
        lambda a: a.update(filenames=a["indices"]),
        "filenames has shape .* type int64; expected .* rows of text",
    ),
    "two names": (
        _set("filenames", "x.JPEG"),
        r"row \d+: image \d+ is called '.*', and '.*' elsewhere; expected every image to have one",
    ),
    "one name for two": (
        _call_one_image_as_another,
        "1 names are of more than one image, the first 'n00000005_5.JPEG' of 3 and 5; expected",
    ),
    "no name": (_leave_unnamed, r"row \d+: image 3 is called '', and '' elsewhere; expected every"),
    "long names": (_cast("filenames", "U1001"), "no more than 1000 characters"),
    "other letters": (
        lambda a: a.update(filenames=np.full((TRIPLETS, 3), b"\xff")),
        "plain arrays; expected",
    ),
}


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named(arrays, tmp_path, name, save):
    change, message = BAD[name]
    change(arrays)
    save(tmp_path / "t.npz", **arrays)
    with pytest.raises(InputError, match=rf"t\.npz.*{message}"):
        load_triplets(tmp_path / "t.npz", n_images=N)


def test_an_index_beyond_all_image_sets_is_refused(arrays, tmp_path):
    arrays["indices"][4, 1] = 10**15
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(InputError, match=r"row 5: .*from 0 to 100,000,000 - 1"):
        load_triplets(tmp_path / "t.npz")


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
@pytest.mark.parametrize("length", [0, 3, 100, -200, -10])
def test_a_cut_file_is_named(arrays, tmp_path, length, save):
    path = tmp_path / "t.npz"
    save(path, **arrays)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"t\.npz: .*expected an AligNet dataset"):
        load_triplets(path)
    with pytest.raises(InputError, match=r"other\.npz: no such file; expected an AligNet dataset"):
        load_triplets(tmp_path / "other.npz")


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
@pytest.mark.parametrize("member", AligNetTriplets._fields)
def test_a_changed_byte_is_noticed(arrays, tmp_path, member, save):
    path = tmp_path / "t.npz"
    save(path, **arrays)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{member}.npy")
    damaged = bytearray(path.read_bytes())
    damaged[info.header_offset + info.compress_size // 2] ^= 64
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"t\.npz: not a whole .*; expected an AligNet dataset"):
        load_triplets(path, filenames=False)


@pytest.mark.parametrize("rows", [TRIPLETS - 1, TRIPLETS + 1])
def test_a_header_that_does_not_fit_what_follows_is_refused(arrays, tmp_path, rows):
    path = tmp_path / "t.npz"
    arrays["similarities"], arrays["indices"] = (
        np.resize(arrays[name], (rows, 3)) for name in ("similarities", "indices")
    )
    np.savez(path, **arrays)
    content = path.read_bytes().replace(b"(500, 3)", f"({rows}, 3)".encode())
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    assert content != path.read_bytes()
    members["filenames.npy"] = members["filenames.npy"].replace(b"(500, 3)", b"(%d, 3)" % rows)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match=r"t\.npz: not a whole .*; expected an AligNet dataset"):
        load_triplets(path, filenames=False)


def test_a_few_rows_may_be_rounded(tmp_path):
    n = 2000
    found = AligNetTriplets(
        np.tile(["a.jpg", "b.jpg", "c.jpg"], (n, 1)),
        np.tile(np.float32([0.9, 0.5, 0.1]), (n, 1)),
        np.tile([0, 1, 2], (n, 1)),
    )
    found.similarities[0] = [0.5, 0.50001, 0.1]
    save_triplets(tmp_path / "t.npz", found)
    assert len(load_triplets(tmp_path / "t.npz").indices) == n
    found.similarities[:3] = [0.5, 0.50001, 0.1]
    save_triplets(tmp_path / "t.npz", found)
    with pytest.raises(InputError, match=r"in 99\.85%"):
        load_triplets(tmp_path / "t.npz")
