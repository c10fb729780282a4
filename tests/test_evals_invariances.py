"""What must not matter to the scores of `python -m evals`, and what must."""

import numpy as np
import pytest

from alignet.data.embeddings import load_embeddings
from evals import __main__ as command
from evals import report
from tests import command_case as case

SETS = ("things", "levels", *(f"peterson/{name}" for name in case.RATED))
SETS += ("king/set1", "king/set2", "cichy", "kriegeskorte92")
CENTRED = ("pearson",)  # the kernels that take the mean off every row


@pytest.fixture(scope="module", autouse=True)
def no_report():
    """Reports are looked at elsewhere; they take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "sections", lambda run: ([], [], ""))
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    case.write_model(folder / "m.npz", case.write_world(folder / "data"), 0.5)
    return folder


@pytest.fixture(scope="module")
def plain(world):
    return scored(world, *load_embeddings(world / "m.npz"), name="plain")


def scored(world, ids, matrix, *, name="changed"):
    """Scores by eval, subset and metric."""
    (world / name).mkdir(exist_ok=True)
    path = world / name / "m.npz"
    np.savez(path, ids=ids, embeddings=matrix)
    out = world / name / "out"
    options = {"embeddings": path, "evals": None, "resamples": 8}
    assert command.main(case.arguments(world / "data", out, **options)) == 0
    return {
        (eval, score["subset"], score["metric"]): score
        for eval, by_model in case.results(out)["evals"].items()
        for score in by_model["m"]["scores"]
    }


def bare(name):
    """The name of a row without the set's."""
    prefix = next((prefix for prefix in SETS if name.startswith(f"{prefix}/")), None)
    return name if prefix is None else name.removeprefix(f"{prefix}/")


def test_the_order_of_the_rows_does_not_matter(world, plain):
    ids, matrix = load_embeddings(world / "m.npz")
    order = np.random.default_rng(0).permutation(len(ids))
    changed = scored(world, ids[order], matrix[order])
    assert changed == plain


def test_rows_that_come_again_and_rows_of_others_do_not_matter(world, plain):
    ids, matrix = load_embeddings(world / "m.npz")
    again = np.random.default_rng(1).permutation(len(ids))[:50]
    others = [f"peterson/vegetables/v{i}" for i in range(9)] + ["someone", "things/nothing"]
    noise = np.random.default_rng(2).normal(size=(len(others), 16))
    changed = scored(
        world,
        np.concatenate([ids[again], others, ids]),
        np.concatenate([matrix[again], noise, matrix]),
    )
    assert changed == plain


def test_prefixes_of_ids_may_be_left_out_where_names_are_clear(world, plain):
    ids, matrix = load_embeddings(world / "m.npz")
    # The two sets of King have photographs of the same names.
    names = np.array([name if name.startswith("king/") else bare(name) for name in ids.tolist()])
    assert sum("/" in name for name in names) == 24
    assert scored(world, names, matrix) == plain


def test_a_constant_does_not_matter_to_what_takes_the_mean_off(world, plain):
    ids, matrix = load_embeddings(world / "m.npz")
    changed = scored(world, ids, matrix + 100)
    same = [key for key in plain if key[2].rpartition("/")[2] in CENTRED]
    assert len(same) >= 4 * 9
    for key in same:
        for end in ("value", "low", "high"):
            assert changed[key][end] == pytest.approx(plain[key][end], abs=1e-5), key
    # Dot products and cosines are others: so is the most similar pair of a triplet.
    for key in (("things", "all", "accuracy"), ("cichy", "all", "spearman/dot")):
        assert changed[key]["value"] != plain[key]["value"]


def test_a_factor_does_not_matter_to_choices_and_similarities(world, plain):
    ids, matrix = load_embeddings(world / "m.npz")
    changed = scored(world, ids, 8 * matrix)
    for key, score in plain.items():
        eval, _, metric = key
        if metric == "accuracy" or "/" in metric:
            assert changed[key]["value"] == pytest.approx(score["value"], abs=1e-9), key
        if eval == "uncertainty" and metric in ("ECE", "ECE of all pairs", "entropy"):
            # At the best temperature, which is on the scale of the similarities.
            assert changed[key]["value"] == pytest.approx(score["value"], rel=1e-6), key
    key = ("things", "all", "cross-entropy")
    assert changed[key]["value"] != pytest.approx(plain[key]["value"], rel=0.1)


def test_rotations_do_not_matter_to_choices(world, plain):
    ids, matrix = load_embeddings(world / "m.npz")
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))
    changed = scored(world, ids, matrix @ rotation)
    for key, score in plain.items():
        if key[2] in ("accuracy", "cross-entropy", "spearman/dot", "spearman/cosine"):
            assert changed[key]["value"] == pytest.approx(score["value"], rel=1e-9), key


def test_float32_is_as_good_as_float64(world, plain):
    ids, matrix = load_embeddings(world / "m.npz")
    changed = scored(world, ids, matrix.astype(np.float32))
    assert changed.keys() == plain.keys()
    for key, score in plain.items():
        if key[2] in ("accuracy", "spearman/pearson", "triplet/cosine"):
            assert changed[key]["value"] == pytest.approx(score["value"], abs=0.01), key


def test_what_a_row_says_matters(world, plain):
    ids, matrix = load_embeddings(world / "m.npz")
    changed = scored(world, np.roll(ids, 1), matrix)
    for key, score in plain.items():
        if key[1:] in (("all", "accuracy"), ("coarse", "spearman/pearson")):
            assert changed[key]["value"] < score["value"], key
