"""Progress with an ETA: a bar in a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(iterable: Iterable | None = None, *, total: int | None = None, desc: str) -> tqdm:
    """A tqdm bar on standard error; in a log file it prints at most one line in 15 seconds."""
    terminal = sys.stderr.isatty()
    return tqdm(
        iterable,
        total=total,
        desc=desc,
        file=sys.stderr,
        dynamic_ncols=terminal,
        mininterval=0.2 if terminal else 15.0,
        maxinterval=1.0 if terminal else 30.0,
        leave=not terminal,
        ascii=not terminal,
        # A log has no carriage return: every update ends its own line.
        bar_format=None
        if terminal
        else "{desc}: {n_fmt}/{total_fmt} in {elapsed}, {remaining} to go{postfix}\n",
    )
