"""The last section of every report: with what its numbers were made."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evals.pages import page


def section(
    settings: Iterable[tuple[str, str]],
    about: Mapping[str, Any],
    files: Mapping[str, str],
    label: str = "",
) -> page.Section:
    """Lays out what a run wrote down of itself.

    Args:
      settings: names and values, shown first.
      about: its `finished`, when, and `versions`, by library.
      files: SHA-256 by path or name; 16 digits of it are shown, and of a path the name.
      label: of the numbers, if a page has several such sections.
    """
    rows = [
        *({"what": name, "value": value} for name, value in settings),
        {"what": "finished", "value": about["finished"]},
        *({"what": name, "value": version} for name, version in about["versions"].items()),
        *({"what": Path(path).name, "value": digest[:16]} for path, digest in files.items()),
    ]
    made = page.Table(rows, "What these numbers were made with; files by SHA-256.")
    return page.Section(f"Provenance: {label}" if label else "Provenance", [made])
