"""The folder of a training run, which may be in a bucket (gs://bucket/run)."""

import contextlib
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from etils import epath

from alignet.errors import InputError

SELDOM = 60  # seconds


def is_remote(workdir: str | epath.PathLike) -> bool:
    """Whether it is in a bucket."""
    return "://" in str(workdir)


class WorkFolder:
    """Where a run's files are made, and where they go.

    Files can be appended to and renamed on this machine, not in a bucket: there, they are copies of
    those here, each of them whole, and are published when a `with` block of the folder ends, too.
    What writes to buckets by itself, as orbax does, needs `path`.

    Args:
      workdir: a path, or the address of a bucket's folder.

    Attributes:
      path: of the folder, wherever it is.
      here: of a folder on this machine; the same one unless that is in a bucket.

    Raises:
      InputError: the bucket cannot be reached or written to.
    """

    def __init__(self, workdir: str | Path):
        self.path, self._name = epath.Path(workdir), str(workdir)
        self._temporary, self._published = None, dict[Path, tuple[int, int]]()
        self._last = 0.0
        if is_remote(workdir):
            self._temporary = tempfile.TemporaryDirectory()
            self.here = Path(self._temporary.name)
            probe = self.path / f"writable-{self.here.name}"
            self._reach("written to", lambda: (probe.write_text(""), probe.unlink()))
        else:
            self.here = Path(workdir).absolute()
            self.path = epath.Path(self.here)
            self.here.mkdir(parents=True, exist_ok=True)

    def fetch(self, name: str) -> None:
        """Copies a file here from the bucket, if it is there."""
        if self._temporary:
            there = self.path / name
            found = self._reach("read", lambda: there.read_bytes() if there.exists() else None)
            if found is not None:
                (self.here / name).write_bytes(found)

    def __enter__(self) -> "WorkFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After an error that error is what counts.
        with contextlib.suppress(InputError) if error else contextlib.nullcontext():
            self.publish()

    def publish(self, *, seldom: bool = False) -> None:
        """Copies files that are new or have changed to the bucket.

        Args:
          seldom: whether only if that was last done some time ago.

        Raises:
          InputError: they cannot be written there.
        """
        if not self._temporary or (seldom and time.monotonic() < self._last + SELDOM):
            return
        self._last = time.monotonic()
        for file in sorted(self.here.rglob("*")):
            if not file.is_file():
                continue
            state = file.stat().st_mtime_ns, file.stat().st_size
            if self._published.get(file) != state:
                there = self.path / file.relative_to(self.here).as_posix()
                copy = functools.partial(_copy, file, there)
                self._reach("written to", copy)
                self._published[file] = state

    def _reach(self, how: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except ImportError as error:
            raise InputError(f"{self._name}: cannot be {how}: {error}.") from None
        # Every kind of bucket has exceptions of its own.
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).split("\n")[0]
            raise InputError(
                f"{self._name}: cannot be {how} ({said}); expected a bucket that this machine may "
                "read and write."
            ) from None


def _copy(here: Path, there: epath.Path) -> None:
    there.write_bytes(here.read_bytes())
