import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from alignet import distill, students
from alignet.errors import InputError
from alignet.runtime import checkpoints
from alignet.training import batches
from tests import distill_case as case

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Most runs here compile the same step: in this process or another, the first one does it."""
    folder = str(tmp_path_factory.mktemp("compiled"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", folder)
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
        options = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
        before = {name: getattr(jax.config, name) for name in options}
        for name, value in zip(options, (folder, 0.3), strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def run_apart(workdir, *flags, devices=1):
    """The same distillation in a process of its own."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    command = [sys.executable, "-m", "tests.distill_case", str(workdir), *flags]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def newest_checkpoint(workdir):
    return max((workdir / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    return workdir, case.run(workdir)


@pytest.fixture(scope="module")
def four_devices(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("four") / "run"
    result = run_apart(workdir, devices=4)
    assert result.returncode == 0, result.stderr
    return workdir


# --- what a run leaves ---


def test_the_loss_falls_and_every_step_is_logged(uninterrupted):
    workdir, _ = uninterrupted
    log = metrics(workdir)
    assert [line["step"] for line in log] == list(range(1, 13))
    loss = [line["loss"] for line in log]
    assert np.mean(loss[-3:]) < 0.5 * np.mean(loss[:3])
    assert log[0]["lr"] == 0.0
    assert log[2]["lr"] == pytest.approx(1e-3)  # the peak, after two steps of warm-up
    assert log[-1]["lr"] < 5e-5
    assert all(0 <= line["triplet_accuracy"] <= 1 and line["grad_norm"] > 0 for line in log)
    assert all(line["images_per_second"] > 0 for line in log[1:])


def test_the_final_weights_are_on_disk(uninterrupted):
    workdir, params = uninterrupted
    student, loaded = students.load_weights(workdir / "student.npz")
    assert student == case.STUDENT
    assert_same(loaded, params)


def test_one_step_is_adam_then_the_pull_then_the_rate(tmp_path):
    """Two steps against optax used by hand, with the loss of eq. 5 written out in NumPy order."""
    pixels, triplets = case.data()
    start = jax.tree.map(jnp.asarray, case.pretrained())
    config = case.config(steps=2, warmup_steps=0, pull=50.0)

    def loss(params, images, teacher_s):
        x = images.reshape(-1, 16, 16, 3).astype(jnp.float32) / 127.5 - 1
        z = students.network(case.STUDENT).apply({"params": params}, x)["pre_logits"]
        i, j, k = jnp.moveaxis(z.reshape(-1, 3, z.shape[-1]), 1, 0)
        s = jnp.stack([(i * j).sum(-1), (i * k).sum(-1), (j * k).sum(-1)], -1)
        p, q = jax.nn.softmax(teacher_s), jax.nn.softmax(s / config.tau_student)
        return (p * (jnp.log(p) - jnp.log(q))).sum(-1).mean()

    adam = optax.scale_by_adam()
    params, state, expected = start, adam.init(start), []
    for step in range(2):
        rows = batches.batch_rows(42, step, n=50, batch_size=8)
        images, teacher_s = pixels[triplets.indices[rows]], triplets.similarities[rows]
        value, grads = jax.jit(jax.value_and_grad(loss))(params, images, teacher_s)
        expected.append(float(value))
        updates, state = adam.update(grads, state)
        rate = config.peak_lr * (1 + np.cos(np.pi * step / 2)) / 2
        params = jax.tree.map(
            lambda p, u, p0, rate=rate: p - rate * (u + 50.0 * (p - p0)), params, updates, start
        )
    ours = case.run(tmp_path, steps=2, warmup_steps=0, pull=50.0)
    np.testing.assert_allclose([line["loss"] for line in metrics(tmp_path)], expected, rtol=1e-4)
    # A weight whose gradient is rounding noise takes an Adam step of either sign: leave it out.
    del params["Transformer"]["encoderblock_0"]["MultiHeadDotProductAttention_0"]["key"]["bias"]
    del ours["Transformer"]["encoderblock_0"]["MultiHeadDotProductAttention_0"]["key"]["bias"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), ours, params)


def test_a_teacher_distilled_into_itself_has_nothing_to_learn(tmp_path):
    pixels, triplets = case.data()
    params = case.pretrained()
    z = students.embed(case.STUDENT, params, pixels)[triplets.indices]
    i, j, k = np.moveaxis(z, 1, 0)
    own = np.stack([(i * j).sum(-1), (i * k).sum(-1), (j * k).sum(-1)], -1)
    distill.distill(
        case.config(steps=2, tau_teacher=7.0, tau_student=7.0, warmup_steps=1),
        student=case.STUDENT,
        params=params,
        images=pixels,
        triplets=triplets._replace(similarities=own),
        workdir=tmp_path,
    )
    # The rate of the first step is 0, so that both steps see the teacher's own weights.
    assert [line["loss"] for line in metrics(tmp_path)] == pytest.approx([0, 0], abs=1e-6)
    assert [line["triplet_accuracy"] for line in metrics(tmp_path)] == [1, 1]


# --- devices ---


def test_four_devices_give_the_losses_of_one(uninterrupted, four_devices):
    for name in ("loss", "triplet_accuracy", "lr"):
        one, four = ([line[name] for line in metrics(w)] for w in (uninterrupted[0], four_devices))
        np.testing.assert_allclose(four, one, rtol=1e-5)


def test_a_run_of_four_devices_goes_on_with_one(uninterrupted, four_devices, tmp_path):
    workdir = shutil.copytree(four_devices, tmp_path / "run")
    shutil.rmtree(newest_checkpoint(workdir))
    (workdir / "student.npz").unlink()
    case.run(workdir)
    one, both = ([line["loss"] for line in metrics(w)] for w in (uninterrupted[0], workdir))
    np.testing.assert_allclose(both, one, rtol=1e-5)


# --- interruption ---


def test_a_killed_run_ends_in_the_same_bits(uninterrupted, tmp_path):
    killed = run_apart(tmp_path, "--kill_at", "8")
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / "student.npz").exists()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 9, "lo')  # killed while it wrote a line

    assert_same(case.run(tmp_path), uninterrupted[1])

    whole, resumed = metrics(uninterrupted[0]), metrics(tmp_path)
    for line in whole + resumed:
        del line["images_per_second"]
    assert resumed == whole
    # The anchor of the pull is still the pretrained weights, not those it resumed from.
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        items = ocp.args.Composite(state=ocp.args.StandardRestore())
        state = manager.restore(manager.latest_step(), args=items)["state"]
    anchor = next(s["anchor"] for s in state["opt_state"] if s and "anchor" in s)
    assert_same(jax.device_get(anchor), case.pretrained())


# orbax leaves unfinished coroutines behind when a file cannot be read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(uninterrupted, tmp_path, damage, capsys):
    workdir = shutil.copytree(uninterrupted[0], tmp_path / "run")
    (workdir / "student.npz").unlink()
    data = max(newest_checkpoint(workdir).rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(content if damage == "flipped" else content[: len(content) // 2])

    assert_same(case.run(workdir), uninterrupted[1])

    assert "checkpoints/12 cannot be read, falling back" in capsys.readouterr().err
    folders = {path.name for path in (workdir / "checkpoints").iterdir()}
    assert folders == {"10", "12", "unreadable-12"}


def test_a_half_written_checkpoint_is_no_checkpoint(tmp_path):
    state = {"w": jnp.arange(5.0)}
    with checkpoints.open_manager(tmp_path) as manager:
        checkpoints.save(manager, 1, state, {})
    shutil.copytree(tmp_path / "1", tmp_path / "2.orbax-checkpoint-tmp-3")
    step, restored = checkpoints.restore_latest(tmp_path, state, meta={})
    assert step == 1
    assert_same(restored, state)
    with checkpoints.open_manager(tmp_path, keep=2) as manager:
        for step in (2, 3):
            checkpoints.save(manager, step, state, {})
    assert {path.name for path in tmp_path.iterdir()} == {"2", "3"}


def test_no_checkpoint_is_no_error(tmp_path):
    assert checkpoints.restore_latest(tmp_path / "absent", {"w": jnp.zeros(2)}, meta={}) is None


def test_a_finished_run_is_not_run_again(uninterrupted):
    workdir, params = uninterrupted
    before = (workdir / "metrics.jsonl").read_bytes()
    assert_same(case.run(workdir), params)
    assert (workdir / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("change", [{"peak_lr": 2e-3}, {"steps": 20}, {"seed": 1}])
def test_another_run_in_the_same_workdir_is_refused(uninterrupted, change):
    before = sorted((uninterrupted[0] / "checkpoints").iterdir())
    with pytest.raises(InputError, match="another run"):
        case.run(uninterrupted[0], **change)
    assert sorted((uninterrupted[0] / "checkpoints").iterdir()) == before


def test_how_often_it_is_logged_may_change(uninterrupted):
    assert_same(case.run(uninterrupted[0], log_every=3, checkpoint_every=7), uninterrupted[1])


# --- losses and read-outs ---


def test_the_triplet_head_is_trained_and_the_callers_weights_are_left_alone(tmp_path):
    student, params = students.add_triplet_head(
        case.STUDENT, case.pretrained(), jax.random.key(0), width=6
    )
    on_device = jax.tree.map(jnp.array, params)
    options = {"read_out": "triplet_head", "grad_clip": 1.0, "steps": 3}
    aligned = case.run(tmp_path, student=student, params=on_device, **options)
    assert_same(jax.device_get(on_device), jax.device_get(params))
    for name in ("triplet_head", "embedding"):
        assert np.abs(aligned[name]["kernel"] - params[name]["kernel"]).max() > 1e-4


@pytest.mark.slow
def test_how_the_network_runs_changes_no_more_than_roundings(tmp_path):
    student = students.Student("nano/8", 16, "gap")
    ways = {"plain": {}, "scan": {"scan": True, "remat": True}, "bfloat16": {"dtype": "bfloat16"}}
    pixels, _ = case.data()
    z, runs = {}, {}
    for name, options in ways.items():
        runs[name] = case.run(tmp_path / name, student=student, steps=4, **options)
        z[name] = students.embed(student, runs[name], pixels)
    assert jax.tree.structure(runs["scan"]) == jax.tree.structure(runs["plain"])
    before = students.embed(student, case.pretrained(student), pixels)
    moved = np.abs(z["plain"] - before).max()
    assert moved > 0.05
    assert np.abs(z["scan"] - z["plain"]).max() < 1e-3 * moved
    assert 0 < np.abs(z["bfloat16"] - z["plain"]).max() < 0.2 * moved
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(runs["bfloat16"]))


# --- wrong input ---


@pytest.mark.parametrize(
    "change, message",
    [
        ({"loss": "mse"}, "loss is 'mse'; expected one of kl, jsd"),
        ({"read_out": "logits"}, "read_out"),
        ({"read_out": "triplet_head"}, "add_triplet_head"),
        ({"batch_size": 0}, "batch_size"),
        ({"warmup_steps": 12}, "warmup_steps is 12"),
        ({"tau_student": 0.0}, "tau_student"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"grad_clip": -1.0}, "grad_clip"),
    ],
)
def test_a_wrong_config_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        case.run(tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def with_triplets(**changes):
    pixels, triplets = case.data()
    return {
        "config": case.config(),
        "student": case.STUDENT,
        "params": case.pretrained(),
        "images": changes.pop("images", pixels),
        "triplets": triplets._replace(**changes),
    }


def test_wrong_images_and_triplets_are_refused(tmp_path):
    pixels, triplets = case.data()
    indices, similarities = triplets.indices.copy(), triplets.similarities.copy()
    indices[4, 1], similarities[6, 2] = 30, np.nan
    for wrong, message in [
        ({"indices": indices}, "row 5"),
        ({"similarities": similarities}, "row 7"),
        ({"indices": triplets.indices[:0], "similarities": similarities[:0]}, "at least 1"),
        ({"similarities": triplets.similarities[:10]}, "expected"),
        ({"images": pixels[:, :8]}, "uint8"),
    ]:
        with pytest.raises(InputError, match=message):
            distill.distill(**with_triplets(**wrong), workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(InputError, match=r"at step \d+ \w+ is (nan|inf); expected a finite number"):
        case.run(tmp_path, peak_lr=1e20, steps=6, warmup_steps=1)
    assert not (tmp_path / "student.npz").exists()
    assert all(np.isfinite(line["loss"]) for line in metrics(tmp_path))
