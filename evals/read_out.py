"""A linear read-out of a model's rows of many photographs, kept where anything is kept."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from alignet.runtime import files, stages
from evals.models import Model, Rows, naming
from evals.options import Options
from evals.probes import streaming
from evals.probes.linear import Linear


class ReadOut(NamedTuple):
    """Attributes:
    linear: of as many classes as were asked for; one without photographs is never named.
    converged: whether the fit came to its end.
    """

    linear: Linear
    converged: bool


def fitted(
    rows: Rows,
    labels: Int[np.ndarray, " n"],
    *,
    n_classes: int,
    l2: float,
    name: str,
    photographs: Mapping[str, Any],
    model: Model,
    options: Options,
) -> ReadOut:
    """Fits a read-out, or takes the one that was kept; goes on with one that was cut off.

    Args:
      rows: of the photographs.
      labels: their classes.
      n_classes: how many there are.
      l2: see `streaming.fit`.
      name: what it is called, among those of the model.
      photographs: tells these photographs and labels from others; JSON-serialisable.
      model: whose rows they are.
      options: their `cache` is where it is kept, if anything is.

    Raises:
      InputError: the rows are bad.
    """

    def fit(scratch: Path | None) -> ReadOut:
        known, places = np.unique(labels, return_inverse=True)
        with naming(f"{model.path}, {name}"):
            found = streaming.fit(rows, places, n_classes=len(known), l2=l2, scratch=scratch)
        weights = np.zeros((len(found.linear.weights), n_classes))
        bias = np.full(n_classes, -np.inf)
        weights[:, known], bias[known] = found.linear
        return ReadOut(Linear(weights, bias), found.converged)

    if options.cache is None:
        return fit(None)

    def step(out: Path, scratch: Path) -> None:
        found = fit(scratch)
        arrays = found.linear._asdict() | {"converged": np.array(found.converged)}
        np.savez(out, allow_pickle=False, **arrays)

    made_with = {
        "model": model.name,
        "files": list(model.hashes.values()),
        "photographs": photographs,
        "l2": l2,
    }
    folder = options.cache / "probes" / re.sub(r"[^\w.-]+", "-", model.name)
    path = stages.run(folder / f"{name}.npz", step, config=made_with, inputs={})
    names = (*Linear._fields, "converged")
    *linear, converged = files.read_npz(path, names, expected="expected a linear read-out")
    return ReadOut(Linear(*linear), bool(converged))
