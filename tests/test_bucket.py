"""A run whose folder is in a bucket, which a server on this machine plays."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from alignet.errors import InputError
from alignet.runtime import checkpoints
from alignet.runtime.work_folder import WorkFolder
from tests import recipes_case

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("gcsfs")
server = pytest.importorskip("gcp_storage_emulator.server")
objects = pytest.importorskip("gcp_storage_emulator.handlers.objects")
server_errors = pytest.importorskip("gcp_storage_emulator.exceptions")


def with_generations(handler):
    """The server's answer to a request, with what it leaves out: versions, and conditions on them.

    By these TensorStore knows whether what it writes to is still what it has read.
    """

    def answer(request, response, storage, *rest, **options):
        named = request.params.get("object_id") or request.query.get("name", [""])[0]
        try:
            there = storage.get_file_obj(request.params["bucket_name"], named)["generation"]
        except server_errors.NotFound:
            there = "0"
        wanted, had = (
            request.query.get(condition, [None])[0]
            for condition in ("ifGenerationMatch", "ifGenerationNotMatch")
        )
        if wanted not in (None, there):
            response.status = HTTPStatus.PRECONDITION_FAILED
        elif had == there and had != "0":
            response.status = HTTPStatus.NOT_MODIFIED
        else:
            handler(request, response, storage, *rest, **options)
            response["x-goog-generation"] = there

    return answer


@pytest.fixture(scope="module")
def bucket():
    """Where the server is, as variables for a process that writes to gs://bucket."""
    patched = {handler: with_generations(handler) for handler in (objects.get, objects.insert)}
    with pytest.MonkeyPatch.context() as patch:
        routes = [
            (path, {method: patched.get(handler, handler) for method, handler in by.items()})
            for path, by in server.HANDLERS
        ]
        patch.setattr(server, "HANDLERS", routes)
        running = server.create_server("localhost", 0, in_memory=True, default_bucket="bucket")
        running.start()
        address = f"http://localhost:{running._api._httpd.server_port}"
        yield {"STORAGE_EMULATOR_HOST": address, "TENSORSTORE_GCS_HTTP_URL": address}
        running.stop()


def start(bucket, config_options, workdir):
    command = [sys.executable, "main.py", "--config=configs/distill_siglip_b16.py"]
    environment = os.environ | bucket | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [*command, *config_options, f"--workdir={workdir}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(bucket, options, workdir):
    process = start(bucket, options, workdir)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    made = recipes_case.write(tmp_path_factory.mktemp("made"))
    config = recipes_case.training(made)
    triplets = made / "dataset" / "ud" / "cluster-boundary"
    given = {name: config[name] for name in ("model", "weights", "image_size", "images")}
    given |= {"triplets": triplets / "alignet_train.npz"}
    given |= {"validation": triplets / "alignet_valid.npz"}
    distill = {"batch_size": 4, "steps": 400, "warmup_steps": 2, "checkpoint_every": 100}
    distill |= {"log_every": 5, "dtype": "float32", "scan": False, "workers": 0}
    given |= {f"distill.{name}": value for name, value in distill.items()}
    return [f"--config.{name}={value}" for name, value in given.items()]


def test_a_run_in_a_bucket_is_killed_and_goes_on_to_the_same_bits(
    bucket, options, tmp_path, monkeypatch
):
    status, _, err = finished(bucket, options, tmp_path / "run")
    assert status == 0, err
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)  # for epath
    run = epath.Path("gs://bucket/killed")
    process = start(bucket, options, run)
    # Perhaps half-written: what is there is not yet what the next process goes on from.
    while not (run / "checkpoints" / "200").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "student.npz").exists()
    status, out, err = finished(bucket, options, run)
    assert status == 0 and re.search("distill: resuming after step [12]00 of 400", err), err
    assert "gs://bucket/killed/student.npz: the trained student" in out
    for name in ("student.npz", "best.npz"):
        assert (run / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    logged, wanted = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (run, tmp_path / "run")
    )
    assert [line["step"] for line in logged] == [line["step"] for line in wanted]
    np.testing.assert_array_equal(
        [line["loss"] for line in logged], [line["loss"] for line in wanted]
    )
    assert len(list((run / "tensorboard").glob("events.out.tfevents.*"))) == 2
    assert not list(run.glob("writable-*"))


def test_a_damaged_checkpoint_in_a_bucket_is_set_aside(bucket, monkeypatch, capsys):
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    folder = epath.Path("gs://bucket/damaged")
    state = {"w": jnp.arange(8.0)}
    with checkpoints.open_manager(folder) as manager:
        for step in (1, 2):
            checkpoints.save(manager, step, state, {"run": "one"})
    (folder / "2" / "state" / "_METADATA").write_bytes(b"{")
    # A save that was cut off is none at all.
    (folder / "3" / "state").mkdir(parents=True)
    (folder / "3" / "state" / "_METADATA").write_bytes(b"{")
    step, found = checkpoints.restore_latest(folder, state, meta={"run": "one"})
    assert step == 1 and (found["w"] == state["w"]).all()
    assert "gs://bucket/damaged/2 cannot be read, falling back" in capsys.readouterr().err
    assert (folder / "unreadable-2").exists() and not (folder / "2").exists()
    with checkpoints.open_manager(folder) as manager:
        checkpoints.save(manager, 2, state, {"run": "one"})
    assert checkpoints.restore_latest(folder, state, meta={"run": "one"})[0] == 2


def test_a_bucket_that_cannot_be_written_is_refused_at_once(bucket, options):
    status, out, err = finished(bucket, options, "gs://nobody/run")
    assert status == 2 and not out
    assert err.splitlines()[-1].startswith("error: gs://nobody/run: cannot be written to (")


def test_what_needs_a_folder_says_so(bucket):
    command = [sys.executable, "main.py", "--config=configs/demo.py", "--workdir=gs://bucket/demo"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 2
    assert "gs://bucket/demo is in a bucket, where only distillation can work" in process.stderr


def test_a_folder_here_is_itself(tmp_path):
    folder = WorkFolder(tmp_path / "run")
    assert folder.here == Path(folder.path) == tmp_path / "run" and folder.here.is_dir()
    (folder.here / "a").write_text("b")
    folder.fetch("a")
    folder.publish()
    assert [path.name for path in folder.here.iterdir()] == ["a"]


def test_only_what_changed_is_copied_to_a_bucket(bucket, monkeypatch):
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    folder = WorkFolder("gs://bucket/changes")
    (folder.here / "inside").mkdir()
    (folder.here / "inside" / "a").write_text("one")
    folder.publish()
    there = folder.path / "inside" / "a"
    assert there.read_text() == "one"
    there.write_text("somebody else's")
    folder.publish()
    assert there.read_text() == "somebody else's"
    (folder.here / "inside" / "a").write_text("longer")
    folder.publish()
    assert there.read_text() == "longer"
    again = WorkFolder("gs://bucket/changes")
    (again.here / "inside").mkdir()
    again.fetch("inside/a")
    again.fetch("none")
    assert (again.here / "inside" / "a").read_text() == "longer"


def test_without_a_library_for_the_bucket_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"s3://bucket/run: .*s3fs"):
        WorkFolder("s3://bucket/run")
