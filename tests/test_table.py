"""Tables of measured numbers as text."""

import numpy as np
import pytest

from evals.pages.table import cell, cells, table
from evals.statistics.intervals import Measured


def test_table_is_aligned():
    rows = [
        {"model": "base", "accuracy": Measured(0.38, 0.37, 0.39, 1000), "n": 1000},
        {"model": "aligned", "accuracy": Measured(-0.05811, -0.1, 0.02, 99), "n": 99, "λ": 1e-5},
    ]
    assert table(rows).splitlines() == [
        "model                     accuracy      n      λ",
        "───────  ─────────────────────────  ─────  ─────",
        "base       0.3800 [0.3700, 0.3900]  1,000      –",
        "aligned  −0.0581 [−0.1000, 0.0200]     99  1e−05",
    ]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.5, 9.99], ["0.5000", "9.9900"]),
        ([0.5, -12.3456], ["0.50", "−12.35"]),
        ([Measured(9.08, 7.86, 10.84, 9), 1731.1996], ["9 [8, 11]", "1,731"]),
        # What would be rounded to nothing keeps its digits.
        ([0.0123, 123.4, None, float("nan"), "–"], ["0.0123", "123.4", "–", "–", "–"]),
        ([2, 1e7], ["2", "1e+07"]),
    ],
)
def test_a_column_has_the_decimals_that_fit_its_largest_number(values, texts):
    assert cells([{"x": value} for value in values], "x") == texts


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (True, "yes"), (1234567, "1,234,567"), (1.23456, "1.2346"),
     (0.0, "0.0000"), (1234567.8, "1.23e+06"), (np.float32(0.5), "0.5000"), ("a", "a")],
)  # fmt: skip
def test_cells(value, text):
    assert cell(value) == text
