"""Embeddings of folders of pictures: every device, bad pictures, kills."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignet import embed, students
from alignet.data.embeddings import load_embeddings
from alignet.data.images import Images, open_source, save_images
from alignet.errors import InputError
from tests import embed_case as case

ROOT = Path(__file__).resolve().parents[1]
BAD = ["class0/picture03", "class1/picture17"]
GREY = ["class0/picture05", "class2/picture22"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return case.write_pictures(tmp_path_factory.mktemp("pictures") / "set")


@pytest.fixture(scope="module")
def uninterrupted(pictures, tmp_path_factory):
    return case.run(open_source(pictures), tmp_path_factory.mktemp("whole") / "e.npz")


def start(pictures, artifact, *options, devices=1):
    """The same embedding in a process of its own."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, "-m", "tests.embed_case", str(pictures), str(artifact), *options],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def report_of(artifact):
    return json.loads(artifact.with_suffix(".pictures.json").read_text())


class Counted:
    """A source that remembers which pictures were read."""

    def __init__(self, pictures):
        self.read = []
        source = open_source(pictures)

        def read(place):
            self.read.append(place)
            return source.read(place)

        self.source = source._replace(read=read)


# --- what is embedded ---


def test_rows_are_those_of_the_network_on_each_picture_alone(pictures, uninterrupted):
    ids, matrix = load_embeddings(uninterrupted)
    network = case.embedder()
    files = sorted(pictures.rglob("*.png"))
    names = [file.relative_to(pictures).with_suffix("").as_posix() for file in files]
    good = [i for i, name in enumerate(names) if name not in BAD]
    assert list(ids) == [names[i] for i in good]
    for row, i in enumerate(good):
        with Image.open(files[i]) as picture:
            alone = network([picture.convert("RGB")], batch_per_device=1)
        np.testing.assert_allclose(matrix[row], alone[0], rtol=1e-5, atol=1e-6)


def test_the_file_is_mapped_and_what_numpy_would_write(uninterrupted, tmp_path):
    ids, matrix = load_embeddings(uninterrupted)
    assert isinstance(matrix, np.memmap) and matrix.flags.aligned
    assert matrix.dtype == np.float32
    np.savez(tmp_path / "numpy.npz", embeddings=matrix, ids=ids)
    assert (tmp_path / "numpy.npz").read_bytes() == uninterrupted.read_bytes()


def test_bad_and_grey_pictures_are_listed(pictures, uninterrupted, capsys):
    found = report_of(uninterrupted)
    assert (found["images"], found["embeddings"], found["dimension"]) == (30, 28, 32)
    assert sorted(found["unreadable"]) == BAD and all(found["unreadable"].values())
    assert found["not_rgb"] == dict.fromkeys(GREY, "L")
    case.run(open_source(pictures), uninterrupted)
    out, err = capsys.readouterr()
    assert "up to date, skipped" in err
    assert f"{uninterrupted}: 28 of 30 images, 32 dimensions\n" in out
    assert "skipped 2 unreadable: class0/picture03 (" in out
    assert "converted 2 not RGB: class0/picture05 (L), class2/picture22 (L)\n" in out


def test_images_of_an_archive_are_embedded_alike(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    ids = np.array(list("abcde"))
    save_images(tmp_path / "five.npz", Images(ids, pixels))
    artifact = case.run(open_source(tmp_path / "five.npz"), tmp_path / "e.npz")
    loaded = load_embeddings(artifact)
    np.testing.assert_array_equal(loaded.ids, ids)
    expected = case.embedder()(pixels, batch_per_device=2)
    np.testing.assert_array_equal(loaded.matrix, expected)


# --- devices and processes ---


def test_eight_devices_give_the_bytes_of_one(pictures, uninterrupted, tmp_path):
    out, _ = start(pictures, tmp_path / "e.npz", devices=8).communicate()
    assert "images/s on 8 × cpu" in out, out
    assert (tmp_path / "e.npz").read_bytes() == uninterrupted.read_bytes()
    assert report_of(tmp_path / "e.npz") == report_of(uninterrupted)


def test_two_processes_give_the_bytes_of_one_and_the_first_refuses(
    pictures, uninterrupted, tmp_path
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    both = [
        # Only the first is to write: the second's artifact would be elsewhere.
        start(pictures, tmp_path / folder / "e.npz", "--port", port, "--process", process)
        for process, folder in (("0", "first"), ("1", "second"))
    ]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    stopped = "stopped: set: 2 of 30 pictures cannot be read, the first class0/picture03 ("
    assert [stopped in out for out in outputs] == [True, False]
    assert (tmp_path / "first" / "e.npz").read_bytes() == uninterrupted.read_bytes()
    assert not (tmp_path / "second").exists()


# --- interruption ---


def test_a_killed_run_goes_on_from_its_last_shard_to_the_same_bytes(
    pictures, uninterrupted, tmp_path
):
    artifact = tmp_path / "e.npz"
    killed = start(pictures, artifact, "--kill_at", "20")
    out, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, out
    assert not artifact.exists()
    shards = [path.name for path in sorted(tmp_path.glob("e.npz.parts/*/*"))]
    assert shards == ["8-000000.npz", "8-000001.npz"]

    rest = Counted(pictures)
    case.run(rest.source, artifact)
    assert sorted(rest.read) == list(range(16, case.N))
    assert artifact.read_bytes() == uninterrupted.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "e.npz",
        "e.npz.manifest.json",
        "e.pictures.json",
    ]


def test_a_run_that_failed_on_pictures_lists_all_and_has_the_rest(
    pictures, uninterrupted, tmp_path
):
    artifact = tmp_path / "e.npz"
    with pytest.raises(InputError) as caught:
        case.run(open_source(pictures), artifact, unreadable="fail")
    report = tmp_path / "e.pictures.json"
    assert str(caught.value).startswith(
        "set: 2 of 30 pictures cannot be read, the first class0/picture03 ("
    )
    assert str(caught.value).endswith(
        f"); listed in {report}; --config.unreadable=skip leaves them out."
    )
    assert sorted(report_of(artifact)["unreadable"]) == BAD
    again = Counted(pictures)
    case.run(again.source, artifact)
    assert not again.read
    assert artifact.read_bytes() == uninterrupted.read_bytes()


def test_shards_of_another_size_are_not_taken_and_the_bytes_are_the_same(
    pictures, uninterrupted, tmp_path
):
    artifact = tmp_path / "e.npz"
    start(pictures, artifact, "--kill_at", "20").communicate()
    again = Counted(pictures)
    case.run(again.source, artifact, shard_size=6)
    assert sorted(again.read) == list(range(case.N))
    assert artifact.read_bytes() == uninterrupted.read_bytes()
    again.read.clear()
    case.run(again.source, artifact, shard_size=10)
    assert not again.read


def test_the_rate_leaves_the_first_batch_out(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    save_images(tmp_path / "four.npz", Images(np.array(list("abcd")), pixels))
    source = open_source(tmp_path / "four.npz")
    case.run(source, tmp_path / "two.npz")
    assert "4 of 4 images, 32 dimensions, " in capsys.readouterr().out
    case.run(source, tmp_path / "one.npz", batch_per_device=4)
    assert "4 of 4 images, 32 dimensions\n" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["pictures", "weights", "report", "nothing"])
def test_the_file_is_made_again_after_a_change_and_only_then(
    pictures, uninterrupted, tmp_path, change
):
    copy = shutil.copytree(pictures, tmp_path / "set")
    artifact = case.run(open_source(copy), tmp_path / "e.npz")
    network = case.embedder()
    if change == "pictures":
        file = copy / "class0" / "picture00.png"
        Image.new("RGB", (9, 9), "red").save(file)
    if change == "weights":
        kernel = network.params["embedding"]["kernel"].copy()
        kernel[0, 0, 0, 0] += 1
        network.params["embedding"] |= {"kernel": kernel}
    if change == "report":
        artifact.with_suffix(".pictures.json").unlink()
    again = Counted(copy)
    embed.make(artifact, network, again.source, **case.SETTINGS)
    assert sorted(again.read) == ([] if change == "nothing" else list(range(case.N)))
    same = artifact.read_bytes() == uninterrupted.read_bytes()
    assert same == (change in ("report", "nothing"))
    assert report_of(artifact)["images"] == case.N


# --- bad pictures ---


def test_pictures_that_are_not_rgb_may_be_skipped_or_fail(pictures, uninterrupted, tmp_path):
    source = open_source(pictures)
    artifact = case.run(source, tmp_path / "e.npz", not_rgb="skip")
    some, every = load_embeddings(artifact), load_embeddings(uninterrupted)
    kept = ~np.isin(every.ids, GREY)
    np.testing.assert_array_equal(some.ids, every.ids[kept])
    np.testing.assert_array_equal(some.matrix, every.matrix[kept])
    assert sorted(report_of(artifact)["not_rgb"]) == GREY
    with pytest.raises(
        InputError, match=r"2 of 30 pictures are not RGB, .*/picture05 \(L\); listed"
    ):
        case.run(source, tmp_path / "other.npz", not_rgb="fail")
    assert (tmp_path / "other.npz").read_bytes() == artifact.read_bytes()
    # Nor is a file that is up to date but has left some out.
    with pytest.raises(InputError, match="cannot be read, the first class0/picture03"):
        case.run(source, artifact, not_rgb="skip", unreadable="fail")


def test_a_folder_of_which_nothing_is_left_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "text.jpg").write_text("no picture")
    Image.new("L", (8, 8)).save(tmp_path / "set" / "grey.png")
    with pytest.raises(InputError, match=r"set: all 2 pictures were skipped, 1 as unreadable and"):
        case.run(open_source(tmp_path / "set"), tmp_path / "e.npz", not_rgb="skip")
    assert not (tmp_path / "e.npz").exists()


def test_pictures_in_memory_are_embedded_alike_but_a_bad_one_is_refused(pictures, uninterrupted):
    whole = open_source(pictures)
    good = [place for place in range(case.N) if place not in (3, 17)]
    some = whole._replace(n=len(good), read=lambda i: whole.read(good[i]))
    found, expected = embed.embed_source(case.embedder(), some), load_embeddings(uninterrupted)
    assert found.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(found.matrix, expected.matrix, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="set: class0/picture03 cannot be read as a picture"):
        embed.embed_source(case.embedder(), whole)


def test_an_id_that_comes_twice_or_is_too_long_is_refused(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    save_images(tmp_path / "two.npz", Images(np.array(["a", "b"]), pixels))
    source = open_source(tmp_path / "two.npz")
    for name, message in (("a", "'a' comes twice"), ("a" * 2000, "has 2000 characters")):
        named = source._replace(read=lambda place, name=name: (name, pixels[place]))
        with pytest.raises(InputError, match=message):
            case.run(named, tmp_path / f"{len(name)}.npz")


def test_an_embedding_that_is_not_finite_is_refused(pictures, tmp_path):
    network = case.embedder()
    network.params["embedding"]["kernel"] = network.params["embedding"]["kernel"] * np.inf
    with pytest.raises(InputError, match="the embedding of class0/picture00 is not finite"):
        embed.make(tmp_path / "e.npz", network, open_source(pictures), **case.SETTINGS)


# --- the command ---


def command(*options, cwd):
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), f"--config={ROOT / 'configs/embed.py'}", *options],
        cwd=cwd,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )


def test_the_command_writes_to_runs_embed(pictures, tmp_path):
    network = case.embedder(students.Student("mu/16", 224, "map"))
    students.save_weights(tmp_path / "weights.npz", network.student, network.params)
    options = [
        "--config.model=mu16",
        f"--config.weights={tmp_path / 'weights.npz'}",
        f"--config.images={pictures}/",
        "--config.image_size=32",
        "--config.layer=0",
        "--config.unreadable=skip",
    ]
    done = command(*options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    artifact = tmp_path / "runs" / "embed" / "mu16-layer0-32px_set.npz"
    assert f"{artifact.relative_to(tmp_path)}: 28 of 30 images, 32 dimensions, " in done.stdout
    assert load_embeddings(artifact).matrix.shape == (28, 32)
    assert zipfile.ZipFile(artifact).testzip() is None
    refused = command(*options[:-1], "--config.unreadable=ignore", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "error: config.unreadable is 'ignore'; expected one of fail, skip.\n"
