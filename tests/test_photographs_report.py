"""The report on photographs: its numbers against slow ones, its words, and going on."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from alignet import students, transform
from alignet.data import judgments
from alignet.data.images import decode
from alignet.errors import InputError
from alignet.recipes import photographs
from evals import scoring
from evals.recipes import photographs_report as report
from evals.recipes import photographs_scores, photographs_tests
from evals.statistics.intervals import Measured
from tests import command_case
from tests.photographs_case import CLASSES, COLOURS, GROUPS, NAMES, SPLITS, N, write_world

BATCH = "student, all triplets in a batch"
HUMAN, THEIRS = "people's choices", "VICE's choices"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    config = write_world(folder)
    assert report.run(config, folder / "run") == 0
    return config, folder / "run"


def score(workdir, network, setting, test, split="mean"):
    results = json.loads((workdir / "results.json").read_text())
    keys = {"network": network, "setting": setting, "test": test, "split": split}
    [found] = [one for one in results["scores"] if keys.items() <= one.items()]
    return found


def difference(workdir, network, first, second, test, split="mean"):
    results = json.loads((workdir / "results.json").read_text())
    keys = {"network": network, "first": first, "second": second, "test": test, "split": split}
    [found] = [one for one in results["differences"] if keys.items() <= one.items()]
    return found


########################################## Numbers ##########################################


def embedded(weights, pixels):
    student, params = students.load_weights(weights)
    return np.asarray(students.embed(student, params, pixels), np.float64)


def concept_rows(config, weights):
    folder = Path(config.data_dir) / "images" / "imagenet_sample_1000"
    student, _ = students.load_weights(weights)
    pixels = np.stack(
        [
            students.resize(student, decode(folder / f"{wnid}_{i}.png")[0])
            for wnid in CLASSES.values()
            for i in range(2)
        ]
    )
    return embedded(weights, pixels).reshape(N, 2, -1).mean(axis=1)


def right(z, triplet):
    i, j, k = triplet
    return z[i] @ z[j] > max(z[i] @ z[k], z[j] @ z[k])


def slow_accuracy(choices, z_of_split, splits):
    """The mean over triplets of the mean over the splits that hold them out; and each split's."""
    values, each = [], [[] for _ in splits]
    for triplet in choices:
        own = []
        for place, held_out in enumerate(splits):
            if all(GROUPS[thing] in held_out for thing in triplet):
                own.append(right(z_of_split[place], triplet))
                each[place].append(own[-1])
        if own:
            values.append(np.mean(own))
    return np.mean(values), [np.mean(one) for one in each], len(values)


@pytest.mark.parametrize("setting", ["original", "UD", "AligNet"])
def test_held_out_choices_are_averaged_over_the_splits_that_hold_them_out(done, setting):
    config, workdir = done
    choices = np.loadtxt(Path(config.data_dir) / "things" / "triplets.txt", dtype=int)
    splits = [workdir / f"split{i}" for i in range(2)]
    if setting == "AligNet":
        z = [concept_rows(config, split / "aligned.npz") for split in splits]
    else:
        z = [concept_rows(config, workdir / "student.npz")] * 2
    if setting == "UD":
        uds = [transform.load_transform(split / "ud_student.npz") for split in splits]
        z = [transform.apply_transform(ud, one) for ud, one in zip(uds, z, strict=True)]
    mean, each, n = slow_accuracy(choices, z, SPLITS[:2])
    found = score(workdir, "student", setting, HUMAN)
    assert found["n"] == n and found["low"] < found["value"] < found["high"]
    np.testing.assert_allclose(found["value"], mean, rtol=1e-12)
    for place, one in enumerate(each):
        own = score(workdir, "student", setting, HUMAN, place)
        np.testing.assert_allclose(own["value"], one, rtol=1e-12)


def test_the_teacher_and_vice_are_asked_about_all_splits(done):
    config, workdir = done
    choices = np.loadtxt(Path(config.data_dir) / "things" / "triplets.txt", dtype=int)
    rows = np.load(workdir / "embeddings" / "ilsvrc.npz")["embeddings"].astype(np.float64)
    z = rows.reshape(N, 2, -1).mean(axis=1)
    vice = np.load(workdir / "concepts.npz")["vice"]
    uds = [transform.load_transform(workdir / f"split{i}" / "ud_teacher.npz") for i in range(3)]
    for setting, own in {
        "original": [z] * 3,
        "mean subtracted": [z - rows.mean(axis=0)] * 3,
        "UD": [transform.apply_transform(ud, z) for ud in uds],
        "VICE": [vice] * 3,
    }.items():
        mean, _, n = slow_accuracy(choices, own, SPLITS)
        found = score(workdir, "teacher", setting, HUMAN)
        assert found["n"] == n
        np.testing.assert_allclose(found["value"], mean, rtol=1e-12)


def test_vice_chooses_between_held_out_concepts_as_it_would_by_its_dot_products(done):
    config, _ = done
    vice = np.random.default_rng(3).gamma(0.5, size=(N, 4))
    hidden = [np.array([0, 4, 5, 9]), np.array([2, 3, 6])]
    triplets, asked = photographs_scores.vice_chooses(config, vice, hidden)
    assert [len(rows) for rows in asked] == [50, 50] and len(triplets) == 100
    for concepts, rows in zip(hidden, asked, strict=True):
        assert set(triplets[rows].ravel()) <= {*concepts.tolist()}
    assert all(right(vice, triplet) for triplet in triplets)


def test_similarities_are_compared_with_peoples_by_the_pearson_kernel(done):
    config, workdir = done
    [human] = judgments.load_kriegeskorte92(config.data_dir)
    upper = np.triu_indices(12, 1)
    found = []
    for place in range(2):
        z = embedded(workdir / f"split{place}" / "aligned.npz", human.photographs)
        rho = scipy.stats.spearmanr(np.corrcoef(z)[upper], human.similarity[upper])[0]
        own = score(workdir, "student", "AligNet", "92 photographs", place)
        np.testing.assert_allclose(own["value"], rho, atol=1e-9)
        found.append(rho)
    mean = score(workdir, "student", "AligNet", "92 photographs")
    np.testing.assert_allclose(mean["value"], np.mean(found), atol=1e-9)
    assert mean["n"] == 12 and mean["low"] < mean["value"] < mean["high"]


def test_cifar_is_cut_to_so_many_photographs_a_class(done):
    _, workdir = done
    some = np.load(workdir / "evals" / "cifar100.npz")
    assert np.bincount(some["labels"]).tolist() == [6] * COLOURS
    # Flat colours, which any network tells apart.
    found = score(workdir, "student", "original", "3-shot CIFAR-100")
    assert 1 / COLOURS < found["value"] <= found["high"] <= 1


@pytest.mark.parametrize("test", [HUMAN, THEIRS, "Peterson fruits", "1-shot CIFAR-100"])
def test_a_difference_is_that_of_the_scores_split_by_split(done, test):
    _, workdir = done
    for split in ("mean", 0, 1):
        found = difference(workdir, "student", "AligNet", "mean subtracted", test, split)
        one, other = (
            score(workdir, "student", setting, test, split)["value"]
            for setting in ("AligNet", "mean subtracted")
        )
        np.testing.assert_allclose(found["value"], one - other, atol=1e-12)
        assert found["low"] <= found["value"] <= found["high"]


def test_every_setting_has_every_test_and_every_split_in_the_table_of_scores(done):
    _, workdir = done
    rows = command_case.read_csv(workdir / "scores.csv")
    tests = [HUMAN, THEIRS, "Peterson animals", "Peterson fruits", "92 photographs"]
    tests += ["1-shot CIFAR-100", "3-shot CIFAR-100"]
    settings = ["original", "mean subtracted", "distillation", "UD", "AligNet"]
    batch = [f"{by} triplets{short}" for by in ("drawn", "all") for short in ("", ", short")]
    wanted = {
        (network, setting, test, split)
        for network, own, places in (
            ("student", settings, "01"),
            (BATCH, ["mean subtracted", *batch], "01"),
            ("teacher", ["original", "mean subtracted", "UD"], "012"),
        )
        for setting in own
        for test in tests
        for split in ("mean", *places)
    }
    wanted |= {("student", "VICE", HUMAN, split) for split in ("mean", *"01")}
    wanted |= {(BATCH, "VICE", HUMAN, split) for split in ("mean", *"01")}
    wanted |= {("teacher", "VICE", HUMAN, split) for split in ("mean", *"012")}
    keys = ("network", "setting", "test", "split")
    assert {tuple(row[key] for key in keys) for row in rows} == wanted and len(rows) == len(wanted)


########################################## Words ##########################################


def made_up(name, gain, *, percent=True):
    """A test on which AligNet is better than everything else by so much, with little noise."""
    rng = np.random.default_rng(0)
    settings = ["original", "mean subtracted", "distillation", "UD", "AligNet", "VICE"]
    units = {
        setting: [0.5 + gain * (setting == "AligNet") + 0.001 * rng.normal(size=50)] * 3
        for setting in settings
    }

    def mean(values, place=0):
        half = 1.96 * values.std() / 50**0.5
        return Measured(values.mean(), values.mean() - half, values.mean() + half, 50)

    return photographs_tests.Test(
        name, percent, 0.25, True, units, mean, lambda splits: mean(np.mean(splits, axis=0))
    )


def test_what_helps_what_hurts_and_what_is_not_shown_is_said():
    tests = [
        made_up(HUMAN, 0.1),
        made_up("fruits", -0.25, percent=False),
        made_up("CIFAR", 0.0001),
    ]
    settings = ("original", "mean subtracted", "distillation", "UD", "AligNet", "VICE")
    found = photographs_scores.Scores(settings, frozenset(), tests)
    *_, against_start, against_distilled, against_ud, _ = report.findings(
        {"student": found, "teacher": found}
    )
    for sentence in (against_start, against_distilled, against_ud):
        better, worse, unclear = sentence.split(": ")[1].split("; ")
        assert better.startswith("better on people's choices (+10.")
        assert worse.startswith("worse on fruits (−.25")
        assert unclear == "no difference is shown on CIFAR."


def test_the_page_begins_with_what_was_found_and_figures_are_written(done):
    _, workdir = done
    page = (workdir / "report.html").read_text()
    told = json.loads((workdir / "results.json").read_text())["found"]
    assert len(told) == 9 and page.index("What was found") < page.index("The teacher, for")
    assert "Students in training" in page and "0.0625" in page and "0.8125" in page
    kinds = {path.suffix for path in (workdir / "figures").iterdir()}
    assert kinds == {".pdf", ".png"} and len(list((workdir / "figures").iterdir())) == 6


########################################## Going on ##########################################


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_and_comes_to_the_same(done, tmp_path, monkeypatch, capsys):
    _, workdir = done
    config = write_world(tmp_path)
    whole, calls = scoring.run, []

    def cut_off(*args, **options):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(*args, **options)

    monkeypatch.setattr(scoring, "run", cut_off)
    with pytest.raises(KeyboardInterrupt):
        report.run(config, tmp_path / "run")
    capsys.readouterr()
    report.run(config, tmp_path / "run")
    said = capsys.readouterr().err
    # Nineteen networks in their settings, of which three were done.
    assert len(calls) == 4 + 16 and said.count("up to date, skipped") >= 3
    one, other = (
        json.loads((path / "results.json").read_text()) for path in (workdir, tmp_path / "run")
    )
    for key in ("found", "scores", "differences"):
        assert one[key] == other[key]
    report.run(config, tmp_path / "run")
    assert ": running" not in capsys.readouterr().err and len(calls) == 4 + 16


def test_without_photographs_of_other_studies_there_are_the_choices(tmp_path, monkeypatch):
    config = write_world(tmp_path)
    config.cifar.path = "none.npz"
    for name in ("peterson", "kriegeskorte92"):
        (tmp_path / "data" / name).rename(tmp_path / name)
    monkeypatch.setattr(report.page, "write_figures", lambda *_: None)
    report.run(config, tmp_path / "run")
    rows = command_case.read_csv(tmp_path / "run" / "scores.csv")
    assert {row["test"] for row in rows} == {HUMAN, THEIRS}


def test_what_is_missing_is_named(tmp_path):
    config = write_world(tmp_path)
    run, data = tmp_path / "run", tmp_path / "data"
    config.cifar.images_per_class = 9
    with pytest.raises(InputError, match=r"cifar100_test\.npz: class '0' has 8 images; 9"):
        report.run(config, run)
    picture = data / "images" / "imagenet_sample_1000" / f"{CLASSES[NAMES[3]]}_%d.png"
    for i in range(2):
        Path(str(picture) % i).unlink()
    with pytest.raises(InputError, match=r"no photographs of concept_03; expected some in"):
        report.run(config, run)
    (run / "split1" / "aligned.npz").unlink()
    with pytest.raises(InputError, match=r"aligned\.npz: no such file; expected a student"):
        report.run(config, run)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"cifar.shots": (1, 6)},
            r"config\.cifar\.shots is \(1, 6\); expected numbers from 1 to 5",
        ),
        ({"cifar.draws": 1}, r"config\.cifar\.draws is 1; expected 2 or more"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_is_made(tmp_path, change, expected):
    config = write_world(tmp_path)
    config.update_from_flattened_dict(change)
    with pytest.raises(InputError, match=expected):
        photographs.run(config, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_choices_that_no_split_holds_out_are_missed(tmp_path):
    config = write_world(tmp_path)
    path = tmp_path / "data" / "things" / "triplets.txt"
    # Never three of one half.
    path.write_text("0 1 2\n" * 20)
    with pytest.raises(InputError, match=r"triplets\.txt: nobody chose between concepts that spl"):
        report.run(config, tmp_path / "run")


@pytest.mark.slow
def test_what_the_recipe_makes_is_scored(tmp_path, capsys):
    config = write_world(tmp_path)
    others = tmp_path / "data" / "others"
    others.mkdir()
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(others / f"{CLASSES[NAMES[i]]}_{i}.png")
    config.others.path, config.student.layer = "others", 0
    config.splits, config.n_students = SPLITS[:2], 2
    config.ud.lambdas, config.ud.max_iterations, config.ud.n_folds = (1.0, 0.1), 20, 2
    config.n_triplets = 400
    config.clusters.ks, config.clusters.restarts = (4,), 1
    config.sampling.n_triplets = 60
    config.distill.steps, config.distill.warmup_steps, config.distill.batch_size = 8, 1, 4
    config.distill.log_every, config.short_steps = 1, 2
    workdir = tmp_path / "made"
    photographs.run(config, workdir)
    report.run(config, workdir)
    said = capsys.readouterr().out
    results = json.loads((workdir / "results.json").read_text())
    assert all(sentence in said for sentence in results["found"])
    # Before training, UD and the network that it is fitted to see the same photographs.
    ids, rows = (np.load(workdir / "student_concepts.npz")[key] for key in ("ids", "embeddings"))
    assert ids.tolist() == NAMES
    choices = np.loadtxt(Path(config.data_dir) / "things" / "triplets.txt", dtype=int)
    groups = np.load(workdir / "concepts.npz")["groups"]
    own = [t for t in choices if set(groups[t]) <= {0, 1}]
    np.testing.assert_allclose(
        score(workdir, "student", "original", HUMAN, 0)["value"],
        np.mean([right(rows.astype(np.float64), t) for t in own]),
        atol=1.5 / len(own),
    )
    assert (workdir / "report.html").read_text().count("distilled</td>") == 2
