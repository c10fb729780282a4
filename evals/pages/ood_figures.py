"""Accuracy under each corruption; see `figures` for the style."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.table import shortened
from evals.statistics.intervals import Measured


@matplotlib.rc_context(figures.STYLE)
def corruptions(scores: Mapping[str, Mapping[str, Measured]], models: Sequence[str]) -> Figure:
    """A row a model, a column a corruption, the percentage of right answers in each square.

    Args:
      scores: by corruption, then by model; a model may lack some.
      models: in the order of the rows.
    """
    shares = np.full((len(models), len(scores)), np.nan)
    for column, by_model in enumerate(scores.values()):
        for row, model in enumerate(models):
            if model in by_model:
                shares[row, column] = by_model[model].value
    size = (figures.WIDTH, 0.9 + 0.22 * len(models))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            colour = "white" if share < 0.5 else "black"
            style = {"color": colour, "fontsize": 6.5, "ha": "center", "va": "center"}
            axes.text(column, row, f"{100 * share:.0f}", **style)
    axes.set_xticks(range(len(scores)), list(scores), rotation=40, ha="right", fontsize=7)
    axes.set_yticks(range(len(models)), [shortened(model) for model in models])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
