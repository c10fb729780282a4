"""`configs/ablations.py`, run whole at a tiny size: its report, resumption and refusals."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Too small to learn anything.
SMALL = (
    "--config=configs/ablations.py",
    "--config.ablations=('images','things')",
    "--config.toy.n_things=96",
    "--config.toy.n_pool=60",
    "--config.toy.n_triplets=3000",
    "--config.toy.n_test=300",
    "--config.teacher.variant=mu/8",
    *(f"--config.{name}.n_images=200" for name in ("teacher", "students.medium")),
    *(f"--config.{name}.steps=8" for name in ("teacher", "students.medium", "distill")),
    *(f"--config.{name}.warmup_steps=1" for name in ("teacher", "students.medium", "distill")),
    "--config.vice.n_seeds=1",
    "--config.vice.init_dim=10",
    "--config.vice.batch_size=256",
    "--config.vice.burn_in=50",
    "--config.vice.window=50",
    "--config.vice.max_steps=50",
    "--config.vice.cooldown_steps=50",
    "--config.ud.lambdas=(0.1,)",
    "--config.ud.max_iterations=10",
    "--config.clusters.ks=(4,8)",
    "--config.clusters.restarts=1",
    "--config.sampling.n_triplets=200",
    "--config.distill.batch_size=8",
    "--config.distill.checkpoint_every=2",
    "--config.n_images=(30,)",
    "--config.direct.peak_lr=(0.006,)",
    "--config.direct.pull=(0.0,)",
    "--config.tests.n_images=180",
    "--config.tests.shots=(1,2)",
    "--config.tests.draws=2",
)


def _start(environment, *command):
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ablate(environment, workdir, *options, status=0):
    process = _start(environment, "main.py", *SMALL, f"--workdir={workdir}", *options)
    out, err = process.communicate(timeout=500)
    assert process.returncode == status and "Traceback" not in err, err
    return out, err


def _numbers(workdir):
    found = json.loads((workdir / "results.json").read_text())
    del found["finished"]
    return found


@pytest.fixture(scope="module")
def whole(environment, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("ablations")
    return workdir, *_ablate(environment, workdir)


@pytest.mark.slow
def test_the_recipe_scores_every_student_and_says_what_came_out(whole, environment, tmp_path):
    workdir, out, _ = whole
    found = _numbers(workdir)
    trained = [(row["trained as"], row["size"]) for row in found["students"]]
    direct = "things: lr 0.006 pull 0"
    assert trained == [(arm, "medium") for arm in ("base", "aligned", "images: 30", direct)]
    for row in found["students"]:
        kinds = [f"{n}-shot, {kind}" for n in (1, 2) for kind in ("categories", "surface")]
        for test in ("people's choices", "new categories", *kinds):
            assert row[test]["low"] <= row[test]["value"] <= row[test]["high"]
        assert row["people's choices"]["n"] == 300
    assert len(found["findings"]) == 4 and all(one["paper"] in out for one in found["findings"])
    page = (workdir / "report.html").read_text()
    assert "Number of images: How does it grow?" not in page  # two numbers are no curve
    assert "Fine-tuning on people" in page and "More human, and better at seeing?" in page

    runs = ",".join(str(workdir / "evals" / arm) for arm in ("base", "aligned", "images/30"))
    process = _start(environment, "-m", "evals", "compare", f"--runs={runs}", f"--out={tmp_path}")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0 and "new_category, 1-shot" in out, err


@pytest.mark.slow
def test_what_is_up_to_date_is_skipped(whole, environment):
    workdir, out, _ = whole
    before = _numbers(workdir)
    again, err = _ablate(environment, workdir)
    assert ": running" not in err and again == out and _numbers(workdir) == before


@pytest.mark.slow
def test_killed_while_an_arm_trains_and_run_again(whole, environment, tmp_path):
    workdir, *_ = whole
    process = _start(environment, "main.py", *SMALL, f"--workdir={tmp_path}")
    deadline = time.monotonic() + 400
    while not list(tmp_path.glob("arms/things/*/medium.npz.parts/*/checkpoints/[4-9]*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, err = _ablate(environment, tmp_path)
    assert "distill: resuming after step" in err
    assert _numbers(tmp_path) == _numbers(workdir)
    assert not list(tmp_path.rglob("*.parts")) and not list(tmp_path.rglob(".*"))


@pytest.mark.slow
def test_a_bad_value_ends_in_one_sentence_before_anything_is_made(environment, tmp_path):
    workdir = tmp_path / "new"
    _, err = _ablate(environment, workdir, "--config.n_images=(30,100)", status=2)
    assert err.count("error: ") == 1 and "config.n_images has 100; expected" in err
    assert not list(workdir.rglob("*.npz"))
