"""Files are whole or absent; a step runs when something it depends on changed, and only then."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from alignet.errors import InputError
from alignet.runtime import files, stages


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.npy"
    with files.atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".npy"
        np.save(temporary, np.arange(3))
        assert not path.exists()
    assert _names(path.parent) == ["a.npy"]
    np.testing.assert_array_equal(np.load(path), np.arange(3))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and _names(tmp_path) == ["a.txt"]


def test_a_written_file_is_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    files.write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_json_refuses_what_is_no_number(tmp_path, value):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"x": [1.0, value]})
    assert not _names(tmp_path)


def test_equal_arrays_give_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        files.write_npz(tmp_path / name, x=np.arange(5), y=np.array(["é"]))
    assert files.sha256(tmp_path / "a.npz") == files.sha256(tmp_path / "b.npz")
    with pytest.raises(ValueError):
        files.write_npz(tmp_path / "c.npz", x=np.array([None]))
    assert _names(tmp_path) == ["a.npz", "b.npz"]


def test_every_cut_of_an_npz_is_named(tmp_path):
    whole = tmp_path / "whole.npz"
    files.write_npz(whole, x=np.arange(50), y=np.ones(3))
    content, cut = whole.read_bytes(), tmp_path / "cut.npz"
    for length in range(0, len(content), 7):
        cut.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.npz: .*; expected a thing\."):
            files.read_npz(cut, ["x", "y"], expected="expected a thing")
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        cut.write_bytes(damaged)
        try:
            files.read_npz(cut, ["x", "y"], expected="expected a thing")
        except InputError as error:
            assert "cut.npz" in str(error)


class Step:
    """Adds one to the input, through a partial result in scratch; counts its calls."""

    def __init__(self, folder):
        self.artifact, self.input = folder / "out.npy", folder / "in.npy"
        self.calls, self.fails, self.resumed = 0, False, False
        np.save(self.input, np.arange(4))

    def __call__(self, out, scratch):
        self.calls += 1
        partial = scratch / "partial.npy"
        self.resumed = partial.is_file()
        np.save(partial, np.load(self.input))
        out.write_bytes(b"half")
        if self.fails:
            raise ZeroDivisionError
        np.save(out, np.load(partial) + 1)

    def run(self, **config):
        return stages.run(self.artifact, self, config=config, inputs={"in": self.input})


@pytest.fixture
def step(tmp_path):
    return Step(tmp_path)


def test_a_step_runs_once(step, tmp_path, capsys):
    assert step.run(a=1, b=[1, 2]) == step.artifact
    np.testing.assert_array_equal(np.load(step.artifact), np.arange(4) + 1)
    assert "out.npy: done in" in capsys.readouterr().err
    # The order in which a configuration was written down is no change.
    step.run(b=[1, 2], a=1)
    assert step.calls == 1
    assert capsys.readouterr().err == "out.npy: up to date, skipped\n"
    assert _names(tmp_path) == ["in.npy", "out.npy", "out.npy.manifest.json"]


def _change_config(step):
    return {"a": 2}


def _change_input(step):
    np.save(step.input, np.arange(4)[::-1])


def _change_artifact(step):
    content = bytearray(step.artifact.read_bytes())
    content[-1] ^= 1
    step.artifact.write_bytes(content)


def _remove_artifact(step):
    step.artifact.unlink()


def _damage_manifest(step):
    step.artifact.with_name("out.npy.manifest.json").write_text("{")


def _empty_manifest(step):
    step.artifact.with_name("out.npy.manifest.json").write_text("[]")


@pytest.mark.parametrize(
    "change",
    [
        _change_config,
        _change_input,
        _change_artifact,
        _remove_artifact,
        _damage_manifest,
        _empty_manifest,
    ],
)
def test_a_step_runs_again_after_a_change(step, change):
    step.run(a=1)
    config = change(step) or {"a": 1}
    step.run(**config)
    assert step.calls == 2
    np.testing.assert_array_equal(np.load(step.artifact), np.load(step.input) + 1)
    step.run(**config)
    assert step.calls == 2


def test_a_step_runs_again_with_another_library(step, monkeypatch):
    step.run()
    monkeypatch.setattr(stages, "versions", lambda: {"jax": "0"})
    step.run()
    assert step.calls == 2


def test_touching_a_file_is_no_change(step):
    step.run()
    for path in (step.input, step.artifact):
        os.utime(path, ns=(0, 0))
    step.run()
    assert step.calls == 1


def test_an_artifact_that_another_step_made_anew_is_seen(step, tmp_path):
    """The hash in an input's manifest is trusted only for the very file it was written for."""
    step.run()
    (tmp_path / "second").mkdir()
    second = Step(tmp_path / "second")
    second.input = step.artifact
    second.run()
    os.utime(step.artifact, ns=(0, 0))
    _change_artifact(step)
    second.run()
    assert second.calls == 2


def test_a_failing_step_leaves_its_scratch_and_no_artifact(step, tmp_path):
    step.fails = True
    with pytest.raises(ZeroDivisionError):
        step.run(a=1)
    assert _names(tmp_path) == ["in.npy", "out.npy.parts"]
    step.fails = False
    step.run(a=1)
    assert step.resumed
    assert _names(tmp_path) == ["in.npy", "out.npy", "out.npy.manifest.json"]


def test_leftovers_of_a_kill_are_removed(step, tmp_path):
    step.run()
    before = _names(tmp_path)
    (tmp_path / "out.npy.parts" / "0123").mkdir(parents=True)
    step.run()
    assert step.calls == 1 and _names(tmp_path) == before
    (tmp_path / ".out-abcd_123.npy").write_bytes(b"half")
    (tmp_path / ".out.npy.manifest-abcd_123.json").write_bytes(b"{")
    (tmp_path / ".out-2-abcd_123.npy").write_bytes(b"of another artifact, in the making")
    step.run(a=2)
    assert _names(tmp_path) == sorted([*before, ".out-2-abcd_123.npy"])


def test_an_artifact_may_be_a_folder(tmp_path):
    def step(out, scratch):
        (out / "deep").mkdir()
        (out / "deep" / "a.txt").write_text(str(value))

    for value in (1, 2):
        folder = stages.run(tmp_path / "folder", step, config=value, inputs={})
        assert (folder / "deep" / "a.txt").read_text() == str(value)
    assert _names(tmp_path) == ["folder", "folder.manifest.json"]
    (folder / "deep" / "a.txt").write_text("changed")
    stages.run(folder, step, config=value, inputs={})
    assert (folder / "deep" / "a.txt").read_text() == "2"


def test_scratch_of_another_configuration_is_not_resumed(step):
    step.fails = True
    with pytest.raises(ZeroDivisionError):
        step.run(a=1)
    step.fails = False
    step.run(a=2)
    assert not step.resumed


def test_a_failing_step_leaves_the_older_artifact_to_be_made_again(step):
    step.run(a=1)
    step.fails = True
    with pytest.raises(ZeroDivisionError):
        step.run(a=2)
    np.testing.assert_array_equal(np.load(step.artifact), np.arange(4) + 1)
    step.fails = False
    step.run(a=2)
    assert step.calls == 3


def test_an_absent_input_is_named(step):
    step.input.unlink()
    with pytest.raises(InputError, match=r"in\.npy: no such file; expected in for out\.npy"):
        step.run()
    assert step.calls == 0


def test_the_manifest_says_what_the_artifact_was_made_of(step):
    step.run(a=1)
    manifest = json.loads(step.artifact.with_name("out.npy.manifest.json").read_text())
    assert manifest["config"] == {"a": 1}
    assert manifest["inputs"] == {"in": files.sha256(step.input)}
    assert manifest["sha256"] == files.sha256(step.artifact)
    assert manifest["versions"] == stages.versions() and manifest["seconds"] >= 0


def test_config_hash_ignores_the_order_only():
    assert stages.config_hash({"a": 1, "b": 2}) == stages.config_hash({"b": 2, "a": 1})
    assert stages.config_hash({"a": 1, "b": 2}) != stages.config_hash({"a": 2, "b": 1})
    with pytest.raises(TypeError):
        stages.config_hash({"a": object()})


KILLED = """
import sys
from pathlib import Path
import numpy as np
from alignet.runtime import files, stages

folder = Path(sys.argv[1])

def step(out, scratch):
    total = np.zeros(20_000)
    for part in range(10):
        saved = scratch / f"part{part}.npz"
        if not saved.is_file():
            files.write_npz(saved, x=np.random.default_rng(part).normal(size=20_000))
        with np.load(saved) as archive:
            total += archive["x"]
    np.save(out, total)

print("ready", flush=True)
for name in ("first.npy", "second.npy"):
    stages.run(folder / name, step, config={"name": name}, inputs={})
"""


def test_killed_at_any_moment_and_run_again(tmp_path):
    def start(folder):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    whole = tmp_path / "whole"
    with start(whole) as process:
        process.stdout.readline()
        begin = time.perf_counter()
        process.communicate()
    assert process.returncode == 0
    seconds = time.perf_counter() - begin
    killed = tmp_path / "killed"
    for delay in np.random.default_rng(0).uniform(0, seconds, 6):
        with start(killed) as process:
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
    with start(killed) as process:
        process.communicate()
    assert process.returncode == 0
    for name in ("first.npy", "second.npy"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert _names(killed) == _names(whole)
