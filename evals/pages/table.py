"""Tables of measured numbers as aligned text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evals.statistics.intervals import Measured

DIGITS = 4


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
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    numeric = [is_numeric(rows, column) for column in columns]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]

    def line(texts: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(texts, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    rule = "  ".join("─" * width for width in widths)
    return "\n".join([line(columns), rule, *map(line, cells)])


def column_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """All columns of the rows, in the order they first occur."""
    return list(dict.fromkeys(column for row in rows for column in row))


def is_numeric(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Whether no cell of the column is text."""
    return not any(isinstance(row.get(column), str) for row in rows)


def cell(value: Any) -> str:
    """A cell's text: four decimals, thousands separated, a dash for what is not defined.

    >>> cell(Measured(0.64545, 0.643, 0.6479, 146168))
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
            return f"{value.value:,.0f}" if counted else number(value.value)
        return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return number(float(value))
    return str(value)


def shortened(name: str, longest: int = 26) -> str:
    """A name that fits beside a figure, cut in the middle: those of a family differ at the end."""
    half = longest // 2
    return name if len(name) <= longest else f"{name[: half - 1]}…{name[-half:]}"


def number(value: float) -> str:
    """Four decimals with a true minus sign; four significant digits where those do not fit."""
    if not np.isfinite(value):
        return "–"
    small = 0 < abs(value) < 0.5 * 10**-DIGITS
    text = f"{value:.3g}" if small or abs(value) >= 1e5 else f"{value:.{DIGITS}f}"
    return text.replace("-", "−")
