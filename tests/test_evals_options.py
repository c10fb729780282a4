"""Options of `python -m evals`: each does what it says, and equal ones give equal bytes."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from alignet import transform
from alignet.data.embeddings import Embeddings, save_embeddings
from alignet.data.levels import Filters
from alignet.errors import InputError
from evals import __main__ as command
from evals import scoring
from evals.answers import HUMAN
from evals.options import FewShot, Options
from evals.pages import figures
from evals.statistics import odd_one_out
from tests import command_case as case
from tests import levels_case
from tests.evals_case import TRIPLETS, X, human_matrix

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Reports are looked at elsewhere; drawing takes most of the time."""
    monkeypatch.setattr(figures, "svg", lambda figure: "<svg/>")


@pytest.fixture
def data_dir(tmp_path):
    return case.write_data(tmp_path / "data")


@pytest.fixture
def embeddings(tmp_path):
    return case.write_embeddings(tmp_path / "e.npz")


@pytest.fixture
def run(tmp_path, data_dir, embeddings):
    """Runs the command on the small world; gives its results."""

    def run(**options):
        options = {"embeddings": embeddings, "resamples": 30} | options
        out = options.pop("out", tmp_path / "out")
        assert command.main(case.arguments(data_dir, out, **options)) == 0
        return case.results(out)

    return run


def scores(results, name, model="e"):
    return {(s["subset"], s["metric"]): s for s in results["evals"][name][model]["scores"]}


########################################## Options ##########################################


def parsed(*arguments):
    return command._options(command.parse(["--embeddings=e.npz", "--out=out", *arguments]))


def test_without_options_the_defaults_hold():
    assert parsed() == Options(cache=Path("out/cache"))
    options = command.parse(["--embeddings=e.npz", "--out=out"])
    assert options.evals is None and options.data_dir == Path("data")


def test_every_option_reaches_the_evals():
    filters = {"min_votes": 2, "max_votes": 7, "excess": "drop", "max_trials": 99}
    filters |= {"max_seconds": 4.5, "ties": "fractional", "seed": 8}
    assert filters.keys() == set(Filters._fields)
    chosen = {"similarity": "cosine", "tau": 0.07, "seed": 3, "resamples": 50}
    chosen |= {"human_uncertainty": Path("u.npy"), "triplets": Path("t.npz")}
    chosen |= {"imagenet": "pictures", "before": "vit"}
    few = {"data": ("cifar100", "a/b.npz"), "shots": (1, 40), "draws": 5, "heads": ("mlp", "ridge")}
    assert few.keys() == set(FewShot._fields)
    given = [f"--{name}={value}" for name, value in chosen.items()]
    given += [f"--levels_{name}={value}" for name, value in filters.items()]
    given += ["--fewshot_data=cifar100,a/b.npz", "--fewshot_shots=40,1,40", "--fewshot_draws=5"]
    given += ["--fewshot_heads=mlp,ridge", "--mask_missing"]
    own = {"levels": Filters(**filters), "fewshot": FewShot(**few), "cache": Path("out/cache")}
    assert parsed(*given) == Options(**chosen, **own, mask_missing=True)
    assert {*chosen, *own, "mask_missing"} == set(Options._fields)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--fewshot_shots=1,0", "'1,0' is not whole numbers from 1 on, by commas"),
        ("--fewshot_shots=", "'' is not whole numbers"),
        ("--fewshot_draws=0", "'0' is not a whole number from 1 on"),
        ("--fewshot_heads=ridge,svm", "'svm' is none of ridge, logistic, linear, mlp"),
    ],
)
def test_bad_few_shot_options_are_refused(option, said):
    with pytest.raises(InputError, match=re.escape(said)):
        parsed(option)


def test_evals_are_run_once_in_the_order_named(run):
    assert list(run(evals="peterson,things,peterson")["evals"]) == ["peterson", "things"]


def test_similarity_and_temperature_are_those_of_the_statistics(run):
    for similarity, tau in (("dot", 1.0), ("cosine", 0.1)):
        found = scores(run(similarity=similarity, tau=tau), "things")
        expected = odd_one_out.run(X, TRIPLETS, similarity=similarity, tau=tau)
        assert found["all", "accuracy"]["value"] == expected.accuracy.value
        value = found["all", "cross-entropy"]["value"]
        assert value == pytest.approx(expected.cross_entropy.value)


def test_the_seed_and_the_number_of_resamples_move_intervals_alone(run):
    first, *others = (
        scores(run(evals="peterson", **options), "peterson")
        for options in ({"seed": 1}, {"seed": 2}, {"seed": 1, "resamples": 31})
    )
    for other in others:
        assert first.keys() == other.keys()
        for key, score in first.items():
            assert other[key]["value"] == score["value"]
        key = "fruits", "spearman/pearson"
        assert other[key]["low"] != first[key]["low"]


def test_a_plain_matrix_has_the_things_objects_and_nothing_else(tmp_path, run, capsys):
    np.save(tmp_path / "e.npy", X)
    results = run(embeddings=tmp_path / "e.npy", evals=None)
    assert list(results["evals"]) == ["things", "uncertainty"]
    expected = odd_one_out.run(X, TRIPLETS).accuracy
    assert scores(results, "things")["all", "accuracy"]["value"] == expected.value
    said = capsys.readouterr().out
    assert "peterson skipped: its rows have no ids; expected an .npz with `ids`" in said
    assert re.search(r"levels skipped: .*levels: no .json files there", said)
    skipped = {name for name, *_ in results["skipped"]}
    human = {name for name, asked in scoring.QUESTIONS.items() if asked.family == HUMAN}
    assert skipped == human - {"things", "uncertainty"} < set(command.EVALS)


def test_a_transform_is_applied_to_every_row(tmp_path, run):
    rng = np.random.default_rng(0)
    ud = transform.Transform(
        np.array(0.1), np.array(2.0), rng.normal(size=(5, 5)), rng.normal(size=5)
    )
    transform.save_transform(tmp_path / "t.npz", ud)
    results = run(transform=tmp_path / "t.npz")
    expected = odd_one_out.run((X - 0.1) / 2 @ ud.W + ud.b, TRIPLETS).accuracy
    assert scores(results, "things")["all", "accuracy"]["value"] == expected.value
    assert expected != odd_one_out.run(X, TRIPLETS).accuracy
    assert str(tmp_path / "t.npz") in results["inputs"]


def test_missing_pairs_are_left_out_if_asked(data_dir, run, capsys):
    human = human_matrix()
    human[2, 5] = human[5, 2] = np.nan
    np.savez(data_dir / "peterson" / "similarity.npz", fruits=human, various=human_matrix())
    results = run(evals="peterson", mask_missing=True)
    upper = np.triu_indices(12, 1)
    known = np.isfinite(human[upper])
    rho = scipy.stats.spearmanr(np.corrcoef(X)[upper][known], human[upper][known]).statistic
    found = scores(results, "peterson")
    assert found["fruits", "spearman/pearson"]["value"] == pytest.approx(rho, rel=1e-12)
    assert "fruits: 1 of 66 pairs are not known (NaN)" in capsys.readouterr().out


def test_given_uncertainties_are_correlated_with_the_models(tmp_path, run):
    np.save(tmp_path / "u.npy", np.random.default_rng(0).dirichlet(np.ones(3), len(TRIPLETS)))
    results = run(evals="uncertainty", human_uncertainty=tmp_path / "u.npy", tau=2)
    found = scores(results, "uncertainty")
    metric = "spearman of entropy with given uncertainty"
    taus = [key[1].removeprefix(metric) for key in found if key[1].startswith(metric)]
    assert {", tau=0.1", ", tau=1", ", tau=2", ", tau=10", ", tau=100"} <= {*taus}
    assert found["all", f"{metric}, tau=2"]["n"] == 220
    assert str(tmp_path / "u.npy") in results["inputs"]
    assert results["settings"]["human_uncertainty"] == str(tmp_path / "u.npy")


def test_filters_of_levels_decide_what_is_kept(tmp_path, data_dir, run, capsys):
    votes = [[5, 0, 0], [2, 2, 1], [4, 0, 0], [0, 3, 3], [1, 1, 1], [0, 5, 0]]
    levels_case.write_votes(data_dir, votes)
    ids = np.array([name for number in range(6) for name in levels_case.names("coarse", number)])
    matrix = np.random.default_rng(0).normal(size=(18, 4))
    save_embeddings(tmp_path / "m.npz", Embeddings(ids, matrix))
    options = {"embeddings": tmp_path / "m.npz", "evals": "levels"}
    by_default = scores(run(**options), "levels", "m")
    assert "1 of 5 coarse triplets have no majority" in capsys.readouterr().out
    assert by_default["coarse", "accuracy"]["n"] == 4
    strict = scores(run(**options, levels_excess="drop", levels_min_votes=5), "levels", "m")
    assert strict["coarse", "accuracy"]["n"] == 2
    shared = scores(run(**options, levels_ties="fractional"), "levels", "m")
    assert shared["coarse", "accuracy"]["n"] == 5


########################################## Models ##########################################


def test_a_pattern_scores_all_files_under_names_that_differ(tmp_path, run):
    for name in ("a/e", "b/e", "b/f"):
        path = tmp_path / "features" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        case.write_embeddings(path)
    (tmp_path / "features" / "b" / "notes.txt").write_text("not a model")
    results = run(embeddings=f"{tmp_path}/features/*/*")
    assert results["models"] == ["a/e", "b/e", "f"]
    assert list(results["evals"]["things"]) == ["people", "a/e", "b/e", "f"]


def test_a_model_without_rows_is_left_out_with_a_note(tmp_path, run, capsys):
    (tmp_path / "features").mkdir()
    case.write_embeddings(tmp_path / "features" / "all.npz")
    ids = np.array(["someone", "else"])
    save_embeddings(tmp_path / "features" / "other.npz", Embeddings(ids, X[:2]))
    results = run(embeddings=f"{tmp_path}/features/*.npz", evals=None)
    assert results["models"] == ["all", "other"]
    assert list(results["evals"]["things"]) == ["people", "all"]
    assert (
        "things skipped: not all of things is there: 12 of 12 expected ids are missing (object00, "
        "object01, object02, …) and it has 2 others (someone, else). (other)"
    ) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["people", "test", "model"])
def test_a_model_may_be_called_as_anything(tmp_path, run, capsys, name):
    case.write_embeddings(tmp_path / f"{name}.npz")
    results = run(embeddings=tmp_path / f"{name}.npz")
    called = "people (model)" if name == "people" else name
    assert results["models"] == [called]
    [score] = [s for s in results["evals"]["things"][called]["scores"] if s["metric"] == "accuracy"]
    shown = f"{score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}]"
    assert capsys.readouterr().out.splitlines()[2].split("  ")[:2] == ["THINGS", shown]


########################################## Bytes ##########################################


def without_times(folder):
    results = case.results(folder)
    return {key: value for key, value in results.items() if key not in ("finished", "seconds")}


def test_the_same_command_gives_the_same_bytes(tmp_path, run, capsys):
    said = []
    for out in (tmp_path / "once", tmp_path / "again"):
        run(evals="things,uncertainty,peterson", out=out)
        said.append(capsys.readouterr().out.replace(str(out), "OUT"))
    assert said[0] == said[1]
    assert without_times(tmp_path / "once") == without_times(tmp_path / "again")
    names = {path.relative_to(tmp_path / "once") for path in (tmp_path / "once").rglob("*")}
    assert names == {
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*")
    }
    for name in names:
        once, again = tmp_path / "once" / name, tmp_path / "again" / name
        if once.is_file() and name.name not in ("results.json", "report.html"):
            assert once.read_bytes() == again.read_bytes()
    pages = [(tmp_path / out / "report.html").read_text() for out in ("once", "again")]
    pages = [re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "", text) for text in pages]
    assert pages[0] == pages[1]


def test_a_run_replaces_what_another_left(tmp_path, run):
    run(evals="things,peterson")
    run(evals="things")
    assert sorted(path.name for path in (tmp_path / "out" / "answers").iterdir()) == ["things"]
    assert {row["eval"] for row in case.read_csv(tmp_path / "out" / "scores.csv")} == {"things"}


KILLED = """
import os, signal, sys
from evals import __main__ as command, answers
save, count = answers.save, 0
def deadly(path, found):
    global count
    save(path, found)
    count += 1
    if count == 3:
        path.write_bytes(path.read_bytes()[:100])
        os.kill(os.getpid(), signal.SIGKILL)
answers.save = deadly
command.main(sys.argv[1:])
"""


def test_a_killed_command_run_again_gives_the_same_bytes(
    tmp_path, data_dir, embeddings, run, environment
):
    options = {"evals": "things,peterson", "resamples": 30, "embeddings": embeddings}
    whole, again = tmp_path / "whole", tmp_path / "again"
    run(evals="things,peterson", out=whole)
    run(evals="things", out=again)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *case.arguments(data_dir, again, **options)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # Nothing is left of the run before that could be taken for this one's.
    assert not (again / "results.json").exists()
    assert command.main(["compare", f"--runs={whole},{again}", f"--out={tmp_path / 'c'}"]) == 2

    run(evals="things,peterson", out=again)
    assert without_times(again) == without_times(whole)
    assert (again / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
    files = [sorted(path.name for path in folder.rglob("*")) for folder in (whole, again)]
    assert files[0] == files[1]


def test_objects_without_names_are_taken_in_order(tmp_path, data_dir, run):
    for name in ("unique_id.txt", "sortindex"):
        (data_dir / "things" / name).unlink()
    np.save(tmp_path / "e.npy", X)
    results = run(embeddings=tmp_path / "e.npy")
    expected = odd_one_out.run(X, TRIPLETS).accuracy.value
    assert scores(results, "things")["all", "accuracy"]["value"] == expected
