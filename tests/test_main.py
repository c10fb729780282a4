"""The command as people run it: a small made world, end to end, interrupted, and with bad input."""

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
N_OBJECTS = 40
# The real recipe, made small.
SMALL = (
    "--config=configs/things.py",
    "--config.vice.n_seeds=2",
    "--config.vice.init_dim=12",
    "--config.vice.batch_size=512",
    "--config.vice.burn_in=100",
    "--config.vice.window=100",
    "--config.vice.max_steps=200",
    "--config.vice.cooldown_steps=100",
    "--config.vice.check_every=50",
    "--config.ud.lambdas=(0.1,0.01)",
    "--config.ud.max_iterations=50",
    "--config.embeddings=things/features.npy",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of data: 3,000 simulated choices among 40 objects, and features of 12 columns."""
    rng = np.random.default_rng(0)
    concepts = rng.gamma(0.5, 1.5, (N_OBJECTS, 4))
    rows = np.stack([rng.permutation(N_OBJECTS)[:3] for _ in range(3000)])
    s = (concepts[rows[:, [0, 0, 1]]] * concepts[rows[:, [1, 2, 2]]]).sum(-1)
    pair = (s + rng.gumbel(size=s.shape)).argmax(1)
    ordered = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]])[pair]
    folder = tmp_path_factory.mktemp("made") / "data"
    (folder / "things").mkdir(parents=True)
    np.savetxt(folder / "things/triplets.txt", np.take_along_axis(rows, ordered, 1), fmt="%d")
    x = concepts @ rng.normal(size=(4, 12)) + 0.5 * rng.normal(size=(N_OBJECTS, 12))
    np.save(folder / "things/features.npy", x.astype(np.float32))
    return folder


def _command(data, workdir, *options):
    base = [sys.executable, "main.py", *SMALL, f"--config.data_dir={data}", f"--workdir={workdir}"]
    return [*base, *options]


@pytest.fixture(scope="module")
def run(environment):
    def run(data, workdir, *options):
        return subprocess.run(
            _command(data, workdir, *options),
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="module")
def uninterrupted(made, run, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    done = run(made, workdir)
    assert done.returncode == 0, done.stderr
    return workdir, done


def _results(workdir):
    """All that a run found, with the hash of every artifact, without the time of day."""
    found = json.loads((workdir / "results.json").read_text())
    del found["finished"]
    return found


def _temporaries(workdir):
    return [p.name for p in workdir.rglob("*") if p.name.startswith(".") or ".parts" in p.name]


def test_results(uninterrupted):
    workdir, done = uninterrupted
    found = _results(workdir)
    odd = found["odd_one_out"]
    for measured in (found["vice"]["heldout_accuracy"], *odd.values()):
        assert 0 <= measured["low"] < measured["value"] < measured["high"] <= 1
        assert measured["n"] > 0
    assert found["vice"]["heldout_accuracy"]["n"] == 300
    assert {"original", "ud_soft", "ud_hard"} <= set(odd)
    # VICE learned something: its interval is above guessing.
    assert found["vice"]["heldout_accuracy"]["low"] > 1 / 3
    assert (workdir / "report.html").read_text().lstrip().lower().startswith("<!doctype html")
    for name in ("results.json", "report.html"):
        assert str(workdir / name) in done.stdout
    assert not _temporaries(workdir)


def test_a_second_run_skips_every_step(uninterrupted, run, made):
    workdir, first = uninterrupted
    before = _results(workdir)
    steps = [line.split(":")[0] for line in first.stderr.splitlines() if ": running" in line]
    assert len(steps) == 5
    again = run(made, workdir)
    assert again.returncode == 0, again.stderr
    for step in steps:
        assert f"{step}: up to date, skipped" in again.stderr
    assert ": running" not in again.stderr
    assert _results(workdir) == before
    assert first.stdout == again.stdout


def test_a_changed_choice_of_lambdas_runs_only_what_depends_on_it(uninterrupted, run, made):
    workdir, _ = uninterrupted
    copy = workdir.parent / "other"
    shutil.copytree(workdir, copy)
    done = run(made, copy, "--config.ud.lambdas=(0.3,)")
    assert done.returncode == 0, done.stderr
    running = [line.split(":")[0] for line in done.stderr.splitlines() if ": running" in line]
    assert running == ["ud_soft.npz", "ud_hard.npz"]


@pytest.mark.parametrize(
    "checkpoint", ["vice.npz.parts/*/seed1.npz", "ud_hard.npz.parts/*/lambda0_fold1.npz"]
)
def test_killed_and_run_again(uninterrupted, run, made, environment, tmp_path, checkpoint):
    process = subprocess.Popen(
        _command(made, tmp_path),
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not any(tmp_path.glob(checkpoint)):
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (tmp_path / "results.json").exists(), "killed too late to test anything"
    done = run(made, tmp_path)
    assert done.returncode == 0, done.stderr
    assert _results(tmp_path) == _results(uninterrupted[0])
    assert not _temporaries(tmp_path)


def _bad(made, tmp_path, file, write):
    data = tmp_path / "data"
    shutil.copytree(made, data)
    if write is None:
        (data / file).unlink()
    else:
        write(data / file)
    return data


def _edit(change):
    def write(path):
        x = np.load(path)
        np.save(path, change(x), allow_pickle=True)

    return write


def _nan(x):
    x[7, 3] = np.nan
    return x


FEATURES, TRIPLETS = "things/features.npy", "things/triplets.txt"
BAD_DATA = {
    "nan": (FEATURES, _edit(_nan), (FEATURES, "row 7", "expected finite numbers")),
    # Found out where the triplets are read.
    "wrong row count": (FEATURES, _edit(lambda x: x[:-1]), (TRIPLETS, "for 39 objects")),
    "object array": (FEATURES, _edit(lambda x: x.astype(object)), (FEATURES, "pickle", "expected")),
    "no features": (FEATURES, None, (FEATURES, "no such file", "expected")),
    "no triplets": (TRIPLETS, None, (TRIPLETS, "no such file", "expected")),
    "out of range": (
        TRIPLETS,
        lambda path: path.write_text(path.read_text() + "0 1 40\n"),
        (TRIPLETS, "row 3001", "expected indices from 0 to 39"),
    ),
    "too few": (TRIPLETS, lambda path: path.write_text("0 1 2\n3 4 5\n"), (TRIPLETS, "expected")),
    "published": (
        "things/vice_embedding.npy",
        lambda path: np.save(path, np.ones((20, 3), np.float32)),
        ("things/vice_embedding.npy", "20 rows", "expected 40"),
    ),
    "names": (
        "things/unique_id.txt",
        lambda path: (
            path.write_text("\n".join(f"object{i:02}" for i in range(41))),
            path.with_name("sortindex").write_text("\n".join(map(str, range(41)))),
        ),
        (FEATURES, "40 rows", "expected 41"),
    ),
}


BAD_OPTIONS = {
    "--config.vice.lrr=1": ("the config has no field 'lrr'",),
    "--workdir=README.md/run": ("Not a directory", "README.md"),
    "--config.vice.lr=fast": ("lr", "fast"),
    "--config=configs/thing.py": ("configs/thing.py",),
    "--confg=configs/things.py": ("confg",),
    "configs/things.py": ("configs/things.py",),
    "--workdir=": ("--workdir=FOLDER",),
    "--config.data_dir=/no/such/folder": ("/no/such/folder", "expected"),
    "--config.data_dir=": ("config.data_dir is empty", "expected"),
}


@pytest.fixture(scope="module")
def bad_runs(made, run, uninterrupted, tmp_path_factory):
    """All runs with something wrong, two at a time: most of their time is starting up."""

    def start(name):
        folder = tmp_path_factory.mktemp("bad")
        if name in BAD_OPTIONS:
            return name, folder / "work", run(made, folder / "work", name)
        file, write, _ = BAD_DATA[name]
        return name, folder / "work", run(_bad(made, folder, file, write), folder / "work")

    with ThreadPoolExecutor(2) as pool:
        return {name: rest for name, *rest in pool.map(start, [*BAD_DATA, *BAD_OPTIONS])}


@pytest.mark.parametrize("name", [*BAD_DATA, *BAD_OPTIONS])
def test_bad_input_ends_in_one_sentence(bad_runs, name):
    workdir, done = bad_runs[name]
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and done.stderr.count("error:") == 1, done.stderr
    assert done.stderr.splitlines()[-1] == errors[0]
    assert "Traceback" not in done.stderr and done.stdout == ""
    for part in BAD_OPTIONS.get(name) or BAD_DATA[name][2]:
        assert part in errors[0]
    _assert_nothing_half_written(workdir)


def _assert_nothing_half_written(workdir):
    """What is there is a whole artifact with its manifest, and nothing else is there."""
    if workdir.is_dir():
        names = {path.name for path in workdir.iterdir()}
        artifacts = {name for name in names if name.endswith((".npz", ".npy"))}
        parts = {name for name in names if name.endswith(".parts")}
        assert names - parts == artifacts | {f"{name}.manifest.json" for name in artifacts}
        assert not any(path.is_file() for part in parts for path in (workdir / part).rglob("*"))


def test_a_recipe_that_is_not_there_is_named(environment, tmp_path):
    """Without any override the file is first looked at by `main`, not by the flags."""
    done = subprocess.run(
        [sys.executable, "main.py", "--config=configs/thing.py", f"--workdir={tmp_path / 'run'}"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and "configs/thing.py" in done.stderr
    assert not (tmp_path / "run").exists()


def test_options_that_are_off_can_be_given_a_number(environment):
    options = ["--config.distill.grad_clip=1", "--config.distill.ema=0.99"]
    done = subprocess.run(
        [sys.executable, "main.py", "--config=configs/distill_siglip_b16.py", *options],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    # It comes to look at the files.
    assert done.stderr.startswith("error: config.weights is empty"), done.stderr
