"""Models × evals: what is asked, skipped, refused and said of it; the evals are made up."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from alignet.errors import Absent, InputError
from alignet.runtime import files
from evals import report, scoring
from evals.answers import HUMAN, PEOPLE, VISION, Answers, Headline, Question, Score
from evals.models import Model
from evals.options import Options
from evals.pages.page import Section
from evals.statistics.intervals import Measured, proportion

OPTIONS = Options(seed=5, resamples=20)


class Named(Model):
    """A model whose rows nobody asks for."""

    def __init__(self, name, path, lacks):
        super().__init__(name, path, [path], None)
        self.lacks = lacks


class Data(NamedTuple):
    eval: str
    files: tuple[Path, ...]


def made_up(eval, headline=True):
    """An eval of a single file of data; a model's accuracy is told by the length of its name."""

    def load(data_dir, options):
        path = data_dir / f"{eval}.txt"
        if not path.is_file():
            raise Absent(f"{path}: no such file.")
        if not path.read_text():
            raise InputError(f"{path}: is empty.")
        return Data(eval, (path,))

    def people(data, options):
        assert data.eval == eval
        return Answers([Score("all", "accuracy ceiling", proportion(7, 9))], {}, ["people's."])

    def score(data, model, options):
        if eval in model.lacks:
            raise Absent(f"{model.path}: has no rows for {eval}.")
        if not model.path.read_text():
            raise InputError(f"{model.path}: is bad.")
        accuracy = Score("all", "accuracy", proportion(min(9, len(model.name)), 9))
        doubt = Score("all", "doubt", Measured(float("nan"), 0.0, 1.0, options.seed))
        return Answers([accuracy, doubt], {}, [f"{eval} was easy.", f"{model.name} was here."])

    def section(answers):
        assert next(iter(answers)) == PEOPLE
        names = [name for name in answers if name != PEOPLE]
        return Section(f"{eval} of {', '.join(names)}", ["…"] if headline else [])

    shown = [Headline("all", "accuracy", eval.capitalize(), 1 / 3)] if headline else []
    return Question(lambda _: shown, load, people, score, section)


@pytest.fixture
def world(tmp_path, monkeypatch):
    questions = {name: made_up(name, name != "silent") for name in ("first", "second", "silent")}
    monkeypatch.setattr(scoring, "QUESTIONS", questions)
    monkeypatch.setattr(report, "QUESTIONS", questions)
    for name in questions:
        (tmp_path / f"{name}.txt").write_text(name)
    return tmp_path


def model(world, name, *, lacks=()):
    path = world / f"{name}.npz"
    path.write_text(f"weights of {name}")
    return Named(name, path, lacks)


def run(world, *models, evals=None, options=OPTIONS):
    return scoring.run(models, world, options, evals=evals)


######################################## What is asked ########################################


def test_every_eval_is_asked_of_every_model(world):
    found = run(world, model(world, "ab"), model(world, "abcd"))
    assert found.models == ["ab", "abcd"]
    assert list(found.answers) == ["first", "second", "silent"]
    for by_model in found.answers.values():
        assert list(by_model) == [PEOPLE, "ab", "abcd"]
        assert by_model["abcd"].find("all", "accuracy") == proportion(4, 9)
        # The options reach the eval.
        assert by_model["ab"].find("all", "doubt").n == OPTIONS.seed
    assert found.about["skipped"] == []


def test_evals_are_asked_in_the_order_named(world):
    found = run(world, model(world, "ab"), evals=("second", "first"))
    assert list(found.answers) == ["second", "first"]


def test_a_family_is_asked_as_far_as_its_data_are_there(world):
    for name in ("first", "silent"):
        scoring.QUESTIONS[name] = scoring.QUESTIONS[name]._replace(family=VISION)
    (world / "first.txt").unlink()
    one = model(world, "ab")
    assert (
        list(run(world, one).answers) == list(run(world, one, evals=(HUMAN,)).answers) == ["second"]
    )
    assert list(run(world, one, evals=(VISION,)).answers) == ["silent"]
    assert list(run(world, one, evals=("silent", HUMAN)).answers) == ["silent", "second"]
    with pytest.raises(Absent, match=r"first\.txt: no such file"):
        run(world, one, evals=(VISION, "first"))


def test_the_model_before_must_be_one_of_them(world):
    with pytest.raises(InputError, match="no model is called 'vit'; there are ab, abc"):
        run(world, model(world, "ab"), model(world, "abc"), options=OPTIONS._replace(before="vit"))


def test_data_that_are_not_there_are_skipped_unless_named(world):
    (world / "first.txt").unlink()
    found = run(world, model(world, "ab"))
    assert list(found.answers) == ["second", "silent"]
    assert found.about["skipped"] == [("first", PEOPLE, f"{world / 'first.txt'}: no such file.")]
    with pytest.raises(Absent, match=r"first\.txt: no such file"):
        run(world, model(world, "ab"), evals=("second", "first"))


def test_a_model_without_rows_is_skipped_unless_the_eval_is_named(world):
    models = [model(world, "ab", lacks=["first", "silent"]), model(world, "abc", lacks=["silent"])]
    found = run(world, *models)
    assert {name: list(by_model) for name, by_model in found.answers.items()} == {
        "first": [PEOPLE, "abc"],
        "second": [PEOPLE, "ab", "abc"],
    }
    assert [(name, who) for name, who, _ in found.about["skipped"]] == [
        ("first", "ab"),
        ("silent", "ab"),
        ("silent", "abc"),
    ]
    with pytest.raises(Absent, match=r"ab\.npz: has no rows for first"):
        run(world, *models, evals=("first",))


def test_nothing_to_measure_is_refused_with_the_first_reason(world):
    lacking = model(world, "ab", lacks=["first", "second", "silent"])
    with pytest.raises(InputError, match=r"ab\.npz: nothing could be measured; .*rows for first"):
        run(world, lacking)
    with pytest.raises(InputError, match=r"nothing could be measured; .*first\.txt: no such file"):
        scoring.run([lacking], world / "nowhere", OPTIONS)


@pytest.mark.parametrize("bad", ["first.txt", "ab.npz"])
@pytest.mark.parametrize("evals", [None, ("first",)])
def test_what_is_bad_is_never_skipped(world, bad, evals):
    one = model(world, "ab")
    (world / bad).write_text("")
    with pytest.raises(InputError, match=bad) as caught:
        run(world, one, evals=evals)
    assert not isinstance(caught.value, Absent)


#################################### What it was made with ####################################


def test_a_run_tells_what_it_was_made_with(world):
    options = OPTIONS._replace(human_uncertainty=world / "u.npy")
    about = run(world, model(world, "ab"), evals=("first",), options=options).about
    assert about["inputs"] == {
        str(world / name): files.sha256(world / name) for name in ("first.txt", "ab.npz")
    }
    assert about["settings"]["human_uncertainty"] == str(world / "u.npy")
    assert about["settings"]["levels"]["max_seconds"] == 10
    assert about["seed"] == 5
    assert {"alignet", "numpy", "scipy"} <= about["versions"].keys()
    assert about["seconds"] >= 0 and about["finished"].endswith("Z")


def test_the_hash_names_the_numbers(world):
    def digest(*models, **changed):
        return run(world, *models, **changed).about["config_hash"]

    one, two = model(world, "ab"), model(world, "abc")
    first = digest(one)
    assert digest(one) == first
    changed = OPTIONS._replace(levels=OPTIONS.levels._replace(max_votes=6))
    others = {digest(one, options=changed), digest(one, two), digest(one, evals=("first",))}
    one = model(world, "ab")
    one.path.write_text("other weights")
    others.add(digest(one))
    (world / "second.txt").write_text("other data")
    others.add(digest(one))
    assert first not in others and len(others) == 5


def test_answers_that_take_long_outlive_a_run_that_was_cut_off(world, tmp_path, monkeypatch):
    asked = []

    def score(data, model, options):
        asked.append(model.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return scored(data, model, options)

    scored = scoring.QUESTIONS["first"].score
    slow = scoring.QUESTIONS["first"]._replace(score=score, family=VISION)
    monkeypatch.setitem(scoring.QUESTIONS, "first", slow)
    options = OPTIONS._replace(cache=tmp_path / "cache")
    models = model(world, "ab"), model(world, "abc")
    with pytest.raises(KeyboardInterrupt):
        run(world, *models, evals=("first",), options=options)
    found = run(world, *models, evals=("first",), options=options)
    assert asked == ["ab", "abc", "abc"]
    expected = run(world, *models, evals=("first",))
    assert asked[3:] == ["ab", "abc"]
    for name, one in expected.answers["first"].items():
        assert repr(found.answers["first"][name].scores) == repr(one.scores)
    # Of other settings, or another model of that name, they are not taken.
    run(world, *models, evals=("first",), options=options._replace(tau=2.0))
    changed = model(world, "ab")
    changed.path.write_text("other weights")
    run(world, changed, evals=("first",), options=options)
    assert asked[5:] == ["ab", "abc", "ab"]
    scoring.finished(options.cache)
    run(world, *models, evals=("first",), options=options)
    assert asked[-2:] == ["ab", "abc"]


######################################## What is said ########################################


def test_the_report_has_a_section_an_eval_and_says_who_is_most_human(world):
    found = run(world, model(world, "ab", lacks=["second"]), model(world, "abcd"))
    sections, differences, text = report.sections(found)
    assert [section.heading for section in sections] == [
        "Which model is more human?",
        "first of abcd, ab",  # the most human first
        "second of abcd",
        "All numbers",
        "Provenance",
    ]
    # Without answers one by one there is nothing to test.
    assert not differences
    assert "First: abcd has 44.4\u00a0% [11.1, 77.8] (people among themselves: 77.8" in text
    assert text.splitlines()[-1].endswith(f"seed 5, settings {found.about['config_hash']}.")
    numbers = sections[-2].blocks[0].rows
    assert len(numbers) == 3 + 2 * 5
    assert {"model", "eval", "subset", "metric", "value", "n"} == numbers[0].keys()


def test_an_eval_without_headline_numbers_is_told_in_a_table_of_all(world):
    sections, _, text = report.sections(run(world, model(world, "ab"), evals=("silent",)))
    assert [section.heading for section in sections] == ["All numbers", "Provenance"]
    lines = text.splitlines()
    assert lines[0].split() == ["model", "eval", "subset", "metric", "value", "n"]
    assert lines[2].split()[:4] == ["ab", "silent", "all", "accuracy"]
    assert lines[3].split()[3:5] == ["doubt", "–"]


def test_an_eval_without_numbers_is_told_in_words(world, monkeypatch):
    quiet = scoring.QUESTIONS["silent"]._replace(
        score=lambda data, model, options: Answers([], {}, []),
        people=lambda data, options: Answers([], {}, []),
        section=lambda answers: Section("Alike?", ["Very much alike."]),
    )
    monkeypatch.setitem(scoring.QUESTIONS, "silent", quiet)
    found = run(world, model(world, "ab"), evals=("silent",))
    sections, _, text = report.sections(found)
    assert [section.heading for section in sections] == ["Alike?", "All numbers", "Provenance"]
    assert text.split("\n\n") == ["Very much alike.", report.settings(found.about)]
    assert all(isinstance(block, str) for block in sections[1].blocks)


def test_many_numbers_are_left_to_the_file(world):
    few, many = (
        report.sections(run(world, *(model(world, "a" * (i + 1)) for i in range(n))))[0][-2]
        for n in (2, 14)
    )
    assert len(few.blocks[0].rows) == 15
    assert isinstance(many.blocks[0], str) and "scores.csv" in many.blocks[0]


def test_a_note_of_several_models_is_told_once(world):
    found = run(world, model(world, "ab"), model(world, "abc"), evals=("first",))
    assert report.notes_of(found) == [
        "first: people's.",
        "first: first was easy.",
        "first: ab was here. (ab)",
        "first: abc was here. (abc)",
    ]
    alone = run(world, model(world, "ab"), evals=("first",))
    assert report.notes_of(alone)[-1] == "first: ab was here."


def test_an_eval_that_was_skipped_for_the_same_reason_is_told_once(world):
    (world / "second.txt").unlink()
    models = [model(world, f"m{i}", lacks=["first"] if i else ()) for i in range(6)]
    notes = [note for note in report.notes_of(run(world, *models)) if "skipped" in note]
    assert notes == [
        "first skipped: has no rows for first. (m1, m2, m3 and 2 more models)",
        f"second skipped: {world / 'second.txt'}: no such file.",
    ]


def test_differences_are_rows_of_every_pair(world):
    def with_answers(name, share):
        correct = np.arange(90) < share
        score = Score("all", "accuracy", proportion(share, 90))
        return Answers([score], {"all/accuracy/correct": correct}, [])

    found = run(world, model(world, "ab"), model(world, "abc"), model(world, "abcd"))
    shares = {"ab": 30, "abc": 60, "abcd": 60}
    answers = {m: with_answers(m, share) for m, share in shares.items()}
    answers = {"first": {PEOPLE: found.answers["first"][PEOPLE]} | answers}
    _, found, text = report.sections(found._replace(answers=answers))
    rows = [dict(zip(report.COLUMNS, row, strict=True)) for row in found]
    # In the order of the models of the run, not of the report.
    assert [(row["first"], row["second"], row["better"]) for row in rows] == [
        ("ab", "abc", "abc"),
        ("ab", "abcd", "abcd"),
        ("abc", "abcd", None),
    ]
    assert all(row["eval"] == "first" and row["p_holm"] >= row["p"] for row in rows)
    assert rows[0]["difference"] == pytest.approx(-1 / 3) and rows[2]["p"] == 1
    assert "It is better than 1 of 2 others at α = .05; not shown to be better than abcd." in text
