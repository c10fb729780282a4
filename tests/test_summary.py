"""The first section of a report: the order of the models, and what is said of a test."""

import numpy as np
import pytest

from evals import scoring, summary
from evals.answers import HUMAN, PEOPLE, Answers, Headline, Question, Score
from evals.pages import page, summary_figures
from evals.pages.table import table
from evals.statistics import differences
from evals.statistics.intervals import Measured, proportion
from tests import runs_case

M = 400


def question(*headline):
    shown = [Headline(*number) for number in headline]
    return Question(lambda _: shown, None, None, None, None)


QUESTIONS = {
    "choices": question(("all", "accuracy", "Choices", 1 / 3)),
    "levels": question(
        ("coarse", "accuracy", "Coarse", 1 / 3), ("fine", "accuracy", "Fine", 1 / 3)
    ),
    "ratings": question(("all", "spearman/pearson", "Ratings")),
    "between": question(),
}


def choices(share, subset="all"):
    """Right on the first of M triplets: the better of two is right wherever the other is."""
    correct = np.arange(M) < share * M
    score = Score(subset, "accuracy", proportion(int(correct.sum()), M))
    return Answers([score], {f"{subset}/accuracy/correct": correct}, [])


def rating(value):
    samples = value + np.random.default_rng(int(1000 * value)).normal(0, 0.015, 200)
    measured = Measured(value, value - 0.04, value + 0.04, 120)
    score = Score("all", "spearman/pearson", measured)
    return Answers([score], {"all/spearman/pearson/samples": samples}, [])


def people(ceiling=None):
    scores = [Score("all", "accuracy ceiling", ceiling)] if ceiling else []
    return Answers(scores, {}, [])


CEILING = proportion(267, 400)
ANSWERS = {
    "choices": {PEOPLE: people(CEILING), "low": choices(0.4), "high": choices(0.6)},
    "levels": {PEOPLE: people(), "high": choices(0.5, "fine")},
    "ratings": {PEOPLE: people(), "low": rating(0.31), "high": rating(0.3)},
    "between": {PEOPLE: people(), "low": Answers([], {}, [])},
}


def found(answers=ANSWERS):
    return summary.tests(answers, QUESTIONS)


def test_tests_are_the_headline_numbers_that_any_model_has():
    tests = found()
    assert [test.name for test in tests] == ["Choices", "Fine", "Ratings"]
    assert [test.eval for test in tests] == ["choices", "levels", "ratings"]
    assert tests[0].scores == {"low": proportion(160, M), "high": proportion(240, M)}
    assert tests[0].ceiling == CEILING
    assert tests[1].scores == {"high": proportion(200, M)}
    assert tests[1].ceiling is None and tests[2].ceiling is None


def test_an_eval_without_its_headline_number_is_told_by_its_parts():
    answers = {"ratings": {PEOPLE: people(), "one": Answers([], {}, [])}}
    assert found(answers) == []
    part = Score("set1", "spearman/pearson", Measured(0.2, 0.1, 0.3, 9))
    other = Score("set1", "spearman/cosine", Measured(0.2, 0.1, 0.3, 9))
    answers["ratings"]["one"] = Answers([part, other], {}, [])
    [test] = found(answers)
    assert (test.name, test.subset, test.metric) == ("Ratings, set1", "set1", "spearman/pearson")


def test_headlines_of_all_evals_have_names_of_their_own():
    # Those of the other family depend on the data sets.
    asked = [question for question in scoring.QUESTIONS.values() if question.family == HUMAN]
    names = [shown.name for question in asked for shown in question.headline({})]
    assert len(names) == len(set(names)) > 8


########################################## Order ##########################################


def of_scores(**by_test):
    return [
        summary.Test(
            *(name, HUMAN, "e", "s", "m", 0.0),
            {k: Measured(v, v, v, 9) for k, v in scores.items()},
            None,
        )
        for name, scores in by_test.items()
    ]


def test_models_are_ordered_by_their_mean_rank():
    tests = of_scores(
        a={"x": 0.1, "y": 0.2, "z": 0.3}, b={"x": 0.1, "y": 0.9, "z": 0.2}, c={"x": 0.2, "y": 0.3}
    )
    # Mean ranks, 0 the best and 1 the worst: x (1, 1, 1), y (1/2, 0, 0), z (0, 1/2).
    assert summary.order(tests, ["x", "y", "z"]) == ["y", "z", "x"]


def test_tests_that_only_one_model_took_do_not_count_against_it():
    tests = of_scores(
        a={"x": 0.9, "y": 0.5, "z": 0.4}, b={"x": 0.1}, c={"x": 0.1}, d={"x": 0.1}, e={"x": 0.1}
    )
    assert summary.order(tests, ["z", "y", "x"]) == ["x", "y", "z"]


def test_equal_models_and_such_that_took_no_test_keep_their_order():
    tests = of_scores(a={"x": 0.5, "y": 0.5, "z": 0.7})
    assert summary.order(tests, ["none", "y", "x", "z"]) == ["z", "y", "x", "none"]


########################################## Words ##########################################


def test_what_is_best_and_better_is_said_of_a_test():
    tests = found()
    compared = summary.compare(tests, ANSWERS)
    assert set(compared) == {"Choices", "Ratings"}
    nbsp = "\u00a0"
    assert summary.sentence(tests[0], compared["Choices"]) == (
        f"Choices: high has 60.0{nbsp}% [55.2, 64.8] (people among themselves: 66.8{nbsp}% [62.0, "
        "71.2]); that is 20.0 points [16.1, 23.9] (Holm-corrected p < .001) more than low. It "
        "is better at α = .05."
    )
    assert summary.sentence(tests[1], ()) == f"Fine: high has 50.0{nbsp}% [45.0, 55.0]."
    [between] = compared["Ratings"]
    _, low, high, _ = between.difference
    p = differences.p_text(between.p_holm)
    assert summary.sentence(tests[2], compared["Ratings"]) == (
        "Ratings: low has 0.310 [0.270, 0.350]; that is 0.010 "
        f"[{low:z.3f}, {high:z.3f}] (Holm-corrected {p}) more than high. It was "
        "not shown to be better than any other model."
    ).replace("[-", "[−")


def several(shares, **others):
    by_model = {PEOPLE: people()} | {m: choices(s) for m, s in shares.items()} | others
    answers = {"choices": by_model}
    [test] = found(answers)
    return summary.sentence(test, summary.compare([test], answers)["Choices"])


def test_better_is_said_only_of_what_is_shown():
    assert several({"a": 0.6, "b": 0.4, "c": 0.3}).endswith(
        "more than b, the next best. It is better than all 2 others at α = .05."
    )
    assert several({"a": 0.6, "b": 0.6, "c": 0.3}).endswith(
        "It is better than 1 of 2 others at α = .05; not shown to be better than b."
    )
    assert several({"a": 0.6, "b": 0.6, "c": 0.5975}).endswith(
        "It was not shown to be better than any other model."
    )
    many = several(dict.fromkeys("abcdefg", 0.6) | {"h": 0.1})
    assert many.endswith(
        "1 of 7 others at α = .05; not shown to be better than b, c, d, e and 2 more."
    )


def test_models_as_good_as_each_other_share_the_first_place():
    assert several({"a": 0.5, "b": 0.5, "c": 0.3}).endswith(
        "; b has the same. It is better than 1 of 2 others at α = .05; not shown to be better than "
        "b."
    )


def test_a_model_that_cannot_be_compared_is_passed_over():
    untested = choices(0.5)._replace(arrays={})
    said = several({"a": 0.6, "c": 0.3}, b=untested)
    assert said.startswith("Choices: a has 60.0")
    assert said.endswith("% [55.2, 64.8]. It is better than c at α = .05.")
    best = choices(0.9)._replace(arrays={})
    assert several({"a": 0.6, "c": 0.3}, b=best).endswith("has 90.0\u00a0% [87.0, 92.8].")


########################################## Tables ##########################################


def test_few_models_are_columns_and_many_are_rows():
    [rows] = summary.tables(found(), ["high", "low"])
    assert rows[0] == {
        "": "Choices",
        "high": proportion(240, M),
        "low": proportion(160, M),
        "people": CEILING,
    }
    assert rows[1] == {"": "Fine", "high": proportion(200, M), "low": None, "people": None}
    models = [f"m{i}" for i in range(5)]
    answers = {"choices": {PEOPLE: people(CEILING)} | {m: choices(0.5) for m in models}}
    [rows] = summary.tables(found(answers), models)
    assert rows[0] == {"model": "m0", "Choices": 0.5}
    assert rows[-1] == {"model": "people", "Choices": CEILING.value}
    assert len(rows) == 6


@pytest.mark.parametrize("name", ["test", "model", "Choices"])
def test_a_model_may_be_called_like_a_column(name):
    answers = {"choices": {PEOPLE: people(), name: choices(0.5)}}
    text = table(summary.tables(found(answers), [name])[0])
    assert name in text.splitlines()[0]
    assert text.splitlines()[2].startswith("Choices") and "0.5000" in text


########################################## Section ##########################################


def text_of(section):
    return " ".join(block for block in section.blocks if isinstance(block, str))


def section(answers=ANSWERS, models=("high", "low")):
    tests = found(answers)
    return summary.section(tests, models, summary.compare(tests, answers))


def test_the_section_says_in_words_who_is_most_human():
    drawn = section()
    assert drawn.heading == "Which model is more human?"
    text = text_of(drawn)
    assert "no model is the most human of 2: high, low share the first place." in text
    better = ANSWERS | {"ratings": {PEOPLE: people(), "low": rating(0.1), "high": rating(0.3)}}
    text = text_of(section(better))
    assert "high is the most human of 2 models: it is first in 2 of 2 tests." in text
    assert "In 2 of them it is shown to be better than every other model." in text
    assert all(f"{name}: high has" in text for name in ("Choices", "Fine"))
    assert "guessing: 33.3 %" in text
    assert [type(block) for block in drawn.blocks[-1:]] == [page.Table]
    assert page.page("A", [drawn])


def test_one_model_or_models_without_a_common_test_are_not_ranked():
    alone = {"choices": {PEOPLE: people(), "one": choices(0.5)}}
    assert "comes out" not in text_of(section(alone, ["one"]))
    apart = alone | {"ratings": {PEOPLE: people(), "other": rating(0.1)}}
    text = text_of(section(apart, ["one", "other"]))
    assert "comes out" not in text
    assert "Ratings: other has 0.100 [" in text


def test_how_many_tests_the_first_took_is_said_if_it_took_not_all():
    answers = {
        "choices": {PEOPLE: people(), "a": choices(0.6), "b": choices(0.5)},
        "ratings": {PEOPLE: people(), "b": rating(0.2), "c": rating(0.1)},
    }
    text = text_of(section(answers, ["a", "b", "c"]))
    assert "most human of 3 models: it is first in 1 of 1 test that it took, of 2. In 1" in text


def test_guessing_is_a_third_of_choices_and_nothing_of_correlations(monkeypatch):
    marks = {}
    draw = summary_figures.headlines

    def headlines(scores, models, **drawn):
        marks.update(drawn, rows=list(models))
        return draw(scores, models, **drawn)

    monkeypatch.setattr(summary_figures, "headlines", headlines)
    section()
    assert marks["chance"] == {"Choices": 1 / 3, "Fine": 1 / 3, "Ratings": 0}
    assert marks["ceilings"] == {"Choices": CEILING}
    assert marks["rows"] == ["high", "low"]


@pytest.mark.parametrize("n", [1, 4, 12])
def test_the_section_is_drawn_of_few_and_many_models(n):
    run = runs_case.run([f"model {i}" for i in range(n)], 0.1)
    tests = summary.tests(run.answers, runs_case.QUESTIONS)
    models = summary.order(tests, run.models)
    assert models == [f"model {i}" for i in reversed(range(n))]
    drawn = summary.section(tests, models, summary.compare(tests, run.answers))
    [rows] = [block.rows for block in drawn.blocks if isinstance(block, page.Table)]
    assert len(rows) == (len(tests) if n <= 3 else n + 1)
    assert len([block for block in drawn.blocks if isinstance(block, page.Picture)]) == 1
