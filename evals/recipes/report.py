"""The results of a run: a table on the terminal, results.json and report.html in its folder."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from alignet.runtime import files
from evals import runs
from evals.pages import page
from evals.pages.table import table
from evals.recipes import demo_report, provenance, things_report
from evals.statistics.intervals import Measured


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> int:
    """Scores the artifacts in `workdir`, writes both files and prints the table.

    Returns:
      Exit status: 1 if a check failed.
    """
    workdir = Path(workdir)
    recipe = demo_report if config.get("toy") else things_report
    found = recipe.build(config, workdir)
    artifacts = {
        path.name: path
        for path in sorted(workdir.iterdir())
        if path.is_file() and path.suffix in (".npz", ".npy")
    }
    about = provenance.of(config, artifacts)
    results = _plain(found.results) | {"checks": dict(found.checks)} | about
    for name in (runs.RESULTS, "report.html"):
        files.remove_temporaries(workdir / name)
    files.write_json(workdir / runs.RESULTS, results)
    sections = [*found.sections, provenance.section(about)]
    page.write_page(workdir / "report.html", found.title, sections)

    print(f"\n{found.title}\n")
    print(table(found.rows))
    print()
    for note in found.notes:
        print(note)
    for description, right in found.checks.items():
        print(f"{'ok    ' if right else 'FAILED'}  {description}")
    print(f"\n{provenance.closing(about, workdir)}", flush=True)
    failed = [description for description, right in found.checks.items() if not right]
    if failed:
        print(f"error: {len(failed)} of {len(found.checks)} checks failed.", file=sys.stderr)
    return 1 if failed else 0


def _plain(value: Any) -> Any:
    if isinstance(value, Measured):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
