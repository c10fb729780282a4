"""One part a file: `part(effort)` simulates, draws, and judges what the papers claim."""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import threadpoolctl

from evals.pages import figures
from evals.pages.page import Picture, Table
from theory.claims import Claim

KINDS = ("png", "pdf")  # the second to print
FLAG = "--xla_backend_optimization_level=1"


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


def make(name: str, effort: Effort, out: Path) -> Part:
    """Makes the part of the file of that name, and writes its figures; for a process of its own.

    Returns:
      The part, its figures drawn as SVG.
    """
    _alone()
    part = importlib.import_module(f"theory.plots.{name}").part(effort)
    for file, picture in part.figures.items():
        for kind in KINDS[:1] if effort.fast else KINDS:
            figures.save(picture.figure, out / f"{file}.{kind}")
            # Where everything stands is then known, and takes half of the time to find.
            picture.figure.set_layout_engine("none")
    drawn = {
        file: picture._replace(figure=figures.svg(picture.figure))
        for file, picture in part.figures.items()
    }
    return part._replace(figures=drawn)


def _alone() -> None:
    # An accelerator has not the memory for several processes, and games are small.
    jax.config.update("jax_platforms", "cpu")
    # Threads of several processes wait for one another in small products.
    threadpoolctl.threadpool_limits(1)
    # Runs as fast, and is compiled in two thirds of the time.
    flags = os.environ.get("XLA_FLAGS", "")
    if FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}"
