"""Few-shot learning: what is learnt from and tested, accuracies, notes and the report."""

import numpy as np
import pytest
from PIL import Image

from alignet.data.embeddings import Embeddings, save_embeddings
from alignet.errors import Absent, InputError
from evals import answers as saved
from evals import fewshot
from evals.answers import PEOPLE, Score
from evals.models import from_embeddings
from evals.options import HEADS, FewShot, Options
from evals.pages import fewshot_page, page
from evals.probes import heads, logistic, ridge
from evals.statistics import crossed, differences, intervals
from evals.statistics.intervals import Measured
from tests import fewshot_case, tfds_case
from tests.fewshot_case import Given, Seeing, load, write

RNG = np.random.default_rng(0)
Y = np.repeat(np.arange(4), 12)
X = np.eye(4)[Y] @ RNG.normal(size=(4, 8)) + RNG.normal(size=(48, 8))


@pytest.fixture
def tfds(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets", reason="tfds is not installed")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


########################################## Protocols ##########################################


def test_a_test_split_is_classified_from_a_few_of_the_other_split(tmp_path, tfds):
    tfds_case.build(tfds, "mnist", train=[*range(10)] * 8, test=[*range(10)] * 2)
    data, options = load(tmp_path, "mnist", shots=(1, 2), cache=tmp_path / "cache")
    model = Seeing()
    found = fewshot.score(data, model, options)
    for n in (1, 2):
        assert found.find("mnist", f"accuracy, ridge, {n}-shot") == (1, 1, 1, 20)
    # Only the examples of the draws are embedded, and kept beside those of other draws.
    called, ids = model.shown["mnist/train"]
    assert called == f"mnist/train/{len(ids)}-{called[-8:]}" and 20 < len(ids) < 80
    assert len(model.shown["mnist/test"][1]) == 20
    drawn = [np.sort(data.tasks[0].examples.labels[row]) for row in data.tasks[0].trains[1]]
    np.testing.assert_array_equal(drawn, [np.repeat(np.arange(10), 2)] * 5)
    assert list(data.fingerprints) == ["mnist/train", "mnist/test"]
    # It is the only one that is there.
    by_default = Options(fewshot=FewShot(shots=(1,)))
    assert [task.name for task in fewshot.load(tmp_path, by_default).tasks] == ["mnist"]


def test_of_a_single_split_what_is_no_example_is_classified(tmp_path):
    write(tmp_path, "one", Y)
    data, options = load(tmp_path, "one.npz", shots=(2, 5), draws=4, seed=3)
    found = fewshot.score(data, Given(one=X), options)
    for n, train in zip((2, 5), data.tasks[0].trains, strict=True):
        share, right = [], found.arrays[f"one/accuracy, ridge, {n}-shot/draws"]
        for rows, row in zip(train, right, strict=True):
            np.testing.assert_array_equal(np.sort(Y[rows]), np.repeat(np.arange(4), n))
            rest = np.setdiff1d(np.arange(48), rows)
            [linear] = ridge.fit(X[rows], Y[rows], n_classes=4)
            expected = (X[rest] @ linear.weights + linear.bias).argmax(axis=1) == Y[rest]
            np.testing.assert_array_equal(row[rest], expected)
            assert np.isnan(row[rows]).all()
            share.append(expected.mean())
        value = found.find("one", f"accuracy, ridge, {n}-shot")
        assert value.value == pytest.approx(np.mean(share))
        assert value == crossed.mean(right).measured
    # What is learnt from more examples is learnt from the few and others.
    for few, many in zip(*data.tasks[0].trains, strict=True):
        assert set(few) < set(many)


def test_a_single_draw_has_the_interval_of_its_images_and_exact_tests(tmp_path):
    write(tmp_path, "one", Y)
    data, options = load(tmp_path, "one.npz", shots=(3,), draws=1)
    found = {PEOPLE: fewshot.people(data, options)}
    for name, rows in (("a", X), ("b", RNG.normal(size=X.shape))):
        found[name] = fewshot.score(data, Given(name, one=rows), options)
    metric = ("one", "accuracy, ridge, 3-shot")
    right = found["a"].arrays["/".join((*metric, "correct"))]
    assert found["a"].find(*metric) == intervals.proportion(right.sum(), 36)
    [difference] = differences.run(found, metrics=[metric])
    assert difference.test == differences.MCNEMAR and difference.better == "a"
    assert "drawn once" in found[PEOPLE].notes[-1]


@pytest.mark.parametrize(
    "head", [pytest.param(h, marks=[pytest.mark.slow] * (h != "ridge")) for h in HEADS]
)
def test_every_read_out_learns_what_can_be_learnt(tmp_path, head):
    write(tmp_path, "one", Y)
    data, options = load(tmp_path, "one.npz", shots=(2, 5), heads=(head,))
    found = fewshot.score(data, Given(one=10 * np.eye(4)[Y] + 0.1 * X[:, :4]), options)
    assert all(score.value.value == 1 for score in found.scores if "λ" not in score.metric)
    assert found.notes == []


def test_read_outs_are_trained_as_they_are_called(tmp_path, monkeypatch):
    write(tmp_path, "one", Y)
    asked, right = [], [np.tile(Y, (3, 1))] * 2
    converged = [np.array([True, True, True]), np.array([False, True, False])]

    def by_heads(x, y, test, trains, **settings):
        asked.append(settings)
        return right

    monkeypatch.setattr(heads, "classify", by_heads)
    monkeypatch.setattr(logistic, "classify", lambda *_, n_classes: (right, converged))
    chosen = ("logistic", "linear", "mlp")
    data, options = load(tmp_path, "one.npz", shots=(2, 5), heads=chosen, seed=6, draws=3)
    found = fewshot.score(data, Given(one=X), options)
    assert asked == [{"n_classes": 4, "layers": layers, "seed": 6} for layers in (1, 2)]
    expected = [f"accuracy, {head}, {n}-shot" for head in chosen for n in (2, 5)]
    assert [score.metric for score in found.scores] == expected
    assert found.notes == ["one, logistic: 2 of 6 fits did not converge."]
    headlines = fewshot.QUESTION.headline({PEOPLE: fewshot.people(data, options), "given": found})
    assert [h.metric for h in headlines] == expected[:2]


def test_other_regularisers_are_told_beside_the_one_that_counts(tmp_path):
    write(tmp_path, "one", Y)
    data, options = load(tmp_path, "one.npz")
    found = fewshot.score(data, Given(one=X), options)
    assert len(found.arrays) == 2
    values = [found.find("one", f"accuracy, ridge λ={l2:g}, 10-shot") for l2 in ridge.L2S]
    assert None not in values and len({value.value for value in values}) > 1
    assert found.find("one", "accuracy, ridge, 10-shot") == values[ridge.L2S.index(ridge.L2)]


########################################## Answers ##########################################


def test_ties_are_wrong_and_counted(tmp_path):
    write(tmp_path, "one", Y)
    data, options = load(tmp_path, "one.npz", shots=(1,))
    found = fewshot.score(data, Given(one=np.ones((48, 3))), options)
    assert found.find("one", "accuracy, ridge, 1-shot") == (0, 0, 0, 48)
    [note] = found.notes
    assert note.startswith("one, ridge, 1-shot: 220 of 220 answers are ties")


def test_the_mean_over_data_sets_and_headlines(tmp_path):
    write(tmp_path, "four", Y)
    write(tmp_path, "two", Y // 2)
    data, options = load(tmp_path, "four.npz", "two.npz", shots=(1, 2))
    found = fewshot.score(data, Given(four=X, two=X), options)
    name = "accuracy, ridge, 2-shot"
    four, two, mean = (found.find(subset, name) for subset in ("four", "two", "all"))
    assert mean.value == pytest.approx((four.value + two.value) / 2)
    half = np.hypot(four.high - four.low, two.high - two.low) / 4
    np.testing.assert_allclose(mean[1:3], [mean.value - half, mean.value + half])
    people = fewshot.people(data, options)
    shown = fewshot.QUESTION.headline({PEOPLE: people, "given": found})
    assert [(h.name, h.chance, h.metric) for h in shown][1:3] == [
        ("four, 2-shot", 0.25, name),
        ("two, 1-shot", 0.5, "accuracy, ridge, 1-shot"),
    ]
    assert fewshot.QUESTION.headline({PEOPLE: people}) == []


def test_a_mean_is_no_surer_for_intervals_that_were_cut_at_1():
    both = [Score(name, "accuracy", Measured(0.98, 0.84, 1, 100)) for name in ("a", "b")]
    [(subset, _, mean)] = fewshot._means(both)
    assert subset == "all" and mean.high == 1
    assert mean.low == pytest.approx(0.98 - np.hypot(0.14, 0.14) / 2)


def test_answers_outlive_a_file(tmp_path):
    write(tmp_path, "one", Y)
    data, options = load(tmp_path, "one.npz")
    found = fewshot.score(data, Given(one=X), options)
    saved.save(tmp_path / "answers.npz", found)
    again = saved.load(tmp_path / "answers.npz")
    assert list(again.scores) == found.scores
    for name, array in found.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def test_runs_of_other_examples_have_other_items(tmp_path):
    write(tmp_path, "one", Y)
    items = [
        str(fewshot.people(*load(tmp_path, "one.npz", seed=seed)).arrays["one/items"])
        for seed in (0, 0, 1)
    ]
    assert items[0] == items[1] != items[2]


########################################## Refusals ##########################################


def test_a_class_with_too_few_images_is_named(tmp_path):
    write(tmp_path, "one", [0] * 6 + [1] * 5, classes=np.array(["cat", "dog"]))
    load(tmp_path, "one.npz", shots=(4,))
    with pytest.raises(InputError, match=r"^one: class 'dog' has 5 images; 5 shots need 6"):
        load(tmp_path, "one.npz", shots=(1, 5))


def test_data_that_are_not_there(tmp_path, tfds):
    with pytest.raises(Absent, match=r"none of cifar100, .* is prepared; .*`tfds build NAME"):
        fewshot.load(tmp_path, Options())
    with pytest.raises(Absent, match="`tfds build cifar100 --file_format=array_record`"):
        load(tmp_path, "cifar100")
    with pytest.raises(Absent, match=r"neither .* nor a path"):
        load(tmp_path, "nothing.npz")


def test_two_data_sets_of_the_same_name_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    write(tmp_path, "one", Y)
    write(tmp_path / "a", "one", Y)
    with pytest.raises(InputError, match="two data sets are called 'one'"):
        load(tmp_path, "one.npz", "a/one.npz")


def test_a_model_without_rows_of_a_set_is_scored_on_the_others(tmp_path):
    write(tmp_path, "one", Y)
    write(tmp_path, "two", Y // 2)
    data, options = load(tmp_path, "one.npz", "two.npz", shots=(1,))

    class Partial(Given):
        def _rows(self, prefix, ids, photographs):
            if prefix not in self.rows_of:
                raise Absent(f"{self.path}: not all of {prefix} is there.")
            return super()._rows(prefix, ids, photographs)

    # Asked for by name, all sets must be there.
    with pytest.raises(Absent, match="not all of two"):
        fewshot.score(data, Partial(one=X), options)
    by_default = options._replace(fewshot=FewShot(shots=(1,)))
    found = fewshot.score(data, Partial(one=X), by_default)
    assert {score.subset for score in found.scores} == {"one"}
    assert found.notes == ["not all of two is there."]
    with pytest.raises(Absent, match="not all of one"):
        fewshot.score(data, Partial(), by_default)


########################################## Report ##########################################


@pytest.mark.parametrize(
    ("models", "sets", "shots", "heads"),
    [
        (1, 1, (1,), ("ridge",)),
        (1, 7, (1, 10), ("ridge", "mlp")),
        (3, 2, (1, 5, 10, 20, 40, 80), ("ridge", "logistic", "linear", "mlp")),
        (12, 12, (1, 10), ("ridge",)),
    ],
)
def test_the_section_of_few_and_many(tmp_path, models, sets, shots, heads):
    found = fewshot_case.answers(models, sets, shots, heads)
    section = fewshot_page.section(found)
    page.write_page(tmp_path / "page.html", "few", [section])
    [picture] = [block for block in section.blocks if isinstance(block, page.Picture)]
    tables = [block for block in section.blocks if isinstance(block, page.Table)]
    first = tables[0]
    subset, name = "set0", f"accuracy, ridge, {shots[0]}-shot"
    value = found["model 0"].find(subset, name)
    if models == 1:
        assert first.rows[0]["1-shot"] == value
        assert len(first.rows) == sets + (sets > 1)
    elif models == 3:
        assert first.rows[0]["model 0"] == value
        assert len(tables) == len(shots) + 3
    else:
        assert first.rows[0] == {"model": "model 0"} | {
            fewshot_page._title(s): found["model 0"].find(s, name).value
            for s in [*(f"set{i}" for i in range(12)), "all"]
        }
    over = "all" if sets > 1 else subset
    values = {m: a.find(over, name).value for m, a in found.items() if m != PEOPLE}
    best = max(values, key=values.get)
    assert f"{best} names the class of {100 * values[best]:.1f}\u00a0%" in section.blocks[1]
    assert ("only some are drawn" in picture.caption) == (sets > 6)


def test_raw_pixels_of_real_images(shared_data):
    data, options = load(shared_data, "images/fashion_mnist_900.npz")
    source = data.tasks[0].examples.source
    pixels = np.stack([source.read(i)[1][..., 0].ravel() for i in range(source.n)])
    found = fewshot.score(data, Given(fashion_mnist_900=np.float32(pixels)), options)
    one, ten = (found.find("fashion_mnist_900", f"accuracy, ridge, {n}-shot") for n in (1, 10))
    assert 0.1 < one.value < ten.low < ten.value < 0.8


def test_rows_of_examples_are_no_rows_of_test_images(tmp_path):
    """Pictures of both splits may be called the same in a file that has those of one only."""
    for split, level in (("train", 0), ("test", 100)):
        for place, name in enumerate(("cat", "dog")):
            for number in range(3):
                path = tmp_path / "pets" / split / name / f"no_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (4, 4), (level + 60 * place, number, 0)).save(path)
    ids = np.array([f"{name}/no_{number}" for name in ("cat", "dog") for number in range(3)])
    rows = np.random.default_rng(0).normal(size=(6, 4))
    save_embeddings(tmp_path / "bare.npz", Embeddings(ids, rows))
    data, options = load(tmp_path, "pets", shots=(1,))
    [bare] = from_embeddings(tmp_path / "bare.npz")
    with pytest.raises(Absent, match="its rows of pets/test are those of pets/train; expected id"):
        fewshot.score(data, bare, options)
    both = Embeddings(
        np.array([f"pets/{split}/{name}" for split in ("train", "test") for name in ids]),
        np.concatenate([rows, rows + 0.1]),
    )
    save_embeddings(tmp_path / "both.npz", both)
    [model] = from_embeddings(tmp_path / "both.npz")
    assert fewshot.score(data, model, options).find("pets", "accuracy, ridge, 1-shot").n == 6
