"""One mesh over every device of every process: batches are cut over it, parameters may be, too."""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from alignet.errors import InputError

# An array smaller than this stays whole on every device: gathering it would cost more than it
# saves.
LEAST_SHARDED = 2**14


def make_mesh(*, fsdp: int = 1) -> Mesh:
    """A mesh with the axes "data" and "fsdp" over all devices, those of one process side by side.

    Args:
        fsdp: devices that share one copy of the parameters, as `shard_parameters` lays them out;
            1 for a copy on every device, 0 for one copy over all.

    Raises:
        InputError: the number of devices is no multiple of `fsdp`.
    """
    # Not jax.make_mesh: it may reorder devices, and then a process's rows are not contiguous.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    fsdp = fsdp or len(devices)
    if fsdp < 0 or len(devices) % fsdp:
        raise InputError(
            f"parameters are to be sharded over {fsdp} devices; expected a divisor of their "
            f"number, {len(devices)}, or 0 for all."
        )
    grid = np.array(devices).reshape(-1, fsdp)
    return Mesh(grid, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Puts a whole copy of every array on every device; each process passes equal values."""
    return put(tree, jax.tree.map(lambda _: whole(mesh), tree))


def whole(mesh: Mesh) -> NamedSharding:
    """The sharding of an array of which every device has all."""
    return NamedSharding(mesh, PartitionSpec())


def shard_parameters(mesh: Mesh, tree: Any) -> Any:
    """The shardings of parameters, and of an optimizer's state of the same shapes.

    The longest axis that divides by the mesh's "fsdp" is cut, the last of several.

    Args:
        mesh: from `make_mesh`.
        tree: arrays, or anything with their shapes.

    Returns:
        A tree of shardings.
    """
    n = mesh.shape["fsdp"]

    def sharding(x: Any) -> NamedSharding:
        axes = [axis for axis, size in enumerate(x.shape) if size % n == 0]
        if n == 1 or not axes or math.prod(x.shape) < LEAST_SHARDED:
            return whole(mesh)
        cut = max(axes, key=lambda axis: (x.shape[axis], axis))
        return NamedSharding(mesh, PartitionSpec(*(None,) * cut, "fsdp"))

    return jax.tree.map(sharding, tree)


def put(tree: Any, shardings: Any) -> Any:
    """Places arrays; each process passes all of them, with equal values."""

    def place(x: Any, sharding: NamedSharding) -> jax.Array:
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(place, tree, shardings)


def shard_batch(mesh: Mesh, batch: Any, *, axis: int = 0) -> Any:
    """Splits an axis over the devices; each process passes its own rows of the batch.

    Process p of P holds rows p·b/P to (p+1)·b/P of a global batch of b rows, a multiple of the
    number of devices.
    """
    sharding = NamedSharding(mesh, PartitionSpec(*(None,) * axis, mesh.axis_names))
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch
    )
