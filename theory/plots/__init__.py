"""One figure a file: `part(effort)` measures, draws, and judges what the papers claim."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evals.pages.page import Picture, Table
from theory.claims import Claim


class Effort(NamedTuple):
    """Attributes:
    fast: whether to take sizes at which everything is drawn within seconds.
    seed: of all simulations.
    """

    fast: bool
    seed: int


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
