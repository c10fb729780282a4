"""One model's rows, by name from embeddings files; and which models several files are."""

import re

import numpy as np
import pytest

from alignet.data.embeddings import Embeddings, save_embeddings
from alignet.errors import Absent, InputError
from alignet.transform import Transform, save_transform
from evals import models
from evals.models import from_embeddings

IDS = np.array(["bear", "ant", "dog", "cat", "eel"])
X = np.random.default_rng(0).normal(size=(5, 3))


def written(path, ids, matrix=None):
    ids = np.array(ids)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_embeddings(path, Embeddings(ids, X[: len(ids)] if matrix is None else matrix))
    return path


def only_model(path, **settings):
    (model,) = from_embeddings(path, **settings)
    return model


# --- names in embeddings files ---


@pytest.mark.parametrize("begin", ["", "peterson/animals/"])
def test_rows_follow_the_ids_in_any_order(tmp_path, begin):
    model = only_model(written(tmp_path / "e.npz", [begin + name for name in IDS]))
    for order in ([4, 0, 2], [0, 1, 2, 3, 4], [1]):
        rows = model.rows("peterson/animals", IDS[order], None)
        np.testing.assert_array_equal(rows, X[order])


def test_where_ids_begin_with_the_set_only_those_count(tmp_path):
    ids = ["king/set2/0001", "0001", "king/set1/0001", "0002", "king/set10/0002"]
    model = only_model(written(tmp_path / "e.npz", ids))
    np.testing.assert_array_equal(model.rows("king/set1", np.array(["0001"]), None), X[[2]])
    np.testing.assert_array_equal(model.rows("king/set2", np.array(["0001"]), None), X[[0]])
    np.testing.assert_array_equal(model.rows("cichy", np.array(["0002", "0001"]), None), X[[3, 1]])
    with pytest.raises(Absent) as caught:
        model.rows("king/set1", np.array(["0001", "0002"]), None)
    assert str(caught.value) == (
        f"{tmp_path / 'e.npz'}: not all of king/set1 is there: 1 of 2 expected ids are missing "
        "(king/set1/0002) and it has no others."
    )


@pytest.mark.parametrize("begin", ["", "imagenet/train/"])
@pytest.mark.parametrize("called", ["{0}/{0}_1", "{0}_1", "{0}/{0}_1.JPEG", "{0}_1.JPEG"])
def test_photographs_in_folders_may_be_called_by_their_file_names(tmp_path, begin, called):
    """Of the same photographs ids are paths in a folder, and file names with tfds."""
    asked = {"{0}/{0}_1": X, "{0}_1.JPEG": X} if "JPEG" not in called else {called: X}
    model = only_model(written(tmp_path / "e.npz", [begin + called.format(name) for name in IDS]))
    for form, rows in asked.items():
        if "/" in called and "/" not in form:
            continue
        ids = np.array([form.format(name) for name in IDS[::-1]])
        np.testing.assert_array_equal(model.rows("imagenet/train", ids, None), rows[::-1])


def test_of_photographs_of_the_same_name_neither_is_told(tmp_path):
    model = only_model(written(tmp_path / "e.npz", ["1", "2"]))
    with pytest.raises(Absent, match="2 of 2 expected ids are missing"):
        model.rows("pets", np.array(["cat/1", "dog/1"]), None)


def test_numbered_rows_are_not_those_of_two_sets(tmp_path):
    model = only_model(written(tmp_path / "e.npz", ["0", "1", "test/0", "test/1"]))
    ids = np.array(["0", "1"])
    np.testing.assert_array_equal(model.rows("mnist", ids, None), X[:2])
    np.testing.assert_array_equal(model.rows("mnist", ids, None), X[:2])
    np.testing.assert_array_equal(model.rows("dtd", np.array(["test/1"]), None), X[3:4])
    with pytest.raises(
        InputError, match="numbers for ids, which may be those of mnist or of fashi"
    ):
        model.rows("fashion_mnist", ids, None)


@pytest.mark.parametrize("begin", ["", "things/"])
@pytest.mark.parametrize("release", ["{}_01b", "{0}/{0}_01b"])
def test_things_may_be_called_as_the_releases_photographs(tmp_path, begin, release):
    ids = [begin + release.format(name) for name in ("ant", "bear")]
    ids += [begin + "ant_02s", begin + "dog", begin + release.format("dog")]
    model = only_model(written(tmp_path / "e.npz", ids))
    rows = model.rows("things", np.array(["dog", "bear", "ant"]), None)
    np.testing.assert_array_equal(rows, X[[3, 1, 0]])
    with pytest.raises(Absent, match="1 of 1 expected ids are missing"):
        model.rows("levels", np.array(["ant"]), None)


def test_ids_that_do_not_match_are_told_in_both_directions(tmp_path):
    path = written(tmp_path / "e.npz", IDS)
    with pytest.raises(Absent) as caught:
        only_model(path).rows("things", np.array(["ant", "fox", "gnu", "cat"]), None)
    assert str(caught.value) == (
        f"{path}: not all of things is there: 2 of 4 expected ids are missing (fox, gnu) and it "
        "has 3 others (bear, dog, eel)."
    )


def test_a_row_that_comes_again_counts_once_and_another_is_refused(tmp_path):
    path = written(tmp_path / "e.npz", ["bear", "ant", "bear"], X[[0, 1, 0]])
    rows = only_model(path).rows("things", np.array(["ant", "bear"]), None)
    np.testing.assert_array_equal(rows, X[[1, 0]])
    np.savez(path, ids=["bear", "ant", "bear"], embeddings=X[:3])
    with pytest.raises(InputError, match="1 ids name more than one row: bear"):
        from_embeddings(path)


def test_a_matrix_without_ids_has_the_things_objects_and_nothing_else(tmp_path):
    np.save(tmp_path / "e.npy", X)
    model = only_model(tmp_path / "e.npy")
    np.testing.assert_array_equal(model.rows("things", IDS, None), X)
    np.testing.assert_array_equal(model.rows("things", None, None), X)
    with pytest.raises(Absent, match=r"e\.npy: its rows have no ids; .* for cichy"):
        model.rows("cichy", IDS, None)
    with pytest.raises(InputError, match="has 5 rows and no ids; expected 4 rows") as caught:
        model.rows("things", IDS[:4], None)
    assert not isinstance(caught.value, Absent)
    with pytest.raises(Absent, match="no ids"):
        model.find(tmp_path, lambda _: True)


def test_all_rows_whose_id_is_wanted_are_found(tmp_path):
    model = only_model(written(tmp_path / "e.npz", ["n2_b", "n1_a", "n2/c"]))
    found = model.find(tmp_path / "absent", lambda name: name.startswith("n2"))
    assert found.ids.tolist() == ["n2_b", "n2/c"]
    np.testing.assert_array_equal(found.matrix, X[[0, 2]])
    assert len(model.find(tmp_path, lambda _: False).ids) == 0


def test_a_transform_is_applied_to_every_row(tmp_path):
    rng = np.random.default_rng(2)
    transform = Transform(np.array(0.5), np.array(2.0), rng.normal(size=(3, 3)), rng.normal(size=3))
    save_transform(tmp_path / "ud.npz", transform)
    path = written(tmp_path / "e.npz", IDS)
    model = only_model(path, transform=tmp_path / "ud.npz")
    expected = (X - 0.5) / 2 @ transform.W + transform.b
    np.testing.assert_allclose(model.rows("cichy", IDS[:2], None), expected[:2])
    np.testing.assert_allclose(model.rows("things", None, None), expected)
    np.testing.assert_allclose(model.find(tmp_path, lambda _: True).matrix, expected)
    assert len(model.find(tmp_path, lambda _: False).ids) == 0
    assert model.files == (path, tmp_path / "ud.npz")
    assert only_model(path).files == (path,)

    wide = only_model(
        written(tmp_path / "wide.npz", IDS, np.ones((5, 4))), transform=tmp_path / "ud.npz"
    )
    with pytest.raises(InputError, match=r"wide\.npz: the embeddings have 4 columns"):
        wide.rows("things", IDS, None)
    save_transform(tmp_path / "tiny.npz", transform._replace(std=np.array(1e-320)))
    huge = only_model(path, transform=tmp_path / "tiny.npz")
    with (
        np.errstate(all="ignore"),
        pytest.raises(InputError, match=r"e\.npz: what .*tiny\.npz makes of it is not finite"),
    ):
        huge.rows("things", IDS, None)


def test_a_complaint_about_arrays_is_given_a_name():
    for kind in (InputError, Absent):
        with pytest.raises(kind, match="model: too few") as caught, models.naming("model"):
            raise kind("too few")
        assert type(caught.value) is kind


# --- several files ---


def test_a_pattern_gives_a_model_a_file_with_names_that_differ(tmp_path):
    for name in ("b/vit.npz", "a/vit.npz", "a/clip-b16.v2.npz", "a/x/people.npz"):
        written(tmp_path / name, IDS)
    np.save(tmp_path / "b" / "dino.npy", X)
    (tmp_path / "a" / "vit.npz.manifest.json").write_text("{}")
    found = from_embeddings(str(tmp_path / "**" / "*"))
    assert [model.name for model in found] == [
        "clip-b16.v2",
        "a/vit",
        "people (model)",
        "dino",
        "b/vit",
    ]
    assert found[1].path == tmp_path / "a" / "vit.npz"
    np.save(tmp_path / "a" / "vit.npy", X)
    names = [model.name for model in from_embeddings(str(tmp_path / "a" / "v*"))]
    assert names == [str(tmp_path / "a" / "vit.npy"), str(tmp_path / "a" / "vit.npz")]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    path = written(tmp_path / "e[1].npz", IDS)
    assert only_model(str(path)).name == "e[1]"


def test_nothing_to_score_is_said(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    for pattern in ("absent.npz", "*.npz", "*"):
        with pytest.raises(InputError, match=f"{re.escape(pattern)}: no such file; expected emb"):
            from_embeddings(str(tmp_path / pattern))
    with pytest.raises(InputError, match=r"a folder without \.npz files; expected one a set"):
        from_embeddings(tmp_path)


def test_a_dot_in_a_folders_name_is_part_of_it(tmp_path):
    for tag in ("a1_in1k", "tv_in1k"):
        written(tmp_path / f"resnet50.{tag}" / "cichy.npz", IDS)
    (tmp_path / "vgg11").mkdir()
    (tmp_path / "vgg11" / "failed.txt").write_text("no weights")
    found = from_embeddings(str(tmp_path / "*"))
    assert [model.name for model in found] == ["resnet50.a1_in1k", "resnet50.tv_in1k"]


def test_a_folder_is_a_model_with_a_file_a_set(tmp_path):
    written(tmp_path / "vit" / "cichy.npz", IDS)
    written(tmp_path / "vit" / "cifar100" / "test.npz", IDS[::-1])
    written(tmp_path / "vit" / "photographs" / "val.npz", IDS)
    model = only_model(tmp_path / "vit")
    assert model.name == "vit" and len(model.files) == 3
    for prefix, rows in (("cichy", X), ("cifar100/test", X[::-1])):
        np.testing.assert_array_equal(model.rows(prefix, IDS, None), rows)
        lazy = model.lookup(prefix, IDS[2:], None)
        assert lazy.shape == rows[2:].shape
        np.testing.assert_array_equal(lazy[1:3], rows[3:5])
    assert set(model.find(tmp_path, lambda name: name != IDS[0]).ids) == set(IDS[1:].tolist())
    with pytest.raises(Absent, match=r"vit: has no king/set1\.npz, but cichy, cifar100/test, pho"):
        model.rows("king/set1", IDS, None)
    assert [m.name for m in from_embeddings(str(tmp_path / "*"))] == ["vit"]
