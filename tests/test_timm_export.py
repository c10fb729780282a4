"""Exported features of timm's networks: what they are, what is made again, and by whom."""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from alignet.data.embeddings import load_embeddings
from alignet.data.images import decode
from alignet.errors import Absent, InputError
from evals.models import from_embeddings
from evals.timm_study.export import CLAIMED, FAILED, Wanted, export, image_sets, report
from tests import judgments_case, tfds_case
from tests.torch_library import torch

timm = pytest.importorskip("timm", reason="tests/requirements-no-deps.txt")
case = pytest.importorskip("tests.timm_case")
VIT, RESNET, _ = case.WANTED


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return case.write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return case.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(weights, data, tmp_path_factory):
    """What an export gives to which nothing happens."""
    out = tmp_path_factory.mktemp("whole") / "out"
    outcome = export(case.WANTED, case.sets(data), out, weights=weights, batch=2)
    assert outcome == (["vit", "resnet", "efficient"], [], [], [])
    return out


@pytest.mark.parametrize("timm_name", case.KINDS)
def test_features_are_what_the_classifier_is_fed(tmp_path, data, timm_name):
    weights = case.write_weights(tmp_path / "weights", timm_name, seed=1)
    found = case.sets(data)
    export([Wanted("one", timm_name)], found, tmp_path / "out", weights=weights, batch=2)
    model = case.network(timm_name, seed=1)
    for one in found:
        arrays, _ = case.stored(tmp_path / "out" / "one" / f"{one.name}.npz")
        z = torch.from_numpy(arrays["embeddings"])
        with torch.inference_mode():
            logits, given = model(case.inputs(model, one)), case.classified(model, z)
        torch.testing.assert_close(given, logits, rtol=0, atol=1e-5 * float(logits.abs().max()))
        assert z.dtype == torch.float32 and z.std(dim=0).max() > 0.05 * z.abs().max()


def test_pictures_are_prepared_as_timm_evaluates_its_networks(tmp_path, weights, monkeypatch):
    case.write_labelled(tmp_path / "wide.npz", 200, 333, 3, n=3)
    case.write_labelled(tmp_path / "grey.npz", 28, 20, n=3)
    found = case.sets(tmp_path, ["wide.npz", "grey.npz"])
    cls, seen = type(case.network(VIT.timm_name)), []
    forward = cls.forward_features

    def look(self, x):
        seen.append(x.clone())
        return forward(self, x)

    monkeypatch.setattr(cls, "forward_features", look)
    export([VIT], found, tmp_path / "out", weights=weights, batch=3)
    known = timm.get_pretrained_cfg(VIT.timm_name)
    expected = case.transform_by_hand(known)
    for one, pixels in zip(found, seen, strict=True):
        wanted = [expected(case.picture(one, place)) for place in range(3)]
        torch.testing.assert_close(pixels, torch.stack(wanted), rtol=0, atol=0)
    _, about = case.stored(tmp_path / "out" / "vit" / "wide.npz")
    constants = {"mean": [*known.mean], "std": [*known.std], "crop_pct": known.crop_pct}
    resizing = {"input_size": [3, 160, 160], "interpolation": "bicubic", "crop_mode": "center"}
    assert about["preprocessing"] == constants | resizing


# --- files ---


def test_embeddings_labels_and_what_made_them_are_in_the_file(whole, data):
    for one in case.sets(data):
        path = whole / "vit" / f"{one.name}.npz"
        arrays, about = case.stored(path)
        np.testing.assert_array_equal(arrays["labels"], one.labels)
        assert arrays["classes"].tolist() == ["class 0", "class 1", "class 2"]
        assert arrays["labels"].dtype == np.int64 and about.keys() == case.ABOUT
        assert (about["model"], about["timm_name"]) == VIT
        assert (about["timm"], about["torch"]) == (timm.__version__, torch.__version__)
        read = load_embeddings(path)
        assert read.ids.tolist() == one.ids.tolist()
        assert isinstance(read.matrix, np.memmap) and read.matrix.flags.aligned
        with zipfile.ZipFile(path) as archive:
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    [model] = from_embeddings(whole / "vit")
    found = model.rows("digits", np.array(["test/3", "test/0"]), None)
    np.testing.assert_array_equal(found, read.matrix[[3, 0]])


def test_weights_are_told_apart_by_their_values(whole, data, tmp_path):
    colours, _ = case.sets(data)
    hashes = []
    for name, seed in ((".pth", 0), (".pt", 1)):
        folder = case.write_weights(tmp_path / name, VIT.timm_name, seed=seed, suffix=name)
        export([VIT], [colours], tmp_path / "out" / name, weights=folder)
        hashes.append(case.stored(tmp_path / "out" / name / "vit" / "colours.npz")[1])
    _, first = case.stored(whole / "vit" / "colours.npz")
    assert hashes[0] == first and hashes[1]["weights_sha256"] != first["weights_sha256"]


def test_what_is_there_is_left_alone_without_pytorch(whole, data, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    monkeypatch.setitem(sys.modules, "timm", None)
    outcome = export(case.WANTED, case.sets(data), whole, weights=data)
    assert outcome == ([], ["vit", "resnet", "efficient"], [], [])
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before
    code = "import sys, evals.timm_study.export; print({'torch', 'timm'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=case.ROOT) == b"set()\n"


@pytest.mark.parametrize("change", case.CHANGES)
def test_what_does_not_fit_is_made_again(whole, weights, data, tmp_path, change):
    (tmp_path / "vit").mkdir()
    expected = case.contents(whole / "vit")
    for name, content in expected.items():
        (tmp_path / "vit" / name).write_bytes(content)
    # What a process leaves that is killed as it writes.
    (tmp_path / "vit" / ".digits-abcdefgh.npz").write_bytes(b"PK")
    change(tmp_path / "vit" / "digits.npz")
    before = (tmp_path / "vit" / "colours.npz").stat().st_mtime_ns
    outcome = export([VIT], case.sets(data), tmp_path, weights=weights, batch=2)
    assert outcome == (["vit"], [], [], [])
    assert case.contents(tmp_path / "vit") == expected
    assert (tmp_path / "vit" / "colours.npz").stat().st_mtime_ns == before


def test_files_of_one_model_are_of_the_same_weights(data, tmp_path):
    first = case.write_weights(tmp_path / "first", VIT.timm_name)
    second = case.write_weights(tmp_path / "second", VIT.timm_name, seed=1)
    (colours, digits), out = case.sets(data), tmp_path / "out"

    def hashes():
        return {case.stored(path)[1]["weights_sha256"] for path in out.rglob("*.npz")}

    export([VIT], [colours], out, weights=first)
    assert export([VIT], [digits], out, weights=second).done == ["vit"] and len(hashes()) == 2
    # That they are of different weights is seen when both are looked at.
    assert export([VIT], [colours, digits], out, weights=second).done == ["vit"]
    [found] = hashes()
    assert export([VIT], [colours, digits], out, weights=first).skipped == ["vit"]
    (out / "vit" / "digits.npz").unlink()
    assert export([VIT], [colours, digits], out, weights=first).done == ["vit"]
    assert len(hashes()) == 1 and found not in hashes()


# --- failures ---


@pytest.mark.parametrize("kind, timm_name, why", case.BAD)
def test_a_model_fails_with_a_sentence_and_others_go_on(
    tmp_path, weights, data, monkeypatch, kind, timm_name, why
):
    monkeypatch.chdir(tmp_path)
    bad = case.write_bad_weights(tmp_path / "bad", kind, timm_name)
    fine = Wanted("fine", "test_efficientnet.r160_in1k")
    for path in weights.glob("test_efficient*"):
        (bad / path.name).symlink_to(path)
    wanted = [Wanted(kind, timm_name), fine]
    outcome = export(wanted, case.sets(data), tmp_path / "out", weights=bad)
    [(name, reason)] = outcome.failed
    assert (name, outcome.done) == (kind, ["fine"])
    assert re.search(why, reason) and "\n" not in reason and reason.endswith("."), reason
    assert case.contents(tmp_path / "out" / kind) == {FAILED: f"{reason}\n".encode()}
    assert not (tmp_path / "evil").exists()


def test_a_name_without_a_tag_stands_for_what_timm_takes_it_for(tmp_path, data, weights):
    wanted, found = [Wanted("any", "test_vit")], case.sets(data)
    assert export(wanted, found, tmp_path, weights=weights).done == ["any"]
    assert case.stored(tmp_path / "any" / "digits.npz")[1]["timm_name"] == VIT.timm_name
    assert export(wanted, found, tmp_path, weights=weights).skipped == ["any"]


def test_failed_models_are_tried_again_and_told_of(tmp_path, data, capsys, caplog):
    weights = case.write_weights(tmp_path / "weights", RESNET.timm_name)
    wanted, found = [Wanted("gluon_xception65", None), VIT, RESNET], case.sets(data)
    outcome = export(wanted, found, tmp_path / "out", weights=weights)
    lacks = f"{weights}: has no {VIT.timm_name} with .safetensors, .pth, .pt."
    failed = [("gluon_xception65", "timm has this network no more."), ("vit", lacks)]
    assert outcome == (["resnet"], [], failed, [])
    assert f"vit: {lacks}" in capsys.readouterr().err and not caplog.messages
    assert report(outcome).splitlines() == [
        "exported           1",
        "already there      0",
        "failed             2",
        "  gluon_xception65  timm has this network no more.",
        f"  vit               {lacks}",
        "being exported     0",
    ]
    case.write_weights(weights, VIT.timm_name)
    outcome = export(wanted, found, tmp_path / "out", weights=weights)
    assert outcome == (["vit"], ["resnet"], failed[:1], [])
    assert {path.name for path in tmp_path.glob("out/*/*")} == {"colours.npz", "digits.npz"}


def test_without_the_hub_that_is_said(tmp_path, data, monkeypatch):
    def offline(*args, **options):
        raise OSError("We couldn't connect\n\n  to the hub")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    [(_, reason)] = export([VIT], case.sets(data), tmp_path).failed
    what = f"what timm downloads: cannot be loaded as {VIT.timm_name}"
    assert reason == f"{what} (We couldn't connect to the hub)."


def test_a_picture_that_cannot_be_read_stops_it(tmp_path, weights):
    for name in ("a/1", "b/2"):
        path = tmp_path / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"^pictures: a/1 is no whole picture "):
        found = image_sets(["pictures"], tmp_path)
        export(case.WANTED, found, tmp_path / "out", weights=weights)
    assert not case.contents(tmp_path / "out")


def test_wrong_arguments_are_refused_at_once(tmp_path, data, monkeypatch):
    wrong = [
        (r"^'vit' comes twice", [VIT, Wanted("vit", "other")], {}),
        (r"^'a/b' .* names no folder", [Wanted("a/b", "other")], {}),
        (r"none: no such folder; expected one of weights", [VIT], {"weights": tmp_path / "none"}),
        (r"^a batch of 0: expected 1", [VIT], {"batch": 0}),
        (r"^the device is tpu; expected cpu, or cuda", [VIT], {"device": "tpu"}),
    ]
    if not torch.cuda.is_available():
        wrong.append((r"device is cuda; .* where torch finds a GPU", [VIT], {"device": "cuda"}))
    for match, wanted, options in wrong:
        with pytest.raises(InputError, match=match):
            export(wanted, case.sets(data), tmp_path / "out", **options)
    monkeypatch.setitem(sys.modules, "timm.data", None)
    with pytest.raises(InputError, match=r"^cannot import timm .*pip install .*torchvision==0\.28"):
        export([VIT], case.sets(data), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- processes ---


@pytest.mark.parametrize("where", [(0, 0), (1, 3), "writing", "done"], ids=str)
def test_killed_anywhere_it_goes_on_to_the_same_bytes(whole, weights, data, tmp_path, where):
    out = tmp_path / "out"
    process = case.start("export_until", data, out, weights, where=where)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()
    assert any(CLAIMED in path for path in case.contents(out))
    outcome = export(case.WANTED, case.sets(data), out, weights=weights, batch=2)
    assert len(outcome.done + outcome.skipped) == 3 and not outcome.elsewhere
    assert case.contents(out) == case.contents(whole)


def test_two_processes_share_the_models(whole, weights, data, tmp_path):
    paths, both = (data, tmp_path, weights), ["one", "two"]
    processes = [case.start("export_beside", *paths, me=me, others=both) for me in both]
    done = []
    for process in processes:
        output, said = process.communicate()
        assert process.returncode == 0, said.decode()
        made, failed = map(ast.literal_eval, output.decode().splitlines())
        assert made and not failed
        done += made
    assert sorted(done) == ["efficient", "resnet", "vit"]
    assert case.contents(tmp_path / "out") == case.contents(whole)


def test_claims_of_the_living_are_respected_and_told_of(tmp_path, weights, data):
    here = socket.gethostname()
    case.claim(tmp_path / "vit", "elsewhere", 7, age=500)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        case.claim(tmp_path / "resnet", here, other.pid)
        outcome = export(case.WANTED, case.sets(data), tmp_path, weights=weights)
    by = ["by process 7 on elsewhere.", f"by process {other.pid} on {here}."]
    assert outcome == (["efficient"], [], [], [*zip(["vit", "resnet"], by, strict=True)])
    assert "being exported     2\n  vit     by process 7 on" in report(outcome)
    assert [*case.contents(tmp_path / "vit")] == [CLAIMED]


@pytest.mark.parametrize("kind", ["dead", "old", "own", "unsigned", "nonsense"])
def test_claims_of_nobody_are_taken_over(tmp_path, weights, data, kind):
    here, found = socket.gethostname(), case.sets(data)
    claims = {"dead": (here, case.dead()), "old": ("elsewhere", 7, 601), "own": (here, os.getpid())}
    case.claim(tmp_path / "vit", *claims.get(kind, (here, "7")))
    if kind == "unsigned":
        (tmp_path / "vit" / CLAIMED).write_text("")
        os.utime(tmp_path / "vit" / CLAIMED, (time.time() - 11,) * 2)
    assert export([VIT], found, tmp_path, weights=weights).done == ["vit"]
    assert CLAIMED not in case.contents(tmp_path / "vit")
    # The same of what is left beside files that are all there.
    case.claim(tmp_path / "vit", here, case.dead())
    assert export([VIT], found, tmp_path, weights=weights).skipped == ["vit"]
    assert CLAIMED not in case.contents(tmp_path / "vit")


def test_it_returns_to_what_another_process_has_left(tmp_path, weights, data):
    case.claim(tmp_path / "vit", "elsewhere", 7)
    claimed = tmp_path / "vit" / CLAIMED
    colours, _ = case.sets(data)
    found = [case.watched(colours, lambda _: claimed.unlink(missing_ok=True))]
    assert export([VIT, RESNET], found, tmp_path, weights=weights).done == ["resnet", "vit"]


def test_a_claim_is_touched_batch_after_batch(tmp_path, weights, data):
    path, ages = tmp_path / "vit" / CLAIMED, []

    def look(place):
        if place == 0:
            os.utime(path, (1, 1))
        elif place == 4:  # of the third batch, which is read when the first is through
            ages.append(time.time() - path.stat().st_mtime)

    digits = case.watched(case.sets(data)[1], look)
    assert export([VIT], [digits], tmp_path, weights=weights, batch=2).done == ["vit"]
    assert len(ages) == 1 and ages[0] < 100


# --- pictures ---


def test_sets_with_photographs_are_taken_and_others_said(tmp_path, weights, capsys):
    judgments_case.write_peterson(tmp_path)
    names, photographs = tmp_path / "peterson" / "filenames.json", tmp_path / "peterson" / "images"
    order = {name: found[::-1] for name, found in json.loads(names.read_text()).items()}
    names.write_text(json.dumps(order))
    both = image_sets(["peterson"], tmp_path)
    assert [one.name for one in both] == ["peterson/fruits", "peterson/various"]
    assert not capsys.readouterr().err
    (photographs / "various" / "various3.png").unlink()
    (photographs / "fruits" / "another.png").write_bytes(b"not read")
    [fruits] = image_sets(["peterson"], tmp_path)
    said = capsys.readouterr().err
    assert said.startswith("peterson/various is left out: ") and "1 of 6 expected" in said
    # In the order of the judgments.
    assert fruits.ids.tolist() == [f"fruits{i}" for i in range(5, -1, -1)]
    assert [fruits.source.read(place)[1].stem for place in range(6)] == fruits.ids.tolist()
    export([VIT], [fruits], tmp_path / "out", weights=weights)
    arrays, _ = case.stored(tmp_path / "out" / "vit" / "peterson" / "fruits.npz")
    assert arrays.keys() == {"embeddings", "ids", "about"}
    [model] = from_embeddings(tmp_path / "out" / "vit")
    found = model.rows("peterson/fruits", fruits.ids[::-1], None)
    np.testing.assert_array_equal(found, arrays["embeddings"][::-1])
    for path in (photographs / "fruits").iterdir():
        path.unlink()
    with pytest.raises(Absent, match=r"peterson/fruits is left out: .*holds no images"):
        image_sets(["peterson"], tmp_path)


def test_of_few_shot_data_the_test_split_is_meant(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets", reason="tfds is not installed")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    tfds_case.build(tmp_path / "tfds", "mnist", train=[1, 2, 3], test=[4, 9])
    test, train = image_sets(["mnist", "mnist:train"], tmp_path)
    sizes = {one.name: one.source.n for one in (test, train)}
    assert sizes == {"mnist/test": 2, "mnist/train": 3}
    assert sorted(test.labels) == [4, 9] and len(test.classes) == 10
    assert decode(test.source.read(0)[1])[0].mode == "RGB"
    with pytest.raises(Absent, match=r"tfds build cifar100"):
        image_sets(["cifar100"], tmp_path)


def test_sets_may_be_files_and_folders(tmp_path):
    digits = case.write_data(tmp_path) / "digits.npz"
    for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.png").touch()
    first, second = image_sets(["pets", str(digits)], tmp_path)
    assert (first.name, first.ids.tolist()) == ("pets/test", ["cat/1", "dog/1"])
    assert (second.name, second.source.n) == ("digits", 6)
    np.savez(tmp_path / "labels.npz", ids=np.array(["a", "b"]), labels=np.array([0, 1]))
    for match, names in [
        (r"^digits: two sets .* called so", ["digits.npz", str(digits)]),
        (r"^labels.npz: has labels and no pictures", ["labels.npz"]),
        (r"^nothing: neither the name of a data set nor a path", ["nothing"]),
    ]:
        with pytest.raises(InputError, match=match):
            image_sets(names, tmp_path)


def test_photographs_of_two_real_sets_are_there(shared_data):
    found = image_sets(["peterson"], shared_data)
    assert {"peterson/animals", "peterson/fruits"} <= {one.name for one in found}
    assert {one.source.n for one in found} == {120}
