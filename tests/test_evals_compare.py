"""`python -m evals compare` on runs of the real command: two settings of two models."""

import contextlib
import io
import json
import re
import shutil

import numpy as np
import pytest

from evals import __main__ as command
from evals import comparison
from evals.pages import figures
from tests import command_case as case

EVALS = "things,levels,peterson,cichy"


@pytest.fixture(scope="module", autouse=True)
def few_pictures():
    """Drawing takes most of the time; test_comparison_figures looks at what is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "svg", lambda figure: "<svg/>")
        patch.setattr(comparison, "MOST_CLOUDS", 0)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs: two models as they were and aligned, and one of the models alone."""
    folder = tmp_path_factory.mktemp("runs")
    seen = case.write_world(folder / "data")
    for setting, noise in (("before", 4), ("after", 0.3)):
        for seed, name in enumerate(("clip", "dino")):
            path = folder / setting / f"{name}.npz"
            case.write_model(path, seen, noise + seed / 2, seed=seed)
    for out, pattern in (("original", "before/*"), ("aligned", "after/*")):
        score(folder, folder / out, embeddings=f"{folder}/{pattern}.npz")
    other = {"evals": "king", "embeddings": folder / "before" / "clip.npz"}
    score(folder, folder / "other", **other)
    return folder


def score(folder, out, **options):
    options = {"evals": EVALS, "resamples": 60} | options
    assert command.main(case.arguments(folder / "data", out, **options)) == 0


def compare(out, *folders, **options):
    given = {"runs": ",".join(map(str, folders)), "out": out} | options
    return command.main(["compare", *(f"--{name}={value}" for name, value in given.items())])


@pytest.fixture(scope="module")
def compared(runs):
    """The folder of a comparison, and what was printed."""
    out, said, told = runs / "compared", io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        status = compare(out, runs / "original", runs / "aligned", labels="as it was,aligned")
    assert (status, told.getvalue()) == (0, "")
    return out, said.getvalue()


def test_a_comparison_says_which_setting_is_more_human(runs, compared):
    out, said = compared
    lines = said.splitlines()
    assert re.split("  +", lines[0]) == ["test", "model", "as it was", "aligned", "highest"]
    rows = [re.split("  +", line) for line in lines[2:]]
    of_things = [row for row in rows if row[0] == "THINGS"]
    assert [(row[1], row[4]) for row in of_things] == [("clip", "aligned"), ("dino", "aligned")]
    for row in of_things:
        for column, run in ((2, "original"), (3, "aligned")):
            value = case.scores(runs / run, "things", row[1])["all", "accuracy"]["value"]
            assert row[column].startswith(f"{value:.4f} [")
    hashes = [case.results(runs / run)["config_hash"] for run in ("original", "aligned")]
    assert lines[-3].endswith(f"settings as it was {hashes[0]}, aligned {hashes[1]}.")
    assert lines[-2:] == [f"Results: {out / 'results.json'}", f"Report:  {out / 'report.html'}"]
    page = (out / "report.html").read_text()
    assert "aligned is more human than as it was in" in page
    assert all(f"Provenance: {label}" in page for label in ("as it was", "aligned"))


def test_differences_are_those_of_the_scores(runs, compared):
    out, _ = compared
    assert sorted(path.name for path in out.iterdir()) == [
        *("differences.csv", "figures", "report.html", "results.json")
    ]
    rows = case.read_csv(out / "differences.csv")
    assert tuple(rows[0]) == comparison.DIFFERENCE_COLUMNS
    # Two models on THINGS, three levels with doubts, two of Peterson's numbers, and Cichy's.
    assert len(rows) == 2 * (1 + 2 * 3 + 2 + 1)
    for row in rows:
        assert (row["first"], row["second"]) == ("aligned", "as it was")
        after, before = (
            case.scores(runs / run, row["eval"], row["model"])[row["subset"], row["metric"]]
            for run in ("aligned", "original")
        )
        assert float(row["difference"]) == pytest.approx(after["value"] - before["value"])
        assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
    assert sum(row["better"] == "aligned" for row in rows) >= 4
    assert not any(row["better"] == "as it was" for row in rows)

    results = case.results(out)
    assert list(results["runs"]) == ["as it was", "aligned"]
    told = [{k: "" if v is None else v for k, v in row.items()} for row in results["differences"]]
    for row, expected in zip(rows, told, strict=True):
        numbers = {k: type(expected[k])(v) for k, v in row.items()}
        assert numbers == expected


@pytest.mark.slow
def test_the_same_comparison_gives_the_same_bytes(runs, compared, tmp_path, capsys):
    first, said = compared
    folders = f"{runs / 'original'},{runs / 'aligned'}"
    # Options may stand apart from their values.
    again = ["--runs", folders, "--labels", "as it was,aligned", "--out", str(tmp_path)]
    assert command.main(["compare", *again]) == 0
    for name in ("results.json", "differences.csv", "report.html"):
        assert (first / name).read_bytes() == (tmp_path / name).read_bytes()
    assert capsys.readouterr().out == said.replace(str(first), str(tmp_path))


########################################## Refusals ##########################################


def refused(capsys, status, message):
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err


# Labels that are bad, and what is said of them.
LABELS = {
    "one too few": ("a", "found 1 for 2 runs"),
    "the same": ("a,a", "'a' cannot name a run"),
    "empty": ("a,", "'a,' has an empty part"),
    "people's": ("a,people", "'people' cannot name a run"),
    "a column's": ("test,a", "'test' cannot name a run"),
    "another column's": ("a,highest", "'highest' cannot name a run"),
}


@pytest.mark.parametrize(("labels", "message"), LABELS.values(), ids=LABELS)
def test_bad_labels_are_refused(runs, tmp_path, capsys, labels, message):
    folders = runs / "original", runs / "aligned"
    refused(capsys, compare(tmp_path / "out", *folders, labels=labels), message)


def test_bad_runs_are_refused(runs, tmp_path, capsys):
    original, out = runs / "original", tmp_path / "out"
    for folders, message in (
        ([original], "found 1 folder; expected two or more"),
        ([original, tmp_path / "none"], "none: no such folder"),
        ([original, runs / "data"], "data: has no results.json; expected the --out folder"),
        ([original, runs / "other"], "have no eval in common"),
        ([original, original], "'original' cannot name a run"),
    ):
        refused(capsys, compare(out, *folders), message)
    refused(capsys, command.main(["compare", f"--out={out}"]), "--runs")
    refused(capsys, command.main(["compare", f"--runs={original}"]), "--out")
    refused(capsys, compare(out, original, runs / "aligned", seed=1), "--seed=1")
    assert not out.exists() or not [*out.iterdir()]


@pytest.fixture
def aligned(runs, tmp_path):
    """A copy of a run that may be damaged."""
    return shutil.copytree(runs / "aligned", tmp_path / "aligned")


def test_a_comparison_is_not_written_over_a_run(runs, aligned, capsys):
    before = (aligned / "results.json").read_bytes()
    refused(capsys, compare(aligned, runs / "original", aligned), f"--out: {aligned}")
    assert (aligned / "results.json").read_bytes() == before


# What somebody did to results.json.
DAMAGE = {
    "no time": lambda r: r.pop("finished"),
    "a digest that is none": lambda r: r["inputs"].update(dict.fromkeys(r["inputs"], 1)),
    "another score": lambda r: r["evals"]["things"]["clip"]["scores"][0].update(value=0.9),
    "a model too many": lambda r: r["evals"]["things"].update(other={"scores": [], "notes": []}),
    "a comparison": lambda r: r.pop("evals"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_results_that_were_changed_are_refused(runs, aligned, tmp_path, capsys, damage):
    results = case.results(aligned)
    damage(results)
    (aligned / "results.json").write_text(json.dumps(results))
    refused(capsys, compare(tmp_path / "out", runs / "original", aligned), str(aligned))


def test_runs_of_other_data_are_not_tested_against_each_other(runs, tmp_path, capsys):
    choices = runs / "data" / "things"
    [table] = choices.glob("triplets_large*")
    before = table.read_bytes()
    lines = before.split(b"\n")
    table.write_bytes(b"\n".join([*lines[:-20], b""]))
    try:
        out = tmp_path / "fewer"
        score(runs, out, evals="things", embeddings=f"{runs}/after/*.npz")
    finally:
        table.write_bytes(before)
    capsys.readouterr()
    assert compare(tmp_path / "out", runs / "original", out) == 0
    assert "had other data than" in capsys.readouterr().out
    assert case.read_csv(tmp_path / "out" / "differences.csv") == []
    assert np.isfinite(case.scores(out, "things", "clip")["all", "accuracy"]["value"])
