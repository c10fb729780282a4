"""What is looked at before a run begins, and while it goes on."""

import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alignet import students
from alignet.data.images import Source
from alignet.errors import InputError
from alignet.training.batches import Triplets
from alignet.training.objective import LOSSES

FIELDS = (
    *("seed", "batch_size", "steps", "warmup_steps", "peak_lr", "loss", "tau_teacher"),
    *("tau_student", "dense", "pull", "grad_clip", "accumulate", "ema", "read_out"),
    *("dtype", "scan", "remat", "fsdp", "workers", "checkpoint_every", "log_every", "keep"),
    "force",
)
# A resumed run may change these: they do not touch the weights, but for roundings.
RUNNING = ("fsdp", "workers", "checkpoint_every", "log_every", "keep", "force")

LOOKED_AT = 64  # images that tell one set from another


def check_config(config: Any, student: students.Student) -> None:
    """Refuses a configuration of `alignet.distill.distill` that cannot be meant.

    Raises:
        InputError: a value is missing or out of range.
    """
    missing = [name for name in FIELDS if name not in config]
    if missing:
        raise InputError(f"distill config: {', '.join(missing)} missing; expected a value.")
    expectations = {
        "loss": (config.loss in LOSSES, f"one of {', '.join(LOSSES)}"),
        "read_out": (config.read_out in ("pre_logits", "triplet_head"), "pre_logits, triplet_head"),
        "seed": (config.seed >= 0, "at least 0"),
        "batch_size": (config.batch_size >= 1, "at least 1"),
        "accumulate": (config.accumulate >= 1, "at least 1"),
        "warmup_steps": (0 <= config.warmup_steps < config.steps, "at least 0 and below steps"),
        "workers": (config.workers >= 0, "at least 0"),
        "checkpoint_every": (config.checkpoint_every >= 1, "at least 1"),
        "log_every": (config.log_every >= 1, "at least 1"),
        "keep": (config.keep >= 2, "at least 2, so that there is one to fall back to"),
        "tau_teacher": (config.tau_teacher > 0, "a positive number"),
        "tau_student": (config.tau_student > 0, "a positive number"),
        "grad_clip": (
            config.grad_clip is None or config.grad_clip > 0,
            "None or a positive number",
        ),
        "ema": (config.ema is None or 0 < config.ema < 1, "None or a number between 0 and 1"),
    }
    for name, (right, expected) in expectations.items():
        if not right:
            raise InputError(f"distill config: {name} is {config[name]!r}; expected {expected}.")
    if config.read_out == "triplet_head" and student.triplet_head is None:
        raise InputError(
            "distill config: read_out is 'triplet_head' but the student has none; expected one "
            "put on by students.add_triplet_head."
        )


def check_devices(config: Any, n_devices: int) -> None:
    """Refuses a batch that cannot be split.

    Raises:
        InputError: the batch is no multiple of the devices and of the parts it goes through in.
    """
    if config.batch_size % (config.accumulate * n_devices):
        parts = f" times accumulate, {config.accumulate}" if config.accumulate > 1 else ""
        raise InputError(
            f"distill config: batch_size is {config.batch_size}; expected a positive multiple of "
            f"the number of devices, {n_devices}{parts}."
        )


def check_data(
    config: Any,
    student: students.Student,
    images: np.ndarray | Source,
    triplets: Triplets,
    validation: Triplets | None,
    teacher_z: np.ndarray | None,
) -> None:
    """Refuses images and triplets that do not fit each other or the student.

    Raises:
        InputError: the message says which row.
    """
    n = images.n if isinstance(images, Source) else len(images)
    if not isinstance(images, Source):
        students.normalise(student, images[:1])
    _check_triplets("triplets", triplets, n_images=n)
    if validation is not None:
        _check_triplets("validation triplets", validation, n_images=n)
    if config.dense and (teacher_z is None or len(teacher_z) != n):
        rows = "none" if teacher_z is None else f"{len(teacher_z)}"
        raise InputError(
            f"distill config: dense is on and there are {rows} of the teacher's embeddings; "
            f"expected one for each of the {n} images."
        )


def _check_triplets(name: str, triplets: Triplets, *, n_images: int) -> None:
    indices, similarities = triplets.indices, triplets.similarities
    n = len(indices)
    if n == 0 or indices.shape != (n, 3) or similarities.shape != (n, 3):
        raise InputError(
            f"{name}: indices {indices.shape} and similarities {similarities.shape}; expected "
            "[n, 3] both, with n at least 1."
        )
    for start in range(0, n, 2**20):
        rows = slice(start, start + 2**20)
        bad = ((indices[rows] < 0) | (indices[rows] >= n_images)).any(axis=1)
        bad |= ~np.isfinite(similarities[rows]).all(axis=1)
        if bad.any():
            row = start + int(np.argmax(bad))
            raise InputError(
                f"{name}, row {row + 1}: indices {indices[row].tolist()} and similarities "
                f"{similarities[row].tolist()}; expected images 0 to {n_images - 1} and finite "
                "numbers."
            )


def finite(running: Sequence[dict[str, jax.Array]], *, last_step: int) -> dict[str, float]:
    """The metrics of the last of some steps, after a look at all of them.

    Args:
        running: metrics of consecutive steps, still on the devices.
        last_step: the number of the last of them.

    Raises:
        InputError: one is not finite.
    """
    fetched = jax.device_get(list(running))
    for step, values in enumerate(fetched, start=last_step - len(fetched) + 1):
        for name, value in values.items():
            if not math.isfinite(value):
                raise InputError(
                    f"distill: at step {step} {name} is {value}; expected a finite number (a "
                    "smaller peak_lr, a larger tau_student or a grad_clip may help). The last "
                    "checkpoint is from before."
                )
    return {name: float(value) for name, value in fetched[-1].items()}


def looked_at(n: int) -> list[int]:
    """The places of some of n images, evenly spread, that stand for all."""
    return np.linspace(0, n - 1, min(n, LOOKED_AT)).astype(int).tolist()


def identity(
    config: Any,
    student: students.Student,
    params: students.Params,
    images: np.ndarray | Source,
    triplets: Triplets,
    validation: Triplets | None,
    teacher_z: np.ndarray | None,
) -> dict[str, Any]:
    """Everything the result depends on, to tell a resumed run from another one.

    Of the images some are looked at: a machine that took another's place has other copies of the
    same files.
    """

    def digest(tree: Any) -> str:
        # Piece by piece: these may be gigabytes, and on disk.
        state = hashlib.sha256()
        for leaf in jax.tree.leaves(tree):
            for start in range(0, len(leaf), 2**20) if np.ndim(leaf) else ():
                state.update(np.ascontiguousarray(leaf[start : start + 2**20]))
        return state.hexdigest()

    n = images.n if isinstance(images, Source) else len(images)
    state = hashlib.sha256(f"{n}".encode())
    for place in looked_at(n):
        name, picture = images.read(place) if isinstance(images, Source) else ("", images[place])
        if isinstance(picture, Path):
            picture = picture.read_bytes()
        elif isinstance(picture, io.BytesIO):
            picture = picture.getvalue()
        else:
            picture = np.ascontiguousarray(picture)
        state.update(name.encode())
        state.update(picture)
    of_triplets = {
        name: digest([some.indices, some.similarities])
        for name, some in {"triplets": triplets, "validation": validation}.items()
        if some is not None
    }
    if teacher_z is not None:
        of_triplets["teacher"] = digest(teacher_z)
    return {
        "config": {k: v for k, v in config.to_dict().items() if k not in RUNNING},
        "student": student._asdict(),
        "params": digest(params),
        "images": state.hexdigest(),
        **of_triplets,
    }
