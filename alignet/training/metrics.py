"""Training curves: a line of JSON and TensorBoard events whenever metrics are logged."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import jax
from tensorboardX import SummaryWriter

from alignet import students
from alignet.runtime import files
from alignet.students import flops

FILE = "metrics.jsonl"


class Log:
    """Writes `metrics.jsonl` and, in `tensorboard/`, event files that need no TensorFlow.

    Args:
        folder: of the run.
        done: steps that a resumed run has behind it; what was logged after them, by a run that was
            cut off before its next checkpoint, is taken back.
        writes: whether it does: of several processes, one.
    """

    def __init__(self, folder: Path, *, done: int, writes: bool):
        self._path, self._events = folder / FILE, None
        if writes:
            _truncate(self._path, done)
            self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def write(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Logs the metrics of a step; None for one that is not known."""
        if self._events is None:
            return
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step} | dict(metrics)) + "\n")
        for name, value in metrics.items():
            if value is not None:
                self._events.add_scalar(name, value, step)
        self._events.flush()

    def close(self) -> None:
        """Writes what is not on disk yet."""
        if self._events is not None:
            self._events.close()


def _truncate(path: Path, step: int) -> None:
    """Drops the lines after `step`, which will be written again, and a half-written last one."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    with files.atomic_path(path) as temporary:
        kept = [line for line in whole if json.loads(line)["step"] <= step]
        temporary.write_text("".join(kept), encoding="utf-8")


class Speed:
    """Images a second, and the share of the devices' peak that is.

    Args:
        student: the network.
        images_per_step: over all devices.
        n_devices: over which they are spread.
    """

    def __init__(self, student: students.Student, *, images_per_step: int, n_devices: int):
        self._images_per_step = images_per_step
        peak = flops.peak_flops(jax.devices()[0].device_kind)
        # Forwards once and backwards twice. What remat computes again is not counted.
        work = 3 * flops.forward_flops(student)
        self._share_per_image = work / (peak * n_devices) if peak else None
        self._step, self._clock = 0, 0.0

    def start(self, step: int) -> None:
        """Starts the clock after `step`; compiling and checkpoints are no part of the speed."""
        self._step, self._clock = step, time.perf_counter()

    def measure(self, step: int) -> dict[str, float | None]:
        """The speed since the clock was started, and starts it again."""
        images = (step - self._step) * self._images_per_step
        seconds = time.perf_counter() - self._clock
        self.start(step)
        rate = images / seconds if images else None
        measured = {"images_per_second": rate and round(rate, 1)}
        if self._share_per_image:
            measured["mfu"] = rate and round(rate * self._share_per_image, 4)
        return measured


def summary(values: Mapping[str, float | None]) -> str:
    """What the progress bar says."""
    text = f"loss {values['loss']:.4f}, triplets {values['triplet_accuracy']:.1%}"
    if rate := values["images_per_second"]:
        text += f", {rate:,.0f} images/s"
    if mfu := values.get("mfu"):
        text += f", {mfu:.0%} of peak"
    return text
