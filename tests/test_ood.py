"""ImageNet's variants: counts by hand, rows with known answers, data of tfds, the report."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from alignet.data import imagenet
from alignet.data.embeddings import Embeddings, save_embeddings
from alignet.data.imagenet_facts import ALEXNET_ERRORS, MASKS, WNIDS
from alignet.data.images import decode
from alignet.errors import Absent, InputError
from evals import models, ood
from evals.answers import PEOPLE, Answers
from evals.options import Options
from evals.pages import page
from evals.probes import streaming
from evals.probes.linear import Linear
from evals.statistics import differences, intervals
from tests import tfds_case

# In neither mask, in R's, in both, in both, in A's.
CLASSES = (0, 1, 6, 11, 15)
OPTIONS = Options(imagenet="", resamples=20)


@pytest.fixture(autouse=True)
def prepared(tmp_path, monkeypatch):
    """Where tfds looks for what it has prepared: nothing, at first."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


########################################## Numbers ##########################################


def test_the_highest_score_among_the_classes_in_the_running_wins():
    scores = np.array(
        [
            [9.0, 1.0, 2.0, 3.0],  # the winner is masked
            [0.0, 5.0, 2.0, 1.0],
            [7.0, 5.0, 5.0, 1.0],  # a tie among those in the running
            [7.0, 5.0, 1.0, 7.0],  # a tie of which one is masked
            [np.nan, 1.0, 2.0, 0.0],  # no number where it does not count
        ]
    )
    mask = np.array([1, 2, 3])
    assert ood.top1(scores, mask).tolist() == [3, 1, -1, 3, 2]
    assert ood.top1(scores).tolist() == [0, 1, 0, -1, -1]
    labels = np.array([3, 2, 3, 3, 2])
    assert (ood.top1(scores, mask) == labels).sum() == 3


def test_masked_accuracy_of_synthetic_logits_is_that_of_a_count_by_hand():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 30, (200, 1000)).astype(float)
    scores[np.arange(200), rng.choice(MASKS["imagenet_a"], 200)] += 5
    for mask in MASKS.values():
        expected = []
        for row in scores.tolist():
            best = max(row[c] for c in mask)
            winners = [c for c in mask if row[c] == best]
            expected.append(winners[0] if len(winners) == 1 else -1)
        assert -1 in expected and max(expected) > 0
        assert ood.top1(scores, mask).tolist() == expected


def test_any_valid_label_is_right_and_a_tie_never():
    valid = np.array([[3, 7], [3, -1], [5, -1], [-1, -1], [2, 4]])
    assert ood.is_valid(np.array([7, 3, 4, -1, -1]), valid).tolist() == [1, 1, 0, 0, 0]


def test_the_corruption_error_of_alexnet_is_one():
    assert ood.mce(ALEXNET_ERRORS) == pytest.approx(1)
    assert ood.mce({name: error / 2 for name, error in ALEXNET_ERRORS.items()}) == pytest.approx(
        0.5
    )
    perfect = dict.fromkeys(ALEXNET_ERRORS, 0.0) | {"fog": 0.4}
    assert ood.mce(perfect) == pytest.approx(0.4 / 0.819324 / 15)


########################################## Known answers ##########################################


class World:
    """ImageNet as labels only, and rows in which a model's answer can be read.

    A row has an entry a class, which a classifier learns to take for it.
    """

    def __init__(self, folder):
        self.folder, self.ids, self.rows = folder, [], []
        self.rng = np.random.default_rng(0)

    def add(self, name, labels, *answers, ids=None):
        """A set; `answers` are the classes whose entries are the largest, in order."""
        ids = [f"photo{i}" for i in range(len(labels))] if ids is None else ids
        path = self.folder / "data" / f"{imagenet.VARIANTS.get(name, [name])[0]}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, ids=np.array(ids), labels=np.array(labels), classes=np.array(WNIDS))
        rows = self.rng.normal(scale=0.01, size=(len(labels), len(CLASSES)))
        for rank, found in enumerate(answers):
            rows[np.arange(len(labels)), [CLASSES.index(c) for c in found]] += 1 - 0.3 * rank
        self.ids += [f"{name}/{i}" for i in ids]
        self.rows.append(rows.astype(np.float32))
        return self

    def train(self):
        labels = [c for c in CLASSES for _ in range(20)]
        return self.add("imagenet/train", labels, labels)

    def model(self, name="model", without=()):
        rows, kept = np.concatenate(self.rows), [i for i in self.ids if not i.startswith(without)]
        place = [self.ids.index(i) for i in kept]
        path = self.folder / f"{name}.npz"
        save_embeddings(path, Embeddings(np.array(kept), rows[place]))
        return models.from_embeddings(path)[0]

    def load(self, options=OPTIONS):
        return ood.load(self.folder / "data", options)


def score(world, options=OPTIONS, **settings):
    return ood.score(world.load(options), world.model(**settings), options)


def nearest_mean(rows, labels, *, n_classes, l2, scratch):
    """A classifier that takes less time than the real one, and knows our rows as well."""
    assert l2 == ood.L2
    means = [rows[:][labels == label].mean(axis=0) for label in range(n_classes)]
    linear = Linear(np.stack(means, axis=1).astype(np.float64), np.zeros(n_classes))
    return streaming.Fit(linear, 0.0, 0.0, 1, True)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "fit", nearest_mean)
    return World(tmp_path).train()


def test_every_set_is_scored_as_counted_by_hand(tmp_path, monkeypatch):
    world = World(tmp_path).train()
    names = [f"n/ILSVRC2012_val_{number:08}" for number in (4, 2, 1, 3)]
    world.add("imagenet/val", [0, 1, 6, 11], [0, 1, 6, 0], ids=names)
    # Photograph 1 was taken for a 6 and may be a 15 only; 3 may be a 0; nothing is seen in 2.
    monkeypatch.setattr(imagenet, "N_VALIDATION", 4)
    real = tmp_path / "data" / "imagenet" / "real.json"
    real.write_text(json.dumps([[15], [], [11, 0], [0]]))
    world.add("imagenet_v2", [0, 1, 6, 11, 15], [0, 1, 6, 11, 0])
    # 0 cannot be named in either, nor 1 in A, nor 15 in R: the second largest counts.
    world.add("imagenet_a", [6, 11, 15, 6], [0, 1, 15, 11], [6, 11, 6, 6])
    world.add("imagenet_r", [6, 1, 6, 11], [15, 1, 11, 15], [6, 0, 6, 1])
    world.add("imagenet_sketch", [0, 0], [15, 15])
    found = score(world)
    right = {
        "imagenet": [1, 1, 1, 0],
        "imagenet_real": [1, 0, 1],
        "imagenet_v2": [1, 1, 1, 1, 0],
        "imagenet_a": [1, 1, 1, 0],
        "imagenet_r": [1, 1, 0, 0],
        "imagenet_sketch": [0, 0],
    }
    for subset, expected in right.items():
        assert found.arrays[f"{subset}/accuracy/correct"].tolist() == expected
        expected = intervals.proportion(sum(expected), len(expected))
        assert found.find(subset, "accuracy") == expected
    assert {one.subset for one in found.scores} == {*right} and not found.notes
    data = world.load()
    notes = ood.people(data, OPTIONS).notes
    assert len(notes) == 1 and notes[0].startswith("75 of 75 sets of ImageNet-C are not there; ")
    assert {"imagenet/train", "imagenet_a", "imagenet_real"} < {*data.fingerprints}


def test_the_mean_over_all_corruptions_and_the_error_relative_to_alexnet(world):
    rng = np.random.default_rng(1)
    labels, ids, right = [0, 1, 6, 11], list("abcd"), {}
    for (corruption, severity), name in imagenet.CORRUPTED.items():
        order = rng.permutation(4)
        answers = [labels[i] if rng.random() < 0.6 else 15 for i in order]
        world.add(name, [labels[i] for i in order], answers, ids=[ids[i] for i in order])
        right[corruption, severity] = {
            ids[i]: answer == labels[i] for i, answer in zip(order, answers, strict=True)
        }
    found = score(world)
    everything = [hit for of_set in right.values() for hit in of_set.values()]
    mean = found.find("imagenet_c", "accuracy")
    assert mean.value == pytest.approx(np.mean(everything)) and mean.n == 4
    credit = found.arrays["imagenet_c/accuracy/credit"]
    np.testing.assert_allclose(credit, [np.mean([s[i] for s in right.values()]) for i in ids])
    assert mean == intervals.mean(credit)
    relative = []
    for corruption, alexnet in ALEXNET_ERRORS.items():
        hits = [hit for s in range(1, 6) for hit in right[corruption, s].values()]
        of_one = found.find(f"imagenet_c/{corruption}", "accuracy")
        assert of_one.value == pytest.approx(np.mean(hits))
        relative.append((1 - np.mean(hits)) / alexnet)
    assert found.find("imagenet_c", "mCE").value == pytest.approx(np.mean(relative))
    fog = found.find("imagenet_c/fog_3", "accuracy")
    assert fog == intervals.proportion(sum(right["fog", 3].values()), 4)


def test_a_mean_over_some_corruptions_says_so(world):
    for severity in (1, 2, 3, 4, 5):
        world.add(f"imagenet_c/fog_{severity}", [0, 1], [0, 15])
    world.add("imagenet_c/snow_2", [0, 1], [0, 1])
    found = score(world)
    assert found.find("imagenet_c", "accuracy") is None and found.find("imagenet_c", "mCE") is None
    assert found.find("imagenet_c, 6 of 75", "accuracy").value == pytest.approx(7 / 12)
    assert found.find("imagenet_c/fog", "accuracy").value == 0.5
    assert found.find("imagenet_c/snow", "accuracy") is None
    assert [h.name for h in ood.headline({"model": found})] == ["ImageNet-C, 6 of 75"]


def test_a_model_without_rows_of_some_corruptions_has_no_mean_over_them(world):
    """It would be of other sets than another model's."""
    world.add("imagenet_c/fog_1", [0, 1], [0, 1]).add("imagenet_c/fog_2", [0, 1], [0, 15])
    found = score(world, without=("imagenet_c/fog_2",))
    assert found.find("imagenet_c/fog_1", "accuracy").value == 1
    assert not any("imagenet_c, " in one.subset for one in found.scores)
    assert found.notes[-1].startswith("There is no mean over ImageNet-C")


def test_models_are_compared_photograph_by_photograph(world):
    world.add("imagenet_a", [6] * 8, [6] * 8).add("imagenet_c/fog_1", [0, 1], [0, 1])
    before = world.model("before")
    world.rows[1][:7] = np.eye(5)[4]
    data, answers = world.load(), {}
    for model in (before, world.model("after")):
        answers[model.name] = ood.score(data, model, OPTIONS)
    metrics = [(h.subset, h.metric) for h in ood.headline(answers)]
    assert metrics == [("imagenet_a", "accuracy"), ("imagenet_c, 1 of 75", "accuracy")]
    one, two = differences.run(answers, metrics=metrics)
    assert one.difference.value == 7 / 8 and one.p == pytest.approx(2 * 0.5**7)
    assert one.test == differences.MCNEMAR and two.difference.value == 0


########################################## What is missing #########################################


def test_without_training_or_other_photographs_there_is_no_answer(tmp_path, world):
    with pytest.raises(Absent, match=r"no set to try a classifier on; .*imagenet/val: no such"):
        world.load()
    world.add("imagenet_a", [6, 11], [6, 11])
    (tmp_path / "data" / "imagenet" / "train.npz").unlink()
    with pytest.raises(Absent, match=r"imagenet/train: no such folder, .*tfds:imagenet2012:train"):
        world.load()


def test_sets_that_a_model_lacks_are_notes_unless_it_lacks_all(world):
    world.add("imagenet_a", [6, 11], [6, 11]).add("imagenet_r", [6, 11], [6, 11])
    found = score(world, without=("imagenet_r",))
    assert {one.subset for one in found.scores} == {"imagenet_a"}
    assert len(found.notes) == 1 and "not all of imagenet_r is there" in found.notes[0]
    world.add("imagenet_c/fog_1", [0, 1], [0, 1]).add("imagenet_c/fog_2", [0, 1], [0, 1])
    [note] = score(world, without=("imagenet_c",)).notes
    assert note.startswith("2 of 75 sets of ImageNet-C are not there; ") and "fog_1" in note
    with pytest.raises(Absent, match=r"model\.npz: has rows of imagenet/train only"):
        score(world, without=("imagenet_a", "imagenet_r", "imagenet_c"))
    with pytest.raises(Absent, match=r"model\.npz: not all of imagenet/train is there"):
        score(world, without=("imagenet/train",))


def test_photographs_without_an_answer_are_noted(world):
    world.add("imagenet_v2", [0, 1, 6], [0, 1, 6])
    world.rows = [np.zeros_like(rows) for rows in world.rows]
    found = score(world)
    assert found.find("imagenet_v2", "accuracy").value == 0
    assert found.notes[0].startswith("imagenet_v2: 3 photographs have no single most probable")


def test_a_fit_that_was_stopped_is_noted(world, monkeypatch):
    def stopped(*args, **settings):
        return nearest_mean(*args, **settings)._replace(converged=False)

    monkeypatch.setattr(streaming, "fit", stopped)
    found = score(world.add("imagenet_v2", [0, 1], [0, 1]))
    assert found.notes == ["The fit of the classifier was stopped before it had converged."]


def test_a_class_outside_the_mask_is_refused(world):
    world.add("imagenet_a", [6, 11, 1], [6, 11, 1])
    with pytest.raises(InputError, match=f"imagenet_a: has photographs of {WNIDS[1]}; expected"):
        world.load()


def test_corrupted_sets_of_different_photographs_are_refused(world):
    world.add("imagenet_c/fog_1", [0, 1], [0, 1], ids=["a", "b"])
    world.add("imagenet_c/snow_4", [0, 1], [0, 1], ids=["a", "c"])
    with pytest.raises(InputError, match="imagenet_c/fog_1: has other photographs than imagenet_c"):
        world.load()


def test_rows_before_corruption_do_not_pass_for_those_after(world):
    world.add("imagenet/val", [0, 1], [0, 1], ids=["a", "b"])
    world.add("imagenet_c/fog_1", [0, 1], [0, 15], ids=["b", "a"])
    data = world.load()
    # Without the sets' names, the same id is found in both.
    bare = [i.removeprefix("imagenet/val/") for i in world.ids[:-2]]
    path = world.folder / "bare.npz"
    save_embeddings(path, Embeddings(np.array(bare), np.concatenate(world.rows)[:-2]))
    found = ood.score(data, models.from_embeddings(path)[0], OPTIONS)
    assert {one.subset for one in found.scores} == {"imagenet"}
    assert "rows of imagenet_c/fog_1 are those of imagenet/val; expected ids that" in found.notes[0]


########################################## What is kept ##########################################


def test_a_fitted_classifier_is_kept_until_something_changes(tmp_path, world, monkeypatch):
    world.add("imagenet_v2", [0, 1, 6], [0, 1, 11])
    options = OPTIONS._replace(cache=tmp_path / "cache")
    fits = []

    def counted(*args, **settings):
        fits.append(settings["scratch"])
        return nearest_mean(*args, **settings)

    monkeypatch.setattr(streaming, "fit", counted)
    first = score(world, options)
    again = score(world, options)
    assert len(fits) == 1 and again.scores == first.scores
    assert (tmp_path / "cache" / "probes" / "model" / "imagenet.npz").is_file()
    assert fits[0].is_relative_to(tmp_path / "cache")
    assert score(world).scores == first.scores and fits[1:] == [None]
    monkeypatch.setattr(ood, "L2", 10 * ood.L2)
    score(world, options)
    assert len(fits) == 3
    world.rows[0] *= 2
    score(world, options)
    assert len(fits) == 4
    np.savez(
        tmp_path / "data" / "imagenet" / "train.npz",
        ids=np.array([f"photo{i}" for i in range(100)]),
        labels=np.roll(np.repeat(CLASSES, 20), 1),
        classes=np.array(WNIDS),
    )
    score(world, options)
    assert len(fits) == 5


########################################## tfds ##########################################


# In both masks, and of different brightness.
COLOURS = [6, 11, 13, 22, 23]


class Brightness(models.Model):
    """A network that sees how bright a picture is and nothing else."""

    def __init__(self):
        super().__init__("brightness", Path("brightness"), [], None)

    def _rows(self, prefix, ids, photographs):
        rows = np.zeros((photographs.n, len(COLOURS)), np.float32)
        for place in range(photographs.n):
            name, encoded = photographs.read(place)
            assert name == ids[place]
            level = round(np.asarray(decode(encoded)[0]).mean() / 10)
            rows[place, COLOURS.index(level)] = 1
        return rows, None


def test_data_sets_of_tfds_are_scored_through_the_real_loader(tmp_path, prepared):
    """Pictures have the brightness of their label; a wrong label is a wrong answer."""
    tfds_case.build(prepared, "imagenet2012", train=20 * COLOURS, validation=[6, 11, 22])
    for name in ("imagenet_a", "imagenet_r", "imagenet_sketch", "imagenet_v2/matched-frequency"):
        # 47 is in both masks and as bright as 22.
        tfds_case.build(prepared, name, test=[6, 22, 47])
    for severity in (1, 5):
        tfds_case.build(prepared, f"imagenet2012_corrupted/fog_{severity}", validation=COLOURS)
    data = ood.load(tmp_path, OPTIONS)
    found = ood.score(data, Brightness(), OPTIONS)
    shares = {one.subset: one.value.value for one in found.scores}
    assert shares == {
        "imagenet": 1,
        **dict.fromkeys(
            ("imagenet_a", "imagenet_r", "imagenet_sketch", "imagenet_v2"), pytest.approx(2 / 3)
        ),
        "imagenet_c/fog_1": 1,
        "imagenet_c/fog_5": 1,
        "imagenet_c, 2 of 75": 1,
    }
    # tfds_case does not call its pictures as the release does.
    assert any("does not say which photograph of the validation set" in n for n in data.notes)


########################################## The report ##########################################


@pytest.mark.parametrize("n", [1, 12])
def test_the_section_shows_every_model_and_set(world, n):
    world.add("imagenet_a", [6, 11], [6, 6]).add("imagenet_v2", [0, 1, 6], [0, 1, 6])
    for name in imagenet.CORRUPTED.values():
        world.add(name, [0, 1], [0, 15])
    found = score(world)
    answers = {PEOPLE: Answers([], {}, [])} | {f"model {i}": found for i in range(n)}
    headline = ood.QUESTION.headline(answers)
    assert [(h.name, h.subset, h.chance) for h in headline] == [
        ("ImageNet-V2", "imagenet_v2", 1 / 1000),
        ("ImageNet-A", "imagenet_a", 1 / 200),
        ("ImageNet-C", "imagenet_c", 1 / 1000),
    ]
    section = ood.QUESTION.section(answers)
    kinds = [type(block) for block in section.blocks]
    assert kinds == [str, str, page.Picture, page.Table, page.Picture]
    most = ", the most of 12 models" * (n > 1)
    assert section.blocks[1] == (
        f"model 0 names what 100.0 % of the photographs of ImageNet-V2 show{most}; hardest for it "
        "is ImageNet-A, with 50.0 %."
    )
    rows = section.blocks[3].rows
    assert [row["model"] for row in rows] == [f"model {i}" for i in range(n)]
    assert rows[0]["A"] == 0.5 and rows[0]["mCE"] > 0
    assert all(isinstance(block.figure, Figure) for block in section.blocks[2::2])


def test_a_section_of_models_that_saw_different_sets(world):
    world.add("imagenet_a", [6, 11], [6, 6]).add("imagenet_c/fog_1", [0, 1], [0, 15])
    some = score(world, without=("imagenet_c",))
    answers = {PEOPLE: Answers([], {}, []), "all": score(world), "some": some}
    section = ood.QUESTION.section(answers)
    assert section.blocks[-1].rows[1] == {"model": "some", "A": 0.5, "C, 1 of 75": None}
