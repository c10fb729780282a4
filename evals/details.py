"""What the evals say of any models, said of those of a comparison that saw the same data."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evals.answers import PEOPLE, Changed, Question
from evals.families import listed
from evals.matching import ONE, Matched
from evals.pages import page

MOST_ENTRIES = 12  # models and settings in an eval's own section
MOST_BETWEEN = 28  # the same in that of models against models: paper 002 has 7 models × 4 settings


class Details(NamedTuple):
    """Attributes:
    sections: of the page.
    changed: by model, eval, later label and earlier label.
    """

    sections: Sequence[page.Section]
    changed: Mapping[tuple[str, str, str, str], Changed]

    @property
    def sentences(self) -> list[str]:
        """What the changes are in words."""
        return [text for one in self.changed.values() for text in page.sentences(one.section)]


def run(matched: Matched, questions: Mapping[str, Question]) -> Details:
    """Draws up every eval's own section, and what changed from the first setting to the others.

    Args:
      matched: the runs; only what saw the same data as the first is shown.
      questions: the evals by name.
    """
    sections, changed, left_out = [], {}, []
    for eval, by_model in matched.answers.items():
        question, group = questions[eval], matched.alike[eval][0]
        entries = {
            label if model == ONE else f"{model}, {label}": by_label[label]
            for label in group
            for model, by_label in by_model.items()
            if label in by_label
        }
        if len(entries) > (MOST_BETWEEN if eval == "between_models" else MOST_ENTRIES):
            left_out.append(eval)
            continue
        people = {PEOPLE: matched.people[eval][group[0]]}
        own = [question.section(people | entries)]
        if question.change is not None:
            for model, label in itertools.product(by_model, group[1:]):
                names = [one if model == ONE else f"{model}, {one}" for one in (group[0], label)]
                if all(name in entries for name in names):
                    change = question.change(people | {name: entries[name] for name in names})
                    changed[model, eval, label, group[0]] = change
                    own.append(change.section)
        sections += [section for section in own if section.blocks]
    if left_out:
        text = (
            f"The details of {listed(left_out)} are in the reports of the runs: there are too "
            "many models in too many settings to show them here."
        )
        sections.append(page.Section("Details", [text]))
    return Details(sections, changed)
