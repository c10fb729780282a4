"""How the two families of evals are spoken of: is a model like people, and does it see well?"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from evals.answers import HUMAN, VISION


class Words(NamedTuple):
    """Attributes:
    which_model, which_setting, how: headings.
    most, more, less: of a model or setting.
    test: what each test does, and how to read its numbers.
    """

    which_model: str
    which_setting: str
    how: str
    most: str
    more: str
    less: str
    test: str


WORDS = {
    HUMAN: Words(
        which_model="Which model is more human?",
        which_setting="Which setting is more human?",
        how="How human is {}?",
        most="the most human",
        more="more human",
        less="less human",
        test="Each test sets a model's judgments of similarity beside people's; higher is more "
        "human. An accuracy is the share of triplets of which the model picks the odd one out that "
        "people picked (guessing: 33.3 %); a correlation is Spearman's, between the similarities "
        "of all pairs of photographs (guessing: 0).",
    ),
    VISION: Words(
        which_model="Which model sees better?",
        which_setting="Which setting sees better?",
        how="How well does {} see?",
        most="the best",
        more="better",
        less="worse",
        test="Each test lets a simple read-out learn from a model's frozen representations of some "
        "photographs, and shows it others. An accuracy is the share of these that it names "
        "rightly; guessing gives one over the number of classes.",
    ),
}


def percent(test: Any) -> bool:
    """Whether a test's numbers are shares, which are shown in %."""
    return test.metric.startswith("accuracy")


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
