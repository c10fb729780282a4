"""Figures of the report, for print: no display needed, colours that everybody can tell apart.

What all figures share. Every function of `…_figures` takes plain arrays and returns a `Figure`;
`svg` and `save` write it. Measured numbers are drawn with their 95 % intervals. Figures are as wide
as they are printed, so that 8-point labels are 8-point labels.
"""

import io
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from alignet.runtime.files import atomic_path

# Okabe and Ito (2008), the yellow left out: it cannot be read on white.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, AMBER, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#6B6B6B"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, BLACK)
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
WIDTH = 6.5  # inches
DASHED = {"color": GREY, "lw": 1, "ls": (0, (4, 3))}
CAPPED = {"elinewidth": 1, "capsize": 2}

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    # Outlines, so that the page needs no font; the salt and no date make equal figures equal bytes.
    "svg.fonttype": "path",
    "svg.hashsalt": "alignet",
    "pdf.fonttype": 42,  # TrueType: journals refuse matplotlib's own kind
}


def svg(figure: Figure) -> str:
    """The figure as an SVG document."""
    text = io.StringIO()
    _write(figure, text, "svg")
    return text.getvalue()


def save(figure: Figure, path: str | Path) -> None:
    """Writes the figure to the file `path`, .svg, .pdf or .png (300 dpi), atomically."""
    with atomic_path(path) as temporary:
        _write(figure, temporary, temporary.suffix.removeprefix("."))


def _write(figure: Figure, target: io.StringIO | Path, kind: str) -> None:
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # Models' names may be in any script; the tables have them.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(target, format=kind, dpi=300, metadata=undated)


def bars(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far intervals reach below and above values, as `errorbar` has it."""
    return np.stack([np.asarray(value) - low, np.asarray(high) - value]).clip(0)
