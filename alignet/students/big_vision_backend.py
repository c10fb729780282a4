"""big_vision's own ViT behind the interface of ours, for those who have big_vision at hand.

Same parameters, same outputs: `network(student, Compute(backend="big_vision"))` takes the place of
`alignet.students.vit.ViT` wherever a network is applied.
"""

import importlib
import sys
import types
from typing import Any

import flax.io
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alignet.errors import InputError
from alignet.students.student import Student, sizes
from alignet.students.vit import Compute

# What big_vision's ViT does not have; it computes what the default of each stands for.
NOT_IN_BIG_VISION = (
    "activation",
    "norm_eps",
    "cls_position",
    "registers",
    "layer_scale",
    "pre_norm",
    "patch_bias",
    "projection",
)


class BigVisionViT(nn.Module):
    """`big_vision.models.vit` as a student; `network` builds it.

    Attributes:
        student: the specification.
        compute: how it runs.
    """

    student: Student
    compute: Compute

    def setup(self) -> None:
        student, compute = self.student, self.compute
        width, depth, mlp_dim, num_heads, patch = sizes(student)
        self.vit = _vit().Model(
            student.num_classes,
            patch_size=(patch, patch),
            width=width,
            depth=depth,
            mlp_dim=mlp_dim,
            num_heads=num_heads,
            posemb=student.posemb,
            rep_size=student.rep_size,
            pool_type=student.pool,
            scan=compute.scan,
            remat_policy="nothing_saveable" if compute.remat else "everything_saveable",
            dtype_mm=compute.dtype,
        )
        # Its parameters lie at the top of the tree, not under "vit".
        nn.share_scope(self, self.vit)
        if student.triplet_head is not None:
            self.triplet_head = nn.Dense(student.triplet_head, dtype=compute.dtype)

    def __call__(self, images: Float[Array | np.ndarray, "b h w 3"]) -> dict[str, Any]:
        """Embeds a batch of preprocessed images; see `alignet.students.vit.ViT`."""
        student = self.student
        logits, theirs = self.vit(images)
        blocks = [theirs["encoder"][f"block{i:02d}"]["+mlp"] for i in range(sizes(student).depth)]
        x = theirs["pre_logits"]
        out = {"blocks": blocks, "encoded": theirs["encoded"]}
        if student.num_classes is not None:
            out["logits"] = logits.astype(jnp.float32)
        if student.triplet_head is not None:
            out["triplet_head"] = self.triplet_head(x).astype(jnp.float32)
        if student.layer is not None:
            x = blocks[student.layer]
            x = x[:, 0] if student.pool == "tok" else x.mean(axis=1)
        out["pre_logits"] = x.astype(jnp.float32)
        return out


def network(student: Student, compute: Compute) -> nn.Module:
    """Builds big_vision's module of a student.

    Raises:
        InputError: big_vision is not importable, or has no such network.
    """
    for field in NOT_IN_BIG_VISION:
        value, default = getattr(student, field), Student._field_defaults[field]
        if value != default:
            raise InputError(
                f"student {field} is {value!r}, which big_vision's ViT does not have; expected "
                f"{default!r}, or backend alignet."
            )
    if compute.remat and not compute.scan:
        raise InputError(
            "big_vision recomputes activations (remat) in scanned blocks only; expected scan=True, "
            "or backend alignet."
        )
    _vit()
    return BigVisionViT(student, compute)


def _vit() -> types.ModuleType:
    """Imports `big_vision.models.vit`, without TensorFlow where there is none."""
    name = "big_vision.models.vit"
    try:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != "tensorflow":
                raise
        # All it wants of TensorFlow is file access; Flax has the same functions for local files.
        # First what else looks for TensorFlow: it should not find the stand-ins.
        importlib.import_module("flax.training.checkpoints")
        stand_ins = {absent: types.ModuleType(absent) for absent in ("tensorflow", "tensorflow.io")}
        stand_ins["tensorflow.io.gfile"] = flax.io
        sys.modules |= stand_ins
        try:
            return importlib.import_module(name)
        finally:
            for stand_in in stand_ins:
                del sys.modules[stand_in]
    except ImportError as error:
        raise InputError(
            f"backend big_vision: big_vision is not importable ({error}); clone "
            "https://github.com/google-research/big_vision and put the clone on PYTHONPATH."
        ) from error
