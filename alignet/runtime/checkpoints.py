"""Training checkpoints by orbax: whole or absent, the last few and the best one."""

import contextlib
import json
import operator
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from alignet.errors import InputError
from alignet.runtime.work_folder import is_remote

# Instead of a step, to all processes: there is no checkpoint, or none that may be gone on from.
NONE, REFUSED = -1, -2


@contextlib.contextmanager
def open_manager(
    directory: str | epath.PathLike, *, keep: int = 2, keep_best: bool = False
) -> Iterator[ocp.CheckpointManager]:
    """Opens a folder of checkpoints for writing; what a killed run left half-written is removed.

    When the block ends, all checkpoints are on disk.

    Args:
        directory: the folder, made if absent.
        keep: how many of the newest checkpoints stay. At least two, so that there is one to fall
            back to.
        keep_best: whether the one with the lowest loss stays as well; see `save`.

    Raises:
        InputError: when the block ends, that the disk could not be written.
    """
    policies: list[Any] = [LatestN(keep)]
    best: dict[str, Any] = {}
    if keep_best:
        policies.append(
            BestN(
                get_metric_fn=operator.itemgetter("loss"),
                reverse=True,
                n=1,
                keep_checkpoints_without_metrics=False,
            )
        )
        best = {"best_fn": operator.itemgetter("loss"), "best_mode": "min"}
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy(policies), cleanup_tmp_directories=True, **best
    )
    manager = ocp.CheckpointManager(_whole(directory), options=options)
    try:
        yield manager
        finish(manager)
    finally:
        # What it says of a disk that cannot be written was said before.
        with contextlib.suppress(Exception):
            manager.close()


def save(
    manager: ocp.CheckpointManager,
    step: int,
    state: Any,
    meta: Mapping[str, Any],
    *,
    loss: float | None = None,
) -> None:
    """Writes a checkpoint; returns when the state is copied, the disk is written meanwhile.

    Args:
        manager: from `open_manager`.
        step: number of steps done.
        state: tree of arrays.
        meta: what the state belongs to, JSON-serialisable; `restore_latest` compares it.
        loss: by which the best checkpoint is told, the lowest, if the manager keeps it; None for
            one that is no candidate.

    Raises:
        InputError: the disk cannot be written, perhaps the checkpoint before.
    """
    items = {
        "state": ocp.args.StandardSave(state),
        "meta": ocp.args.JsonSave({**meta, "checksum": _checksum(state)}),
    }
    metrics = None if loss is None else {"loss": loss}
    try:
        manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)
    except Exception as error:
        raise _unwritten(manager, error) from None


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits until all checkpoints are on disk.

    Raises:
        InputError: the disk cannot be written.
    """
    try:
        manager.wait_until_finished()
    except Exception as error:
        raise _unwritten(manager, error) from None


def restore_latest(
    directory: str | epath.PathLike,
    like: Any,
    *,
    meta: Mapping[str, Any],
    force: bool = False,
) -> tuple[int, Any] | None:
    """Reads the newest checkpoint that can be read.

    One that cannot is renamed to `unreadable-<step>` with a printed warning, and the one before it
    is tried. Of several processes the first decides, by itself, and all then read what it could.

    Args:
        directory: the folder; may be absent.
        like: tree of arrays with the state's structure, shapes and shardings; the devices may be
            others than those that wrote it.
        meta: what was given to `save`; of several processes, that of the first counts.
        force: whether to read it though it was saved with another `meta`.

    Returns:
        Number of steps done and the state; None if there is no readable checkpoint.

    Raises:
        InputError: the newest readable checkpoint is of another run, or of a state of another
            structure; or one of several processes cannot read what the first could.
    """
    directory = _whole(directory)
    if jax.process_count() == 1:
        return _newest(directory, like, meta, force)
    step, refusal = NONE, None
    if jax.process_index() == 0:
        try:
            found = _newest(directory, like, meta, force, alone=True)
            step = found[0] if found else NONE
        except InputError as error:
            step, refusal = REFUSED, error
    # A process that went its own way would leave the others waiting for it.
    step = int(multihost_utils.broadcast_one_to_all(np.int32(step)))
    if step == REFUSED:
        raise refusal or InputError(f"{directory}: refused, as the first process says.")
    return None if step == NONE else (step, restore(directory, step, like))


def _newest(
    directory: epath.Path, like: Any, meta: Mapping[str, Any], force: bool, *, alone: bool = False
) -> tuple[int, Any] | None:
    meta = json.loads(json.dumps(meta))
    for step in sorted(_steps(directory), reverse=True):
        differences = ""
        try:
            with _reader(directory, alone=alone) as manager:
                item = ocp.args.Composite(meta=ocp.args.JsonRestore())
                found = manager.restore(step, args=item)["meta"]
                checksum = found.pop("checksum")
                differences = "; ".join(_differences(found, meta))
                if force or not differences:
                    state = _restored(manager, step, like, checksum, alone=alone)
        # Whatever orbax raises over a damaged file (it has no one type for it) means: unreadable.
        except Exception as error:
            if differences:
                raise InputError(
                    f"{directory / str(step)}: cannot be gone on from by force ({differences}; "
                    f"{_first_line(error)}); expected a state with the same arrays."
                ) from None
            _set_aside(directory, step, f"{type(error).__name__}: {_first_line(error)}")
            continue
        if differences and not force:
            raise InputError(
                f"{directory / str(step)}: a checkpoint of another run ({differences}); expected "
                "the run being resumed: take another workdir, delete this one, or, in training, "
                "set force."
            )
        if differences:
            print(f"warning: forced to go on though {differences}", file=sys.stderr, flush=True)
        return step, state
    return None


def _reader(directory: epath.Path, *, alone: bool) -> ocp.CheckpointManager:
    """For all processes, or for the first alone."""
    processes = ocp.options.MultiprocessingOptions()
    if alone:
        processes = ocp.options.MultiprocessingOptions(
            active_processes={0}, barrier_sync_key_prefix="alone"
        )
    options = ocp.CheckpointManagerOptions(multiprocessing_options=processes, create=False)
    return ocp.CheckpointManager(directory, options=options)


def restore(directory: str | epath.PathLike, step: int, like: Any) -> Any:
    """Reads the checkpoint of a step.

    Args:
        directory: the folder.
        step: of a checkpoint that is there.
        like: as in `restore_latest`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with _reader(_whole(directory), alone=False) as manager:
            item = ocp.args.Composite(meta=ocp.args.JsonRestore())
            meta = manager.restore(step, args=item)["meta"]
            return _restored(manager, step, like, meta["checksum"])
    except Exception as error:
        raise InputError(
            f"{_whole(directory) / str(step)}: cannot be read ({_first_line(error)}); expected a "
            "whole checkpoint."
        ) from None


def _restored(
    manager: ocp.CheckpointManager, step: int, like: Any, checksum: int, *, alone: bool = False
) -> Any:
    if alone:
        # In this process's memory: the devices are everybody's.
        arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
        args = ocp.args.PyTreeRestore(item=like, restore_args=arrays)
    else:
        args = ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, like))
    state = manager.restore(step, args=ocp.args.Composite(state=args))["state"]
    if _checksum(state) != checksum:
        raise ValueError("its checksum is wrong")
    return state


def _differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            inside = f"{name}.{key}" if name else key
            yield from _differences(there.get(key), here.get(key), inside)
    elif there != here:
        hashes = all(isinstance(value, str) and len(value) == 64 for value in (there, here))
        yield f"other {name}" if hashes else f"{name} was {there!r} and is {here!r}"


def _unwritten(manager: ocp.CheckpointManager, error: Exception) -> InputError:
    directory = epath.Path(manager.directory)
    steps = _steps(directory)
    left = f"that of step {max(steps)} is the last good one" if steps else "there is none yet"
    return InputError(
        f"{directory}: a checkpoint could not be written ({_first_line(error)}); {left}: make "
        "room on the disk and run the same command again."
    )


def _first_line(error: Exception) -> str:
    line = str(error).strip().split("\n")[0] or type(error).__name__
    # What the operating system said comes last.
    return line if len(line) < 160 else f"… {line[-120:]}"


@jax.jit
def _bit_sums(leaves: list[jax.Array]) -> list[jax.Array]:
    # Sums of bits wrap around and commute, so that any sharding gives the same number.
    widths = [f"uint{8 * x.dtype.itemsize}" for x in leaves]
    bits = [jax.lax.bitcast_convert_type(x, w) for x, w in zip(leaves, widths, strict=True)]
    return [x.astype("uint32").sum(dtype="uint32") for x in bits]


def _checksum(state: Any) -> int:
    # orbax's own data files carry none: a flipped byte would be restored without a word.
    leaves = jax.tree.leaves(state)
    if all(isinstance(x, np.ndarray) for x in leaves):
        bits = [np.ascontiguousarray(x).reshape(-1).view(f"uint{8 * x.itemsize}") for x in leaves]
        sums = [x.astype(np.uint32).sum(dtype=np.uint32) for x in bits]
    else:
        sums = jax.device_get(_bit_sums(leaves))
    return zlib.crc32(np.array(sums).tobytes())


def _whole(directory: str | epath.PathLike) -> epath.Path:
    # A bucket's path is whole as it is.
    path = epath.Path(directory)
    return path if path.is_absolute() else path.absolute()


def _steps(directory: epath.Path) -> list[int]:
    # In a bucket nothing is renamed when it is whole: there is a file that says so.
    found = [path for path in directory.glob("*") if path.name.isdecimal()]
    return [int(path.name) for path in found if ocp.utils.is_checkpoint_finalized(path)]


def _set_aside(directory: epath.Path, step: int, reason: str) -> None:
    print(
        f"warning: checkpoint {directory / str(step)} cannot be read, falling back to the one "
        f"before it ({reason})",
        file=sys.stderr,
        flush=True,
    )
    # Renamed, not deleted: the disk may only be away for a moment.
    _rename(directory / str(step), directory / f"unreadable-{step}")


def _rename(path: epath.Path, target: epath.Path) -> None:
    if not is_remote(path):
        path.rename(target)
    elif path.is_dir():  # in a bucket there are files only, and these can be copied
        for inside in path.iterdir():
            _rename(inside, target / inside.name)
        path.rmtree()
    else:
        target.write_bytes(path.read_bytes())
