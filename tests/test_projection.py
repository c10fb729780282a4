"""Maps of a model's space of images: from photographs and rows to the report's section."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from alignet.data import wordnet
from alignet.errors import Absent, InputError
from evals import projection
from evals.answers import PEOPLE, Answers
from evals.options import Options
from evals.pages import figures, page, projection_figures
from evals.statistics import projections
from tests import things_case

OPTIONS = Options(seed=2**31 + 3)
# Of the kinds in `projection.SUPERORDINATES` these are 0, 2 and none.
CLASSES = {"n01440764": "tench", "n07747607": "orange", "n04116512": "rubber"}
IS_A = "n00015388 n01440764\nn00021265 n07747607\n"
WORDS = (
    "n00015388\tanimal\nn00021265\tfood\nn01440764\ttench\nn07747607\torange\nn04116512\trubber\n"
)
IDS = np.array([f"{wnid}_{i}" for wnid in sorted(CLASSES) for i in range(4)])
KINDS = np.repeat([0, -1, 2], 4)
ROWS = np.random.default_rng(0).normal(size=(12, 6))


@pytest.fixture
def data_dir(tmp_path):
    folder = tmp_path / "data" / "imagenet_photographs"
    folder.mkdir(parents=True)
    for name in IDS:
        Image.new("RGB", (2, 2)).save(folder / f"{name}.png")
    (tmp_path / "data" / "imagenet").mkdir()
    (tmp_path / "data" / wordnet.IS_A).write_text(IS_A)
    (tmp_path / "data" / wordnet.WORDS).write_text(WORDS)
    return tmp_path / "data"


@pytest.fixture
def cheap(monkeypatch):
    """Stands in for TriMap and PaCMAP, which compile when they are imported."""
    calls = []

    def draw(points, *, seed):
        calls.append((points, seed))
        return points[:, [1, 0]].astype(np.float32)

    monkeypatch.setattr(projection, "MAPS", {"trimap": draw, "pacmap": draw})
    monkeypatch.setattr(projections, "FEWEST", 12)
    return calls


def score(data_dir, tmp_path, rows=ROWS, ids=IDS):
    data = projection.load(data_dir, OPTIONS)
    return projection.score(data, things_case.model(tmp_path, rows, ids), OPTIONS)


def test_photographs_have_the_kinds_of_their_classes(data_dir):
    data = projection.load(data_dir, OPTIONS)
    found = projection.people(data, OPTIONS)
    names, kinds = found.arrays["superordinates"], found.arrays["superordinate"]
    assert data.photographs.ids.tolist() == IDS.tolist()
    assert kinds.tolist() == KINDS.tolist()
    assert names[[0, 2]].tolist() == ["animals", "food"]
    assert len(names) == len(projection_figures.LOOKS)
    assert {path.name for path in data.files} == {"wordnet.is_a.txt", "words.txt"}
    assert list(data.fingerprints) == ["imagenet_photographs"]


def test_without_photographs_or_the_hierarchy_there_is_nothing(data_dir, tmp_path):
    with pytest.raises(Absent):
        projection.load(tmp_path, OPTIONS)
    (data_dir / wordnet.IS_A).unlink()
    with pytest.raises(Absent, match=r"is_a\.txt: no such file"):
        projection.load(data_dir, OPTIONS)


def test_scores_are_shares_of_the_variance(data_dir, tmp_path, cheap):
    rows = np.random.default_rng(1).normal(size=(12, 20))
    found = score(data_dir, tmp_path, rows)
    expected = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    expected /= expected.sum()
    for m in (5, 10, 15):
        value = found.find("all", f"variance explained by {m} components")
        assert value.value == pytest.approx(expected[:m].sum())
        assert (np.isnan(value.low), value.n) == (True, 12)
    # Twelve photographs span eleven dimensions.
    np.testing.assert_allclose(found.arrays["explained"], expected[:11], atol=1e-12)
    assert found.notes == []


def test_maps_are_of_the_rows_in_the_photographs_order(data_dir, tmp_path, cheap):
    found = score(data_dir, tmp_path)
    expected = projections.pca(ROWS, 100).scores
    np.testing.assert_allclose(found.arrays["pca"], expected[:, :4], atol=1e-6)
    np.testing.assert_allclose(found.arrays["trimap"], expected[:, [1, 0]], atol=1e-6)
    for points, seed in cheap:
        np.testing.assert_allclose(points, expected)
        assert seed == 3
    shuffled = np.random.default_rng(0).permutation(12)
    again = score(data_dir, tmp_path, ROWS[shuffled], IDS[shuffled])
    np.testing.assert_array_equal(again.arrays["pca"], found.arrays["pca"])


def test_a_space_of_one_dimension_has_nothing_in_the_others(data_dir, tmp_path, cheap):
    found = score(data_dir, tmp_path, ROWS[:, :1])
    assert found.arrays["explained"].tolist() == [1]
    assert found.arrays["pca"].shape == (12, 4)
    assert not found.arrays["pca"][:, 1:].any()
    data = projection.load(data_dir, OPTIONS)
    shown = {PEOPLE: projection.people(data, OPTIONS), "flat": found}
    [picture, *_] = pictures(projection.QUESTION.section(shown))
    assert picture.figure.axes[0].get_ylabel() == ""


def test_what_cannot_be_drawn_is_noted(data_dir, tmp_path, monkeypatch):
    assert score(data_dir, tmp_path).notes == [
        f"{name} is left out: 12 photographs are too few for it." for name in ("trimap", "pacmap")
    ]

    def draw(points, *, seed):
        raise Absent("it is not installed.")

    monkeypatch.setattr(projection, "MAPS", {"pacmap": draw})
    monkeypatch.setattr(projections, "FEWEST", 12)
    found = score(data_dir, tmp_path)
    assert found.notes == ["pacmap is left out: it is not installed."]
    assert set(found.arrays) == {"pca", "explained"}


def test_a_model_with_equal_rows_or_without_some_is_refused(data_dir, tmp_path, cheap):
    with pytest.raises(InputError, match=r"model\.npz: all 12 rows are equal"):
        score(data_dir, tmp_path, np.ones((12, 3)))
    with pytest.raises(Absent, match="not all of imagenet_photographs is there"):
        score(data_dir, tmp_path, ROWS[1:], IDS[1:])


########################################## Report ##########################################


def answers(names, *, n=300, maps=("trimap", "pacmap")):
    """Made-up spaces of the same photographs, each a mirrored and turned copy of the first."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(-1, 7, size=n)
    points = (rng.normal(size=(n, 4)) + kinds[:, None] * [1, 0, 2, 0]).astype(np.float32)
    shares = np.arange(32, 0, -1) / 1000
    people = {"superordinates": np.array(projection.SUPERORDINATES), "superordinate": kinds}
    found = {PEOPLE: Answers([], people, [])}
    for index, name in enumerate(names):
        signs = np.where(rng.integers(2, size=4) | (index == 0), 1, -1)
        arrays = {"pca": (points * signs).astype(np.float32), "explained": shares}
        arrays |= {kind: points[:, [1, 0]] if index % 2 else points[:, :2] for kind in maps}
        found[name] = Answers([], arrays, [])
    return found


def pictures(section):
    return [block for block in section.blocks if isinstance(block, page.Picture)]


def dots(axes):
    return np.asarray(axes.collections[0].get_offsets())


@pytest.mark.parametrize(
    ("names", "grids"),
    [
        (["one"], [(1, 4)]),
        (["before", "after"], [(1, 2)] * 4),
        ([f"model {i}, {when}" for when in ("before", "after") for i in range(3)], [(2, 3)] * 4),
        ([f"a model with quite a long name {i}" for i in range(13)], [(3, 4)] * 4),
    ],
)
def test_models_are_beside_each_other_up_to_four_in_a_row(names, grids):
    *maps, curves = pictures(projection.QUESTION.section(answers(names)))
    for picture in (*maps, curves):
        assert isinstance(picture.figure, Figure)
        assert picture.figure.get_figwidth() <= figures.WIDTH
    found = [
        picture.figure.axes[0].get_subplotspec().get_gridspec().get_geometry() for picture in maps
    ]
    assert found == grids
    assert len(curves.figure.axes[0].lines) == min(len(names), 12)
    if len(names) > 1:
        for picture in maps:
            titles = [axes.get_title(loc="left") for axes in picture.figure.axes]
            assert len(set(titles)) == len(titles)


def test_spaces_that_differ_in_what_means_nothing_look_alike():
    *maps, _ = pictures(projection.QUESTION.section(answers(["a", "b", "c"])))
    for picture in maps:
        first, *others = (dots(axes) for axes in picture.figure.axes)
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-5)


def test_a_dot_has_the_colour_of_its_kind():
    found = answers(["a"])
    axes = pictures(projection.QUESTION.section(found))[0].figure.axes[0]
    colour = {
        tuple(at): to_hex(c) for at, c in zip(dots(axes), axes.collections[0].get_fc(), strict=True)
    }
    palette = [look for look, _ in projection_figures.LOOKS] + [projection_figures.OTHERS]
    kinds = found[PEOPLE].arrays["superordinate"]
    for at, kind in zip(found["a"].arrays["pca"][:, :2], kinds, strict=True):
        assert colour[tuple(at)] == palette[kind].lower()
    assert axes.get_xlabel() == "1: 3.2\u00a0%"


def test_a_mark_is_where_most_of_a_kind_are():
    # Food in two places, a mean of which would be among the animals.
    points = np.random.default_rng(0).normal(size=(1000, 2)) * 0.1
    kinds = np.arange(1000) % 2
    points[(kinds == 1) & (np.arange(1000) < 700)] += [10, 0]
    points[(kinds == 1) & (np.arange(1000) >= 700)] -= [20, 0]
    figure = projection_figures.maps({"a": projection_figures.Map(points)}, kinds, ["a", "b"])
    animals, food = (np.ravel(line.get_data()) for line in figure.axes[0].lines)
    np.testing.assert_allclose(animals, [0, 0], atol=0.1)
    np.testing.assert_allclose(food, [10, 0], atol=0.1)


def test_models_without_a_map_are_not_in_its_figure():
    found = answers(["a", "b"])
    found["c"] = answers(["c"], maps=())["c"]
    *maps, _ = pictures(projection.QUESTION.section(found))
    assert [len(picture.figure.axes) for picture in maps] == [3, 3, 2, 2]
    *maps, _ = pictures(projection.QUESTION.section(answers(["a", "b"], maps=())))
    assert len(maps) == 2


def test_many_photographs_make_no_big_page():
    points = np.random.default_rng(0).normal(size=(20_000, 2))
    shown = {"a": projection_figures.Map(points)}
    picture = projection_figures.maps(shown, np.zeros(20_000, int), ["animals"])
    assert len(figures.svg(picture)) < 500_000
