"""timm's results of any year: the rows of the weights of early 2022, and files that are refused."""

import csv
import shutil

import numpy as np
import pandas as pd
import pytest

from alignet.errors import Absent, InputError
from evals.timm_study import models, results

HEADER = ["model", "img_size", "top1", "top5"]


@pytest.fixture
def listed():
    return models.chosen("resnet18,tv_resnet50,vgg11")


def write(folder, rows, header=HEADER, only=None):
    folder.mkdir(exist_ok=True)
    for name in only or results.FILES.values():
        with open(folder / name, "w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    return folder


OLD = [
    ["resnet18", 224, 69.7, 89.1],
    ["tv_resnet50", 224, 76.1, 92.9],
    ["vgg11", 224, 69.0, 88.6],
    ["another", 224, 50.0, 60.0],
]
NEW = [
    ["resnet18.a1_in1k", 288, 73.2, 91.0],
    ["resnet18.tv_in1k", 288, 71.0, 90.0],
    ["resnet18.tv_in1k", 224, 69.7, 89.1],
    ["resnet50.tv_in1k", 224, 76.1, 92.9],
    ["vgg11.tv_in1k", 256, 69.5, 88.9],
    ["resnet50", 224, 80.0, 95.0],
]


def test_appendix_c_comes_out(shared_data):
    found = results.load(shared_data / "timm_results" / "2022-01", models.table())
    table = found.table
    assert len(table) == 491 and not table.isna().any().any() and not found.notes
    names = ["a top1", "sketch top1", "r top1"]
    correlations = [round(float(table["imagenet top1"].corr(table[name])), 4) for name in names]
    assert correlations == [0.8137, 0.8629, 0.8266]  # the paper prints .81, .86, .82
    assert (table["real gain"] > 0).all()


def test_half_a_year_later_the_claims_are_the_same(shared_data):
    found = results.load(shared_data / "timm_results" / "2022-07", models.table())
    assert not found.table.isna().any().any()
    correlations = found.table.corr()["imagenet top1"]
    assert [f"{correlations[n]:.2f}" for n in ("a top1", "sketch top1", "r top1")] == [
        "0.82",
        "0.86",
        "0.83",
    ]
    (note,) = found.notes
    assert "regnety_040, regnety_064, regnety_080" in note and "another image size" in note


def test_rows_of_the_weights_of_2022_are_taken(tmp_path, listed):
    old = results.load(write(tmp_path / "old", OLD), listed)
    new = results.load(write(tmp_path / "new", NEW), listed)
    assert old.table["imagenet top1"].tolist() == [69.7, 76.1, 69.0]
    assert new.table["imagenet top1"].tolist() == [69.7, 76.1, 69.5]
    assert not old.notes
    (note,) = new.notes
    assert note.endswith("another image size than in January 2022 for 1 of the models: vgg11.")
    pd.testing.assert_index_equal(old.table.index, new.table.index)


def test_models_that_are_missing_are_said_and_empty(tmp_path, listed):
    folder = write(tmp_path / "old", OLD)
    write(folder, OLD[:2], only=["results-sketch.csv"])
    found = results.load(folder, listed)
    assert np.isnan(found.table.loc["vgg11", "sketch top1"])
    assert found.table.loc["vgg11", "a top1"] == 69.0
    assert found.notes == ("results-sketch.csv: without 1 of the models: vgg11.",)


def test_v2_may_be_missing(tmp_path, listed):
    folder = write(tmp_path / "old", OLD)
    (folder / results.FILES["v2"]).unlink()
    found = results.load(folder, listed)
    assert "v2 top1" not in found.table and "v2-matched" in found.notes[0]


def test_real_gain_is_of_the_two_files(tmp_path, listed):
    folder = write(tmp_path / "old", OLD)
    better = [[m, size, top1 + 5, top5 + 5] for m, size, top1, top5 in OLD]
    write(folder, better, only=[results.FILES["real"]])
    gain = results.load(folder, listed).table["real gain"]
    np.testing.assert_allclose(gain, 5)


BAD = {
    "renamed column": (["model", "img_size", "top_1", "top5"], OLD, r"no column top1.*top_1"),
    "no sizes": (["model", "size", "top1", "top5"], OLD, "no column img_size"),
    "not a number": (HEADER, [["vgg11", 224, "?", 88.0]], r"top1 of vgg11 \(line 2\) is '\?'"),
    "empty": (HEADER, [["vgg11", 224, "", 88.0]], "top1 of vgg11"),
    "nan": (HEADER, [["vgg11", 224, "nan", 88.0]], "top1 of vgg11"),
    "share": (HEADER, [["vgg11", 224, 169.0, 188.0]], "from 0 to 100"),
    "above top5": (HEADER, [["vgg11", 224, 90.0, 80.0]], "top1 is 90 and top5 80"),
    "twice": (HEADER, [*OLD, OLD[1]], r"tv_resnet50 at 224 pixels comes twice.*line 6"),
    "none of them": (HEADER, [["alexnet", 224, 50.0, 60.0]], "no model of the study"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(tmp_path, listed, case):
    header, rows, message = BAD[case]
    folder = write(tmp_path / "old", OLD)
    write(folder, rows, header, only=[results.FILES["a"]])
    with pytest.raises(InputError, match=f"results-imagenet-a.csv.*{message}"):
        results.load(folder, listed)


def test_files_that_are_none(tmp_path, listed):
    folder = write(tmp_path / "old", OLD)
    path = folder / results.FILES["r"]
    for content in (b"", b"\x89PNG\r\n\x1a\n\xff\xfe", b'model,top1\n"a'):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"results-imagenet-r\.csv"):
            results.load(folder, listed)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        results.load(folder, listed)
    shutil.rmtree(folder)
    with pytest.raises(Absent, match="no such folder"):
        results.load(folder, listed)


def test_a_snapshot_without_ones_own_models_says_so(tmp_path):
    found = results.load(write(tmp_path / "old", OLD), models.chosen("mine,yours"))
    assert found.table.isna().all().all() and "without 2 of the models" in found.notes[0]
