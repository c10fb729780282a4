"""What the theory's functions expect, checked at their door."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Real

from alignet import triplets
from alignet.errors import InputError


def probability(value: object, name: str) -> Float[np.ndarray, "*b"]:
    """The value as float64, if all of it is from 0 to 1.

    Raises:
      InputError: something is not.
    """
    found = np.asarray(value, np.float64)
    inside = (found >= 0) & (found <= 1)
    if not inside.all():
        raise InputError(f"{name} is {found[~inside].flat[0]:g}; expected a probability, 0 to 1.")
    return found


def at_least(value: int, least: int, name: str) -> int:
    """The value, if it is a whole number and that large.

    Raises:
      InputError: it is not.
    """
    if not value >= least:
        raise InputError(f"{name} is {value}; expected at least {least}.")
    if value == float("inf") or value != int(value):
        raise InputError(f"{name} is {value}; expected a whole number.")
    return int(value)


def ascending(values: Sequence[int], name: str) -> tuple[int, ...]:
    """The values, if they are whole numbers from 1 on, each larger than the one before.

    Raises:
      InputError: they are not, or there are none.
    """
    found = tuple(at_least(value, 1, name) for value in values)
    if not found or any(b <= a for a, b in itertools.pairwise(found)):
        raise InputError(f"{name} are {list(found)}; expected one number or more, ascending.")
    return found


def embedding(
    x: Real[np.ndarray, "n d"], name: str, rows: Int[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, "n d"]:
    """The points as float64, if triplets of them have answers: at least 3, finite, all different.

    Args:
      x: the points.
      name: of x, for errors.
      rows: what each point's row is called there, if not by its place.

    Raises:
      InputError: they have not.
    """
    if x.ndim != 2 or len(x) < 3 or not x.shape[1]:
        raise InputError(
            f"{name} has shape {list(x.shape)}; expected at least 3 points of 1 dimension or more."
        )
    points = x.astype(np.float64)
    called = np.arange(len(x)) if rows is None else rows
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise InputError(f"{name}: row {called[np.argmin(finite)]} (from 0) is not all finite.")
    first = triplets.first_identical(points)
    repeated = first != np.arange(len(points))
    if repeated.any():
        row = int(np.argmax(repeated))
        raise InputError(
            f"{name}: rows {called[first[row]]} and {called[row]} (from 0) are the same point; "
            "expected different ones, as neither is nearer to a third."
        )
    return points
