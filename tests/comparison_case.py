"""Runs whose models are better in one setting than in another, and parts of their comparison."""

from evals import comparison, matching
from tests import runs_case
from tests.runs_case import ABOUT, QUESTIONS

QUALITY = {"original": 0.1, "distilled": 0.3, "ud": 0.28, "aligned": 0.7}
MODELS = [f"model {letter}" for letter in "ABCDEFG"]


def made(models=1, labels=("original", "aligned"), **changed):
    """Runs by label; `changed` gives some of them other settings."""
    return {
        label: runs_case.run(
            MODELS[:models],
            QUALITY[label],
            about=ABOUT | {"settings": ABOUT["settings"] | changed.get(label, {})},
        )
        for label in labels
    }


def compare(found):
    return comparison.compare(found, QUESTIONS)


def headline_tests(matched):
    return matching.headline_tests(matched, QUESTIONS)


def section(compared, heading):
    [found] = [section for section in compared.sections if section.heading == heading]
    return found
