"""The study run whole on made-up models: finds what was planted, says what is missing."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from evals.timm_study import __main__ as command
from evals.timm_study import families
from evals.timm_study.claims import CONTRADICTED, HOLDS, NOT_SHOWN, UNKNOWN
from tests import study_case

QUICK = ["--fewshot_shots=1,3", "--fewshot_draws=2", "--fewshot_heads=logistic", "--processes=1"]
GIVEN = ", given ImageNet top-1"
ONE_SHOT = "cifar100/test, logistic, 1-shot"


def arguments(folder, out="out", *, human=True, results=True, embeddings=True):
    given = [f"--out={folder / out}", *QUICK]
    given += [f"--human={folder / 'peterson'}"] if human else []
    given += [f"--timm_results={folder / 'results'}"] if results else []
    return given + ([f"--embeddings={folder / 'emb'}"] if embeddings else [])


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    truth = study_case.write(folder)
    assert command.main(["run", *arguments(folder)]) == 0
    return folder, truth


def test_alignment_is_the_planted_one(planted):
    folder, truth = planted
    table = pd.read_csv(folder / "out/models.csv", index_col="model")
    for metric in ("pearson", "spearman", "triplet"):
        found = table.loc[study_case.NAMES, metric]
        assert np.corrcoef(found, truth)[0, 1] > 0.9
    assert len(table) == 491 and table["pearson"].notna().sum() == len(study_case.NAMES)


def test_planted_u_is_found_and_others_are_not(planted):
    folder, _ = planted
    claims = {claim["claim"]: claim for claim in read(folder / "out/claims.csv")}
    for metric in ("Pearson", "Spearman", "triplet"):
        assert claims[f"{ONE_SHOT} is a U over {metric} alignment{GIVEN}"]["verdict"] == HOLDS
        assert claims[f"{ONE_SHOT} rises with z² of {metric} alignment{GIVEN}"]["verdict"] == HOLDS
        sketch = claims[f"ImageNet-Sketch top-1 rises with z² of {metric} alignment{GIVEN}"]
        assert sketch["verdict"] in (NOT_SHOWN, CONTRADICTED)
        assert sketch["n"] == str(len(study_case.NAMES))
    assert claims["every model does better by the labels of ReaL"]["verdict"] == HOLDS
    least = claims["the least aligned are better than the middling at few-shot learning"]
    assert least["verdict"] == HOLDS and least["found"] == "in 6 of 6 comparisons of means"


def test_everything_is_written(planted):
    folder, _ = planted
    out = folder / "out"
    names = {path.name for path in out.iterdir()}
    assert {"report.html", "results.json", "figures", "alignment.csv", "fewshot.csv"} <= names
    page = (out / "report.html").read_text()
    assert "Is it a U?" in page and "Does it hang on one family?" in page
    assert "2 sets of Peterson et al.; the paper has automobiles, fruits" in page
    results = json.loads((out / "results.json").read_text())
    assert results["n_embedded"] == len(study_case.NAMES) and results["seed"] == 0
    assert any("426 of 491 models have no embeddings" in note for note in results["notes"])
    rows = read(out / "correlations.csv")
    both = [r for r in rows if r["property"] == ONE_SHOT and r["metric"] == "pearson"]
    assert {(r["form"], r["given"]) for r in both} == {
        (form, given) for form in ("as it is", "z²") for given in ("", "ImageNet top-1")
    }
    assert all(r["r low"] and r["r high"] and r["r by families low"] and r["n"] for r in both)
    left_out = {row["without"] for row in read(out / "without_families.csv")}
    assert len(left_out) == 13 and "XCiT" in left_out


def test_partial_correlation_is_that_of_the_table(planted):
    import pingouin

    folder, _ = planted
    table = pd.read_csv(folder / "out/models.csv").dropna(subset=["pearson"])
    table["z2"] = ((table["pearson"] - table["pearson"].mean()) / table["pearson"].std(ddof=0)) ** 2
    theirs = pingouin.partial_corr(table, x="z2", y=ONE_SHOT, covar="imagenet top1")["r"].iloc[0]
    (ours,) = [
        float(row["r"])
        for row in read(folder / "out/correlations.csv")
        if (row["property"], row["metric"], row["form"]) == (ONE_SHOT, "pearson", "z²")
        and row["given"]
    ]
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_again_is_the_same_and_learns_nothing_anew(planted, capsys):
    folder, _ = planted
    before = (folder / "out/correlations.csv").read_bytes()
    kept = folder / "out/cache"
    times = {path: path.stat().st_mtime_ns for path in kept.rglob("*.json")}
    assert command.main(["run", *arguments(folder)]) == 0
    assert (folder / "out/correlations.csv").read_bytes() == before
    assert times == {path: path.stat().st_mtime_ns for path in kept.rglob("*.json")}


@pytest.mark.slow
def test_a_null_is_not_found(tmp_path):
    study_case.write(tmp_path, shape="none", seed=3)
    assert command.main(["run", *arguments(tmp_path)]) == 0
    for claim in read(tmp_path / "out/claims.csv"):
        if claim["claim"].startswith(f"{ONE_SHOT} is a U"):
            assert claim["verdict"] != HOLDS


def test_results_alone(tmp_path, capsys):
    study_case.write(tmp_path, names=study_case.NAMES[:30])
    shutil.rmtree(tmp_path / "emb")
    options = arguments(tmp_path, human=False, embeddings=False)
    assert command.main(["run", *options]) == 0
    claims = read(tmp_path / "out/claims.csv")
    known = [claim for claim in claims if claim["verdict"] != UNKNOWN]
    assert {claim["about"] for claim in known} == {"ImageNet accuracy"}
    assert all(claim["n"] == "30" for claim in known)
    text = capsys.readouterr().out
    assert "491 models, 0 with embeddings" in text and "nothing is said of alignment" in text


def test_ones_own_models_without_results(tmp_path, capsys):
    names = [f"mine{i}.block{i % 3}" for i in range(12)]
    study_case.write(tmp_path, names=names)
    options = arguments(tmp_path, results=False)
    assert command.main(["run", *options, f"--models={','.join(names)}"]) == 0
    table = read(tmp_path / "out/models.csv")
    assert [row["model"] for row in table] == names and table[0]["family"] == "mine0"
    rows = read(tmp_path / "out/correlations.csv")
    assert {r["n"] for r in rows} == {"12"} and {r["given"] for r in rows} == {""}
    claims = {claim["claim"]: claim for claim in read(tmp_path / "out/claims.csv")}
    assert claims[f"{ONE_SHOT} rises with z² of Pearson alignment"]["verdict"] != UNKNOWN
    assert "No results of timm were given" in capsys.readouterr().out


def test_pretraining_is_a_covariate(tmp_path):
    study_case.write(tmp_path, labels=False)
    assert command.main(["run", *arguments(tmp_path), "--covariates=top1,pretraining"]) == 0
    given = {row["given"] for row in read(tmp_path / "out/correlations.csv")}
    assert given == {"", "ImageNet top-1", "ImageNet top-1 and pretraining data"}


def test_todays_names_are_those_of_2022(tmp_path):
    study_case.write(tmp_path, names=["tv_resnet50", "resnet18"], labels=False)
    (tmp_path / "emb/tv_resnet50").rename(tmp_path / "emb/resnet50.tv_in1k")
    options = arguments(tmp_path)
    assert command.main(["run", *options, "--models=tv_resnet50,resnet18.tv_in1k"]) == 0
    table = {row["model"]: row for row in read(tmp_path / "out/models.csv")}
    assert table.keys() == {"tv_resnet50", "resnet18"}
    assert table["tv_resnet50"]["pearson"] and table["tv_resnet50"]["imagenet top1"]


def twice(folder):
    shutil.copytree(folder / "emb/resnet18", folder / "emb/resnet18.tv_in1k")


def nan(folder):
    path = folder / "emb/vgg11/peterson/animals.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["embeddings"][3, 2] = np.nan
    np.savez(path, **arrays)


def repeated(folder):
    path = folder / "emb/vgg11/peterson/animals.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["ids"][1] = arrays["ids"][0]
    np.savez(path, **arrays)


def fewer(folder):
    path = folder / "emb/vgg11/cifar100/test.npz"
    with np.load(path) as file:
        np.savez(path, **{name: array[:-3] for name, array in file.items()})


def renamed(folder):
    path = folder / "results/results-sketch.csv"
    path.write_text(path.read_text().replace("top1", "acc1", 1))


def gone(name):
    return lambda folder: shutil.rmtree(folder / name)


BAD = {
    "two of one model": (twice, "resnet18 and resnet18.tv_in1k are both resnet18"),
    "NaN": (nan, r"vgg11/peterson/animals.npz: row 3, column 2"),
    "an id twice": (repeated, r"vgg11/peterson/animals.npz: 1 ids name more than one row"),
    "fewer images": (
        fewer,
        r"vgg11/cifar100/test.npz: has 57 images of .*expected 60",
    ),
    "renamed column": (renamed, r"results-sketch.csv: has no column top1"),
    "no embeddings": (gone("emb"), "--embeddings: .*emb: no such folder"),
    "no judgments": (gone("peterson"), "--human: .*peterson: no such folder"),
    "no results": (gone("results"), "--timm_results: .*results: no such folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_a_sentence(tmp_path, capsys, case):
    import re

    spoil, message = BAD[case]
    study_case.write(tmp_path, names=["resnet18", "vgg11", "vgg13"])
    spoil(tmp_path)
    assert command.main(["run", *arguments(tmp_path)]) == 2
    text = capsys.readouterr().err.strip().splitlines()[-1]
    assert text.startswith("error: ") and re.search(message, text), text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["run"], "--out"),
        (["run", "--out=o"], "no models: expected --embeddings, or --timm_results"),
        (["run", "--out=o", "--covariates=age"], "'age' is none of top1, pretraining"),
        (["run", "--out=o", "--fewshot_heads=svm"], "'svm' is none of"),
        (["run", "--out=o", "--similarity=l2"], "invalid choice"),
        (["export", "--out=o"], "--images"),
        (["export", "--out=o", "--images=peterson", "--models=a,a"], "'a' comes twice"),
        (["draw"], "invalid choice"),
        ([], "export or run"),
    ],
)
def test_bad_options(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert command.main(options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


def test_effects_reach_the_claims(planted):
    folder, _ = planted
    effects = {row["effect"] for row in read(folder / "out/families.csv")}
    assert effects <= {*families.SUFFIXES}
