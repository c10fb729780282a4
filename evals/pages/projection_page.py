"""The section of the report on spaces of images, from answers alone."""

from collections.abc import Mapping, Sequence

import numpy as np

from evals.answers import PEOPLE, Answers
from evals.pages import page, projection_figures
from evals.pages.projection_figures import Map
from evals.statistics import projections

TITLE = "What does its space of images look like?"
# By number of components; paper 002 speaks of the first 5 to 15.
EXPLAINED = {m: f"variance explained by {m} components" for m in (5, 10, 15)}
METHODS = {"trimap": "TriMap", "pacmap": "PaCMAP"}
MOST_MODELS = 12  # whose maps are shown
TEXT = (
    "A dot is a photograph; a large mark is where most of a kind of thing are. Where a space is "
    "ordered by what things are, colours keep apart. Principal components are the directions in "
    "which photographs differ most; the more variance a few of them explain, the more the space is "
    "ordered by few distinctions. TriMap and PaCMAP keep neighbours together, at the price of true "
    "distances between groups."
)
PCA = "On the axes are shares of the variance; which end of an axis is which means nothing"
NEIGHBOURS = "Axes mean nothing"
CURVES = "Share of the variance that the first principal components explain together."


def section(answers: Mapping[str, Answers]) -> page.Section:
    """Shows all models' maps of the same photographs, and how much a few components explain."""
    people = answers[PEOPLE].arrays
    kinds, names = people["superordinate"], people["superordinates"].tolist()
    models = {name: found for name, found in answers.items() if name != PEOPLE}
    first = dict(list(models.items())[:MOST_MODELS])
    maps = _maps({name: found.arrays for name, found in first.items()})
    if len(models) == 1:
        [model] = models
        shown = {f"Maps of the space of {model}. {PCA}.": {t: by[model] for t, by in maps.items()}}
    else:
        shown = {_caption(title): by_model for title, by_model in maps.items()}
    curves = {name: np.cumsum(found.arrays["explained"]) for name, found in first.items()}
    rows = [
        {"model": name}
        | {f"{m} components": found.find("all", metric) for m, metric in EXPLAINED.items()}
        for name, found in models.items()
    ]
    return page.Section(
        TITLE,
        [
            _scope(kinds, names),
            TEXT,
            *([f"Shown are the first {MOST_MODELS} models."] if len(models) > len(first) else []),
            *(
                page.Picture(projection_figures.maps(panels, kinds, names), caption)
                for caption, panels in shown.items()
            ),
            page.Picture(projection_figures.curves(curves), CURVES),
            page.Table(rows, "Share of the variance that the first principal components explain."),
        ],
    )


def _maps(models: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, Map]]:
    """By projection, then by model; those without TriMap or PaCMAP are not there."""
    like = next(iter(models.values()))["pca"]
    result: dict[str, dict[str, Map]] = {}
    for pair in ([0, 1], [2, 3]):
        result[f"Components {pair[0] + 1} and {pair[1] + 1}"] = {
            model: Map(
                projections.mirrored(arrays["pca"], like)[:, pair],
                tuple(_axis(place, arrays["explained"]) for place in pair),
            )
            for model, arrays in models.items()
        }
    for name, title in METHODS.items():
        found = {model: arrays[name] for model, arrays in models.items() if name in arrays}
        result[title] = {
            model: Map(projections.turned(points, next(iter(found.values()))))
            for model, points in found.items()
        }
    return {title: maps for title, maps in result.items() if maps}


def _axis(place: int, shares: np.ndarray) -> str:
    """A component and its share of the variance, if the space has it."""
    return f"{place + 1}: {100 * shares[place]:.1f}\u00a0%" if place < len(shares) else ""


def _caption(title: str) -> str:
    what = NEIGHBOURS if title in METHODS.values() else PCA
    turned = "turned and mirrored" if title in METHODS.values() else "mirrored"
    return f"{title} of each space. {what}; all are {turned} so as to lie like the first."


def _scope(kinds: np.ndarray, names: Sequence[str]) -> str:
    counts = ", ".join(f"{(kinds == kind).sum():,} {name}" for kind, name in enumerate(names))
    return f"{len(kinds):,} photographs: {counts}, and {(kinds < 0).sum():,} of other things."
