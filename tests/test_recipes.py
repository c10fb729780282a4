"""The recipes of AligNet at scale, run small through main.py as a user would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from alignet import students, transform
from alignet.data.alignet_triplets import load_triplets
from alignet.data.embeddings import load_embeddings
from alignet.data.labelled import open_labelled, take
from alignet.errors import InputError
from alignet.recipes import alignet_dataset, distillation, ud
from alignet.runtime import processes
from alignet.students import zoo
from evals.recipes import distillation as with_evals
from tests import command_case, recipes_case, tfds_case
from tests.recipes_case import dataset, training

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return recipes_case.write(tmp_path_factory.mktemp("made"))


def run(config, workdir):
    distillation.run(config, workdir, make_evaluate=with_evals.scorer)


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").open()]


# --- the dataset ---


def test_the_dataset_is_the_teachers_answers_at_the_boundaries_of_clusters(made):
    folder = made / "dataset" / "ud"
    ids, z = load_embeddings(folder / "embeddings.npz")
    clusters = np.load(folder / "clusters.npz")["labels"]
    for name, n in (("alignet_train", 60), ("alignet_valid", 10)):
        path = folder / "cluster-boundary" / f"{name}.npz"
        assert path.with_name(f"{name}.npz.manifest.json").is_file()
        found = load_triplets(path, ids=ids)
        assert len(found.indices) == n
        i, j, k = np.moveaxis(z[found.indices], 1, 0)
        s = np.stack([(i * j).sum(-1), (i * k).sum(-1), (j * k).sum(-1)], axis=-1)
        np.testing.assert_allclose(found.similarities, s, rtol=1e-5)
        of = np.sort(clusters[found.indices], axis=1)
        assert all(len({*row}) == 2 for row in of.tolist())


def test_variants_lie_in_folders_of_their_own(made):
    random = {"transform": "untransformed", "sampling.scheme": "random"}
    classes = {"sampling.scheme": "class-boundary", "sampling.n_validation": 0}
    for changes in (random, classes):
        alignet_dataset.run(dataset(made, **changes), made / "dataset")
    scaled = load_embeddings(made / "dataset" / "untransformed" / "embeddings.npz").matrix
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-5)
    found = load_triplets(made / "dataset/untransformed/random/alignet_train.npz")
    assert len(found.indices) == 60
    folder = made / "dataset" / "ud" / "class-boundary"
    of = [
        [name.partition("/")[0] for name in row]
        for row in load_triplets(folder / "alignet_train.npz").filenames.tolist()
    ]
    assert all(len({*row}) == 2 for row in of)
    assert not (folder / "alignet_valid.npz").exists()


def test_ud_is_fitted_where_none_is_given(made, tmp_path):
    """VICE and UD on the small world of the evals' tests, with photographs of its objects."""
    data = command_case.write_data(tmp_path / "data")
    names = recipes_case.write_photographs(data)
    changes = recipes_case.PEOPLE | {"ud_file": "", "people.data_dir": str(data)}
    alignet_dataset.run(dataset(made, **changes), tmp_path / "out")
    objects = load_embeddings(tmp_path / "out" / "human" / "objects.npz")
    assert sorted(objects.ids.tolist()) == sorted(names.tolist())
    fitted = transform.load_transform(tmp_path / "out" / "human" / "ud.npz")
    assert fitted.W.shape == (32, 32)
    (data / "things" / "images" / names[3] / f"{names[3]}_01b.png").unlink()
    with pytest.raises(InputError, match=f"no photograph of 1 of the 12 objects.*{names[3]}"):
        alignet_dataset.run(dataset(made, **changes), tmp_path / "again")
    assert not (tmp_path / "again" / "mu16_pictures.npz").exists()


def classes_of(folder, classes):
    """The classes that each of the training triplets is of."""
    names = load_triplets(folder / "alignet_train.npz").filenames
    return [{classes[name] for name in row} for row in names.tolist()]


def test_changed_classes_are_seen(made, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"ids": np.array([f"{i:02}" for i in range(12)])}
    arrays["pixels"] = rng.integers(0, 256, (12, 16, 16, 3), np.uint8)
    changes = {"images": str(tmp_path / "set.npz"), "sampling.scheme": "class-boundary"}
    for labels in (np.arange(12) % 3, np.arange(12) // 4):
        np.savez(tmp_path / "set.npz", labels=labels, **arrays)
        alignet_dataset.run(dataset(made, **changes), tmp_path / "out")
        classes = dict(zip(arrays["ids"].tolist(), labels.tolist(), strict=True))
        found = classes_of(tmp_path / "out" / "ud" / "class-boundary", classes)
        assert all(len(row) == 2 for row in found)


def test_classes_in_another_order_are_refused(made, tmp_path, monkeypatch):
    def turned(*args, **options):
        found = open_labelled(*args, **options)
        return take(found, np.arange(len(found.ids))[::-1])

    monkeypatch.setattr(alignet_dataset, "open_labelled", turned)
    config = dataset(made, **{"sampling.scheme": "class-boundary"})
    message = r"class of class3/23 in row 0 and .* has class0/00 there; expected the same pic"
    with pytest.raises(InputError, match=message):
        alignet_dataset.run(config, tmp_path / "out")


def test_classes_of_tfds_come_from_the_folder_named(made, tmp_path, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    labels = [i % 3 for i in range(12)]
    tfds_case.build(tmp_path / "tfds", "imagenet2012", train=labels, validation=[0])
    changes = {"images": "imagenet2012", "data_dir": str(tmp_path / "tfds")}
    changes |= {"sampling.scheme": "within-class", "sampling.n_validation": 0}
    config = dataset(made, **changes)
    alignet_dataset.run(config, tmp_path / "out")
    classes = {f"train_{i}.jpg": label for i, label in enumerate(labels)}
    found = classes_of(tmp_path / "out" / "ud" / "within-class", classes)
    assert all(len(row) == 1 for row in found)


def test_an_old_validation_set_goes_and_the_training_set_stays(made, tmp_path, capsys):
    alignet_dataset.run(dataset(made), tmp_path)
    folder = tmp_path / "ud" / "cluster-boundary"
    assert (folder / "alignet_valid.npz").is_file()
    train = (folder / "alignet_train.npz").stat()
    capsys.readouterr()
    alignet_dataset.run(dataset(made, **{"sampling.n_validation": 0}), tmp_path)
    assert "alignet_train.npz: up to date, skipped" in capsys.readouterr().err
    assert (folder / "alignet_train.npz").stat().st_ino == train.st_ino
    names = {path.name for path in folder.iterdir()}
    assert names == {"alignet_train.npz", "alignet_train.npz.manifest.json"}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"ud_file": ""}, r"config.people.data_dir is empty; .* --config.people.data_dir=/path"),
        ({"ud_file": "none.npz"}, "none.npz: no such file; expected a transform"),
        ({"ud_file": "narrow.npz"}, "embeddings of 8 columns and .* has 32; expected"),
        ({"ud_file": "", "people.data_dir": "nothing"}, "triplets.txt: no such file; expected odd"),
        ({"ud_file": "", "people.data_dir": "no_order"}, "things: objects have no names"),
        ({"ud_file": "", "people.data_dir": "data"}, "images: no such file or folder"),
        (
            {"ud_file": "", "people.data_dir": "data", "people.embeddings": "narrow.npy"},
            "narrow.npy: is of embeddings of 8 columns and the network has 32",
        ),
        ({"images": "flat", "sampling.scheme": "class-boundary"}, "x has no class; expected it in"),
        (
            {"images": "flat", "sampling.scheme": "random", "three_classes": True},
            "x has no class; expected it in",
        ),
    ],
)
def test_what_was_given_is_looked_at_before_pictures_are_embedded(
    made, tmp_path, monkeypatch, changes, message
):
    monkeypatch.chdir(tmp_path)
    narrow = transform.Transform(np.array(0.0), np.array(1.0), np.eye(8), np.zeros(8))
    transform.save_transform("narrow.npz", narrow)
    command_case.write_data(tmp_path / "data")
    np.save(tmp_path / "data" / "narrow.npy", np.eye(12, 8))
    command_case.write_data(tmp_path / "no_order")
    (tmp_path / "no_order" / "things" / "sortindex").unlink()
    Path("nothing").mkdir()
    Path("flat").mkdir()
    Image.new("RGB", (8, 8)).save("flat/x.png")
    with pytest.raises(InputError, match=message):
        alignet_dataset.run(dataset(made, **changes), tmp_path / "out")
    assert not [*(tmp_path / "out").glob("*.npz")]


def test_a_transform_is_for_the_width_that_is_read_out(tmp_path):
    wide = transform.Transform(np.array(0.0), np.array(1.0), np.eye(24), np.zeros(24))
    transform.save_transform(tmp_path / "ud.npz", wide)
    for change in ({}, {"projection": 24}, {"rep_size": 24}, {"layer": 0}):
        student = zoo.find("mu16").student._replace(**change)
        network = students.Embedder(student, students.init(student, jax.random.key(0)))
        width = network(np.zeros((1, 32, 32, 3), np.uint8)).shape[1]
        if width == 24:
            ud.check_width(tmp_path / "ud.npz", network)
        else:
            with pytest.raises(InputError, match=f"of 24 columns and the network has {width}; ex"):
                ud.check_width(tmp_path / "ud.npz", network)


def test_what_the_dataset_cannot_be_made_of_is_refused(made, tmp_path):
    narrow = transform.Transform(np.array(0.0), np.array(1.0), np.eye(8), np.zeros(8))
    transform.save_transform(tmp_path / "ud.npz", narrow)
    for changes, message in [
        ({"transform": "aligned"}, "config.transform is 'aligned'; expected ud or untransformed"),
        ({"sampling.scheme": "boundary"}, "'boundary'; expected one of cluster-boundary"),
        ({"ud_file": str(tmp_path / "ud.npz")}, "embeddings of 8 columns and .* has 32; expected"),
        ({"clusters.ks": (40,)}, "40 clusters"),
        ({"images": "imagenet2012"}, "tfds build imagenet2012"),
    ]:
        with pytest.raises(InputError, match=message):
            alignet_dataset.run(
                dataset(made, **changes | {"data_dir": str(tmp_path)}), made / "dataset"
            )


# --- distillation ---


def test_a_student_is_distilled_from_pictures_and_measured(made, tmp_path):
    data = command_case.write_mapping(command_case.write_data(tmp_path / "data"))
    folder = data / "images" / "imagenet_sample_1000"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for wnid in command_case.CLASSES.values():
        pixels = rng.integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{wnid}_name.png")
    validation = made / "dataset" / "ud" / "cluster-boundary" / "alignet_valid.npz"
    changes = {"validation": str(validation), "evals": ("things_photographs",)}
    config = training(made, **changes, evals_data_dir=str(data))
    run(config, tmp_path / "run")
    assert all((tmp_path / "run" / name).is_file() for name in ("student.npz", "best.npz"))
    measured = [line for line in lines(tmp_path / "run") if line["step"] in (2, 4)]
    for line in measured:
        [name] = [name for name in line if name.startswith("evals/things_photographs/")]
        assert 0 <= line[name] <= 1 and "validation/loss" in line
    # The same number as of the finished student by the command.
    from evals import __main__ as command

    arguments = command_case.arguments(
        data, tmp_path / "out", checkpoint=tmp_path / "run", evals="things_photographs", resamples=2
    )
    assert command.main(arguments) == 0
    scores = command_case.scores(tmp_path / "out", "things_photographs", "run")
    assert measured[-1][name] in [score["value"] for score in scores.values()]


def test_dense_and_the_head_are_options(made, tmp_path):
    teacher = str(made / "dataset" / "ud" / "embeddings.npz")
    run(training(made, **{"distill.dense": True, "teacher": teacher}), tmp_path / "dense")
    config = training(made, **{"distill.read_out": "triplet_head", "triplet_head": 6})
    run(config, tmp_path / "head")
    student, params = students.load_weights(tmp_path / "head" / "student.npz")
    assert student.triplet_head == 6 and params["triplet_head"]["kernel"].shape == (32, 6)
    with pytest.raises(InputError, match=r"config.teacher is empty and distill.dense is on"):
        run(training(made, **{"distill.dense": True}), tmp_path / "none")


def test_pictures_of_tfds_are_decoded_in_workers(made, tmp_path):
    tfds_case.build(tmp_path / "tfds", "imagenet2012", train=[*range(12)], validation=[0])
    images = {"images": "imagenet2012", "data_dir": str(tmp_path / "tfds")}
    alignet_dataset.run(dataset(made, **images), tmp_path / "dataset")
    triplets = tmp_path / "dataset" / "ud" / "cluster-boundary" / "alignet_train.npz"
    for workers in (0, 1):
        changes = images | {"triplets": str(triplets), "distill.workers": workers}
        run(training(made, **changes), tmp_path / str(workers))
    one, other = (lines(tmp_path / name) for name in "01")
    assert [line["loss"] for line in one] == [line["loss"] for line in other]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"weights": ""}, "config.weights is empty; expected the student's weights"),
        ({"triplets": ""}, "config.triplets is empty; expected an AligNet dataset"),
        ({"images": "nowhere/pictures"}, "nowhere/pictures: no such file or folder"),
        ({"evals": ("thing",)}, "config.evals: 'thing' is unknown; expected some of things"),
    ],
)
def test_what_cannot_be_distilled_is_refused(made, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(training(made, **changes), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


# --- processes ---


def join(**variables):
    code = (
        "import sys\nfrom alignet.errors import InputError\nfrom alignet.runtime import processes\n"
        "processes.TIMEOUT = 3\n"
        "try:\n    processes.join()\nexcept InputError as error:\n    sys.exit(f'error: {error}')\n"
    )
    environment = os.environ | {"JAX_PLATFORMS": "cpu"} | variables
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_pod_of_which_one_worker_was_started_says_so():
    place = {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}
    alone = join(JAX_COORDINATOR_ADDRESS="127.0.0.1:0", **place)
    assert alone.returncode == 2
    assert "error: not all processes came within 3 seconds" in alone.stderr
    assert "--worker=all" in alone.stderr.splitlines()[-1]


def test_a_process_that_is_not_told_where_the_others_are_says_so():
    assert processes.TIMEOUT == 300
    lost = join(JAX_COORDINATOR_ADDRESS="127.0.0.1:9")
    assert "the processes cannot find each other" in lost.stderr.splitlines()[-1]
