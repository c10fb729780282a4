"""The report's section on learning from few examples, from answers alone; see `evals.fewshot`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from evals.answers import PEOPLE, Answers
from evals.pages import fewshot_figures, page, summary_figures
from evals.pages.fewshot_figures import Panel
from evals.probes.ridge import L2
from evals.statistics.intervals import Measured

# The names of numbers.
CLASSES, CHANCE = "classes", "chance"
ALL = "all"  # the mean over data sets
METRIC = re.compile(r"accuracy, (.+), (\d+)-shot")
STRENGTH = " λ="  # in the name of a read-out that differs from another only in this

MOST_PANELS = 6
MOST_INTERVALS = 3  # that fit beside each other in a table

TASK = (
    "The model stays as it is. From its embeddings of a few labelled images of each class a simple "
    "read-out learns to name the class, and is then tested on images that it has not seen. The "
    "less it needs, the better the model's representation is laid out already."
)
INTERVALS = (
    "Intervals (95 %) are for other examples and other test images: the difference that the draw "
    "of the examples makes is in them, unless they were drawn only once."
)
STRENGTHS = (
    "Accuracy by the strength λ of the regulariser. Everywhere else it is "
    f"{L2:g}, fixed beforehand and not by what it does on the test"
)
HEADS = {
    "ridge": "ridge regression onto the classes, in closed form",
    "logistic": "logistic regression",
    "linear": "a linear layer trained with dropout",
    "mlp": "two layers trained with dropout",
}


def metric(head: str, shots: int) -> str:
    """What the accuracy of a read-out is called."""
    return f"accuracy, {head}, {shots}-shot"


def measured(answers: Mapping[str, Answers]) -> tuple[list[str], list[int]]:
    """The read-outs, in order, and the numbers of examples a class, ascending."""
    found = [
        match.groups()
        for name, own in answers.items()
        if name != PEOPLE
        for score in own.scores
        if (match := METRIC.fullmatch(score.metric))
    ]
    heads = list(dict.fromkeys(head for head, _ in found))
    return heads, sorted({int(shots) for _, shots in found})


def section(answers: Mapping[str, Answers]) -> page.Section:
    """Draws up the section of all models."""
    people = answers[PEOPLE]
    models = {name: found for name, found in answers.items() if name != PEOPLE}
    every, shots = measured(answers)
    heads = [head for head in every if STRENGTH not in head]
    chances = {s.subset: s.value.value for s in people.scores if s.metric == CHANCE}
    mean, where = next(iter(chances)), next(iter(chances))
    if len(chances) > 1:
        chances[ALL] = sum(chances.values()) / len(chances)
        mean, where = ALL, f"mean over {len(chances) - 1} data sets"
    blocks: list[Any] = [TASK]
    if heads:
        values = {n: _by_model(models, mean, metric(heads[0], n)) for n in shots}
        few_and_many = dict.fromkeys((shots[0], shots[-1]))
        blocks += [_finding(n, values[n], where, chances[mean]) for n in few_and_many if values[n]]
        blocks.append(_picture(chances, models, heads, shots))
        blocks += _tables(models, list(chances), heads[0], shots)
    if len(heads) > 1:
        named = "; ".join(f"{head}: {HEADS.get(head, head)}" for head in heads)
        blocks.append(
            _by_head(models, mean, heads, shots, f"Accuracy by read-out; {where}. {named}.")
        )
    strengths = [head for head in every if STRENGTH in head]
    if strengths:
        caption = f"{STRENGTHS}; {where}."
        blocks.append(_by_head(models, mean, strengths, shots, caption))
    return page.Section("Learning from a few labelled examples", [*blocks, _sets(people)])


def _finding(shots: int, values: Mapping[str, Measured], where: str, chance: float) -> str:
    best = max(values, key=lambda model: values[model].value)
    share, low, high = (f"{100 * end:.1f}" for end in values[best][:3])
    examples = "one labelled example" if shots == 1 else f"{shots} labelled examples"
    most = f"the highest of {len(values)} models; " if len(values) > 1 else ""
    return (
        f"With {examples} of each class, the read-out of {best} names the class of "
        f"{share}\u00a0% [{low}, {high}] of the test images correctly ({most}{where}; guessing: "
        f"{100 * chance:.1f}\u00a0%)."
    )


def _picture(
    chances: Mapping[str, float],
    models: Mapping[str, Answers],
    heads: Sequence[str],
    shots: Sequence[int],
) -> page.Picture:
    """One panel a data set; of a single model, its read-outs are compared."""
    sets = [name for name in chances if name != ALL]
    shown = sets if len(sets) <= MOST_PANELS else [ALL, *sets[: MOST_PANELS - 1]]
    if len(models) == 1:
        curves = {head: (found, head) for found in models.values() for head in heads}
    else:
        curves = {name: (found, heads[0]) for name, found in models.items()}
    panels = []
    for subset in shown:
        values = {
            name: {n: value for n in shots if (value := found.find(subset, metric(head, n)))}
            for name, (found, head) in curves.items()
        }
        values = {name: curve for name, curve in values.items() if curve}
        if values:
            panels.append(Panel(_title(subset), chances[subset], values))
    caption = f"Share of test images whose class is named correctly. Dashed: guessing. {INTERVALS}"
    if shown is not sets:
        caption += f" Of {len(sets)} data sets only some are drawn; the table has them all."
    if len(shots) > 1:
        return page.Picture(fewshot_figures.curves(panels, list(curves)), caption)
    picture = summary_figures.headlines(
        {p.title: {name: curve[shots[0]] for name, curve in p.curves.items()} for p in panels},
        list(curves),
        chance={panel.title: panel.chance for panel in panels},
        ceilings={},
    )
    best = " Orange: the best." if len(curves) > 1 else ""
    return page.Picture(picture, f"{caption}{best}")


########################################## Tables ##########################################


def _tables(
    models: Mapping[str, Answers], subsets: Sequence[str], head: str, shots: Sequence[int]
) -> list[page.Table]:
    """Data sets × numbers of examples of one model, else data sets × models for each number."""
    if len(models) == 1:
        (found,) = models.values()
        cells = {
            _title(s): {f"{n}-shot": found.find(s, metric(head, n)) for n in shots} for s in subsets
        }
        return [_table(cells, "data set", "Accuracy by the number of examples of each class.")]
    tables = []
    for n in shots:
        values = {s: _by_model(models, s, metric(head, n)) for s in subsets}
        if len(models) <= MOST_INTERVALS:
            cells, first = {_title(s): by_model for s, by_model in values.items()}, "data set"
        else:
            cells = {m: {_title(s): by.get(m) for s, by in values.items()} for m in models}
            first = "model"
        tables.append(_table(cells, first, f"{n}-shot accuracy."))
    return tables


def _by_head(
    models: Mapping[str, Answers],
    subset: str,
    heads: Sequence[str],
    shots: Sequence[int],
    caption: str,
) -> page.Table:
    if len(models) == 1:
        (found,) = models.values()
        cells = {
            _label(head): {f"{n}-shot": found.find(subset, metric(head, n)) for n in shots}
            for head in heads
        }
        return _table(cells, "read-out", caption)
    few_and_many = dict.fromkeys((shots[0], shots[-1]))
    cells = {
        f"{name}, {n}-shot": {_label(head): found.find(subset, metric(head, n)) for head in heads}
        for name, found in models.items()
        for n in few_and_many
    }
    return _table(cells, "model", caption)


def _table(
    cells: Mapping[str, Mapping[str, Measured | None]], first: str, caption: str
) -> page.Table:
    """A table of rows by name; with intervals, if they fit."""
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    whole = len(columns) <= MOST_INTERVALS
    rows = [
        {first: name} | {k: v if whole or v is None else v.value for k, v in row.items()}
        for name, row in cells.items()
    ]
    end = "Brackets: 95 % intervals." if whole else "scores.csv has the 95 % intervals."
    return page.Table(rows, f"{caption} {end}", [first, *columns])


def _sets(people: Answers) -> page.Table:
    rows: dict[str, dict[str, Any]] = {}
    for subset, name, value in people.scores:
        number = value.value if name == CHANCE else int(value.value)
        rows.setdefault(subset, {"data set": subset})[name] = number
    return page.Table(list(rows.values()), "The data sets.")


def _by_model(models: Mapping[str, Answers], subset: str, name: str) -> dict[str, Measured]:
    return {m: value for m, found in models.items() if (value := found.find(subset, name))}


def _title(subset: str) -> str:
    return "mean" if subset == ALL else subset


def _label(head: str) -> str:
    """In a table of strengths, the strength."""
    return head.rpartition(" ")[2]
