"""The four-way comparison, run small."""

import csv
import json

import jax
import numpy as np
import pytest

from alignet import cross_validation, students, transform
from alignet.errors import InputError
from alignet.recipes import alignet_dataset
from configs import four_way as recipe
from evals import __main__ as command
from evals.recipes import four_way
from tests import command_case, judgments_case, recipes_case

SETTINGS = ("original", "distillation", "UD", "AligNet")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two datasets, of a teacher with and without alignment, and people's choices."""
    folder = recipes_case.write(tmp_path_factory.mktemp("made"))
    config = recipes_case.dataset(folder, transform="untransformed")
    alignet_dataset.run(config, folder / "dataset")
    data = command_case.write_data(folder / "data")
    recipes_case.write_photographs(data)
    pixels = np.random.default_rng(2).integers(0, 256, (12, 20, 20, 3), np.uint8)
    judgments_case.write_kriegeskorte92(data, judgments_case.distances(n=12), pixels)
    return folder


def configured(made, **changes):
    untransformed = made / "dataset" / "untransformed" / "cluster-boundary" / "alignet_train.npz"
    defaults = {"untransformed": str(untransformed), "people.data_dir": str(made / "data")}
    changes = recipes_case.PEOPLE | defaults | {"compared": ("things", "kriegeskorte92")} | changes
    return recipes_case.training(made, recipe, **changes)


@pytest.fixture(scope="module")
def whole(made):
    four_way.run(configured(made), made / "run")
    return made / "run"


def test_the_settings_are_what_the_paper_means_by_them(made, whole):
    original = students.load_weights(whole / "original" / "student.npz")
    given = students.load("mu16", made / "mu16.npz", image_size=32)
    assert original[0] == given.student
    jax.tree.map(np.testing.assert_array_equal, original[1], jax.device_get(given.params))
    assert transform.load_transform(whole / "human" / "ud.npz").W.shape == (32, 32)
    # Each was trained on its own dataset: the first step of both has the same weights, so that
    # losses differ by what the teachers say.
    first = [
        json.loads((whole / name / "metrics.jsonl").open().readline())["loss"]
        for name in ("distillation", "alignet")
    ]
    assert first[0] != first[1]


def test_all_settings_are_compared_on_what_was_asked_for(whole):
    rows = [*csv.DictReader((whole / "differences.csv").open())]
    pairs = {(row["first"], row["second"]) for row in rows}
    assert pairs == {(b, a) for i, a in enumerate(SETTINGS) for b in SETTINGS[i + 1 :]}
    # UD was fitted to the choices between the objects.
    assert {row["eval"] for row in rows} == {"things", "kriegeskorte92"}
    assert {row["eval"] for row in rows if "UD" in (row["first"], row["second"])} == {
        "kriegeskorte92"
    }
    results = json.loads((whole / "results.json").read_text())
    assert tuple(results["runs"]) == SETTINGS
    page = (whole / "report.html").read_text()
    assert all(setting in page for setting in SETTINGS)


def test_what_ud_was_fitted_to_is_said_and_what_it_makes_of_the_rest(made, whole):
    """Its score on THINGS is of choices that it has seen: folds of the objects are what counts."""
    [note] = json.loads((whole / "results.json").read_text())["notes"]
    folds = cross_validation.load_cross_validation(whole / "human" / "ud.npz")
    right = folds.correct[folds.chosen, np.arange(len(folds.chosen))].sum()
    n = folds.n_held_out.sum()
    assert f"Of the {n:,} choices between objects of one fold" in note
    assert f"UD fitted without that fold {right / n:.1%} [" in note
    assert "What the settings have seen" in (whole / "report.html").read_text()


@pytest.mark.parametrize(
    "setting, options",
    [
        ("original", {"checkpoint": "original"}),
        ("alignet", {"checkpoint": "alignet"}),
        ("ud", {"checkpoint": "original", "transform": "human/ud.npz"}),
    ],
)
def test_scores_are_those_of_the_command(made, whole, tmp_path, setting, options):
    options = {name: whole / path for name, path in options.items()}
    arguments = command_case.arguments(
        made / "data", tmp_path / "out", evals="things,kriegeskorte92", **options
    )
    assert command.main(arguments) == 0
    mine, its = (
        [[row["value"], row["low"], row["high"]] for row in csv.DictReader(path.open())]
        for path in (whole / "evals" / setting / "scores.csv", tmp_path / "out" / "scores.csv")
    )
    assert mine == its and len(mine) > 0


def test_the_same_command_goes_on_where_it_was(made, whole, capsys):
    kept = [whole / name / "student.npz" for name in ("distillation", "alignet")]
    before = [path.read_bytes() for path in kept]
    [scored] = (whole / "evals" / "embeddings" / "alignet").rglob("things.npz")
    embedded = scored.stat().st_mtime_ns
    kept[1].unlink()
    capsys.readouterr()
    four_way.run(configured(made), whole)
    assert [path.read_bytes() for path in kept] == before
    assert scored.stat().st_mtime_ns == embedded
    told = capsys.readouterr()
    assert "ud.npz: up to date, skipped" in told.err and "report.html" in told.out


@pytest.mark.slow
def test_a_given_transform_is_taken(made, tmp_path):
    four_way.run(configured(made, ud_file=str(made / "ud.npz")), tmp_path)
    assert not (tmp_path / "human").exists()
    scores = [(tmp_path / "evals" / name / "scores.csv").read_text() for name in ("original", "ud")]
    accuracies = [
        [row.split(",")[4] for row in score.splitlines() if "accuracy" in row] for score in scores
    ]
    assert accuracies[0] == accuracies[1]  # it is the identity


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"untransformed": ""}, "config.untransformed is empty; expected the dataset of the teach"),
        ({"untransformed": "none.npz"}, "none.npz: no such file"),
        ({"ud_file": "none.npz"}, "none.npz: no such file"),
        (
            {"ud_file": "narrow.npz"},
            "narrow.npz: is of embeddings of 8 columns and the network has",
        ),
        ({"distill.dense": True}, "config.distill.dense is True, which is of one teacher"),
        ({"validation": "valid.npz"}, "config.validation is valid.npz, which is of one teacher"),
        ({"compared": ("thing",)}, "config.compared: 'thing' is unknown; expected some of things"),
        ({"people.data_dir": ""}, "config.people.data_dir is empty"),
        ({"weights": ""}, "config.weights is empty"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(made, tmp_path, changes, message):
    if changes.get("ud_file") == "narrow.npz":
        changes = {"ud_file": str(tmp_path / "narrow.npz")}
        narrow = transform.Transform(np.array(0.0), np.array(1.0), np.eye(8), np.zeros(8))
        transform.save_transform(changes["ud_file"], narrow)
    with pytest.raises(InputError, match=message):
        four_way.run(configured(made, **changes), tmp_path / "run")
    assert not (tmp_path / "run" / "distillation").exists()
