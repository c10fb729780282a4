"""Models against models; see `figures` for the style."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from evals.pages import figures
from evals.pages.table import shortened

MOST_NUMBERS = 8  # models whose numbers fit into their squares
LONGEST_NAME = 30
EM = 0.056  # inches, the mean width of a letter of a name


@matplotlib.rc_context(figures.STYLE)
def heat_maps(matrices: Mapping[str, Float[np.ndarray, "k k"]], models: Sequence[str]) -> Figure:
    """Symmetric matrices of similarities of models, side by side; the diagonal is left blank.

    Args:
      matrices: by measure, 1 at most.
      models: of the rows and columns, in order; columns have the numbers of the rows.
    """
    names = [
        f"{shortened(name, LONGEST_NAME)}  {number}" for number, name in enumerate(models, start=1)
    ]
    margins = 0.9 + EM * max(map(len, names))
    side = (figures.WIDTH - margins) / len(matrices)
    figure = Figure(figsize=(figures.WIDTH, min(side, 3.0) + 0.5), layout="compressed")
    panels = np.atleast_1d(figure.subplots(1, len(matrices), sharey=True))
    shown = {name: np.where(np.eye(len(m)), np.nan, m) for name, m in matrices.items()}
    low = min(0.0, *(np.nanmin(matrix) for matrix in shown.values()))
    for axes, (measure, matrix) in zip(panels, shown.items(), strict=True):
        image = axes.imshow(matrix, cmap="cividis", vmin=low, vmax=1)
        axes.set_title(measure, fontsize=8, loc="center")
        axes.set_xticks(range(len(names)), range(1, len(names) + 1))
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0, labelsize=7)
        axes.spines[:].set_visible(False)
        if len(models) <= MOST_NUMBERS:
            for (row, column), value in np.ndenumerate(matrix):
                if row != column:
                    colour = "white" if value < (low + 1) / 2 else "black"
                    text = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
                    style = {"color": colour, "fontsize": 6.5, "ha": "center", "va": "center"}
                    axes.text(column, row, text, **style)
    bar = figure.colorbar(image, ax=panels.tolist(), fraction=0.03, pad=0.02, label="similarity")
    bar.outline.set_visible(False)
    return figure
