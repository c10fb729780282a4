"""The list of 491 models: whole, and each mapped to the weights of its time."""

import csv

import pytest

from alignet.errors import InputError
from evals.timm_study import models


@pytest.fixture(scope="module")
def rows():
    with open(models.TABLE, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_table_is_the_papers_list(shared_data):
    names = (shared_data / "timm_results" / "names491.txt").read_text().split()
    assert [row.name for row in models.table()] == sorted(names)
    assert len({*names}) == 491


def test_every_model_has_a_tag_but_the_one_that_is_gone(rows):
    assert [row["model"] for row in rows if not row["timm"]] == ["gluon_xception65"]
    tagged = [row["timm"] for row in rows if row["timm"]]
    assert len({*tagged}) == len(tagged) == 490
    assert all("." in tag for tag in tagged)
    assert {row["evidence"] for row in rows} == {"file", "tag", "replaced", "gone"}
    assert all(row["family"] and row["pretraining"] for row in rows)


def test_accuracies_then_are_timms(rows, shared_data):
    path = shared_data / "timm_results" / "2022-01" / "results-imagenet.csv"
    with open(path, newline="") as file:
        then = {row["model"]: row for row in csv.DictReader(file)}
    for row in rows:
        assert float(row["top1_2022"]) == float(then[row["model"]]["top1"])
        assert int(row["img_size"]) == int(then[row["model"]]["img_size"])


def test_accuracies_of_the_tags_confirm_the_table(rows):
    known = [row for row in rows if row["top1_today"]]
    differs = [r for r in known if abs(float(r["top1_2022"]) - float(r["top1_today"])) > 0.05]
    assert len(rows) - len(known) == 2  # the one that is gone, and one measured at another size
    assert len(known) - len(differs) == 466
    # Where the tag alone is the evidence, the accuracy is nearly the same but for one.
    only_tag = [r for r in differs if r["evidence"] == "tag"]
    assert [r["model"] for r in only_tag] == [
        "coat_mini",
        "dpn68b",
        "regnetx_004",
        "regnetx_006",
        "skresnet34",
    ]
    assert all(
        abs(float(r["top1_2022"]) - float(r["top1_today"])) < 0.1
        for r in only_tag
        if r["model"] != "dpn68b"
    )


def test_tags_are_in_timms_registry(rows):
    pytest.importorskip("tests.torch_library", reason="tests/requirements.txt")
    timm = pytest.importorskip("timm", reason="tests/requirements-no-deps.txt")
    for row in rows:
        if row["timm"]:
            config = timm.models.get_pretrained_cfg(row["timm"])
            assert config is not None and config.num_classes == 1000, row["timm"]
            assert timm.models.is_model(row["timm"].split(".")[0])


def test_a_bare_name_of_today_may_be_other_weights():
    by_name = {row.name: row.timm for row in models.table()}
    assert by_name["tv_resnet50"] == "resnet50.tv_in1k"
    assert by_name["resnet50"] == "resnet50.a1_in1k"
    assert by_name["resnet18"] == "resnet18.tv_in1k"  # timm's default is a1_in1k now
    # timm's own map of old names has the smaller network here.
    assert by_name["ig_resnext101_32x16d"] == "resnext101_32x16d.fb_wsl_ig1b_ft_in1k"


def test_names_are_found_by_either_name(tmp_path):
    assert models.chosen("resnet50.tv_in1k")[0].name == "tv_resnet50"
    assert [row.name for row in models.chosen("vgg11,my_model.v2")] == ["vgg11", "my_model.v2"]
    assert models.chosen("my_model.v2")[0].timm == "my_model.v2"
    (tmp_path / "mine.txt").write_text("beit_base_patch16_224\n\n resnet18 \n")
    found = models.chosen(str(tmp_path / "mine.txt"))
    assert [row.name for row in found] == ["beit_base_patch16_224", "resnet18"]
    assert found[0].pretraining == "in21k" and found[0].family == "BEiT"


@pytest.mark.parametrize(
    ("what", "message"),
    [("vgg11,,vgg13", "empty name"), ("", "empty name"), ("vgg11,vgg11", "'vgg11' comes twice"),
     ("tv_resnet50,resnet50.tv_in1k", "both tv_resnet50")],
)  # fmt: skip
def test_bad_names(what, message):
    with pytest.raises(InputError, match=message):
        models.chosen(what)
