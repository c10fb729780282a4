"""One figure a file: `part(effort)` measures, draws, and judges what the papers claim."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evals.pages.page import Picture, Table
from theory.claims import Claim


class Effort(NamedTuple):
    """Attributes:
    fast: whether to take sizes at which everything is drawn within seconds.
    seed: of all simulations.
    embedding: of real objects, a file; None for made-up ones only.
    """

    fast: bool
    seed: int
    embedding: Path | None = None


class Part(NamedTuple):
    """Attributes:
    heading: of the section of the report.
    about: paragraphs: what is asked, how it was simulated, what was found.
    figures: by the name of their files.
    tables: that stand below them.
    claims: judged.
    """

    heading: str
    about: Sequence[str]
    figures: Mapping[str, Picture]
    tables: Sequence[Table]
    claims: Sequence[Claim]


def make(name: str, effort: Effort) -> Part:
    """The part of the file of that name; for processes that import nothing else."""
    return importlib.import_module(f"theory.plots.{name}").part(effort)
