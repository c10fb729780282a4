"""Levels: what is refused, kept, compared and shown, and a study of the published size."""

import re

import numpy as np
import pytest

from alignet.data.levels import Filters
from alignet.errors import Absent, InputError
from evals import answers, levels
from evals.answers import PEOPLE
from evals.levels import AGREEMENT, CEILING, DISAGREEMENT, DOUBT, SLOWER, SPEED
from evals.options import Options
from evals.pages import page
from evals.statistics import differences
from tests import levels_case
from tests.levels_case import names, record, write
from tests.levels_models_case import (
    KINDS,
    QUICK,
    VOTES,
    Rows,
    mixed_folder,
    mixed_study,
    model_of_shares,
    model_with,
    study,
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return mixed_study(tmp_path_factory.mktemp("levels"))


#################################### Data and report ####################################


def test_what_is_not_there_is_absent(tmp_path):
    with pytest.raises(Absent, match="Levels study"):
        levels.load(tmp_path, QUICK)


def test_photographs_are_looked_for_in_their_folder(tmp_path):
    data = study(tmp_path, VOTES)
    model = model_with(data, np.tile([2.0, 1.0, 0.0], (len(VOTES), 1)))
    levels.score(data, model, QUICK)
    assert model.asked == ("levels", None)
    (tmp_path / "levels" / "images").mkdir()
    levels.score(levels.load(tmp_path, QUICK), model, QUICK)
    assert model.asked == ("levels", tmp_path / "levels" / "images")


def test_a_type_without_any_majority_is_refused(tmp_path):
    with pytest.raises(InputError, match="none of its 1 coarse triplets has a majority"):
        study(tmp_path, [[2, 2, 1]])


def test_a_type_without_any_response_time_is_refused(tmp_path):
    trials = {str(who): [record(who, names("coarse", 1), 0, 11_000.0)] for who in range(5)}
    with pytest.raises(InputError, match="none of its 1 coarse triplets has a response time"):
        levels.load(write(tmp_path, trials), QUICK)


def test_rows_of_zeros_have_no_cosine(mixed):
    made, data = mixed
    with pytest.raises(InputError, match=r"model\.npz: row \d+ .* is all zeros"):
        levels.score(data, Rows(made.ids, 0 * made.rows), QUICK._replace(similarity="cosine"))


def test_answers_are_whole_after_they_were_saved(mixed, tmp_path):
    made, data = mixed
    for found in (levels.people(data, QUICK), levels.score(data, Rows(made.ids, made.rows), QUICK)):
        answers.save(tmp_path / "a.npz", found)
        again = answers.load(tmp_path / "a.npz")
        assert again.notes == found.notes and len(again.scores) == len(found.scores)
        np.testing.assert_array_equal(
            [s.value for s in again.scores], [s.value for s in found.scores]
        )
        for name, array in found.arrays.items():
            np.testing.assert_array_equal(again.arrays[name], array)


def test_arrays_are_of_the_triplets_that_they_are_said_to_be_of(mixed):
    made, data = mixed
    people = levels.people(data, QUICK).arrays
    model = levels.score(data, Rows(made.ids, made.rows), QUICK).arrays
    for kind in KINDS:
        assert len(people[f"{kind}/triplets"]) == len(model[f"{kind}/accuracy/correct"])
        assert model[f"{kind}/accuracy/correct"].dtype == bool
        assert len(people[f"{kind}/log_rt"]) == len(model[f"{kind}/entropy"])
        assert np.isfinite(people[f"{kind}/log_rt"]).all()
        assert len(people[f"{kind}/person"]) == len(model[f"{kind}/{AGREEMENT}/person"])
        assert model[f"{kind}/{DOUBT}/samples"].shape == (50,)
    assert dict(zip(people["counts/of"].tolist(), people["counts"].tolist(), strict=True)) == (
        data.study.counts
    )


@pytest.mark.parametrize("ties", ["drop", "fractional"])
def test_models_can_be_compared(mixed, ties):
    made, _ = mixed
    options = Options(levels=Filters(ties=ties))
    data = levels.load(mixed_folder(mixed), options)
    noisy = np.random.default_rng(7).normal(size=made.rows.shape)
    found = {PEOPLE: levels.people(data, options)}
    for name, rows in (("clear", made.rows), ("noisy", noisy)):
        found[name] = levels.score(data, Rows(made.ids, rows, name), options)
    metrics = [("fine", "accuracy"), ("all", "accuracy"), ("fine", AGREEMENT), ("boundary", DOUBT)]
    compared = differences.run(found, metrics=metrics)
    assert [(d.subset, d.metric) for d in compared] == metrics
    assert [d.better for d in compared[:3]] == ["clear"] * 3


@pytest.mark.parametrize("n", [0, 1, 12])
def test_the_section_reads_well_for_any_number_of_models(mixed, n):
    made, data = mixed
    found = {PEOPLE: levels.people(data, QUICK)}
    rng = np.random.default_rng(7)
    for number in range(n):
        rows = made.rows + 0.2 * number * rng.normal(size=made.rows.shape)
        name = f"a model <{number}> with a rather long name"
        found[name] = levels.score(data, Rows(made.ids, rows, name), QUICK)
    section = levels.QUESTION.section(found)
    text = page.page("Levels", [section])
    pictures = sum(isinstance(block, page.Picture) for block in section.blocks)
    assert pictures == {0: 1, 1: 5, 12: 4}[n]
    assert "nan" not in re.sub(r"data:image[^\"]*", "", text)
    for name in list(found)[1:]:
        assert name.replace("<", "&lt;").replace(">", "&gt;") in text
    for metric in ("accuracy", CEILING) if n else (CEILING,):
        owner = found[PEOPLE] if metric == CEILING else list(found.values())[1]
        assert f"{owner.find('fine', metric).value:.4f}" in text


def test_a_study_of_one_type_in_which_all_take_the_same_time_has_a_section(tmp_path):
    data = study(tmp_path, VOTES)
    shares = VOTES / 5 + 1e-6 * np.arange(3)
    found = {PEOPLE: levels.people(data, QUICK)}
    found |= {"m": levels.score(data, model_of_shares(data, shares), QUICK)}
    assert found[PEOPLE].find("coarse", DOUBT) is found["m"].find("coarse", DOUBT) is None
    assert found["m"].find("coarse", DISAGREEMENT).value > 0.9
    text = page.page("Levels", [levels.QUESTION.section(found)])
    assert text.count("<figure>") == 4 and "coarse" in text and "boundary triplets" not in text
    for who in found.values():
        assert any("coarse: there is no correlation" in note for note in who.notes)


########################################## At full size ##########################################


@pytest.mark.slow
def test_a_study_of_the_published_size_gives_the_published_counts_and_scores(tmp_path):
    made = levels_case.write_study(tmp_path)
    options = Options()
    data = levels.load(tmp_path, options)
    counts, people = data.study.counts, 448
    for kind, trials in levels_case.TRIALS.items():
        assert counts[f"{kind}: answers"] == trials
        assert counts[f"{kind}: triplets"] == sum(levels_case.PUBLISHED[kind])
    assert counts["people"] == people
    per_person = np.bincount(data.study.responses.person)
    assert (per_person > 330).sum() == 23 and per_person.max() <= 660
    for reason, number in (
        ("records of nobody (no subject_id)", people),
        ("records in which no image was to be chosen", people),
        ("experiment trials not answered in time", people),
        ("training trials", people * levels_case.TRAINING),
        ("catch trials", people * levels_case.CATCH),
        ("answers beyond a person's first 330, not timed", 155_102 - people * 330),
    ):
        assert counts[reason] == number, reason
    timed = np.bincount(data.study.responses.person, data.study.responses.timed)
    assert timed.max() <= 330

    found = levels.people(data, options)
    model = levels.score(data, Rows(made.ids, made.rows), options)
    # As in the study: class boundaries are agreed on, and quickly; doubts take time.
    assert found.find("coarse", CEILING).value < found.find("fine", CEILING).value < 0.7
    assert found.find("boundary", CEILING).value > 0.85
    assert found.find("coarse", SPEED).value > found.find("fine", SPEED).value > 2
    assert found.find("all", f"{SLOWER}, fine − boundary, p").value < 1e-6
    for kind in KINDS:
        assert found.find(kind, DOUBT).low > 0.1
        assert model.find(kind, DOUBT).low > 0.1
        assert model.find(kind, "accuracy").low > found.find(kind, CEILING).value
        # Who knows what people are after cannot predict one of them better than this.
        ceiling = found.find(kind, f"{AGREEMENT} ceiling").value
        assert found.find(kind, CEILING).value - 0.01 < model.find(kind, AGREEMENT).value < ceiling
