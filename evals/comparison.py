"""The same models in several settings: finished runs of `python -m evals` side by side.

Tables 1 to 3 and Figures 2, 3A and 6 to 11 of paper 002, from the runs of the original models, the
distilled, the transformed (UD) and the aligned ones. The first run is the baseline.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evals import ablations, details, matching
from evals.answers import Headline, Question
from evals.details import Details
from evals.families import WORDS, listed, percent
from evals.matching import Change, Matched, Test
from evals.pages import comparison_figures, page
from evals.pages.comparison_figures import Panel
from evals.pages.levels_page import DOUBT, KINDS
from evals.runs import Run
from evals.statistics import differences
from evals.statistics.intervals import Measured
from evals.summary import YARDSTICK

MOST_COLUMNS = 8  # of numbers in a table
MOST_CLOUDS = 7  # models of which single triplets are drawn
DIFFERENCE_COLUMNS = (
    *("model", "eval", "subset", "metric", "first", "second", "difference", "low", "high", "n"),
    *("relative_percent", "p", "p_holm", "test", "better"),
)
Blocks = list[str | page.Table | page.Picture]


class Comparison(NamedTuple):
    """Attributes:
    rows: for the terminal, one a test and model.
    sentences: for the terminal, what no test tells.
    sections: of the page.
    notes: what was not compared, and why; the sections say it, too.
    differences: rows of differences.csv (DIFFERENCE_COLUMNS): each model in each two settings.
    """

    rows: Sequence[Mapping[str, Any]]
    sentences: Sequence[str]
    sections: Sequence[page.Section]
    notes: Sequence[str]
    differences: Sequence[Sequence[Any]]


def compare(runs: Mapping[str, Run], questions: Mapping[str, Question]) -> Comparison:
    """Compares every model's settings on every eval that two runs or more have in common.

    Args:
      runs: by label, at least two; see `runs.load_labelled`.
      questions: the evals by name.

    Raises:
      InputError: the runs have no model or no eval in common.
    """
    matched = matching.match(runs, questions)
    tests = matching.headline_tests(matched, questions)
    wanted = [Headline(level, DOUBT, f"time and doubt, {level}") for level in KINDS]
    doubt = matching.tests(matched, "levels", wanted)
    changes, refusals = matching.changes(matched, [*tests, *doubt])
    notes = [*matched.notes, *refusals]
    rows = _rows(matched, tests)
    sections = []
    for family in WORDS:
        if own := [test for test in tests if test.family == family]:
            sections.append(_first_section(matched, own, changes))
            if len(matched.models) > 1:
                sections.append(_model_section(matched, own))
    if doubt:
        sections.append(_doubt_section(matched, doubt, changes))
    found = details.run(matched, questions)
    sections += [*ablations.sections(matched, tests), *found.sections]
    sections.append(_number_section(matched, [*tests, *doubt], rows, changes, notes))
    differences = [_csv_row(change) for change in changes] + _changed_rows(found)
    return Comparison(rows, found.sentences, sections, notes, differences)


def _csv_row(change: Change) -> tuple[Any, ...]:
    one = change.difference
    names = (change.model, change.test.eval, one.subset, one.metric, one.first, one.second)
    p = (one.p, one.p_holm, one.test, one.better)
    return (*names, *one.difference.as_dict().values(), change.relative, *p)


def _changed_rows(found: Details) -> list[tuple[Any, ...]]:
    """The same of what is no difference of two scores, without a test."""
    return [
        (model, eval, subset, metric, *labels, *value.as_dict().values(), *[None] * 5)
        for (model, eval, *labels), changed in found.changed.items()
        for subset, metric, value in changed.scores
    ]


def _rows(matched: Matched, tests: Sequence[Test]) -> list[dict[str, Any]]:
    """One a test and model, with a column a setting."""
    return [
        {"test": test.name, "model": model}
        | {label: values.get(label) for label in matched.labels}
        | {"highest": ", ".join(_highest(values)) or None}
        for test in tests
        for model, values in test.scores.items()
    ]


########################################## Sections ##########################################


def _first_section(
    matched: Matched, tests: Sequence[Test], changes: Sequence[Change]
) -> page.Section:
    first, *others = matched.labels
    words = WORDS[tests[0].family]
    picture = comparison_figures.by_setting(_panels(tests), matched.models, matched.labels)
    gains = [
        {"test": test.name} | {label: _gain(test, label, first, changes) for label in others}
        for test in tests
    ]
    several = (
        "the mean over models (accuracies: in points), the range of their relative changes, and of "
        f"how many models a setting is shown to be {words.more} or {words.less} (α = .05, Holm)."
    )
    single = (
        "with its 95 % interval (accuracies: in points), the relative change, and p after Holm's "
        "correction over all pairs of settings; n.s.: no difference is shown at α = .05."
    )
    what = single if len(matched.models) == 1 else several
    return page.Section(
        words.which_setting,
        [
            _scope(matched, tests),
            words.test,
            *_verdicts(matched, tests, changes),
            page.Picture(
                picture,
                f"All tests, with 95 % intervals; further right is {words.more}.",
            ),
            *([YARDSTICK] if any(test.ceiling for test in tests) else []),
            page.Table(gains, f"What each setting adds to {first}: {what}"),
        ],
    )


def _model_section(matched: Matched, tests: Sequence[Test]) -> page.Section:
    """Tables 1 to 3 and Figures 4, 6, 7 and 12 of paper 002."""
    words = WORDS[tests[0].family]
    tables = [_table(matched, group) for group in _tables(tests, len(matched.labels))]
    picture = comparison_figures.against_baseline(_panels(tests), matched.models, matched.labels)
    caption = (
        f"Scores in the other settings (vertical) against that in {matched.labels[0]} "
        f"(horizontal): above the diagonal, a setting is {words.more}."
    )
    return page.Section(
        f"Model by model: {words.which_setting.lower()}",
        [*tables, page.Picture(picture, caption)],
    )


def _tables(tests: Sequence[Test], labels: int) -> list[list[Test]]:
    """Tests in groups that fit a table; those of one eval stay together if they can."""
    most = max(1, MOST_COLUMNS // labels)
    result: list[list[Test]] = []
    for _, of_eval in itertools.groupby(tests, key=lambda test: test.eval):
        group = list(of_eval)
        if result and len(result[-1]) + len(group) <= most:
            result[-1] += group
        else:
            result += [group[start : start + most] for start in range(0, len(group), most)]
    return result


def _table(matched: Matched, group: Sequence[Test]) -> page.Table:
    """Models × tests × settings, as in Tables 1 to 3 of paper 002."""
    rows = []
    for model in matched.models:
        row = {"model": model}
        for test, label in itertools.product(group, matched.labels):
            values = test.scores.get(model, {})
            text = _plain(values[label].value, test) if label in values else "–"
            best = label in _highest(values)
            row[f"{test.name}: {label}"] = f"{text}\u00a0†" if best else text
        rows.append(row)
    people = [f"{test.name} {_plain(test.ceiling.value, test)}" for test in group if test.ceiling]
    among = f" People among themselves: {'; '.join(people)}." if people else ""
    return page.Table(
        rows, f"Accuracies in %, and correlations; † the highest of a model's.{among}"
    )


def _doubt_section(
    matched: Matched, doubt: Sequence[Test], changes: Sequence[Change]
) -> page.Section:
    """Figures 8 to 11 of paper 002."""
    picture = comparison_figures.by_setting(_panels(doubt), matched.models, matched.labels)
    blocks: Blocks = [
        "People take longer over triplets that are hard to decide. A model that is in doubt where "
        "people are spreads its probability over the three answers there: its entropy is high.",
        *_verdicts(matched, doubt, changes),
        page.Picture(
            picture,
            "Rank correlation of models' entropy with people's response times to the same "
            "triplets, with 95 % intervals.",
        ),
    ]
    for model in matched.models[:MOST_CLOUDS]:
        if points := _points(matched, model):
            scores = {test.subset: test.scores.get(model, {}) for test in doubt}
            picture = comparison_figures.response_times(points, scores)
            caption = f"{model}: people's response times and its entropy, triplet by triplet."
            blocks.append(page.Picture(picture, caption))
    if len(matched.models) > MOST_CLOUDS:
        blocks.append(f"Single triplets are drawn for the first {MOST_CLOUDS} models.")
    return page.Section("In doubt where people are?", blocks)


def _points(matched: Matched, model: str) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Entropies and log response times by label and type of triplet."""
    points: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for label, found in matched.answers["levels"].get(model, {}).items():
        people = matched.people["levels"][label].arrays
        for level in KINDS:
            entropy, times = found.arrays.get(f"{level}/entropy"), people.get(f"{level}/log_rt")
            if entropy is not None and times is not None and len(entropy) == len(times):
                points.setdefault(label, {})[level] = (entropy, times)
    return points


def _number_section(
    matched: Matched,
    tests: Sequence[Test],
    rows: Sequence[Mapping[str, Any]],
    changes: Sequence[Change],
    notes: Sequence[str],
) -> page.Section:
    first, *others = matched.labels
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for test, label in itertools.product(tests, others):
        for change in _against(changes, test, label, first):
            cells.setdefault((test.name, change.model), {})[label] = _difference(change)
    blocks: Blocks = [page.Table(rows, "All scores, with 95 % intervals.")] if rows else []
    if cells:
        caption = (
            f"Differences to {first} with 95 % intervals, in points of accuracy and as "
            "correlations; n.s.: no difference is shown at α = .05."
        )
        columns = ["test", "model", *others]
        table = [{"test": test, "model": model} | row for (test, model), row in cells.items()]
        blocks.append(page.Table(table, caption, columns))
    how = (
        "Two settings of a model are compared answer by answer (accuracies) or in resamples that "
        "they share (correlations). Holm's correction is over all models and all pairs of settings "
        "of a test. differences.csv, beside this page, has every pair."
    )
    return page.Section("All numbers", [*blocks, how, *notes])


########################################## Words ##########################################


def _scope(matched: Matched, tests: Sequence[Test]) -> str:
    models = _counted(len(matched.models), "model")
    settings = f"{len(matched.labels)} settings ({listed(matched.labels)})"
    return f"{models} in {settings}, on {_counted(len(tests), 'test')}."


def _verdicts(matched: Matched, tests: Sequence[Test], changes: Sequence[Change]) -> Iterator[str]:
    """Which setting scores highest, and how each fares against the first."""
    first, *others = matched.labels
    words = WORDS[tests[0].family]
    case, each = ("case", " (a model on a test)") if len(matched.models) > 1 else ("test", "")
    highest = [_highest(values) for test in tests for values in test.scores.values()]
    wins = Counter(label for labels in highest for label in labels).most_common()
    if not wins:
        yield "No model has scores in two settings on the same test."
        return
    (top, most), *rest = wins
    others_too = "".join(f", {label} in {count}" for label, count in rest)
    total = _counted(sum(map(bool, highest)), case)
    yield f"Of {total}{each}, {top} scores highest in {most}{others_too}."
    for label in others:
        own = [change for test in tests for change in _against(changes, test, label, first)]
        if not own:
            yield f"{label} and {first}: differences were not tested."
            continue
        better, worse = _count(own, label), _count(own, first)
        unclear = len(own) - better - worse
        unclear = f", no difference is shown in {unclear}" if unclear else ""
        yield (
            f"{label} is {words.more} than {first} in {better} of {_counted(len(own), case)} and "
            f"{words.less} in {worse}{unclear} (α = .05, Holm). On average it adds "
            f"{_average(own)}."
        )


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n > 1)}"


def _average(own: Sequence[Change]) -> str:
    parts = []
    for share, unit in ((True, "points of accuracy"), (False, "of correlation")):
        some = [change for change in own if percent(change.test) is share]
        if some:
            mean = float(np.mean([change.difference.difference.value for change in some]))
            parts.append(f"{_signed(mean, some[0].test)} {unit}")
    return " and ".join(parts)


def _gain(test: Test, label: str, first: str, changes: Sequence[Change]) -> str | None:
    """What a setting adds to the first on a test."""
    own = _against(changes, test, label, first)
    if not own:
        return None
    found = sorted({round(change.relative) for change in own if change.relative is not None})
    ends = [f"{end:+d}" for end in dict.fromkeys(found[:1] + found[-1:])]
    relative = _minus(f" ({' to '.join(ends)}\u00a0%)") if ends else ""
    if len(own) == 1:
        return f"{_difference(own[0])}{relative}, {differences.p_text(own[0].difference.p_holm)}"
    better, worse = _count(own, label), _count(own, first)
    words = WORDS[test.family]
    shown = f"{words.more} {better}\u00a0of\u00a0{len(own)}"
    shown += f", {words.less} {worse}" if worse else ""
    mean = float(np.mean([change.difference.difference.value for change in own]))
    return f"{_signed(mean, test)}{relative}; {shown}"


def _difference(change: Change) -> str:
    value, low, high = (_signed(end, change.test) for end in change.difference.difference[:3])
    text = f"{value} [{low}, {high}]"
    return text if change.difference.better else f"{text} n.s."


def _against(changes: Sequence[Change], test: Test, label: str, first: str) -> list[Change]:
    """The changes of all models from the first label to another on one test."""
    return [
        change
        for change in changes
        if change.test is test
        and (change.difference.first, change.difference.second) == (label, first)
    ]


def _count(changes: Sequence[Change], label: str) -> int:
    return sum(change.difference.better == label for change in changes)


def _highest(values: Mapping[str, Measured]) -> list[str]:
    """The label with the highest value, or those that share it; none of a single one."""
    best = max(score.value for score in values.values()) if len(values) > 1 else None
    return [label for label, score in values.items() if score.value == best]


def _panels(tests: Sequence[Test]) -> list[Panel]:
    return [
        Panel(
            test.name,
            "accuracy" if percent(test) else "Spearman's ρ",
            test.scores,
            test.chance,
            test.ceiling,
        )
        for test in tests
    ]


def _signed(value: float, test: Test) -> str:
    return _minus(f"{100 * value:+.1f}" if percent(test) else f"{value:+.3f}")


def _plain(value: float, test: Test) -> str:
    return _minus(f"{100 * value:.2f}" if percent(test) else f"{value:.3f}")


def _minus(text: str) -> str:
    return text.replace("-", "−")
