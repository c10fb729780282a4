"""Finished runs side by side: who is matched, which differences are shown, what is said."""

import numpy as np
import pytest
import scipy.stats

from alignet.errors import InputError
from evals import comparison, matching, runs
from evals.answers import PEOPLE
from evals.pages import page
from evals.statistics.intervals import Measured
from tests import runs_case
from tests.comparison_case import MODELS, compare, headline_tests, made, section
from tests.runs_case import QUESTIONS


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    """Single triplets take long to draw."""
    monkeypatch.setattr(comparison, "MOST_CLOUDS", 1)


def difference_rows(found):
    """By model, eval, subset, metric, first and second label; nothing is drawn."""
    matched = matching.match(found, QUESTIONS)
    changes, _ = matching.changes(matched, headline_tests(matched))
    columns = comparison.DIFFERENCE_COLUMNS
    rows = [comparison._csv_row(change) for change in changes]
    return {row[:6]: dict(zip(columns, row, strict=True)) for row in rows}


def text(compared, heading):
    return " ".join(b for b in section(compared, heading).blocks if isinstance(b, str))


def tables(compared, heading):
    return [b for b in section(compared, heading).blocks if isinstance(b, page.Table)]


########################################## Matching ##########################################


def test_models_of_the_same_name_are_matched_whatever_their_order():
    found = {
        "original": runs_case.run(["b", "a", "only here"], 0.1),
        "aligned": runs_case.run(["a", "b"], 0.7),
    }
    matched = matching.match(found, QUESTIONS)
    assert matched.models == ["b", "a", "only here"]
    assert matched.answers["things"]["a"] == {
        label: run.answers["things"]["a"] for label, run in found.items()
    }
    assert list(matched.answers["things"]["only here"]) == ["original"]


def test_runs_of_one_model_each_are_matched_whatever_it_is_called():
    found = {"original": runs_case.run(["x"], 0.1), "aligned": runs_case.run(["y"], 0.7)}
    matched = matching.match(found, QUESTIONS)
    assert matched.models == [matching.ONE]
    assert matched.answers["king"][matching.ONE] == {
        "original": found["original"].answers["king"]["x"],
        "aligned": found["aligned"].answers["king"]["y"],
    }
    headings = [section.heading for section in compare(found).sections]
    assert "king of people, original, aligned" in headings


def test_a_single_model_without_an_eval_is_just_not_there():
    found = {"original": runs_case.run(["x"], 0.1), "aligned": runs_case.run(["y"], 0.7)}
    del found["aligned"].answers["king"]["y"]
    assert list(matching.match(found, QUESTIONS).answers["king"][matching.ONE]) == ["original"]
    [king] = [row for row in compare(found).rows if row["test"] == "King"]
    assert (king["aligned"], king["highest"]) == (None, None)


def test_an_eval_that_one_run_has_is_left_out_and_said():
    found = made(2)
    del found["aligned"].answers["king"]
    compared = compare(found)
    assert [row["test"] for row in compared.rows[::2]] == [
        "THINGS",
        *(f"Levels, {level}" for level in ("coarse", "fine", "boundary")),
    ]
    assert compared.notes == ["Left out, as no other run has it: king (original)."]


def refusal(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_runs_without_a_common_model_are_refused():
    found = {"a": runs_case.run(["x", "y"], 0.1), "b": runs_case.run(["z"], 0.7)}
    assert "no model in common (a: x, y; b: z)" in refusal(compare, found)


def test_runs_without_a_common_eval_are_refused():
    found = made()
    del found["original"].answers["things"], found["original"].answers["levels"]
    del found["aligned"].answers["king"]
    message = refusal(compare, found)
    assert "no eval in common (original: king; aligned: things, levels)" in message


@pytest.fixture
def folders(tmp_path):
    for label, run in made(labels=("original", "aligned")).items():
        runs_case.write(tmp_path / label, run)
    return [tmp_path / "original", tmp_path / "aligned"]


def test_runs_are_called_as_their_folders_or_as_one_says(folders):
    assert list(runs.load_labelled(folders, None)) == ["original", "aligned"]
    assert list(runs.load_labelled(folders, ["before", "after"])) == ["before", "after"]


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["a"], "found 1 for 2 runs"),
        (["a", "b", "c"], "found 3 for 2 runs"),
        (["a", "a"], "'a' cannot name a run"),
        (["a", ""], "'' cannot name a run"),
        (["people", "a"], "'people' cannot name a run"),
    ],
)
def test_bad_labels_are_refused(folders, labels, problem):
    assert problem in refusal(runs.load_labelled, folders, labels)


def test_a_single_run_and_a_folder_without_one_are_refused(folders):
    assert "two or more" in refusal(runs.load_labelled, folders[:1], ["a"])
    (folders[1] / "results.json").unlink()
    assert "was not finished" in refusal(runs.load_labelled, folders, ["a", "b"])


########################################## Differences ##########################################


def test_a_difference_is_the_later_setting_less_the_earlier():
    found = made()
    right = {
        label: run.answers["things"]["model A"].arrays["all/accuracy/correct"]
        for label, run in found.items()
    }
    key = ("model A", "things", "all", "accuracy", "aligned", "original")
    row = difference_rows(found)[key]
    before, after = right["original"].mean(), right["aligned"].mean()
    assert row["difference"] == pytest.approx(after - before)
    assert row["relative_percent"] == pytest.approx(100 * (after - before) / before)
    assert row["better"] == "aligned"
    assert row["n"] == runs_case.M


def test_the_correction_is_over_all_models_and_pairs_of_a_test():
    found = made(3, ("original", "distilled", "ud", "aligned"))
    rows = [row for key, row in difference_rows(found).items() if key[1] == "king"]
    assert len(rows) == 3 * 6
    p = sorted((row["p"], index) for index, row in enumerate(rows))
    running = 0.0
    for rank, (value, index) in enumerate(p):
        running = max(running, min(1.0, value * (len(rows) - rank)))
        assert rows[index]["p_holm"] == pytest.approx(running)


def test_p_of_a_difference_is_at_least_that_of_mcnemars_test():
    found = made(2, ("distilled", "ud"))
    for model in MODELS[:2]:
        first, second = (
            found[label].answers["levels"][model].arrays["fine/accuracy/correct"]
            for label in ("ud", "distilled")
        )
        wins, losses = (first & ~second).sum(), (second & ~first).sum()
        p = scipy.stats.binomtest(int(wins), int(wins + losses)).pvalue
        row = difference_rows(found)[model, "levels", "fine", "accuracy", "ud", "distilled"]
        assert row["p"] >= p * (1 - 1e-12)
        assert row["better"] == ("distilled" if row["p_holm"] <= 0.05 else None)


def test_the_same_run_twice_differs_in_nothing():
    run = runs_case.run(MODELS[:2], 0.4)
    found = {"once": run, "again": run}
    assert {row["better"] for row in difference_rows(found).values()} == {None}
    assert {row["difference"] for row in difference_rows(found).values()} == {0.0}
    compared = compare(found)
    said = text(compared, "Which setting is more human?")
    assert "Of 10 cases (a model on a test), once scores highest in 10, again in 10." in said
    assert "again is more human than once in 0 of 10 cases and less human in 0, no diff" in said
    assert {row["highest"] for row in compared.rows} == {"once, again"}


def test_a_relative_change_needs_something_to_relate_to():
    found = made()
    for label, run in found.items():
        king = run.answers["king"]["model A"]
        value = {"original": -0.1, "aligned": 0.3}[label]
        scores = [king.scores[0]._replace(value=Measured(value, value, value, 90))]
        run.answers["king"]["model A"] = king._replace(scores=scores)
    key = ("model A", "king", "set1", "spearman/pearson", "aligned", "original")
    assert difference_rows(found)[key]["difference"] == pytest.approx(0.4)
    assert difference_rows(found)[key]["relative_percent"] is None


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("seed", 1, "seed 1 (not 0);"),
        ("resamples", 50, "resamples 50 (not 200);"),
        (
            *("levels", {"ties": "fractional", "max_seconds": 10.0}),
            "levels.ties fractional (not drop);",
        ),
    ],
)
def test_runs_of_other_resamples_or_filters_are_not_tested(setting, value, said):
    found = made(2, ("original", "ud", "aligned"), ud={setting: value})
    pairs = {(key[4], key[5]) for key in difference_rows(found)}
    assert pairs == {("aligned", "original")}  # which were scored alike
    compared = compare(found)
    [note] = compared.notes
    assert note.startswith(f"ud was scored with other settings than original: {said}")
    assert note.endswith("were not tested.")
    first = section(compared, "Which setting is more human?")
    assert "ud and original: differences were not tested." in first.blocks
    assert note in section(compared, "All numbers").blocks


def test_runs_of_another_temperature_are_compared_and_it_is_said():
    found = made(1, aligned={"tau": 0.5})
    assert difference_rows(found)
    [note] = compare(found).notes
    assert "tau 0.5 (not 1.0)" in note
    assert "not tested" not in note


def test_where_peoples_data_differ_that_eval_alone_is_not_tested():
    found = made(2)
    found["aligned"].answers["things"][PEOPLE].arrays["all/triplets"][0] += 1
    evals = {key[1] for key in difference_rows(found)}
    assert evals == {"king", "levels"}
    compared = compare(found)
    assert compared.notes == [
        "things: aligned had other data than original; differences between them were not tested."
    ]
    # Its own section is of those that saw the same data.
    assert section(compared, "things of people, model A, original, model B, original")


def test_answers_of_other_length_are_not_compared_and_it_is_said():
    found = made(2)
    arrays = found["aligned"].answers["things"]["model B"].arrays
    arrays["all/accuracy/correct"] = arrays["all/accuracy/correct"][:-1]
    rows = difference_rows(found)
    assert [key[0] for key in rows if key[1] == "things"] == ["model A"]
    [note] = compare(found).notes
    assert note.startswith("THINGS, model B: differences were not tested")


########################################## Words ##########################################


def test_the_first_section_says_which_is_more_human_by_how_much_and_how_sure():
    said = text(compare(made(3)), "Which setting is more human?")
    assert "3 models in 2 settings (original and aligned), on 5 tests." in said
    assert "Of 15 cases (a model on a test), aligned scores highest in 15." in said
    assert "aligned is more human than original in 15 of 15 cases and less human in 0 (α" in said
    gains = [
        row["difference"] for key, row in difference_rows(made(3)).items() if key[3] == "accuracy"
    ]
    assert f"{100 * np.mean(gains):+.1f} points of accuracy and +0.360 of correlation" in said


def test_that_people_are_another_yardstick_is_said_where_they_are_drawn():
    def said(found):
        first = found.sections[0].blocks
        return any(isinstance(block, str) and "another yardstick" in block for block in first)

    runs = made(2)
    assert said(compare(runs))
    for run in runs.values():
        for by_model in run.answers.values():
            people = by_model[PEOPLE]
            by_model[PEOPLE] = people._replace(scores=[])
    assert not said(compare(runs))


def test_what_is_worse_is_said_to_be_worse():
    found = made(2)
    for model in MODELS[:2]:
        first, second = (run.answers["king"] for run in found.values())
        first[model], second[model] = second[model], first[model]
    compared = compare(found)
    said = text(compared, "Which setting is more human?")
    assert "aligned scores highest in 8, original in 2." in said
    assert "aligned is more human than original in 8 of 10 cases and less human in 2" in said
    [gains] = tables(compared, "Which setting is more human?")
    assert gains.rows[1]["aligned"].endswith("more human 0\u00a0of\u00a02, less human 2")


def test_a_model_alone_is_told_with_intervals_and_p():
    [gains] = tables(compare(made(1)), "Which setting is more human?")
    row = difference_rows(made(1))["model A", "things", "all", "accuracy", "aligned", "original"]
    value, low, high = (f"{100 * row[name]:+.1f}" for name in ("difference", "low", "high"))
    percent = f"{row['relative_percent']:+.0f}\u00a0%"
    assert gains.rows[0] == {
        "test": "THINGS",
        "aligned": f"{value} [{low}, {high}] ({percent}), p < .001",
    }


def test_tables_are_the_papers_with_the_best_of_a_row_marked():
    labels = ("original", "distilled", "ud", "aligned")
    found = made(3, labels)
    del found["ud"].answers["things"]["model B"]
    first, *others = tables(compare(found), "Model by model: which setting is more human?")
    assert first.columns is None
    assert list(first.rows[0]) == [
        "model",
        *(f"THINGS: {label}" for label in labels),
        *(f"King: {label}" for label in labels),
    ]
    accuracy = found["aligned"].answers["things"]["model A"].scores[0].value.value
    assert first.rows[0]["THINGS: aligned"] == f"{100 * accuracy:.2f}\u00a0†"
    assert first.rows[0]["King: original"] == "0.060"
    assert first.rows[1]["THINGS: ud"] == "–"
    assert "THINGS 66.65." in first.caption
    assert [len(table.rows[0]) - 1 for table in others] == [8, 4]  # Levels, which has 12


def test_rows_for_the_terminal_name_the_highest():
    rows = compare(made(2)).rows
    assert len(rows) == 2 * 5
    assert rows[0]["test"] == "THINGS"
    assert rows[0]["highest"] == "aligned"
    assert isinstance(rows[0]["original"], Measured)


@pytest.mark.parametrize(("models", "shown"), [(6, True), (7, False)])
def test_sections_of_the_evals_follow_up_to_twelve_entries(models, shown):
    compared = compare(made(models))
    names = [f"{m}, {label}" for label in ("original", "aligned") for m in MODELS[:models]]
    heading = f"king of people, {', '.join(names)}"
    assert (heading in [section.heading for section in compared.sections]) is shown
    if not shown:
        assert "things, king and levels" in text(compared, "Details")


def test_equal_runs_give_equal_pages():
    first, second = (page.page("Comparison", compare(made(1)).sections) for _ in range(2))
    assert first == second
