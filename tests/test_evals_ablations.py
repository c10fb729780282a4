"""What a comparison of several trainings adds up to: the numbers, the words, the figures."""

import numpy as np
import pytest

from evals import ablations, comparison
from evals.answers import PEOPLE, VISION, Answers, Headline, Question, Score
from evals.pages import ablation_figures, page
from evals.runs import Run
from evals.statistics.intervals import Measured, proportion
from tests import runs_case

SETS = ("birds", "cars", "dtd", "pets", "textures")
M = 400


def headline(answers):
    return [Headline(name, "accuracy, ridge, 1-shot", f"{name}, 1-shot", 0.1) for name in SETS]


QUESTIONS = {
    "things": runs_case.QUESTIONS["things"],
    "fewshot": Question(
        headline, None, None, None, lambda found: page.Section("few", []), family=VISION
    ),
}


def learned(gain, seed, sets=SETS):
    """Accuracy of a data set, its own level plus a gain."""
    scores, arrays = [], {}
    for index, name in enumerate(sets):
        rng = np.random.default_rng([index, seed, round(1000 * gain)])
        samples = 0.2 + 0.1 * index + gain + 0.01 * rng.normal(size=200)
        value = float(samples[0])
        measured = Measured(value, value - 0.02, value + 0.02, M)
        scores.append(Score(name, "accuracy, ridge, 1-shot", measured))
        arrays[f"{name}/accuracy, ridge, 1-shot/samples"] = samples
    return Answers(scores, arrays, [])


def chosen(share):
    correct = np.arange(M) < share * M
    score = Score("all", "accuracy", proportion(int(correct.sum()), M))
    return Answers([score], {"all/accuracy/correct": correct}, [])


def run(gain, models=("vit", "dino"), things=True, sets=SETS):
    nobody = Answers([], {}, [])
    few = {name: learned(gain, seed, sets) for seed, name in enumerate(models)}
    answers = {"fewshot": {PEOPLE: nobody} | few}
    if things:
        answers["things"] = {PEOPLE: nobody} | {name: chosen(0.4 + gain) for name in models}
    return Run(list(models), answers, runs_case.ABOUT)


def compared(**gains):
    return comparison.compare({label: run(gain) for label, gain in gains.items()}, QUESTIONS)


def section(found, heading):
    return next((one for one in found.sections if one.heading == heading), None)


ANOVA = "Over all data sets, does the setting matter?"


def test_a_setting_that_matters_over_all_data_sets_is_said_to():
    said = section(compared(before=0.0, after=0.1), ANOVA).blocks
    assert (
        "of 2 models in the settings before and after on 5 data sets: accuracy depends on"
        in said[0]
    )
    assert [row["effect"] for row in said[1].rows] == ["model", "setting", "model × setting"]
    assert said[1].rows[1]["df"] == "1, 4"
    said = section(compared(before=0.0, after=0.0), ANOVA)
    # The same numbers in both settings: nothing to test.
    assert "the methods differ by the same amount" in said.blocks[0]


def test_two_data_sets_are_too_few():
    runs = {label: run(0.1, sets=SETS[:2]) for label in ("a", "b")}
    assert section(comparison.compare(runs, QUESTIONS), ANOVA) is None


def test_only_models_that_have_every_setting_count():
    runs = {"a": run(0.0, ("vit", "dino")), "b": run(0.1, ("vit",)), "c": run(0.2, ("vit", "dino"))}
    said = section(comparison.compare(runs, QUESTIONS), ANOVA).blocks[0]
    assert "of 1 model in the settings b and c on 5 data sets" in said


def test_the_baseline_is_none_of_the_settings_that_are_tested():
    """Or else whatever training does would be an effect of what was varied in it."""
    said = section(compared(base=0.0, unaligned=0.1, aligned=0.101), ANOVA).blocks
    assert "in the settings unaligned and aligned on 5 data sets: it is not shown" in said[0]
    assert said[1].rows[1]["df"] == "1, 4"
    said = section(compared(**{"10": 0.0, "100": 0.1, "1000": 0.2}), ANOVA).blocks[0]
    assert "in the settings 10, 100 and 1000 on 5 data sets: accuracy depends" in said


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("100", 100),
        ("1,000", 1000),
        ("10k", 10_000),
        ("1.5M", 1_500_000),
        ("1e5", 1e5),
        ("0", None),
        ("-5", None),
        ("base", None),
        ("k", None),
        ("1e999", None),
    ],
)
def test_labels_that_are_numbers(label, value):
    assert ablations.number(label) == value


def test_settings_that_are_numbers_give_curves(monkeypatch):
    drawn = {}
    draw = ablation_figures.curves
    monkeypatch.setattr(
        ablation_figures, "curves", lambda panels: drawn.update(panels) or draw(panels)
    )
    found = compared(**{"10k": 0.2, "100": 0.0, "1000": 0.1})
    assert section(found, "How does it grow?") is not None
    few, things = drawn.values()
    assert [x for x, _, _ in few["vit"]] == [100, 1000, 10_000]
    values = np.array([learned(0.1, 0).find(s, "accuracy, ridge, 1-shot").value for s in SETS])
    _, mean, error = few["vit"][1]
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(5))
    assert [y for _, y, _ in things["dino"]] == pytest.approx([0.4, 0.5, 0.6], abs=0.01)
    assert section(found, "More human, and better at seeing?") is None
    drawn.clear()
    found = compared(**{"base": 0.05, "100": 0.0, "1000": 0.1, "10k": 0.2})
    picture = section(found, "How does it grow?").blocks[0]
    assert picture.caption.endswith("Dashed: base.")
    assert [x for x, _, _ in next(iter(drawn.values()))["vit"]] == [0, 100, 1000, 10_000]
    dashed = [line for line in picture.figure.axes[0].lines if line.get_ls() == "--"]
    assert len(dashed) == 2
    assert "in the settings 100, 1000 and 10k" in section(found, ANOVA).blocks[0]
    found = compared(**{"base": 0.05, "100": 0.0, "1000": 0.1})
    assert section(found, "How does it grow?") is None


def test_other_settings_give_a_cloud(monkeypatch):
    drawn = {}
    draw = ablation_figures.cloud
    monkeypatch.setattr(
        ablation_figures, "cloud", lambda points, **k: drawn.update(points) or draw(points, **k)
    )
    found = compared(base=0.0, direct=0.05, aligned=0.1)
    assert section(found, "More human, and better at seeing?") is not None
    assert list(drawn) == ["vit", "dino"] and list(drawn["vit"]) == ["base", "direct", "aligned"]
    assert drawn["vit"]["aligned"][1] == pytest.approx(0.5)
    assert section(compared(base=0.0, aligned=0.1), "More human, and better at seeing?") is None
