"""One model's rows from photographs through a network, and from every kind of network."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from alignet import embed, students
from alignet.data.embeddings import Embeddings, load_embeddings
from alignet.data.images import Images, save_images, some
from alignet.data.labelled import open_labelled, take
from alignet.errors import Absent, InputError
from alignet.students import saved_model
from evals import photographs as pictures
from evals.models import from_embeddings
from evals.networks import from_checkpoint, from_saved_model, from_zoo
from tests.weights_case import random_params

ROOT = Path(__file__).resolve().parents[1]
PIXELS = np.random.default_rng(1).integers(0, 256, (10, 20, 24, 3), np.uint8)
NAMES = np.array([f"photo{i}" for i in range(10)])


# --- photographs through a network ---


def write_photographs(folder, names=NAMES, suffix=".png"):
    for name, pixels in zip(names, PIXELS, strict=False):
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def write_student(path, seed=0):
    student = students.Student("mu/16", 16, "gap")
    students.save_weights(path, student, random_params(student, seed))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("student") / "student.npz")


@pytest.fixture(scope="module")
def expected(weights):
    """What the network gives for the pictures, by itself."""
    return students.Embedder(*students.load_weights(weights))(PIXELS)


def assert_rows(rows, expected):
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("source", ["folder", "inner folders", "archive"])
def test_photographs_are_found_by_name_in_any_order(tmp_path, weights, expected, source, capsys):
    if source == "archive":
        save_images(tmp_path / "set.npz", Images(NAMES, PIXELS))
    else:
        inner = "n1/" if source == "inner folders" else ""
        write_photographs(tmp_path / "set.npz", [inner + name for name in NAMES])
    model = from_checkpoint(weights, cache=tmp_path / "kept")
    for order in ([7, 0, 3], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]):
        rows = model.rows("cichy", NAMES[order], tmp_path / "set.npz")
        assert_rows(rows, expected[order])
    assert_rows(model.rows("things", None, tmp_path / "set.npz"), expected)
    assert capsys.readouterr().out == ""


def test_pixels_are_embedded_in_the_order_of_their_ids(tmp_path, weights, expected):
    model = from_checkpoint(weights, cache=tmp_path)
    order = [4, 1, 8]
    assert_rows(model.rows("kriegeskorte92", NAMES[order], PIXELS[order]), expected[order])
    # The same names, other pictures.
    assert_rows(model.rows("kriegeskorte92", NAMES[order], PIXELS[:3]), expected[:3])
    assert_rows(model.rows("kriegeskorte92", None, PIXELS[:2]), expected[:2])


def test_a_source_is_embedded_in_its_own_order_under_its_own_name(tmp_path, weights, expected):
    source = pictures.from_pixels("cifar100/test", NAMES, PIXELS)
    chosen = some(source, [4, 1, 8])._replace(name="cifar100/test/some")
    model = from_checkpoint(weights, cache=tmp_path / "kept")
    assert_rows(model.rows("cifar100/test", NAMES, source), expected)
    assert_rows(model.rows("cifar100/test", NAMES[[4, 1, 8]], chosen), expected[[4, 1, 8]])
    with pytest.raises(ValueError, match="cifar100/test: the ids are not those of the photographs"):
        model.rows("cifar100/test", NAMES[::-1], source)
    # What is kept is a model of its own, with a file a set.
    [kept] = from_embeddings(next((tmp_path / "kept").iterdir()))
    for order in ([8, 4], [0, 2, 9]):
        np.testing.assert_array_equal(
            kept.rows("cifar100/test", NAMES[order], None),
            model.rows("cifar100/test", NAMES, source)[order],
        )


def test_some_of_a_set_that_was_embedded_are_not_embedded_again(tmp_path, weights, expected):
    labels = np.arange(10) % 2
    np.savez(tmp_path / "pets.npz", images=PIXELS, labels=labels, ids=NAMES)
    whole = open_labelled(tmp_path / "pets.npz")
    order = np.array([7, 0, 3])
    some = take(whole, order)
    alone = from_checkpoint(weights, cache=tmp_path / "alone")
    assert_rows(alone.rows("pets", some.ids, some.source), expected[order])
    assert len(list((tmp_path / "alone").rglob("*.npz"))) == 1

    model = from_checkpoint(weights, cache=tmp_path / "kept")
    model.rows("pets", whole.ids, whole.source)
    model._load = None
    assert_rows(model.rows("pets", some.ids, some.source), expected[order])
    assert [path.name for path in (tmp_path / "kept").rglob("*.npz")] == ["pets.npz"]


def test_photographs_of_things_may_be_named_as_in_the_release(tmp_path, weights, expected):
    names = ["ant/ant_01b", "ant/ant_02s", "bear/bear_01b", "dog"]
    folder = write_photographs(tmp_path / "images", names)
    model = from_checkpoint(weights, cache=tmp_path / "kept")
    rows = model.rows("things", np.array(["dog", "ant", "bear"]), folder)
    assert_rows(rows, expected[[3, 0, 2]])


def test_photographs_that_are_not_there_are_told(tmp_path, weights):
    folder = write_photographs(tmp_path / "set")
    model = from_checkpoint(weights, cache=tmp_path / "kept")
    with pytest.raises(Absent) as caught:
        model.rows("cichy", np.array(["photo1", "photo3", "p"]), folder)
    assert str(caught.value) == (
        f"{folder}: not all of cichy is there: 1 of 3 expected ids are missing (p) and it has 8 "
        "others (photo0, photo2, photo4, …)."
    )
    with pytest.raises(Absent, match="absent: there are no photographs"):
        model.rows("cichy", NAMES, tmp_path / "absent")
    with pytest.raises(Absent, match="there are no photographs of cichy"):
        model.rows("cichy", NAMES, None)
    with pytest.raises(Absent, match="absent: there are no photographs"):
        model.find(tmp_path / "absent", lambda _: True)
    assert not (tmp_path / "kept").exists()


def test_copies_of_a_photograph_change_nothing(tmp_path, weights, expected):
    folder = write_photographs(tmp_path / "set")
    write_photographs(folder / "copies", NAMES[:3], suffix=".bmp")
    write_photographs(folder, NAMES[:2], suffix=".tiff")
    model = from_checkpoint(weights, cache=tmp_path / "kept")
    assert_rows(model.rows("cichy", NAMES, folder), expected)
    # That it is damaged only matters if it is asked for.
    (folder / "copies" / "photo2.bmp").write_text("no picture")
    assert_rows(model.rows("cichy", NAMES[3:], folder), expected[3:])
    with pytest.raises(InputError) as caught:
        model.rows("cichy", NAMES, folder)
    assert str(caught.value) == (
        f"{folder}: {folder / 'copies' / 'photo2.bmp'} and {folder / 'photo2.png'} have the same "
        "name but not the same pixels; expected one photograph of that name: rename or remove the "
        "other."
    )
    Image.fromarray(PIXELS[9]).save(folder / "copies" / "photo2.bmp")
    with pytest.raises(InputError, match="have the same name but not the same pixels"):
        model.rows("cichy", NAMES, folder)


def test_photographs_that_are_wanted_are_found_once_a_class(tmp_path, weights, expected):
    # The same file name in two classes is two photographs, even if they are equal.
    names = ["n1/1", "n2/1", "n1/2", "n3/1"]
    folder = write_photographs(tmp_path / "set", names)
    for copy in ("n1/sub/1.png", "n2/2.png"):
        (folder / copy).parent.mkdir(exist_ok=True)
        Image.fromarray(PIXELS[0]).save(folder / copy)
    model = from_checkpoint(weights, cache=tmp_path / "kept")
    found = model.find(folder, lambda name: name < "n3")
    assert found.ids.tolist() == ["n1/1", "n1/2", "n2/1", "n2/2"]
    assert_rows(found.matrix, expected[[0, 2, 1, 0]])
    assert len(model.find(folder, lambda _: False).ids) == 0


def test_a_damaged_photograph_is_named(tmp_path, weights):
    folder = write_photographs(tmp_path / "set")
    damaged = folder / "photo4.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    model = from_checkpoint(weights, cache=tmp_path / "kept")
    with pytest.raises(InputError) as caught:
        model.rows("cichy", NAMES, folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}: photo4 cannot be read as a picture (")
    assert not isinstance(caught.value, Absent) and "\n" not in message


@pytest.mark.parametrize("change", ["nothing", "photographs", "weights", "ids", "order"])
def test_what_was_embedded_is_kept_until_something_changes(
    tmp_path, weights, expected, change, monkeypatch
):
    folder, path = write_photographs(tmp_path / "set"), tmp_path / "student.npz"
    path.write_bytes(weights.read_bytes())
    from_checkpoint(path, cache=tmp_path / "kept").rows("cichy", NAMES[:4], folder)
    kept = tmp_path / "kept" / "student" / "cichy.npz"
    assert load_embeddings(kept).ids.tolist() == NAMES[:4].tolist()

    ids = NAMES[:4]
    if change == "photographs":
        Image.fromarray(PIXELS[9]).save(folder / "photo0.png")
        expected = expected[[9, *range(1, 10)]]
    if change == "weights":
        write_student(path, seed=1)
        expected = students.Embedder(*students.load_weights(path))(PIXELS)
    if change == "ids":
        ids, expected = NAMES[1:6], expected[1:6]
    if change == "order":
        ids, expected = ids[::-1], expected[3::-1]
    loads = []
    load = students.load_weights
    monkeypatch.setattr(students, "load_weights", lambda path: loads.append(path) or load(path))
    again = from_checkpoint(path, cache=tmp_path / "kept")
    assert_rows(again.rows("cichy", ids, folder), expected[: len(ids)])
    assert len(loads) == (change not in ("nothing", "order"))


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from alignet import embed
from evals import networks, photographs

weights, cache, folder = map(Path, sys.argv[1:])
photographs.SHARD, embedded = 4, embed.embed_source

def deadly(embedder, source):
    if source.read(0)[0] == "photo8":
        os.kill(os.getpid(), signal.SIGKILL)
    return embedded(embedder, source)

embed.embed_source = deadly
ids = np.array([f"photo{i}" for i in range(10)])
networks.from_checkpoint(weights, cache=cache).rows("cichy", ids, folder)
"""


def test_a_killed_evaluation_goes_on_to_the_same_bytes(tmp_path, weights, environment, monkeypatch):
    folder, kept = write_photographs(tmp_path / "set"), tmp_path / "kept"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(weights), str(kept), str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (kept / "student" / "cichy.npz").exists()
    assert len([*kept.glob("student/cichy.npz.parts/*/*.npz")]) == 2

    monkeypatch.setattr(pictures, "SHARD", 4)
    seen = []
    whole = embed.embed_source

    def watched(embedder, source):
        seen.extend(source.read(place)[0] for place in range(source.n))
        return whole(embedder, source)

    monkeypatch.setattr(embed, "embed_source", watched)
    resumed = from_checkpoint(weights, cache=kept).rows("cichy", NAMES, folder)
    assert seen == ["photo8", "photo9"]
    rows = from_checkpoint(weights, cache=tmp_path / "other").rows("cichy", NAMES, folder)
    assert len(seen) == 12
    np.testing.assert_array_equal(resumed, rows)
    files = [root / "student" / "cichy.npz" for root in (kept, tmp_path / "other")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(os.listdir(kept / "student")) == ["cichy.npz", "cichy.npz.manifest.json"]


# --- kinds of networks ---


def test_a_folder_of_a_run_gives_its_name_to_the_model(tmp_path, weights, expected):
    run = tmp_path / "siglip.v2"
    run.mkdir()
    (run / "student.npz").write_bytes(weights.read_bytes())
    model = from_checkpoint(run, cache=tmp_path / "kept")
    assert (model.name, model.path) == ("siglip.v2", run / "student.npz")
    assert model.files == (run / "student.npz",)
    assert_rows(model.rows("cichy", NAMES, PIXELS), expected)
    with pytest.raises(InputError, match=r"student\.npz: no such file; expected a student's"):
        from_checkpoint(tmp_path, cache=tmp_path)


def test_a_model_of_the_table_is_read_out_where_asked(tmp_path):
    student = students.Student("mu/16", 32, "map")
    path = tmp_path / "weights.npz"
    students.save_weights(path, student, random_params(student))
    embedder = students.load("mu16", path, layer=0, image_size=32)
    settings = {"layer": 0, "image_size": 32, "cache": tmp_path / "kept"}
    model = from_zoo("mu16", path, **settings)
    assert (model.name, model.files) == ("mu16, layer 0, 32 px", (path,))
    assert_rows(model.rows("cichy", NAMES, PIXELS), embedder(PIXELS))
    assert (tmp_path / "kept" / "mu16-layer-0-32-px" / "cichy.npz").is_file()
    (tmp_path / "config.json").write_text("{}")
    assert from_zoo("mu16", path, **settings).files == (path, tmp_path / "config.json")

    with pytest.raises(InputError, match="absent: no such file or folder; expected the weights"):
        from_zoo("mu16", tmp_path / "absent", **settings)
    with pytest.raises(InputError, match="mu17"):
        from_zoo("mu17", path, **settings)


def test_a_saved_model_is_embedded_shard_by_shard(tmp_path, monkeypatch):
    """Without TensorFlow: the tests of `saved_model` run a real one."""
    loaded, seen = [], []

    def load(path, output="pre_logits"):
        loaded.append((path, output))

        def embed_source(source):
            ids, pixels = zip(*map(source.read, range(source.n)), strict=True)
            seen.append(len(ids))
            return Embeddings(np.array(ids), np.mean(pixels, axis=(1, 2), dtype=np.float32))

        return SimpleNamespace(embed_source=embed_source)

    monkeypatch.setattr(saved_model, "load", load)
    monkeypatch.setattr(pictures, "SHARD", 4)
    folder = tmp_path / "ViT-B-alignet"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    means = PIXELS.mean(axis=(1, 2))
    for output, name in ((None, "ViT-B-alignet"), ("layer_3", "ViT-B-alignet, layer_3")):
        model = from_saved_model(folder, output, cache=tmp_path / "kept")
        assert model.name == name
        np.testing.assert_allclose(model.rows("cichy", NAMES, PIXELS), means, rtol=1e-5)
    assert loaded == [(folder, "pre_logits"), (folder, "layer_3")]
    assert seen == [4, 4, 2] * 2
    with pytest.raises(InputError, match="absent: no such folder; expected a SavedModel"):
        from_saved_model(tmp_path / "absent", cache=tmp_path)
