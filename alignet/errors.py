"""The exceptions for bad input."""


class InputError(ValueError):
    """Something the user gave is wrong.

    The message is one sentence that says which file, which row, and what was expected; the
    commands print it without a traceback and exit with status 2.
    """


class Absent(InputError):
    """Data are not where they were expected: an error if they were asked for, else a note."""


class Preempted(Exception):
    """A training run was asked to stop and has saved its state; the same command goes on."""
