"""What a student is trained to do: answer triplets as its teacher does (002, eq. 5)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from alignet import losses, students
from alignet import triplets as kernels

LOSSES = ("kl", "jsd", "contrastive", "hard")
# The pairs (ij, ik, jk) of the images at positions 0, 1, 2.
LEFT, RIGHT = [0, 0, 1], [1, 2, 2]


def triplet_losses(
    name: str,
    teacher_s: Float[Array, "*b 3"],
    student_s: Float[Array, "*b 3"],
    *,
    tau_teacher: float,
    tau_student: float,
) -> Float[Array, "*b"]:
    """Compares a student's similarities with its teacher's, triplet by triplet.

    Args:
        name: one of `LOSSES`.
        teacher_s: similarities of the teacher, in the order (ij, ik, jk).
        student_s: similarities of the student, in the same order.
        tau_teacher: the teacher's temperature; it divides. Discrete losses do not use it.
        tau_student: the student's temperature; it divides.

    Returns:
        The loss of every triplet, in nats.
    """
    taus = {"tau_teacher": tau_teacher, "tau_student": tau_student}

    def loss(t: Float[Array, "3"], s: Float[Array, "3"]) -> Float[Array, ""]:
        if name == "kl":
            return losses.alignet_kl(t, s, **taus)
        if name == "jsd":
            return losses.alignet_jsd(t, s, **taus)
        if name == "contrastive":
            return losses.contrastive(s, t.argmax(), tau_student=tau_student)
        return losses.hard_alignment(s, t.argmax(), tau=tau_student)

    flat = jax.vmap(loss)(teacher_s.reshape(-1, 3), student_s.reshape(-1, 3))
    return flat.reshape(teacher_s.shape[:-1])


def all_thirds(
    index: Int[Array, "b 3"], teacher_z: Float[Array, "b 3 p"], z: Float[Array, "b 3 d"]
) -> tuple[Float[Array, "m n 3"], Float[Array, "m n 3"], Bool[Array, "m n"]]:
    """The triplets that are in a batch besides those that were drawn for it (ours).

    Every pair of images of a triplet of the batch, with every other image of the batch as the
    third: m = 3b pairs with n = 3b thirds, from embeddings that are there anyway. The measure: a
    pair is drawn as a pair of the dataset's triplets is, and its third uniformly among the other
    images of the batch. Of all pairs of images in the batch none is left out.

    Args:
        index: which images they are.
        teacher_z: the teacher's embeddings of them.
        z: the student's.

    Returns:
        Similarities of the teacher and of the student, in the order (ij, ik, jk), and which of
        these triplets have three different images.
    """
    index = index.reshape(-1)
    first = 3 * jnp.arange(len(index) // 3)[:, None]
    i, j = (first + jnp.array(LEFT)).reshape(-1), (first + jnp.array(RIGHT)).reshape(-1)

    def similarities(rows: Float[Array, "b 3 d"]) -> Float[Array, "m n 3"]:
        rows = rows.reshape(len(index), -1)
        s = jnp.matmul(rows, rows.T, precision="highest")
        return jnp.stack([jnp.broadcast_to(s[i, j][:, None], s.shape), s[i], s[j]], axis=-1)

    different = (index != index[i][:, None]) & (index != index[j][:, None])
    different &= (index[i] != index[j])[:, None]
    return similarities(teacher_z), similarities(z), different


def objective(
    config: Any, student: students.Student, network: nn.Module, *, dense: bool
) -> Callable[[students.Params, Mapping[str, Array]], tuple[Float[Array, ""], Float[Array, ""]]]:
    """The function that training lowers.

    Args:
        config: of `alignet.distill.distill`.
        student: what is trained.
        network: its module.
        dense: whether the loss is that of `all_thirds`.

    Returns:
        A function of the parameters and a batch with "images" (uint8 [b, 3, h, w, 3]), "teacher"
        (similarities [b, 3]), "weight" ([b], 0 for rows that only fill up), and, if dense,
        "index" ([b, 3]) and "teacher_z" ([b, 3, p]). It gives the mean loss, and the share of the
        triplets whose odd one out is the teacher's.
    """
    settings = {"tau_teacher": config.tau_teacher, "tau_student": config.tau_student}

    def function(params: students.Params, batch: Mapping[str, Array]) -> tuple:
        images = batch["images"].reshape(-1, *batch["images"].shape[2:])
        x = students.normalise(student, images)
        z = network.apply({"params": params}, x)[config.read_out]
        z = z.reshape(-1, 3, z.shape[-1])
        s, weight = kernels.pair_similarities(z), batch["weight"]
        right = kernels.correct(s, kernels.choices(batch["teacher"]))
        if dense:
            teacher_s, student_s, different = all_thirds(batch["index"], batch["teacher_z"], z)
            loss = triplet_losses(config.loss, teacher_s, student_s, **settings)
            loss = jnp.where(different, loss, 0).sum() / different.sum()
        else:
            loss = triplet_losses(config.loss, batch["teacher"], s, **settings)
            loss = _mean(loss, weight)
        return loss, _mean(right, weight)

    return function


def make_validation(
    function: Callable[..., tuple[Array, Array]],
) -> Callable[[students.Params, Iterable[Mapping[str, Array]]], dict[str, float]]:
    """The objective's mean over all batches, whose last may be partly filled.

    Args:
        function: from `objective`.

    Returns:
        A function of the parameters and the batches, whose arrays have a leading axis of parts. It
        gives "loss" and "triplet_accuracy".
    """

    @jax.jit
    def sums(params: students.Params, batch: Mapping[str, Array]) -> Float[Array, "3"]:
        def add(total: Array, part: Mapping[str, Array]) -> tuple[Array, None]:
            loss, accuracy = function(params, part)
            n = part["weight"].sum()
            return total + jnp.stack([loss * n, accuracy * n, n]), None

        return jax.lax.scan(add, jnp.zeros(3), batch)[0]

    def validate(
        params: students.Params, batches: Iterable[Mapping[str, Array]]
    ) -> dict[str, float]:
        total = np.zeros(3)
        for batch in batches:
            total += jax.device_get(sums(params, batch))
        return {"loss": float(total[0] / total[2]), "triplet_accuracy": float(total[1] / total[2])}

    return validate


def _mean(x: Array, weight: Array) -> Array:
    # A part of the last batch may be all filling.
    return (x * weight).sum() / jnp.maximum(weight.sum(), 1)
