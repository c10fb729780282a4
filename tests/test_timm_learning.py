"""Few-shot learning of many models: the same numbers in any order, cut off and in any processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alignet.data.labelled import open_labelled
from alignet.errors import InputError
from evals import fewshot
from evals.answers import Answers, Score
from evals.models import from_embeddings
from evals.options import FewShot, Options
from evals.statistics.intervals import Measured
from evals.timm_study import labels, learning

SHOTS, DRAWS, SEED = (1, 2), 2, 3
CHOSEN = FewShot((), SHOTS, DRAWS, ("logistic",))
MODELS = ("a.x_in1k", "a.y_in1k", "b")  # what differs follows the dot, as in timm
SETS = ("coarse/test", "fine")
IDS = np.array([f"{i:02d}" for i in range(48)])
Y = {"coarse/test": np.arange(48) % 2, "fine": np.arange(48) % 4}
CLASSES = {"coarse/test": ["cat", "dog"], "fine": ["ant", "bee", "cow", "doe"]}
# Slowly, so that it can be killed between two jobs.
SCRIPT = """
import sys, time
from pathlib import Path
from alignet.runtime import files
from tests import test_timm_learning as t
write = files.write_json
files.write_json = lambda *given: (write(*given), time.sleep(1))
t.run(t.folders(Path(sys.argv[1])), Path(sys.argv[2]), processes=2)
"""


def rows(model, name):
    """Of classes that overlap, so that numbers tell what was learnt from."""
    rng = np.random.default_rng([MODELS.index(model), SETS.index(name)])
    return np.float32(np.eye(4)[Y[name]] @ rng.normal(size=(4, 6)) + rng.normal(size=(48, 6)))


def arrays(model, name):
    known = {"labels": Y[name], "classes": np.array(CLASSES[name])}
    return {"ids": IDS, "embeddings": rows(model, name)} | known


def save(folder, model, name, **changed):
    path = folder / model / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = arrays(model, name) | changed
    np.savez(path, **{key: array for key, array in whole.items() if array is not None})
    return path


def save_all(folder, models=MODELS, sets=SETS):
    for model in models:
        for name in sets:
            save(folder, model, name)
    return folder


def folders(folder):
    return {path.name: path for path in sorted(folder.iterdir())}


def run(paths, cache, processes=1, sets=None, chosen=CHOSEN):
    """Accuracies and notes."""
    sets = labels.labelled_sets([*paths.values()]) if sets is None else sets
    settings = {"seed": SEED, "cache": cache, "processes": processes}
    return learning.accuracies(paths, sets, chosen, **settings)


def written(cache):
    """When the answers were written, by name."""
    paths = sorted(path for path in cache.rglob("*.json") if not path.name.startswith("."))
    return {path.relative_to(cache).as_posix(): path.stat().st_mtime_ns for path in paths}


@pytest.fixture(autouse=True, scope="module")
def compiled(tmp_path_factory):
    """What one of the processes has compiled is kept for others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("jax")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of models, the cache of an uninterrupted run in two processes, and its numbers."""
    folder = save_all(tmp_path_factory.mktemp("whole") / "models")
    cache = folder.parent / "cache"
    found, notes = run(folders(folder), cache, processes=2)
    assert notes == []
    return folder, cache, found


########################################## Numbers ##########################################


def test_numbers_are_those_of_the_eval(whole):
    folder, _, found = whole
    assert list(found) == [(model, name) for name in SETS for model in MODELS]
    options = Options(fewshot=CHOSEN, seed=SEED)
    for (model, name), shares in found.items():
        path = folder / model / f"{name}.npz"
        task = fewshot.task(name, open_labelled(path, name=name), None, options)
        [opened] = from_embeddings(path)
        answers = fewshot.score(fewshot.Data([task], (), {}), opened, options)
        assert shares == {
            ("logistic", n): answers.find(name, f"accuracy, logistic, {n}-shot") for n in SHOTS
        }
    assert len({shares["logistic", 2] for shares in found.values()}) == len(found)


def test_neither_order_nor_files_nor_processes_change_numbers(whole, tmp_path):
    *_, found = whole
    order = np.random.default_rng(0).permutation(48)
    for name in SETS:
        shuffled = {key: a[order] for key, a in arrays("b", name).items() if key != "classes"}
        save(tmp_path, "b", name, **shuffled)
    both = {
        "ids": np.concatenate([[f"{name}/{one}" for one in IDS] for name in SETS]),
        "embeddings": np.concatenate([rows("a.x_in1k", name) for name in SETS]),
    }
    np.savez(tmp_path / "both.npz", **both)
    paths = {"b": tmp_path / "b", "a.x_in1k": tmp_path / "both.npz"}
    again, notes = run(paths, tmp_path / "cache", processes=1)
    assert again == {key: found[key] for key in again} and len(again) == 4 and notes == []


def test_labels_that_are_given(whole, tmp_path):
    *_, found = whole
    folder = tmp_path / "models"
    save(folder, "b", "fine", labels=None, classes=None)
    order = np.arange(48)[::-1]
    known = {"classes": np.array(CLASSES["fine"])}
    np.savez(tmp_path / "fine.npz", ids=IDS[order], labels=Y["fine"][order], **known)
    assert labels.labelled_sets([folder / "b"]) == []
    sets = labels.given_sets(["fine.npz"], tmp_path)
    again, notes = run(folders(folder), tmp_path / "cache", sets=sets)
    assert again == {("b", "fine"): found["b", "fine"]} and notes == []
    with pytest.raises(InputError, match=r"^fine: two sets of labels are called so"):
        run(folders(folder), tmp_path / "cache", sets=sets * 2)


def test_sets_and_models_that_are_absent_and_notes(tmp_path):
    save(tmp_path / "m", "a.x_in1k", "fine", embeddings=np.ones((48, 2), np.float32))
    save(tmp_path / "m", "a.y_in1k", "coarse/test")
    (tmp_path / "m" / "b").mkdir()
    found, notes = run(folders(tmp_path / "m"), tmp_path / "cache")
    assert set(found) == {("a.x_in1k", "fine"), ("a.y_in1k", "coarse/test")}
    assert notes == [
        "2 of 3 models have no embeddings of coarse/test: a.x_in1k, b.",
        "2 of 3 models have no embeddings of fine: a.y_in1k, b.",
        "a.x_in1k: fine, logistic, 1-shot: 88 of 88 answers are ties between classes, which counts "
        "as wrong.",
        "a.x_in1k: fine, logistic, 2-shot: 80 of 80 answers are ties between classes, which counts "
        "as wrong.",
    ]
    # A single file has rows of the sets that its ids begin with, not of any that count alike.
    np.savez(tmp_path / "bare.npz", ids=IDS, embeddings=rows("b", "fine"))
    sets = labels.labelled_sets([tmp_path / "m" / "a.x_in1k"])
    paths = {"bare": tmp_path / "bare.npz"}
    assert run(paths, tmp_path / "cache", sets=sets) == (
        {},
        ["1 of 1 models have no embeddings of fine: bare."],
    )


def test_other_read_outs(tmp_path, monkeypatch):
    """Every one is asked for under its own name; nothing is computed."""
    seen = []

    def score(data, model, options):
        seen.append(options.fewshot)
        by_name = [
            Score("fine", f"accuracy, {head}, {n}-shot", Measured(n / 9, 0.0, 1.0, n))
            for head in options.fewshot.heads
            for n in options.fewshot.shots
        ]
        return Answers(by_name, {}, ["a note"])

    monkeypatch.setattr(fewshot, "score", score)
    chosen = CHOSEN._replace(heads=("linear", "mlp"))
    path = save(tmp_path, "b", "fine")
    task = fewshot.task("fine", open_labelled(path), None, Options(fewshot=chosen))
    shares, notes = learning._learn(task, path, Options(fewshot=chosen))
    assert [(head, n, value.n) for head, n, value in shares] == [
        (head, n, n) for head in ("linear", "mlp") for n in SHOTS
    ]
    assert notes == ["a note"] and seen == [chosen]


########################################## Refusals ##########################################


def others(name="fine", **changed):
    """Changes to the second model's file that make it differ from the first's."""
    known = arrays("b", name)
    return {key: change(known[key]) for key, change in changed.items()}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            others(labels=lambda y: np.where(np.arange(48) == 5, 2, y)),
            r"b/fine\.npz: the label of 05 is 2; expected 1, as in .*a\.x_in1k/fine\.npz\.$",
        ),
        (
            others(classes=lambda c: np.array(["ant", "bee", "cow", "deer"])),
            r"b/fine\.npz: the class 3 is called 'deer'; expected 'doe', as in .*a\.x_in1k/fine",
        ),
        (
            others(classes=lambda c: np.array([*c, "eel"])),
            r"b/fine\.npz: has 5 classes; expected 4, as in .*a\.x_in1k/fine\.npz\.$",
        ),
        (
            others(ids=lambda i: i[:40], labels=lambda y: y[:40], embeddings=lambda x: x[:40]),
            r"b/fine\.npz: has 40 images of fine; expected 48, as in .*a\.x_in1k/fine\.npz\.$",
        ),
        (
            others(ids=lambda i: np.where(i == "07", "99", i)),
            r"b/fine\.npz: 1 of 48 expected ids are missing \(07\) and it has 1 other \(99\)",
        ),
        (
            others(ids=lambda i: np.where(i == "07", "06", i)),
            r"b/fine\.npz: the id '06' comes twice; expected unique ids",
        ),
        (others(ids=lambda i: np.arange(48)), r"b/fine\.npz: ids are int64 \[48\]"),
        (others(labels=lambda y: y[:47]), r"b/fine\.npz: labels are int64 \[47\] for 48 images"),
    ],
)
def test_labels_that_differ_are_refused(tmp_path, changed, message):
    save(tmp_path, "a.x_in1k", "fine")
    save(tmp_path, "b", "fine", **changed)
    with pytest.raises(InputError, match=message):
        labels.labelled_sets([tmp_path / "a.x_in1k", tmp_path / "b"])


def test_damaged_files_and_too_few_images(tmp_path):
    save(tmp_path, "a.x_in1k", "fine")
    save(tmp_path, "a.x_in1k", "fine", ids=np.where(IDS == "07", "06", IDS))
    with pytest.raises(InputError, match=r"a\.x_in1k/fine\.npz: the id '06' comes twice"):
        labels.labelled_sets([tmp_path / "a.x_in1k"])
    path = save(tmp_path, "b", "fine")
    path.with_name(".fine-12345678.npz").write_bytes(b"")  # left by a process that was killed
    with pytest.raises(InputError, match=r"^fine: class 'ant' has 12 images; 12 shots need 13"):
        run({"b": tmp_path / "b"}, tmp_path / "c", chosen=CHOSEN._replace(shots=(12,)))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"b/fine\.npz: not a whole NumPy file"):
        labels.labelled_sets([tmp_path / "b"])


def test_bad_rows_end_the_run_and_what_is_finished_is_kept(whole, tmp_path):
    folder, _, found = whole
    sets = labels.labelled_sets([folder / "b"])
    wrong = rows("a.x_in1k", "coarse/test")
    wrong[9, 4] = np.nan
    models = save_all(tmp_path / "models", models=MODELS[:1])
    path = save(models, "a.x_in1k", "coarse/test", embeddings=wrong)
    message = rf"^{path}: row 9, column 4 \(both from 0\) is nan; expected finite"
    with pytest.raises(InputError, match=message):
        run(folders(models), tmp_path / "cache", sets=sets)
    assert not multiprocessing.active_children()
    kept = written(tmp_path / "cache")
    assert [*kept] == ["a.x_in1k/fine.json"]  # which takes longer, and so comes first
    # Rows that are not those of the labels, in a file without.
    save(models, "a.x_in1k", "coarse/test", ids=np.char.add("x", IDS), labels=None, classes=None)
    with pytest.raises(InputError, match=r"not all of coarse/test is there: 48 of 48 expected ids"):
        run(folders(models), tmp_path / "cache", sets=sets)
    save(models, "a.x_in1k", "coarse/test")
    again, _ = run(folders(models), tmp_path / "cache", sets=sets)
    assert again == {key: found[key] for key in again} and len(again) == 2
    assert kept.items() < written(tmp_path / "cache").items()


########################################## Cut off ##########################################


def test_only_what_changed_is_done_again(whole, tmp_path, monkeypatch):
    folder, _, found = whole
    models = save_all(tmp_path / "models")
    for path in models.rglob("*.npz"):
        stamp = (folder / path.relative_to(models)).stat().st_mtime_ns
        os.utime(path, ns=(stamp, stamp))
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in written(whole[1]):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes((whole[1] / name).read_bytes())
    before = written(cache)
    # The folder may be elsewhere now; no process is started.
    with monkeypatch.context() as patch:
        patch.setattr(learning, "_run", None)
        assert run(folders(models), cache) == (found, [])
    save(models, "b", "fine", embeddings=rows("a.x_in1k", "fine"))
    again, _ = run(folders(models), cache)
    assert again == found | {("b", "fine"): found["a.x_in1k", "fine"]}
    after = written(cache)
    assert {name for name in after if after[name] != before[name]} == {"b/fine.json"}


def test_other_settings_are_other_jobs(whole, monkeypatch):
    folder, cache, _ = whole
    [fine] = [one for one in labels.labelled_sets([folder / "b"]) if one.name == "fine"]
    renamed = fine._replace(classes=("ant", "bee", "cow", "deer"))

    def key(labelled=fine, **changed):
        options = Options(fewshot=CHOSEN, seed=SEED)._replace(**changed)
        path = folder / "b" / "fine.npz"
        return learning._job("b", labelled, labelled.digest, path, options, cache).key

    keys = [key(), key(renamed), key(seed=4)]
    for change in ({"shots": (1, 3)}, {"draws": 3}, {"heads": ("logistic", "mlp")}):
        keys.append(key(fewshot=CHOSEN._replace(**change)))
    monkeypatch.setattr("alignet.__version__", "next")
    keys.append(key())
    assert len({*keys}) == len(keys)


def test_a_killed_process_ends_in_a_sentence_and_the_next_run_goes_on(whole, tmp_path, monkeypatch):
    folder, _, found = whole
    cache, times = tmp_path / "cache", []

    def wait(connections):
        times.append(connections)
        if len(times) == 2:
            [worker] = multiprocessing.active_children()
            os.kill(worker.pid, signal.SIGKILL)
        return multiprocessing.connection.wait(connections)

    with monkeypatch.context() as patch:
        patch.setattr(learning, "wait", wait)
        with pytest.raises(InputError, match=r"fine\.npz: the process .* was killed \(SIGKILL\)"):
            run(folders(folder), cache)
    assert not multiprocessing.active_children()
    before = written(cache)
    assert len(before) == 1
    assert run(folders(folder), cache)[0] == found
    assert before.items() < written(cache).items()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_killed_and_resumed_is_as_uninterrupted(whole, tmp_path):
    folder, _, found = whole
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", SCRIPT, str(folder), str(cache)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1]) as parent:
        while not written(cache) and parent.poll() is None:
            time.sleep(0.01)
        children = _children(parent.pid)
        parent.kill()
    before = written(cache)
    assert 0 < len(before) < 6 and children
    deadline = time.monotonic() + 20
    while any(map(_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, children))
    assert run(folders(folder), cache, processes=2)[0] == found
    assert before.items() < written(cache).items()


def _state(pid):
    """Of a process, and its parent's number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone", 0
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def _children(pid):
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [number for number in numbers if _state(number)[1] == pid]


def _alive(pid):
    return _state(pid)[0] not in ("gone", "Z", "X")


def test_an_exception_in_a_process_ends_the_run(tmp_path, capfd):
    """What is no fault of the input is printed by the process that it ends."""
    save(tmp_path, "b", "fine")
    [fine] = labels.labelled_sets([tmp_path / "b"])
    options = Options(fewshot=CHOSEN, seed=SEED)
    job = learning._job("b", fine, "", tmp_path / "b" / "fine.npz", options, tmp_path / "cache")
    with pytest.raises(InputError, match="the process that was learning from it ended with 1"):
        learning._run([job], {}, options, 1)
    assert "KeyError: 'fine'" in capfd.readouterr().err


########################################## Order ##########################################


def test_large_jobs_come_first_and_processes_stay_with_a_shape():
    def job(model, width):
        return learning.Job(model, "s", Path(model), Path(model), model, ("s", width), width)

    waiting = [job("a", 9), job("b", 9), job("c", 4), job("d", 1)]
    large, _, mid, small = waiting
    assert learning._next(waiting, None, []) == large
    assert learning._next(waiting, None, [large]) == mid
    assert learning._next(waiting, small, [large]) == small
    assert learning._next(waiting[:2], small, [large]) == large


def test_many_notes_are_cut(tmp_path, monkeypatch):
    save(tmp_path / "m", "b", "fine")

    def made_up(jobs, *_):
        return {job: {"shares": [], "notes": [f"note {i}" for i in range(12)]} for job in jobs}

    monkeypatch.setattr(learning, "_run", made_up)
    _, notes = run(folders(tmp_path / "m"), tmp_path / "cache")
    more = f"2 more such notes are in {tmp_path / 'cache'}."
    assert notes == [*(f"b: note {i}" for i in range(10)), more]
