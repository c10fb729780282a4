"""What the commands have in common."""

import argparse
from typing import NoReturn

from alignet.errors import InputError


class Parser(argparse.ArgumentParser):
    """Reports a bad option as any other bad input: in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; --help lists the options.")
