"""Scores of `configs/photographs.py` as tables and words."""

from collections.abc import Iterable

from evals.families import listed
from evals.recipes.photographs_scores import VICE, Scores
from evals.recipes.photographs_tests import Test
from evals.statistics.intervals import Measured


def rows(found: Scores) -> list[dict[str, str]]:
    """A row a test, a column a setting."""
    shown = [setting for setting in found.settings if setting != VICE]
    return [
        {"": titled(test)}
        | {setting: text(found.score(test, setting)[0], test) for setting in shown}
        for test in found.tests
    ]


def changes(found: Scores, compared: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """A row a test, a column a difference of two settings, the first minus the second."""
    return [
        {"": titled(test)}
        | {
            f"{first} − {second}": text(found.difference(test, first, second)[0], test, signed=True)
            for first, second in compared
        }
        for test in found.tests
    ]


def scaled(measured: Measured, test: Test) -> Measured:
    """A share in %."""
    factor = 100 if test.percent else 1
    return Measured(*(factor * end for end in measured[:3]), measured.n)


def titled(test: Test) -> str:
    return f"{test.name}\u00a0({'%' if test.percent else 'ρ'})"


def verdicts(found: Scores, first: str, second: str) -> str:
    """Tests on which the first is better, or worse, or on which neither is shown."""
    better, worse, unclear = [], [], []
    for test in found.tests:
        measured = found.difference(test, first, second)[0]
        unit = " points" if test.percent else ""
        said = f"{test.name} ({text(measured, test, signed=True)}{unit})"
        if measured.low > 0 or measured.high < 0:
            (better if measured.low > 0 else worse).append(said)
        else:
            unclear.append(test.name)
    if not better and not worse:
        return "no difference is shown on any test"
    all_of_them = {"better on": better, "worse on": worse, "no difference is shown on": unclear}
    return "; ".join(f"{verdict} {listed(on)}" for verdict, on in all_of_them.items() if on)


def text(measured: Measured, test: Test, *, signed: bool = False) -> str:
    """With the interval."""
    value, low, high = (number(end, test, signed=signed) for end in measured[:3])
    return f"{value} [{low},\u00a0{high}]"


def number(value: float, test: Test, *, signed: bool = False) -> str:
    """A share in %, a correlation without the leading zero."""
    share, correlation = (f"{'+' if signed else ''}z.{digits}f" for digits in (1, 3))
    if test.percent:
        return format(100 * value, share).replace("-", "−")
    return format(value, correlation).replace("0.", ".").replace("-", "−")
