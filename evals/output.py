"""What an evaluation leaves in its folder: results, tables, a page with figures."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alignet.runtime import files
from evals import comparison, report, runs, scoring
from evals.answers import HUMAN, VISION
from evals.pages import page
from evals.pages.table import table
from evals.runs import Run

REPORT, FIGURES = "report.html", "figures"


def clear(out: Path) -> None:
    """Removes what a process that was killed had begun to write."""
    for name in (runs.RESULTS, runs.SCORES, runs.INDIVIDUALS, report.DIFFERENCES, REPORT):
        files.remove_temporaries(out / name)


def write_run(out: Path, run: Run, *, called: str) -> str:
    """Writes a finished run.

    Args:
      out: its folder.
      run: what was found.
      called: what the page's title calls its models.

    Returns:
      The text for the terminal.
    """
    sections, differences, text = report.sections(run)
    # First away with it and last written: where it is, the other files are of the same run.
    (out / runs.RESULTS).unlink(missing_ok=True)
    runs.write_csv(out / report.DIFFERENCES, report.COLUMNS, differences)
    page.write_page(out / REPORT, _title(called, run.answers), sections)
    page.write_figures(out / FIGURES, sections)
    runs.write(out, run)
    return text


def write_comparison(out: Path, finished: Mapping[str, Run], *, remarks: Sequence[str] = ()) -> str:
    """Compares finished runs and writes what was found.

    Args:
      out: folder of the comparison.
      finished: the runs by label, the first being the baseline; see `runs.load_labelled`.
      remarks: what one has to know of how the settings were made, to read their scores.

    Returns:
      The text for the terminal.

    Raises:
      InputError: the runs have no model or no eval in common.
    """
    found = comparison.compare(finished, scoring.QUESTIONS)
    columns = comparison.DIFFERENCE_COLUMNS
    results = {
        "runs": {label: dict(run.about) for label, run in finished.items()},
        "differences": [dict(zip(columns, row, strict=True)) for row in found.differences],
        "notes": [*remarks, *found.notes],
    }
    runs.write_csv(out / report.DIFFERENCES, columns, found.differences)
    files.write_json(out / runs.RESULTS, results)
    made = [page.Section("What the settings have seen", list(remarks))] if remarks else []
    made += [report.provenance(run, label) for label, run in finished.items()]
    title = _title(", ".join(finished), *(run.answers for run in finished.values()))
    page.write_page(out / REPORT, title, [*found.sections, *made])
    page.write_figures(out / FIGURES, [*found.sections, *made])
    hashes = ", ".join(f"{label} {run.about['config_hash']}" for label, run in finished.items())
    about = f"95 % intervals in brackets; settings {hashes}."
    shown = [table(found.rows), ""] if found.rows else []
    return "\n".join([*shown, *found.sentences, *remarks, *found.notes, about])


def places(out: Path) -> str:
    """Where to look, for the terminal."""
    named = (("Results", runs.RESULTS), ("Report", REPORT))
    return "\n".join(f"{name + ':':8} {out / path}" for name, path in named)


def _title(what: str, *evals: Iterable[str]) -> str:
    families = {scoring.QUESTIONS[name].family for found in evals for name in found}
    if families == {HUMAN}:
        return f"{what} and people"
    return f"{what}: vision" if families == {VISION} else f"{what}: people and vision"
