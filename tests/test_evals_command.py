"""The command `python -m evals` on a small world of all evals: its files and what it says."""

import base64
import contextlib
import io
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats

from alignet.data import judgments, things_choices
from alignet.data.embeddings import load_embeddings
from alignet.runtime import files
from evals import __main__ as command
from evals import runs
from evals.answers import PEOPLE
from evals.statistics import odd_one_out
from tests import command_case as case
from tests.evals_case import IDS

ROOT = Path(__file__).resolve().parents[1]
EVALS = [
    *("things", "things_photographs", "uncertainty", "levels"),
    *("peterson", "king", "cichy", "kriegeskorte92", "between_models"),
]
SOME = ["cichy", "things", "levels", "uncertainty"]
HEADLINES = 10  # numbers of these evals


class Ran(NamedTuple):
    out: Path
    status: int
    said: str
    told: str


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    seen = case.write_world(folder / "data")
    for name, noise in (("blind", 30), ("clear", 0.3), ("hazy", 1)):
        case.write_model(folder / "features" / f"{name}.npz", seen, noise)
    return folder


@pytest.fixture(scope="module")
def three(world):
    """The command on three models, all evals."""
    options = {"embeddings": f"{world}/features/*.npz", "evals": None, "resamples": 60}
    arguments = case.arguments(world / "data", world / "deep" / "out", **options)
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        status = command.main(arguments)
    return Ran(world / "deep" / "out", status, said.getvalue(), told.getvalue())


@pytest.fixture(scope="module")
def one(world, environment):
    """The command on one model and some evals, in a process of its own."""
    options = {"embeddings": world / "features" / "clear.npz", "resamples": 60}
    options["evals"] = ",".join(SOME)
    out = world / "one"
    run = subprocess.run(
        [sys.executable, "-m", "evals", *case.arguments(world / "data", out, **options)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    return Ran(out, run.returncode, run.stdout, run.stderr)


@pytest.fixture(params=["three", "one"])
def ran(request):
    return request.getfixturevalue(request.param)


def test_the_command_ends_well_and_tells_nothing_but_progress(ran):
    assert ran.status == 0
    assert ran.told and all(line.startswith("evals: ") for line in ran.told.splitlines())


def test_results_are_printed_with_where_they_are(three, one):
    for ran in (three, one):
        lines = ran.said.splitlines()
        assert lines[-2:] == [
            f"Results: {ran.out / 'results.json'}",
            f"Report:  {ran.out / 'report.html'}",
        ]
        digest = case.results(ran.out)["config_hash"]
        assert lines[-3] == f"95 % intervals in brackets; seed 0, settings {digest}."
    assert three.said.splitlines()[0].split() == ["clear", "hazy", "blind", "people"]
    accuracy = case.scores(three.out, "things", "clear")["all", "accuracy"]
    value, low, high = (100 * accuracy[key] for key in ("value", "low", "high"))
    sentence = f"THINGS: clear has {value:.1f}\u00a0% [{low:.1f}, {high:.1f}] (people among"
    assert sentence in three.said and sentence in one.said
    assert "the next best. It is better than all 2 others at α = .05." in three.said
    assert "α = .05" not in one.said
    assert "levels: 557 answers of 20 people to 113 triplets" in one.said


def test_every_eval_is_scored(three, one):
    for ran, models, evals in (
        (three, ["blind", "clear", "hazy"], EVALS),
        (one, ["clear"], SOME),
    ):
        results = case.results(ran.out)
        assert results["models"] == models
        assert list(results["evals"]) == evals
        assert all(list(found) == [PEOPLE, *models] for found in results["evals"].values())
        assert results["skipped"] == []


def test_a_models_numbers_do_not_depend_on_other_models(three, one):
    for name in SOME:
        alone, among = (case.results(ran.out)["evals"][name]["clear"] for ran in (one, three))
        assert alone == among


def test_numbers_are_those_of_the_statistics(world, three):
    ids, matrix = load_embeddings(world / "features" / "clear.npz")
    row = dict(zip(ids.tolist(), np.asarray(matrix), strict=True))
    choices = things_choices.load(world / "data")
    assert set(choices.ids) == set(IDS)
    x = np.stack([row[f"things/{name}"] for name in choices.ids])
    expected = odd_one_out.run(x, choices.triplets)
    found = case.scores(three.out, "things", "clear")
    assert expected.accuracy.as_dict().items() <= found["all", "accuracy"].items()
    assert expected.cross_entropy.as_dict().items() <= found["all", "cross-entropy"].items()

    upper = np.triu_indices(12, 1)
    values = []
    for human in judgments.load_peterson(world / "data"):
        x = np.stack([row[f"{human.name}/{name}"] for name in human.ids])
        rho = scipy.stats.spearmanr(np.corrcoef(x)[upper], human.similarity[upper]).statistic
        values.append(rho)
    found = case.scores(three.out, "peterson", "clear")
    sets = [found[name, "spearman/pearson"]["value"] for name in ("animals", "fruits", "coarse")]
    np.testing.assert_allclose(sets, values, rtol=1e-9)
    assert found["fine", "spearman/pearson"]["value"] == pytest.approx(np.mean(values[:2]))


def test_whoever_sees_more_clearly_is_more_human(three):
    for name, subset, metric in (
        ("things", "all", "accuracy"),
        ("levels", "fine", "accuracy"),
        ("peterson", "coarse", "spearman/pearson"),
        ("cichy", "all", "spearman/pearson"),
    ):
        values = [
            case.scores(three.out, name, model)[subset, metric]["value"]
            for model in ("clear", "hazy", "blind")
        ]
        assert values == sorted(values, reverse=True)


########################################## Files ##########################################


def test_the_folder_holds_these_files(three, one):
    assert sorted(path.name for path in three.out.iterdir()) == [
        *("answers", "differences.csv", "figures", "individuals.csv"),
        *("report.html", "results.json", "scores.csv"),
    ]
    assert sorted(path.name for path in one.out.iterdir()) == sorted(
        path.name for path in three.out.iterdir()
    )
    loaded = runs.load(three.out)
    assert list(loaded.answers) == EVALS
    assert loaded.answers["things"]["hazy"].arrays["all/accuracy/correct"].dtype == bool


def test_the_table_has_every_number_of_the_results(ran):
    results = case.results(ran.out)
    rows = case.read_csv(ran.out / "scores.csv")
    header = (ran.out / "scores.csv").read_text().splitlines()[0]
    assert header == "model,eval,subset,metric,value,low,high,n,seed,hash"

    def number(text):
        return float(text) if text else None

    found = [
        {
            **{key: row[key] for key in ("model", "eval", "subset", "metric")},
            **{key: number(row[key]) for key in ("value", "low", "high")},
            "n": int(row["n"]),
        }
        for row in rows
    ]
    expected = [
        {"model": model, "eval": name} | score
        for name, by_model in results["evals"].items()
        for model, answers in by_model.items()
        for score in answers["scores"]
    ]
    assert found == expected
    assert len(expected) > 150
    assert {(row["seed"], row["hash"]) for row in rows} == {("0", results["config_hash"])}
    # Nothing is said twice, and values lie within their intervals.
    keys = [tuple(row[key] for key in ("model", "eval", "subset", "metric")) for row in found]
    assert len(set(keys)) == len(keys)
    for row in found:
        if row["low"] is not None and row["value"] is not None:
            assert row["low"] <= row["value"] + 1e-9 and row["value"] - 1e-9 <= row["high"], row


def test_differences_have_every_pair_of_models_on_every_headline(three, one):
    rows = case.read_csv(three.out / "differences.csv")
    assert len(rows) == 3 * HEADLINES
    pairs = {(row["first"], row["second"]) for row in rows}
    assert pairs == {("blind", "clear"), ("blind", "hazy"), ("clear", "hazy")}
    for row in rows:
        first, second = (
            case.scores(three.out, row["eval"], row[side])[row["subset"], row["metric"]]["value"]
            for side in ("first", "second")
        )
        assert float(row["difference"]) == pytest.approx(first - second)
        assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
        shown = float(row["p_holm"]) <= 0.05
        winner = row["first"] if first > second else row["second"]
        assert row["better"] == (winner if shown else "")
    assert any(row["better"] for row in rows) and not all(row["better"] for row in rows)
    assert case.read_csv(one.out / "differences.csv") == []


def test_individuals_are_the_people_of_the_data(three):
    rows = case.read_csv(three.out / "individuals.csv")
    people = {}
    for row in rows:
        people.setdefault(row["eval"], set()).add(row["person"])
    assert people["things"] == {f"person {i}" for i in range(6)}
    assert people["levels"] == {f"participant_{i}" for i in range(20)}
    assert people["cichy"] == {f"person {i + 1}" for i in range(4)}
    assert all(math.isfinite(float(row["value"])) for row in rows)


def test_what_it_was_made_with_is_told(world, three):
    results = case.results(three.out)
    names = {Path(path).name for path in results["inputs"]}
    assert {
        *("blind.npz", "clear.npz", "hazy.npz", "DERIVED_things_to_ilsvrc.csv"),
        *("unique_id.txt", "sortindex", "similarity.npz", "filenames.json", "BEHAVIOR.mat"),
        *("judgments_general.mat", "kriegeskorte92.npz", "participant_0.json"),
        Path(things_choices.TABLE).name,
    } <= names
    path = world / "features" / "clear.npz"
    assert results["inputs"][str(path)] == files.sha256(path)
    assert results["settings"]["resamples"] == 60
    assert results["settings"]["levels"]["min_votes"] == 4
    assert {"alignet", "numpy", "scipy"} <= results["versions"].keys()


########################################## The report ##########################################


class Reader(HTMLParser):
    """Collects tags, headings and pictures, and checks that tags are closed in order."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.headings, self.text = [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)


def test_the_report_needs_nothing_from_outside(ran):
    page = Reader(ran.out / "report.html")
    assert page.open == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    pictures = 0
    for tag, attributes in page.tags:
        assert not {"srcset", "onload", "onerror", "action"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")
        if tag == "img":
            head, _, data = attributes["src"].partition(",")
            assert head in ("data:image/svg+xml;base64", "data:image/png;base64")
            if "svg" in head:
                svg = base64.b64decode(data)
                ElementTree.fromstring(svg)
                assert not re.search(rb'href="(?!#|data:)', svg)
            pictures += 1
    assert pictures >= 6
    html = (ran.out / "report.html").read_text(encoding="utf-8")
    assert "url(" not in html and "@import" not in html


def test_the_report_has_a_section_an_eval_and_the_numbers(three, one):
    for ran, ranked in ((three, ["clear", "hazy", "blind"]), (one, ["clear"])):
        page = Reader(ran.out / "report.html")
        results = case.results(ran.out)
        assert len(page.headings) == len(results["evals"]) + 3
        assert page.headings[-2:] == ["All numbers", "Provenance"]
        assert results["config_hash"] in page.text
        for model in ranked:
            value = case.scores(ran.out, "things", model)["all", "accuracy"]["value"]
            assert f"{value:.4f}" in page.text
        assert not re.search(r"\b(nan|inf)\b", page.text)
    text = Reader(three.out / "report.html").text
    assert "3 models and people" in text
    assert "By its mean rank over the tests clear is the most human of 3 models" in text
    assert "clear and people" in Reader(one.out / "report.html").text
