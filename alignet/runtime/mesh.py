"""One mesh over every device of every process, with one axis: the batch."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh() -> Mesh:
    """A mesh with the axis "data" over all devices, those of one process side by side."""
    # Not jax.make_mesh: it may reorder devices, and then a process's rows are not contiguous.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Puts a whole copy of every array on every device; each process passes equal values."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x), np.shape(x)), tree
    )


def shard_batch(mesh: Mesh, batch: Any) -> Any:
    """Splits the leading axis over the devices; each process passes its own rows of the batch.

    Process p of P holds rows p·b/P to (p+1)·b/P of a global batch of b rows, a multiple of the
    number of devices.
    """
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch
    )
