"""Progress with an ETA: a bar in a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(
    iterable: Iterable | None = None, *, total: int | None = None, desc: str, unit: str = "it"
) -> tqdm:
    """A tqdm bar on standard error; in a log file it prints at most one line in 15 seconds."""
    terminal = sys.stderr.isatty()
    return tqdm(
        iterable,
        total=total,
        desc=desc,
        unit=unit,
        file=sys.stderr if terminal else _Log(sys.stderr),
        dynamic_ncols=terminal,
        mininterval=0.2 if terminal else 15.0,
        maxinterval=1.0 if terminal else 30.0,
        leave=not terminal,
        # A log has no lines to go up to.
        position=None if terminal else 0,
        ascii=not terminal,
        bar_format=None
        if terminal
        else "{desc}: {n_fmt}/{total_fmt} in {elapsed}, {remaining} to go, {rate_fmt}{postfix}",
    )


class _Log:
    """Makes lines of tqdm's updates, each of which is to be written over the one before."""

    def __init__(self, file: Any):
        self._file, self._last = file, ""

    def write(self, text: str) -> None:
        line = text.strip()
        # The end comes twice, the second time with the rate of the whole.
        done = line.partition(" to go")[0]
        if done not in ("", self._last):
            self._file.write(f"{line}\n")
            self._last = done

    def flush(self) -> None:
        self._file.flush()
