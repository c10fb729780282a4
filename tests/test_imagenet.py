"""ImageNet and its variants: standard labels, masks and ReaL, with timm's results as an oracle."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from alignet.data import imagenet
from alignet.data.imagenet_facts import ALEXNET_ERRORS, MASKS, WNIDS
from alignet.data.labelled import Labelled
from alignet.errors import Absent, InputError
from tests import tfds_case

tfds = pytest.importorskip("tensorflow_datasets", reason="tfds is not installed")

TENCH, GOLDFISH, SHARK = WNIDS[:3]


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Where tfds looks for what it has prepared: nothing, at first."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


def validation(*ids):
    return Labelled("imagenet/val", np.array(ids), np.arange(len(ids)), WNIDS, None, "")


########################################## Facts ##########################################


def test_classes_are_those_of_ilsvrc_in_order(shared_data):
    lines = (shared_data / "imagenet" / "imagenet_synsets.txt").read_text().split()
    assert list(WNIDS) == lines == sorted(lines)


def test_tfds_numbers_the_classes_of_every_set_as_we_do():
    names = [
        "imagenet2012",
        *(called.rpartition(":")[0] for _, called in imagenet.VARIANTS.values()),
    ]
    assert len(names) == 1 + 4 + 75
    one_of_each = {name.partition("/")[0]: name for name in names}
    for base, name in one_of_each.items():
        assert tuple(tfds.builder(name).info.features["label"].names) == WNIDS
        configs = tfds.builder_cls(base).builder_configs
        wanted = {name.partition("/")[2] for name in names if name.startswith(f"{base}/")}
        assert wanted <= configs.keys()
    assert tuple(tfds.builder("imagenet2012_real").info.features["real_label"].names) == WNIDS


@pytest.mark.parametrize("snapshot", ["2022-01", "2022-07"])
@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_masks_are_those_of_timm(shared_data, snapshot, name):
    folder = shared_data / "timm_results" / snapshot
    indices = (folder / f"{name}_indices.txt").read_text().split()
    wnids = (folder / f"{name}_synsets.txt").read_text().split()
    assert MASKS[name].tolist() == list(map(int, indices))
    assert [WNIDS[label] for label in MASKS[name]] == wnids


# Photographs of each set; those of the clean sets are the validation set's of the same 200 classes,
# and those with ReaL labels are the ones that have any.
SIZES = {
    "results-imagenet": 50_000,
    "results-imagenet-a": 7_500,
    "results-imagenet-a-clean": 50 * len(MASKS["imagenet_a"]),
    "results-imagenet-r": 30_000,
    "results-imagenet-r-clean": 50 * len(MASKS["imagenet_r"]),
    "results-imagenet-real": 46_837,
    "results-sketch": 50_889,
    "results-imagenetv2-matched-frequency": 10_000,
}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_published_accuracies_of_552_models_tell_how_many_photographs_counted(
    shared_data, name, size
):
    with open(shared_data / "timm_results" / "2022-01" / f"{name}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    shares = np.array([[row["top1"], row["top5"]] for row in rows], float).ravel() / 100
    sizes = np.arange(1000, 60_001)
    for share in shares:
        right = share * sizes
        # Percentages were rounded to four decimals and then to three.
        sizes = sizes[np.abs(right - right.round()) <= 0.55e-5 * sizes + 1e-6]
    assert len(rows) == 552 and sizes[0] == size


def test_alexnets_errors_are_shares_of_five_times_the_validation_set():
    errors = np.array([*ALEXNET_ERRORS.values()]) * 250_000
    np.testing.assert_allclose(errors, errors.round(), atol=1e-6)
    # Table 1 of Hendrycks and Dietterich: gaussian noise 89, brightness 57, JPEG 61 percent.
    assert len(errors) == 15 and errors[0] == 221_607


########################################## Sets ##########################################


def test_a_folder_of_some_classes_has_standard_labels(tmp_path, prepared):
    names = [f"{WNIDS[999]}/b.png", f"{SHARK}/c.png", f"{TENCH}/a.png"]
    write(tmp_path / "imagenet" / "train", *names)
    write(tmp_path / "elsewhere" / "val", *names[:2])
    train = imagenet.open_split("train", tmp_path)
    assert (train.name, train.classes, train.source.n) == ("imagenet/train", WNIDS, 3)
    found = dict(zip(train.ids.tolist(), train.labels.tolist(), strict=True))
    assert found == {f"{WNIDS[999]}/b": 999, f"{SHARK}/c": 2, f"{TENCH}/a": 0}
    val = imagenet.open_split("val", tmp_path, tmp_path / "elsewhere")
    assert val.name == "imagenet/val" and sorted(val.labels) == [2, 999]


def test_imagenet_of_tfds_has_standard_labels(tmp_path, prepared):
    tfds_case.build(prepared, "imagenet2012", train=[999, 0, 5], validation=[3, 2])
    for split, labels in (("train", [0, 5, 999]), ("val", [2, 3])):
        found = imagenet.open_split(split, tmp_path, cache=tmp_path)
        assert (found.name, found.classes) == (f"imagenet/{split}", WNIDS)
        assert sorted(found.labels) == labels and found.source.n == len(labels)
        # A folder that was asked for is not replaced.
        with pytest.raises(Absent, match=f"elsewhere/{split}: no such file or folder"):
            imagenet.open_split(split, tmp_path, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "name", ["imagenet_a", "imagenet_r", "imagenet_sketch", "imagenet_v2", "imagenet_c/fog_3"]
)
def test_a_variant_is_a_folder_or_an_archive_or_of_tfds(tmp_path, prepared, name):
    folder, called = imagenet.VARIANTS[name]
    called, _, split = called.partition(":")
    with pytest.raises(Absent, match=f"{folder}: no such folder, .*; tfds:{called}.*`tfds build"):
        imagenet.variant(name, tmp_path)
    tfds_case.build(prepared, called, **{split: [6, 999, 11]})
    found = imagenet.variant(name, tmp_path)
    assert (found.name, found.classes, found.source.n) == (name, WNIDS, 3)
    assert sorted(found.labels) == [6, 11, 999]
    archive = (tmp_path / folder).with_suffix(".npz")
    archive.parent.mkdir(parents=True, exist_ok=True)
    np.savez(archive, ids=np.array([*"ab"]), labels=[1, 0], classes=np.array([TENCH, SHARK]))
    assert imagenet.variant(name, tmp_path).labels.tolist() == [2, 0]
    write(tmp_path / folder, f"{SHARK}/a.png", f"{GOLDFISH}/b.png")
    found = imagenet.variant(name, tmp_path)
    assert (found.name, found.labels.tolist()) == (name, [1, 2])


def test_numbered_classes_are_standard_labels(tmp_path, prepared):
    write(tmp_path / "imagenet_v2", "10/a.png", "2/b.png", "999/c.png")
    found = imagenet.variant("imagenet_v2", tmp_path)
    by_id = dict(zip(found.ids.tolist(), found.labels.tolist(), strict=True))
    assert by_id == {"10/a": 10, "2/b": 2, "999/c": 999}
    np.savez(tmp_path / "imagenet_r.npz", ids=np.array([*"ab"]), labels=[7, 1])
    assert imagenet.variant("imagenet_r", tmp_path).labels.tolist() == [7, 1]


@pytest.mark.parametrize("name", ["n00000001", "1000", "cat"])
def test_a_class_that_is_not_imagenets_is_refused(tmp_path, prepared, name):
    write(tmp_path / "imagenet" / "val", f"{name}/a.png", f"{SHARK}/b.png")
    with pytest.raises(InputError, match=rf"val: the class '{name}' is none of .* 1,000;"):
        imagenet.open_split("val", tmp_path)


def test_a_validation_folder_without_classes_is_refused(tmp_path, prepared):
    write(tmp_path / "imagenet" / "val", "ILSVRC2012_val_00000001.png")
    with pytest.raises(InputError, match="_00000001 has no class; expected it in a folder of"):
        imagenet.open_split("val", tmp_path)


def test_photographs_are_the_validation_set_or_a_sample(tmp_path, prepared):
    with pytest.raises(Absent, match=r"_sample_1000: no such folder; .*imagenet/val: no such"):
        imagenet.photographs(tmp_path)
    names = [f"{SHARK}_shark.png", f"{TENCH}_tench.png"]
    write(tmp_path / "imagenet_photographs", *names)
    found = imagenet.photographs(tmp_path)
    assert (found.name, list(found.classes)) == ("imagenet_photographs", [TENCH, SHARK])
    assert found.ids.tolist() == [f"{TENCH}_tench", f"{SHARK}_shark"]
    write(tmp_path / "imagenet" / "val", f"{SHARK}/a.png", f"{WNIDS[9]}/b.png")
    found = imagenet.photographs(tmp_path)
    assert (found.name, list(found.classes)) == ("imagenet/val", [SHARK, WNIDS[9]])
    assert found.labels.tolist() == [0, 1]
    with pytest.raises(Absent, match="elsewhere/val: no such file or folder"):
        imagenet.photographs(tmp_path, tmp_path / "elsewhere")


########################################## ReaL ##########################################


def write_real(data_dir, lists):
    (data_dir / "imagenet").mkdir(exist_ok=True)
    path = data_dir / "imagenet" / "real.json"
    path.write_text(json.dumps(lists))
    return path


@pytest.fixture
def four(monkeypatch):
    """A validation set of four photographs."""
    monkeypatch.setattr(imagenet, "N_VALIDATION", 4)


def test_photographs_find_their_real_labels_by_number(tmp_path, prepared, four):
    path = write_real(tmp_path, [[0], [], [5], [999, 3]])
    ids = ("n1/ILSVRC2012_val_00000004", "ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000001")
    found = imagenet.real_labels(validation(*ids), tmp_path)
    assert found.valid.tolist() == [[999, 3], [-1, -1], [0, -1]]
    write_real(tmp_path, [[0], [], [], []])
    assert imagenet.real_labels(validation(*ids), tmp_path).fingerprint != found.fingerprint
    assert imagenet.real_labels(validation(ids[1]), tmp_path).valid.shape == (1, 0)
    path.unlink()
    with pytest.raises(Absent, match=r"imagenet/real\.json: no such file; tfds:imagenet2012_real"):
        imagenet.real_labels(validation(*ids), tmp_path)


def test_real_labels_of_tfds(tmp_path, prepared):
    lists = {1: [5], 2: [], 3: [7, 2, 9]}
    builder = tfds.builder("imagenet2012_real", data_dir=prepared, file_format="array_record")
    examples = [
        {
            "image": io.BytesIO(tfds_case.picture((8, 8, 3), 0, "JPEG")),
            "original_label": 0,
            "real_label": labels,
            "file_name": f"ILSVRC2012_val_{number:08}.JPEG",
        }
        for number, labels in lists.items()
    ]
    builder._split_generators = lambda _: {"validation": enumerate(examples)}
    builder.download_and_prepare()
    ids = [f"ILSVRC2012_val_{number:08}.JPEG" for number in (3, 1, 2)]
    found = imagenet.real_labels(validation(*ids), tmp_path)
    assert found.valid.tolist() == [[7, 2, 9], [5, -1, -1], [-1, -1, -1]]


def test_the_published_real_labels(shared_data, prepared):
    ids = [f"ILSVRC2012_val_{number:08}" for number in range(1, 50_001)]
    valid = imagenet.real_labels(validation(*ids), shared_data).valid
    lists = json.loads((shared_data / imagenet.REAL[1]).read_text())
    assert [[label for label in row if label >= 0] for row in valid.tolist()] == lists
    assert (valid.max(axis=1) >= 0).sum() == SIZES["results-imagenet-real"]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[0]] * 3, "is no list of 4 in JSON; expected ReaL labels"),
        ({"0": [1]}, "is no list of 4"),
        ([[0], [], [], [5, 1000]], r"the entry 3 is \[5, 1000\]; expected a list of labels, 0 to"),
        ([[0], [True], [], []], "the entry 1 is "),
        ([0, [], [], []], "the entry 0 is 0"),
        ([[-1], [], [], []], "the entry 0 is "),
    ],
)
def test_malformed_real_labels_are_refused(tmp_path, four, lists, message):
    write_real(tmp_path, lists)
    with pytest.raises(InputError, match=rf"real\.json: {message}"):
        imagenet.real_labels(validation("ILSVRC2012_val_00000001"), tmp_path)


def test_real_labels_are_absent_for_photographs_called_otherwise(tmp_path, prepared):
    with pytest.raises(Absent, match="imagenet/val: holiday does not say which photograph of the"):
        imagenet.real_labels(validation("ILSVRC2012_val_00000001", "holiday"), tmp_path)
