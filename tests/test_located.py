"""The images of an AligNet dataset, found among those that one has."""

import numpy as np
import pytest
from PIL import Image

from alignet.data.alignet_triplets import AligNetTriplets, save_triplets
from alignet.data.images import open_source
from alignet.data.located import load_located
from alignet.errors import InputError

NAMES = np.array([f"n{i % 3:02}_{i}" for i in range(9)])
RNG = np.random.default_rng(0)
INDICES = np.array([RNG.permutation(9)[:3] for _ in range(40)])
SIMILARITIES = -np.sort(-RNG.normal(size=(40, 3)).astype(np.float32), axis=1)


def write(path, names=NAMES, indices=INDICES):
    save_triplets(path, AligNetTriplets(names[indices], SIMILARITIES[: len(indices)], indices))
    return path


def write_folder(folder, names, *, by_class=True):
    for name in names:
        path = folder / name.partition("_")[0] / f"{name}.png" if by_class else folder / name
        path = path.with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (int(name.partition("_")[2]), 0, 0)).save(path)
    return folder


def located(path, folder, **options):
    return load_located(path, open_source(folder), images=str(folder), **options)


def names_of(triplets, folder):
    source = open_source(folder)
    return [
        [source.read(i)[0].rpartition("/")[2] for i in row] for row in triplets.indices.tolist()
    ]


@pytest.mark.parametrize("suffix", ["", ".JPEG"])
@pytest.mark.parametrize("by_class", [True, False])
def test_pictures_in_another_order_are_found_by_name(tmp_path, suffix, by_class):
    names = np.array([f"{name}{suffix}" for name in NAMES])
    folder = write_folder(tmp_path / "pictures", NAMES[::-1], by_class=by_class)
    found = located(write(tmp_path / "t.npz", names), folder)
    assert names_of(found, folder) == NAMES[INDICES].tolist()
    np.testing.assert_array_equal(found.similarities, SIMILARITIES)


def test_missing_pictures_are_counted_and_up_to_a_share_left_out(tmp_path, capsys):
    folder = write_folder(tmp_path / "pictures", np.delete(NAMES, [2, 6]))
    path = write(tmp_path / "t.npz")
    with pytest.raises(InputError, match=r"2 of its 9 images \(22.22%\) are not in .*n02_2, n00_6"):
        located(path, folder, max_missing=0.2)
    found = located(path, folder, max_missing=0.25)
    whole = ~np.isin(INDICES, [2, 6]).any(axis=1)
    assert names_of(found, folder) == NAMES[INDICES[whole]].tolist()
    np.testing.assert_array_equal(found.similarities, SIMILARITIES[whole])
    said = capsys.readouterr().out
    assert f"{40 - whole.sum()} of 40 triplets are left out" in said and "n02_2, n00_6" in said


def test_triplets_of_none_of_the_pictures_are_refused(tmp_path):
    folder = write_folder(tmp_path / "pictures", np.array(["x_1", "x_2"]))
    with pytest.raises(InputError, match=r"9 of its 9 images .*expected no more than max_missing"):
        located(write(tmp_path / "t.npz"), folder)
    with pytest.raises(InputError, match="none of its triplets has all three images"):
        located(tmp_path / "t.npz", folder, max_missing=1.0)


def test_two_pictures_of_one_file_name_are_no_answer(tmp_path):
    folder = write_folder(tmp_path / "pictures", NAMES)
    write_folder(folder / "again", NAMES[4:5], by_class=False)
    with pytest.raises(InputError, match=r"again/n01_4 and n01/n01_4 may both be .* n01_4"):
        located(write(tmp_path / "t.npz"), folder)
    # A name with its folder is plain enough.
    names = np.array([f"{name[:3]}/{name}" for name in NAMES])
    assert len(located(write(tmp_path / "u.npz", names), folder).indices) == 40


CLASSES = np.array(["cat/0000", "cat/0001", "cat/0002", "dog/0000", "dog/0001", "dog/0002"])


def write_classes(tmp_path, names):
    """A folder of all CLASSES but the last, and triplets of pictures with these names."""
    for name in CLASSES[:5]:
        path = tmp_path / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    indices = np.array([[0, 1, 2], [3, 4, 5], [0, 3, 4]])
    return write(tmp_path / "t.npz", names, indices), tmp_path / "pictures"


@pytest.mark.parametrize("called", ["{}", "{}.JPEG", "train/{}", "/data/train/{}.JPEG"])
def test_a_picture_of_another_folder_is_another_picture(tmp_path, called):
    path, folder = write_classes(tmp_path, np.array([called.format(name) for name in CLASSES]))
    with pytest.raises(InputError, match=r"1 of its 6 images .* are not in .*dog/0002"):
        located(path, folder)
    found = located(path, folder, max_missing=0.2)
    np.testing.assert_array_equal(found.indices, [[0, 1, 2], [0, 3, 4]])


def test_a_picture_in_more_folders_than_its_name_says_is_found(tmp_path):
    path, folder = write_classes(tmp_path, CLASSES)
    (folder.parent / "root").mkdir()
    folder.rename(folder.parent / "root" / "train")
    found = located(path, folder.parent / "root", max_missing=0.2)
    np.testing.assert_array_equal(found.indices, [[0, 1, 2], [0, 3, 4]])


def test_two_names_of_one_picture_are_refused(tmp_path):
    path, folder = write_classes(tmp_path, np.array([*CLASSES[:5], "0002"]))
    with pytest.raises(InputError, match=r"cat/0002 may be the triplets' cat/0002 and 0002; exp"):
        located(path, folder, max_missing=0.2)


def test_records_of_a_tfds_dataset_are_compared_by_folder_too(tmp_path):
    path, folder = write_classes(tmp_path, np.array([*CLASSES[:4], "cat/0009", "cat/0008"]))
    source = open_source(folder)
    source = source._replace(n=6, read=lambda place: (f"{CLASSES[place]}.JPEG", None))
    with pytest.raises(InputError, match=r"image 4 is cat/0009, and record 4 of .* is dog/0001"):
        load_located(path, source, images="tfds:pets:train")
    path, _ = write_classes(tmp_path, np.array([*CLASSES[:5], "cat/0002.JPEG"]))
    with pytest.raises(InputError, match=r"image 5 is cat/0002.JPEG, and record 5 of .* dog/0002"):
        load_located(path, source, images="tfds:pets:train")


def test_a_tfds_dataset_is_taken_in_its_own_order(tmp_path):
    source = open_source(write_folder(tmp_path / "pictures", NAMES))
    order = [source.read(i)[0].rpartition("/")[2] for i in range(9)]
    path = write(tmp_path / "t.npz", np.array([f"{name}.JPEG" for name in order]))
    found = load_located(path, source, images="tfds:imagenet2012:train")
    np.testing.assert_array_equal(found.indices, INDICES)
    wrong = write(tmp_path / "u.npz", np.array([f"{name}.JPEG" for name in order[::-1]]))
    with pytest.raises(InputError, match=r"image 0 is .* and record 0 of .* in its order"):
        load_located(wrong, source, images="tfds:imagenet2012:train")
    few = open_source(write_folder(tmp_path / "few", NAMES[:5]))
    with pytest.raises(InputError, match="three different ones from 0 to 5 - 1"):
        load_located(path, few, images="tfds:imagenet2012:train")
