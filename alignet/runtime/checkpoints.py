"""Training checkpoints by orbax: whole or absent, kept for the last few steps."""

import json
import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from alignet.errors import InputError


def open_manager(directory: str | Path, *, keep: int = 2) -> ocp.CheckpointManager:
    """Opens a folder of checkpoints for writing; what a killed run left half-written is removed.

    Args:
        directory: the folder, made if absent.
        keep: how many of the newest checkpoints stay. Two, so that there is one to fall back to.
    """
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
    return ocp.CheckpointManager(Path(directory).absolute(), options=options)


def save(manager: ocp.CheckpointManager, step: int, state: Any, meta: dict[str, Any]) -> None:
    """Writes a checkpoint; returns when the state is copied, the disk is written meanwhile.

    Args:
        manager: from `open_manager`.
        step: number of steps done.
        state: tree of arrays.
        meta: what the state belongs to, JSON-serialisable; `restore_latest` compares it.
    """
    meta = meta | {"checksum": _checksum(state)}
    items = {"state": ocp.args.StandardSave(state), "meta": ocp.args.JsonSave(meta)}
    manager.save(step, args=ocp.args.Composite(**items))


def restore_latest(
    directory: str | Path, like: Any, *, meta: dict[str, Any]
) -> tuple[int, Any] | None:
    """Reads the newest checkpoint that can be read.

    One that cannot is renamed to `unreadable-<step>` with a printed warning, and the one before it
    is tried.

    Args:
        directory: the folder; may be absent.
        like: tree of arrays with the state's structure, shapes and shardings; the devices may be
            others than those that wrote it.
        meta: what was given to `save`.

    Returns:
        Number of steps done and the state; None if there is no readable checkpoint.

    Raises:
        InputError: the newest readable checkpoint is of another run.
    """
    directory = Path(directory).absolute()
    meta = json.loads(json.dumps(meta))
    like = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    for step in sorted(_steps(directory), reverse=True):
        try:
            with ocp.CheckpointManager(directory) as manager:
                item = ocp.args.Composite(meta=ocp.args.JsonRestore())
                found = manager.restore(step, args=item)["meta"]
                checksum = found.pop("checksum")
                if found == meta:
                    item = ocp.args.Composite(state=ocp.args.StandardRestore(like))
                    state = manager.restore(step, args=item)["state"]
                    if _checksum(state) != checksum:
                        raise ValueError("its checksum is wrong")
                    return step, state
        # Whatever orbax raises over a damaged file (it has no one type for it) means: unreadable.
        except Exception as error:
            first_line = str(error).strip().split("\n")[0][:200]
            _set_aside(directory, step, f"{type(error).__name__}: {first_line}")
            continue
        raise InputError(
            f"{directory / str(step)}: a checkpoint of another run (another config, student or "
            "data); expected the run being resumed: take another workdir, or delete this one."
        )
    return None


@jax.jit
def _bit_sums(leaves: list[jax.Array]) -> list[jax.Array]:
    # Sums of bits wrap around and commute, so that any sharding gives the same number.
    widths = [f"uint{8 * x.dtype.itemsize}" for x in leaves]
    bits = [jax.lax.bitcast_convert_type(x, w) for x, w in zip(leaves, widths, strict=True)]
    return [x.astype("uint32").sum(dtype="uint32") for x in bits]


def _checksum(state: Any) -> int:
    # orbax's own data files carry none: a flipped byte would be restored without a word.
    return zlib.crc32(np.array(jax.device_get(_bit_sums(jax.tree.leaves(state)))).tobytes())


def _steps(directory: Path) -> list[int]:
    return [int(path.name) for path in directory.glob("*") if path.name.isdecimal()]


def _set_aside(directory: Path, step: int, reason: str) -> None:
    print(
        f"warning: checkpoint {directory / str(step)} cannot be read, falling back to the one "
        f"before it ({reason})",
        file=sys.stderr,
        flush=True,
    )
    if jax.process_index() == 0:
        # Renamed, not deleted: the disk may only be away for a moment.
        (directory / str(step)).rename(directory / f"unreadable-{step}")
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"checkpoint {step} set aside")
