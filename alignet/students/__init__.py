"""Students: the networks that are aligned, how they are fed and how they are read out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Num

from alignet.errors import InputError
from alignet.runtime import mesh as meshes
from alignet.students.vit import Params, Student, init, network
from alignet.students.weights import load_weights, save_weights

__all__ = [
    "Params",
    "Student",
    "add_triplet_head",
    "embed",
    "init",
    "load_weights",
    "network",
    "preprocess",
    "save_weights",
]


def add_triplet_head(
    student: Student, params: Params, key: jax.Array, *, width: int = 1024
) -> tuple[Student, Params]:
    """Puts a random linear head on pretrained weights that have none (002, official code).

    Args:
        student: a student without a triplet head.
        params: its parameters.
        key: a JAX random key.
        width: the head's output width.

    Returns:
        The student with a head, and parameters that differ by "triplet_head" only.
    """
    student = student._replace(triplet_head=width)
    return student, params | {"triplet_head": init(student, key)["triplet_head"]}


def preprocess(student: Student, images: Num[Array | np.ndarray, "..."]) -> Float[Array, "b h w 3"]:
    """Scales pixels to the student's value range; runs inside a jitted function too.

    Args:
        student: whose input this will be.
        images: uint8 [b, h, w, 3], already of the student's image size.

    Returns:
        float32, 0 mapped to the lower and 255 to the upper end of the range.

    Raises:
        InputError: the images are of another type, shape or size.
    """
    side = student.image_size
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3):
        raise InputError(
            f"images are {images.dtype} {list(images.shape)}; "
            f"this student expects uint8 [n, {side}, {side}, 3]."
        )
    low, high = student.value_range
    return jnp.asarray(images, jnp.float32) * ((high - low) / 255) + low


def embed(
    student: Student,
    params: Params,
    images: Num[np.ndarray, "..."],
    *,
    batch_size: int = 256,
) -> Float[np.ndarray, "n d"]:
    """Embeds images on all devices, one compiled forward pass for every batch.

    Args:
        student: the network.
        params: its parameters.
        images: uint8 [n, h, w, 3]; may be a memory map, of which only a batch is in memory at a
            time. In a multi-process run every process passes all images.
        batch_size: images in flight, over all devices; rounded up to a multiple of their number.

    Returns:
        Pre-logits, float32, one row an image.
    """
    n = len(images)
    if n == 0:
        raise InputError("there are no images to embed; expected at least one.")
    mesh = meshes.make_mesh()
    devices, processes = mesh.size, jax.process_count()
    batch_size = -(-min(batch_size, n) // devices) * devices
    rows = batch_size // processes
    params = meshes.replicate(mesh, params)
    embeddings = []
    for start in range(0, n, batch_size):
        batch = np.asarray(images[start : start + batch_size])
        batch = np.pad(batch, [(0, batch_size - len(batch))] + [(0, 0)] * (batch.ndim - 1))
        mine = batch[jax.process_index() * rows :][:rows]
        embeddings.append(_pre_logits(student, mesh, params, meshes.shard_batch(mesh, mine)))
        if len(embeddings) > 1:
            # Fetched one batch late, so that the device never waits for the host.
            embeddings[-2] = np.asarray(embeddings[-2])
    return np.concatenate([np.asarray(z) for z in embeddings])[:n]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _pre_logits(
    student: Student, mesh: Mesh, params: Params, images: Num[Array, "..."]
) -> Float[Array, "b d"]:
    z = network(student).apply({"params": params}, preprocess(student, images))["pre_logits"]
    # Replicated, so that every process can read all rows.
    return jax.lax.with_sharding_constraint(z, NamedSharding(mesh, PartitionSpec()))
