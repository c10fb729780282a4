"""What the numbers of a recipe's report were made with."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from alignet.runtime import stages
from evals import runs
from evals.pages import page
from evals.pages import provenance as made_with


def of(config: ml_collections.ConfigDict, artifacts: Mapping[str, Path]) -> dict[str, Any]:
    """For results.json: the configuration, the versions, and the artifacts' hashes by name."""
    return {
        "config": config.to_dict(),
        "config_hash": stages.config_hash(config),
        "seed": config.seed,
        "versions": stages.versions(),
        "artifacts": {name: stages.file_hash(path) for name, path in artifacts.items()},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def section(about: Mapping[str, Any]) -> page.Section:
    """The same for the page."""
    shown = [("configuration", about["config_hash"]), ("seed", str(about["seed"]))]
    return made_with.section(shown, about, about["artifacts"])


def closing(about: Mapping[str, Any], workdir: Path) -> str:
    """The last lines for the terminal."""
    return (
        f"Config {about['config_hash']}, seed {about['seed']}; 95 % intervals in brackets.\n"
        f"Results: {workdir / runs.RESULTS}\n"
        f"Report:  {workdir / 'report.html'}"
    )
