"""The report's sections about people's judgments of similarity."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from evals.answers import PEOPLE, Answers
from evals.pages import human_figures, page, summary_figures, table
from evals.statistics.intervals import Measured

PAPER = "spearman/pearson"  # comparison and kernel of paper 002
ONE_PERSON = "spearman with one person"
CEILINGS = ("spearman with one person ceiling, lower", "spearman with one person ceiling, upper")
MEANS = ("fine", "mean")
# What the tables call the other measures.
MEASURES = {
    "spearman/cosine": "ρ, cosine",
    "spearman/dot": "ρ, dot product",
    "pearson/pearson": "Pearson",
    "tau_a/pearson": "Kendall",
    "triplet/cosine": "triplets",
}
MOST_MODELS = 3  # whose similarities are drawn
MOST_PANELS = 6

SCORE = (
    "A model finds two photographs as alike as their embeddings correlate. The score ρ is "
    "Spearman's correlation over all pairs of different photographs: 1 if the model puts the pairs "
    "in the same order as people, from least to most alike, and 0 if its order has nothing to do "
    "with theirs."
)
INTERVALS = "Brackets and bars: 95 % intervals over photographs"
OTHER = (
    "The same by other measures: similarity of embeddings by their cosine or dot product; "
    "Pearson's correlation and Kendall's tau-a; and, of cosines, the share of triplets “is this "
    "one more like that one or like the other?” answered as people do (guessing: 0.5)."
)
PICTURES = (
    "People's similarities, photographs in an order that puts together what people find alike; the "
    "best models' in the same order; and each against people's, darker where there are more pairs, "
    "with the model's mean in eighths of people's. Colours and axes are ranks among all pairs."
)


def section(title: str, introduction: str, answers: Mapping[str, Answers]) -> page.Section:
    """Draws up the section of one data set.

    Args:
      title: of the section.
      introduction: what people did.
      answers: of people, under `PEOPLE`, and of models by name.
    """
    human = answers[PEOPLE]
    models = {name: found for name, found in answers.items() if name != PEOPLE}
    scored = dict.fromkeys(
        score.subset for found in models.values() for score in found.scores if score.metric == PAPER
    )
    first = [name for name in scored if name in ("coarse", *MEANS)]
    subsets = list(dict.fromkeys([*first, *scored]))
    if not subsets:
        return page.Section(title, [])
    with_people = [s for s in subsets if any(m.find(s, ONE_PERSON) for m in models.values())]
    sampled = " and people" if with_people else ""
    blocks: list[str | page.Table | page.Picture] = [
        f"{introduction} {SCORE}",
        _dots(human, models, first or subsets, with_people, sampled),
    ]
    if with_people:
        blocks += [_about_people(human, models, s) for s in with_people]
    blocks += [_scores(models, subsets, with_people, sampled), _measures(models, subsets[0])]
    return page.Section(title, blocks + _pictures(human, models, subsets))


def _dots(
    human: Answers,
    models: Mapping[str, Answers],
    subsets: Sequence[str],
    with_people: Sequence[str],
    sampled: str,
) -> page.Picture:
    panels, bands = {}, {}
    for name in subsets:
        panels[_title(name, "people's mean" if with_people else "")] = _by_model(
            models, name, PAPER
        )
    for name in with_people:
        panel = _title(name, "one person")
        panels[panel] = _by_model(models, name, ONE_PERSON)
        lower, upper = (human.find(name, metric) for metric in CEILINGS)
        if lower and upper:
            bands[panel] = Measured(lower.value, lower.value, upper.value, lower.n)
    # In the order of the first panel.
    first = next(iter(panels.values()))
    order = sorted(models, key=lambda m: -first[m].value if m in first else math.inf)
    figure = summary_figures.headlines(
        panels, order, chance=dict.fromkeys(panels, 0.0), ceilings=bands
    )
    best = " Orange: the best." if len(models) > 1 else ""
    caption = f"Correlation with people.{best} Dashed: guessing. {INTERVALS}{sampled}."
    if bands:
        caption += (
            " Grey: the noise ceiling, from what the mean of the other people reaches (black line) "
            "to what no model can exceed."
        )
    return page.Picture(figure, caption)


def _about_people(human: Answers, models: Mapping[str, Answers], name: str) -> str:
    """How close the best model comes to what people reach with each other."""
    scores = _by_model(models, name, ONE_PERSON)
    best = max(scores, key=lambda model: scores[model].value)
    n = len(human.arrays.get(f"{name}/person", ()))
    where = "" if name == "all" else f"{name}: "
    text = (
        f"{where}{n} people are known one by one. With one of them, on average, {best} correlates "
        f"at {table.cell(scores[best])}"
    )
    lower, upper = (human.find(name, metric) for metric in CEILINGS)
    if not lower or not upper:
        return f"{text}."
    return (
        f"{text}; the mean of the other people at {table.cell(lower)}. No model can exceed "
        f"{table.cell(upper)}, since people differ from each other."
    )


def _scores(
    models: Mapping[str, Answers], subsets: Sequence[str], with_people: Sequence[str], sampled: str
) -> page.Table:
    columns = {"ρ" if name == "all" else name: _by_model(models, name, PAPER) for name in subsets}
    for name in with_people:
        columns[_title(name, "one person")] = _by_model(models, name, ONE_PERSON)
    n = max(value.n for value in _by_model(models, subsets[-1], PAPER).values())
    # With more intervals the rows would be wider than the page; the figure has them.
    whole = len(columns) if len(columns) <= 3 else 2 if len(columns) <= 5 else 0
    intervals = f" {INTERVALS}{sampled}." if whole or len(models) <= MOST_MODELS else ""
    caption = f"Spearman's ρ with people, {n} photographs a set.{intervals}"
    return _table(columns, models, caption, whole=whole)


def _measures(models: Mapping[str, Answers], name: str) -> page.Table:
    columns = {label: _by_model(models, name, metric) for metric, label in MEASURES.items()}
    return _table(columns, models, OTHER if name == "all" else f"{OTHER} Here: {name}.", whole=0)


def _table(
    columns: Mapping[str, Mapping[str, Measured]],
    models: Mapping[str, Answers],
    caption: str,
    *,
    whole: int,
) -> page.Table:
    """One model a row, or a column if there are few; in rows, `whole` columns have intervals."""
    if len(models) <= MOST_MODELS:
        rows = [{"": label} | {m: c.get(m) for m in models} for label, c in columns.items()]
        return page.Table(rows, caption, ["", *models])
    rows = []
    for model in models:
        row: dict[str, object] = {"model": model}
        for place, (label, by_model) in enumerate(columns.items()):
            value = by_model.get(model)
            row[label] = value.value if value and place >= whole else value
        rows.append(row)
    return page.Table(rows, caption, ["model", *columns])


def _pictures(
    human: Answers, models: Mapping[str, Answers], subsets: Sequence[str]
) -> list[str | page.Picture]:
    """Similarities of the best models beside people's, for the first few sets."""
    sets = [name for name in subsets if name not in MEANS]
    drawn = min(MOST_MODELS, len(models))
    blocks: list[str | page.Picture] = [PICTURES]
    for name in sets[: MOST_PANELS // drawn]:
        scores = _by_model(models, name, PAPER)
        best = sorted(scores, key=lambda model: -scores[model].value)[:drawn]
        shown = {m: (_square(models[m].arrays[f"{name}/similarity"]), scores[m]) for m in best}
        people = _square(human.arrays[f"{name}/similarity"])
        title = "people" if name == "all" else f"people, {name}"
        figure = human_figures.similarity_with_people(people, shown, title=title)
        values = ", ".join(f"{m} ρ = {table.cell(scores[m])}" for m in best)
        where = "" if name == "all" else f"{name}, "
        caption = f"{where}{len(people)} photographs: {values}."
        blocks.append(page.Picture(figure, caption[0].upper() + caption[1:]))
    return blocks


def _by_model(models: Mapping[str, Answers], name: str, metric: str) -> dict[str, Measured]:
    return {m: v for m, found in models.items() if (v := found.find(name, metric)) is not None}


def _title(name: str, what: str) -> str:
    return ", ".join(part for part in ("" if name == "all" else name, what) if part) or "ρ"


def _square(upper: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n n"]:
    """The matrix with this upper triangle; its diagonal is NaN."""
    n = (1 + math.isqrt(1 + 8 * len(upper))) // 2
    matrix = np.full((n, n), np.nan)
    matrix[np.triu_indices(n, 1)] = upper
    return np.fmax(matrix, matrix.T)
