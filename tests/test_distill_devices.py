"""The same training on one device, on many, and in two processes; parameters whole or cut."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from alignet import students
from tests import distill_case as case

ROOT = Path(__file__).resolve().parents[1]
STUDENT = case.STUDENT._replace(variant="nano/8")
RUN = {"steps": 20, "batch_size": 16, "checkpoint_every": 10}


def start(workdir, *flags, devices, **overrides):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    config = json.dumps(RUN | overrides)
    command = [sys.executable, "-m", "tests.distill_case", workdir, "--variant", "nano/8"]
    return subprocess.Popen(
        [*map(str, command), "--config", config, *flags],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return outputs


def losses(workdir):
    return [json.loads(line)["loss"] for line in (workdir / "metrics.jsonl").open()]


def two_processes(workdir, *flags, **overrides):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return [
        start(workdir, "--port", port, "--process", process, *flags, devices=2, **overrides)
        for process in ("0", "1")
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one")
    case.run(workdir, student=STUDENT, **RUN)
    return workdir


def assert_same_training(one, other):
    np.testing.assert_allclose(losses(other), losses(one), rtol=0, atol=1e-5)
    expected, found = (students.load_weights(w / "student.npz")[1] for w in (one, other))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for layer, values in found["Transformer"].items():
        if layer != "encoder_norm":
            # A bias of keys changes no attention: its gradient is rounding noise, which Adam
            # turns into steps of full size.
            name = "MultiHeadDotProductAttention_0"
            del values[name]["key"]["bias"], expected["Transformer"][layer][name]["key"]["bias"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-4), found, expected)


@pytest.mark.parametrize(
    "devices, overrides",
    [
        (8, {"fsdp": 4, "accumulate": 2}),
        pytest.param(4, {}, marks=pytest.mark.slow),
        pytest.param(8, {}, marks=pytest.mark.slow),
        pytest.param(4, {"fsdp": 0}, marks=pytest.mark.slow),
        pytest.param(8, {"fsdp": 0}, marks=pytest.mark.slow),
        pytest.param(8, {"fsdp": 0, "scan": True, "remat": True}, marks=pytest.mark.slow),
    ],
)
def test_many_devices_train_as_one_does(one, tmp_path, devices, overrides):
    finish(start(tmp_path / "run", devices=devices, **overrides))
    assert_same_training(one, tmp_path / "run")


@pytest.mark.parametrize("fsdp", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_two_processes_train_as_one_does(one, tmp_path, fsdp):
    finish(*two_processes(tmp_path / "run", fsdp=fsdp))
    assert_same_training(one, tmp_path / "run")


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step_when_one_is_preempted(one, tmp_path):
    first, second = two_processes(tmp_path / "run", "--preempt_at", "6", fsdp=0)
    outputs = finish(first, second)
    assert all("stopped by SIGTERM after step" in output for output in outputs), outputs
    assert not (tmp_path / "run" / "student.npz").exists()
    finish(*two_processes(tmp_path / "run", fsdp=0))
    assert_same_training(one, tmp_path / "run")


@pytest.mark.slow
def test_two_processes_fall_back_together_from_a_checkpoint_that_one_of_them_cannot_read(
    one, tmp_path
):
    """What is damaged is the part of the second process, and the first finds out for both."""
    workdir = tmp_path / "run"
    finish(*two_processes(workdir, fsdp=0))
    (workdir / "student.npz").unlink()
    for file in (workdir / "checkpoints" / "20" / "state").rglob("*"):
        if file.is_file() and file.stat().st_size > 2000:
            os.truncate(file, file.stat().st_size // 2)
    outputs = finish(*two_processes(workdir, fsdp=0))
    assert "20 cannot be read, falling back to the one before it" in outputs[0]
    assert all("resuming after step 10 of 20" in output for output in outputs), outputs
    assert (workdir / "checkpoints" / "unreadable-20").is_dir()
    assert_same_training(one, workdir)


@pytest.mark.slow
def test_two_processes_refuse_together_what_is_of_another_run(tmp_path):
    workdir = tmp_path / "run"
    finish(*two_processes(workdir, fsdp=0))
    processes = two_processes(workdir, fsdp=0, peak_lr=0.5)
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert all(process.returncode != 0 for process in processes)
    assert "a checkpoint of another run (config.peak_lr was" in outputs[0]
    assert "refused, as the first process says" in outputs[1]
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"10", "20"}


def test_parameters_are_cut_over_the_devices():
    code = (
        "import jax, numpy as np\n"
        "from alignet.runtime import mesh as m\n"
        "mesh = m.make_mesh(fsdp=4)\n"
        "tree = {'w': np.zeros((96, 256)), 'odd': np.zeros((3, 9999)), 'small': np.zeros(64)}\n"
        "placed = m.put(tree, m.shard_parameters(mesh, tree))\n"
        "for name in tree: print(name, placed[name].addressable_shards[0].data.shape)\n"
    )
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.stdout == "w (96, 64)\nodd (3, 9999)\nsmall (64,)\n", found
