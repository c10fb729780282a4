"""Processes that work for the one that began them."""

import multiprocessing
import os
import threading
from multiprocessing import connection


def end_with_parent() -> None:
    """Ends this process when the one that began it is killed, and could not end it."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
