"""Models of highest, of lowest and of middling alignment, and how good they are (000, Table 1)."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float

from evals.statistics.intervals import LEVEL, Measured

SIZE = 5  # 000; fewer where there are not three times as many models
GROUPS = ("high", "mid", "low")


class Group(NamedTuple):
    """Attributes:
    name: one of `GROUPS`.
    models: their names, the most extreme (or the nearest to the mean) first.
    """

    name: str
    models: tuple[str, ...]


def groups(alignment: pd.Series) -> list[Group]:
    """Models by their alignment; "mid" are the nearest to the mean, whatever side.

    Args:
      alignment: by model, NaN where it is not known.

    Returns:
      Three groups without common members; none if fewer than six models are known. Those of equal
      alignment are in the order of their names.
    """
    known = alignment.dropna().sort_index(kind="stable")
    size = min(SIZE, len(known) // 3)
    if size < 2:
        return []
    by_value = known.sort_values(kind="stable").index
    high, low = by_value[::-1][:size], by_value[:size]
    rest = known.drop([*high, *low])
    mid = (rest - known.mean()).abs().sort_values(kind="stable").index[:size]
    members = (high, mid, low)
    return [Group(name, tuple(some)) for name, some in zip(GROUPS, members, strict=True)]


def mean(values: Float[np.ndarray, " n"]) -> Measured:
    """The mean of what is known, with Student's interval: groups are too small for the normal's."""
    values = values[np.isfinite(values)]
    n = len(values)
    if not n:
        return Measured(np.nan, np.nan, np.nan, 0)
    value = float(values.mean())
    if n == 1:
        return Measured(value, np.nan, np.nan, 1)
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Measured(value, value - half, value + half, n)
