"""What else a run can do: stop when told to, measure, average, cut a batch, train on all thirds."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from alignet import distill, students
from alignet.data.alignet_triplets import AligNetTriplets
from alignet.data.images import open_source
from alignet.errors import InputError, Preempted
from alignet.runtime import checkpoints
from alignet.training import batches
from tests import distill_case as case
from tests.test_distill import assert_same, metrics

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("plain")
    return workdir, case.run(workdir)


def held_out():
    _, triplets = case.data(n_triplets=70)
    return AligNetTriplets(None, triplets.similarities[50:], triplets.indices[50:])


def embeddings():
    """A teacher's, of the images: those of one colour are alike."""
    rng = np.random.default_rng(5)
    colours = rng.normal(size=(3, 6))
    return (colours[np.arange(30) % 3] + 0.3 * rng.normal(size=(30, 6))).astype(np.float32)


# --- stops ---


def test_sigterm_saves_and_the_same_command_goes_on(plain, tmp_path, monkeypatch):
    batch_rows = batches.batch_rows

    def preempting(seed, step, **kwargs):
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch_rows(seed, step, **kwargs)

    monkeypatch.setattr(batches, "batch_rows", preempting)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match=r"stopped by SIGTERM after step \d+ of 12, which is saved"):
        case.run(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is handler
    saved = max(int(path.name) for path in (tmp_path / "checkpoints").glob("[0-9]*"))
    assert 5 <= saved <= 8
    assert not (tmp_path / "student.npz").exists()
    monkeypatch.setattr(batches, "batch_rows", batch_rows)
    assert_same(case.run(tmp_path), plain[1])


def test_sigterm_to_all_processes_leaves_the_workers_to_finish(tmp_path):
    """As schedulers send it: the batches that are still needed come from the workers."""
    config = json.dumps({"steps": 100_000, "workers": 2, "checkpoint_every": 90_000})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.distill_case", str(tmp_path / "run"), "--config", config],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "run" / "metrics.jsonl").exists() or len(metrics(tmp_path / "run")) < 5:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0 and "stopped by SIGTERM after step" in said, said
    assert any(path.name.isdecimal() for path in (tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_bit(plain, tmp_path):
    rng = np.random.default_rng(0)
    config = json.dumps({"steps": 60, "checkpoint_every": 3, "log_every": 1})
    command = [sys.executable, "-m", "tests.distill_case", "--config", config]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, whole], cwd=ROOT, env=ENVIRONMENT, check=True)
    kills = 0
    while kills < 10:
        process = subprocess.Popen([*command, killed], cwd=ROOT, env=ENVIRONMENT)
        try:
            # From the imports to the last checkpoint: this takes seven seconds to some twenty.
            process.wait(timeout=rng.uniform(2, 12))
            (killed / "student.npz").unlink()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    subprocess.run([*command, killed], cwd=ROOT, env=ENVIRONMENT, check=True)
    assert (killed / "student.npz").read_bytes() == (whole / "student.npz").read_bytes()
    lines = [[line | {"images_per_second": 0} for line in metrics(w)] for w in (whole, killed)]
    assert lines[0] == lines[1]


def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint(plain, tmp_path):
    # After the first checkpoint, as batches are made ahead.
    flags = ["--fill_disk_at", "9", "--config", '{"checkpoint_every": 3}']
    command = [sys.executable, "-m", "tests.distill_case", tmp_path, *flags]
    full = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert full.returncode == 2, full
    assert re.search(
        r"could not be written \(.*File too large.*\); that of step [36] is the last good one",
        full.stdout,
    )
    assert not (tmp_path / "student.npz").exists()
    assert_same(case.run(tmp_path), plain[1])


def test_another_configuration_goes_on_only_if_forced(plain, tmp_path, capsys):
    case.run(tmp_path, steps=5, checkpoint_every=5)
    with pytest.raises(InputError, match=r"config\.steps was 5 and is 12.*another workdir"):
        case.run(tmp_path)
    case.run(tmp_path, force=True)
    assert "forced to go on though config.steps was 5 and is 12" in capsys.readouterr().err
    assert [line["step"] for line in metrics(tmp_path)] == list(range(1, 13))


# --- what is measured ---


def test_force_does_not_set_aside_what_has_other_arrays(plain, tmp_path):
    shutil.copytree(plain[0], tmp_path / "run")
    with pytest.raises(InputError, match=r"cannot be gone on from by force \(config.ema was None"):
        case.run(tmp_path / "run", ema=0.9, force=True)
    assert not list((tmp_path / "run" / "checkpoints").glob("unreadable-*"))


def test_another_teacher_or_other_validation_is_another_run(tmp_path):
    given = {"teacher_z": embeddings(), "validation": held_out()}
    case.run(tmp_path, dense=True, steps=4, more=given)
    other = held_out()
    other = other._replace(similarities=other.similarities[::-1])
    for name, changes in {
        "teacher": {"teacher_z": embeddings() + 1},
        "validation": {"validation": other},
    }.items():
        with pytest.raises(InputError, match=rf"another run \(other {name}\)"):
            case.run(tmp_path, dense=True, steps=4, more=given | changes)


def test_images_that_were_copied_anew_are_the_same_images(tmp_path):
    for copy in ("one", "other"):
        pixels, _ = case.data()
        for i, picture in enumerate(pixels):
            path = tmp_path / copy / f"{i:02}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(path)
            os.utime(path, ns=(i, len(copy)))
    case.run(tmp_path / "run", steps=4, more={"images": open_source(tmp_path / "one")})
    case.run(tmp_path / "run", steps=4, more={"images": open_source(tmp_path / "other")})
    Image.fromarray(255 - pixels[0]).save(tmp_path / "other" / "00.png")
    with pytest.raises(InputError, match="another run"):
        case.run(tmp_path / "run", steps=4, more={"images": open_source(tmp_path / "other")})


def test_evals_that_fail_cost_no_step(plain, tmp_path):
    def evaluate(params):
        raise InputError("DATA/things: no such folder")

    with pytest.raises(InputError, match="DATA/things: no such folder"):
        case.run(tmp_path, more={"evaluate": evaluate})
    assert (tmp_path / "checkpoints" / "5").is_dir() and metrics(tmp_path)[-1]["step"] == 5
    assert_same(case.run(tmp_path), plain[1])


def test_the_result_does_not_depend_on_whether_the_best_can_be_read(tmp_path, monkeypatch):
    def restore(*_):
        raise InputError("5: cannot be read")

    monkeypatch.setattr(checkpoints, "restore", restore)
    with pytest.raises(InputError, match="5: cannot be read"):
        case.run(tmp_path, more={"validation": held_out()})
    assert (tmp_path / "student.npz").is_file()


def test_the_best_checkpoint_by_validation_is_kept(tmp_path):
    seen = []

    def evaluate(params):
        seen.append(params)
        return {"evals/made_up": float(len(seen))}

    # What is measured is the opposite of what is learnt: the best is not among the newest two.
    contrary = held_out()._replace(similarities=held_out().similarities[:, ::-1])
    more = {"validation": contrary, "evaluate": evaluate}
    options = {"steps": 12, "checkpoint_every": 2}
    final = case.run(tmp_path, more=more, **options)
    measured = [line for line in metrics(tmp_path) if "validation/loss" in line]
    assert [line["step"] for line in measured] == [2, 4, 6, 8, 10, 12]
    assert [line["evals/made_up"] for line in measured] == [1, 2, 3, 4, 5, 6]
    best = int(np.argmin([line["validation/loss"] for line in measured]))
    assert best < 4
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {str(measured[best]["step"]), "10", "12"}
    assert_same(students.load_weights(tmp_path / "best.npz")[1], seen[best])
    assert_same(students.load_weights(tmp_path / "student.npz")[1], final)
    # The number itself, of triplets that fill two batches and half of another.
    pixels, _ = case.data()
    z = students.embed(case.STUDENT, final, pixels)[held_out().indices]
    s = np.stack([(z[:, a] * z[:, b]).sum(-1) for a, b in [(0, 1), (0, 2), (1, 2)]], -1)
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (contrary.similarities, s / 10))
    expected = (p * np.log(p / q)).sum(-1).mean()
    assert measured[-1]["validation/loss"] == pytest.approx(expected, rel=1e-4)
    accuracy = (s.argmax(-1) == 2).mean()
    assert measured[-1]["validation/triplet_accuracy"] == pytest.approx(accuracy)


def test_events_are_for_tensorboard(plain):
    [path] = (plain[0] / "tensorboard").iterdir()
    content, at, found = path.read_bytes(), 0, {}
    while at < len(content):  # a record: length (8 bytes), its checksum (4), data, checksum (4)
        size = int.from_bytes(content[at : at + 8], "little")
        event = Event.FromString(content[at + 12 : at + 12 + size])
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
        at += size + 16
    expected = {line["step"]: line["loss"] for line in metrics(plain[0])}
    assert found["loss"] == pytest.approx(expected)
    assert {"triplet_accuracy", "lr", "grad_norm", "images_per_second"} <= set(found)


# --- ways to train ---


def test_a_batch_in_parts_gives_the_same_steps(plain, tmp_path):
    case.run(tmp_path, accumulate=4)
    one, parts = ([line["loss"] for line in metrics(w)] for w in (plain[0], tmp_path))
    np.testing.assert_allclose(parts, one, atol=1e-5)


def test_the_moving_average_is_the_result(tmp_path):
    seen = []
    options = {"steps": 3, "checkpoint_every": 1, "warmup_steps": 0}
    raw = []
    case.run(tmp_path / "raw", more={"evaluate": lambda p: raw.append(p) or {}}, **options)
    more = {"evaluate": lambda p: seen.append(p) or {}}
    result = case.run(tmp_path / "ema", more=more, ema=0.75, **options)
    average = case.pretrained()
    for weights in raw:
        average = jax.tree.map(lambda a, w: 0.75 * a + 0.25 * w, average, weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), result, average)
    assert_same(seen[-1], result)


def test_all_thirds_are_learnt_from(tmp_path):
    more = {"teacher_z": embeddings(), "validation": held_out()}
    case.run(tmp_path, dense=True, steps=30, checkpoint_every=10, more=more)
    loss = [line["loss"] for line in metrics(tmp_path)]
    assert np.mean(loss[-5:]) < 0.6 * np.mean(loss[:5])
    validated = [line["validation/loss"] for line in metrics(tmp_path) if line["step"] % 10 == 0]
    assert validated[-1] < validated[0]


def test_all_thirds_need_the_teachers_embeddings(tmp_path):
    for rows, said in ((None, "none"), (embeddings()[:7], "7")):
        with pytest.raises(InputError, match=f"{said} of the teacher's embeddings; expected one"):
            case.run(tmp_path / "run", dense=True, more={"teacher_z": rows})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"batch_size": 9, "accumulate": 2}, "batch_size is 9.*times accumulate, 2"),
        ({"fsdp": 3}, "sharded over 3 devices; expected a divisor"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"keep": 1}, "keep is 1"),
        ({"workers": -1}, "workers is -1"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        case.run(tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def test_the_fields_are_those_of_the_recipe():
    from alignet.training import checks
    from configs import distill_siglip_b16

    assert set(distill_siglip_b16.get_config().distill) == set(checks.FIELDS)
    assert distill.IN_FLIGHT == 2
