"""Tables of measured numbers as aligned text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evals.statistics.intervals import Measured

DIGITS = 4  # of a number's decimals; of 10 and more, of all its digits


def table(rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] | None = None) -> str:
    """Lays out rows under their column names.

    Args:
      rows: cells by column name: text, numbers, `Measured` (shown with its interval; give n a
        column of its own) or None. A row may lack columns.
      columns: which to show, in order; by default all, in the order they first occur.

    Returns:
      Lines without a newline at the end; text is aligned left and numbers right.
    """
    columns = columns or column_names(rows)
    texts = [cells(rows, column) for column in columns]
    numeric = [is_numeric(rows, column) for column in columns]
    widths = [max(map(len, [head, *below])) for head, below in zip(columns, texts, strict=True)]

    def line(row: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    rule = "  ".join("─" * width for width in widths)
    return "\n".join([line(columns), rule, *map(line, zip(*texts, strict=True))])


def column_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """All columns of the rows, in the order they first occur."""
    return list(dict.fromkeys(column for row in rows for column in row))


def is_numeric(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Whether no cell of the column is text."""
    return not any(isinstance(row.get(column), str) for row in rows)


def cells(rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    """The texts of a column; its numbers have as many decimals as fit the largest of them.

    >>> cells([{"answers": 9.08234}, {"answers": 457.8889}], "answers")
    ['9.1', '457.9']
    """
    values = [row.get(column) for row in rows]
    points = [value.value if isinstance(value, Measured) else value for value in values]
    sizes = [abs(float(one)) for one in points if isinstance(one, (float, np.floating))]
    decimals = _decimals(max((one for one in sizes if np.isfinite(one)), default=0.0))
    return [cell(value, decimals) for value in values]


def _decimals(size: float) -> int:
    before = len(str(int(size)))
    return DIGITS if before == 1 else max(DIGITS - before, 0)


def cell(value: Any, decimals: int = DIGITS) -> str:
    """A cell's text: thousands separated, a dash for what is not defined.

    >>> cell(Measured(0.64548, 0.643, 0.6479, 146168))
    '0.6455 [0.6430, 0.6479]'
    >>> cell(146168)
    '146,168'
    """
    if value is None:
        return "–"
    if isinstance(value, Measured):
        if not np.isfinite(value.value):
            return "–"
        if not np.isfinite(value.low):
            counted = value.value > 1 and float(value.value).is_integer()
            return f"{value.value:,.0f}" if counted else number(value.value, decimals)
        point, low, high = (number(one, decimals) for one in value[:3])
        return f"{point} [{low}, {high}]"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return number(float(value), decimals)
    return str(value)


def shortened(name: str, longest: int = 26) -> str:
    """A name that fits beside a figure, cut in the middle: those of a family differ at the end."""
    half = longest // 2
    return name if len(name) <= longest else f"{name[: half - 1]}…{name[-half:]}"


def number(value: float, decimals: int = DIGITS) -> str:
    """With a true minus sign; three significant digits where the decimals do not fit."""
    if not np.isfinite(value):
        return "–"
    small = 0 < abs(value) < 0.5 * 10**-decimals
    text = f"{value:.3g}" if small or abs(value) >= 1e5 else f"{value:,.{decimals}f}"
    return text.replace("-", "−")
