"""Figures and the report: they draw, repeat to the byte, escape, and need nothing from outside."""

import base64
import itertools
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from evals.pages import (
    chain_figures,
    figures,
    human_figures,
    projection_figures,
    summary_figures,
)
from evals.pages.page import Picture, Section, Table, page, write_figures, write_page
from evals.statistics import calibration
from evals.statistics.intervals import Measured, proportion

MODELS = ("base", "distilled", "UD", "aligned")


def score(value):
    return Measured(value, value - 0.01, value + 0.02, 500)


def gram(rng, p):
    x = rng.normal(size=(12, p))
    return x @ x.T


def draw_reliability(rng):
    p = rng.dirichlet(np.ones(3), size=300)
    return human_figures.reliability_diagram(calibration.run(p, resamples=5).bins, title="p*")


def draw_lambda(_=None):
    curve = {0.01: score(0.5), 0.1: score(0.54), 1.0: score(0.49)}
    curves = {"soft": curve, "hard": {lam: score(m.value - 0.02) for lam, m in curve.items()}}
    chosen = {"soft": 0.1, "hard": 1.0}
    return chain_figures.lambda_curve(curves, untransformed=score(0.45), chosen=chosen)


def draw_dots(_=None):
    scores = {
        name: {model: score(0.4 + 0.05 * i) for i, model in enumerate(MODELS)}
        for name in ("held out", "seen")
    }
    del scores["seen"]["UD"]
    return chain_figures.accuracy_dots(scores, ceilings={"seen": 0.667})


def draw_elbow(_=None):
    k = np.array([2, 4, 8])
    return chain_figures.elbow_curve(k, 1 / k * np.array([[1.0], [1.1]]), chosen=4)


def draw_training(_=None):
    steps = np.arange(5) * 100
    two_seeds = np.array([[3.0, 2, 1, 1, 1], [3, 2, 2, np.nan, np.nan]])
    return chain_figures.training_curves(steps, {"−ELBO": two_seeds}, two_seeds * 10, truth=20)


def draw_panels(rng):
    matrices = {name: gram(rng, 4) for name in MODELS}
    return chain_figures.similarity_panels(matrices, np.array(["a", "b", "c"] * 4))


def draw_sheet(rng):
    pixels = rng.integers(256, size=(30, 8, 8, 3)).astype(np.uint8)
    triplets = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 29], [1, 2, 3], [4, 5, 6]])
    answers = {"people": np.array([0, 1, 2, 0, 1]), "teacher": np.array([0, -1, 1, 2, 2])}
    return chain_figures.contact_sheet(pixels, triplets, answers, title="A world")


def draw_similarity(rng):
    people, *models = ((x + x.T) / 2 + 2 * np.eye(30) for x in rng.random((4, 30, 30)))
    rho = Measured(0.498, 0.426, 0.564, 30)
    shown = {name: (matrix, rho) for name, matrix in zip(MODELS, models, strict=False)}
    return human_figures.similarity_with_people(people, shown, title="people, automobiles")


def draw_headlines(_=None):
    models = [f"a model with quite a long name {i}" for i in range(12)]
    tests = ("THINGS", "THINGS, by ILSVRC", "Levels, boundary", "Peterson, coarse", "92 photos")
    scores = {test: {m: score(0.3 + 0.03 * i) for i, m in enumerate(models)} for test in tests}
    del scores["THINGS"][models[1]]
    ceilings = {"THINGS": score(0.667), "Levels, boundary": Measured(0.9, np.nan, np.nan, 9)}
    chance = dict.fromkeys(tests, 1 / 3)
    return summary_figures.headlines(scores, models, chance=chance, ceilings=ceilings)


def draw_maps(rng):
    kinds = np.arange(150) % 8 - 1
    names = ("animals", "clothes", "food", "furniture", "musical instruments", "ships", "cars")
    shown = {
        f"a model with quite a long name {i}": projection_figures.Map(
            rng.normal(size=(150, 2)), ("1: 12.3\u00a0%", "2: 4.5\u00a0%")
        )
        for i in range(6)
    }
    return projection_figures.maps(shown, kinds, names)


def draw_curves(rng):
    shares = {f"a model with quite a long name {i}": rng.random(32).cumsum() for i in range(12)}
    return projection_figures.curves({name: curve / 32 for name, curve in shares.items()})


DRAWN = {
    "reliability": draw_reliability, "lambda": draw_lambda, "dots": draw_dots, "elbow": draw_elbow,
    "training": draw_training, "panels": draw_panels, "sheet": draw_sheet,
    "similarity": draw_similarity, "headlines": draw_headlines, "maps": draw_maps,
    "curves": draw_curves,
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DRAWN)
def test_equal_figures_are_equal_bytes_and_no_wider_than_the_page(name):
    svg, again = (figures.svg(DRAWN[name](np.random.default_rng(0))) for _ in range(2))
    assert svg == again
    root = ElementTree.fromstring(svg.encode())
    assert root.tag.endswith("svg")
    assert float(root.get("width").removesuffix("pt")) <= 72 * figures.WIDTH + 1
    assert not re.search(r'href="(?!#|data:)', svg)


@pytest.mark.parametrize("name", DRAWN)
def test_labels_are_legible_inside_and_apart(name, monkeypatch):
    figure = DRAWN[name](np.random.default_rng(0))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # settles the layout
    boxes = {}
    draw = Text.draw

    def record(text, renderer):
        draw(text, renderer)
        if text.get_visible() and text.get_text():
            boxes[text] = text.get_window_extent(renderer)

    monkeypatch.setattr(Text, "draw", record)
    canvas.draw()
    assert len(boxes) >= 5
    assert min(text.get_fontsize() for text in boxes) >= 6.5
    for text, box in boxes.items():
        assert figure.bbox.padded(2).count_contains(box.get_points()) == 2, text
    for (a, first), (b, second) in itertools.combinations(boxes.items(), 2):
        overlap = Bbox.intersection(first, second)
        assert overlap is None or min(overlap.size) < 1, (a, b)


def test_error_bars_are_the_intervals():
    figure = chain_figures.accuracy_dots({"all": {"base": Measured(0.5, 0.45, 0.52, 9)}})
    [container] = figure.axes[0].containers
    [segment] = container[2][0].get_segments()
    np.testing.assert_allclose(segment[:, 0], [0.45, 0.52])


def test_panels_show_ranks_of_pairs_sorted_by_category():
    matrix = np.array([[9, 1, 5], [1, 9, 3], [5, 3, 9]], float)
    figure = chain_figures.similarity_panels({"m": matrix}, ["b", "a", "b"])
    shown = figure.axes[0].images[0].get_array()
    # Sorted 1, 0, 2; the pairs' values 1 (1,0), 3 (1,2), 5 (0,2) have ranks 1, 2, 3 of 3.
    expected = np.array([[np.nan, 1, 3], [1, np.nan, 5], [3, 5, np.nan]]) * 100 / 6
    np.testing.assert_allclose(np.ma.filled(shown, np.nan), expected)


def test_numbers_in_a_figure_have_a_true_minus_and_no_negative_zero():
    people, model = (np.corrcoef(gram(np.random.default_rng(seed), 4)) for seed in (0, 1))
    shown = {"m": (model, Measured(-0.001, -0.25, 0.2, 12))}
    figure = human_figures.similarity_with_people(people, shown)
    assert figure.axes[2].get_title(loc="left") == "ρ = 0.00 [−0.25, 0.20]"


def test_the_best_model_of_every_test_stands_out_and_rows_are_the_same_in_all():
    scores = {
        "one": {"a": score(0.5), "b": score(0.6)},
        "two": {"b": score(0.2), "c": Measured(0.1, np.nan, np.nan, 3)},
    }
    figure = summary_figures.headlines(
        scores, ["a", "b", "c"], chance={"one": 1 / 3, "two": 0.0}, ceilings={"one": score(0.7)}
    )
    colours = []
    for axes in figure.axes:
        dots = {container[0].get_ydata()[0]: container[0] for container in axes.containers}
        colours.append({row: dot.get_color() for row, dot in dots.items()})
    blue, orange = figures.BLUE, figures.ORANGE
    assert colours == [{0: blue, 1: orange}, {1: orange, 2: blue}]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]
    names = {label.get_text() for label in draw_headlines().axes[0].get_yticklabels()}
    assert len(names) == 12 and max(map(len, names)) == 26
    alone = summary_figures.headlines(
        {"one": {"a": score(0.5)}}, ["a"], chance={"one": 0.0}, ceilings={}
    )
    assert alone.axes[0].containers[0][0].get_color() == blue


def test_save_writes_what_the_name_says(tmp_path):
    figure = draw_elbow()
    figures.save(figure, tmp_path / "a.png")
    figures.save(figure, tmp_path / "a.svg")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] == 1200
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg"]


def test_figures_are_files_numbered_as_on_the_page(tmp_path):
    folder = tmp_path / "figures"
    figure = draw_elbow()
    sections = [Section("b", ["c", Picture(figure, "one")]), Section("c", [Picture(figure, "two")])]
    write_figures(folder, sections)
    names = [f"figure_{number}.{kind}" for number in ("01", "02") for kind in ("pdf", "png")]
    assert sorted(path.name for path in folder.iterdir()) == names
    with Image.open(folder / "figure_02.png") as picture:
        assert picture.size[0] == 1200
    first = (folder / "figure_01.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    one, two = re.findall(r'base64,([^"]+)">', page("a", sections))
    assert one == two
    write_figures(folder, sections[1:])
    assert sorted(path.name for path in folder.iterdir()) == names[:2]
    assert (folder / "figure_01.pdf").read_bytes() == first
    write_figures(folder, [Section("b", ["c"])])
    assert not folder.exists()


class Reader(HTMLParser):
    """Collects tags and checks that they are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


EVIL = "<script>alert(\"x\")</script> & <b onclick='x'>"
FIGURE = Figure(figsize=(1, 1))


def evil_page():
    rows = [
        {EVIL: EVIL, "accuracy": proportion(3, 10), "n": 146_168},
        {EVIL: "base", "accuracy": None, "n": 2},
    ]
    blocks = [EVIL, Table(rows, EVIL), Picture(FIGURE, EVIL), Picture(FIGURE, EVIL)]
    others = [Section("", ["plain"]), Section("b", []), Section("c", [])]
    return page(EVIL, [Section(EVIL, blocks), *others])


def test_page_escapes_everything_and_is_well_formed():
    reader = Reader()
    html = evil_page()
    reader.feed(html)
    assert reader.open == []
    tags = {tag for tag, _ in reader.tags}
    assert "script" not in tags
    assert "b" in tags  # our own, in captions
    assert all("onclick" not in attributes for _, attributes in reader.tags)
    # title, h1, contents, h2, paragraph, column, cell and three captions
    assert reader.text.count(EVIL) == 10


def test_page_needs_nothing_from_outside():
    reader = Reader()
    html = evil_page()
    reader.feed(html)
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "link", "iframe", "object"})
    sources = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    for source in sources:
        drawn = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,"))
        assert drawn.decode() == figures.svg(FIGURE)
    assert "url(" not in html
    assert "@import" not in html
    anchors = [a["href"] for tag, a in reader.tags if tag == "a"]
    assert anchors == ["#s0", "#s2", "#s3"]
    assert {a["id"] for tag, a in reader.tags if tag == "section"} >= {"s0", "s2", "s3"}


def test_percent_signs_stay_with_their_numbers():
    html = page("5 %", [Section("6 %", ["7 %, 8%", Table([{"9 %": "10 %"}], "11 %")])])
    assert " %" not in html and all(f"{n}\u00a0%" in html for n in (5, 6, 7, 9, 10, 11))


def test_a_figure_may_be_drawn_before():
    drawn = figures.svg(FIGURE)
    first, second = (page("a", [Section("", [Picture(one, "b")])]) for one in (FIGURE, drawn))
    assert first == second


def test_page_aligns_numbers_and_counts_figures():
    html = evil_page()
    assert '<td class="number">0.3000 <span class="interval">[0.0000, 0.6000]</span></td>' in html
    assert '<td class="number">146,168</td>' in html
    assert '<td class="text">base</td>' in html
    assert '<td class="number">–</td>' in html
    for label in ("Table 1.", "Figure 1.", "Figure 2."):
        assert html.count(label) == 1


def test_page_is_written_whole_or_not_at_all(tmp_path):
    write_page(tmp_path / "report.html", "A", [Section("b", ["c"])])
    before = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert before.startswith("<!doctype html>")
    broken = Figure(figsize=(1, 1))
    broken.savefig = None
    with pytest.raises(TypeError):
        write_page(tmp_path / "report.html", "A", [Section("b", [Picture(broken, "c")])])
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
