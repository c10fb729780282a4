"""BREEDS: what a read-out learns of some classes, tried on others."""

import re

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from alignet.data import images
from alignet.data.breeds import load as load_tables
from alignet.data.embeddings import Embeddings, save_embeddings
from alignet.data.imagenet import WNIDS
from alignet.errors import Absent
from evals import breeds, models
from evals.answers import PEOPLE, VISION
from evals.options import Options
from evals.pages import breeds_figures, page
from evals.probes import streaming
from evals.probes.linear import Linear
from evals.statistics import differences
from evals.statistics.intervals import Measured
from tests import tfds_case
from tests.breeds_case import write_tables

N = 96  # classes in the tree
TRAIN, VAL = 3, 2  # photographs of each
OPTIONS = Options()
BELOW = {"entity13": 24, "entity30": 12, "living17": 4, "nonliving26": 4}  # classes of a kind


def ids_of(split, wnids=WNIDS[:N]):
    n = {"train": TRAIN, "val": VAL}[split]
    return np.array([f"{wnid}/{split}_{i}" for wnid in wnids for i in range(n)])


def write_labels(data_dir, wnids=WNIDS[: N + 3]):
    """Labels of a small ImageNet, in no order and with classes that are not in the tree."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        ids = rng.permutation(ids_of(split, wnids))
        classes = [name.partition("/")[0] for name in ids.tolist()]
        labels = np.array([WNIDS.index(wnid) for wnid in classes])
        np.savez(data_dir / "imagenet" / f"{split}.npz", ids=ids, labels=labels)
    return data_dir


@pytest.fixture
def data_dir(tmp_path):
    return write_labels(write_tables(tmp_path / "data"))


def model_of(folder, row, name="model"):
    """A model that makes `row(place of the class, rng)` of each photograph, filled up with 0."""
    rng = np.random.default_rng(0)
    ids, rows = [], []
    for split in ("train", "val"):
        for photograph in ids_of(split).tolist():
            ids.append(f"imagenet/{split}/{photograph}")
            rows.append(filled(row(WNIDS.index(photograph.partition("/")[0]), rng)))
    save_embeddings(folder / f"{name}.npz", Embeddings(np.array(ids), np.stack(rows)))
    [model] = models.from_embeddings(folder / f"{name}.npz")
    return model


def filled(row):
    return np.pad(row, (0, N - len(row))).astype(np.float32)


def kinds(place, rng):
    """Which kind of each level a class is of."""
    return np.concatenate([np.eye(N // below)[place // below] for below in (24, 12, 4)])


def classes(place, rng):
    """Which class it is, and nothing of what it is like."""
    return np.eye(N)[place]


def noisy(place, rng):
    return kinds(place, rng) @ np.random.default_rng(1).normal(size=(36, 8)) + rng.normal(size=8)


def score(data_dir, model, options=OPTIONS):
    return breeds.score(breeds.load(data_dir, options), model, options)


def least_squares(rows, labels, *, n_classes, l2, scratch):
    """A read-out that need not be compiled for every shape."""
    x = np.pad(rows[0 : len(labels)], ((0, 0), (0, 1)), constant_values=1).astype(np.float64)
    weights = np.linalg.lstsq(x, np.eye(n_classes)[labels], rcond=None)[0]
    return streaming.Fit(Linear(weights[:-1], weights[-1]), 0.0, 0.0, 1, True)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(streaming, "fit", least_squares)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """People's answers and those of the three models."""
    folder = tmp_path_factory.mktemp("breeds")
    data = breeds.load(write_labels(write_tables(folder / "data")), OPTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "fit", least_squares)
        found = {
            row.__name__: breeds.score(data, model_of(folder, row), OPTIONS)
            for row in (kinds, noisy, classes)
        }
    return {PEOPLE: breeds.people(data, OPTIONS)} | found


########################################## Numbers ##########################################


def test_what_is_known_of_kinds_carries_over_and_what_is_known_of_classes_does_not(answers):
    carried, learnt = answers["kinds"], answers["classes"]
    for name, below in BELOW.items():
        drawn = {"entity13": 20, "entity30": 8}.get(name, 4)
        k = (N if name.startswith("entity") else N // 2) // below
        n = k * drawn // 2 * VAL
        for split in ("source", "target"):
            assert carried.find(f"{name}, {split}", "accuracy") == Measured(1.0, 1.0, 1.0, n)
            assert carried.arrays[f"{name}, {split}/accuracy/correct"].shape == (n,)
        assert carried.find(name, "drop") == Measured(0.0, 0.0, 0.0, 2 * n)
        assert learnt.find(f"{name}, source", "accuracy").value == 1
        # Whatever it answers, it is the same for all.
        assert learnt.find(f"{name}, target", "accuracy").value in (0, pytest.approx(1 / k))
        assert learnt.find(name, "drop").value >= 1 - 1 / k - 1e-9


def test_the_read_out_is_a_logistic_regression_on_the_source(tmp_path, data_dir):
    model, data = model_of(tmp_path, noisy), breeds.load(data_dir, OPTIONS)
    # Two of one shape, as each is compiled for its own.
    two = {name: data.tasks[name] for name in ("living17", "nonliving26")}
    found = breeds.score(data._replace(tasks=two), model, OPTIONS)
    assert not found.notes
    rows = {s: model.rows(f"imagenet/{s}", ids_of(s), None) for s in ("train", "val")}
    rows = {split: of[:, :8].astype(np.float64) for split, of in rows.items()}

    def part(split, chosen):
        kind_of = {wnid: kind for kind, own in enumerate(chosen) for wnid in own}
        of = np.array([kind_of.get(i.partition("/")[0], -1) for i in ids_of(split).tolist()])
        return rows[split][of >= 0], of[of >= 0]

    for name in two:
        benchmark = load_tables(data_dir).benchmarks[name]
        x, y = part("train", benchmark.source)
        mean, std = x.mean(axis=0), x.std(axis=0)
        oracle = LogisticRegression(C=1 / (breeds.L2 * len(x)), tol=1e-8, max_iter=10_000)
        oracle.fit((x - mean) / std, y)
        accuracies = []
        for split in ("source", "target"):
            x, y = part("val", getattr(benchmark, split))
            accuracies.append((oracle.predict((x - mean) / std) == y).mean())
            accuracy = found.find(f"{name}, {split}", "accuracy")
            # One near the border may fall on its other side.
            assert accuracy.value == pytest.approx(accuracies[-1], abs=1.01 / len(x))
            assert accuracy.low < accuracy.value < accuracy.high
            correct = found.arrays[f"{name}, {split}/accuracy/correct"]
            assert (correct.mean(), len(correct)) == (accuracy.value, len(x))
        drop = found.find(name, "drop")
        assert drop.value == pytest.approx(accuracies[0] - accuracies[1], abs=2.02 / len(x))
        variances = [a * (1 - a) / (len(x) - 1) for a in accuracies]
        assert drop.high - drop.value == pytest.approx(1.96 * sum(variances) ** 0.5, rel=0.05)
        assert drop.high - drop.value == pytest.approx(drop.value - drop.low)


def test_models_are_compared_photograph_by_photograph(answers):
    two = {name: answers[name] for name in ("kinds", "classes")}
    [found] = differences.run(two, metrics=[("living17, target", "accuracy")])
    assert found.better == "kinds" and found.test == differences.MCNEMAR
    assert found.difference.n == 12 * 2 * VAL


########################################## Rows ##########################################


class Seeing(models.Model):
    """Its rows are photographs' brightness and their kinds, which it tells by their names."""

    def __init__(self, path):
        super().__init__("seeing", path, [], None)
        self.seen = {}

    def lookup(self, prefix, ids, photographs):
        read = [photographs.read(place) for place in range(photographs.n)]
        assert [name for name, _ in read] == ids.tolist()
        labels = [LABELS[prefix][int(re.findall(r"\d+", name)[0])] for name in ids.tolist()]
        bright = [np.asarray(images.decode(encoded)[0]).mean() for _, encoded in read]
        np.testing.assert_allclose(bright, [tfds_case.colour(label) for label in labels], atol=2)
        self.seen[prefix] = labels
        return np.stack([filled(kinds(label, None)) for label in labels])


# Also of classes that are not in the tree.
LABELS = {
    "imagenet/train": [*range(N + 3)] * TRAIN,
    "imagenet/val": [*range(N + 2, -1, -1)],
}


def test_only_photographs_of_classes_that_are_needed_are_seen(tmp_path, monkeypatch, quick):
    splits = {"train": LABELS["imagenet/train"], "validation": LABELS["imagenet/val"]}
    tfds_case.build(tmp_path / "tfds", "imagenet2012", **splits)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    data_dir = write_tables(tmp_path / "data")
    seeing = Seeing(tmp_path)
    found = score(data_dir, seeing, Options(cache=tmp_path / "cache"))
    assert {score.value.value for score in found.scores if score.metric == "accuracy"} == {1.0}
    benchmarks = load_tables(data_dir).benchmarks.values()
    source = {wnid for b in benchmarks for own in b.source for wnid in own}
    target = {wnid for b in benchmarks for own in b.target for wnid in own}
    assert len(source) < N
    seen = {split: sorted(WNIDS[i] for i in labels) for split, labels in seeing.seen.items()}
    assert seen == {
        "imagenet/train": sorted([*source] * TRAIN),
        "imagenet/val": sorted(source | target),
    }


def test_what_was_fitted_is_kept(tmp_path, data_dir, answers, quick, monkeypatch):
    options = Options(cache=tmp_path / "cache")
    model = model_of(tmp_path, noisy)
    first = score(data_dir, model, options)
    np.testing.assert_equal(first.arrays, answers["noisy"].arrays)
    fitted = []

    def counting(*args, **settings):
        fitted.append(settings["n_classes"])
        return least_squares(*args, **settings)._replace(converged=False)

    monkeypatch.setattr(streaming, "fit", counting)
    again = score(data_dir, model, options)
    assert not fitted
    np.testing.assert_equal(again.arrays, first.arrays)
    assert again.scores == first.scores and not again.notes
    # Of one benchmark the file is not what was written.
    (tmp_path / "cache" / "probes" / "model" / "entity30.npz").write_bytes(b"")
    for _ in range(2):
        found = score(data_dir, model, options)
        assert found.notes == ["entity30: the linear read-out was not fitted to the end."]
    assert fitted == [8]
    # Other rows, in a file of the same name.
    score(data_dir, model_of(tmp_path, kinds), options)
    assert fitted[1:] == [4, 8, 12, 12]


########################################## Absent ##########################################


def test_what_is_not_there_is_absent(tmp_path):
    with pytest.raises(Absent, match="has no breeds_modified_class_hierarchy"):
        breeds.load(tmp_path, OPTIONS)
    write_tables(tmp_path)
    with pytest.raises(Absent, match="nowhere"):
        breeds.load(tmp_path, Options(imagenet=str(tmp_path / "nowhere")))
    needed = load_tables(tmp_path).benchmarks["living17"].source[3][1]
    write_labels(tmp_path, [wnid for wnid in WNIDS[:N] if wnid != needed])
    with pytest.raises(Absent, match=f"imagenet/train: has no photographs of {needed}; expected"):
        breeds.load(tmp_path, OPTIONS)


def test_a_model_without_these_rows_is_told(tmp_path, data_dir):
    save_embeddings(tmp_path / "other.npz", Embeddings(np.array(["a", "b"]), np.eye(2)))
    [model] = models.from_embeddings(tmp_path / "other.npz")
    with pytest.raises(Absent, match=r"other\.npz: not all of imagenet/train is there"):
        score(data_dir, model)


########################################## The report ##########################################


@pytest.mark.parametrize("n", [1, 12])
def test_the_section_sets_source_and_target_side_by_side(answers, monkeypatch, n):
    two = (answers["kinds"], answers["noisy"])
    answers = {PEOPLE: answers[PEOPLE]} | {f"model {i}": two[i % 2] for i in range(n)}
    drawn = {}

    def pairs(scores, rows, chance):
        drawn.update(scores=scores, rows=rows, chance=chance)
        return draw(scores, rows, chance)

    draw = breeds_figures.pairs
    monkeypatch.setattr(breeds_figures, "pairs", pairs)
    section = breeds.QUESTION.section(answers)
    assert [type(block) for block in section.blocks] == [str, str, page.Picture, *[page.Table] * 4]
    assert drawn["rows"] == [f"model {i}" for i in range(n)]
    assert drawn["chance"] == {
        "entity13": 1 / 4,
        "entity30": 1 / 8,
        "living17": 1 / 12,
        "nonliving26": 1 / 12,
    }
    for table, name in zip(section.blocks[3:], BELOW, strict=True):
        assert [row["model"] for row in table.rows] == drawn["rows"]
        assert table.rows[0]["other classes"] == answers["model 0"].find(
            f"{name}, target", "accuracy"
        )
        assert table.caption.startswith(f"{name}: kind dummy")
    best = "model 0 names the kind in 100.0\u00a0% of the photographs of other classes"
    assert best in section.blocks[1] and ("the least" in section.blocks[1]) == (n > 1)
    assert page.page("", [section]).count("<img") == 1


def test_the_summary_shows_the_targets(answers):
    shown = breeds.QUESTION.headline(answers)
    assert [(h.subset, h.metric, h.chance) for h in shown] == [
        ("entity13, target", "accuracy", 1 / 4),
        ("entity30, target", "accuracy", 1 / 8),
        ("living17, target", "accuracy", 1 / 12),
        ("nonliving26, target", "accuracy", 1 / 12),
    ]
    assert breeds.QUESTION.family == VISION


def test_people_tell_what_was_used(tmp_path, data_dir):
    found = breeds.people(breeds.load(data_dir, OPTIONS), OPTIONS)
    assert found.notes[0] == (
        "entity13: 120 photographs to learn from; tested on 80 of the same classes and 80 of "
        "others."
    )
    # Runs with other photographs are not compared one by one.
    write_labels(data_dir, WNIDS[:N])
    others = breeds.people(breeds.load(data_dir, OPTIONS), OPTIONS)
    assert others.arrays.keys() == found.arrays.keys()
    assert (others.arrays["living17/photographs"] != found.arrays["living17/photographs"]).all()
