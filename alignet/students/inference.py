"""Images through a student: one compiled forward pass, over every device of every process."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Num
from PIL import Image

from alignet.data.images import load_images
from alignet.errors import InputError
from alignet.runtime import mesh as meshes
from alignet.students import layouts
from alignet.students.preprocessing import normalise, resize
from alignet.students.student import Student
from alignet.students.vit import Compute, Params, network


def default_batch() -> int:
    """Images in flight on each device where nothing else is asked for.

    More than 8 leave the caches of a CPU and take longer an image; a chip wants more.
    """
    return 8 if jax.default_backend() == "cpu" else 64


class Embedder(NamedTuple):
    """A student with its weights; call it with images to get their embeddings.

    Attributes:
        student: the network's specification.
        params: its parameters, float32, in the unrolled layout.
        compute: how it runs.
    """

    student: Student
    params: Params
    compute: Compute = Compute()

    def __call__(
        self, images: Any, *, batch_per_device: int | None = None
    ) -> Float[np.ndarray, "n d"]:
        """Embeds images, preprocessing included.

        Args:
            images: a folder or an `.npz`, see `alignet.data.images.load_images`; a list of Pillow
                pictures; or uint8 [n, h, w, 3] of any size.
            batch_per_device: images in flight on each device; None for `default_batch`.

        Returns:
            The read-out, float32, one row an image.
        """
        fit = functools.partial(resize, self.student)
        if isinstance(images, str | Path):
            pixels = load_images(images, resize=fit).pixels
        elif isinstance(images, Image.Image):
            raise InputError("images is one picture; expected a list of them: [picture].")
        else:
            pictures = [fit(_picture(image)) for image in images]
            side = self.student.image_size
            pixels = np.array(pictures, np.uint8).reshape(-1, side, side, 3)
        return embed(
            self.student,
            self.params,
            pixels,
            batch_per_device=batch_per_device,
            compute=self.compute,
        )


def embed(
    student: Student,
    params: Params,
    images: Num[np.ndarray, "..."],
    *,
    batch_per_device: int | None = None,
    compute: Compute = Compute(),
) -> Float[np.ndarray, "n d"]:
    """Embeds images of the student's size on all devices.

    Args:
        student: the network.
        params: its parameters.
        images: uint8 [n, h, w, 3]; may be a memory map, of which only a batch is in memory at a
            time. In a multi-process run every process passes all images.
        batch_per_device: images in flight on each device; None for `default_batch`. Every device
            runs the same program on this many, so the rows do not depend on the number of devices.
        compute: how the network runs.

    Returns:
        Pre-logits, float32, one row an image.
    """
    n = len(images)
    if n == 0:
        raise InputError("there are no images to embed; expected at least one.")
    mesh = meshes.make_mesh()
    params = place(params, compute, mesh)
    # Less for a few images, but as little on eight devices as on one.
    batch_size = min(batch_per_device or default_batch(), n) * mesh.size
    rows = batch_size // jax.process_count()
    embeddings = []
    for start in range(0, n, batch_size):
        mine = np.asarray(images[start + jax.process_index() * rows :][:rows])
        mine = np.pad(mine, [(0, rows - len(mine))] + [(0, 0)] * (mine.ndim - 1))
        embeddings.append(
            pre_logits(student, compute, mesh, params, meshes.shard_batch(mesh, mine))
        )
        if len(embeddings) > 1:
            # Fetched one batch late, so that the device never waits for the host.
            embeddings[-2] = np.asarray(embeddings[-2])
    return np.concatenate([np.asarray(z) for z in embeddings])[:n]


def place(params: Params, compute: Compute, mesh: Mesh) -> Params:
    """Puts parameters on every device, in the layout in which `compute` wants them."""
    return meshes.replicate(mesh, layouts.to_scan(params) if compute.scan else params)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def pre_logits(
    student: Student, compute: Compute, mesh: Mesh, params: Params, images: Num[Array, "..."]
) -> Float[Array, "b d"]:
    """The read-out of one batch that is spread over the mesh; every process gets all rows."""
    z = network(student, compute).apply({"params": params}, normalise(student, images))
    return jax.lax.with_sharding_constraint(z["pre_logits"], NamedSharding(mesh, PartitionSpec()))


def _picture(image: Any) -> Image.Image:
    if isinstance(image, str | Path):
        raise InputError(
            f"{image}: a path in a list of images; expected pictures opened with Pillow, or the "
            "path of a folder instead of the list."
        )
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise InputError(
                f"an image is {array.dtype} {list(array.shape)}; expected uint8 [h, w, 3] or a "
                "Pillow picture."
            )
        image = Image.fromarray(array) if array.size else Image.new("RGB", (1, 1))
    if min(image.size) < 2:
        raise InputError("an image has a side of one pixel or none; expected a picture.")
    return image.convert("RGB")
