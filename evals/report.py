"""A finished run as a page, tables and text for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals import summary
from evals.answers import PEOPLE, Changed
from evals.pages import page
from evals.pages import provenance as made_with
from evals.pages.table import table
from evals.runs import Run
from evals.scoring import QUESTIONS
from evals.statistics.differences import Difference

DIFFERENCES = "differences.csv"
COLUMNS = (
    *("eval", "subset", "metric", "first", "second", "difference", "low", "high", "n"),
    *("p", "p_holm", "test", "better"),
)
MOST_NUMBERS = 80  # beyond, scores.csv is easier to read than a page


def sections(run: Run) -> tuple[list[page.Section], list[tuple[Any, ...]], str]:
    """Draws up the report of a run.

    Returns:
      The sections of the page; rows of differences.csv: every pair of models that were compared,
      and changes from the model before; and the text for the terminal.
    """
    found = summary.tests(run.answers, QUESTIONS)
    compared = summary.compare(found, run.answers)
    by_family = {
        family: [test for test in found if test.family == family]
        for family in dict.fromkeys(test.family for test in found)
    }
    orders = {family: summary.order(tests, run.models) for family, tests in by_family.items()}
    first = next(iter(orders.values()), run.models)
    before = run.about["settings"].get("before")
    parts = [summary.section(by_family[f], models, compared) for f, models in orders.items()]
    differences = [row for test in found for row in _rows(test.eval, compared.get(test.name, ()))]
    told: list[str] = []
    for name, by_model in run.answers.items():
        question = QUESTIONS[name]
        models = orders.get(question.family, first)
        ordered = {model: by_model[model] for model in (PEOPLE, *models) if model in by_model}
        sections = [question.section(ordered)]
        if question.change and before in by_model:
            for model in models:
                if model in by_model and model != before:
                    pair = {key: by_model[key] for key in (PEOPLE, before, model)}
                    change = question.change(pair)
                    sections.append(change.section)
                    differences += _change_rows(name, model, before, change)
                    told += page.sentences(change.section)
        parts += [section for section in sections if section.blocks]

    notes = notes_of(run)
    rows = [
        {"model": model, "eval": name, "subset": subset, "metric": metric, "value": value}
        | {"n": value.n}
        for name, by_model in run.answers.items()
        for model, answers in by_model.items()
        for subset, metric, value in answers.scores
    ]
    every = "scores.csv, beside this page, has all numbers"
    every += "; differences.csv what differs between models." if differences else "."
    blocks: list[Any] = [every, *notes]
    if 0 < len(rows) <= MOST_NUMBERS:
        blocks.insert(0, page.Table(rows, "All numbers, with 95 % intervals."))
    parts += [page.Section("All numbers", blocks), provenance(run)]

    said = [summary.sentence(test, compared.get(test.name, ())) for test in found] + told
    if not rows:  # but figures, which the terminal cannot show
        said = [sentence for part in parts[:-2] for sentence in page.sentences(part)]
    shown = [rows for f, models in orders.items() for rows in summary.tables(by_family[f], models)]
    if not shown and rows:
        shown = [[row for row in rows if row["model"] != PEOPLE]]
    tables = [[table(some)] for some in shown]
    paragraphs = [*tables, said, [*notes, settings(run.about)]]
    return parts, differences, "\n\n".join("\n".join(lines) for lines in paragraphs if lines)


def notes_of(run: Run) -> list[str]:
    """What the evals had to say, and what was left out; the same of several models only once."""
    notes: dict[str, list[str]] = {}
    for name, by_model in run.answers.items():
        for model, answers in by_model.items():
            for note in answers.notes:
                notes.setdefault(f"{name}: {note}", []).append(model)
    for name, model, reason in run.about["skipped"]:
        notes.setdefault(f"{name} skipped: {reason}", []).append(model)
    return [
        note if PEOPLE in models or len(models) == len(run.models) else f"{note} ({_few(models)})"
        for note, models in notes.items()
    ]


def _few(models: Sequence[str]) -> str:
    shown = ", ".join(models[:3])
    return shown if len(models) <= 3 else f"{shown} and {len(models) - 3} more models"


def settings(about: Mapping[str, Any]) -> str:
    """How to name these numbers."""
    return f"95 % intervals in brackets; seed {about['seed']}, settings {about['config_hash']}."


def provenance(run: Run, label: str = "") -> page.Section:
    """What the numbers, perhaps those of one label, were made with."""
    about = run.about
    asked = {
        # An eval's own settings say nothing of the others.
        name: value
        for name, value in about["settings"].items()
        if name in run.answers or not isinstance(value, Mapping)
    }
    shown = [("settings", about["config_hash"]), *_flat(asked)]
    return made_with.section(shown, about, about["inputs"], label)


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {key}", str(item)) for key, item in value.items())
        else:
            yield name, str(value)


def _change_rows(eval: str, after: str, before: str, change: Changed) -> list[tuple[Any, ...]]:
    """The numbers of a change, a row of differences.csv each; without a test."""
    return [
        (eval, subset, metric, after, before, *value.as_dict().values(), None, None, None, None)
        for subset, metric, value in change.scores
    ]


def _rows(eval: str, found: Sequence[Difference]) -> list[tuple[Any, ...]]:
    return [
        (
            *(eval, d.subset, d.metric, d.first, d.second, *d.difference.as_dict().values()),
            *(d.p, d.p_holm, d.test, d.better),
        )
        for d in found
    ]
