"""What the commands have in common."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from alignet.errors import InputError


class Parser(argparse.ArgumentParser):
    """Reports a bad option as any other bad input: in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; --help lists the options.")


############################### Types of options: of `type=` ###############################


def listed(text: str) -> tuple[str, ...]:
    """Names by commas."""
    found = tuple(text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty part; expected names by commas")
    return found


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def whole(text: str) -> int:
    """A whole number from 0 on that 63 bits can hold."""
    if not (text.isdecimal() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^63 − 1")
    return int(text)


def counts(text: str) -> tuple[int, ...]:
    """Whole numbers from 1 on by commas, ascending."""
    found = tuple(dict.fromkeys(text.split(",")))
    if not all(one.isdecimal() and int(one) > 0 for one in found):
        raise argparse.ArgumentTypeError(f"{text!r} is not whole numbers from 1 on, by commas")
    return tuple(sorted(map(int, found)))


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def several(text: str) -> int:
    """A whole number from 2 on."""
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 2 on")
    return int(text)


def some_of(*known: str) -> Callable[[str], tuple[str, ...]]:
    """Names by commas, each of those known; one that comes again counts once."""

    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(text.split(",")))
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return chosen

    return parse


############################################ Folders ############################################


def prepare(out: Path) -> None:
    """Makes the folder for the results, and finds now and not at the end that it cannot be had."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except FileExistsError:
        raise InputError(f"{out}: is a file; expected a folder for the results.") from None
    except OSError as error:
        raise InputError(
            f"{out}: {error.strerror}; expected a folder for the results that can be written."
        ) from None
