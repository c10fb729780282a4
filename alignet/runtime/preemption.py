"""SIGTERM, by which schedulers and cloud providers announce that a machine will be taken away."""

import signal
import threading
from types import TracebackType

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Notices SIGTERM while its block runs, which then does not kill the process.

    With several processes jax.distributed listens instead, and tells all of them to stop after the
    same step.
    """

    def __init__(self) -> None:
        self._noticed = False

    def __enter__(self) -> "Preemption":
        # Python lets only the main thread listen.
        main = threading.current_thread() is threading.main_thread()
        self._listens = main and jax.process_count() == 1
        if self._listens:
            self._before = signal.signal(signal.SIGTERM, self._notice)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._listens:
            signal.signal(signal.SIGTERM, self._before)

    def _notice(self, *_: object) -> None:
        self._noticed = True

    def reached(self, step: int) -> bool:
        """Whether to stop after `step`; every process asks after every step."""
        if jax.process_count() == 1:
            return self._noticed
        return multihost_utils.reached_preemption_sync_point(step)
