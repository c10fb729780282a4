"""Layouts of parameters: trees and flat names, scanned and unrolled, old and new, other grids."""

import math
import re
from typing import Any

import jax
import numpy as np
import scipy.ndimage
from jaxtyping import Float

from alignet.errors import InputError
from alignet.students.student import Student
from alignet.students.vit import Params

# What earlier trainers called things, and what they are called now. The numbers of a block's
# modules once ran over all of them, whatever their class.
RENAMED = (
    (r"Transformer/(posembed_input/)?pos_embedding", "pos_embedding"),
    (r"(Transformer/encoderblock(?:_\d+)?/)LayerNorm_2(/.*)", r"\1LayerNorm_1\2"),
    (r"(Transformer/encoderblock(?:_\d+)?/)MlpBlock_3(/.*)", r"\1MlpBlock_0\2"),
    (
        r"(Transformer/encoderblock(?:_\d+)?/)MultiHeadDotProductAttention_1(/.*)",
        r"\1MultiHeadDotProductAttention_0\2",
    ),
    (r"(probe|(?:LayerNorm|MlpBlock|MultiHeadDotProductAttention)_0/.*)", r"MAPHead_0/\1"),
)


def flatten(params: Params, prefix: str = "params") -> dict[str, Any]:
    """Names every parameter by its path: {"a": {"b": x}} becomes {"params/a/b": x}."""
    flat = {}
    for name, value in params.items():
        path = f"{prefix}/{name}" if prefix else name
        flat |= flatten(value, path) if isinstance(value, dict) else {path: value}
    return flat


def unflatten(flat: dict[str, Any], prefix: str = "params") -> Params:
    """Undoes `flatten`."""
    params: Params = {}
    for path, value in flat.items():
        *parents, name = path.removeprefix(f"{prefix}/").split("/")
        node = params
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return params


def to_scan(params: Params) -> Params:
    """Stacks the parameters of all blocks, as `Compute(scan=True)` and big_vision's scan want."""
    transformer = dict(params["Transformer"])
    depth = sum(name.startswith("encoderblock_") for name in transformer)
    blocks = [transformer.pop(f"encoderblock_{layer}") for layer in range(depth)]
    transformer["encoderblock"] = jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)
    return params | {"Transformer": transformer}


def to_unrolled(params: Params) -> Params:
    """Undoes `to_scan`."""
    return unflatten(_unrolled(flatten(params, "")), "")


def modernise(flat: dict[str, Any], student: Student) -> dict[str, Any]:
    """Brings parameters of any of big_vision's layouts to the present one, unrolled.

    Known are scanned blocks, and what trainers wrote before 2022: the position embedding inside the
    encoder, the original module numbers (the augreg checkpoints of Steiner et al. 2022), an
    attention-pooling head without a module of its own, and a position embedding whose first row
    belongs to the CLS token. Other names stay, for `weights.difference` to find.

    Args:
        flat: arrays by flat name, without "params/".
        student: whose parameters they will be.

    Returns:
        Arrays by flat name. They share memory with the given ones.
    """
    renamed = {}
    for old, value in flat.items():
        name = old
        for pattern, replacement in RENAMED:
            if match := re.fullmatch(pattern, name):
                name = match.expand(replacement)
        # If a file has both names, the old one is left to be refused.
        renamed[old if name in flat else name] = value
    renamed = _unrolled(renamed)

    cls, positions = renamed.get("cls"), renamed.get("pos_embedding")
    if (
        cls is not None
        and not student.cls_position
        and np.ndim(positions) == 3
        and _side(positions.shape[1] - 1)
    ):
        renamed["cls"] = cls + positions[:, :1]
        renamed["pos_embedding"] = positions[:, 1:]
    return renamed


def resample_posemb(
    posemb: Float[np.ndarray, "1 n d"], grid: int, method: str, *, cls_row: bool
) -> Float[np.ndarray, "1 m d"]:
    """Resamples a learned position embedding to another grid of patches.

    Args:
        posemb: one row a patch, row by row of a square grid.
        grid: the new number of patches along a side.
        method: "linear": the corners stay where they are, as in big_vision;
            "bicubic": PyTorch's bicubic interpolation, as in most of Hugging Face's models;
            "bicubic_antialias": the same with antialiasing, as in timm, and in Hugging Face's
            DINOv2 with registers; "bilinear_antialias": as in its SigLIP 2 NaFlex.
        cls_row: whether there is a first row for the CLS token, which stays as it is.

    Returns:
        The embedding for the new grid, float32; the given one if the grid is the old one.

    Raises:
        InputError: the old grid is not square.
    """
    first, patches = posemb[:, : int(cls_row)], posemb[:, int(cls_row) :]
    _, n, d = patches.shape
    side = _side(n)
    if not side:
        raise InputError(
            f"a position embedding of {n} patches cannot be resampled; expected a square grid."
        )
    if side == grid:
        return posemb
    patches = patches.reshape(side, side, d).astype(np.float32)
    if method == "linear":
        resampled = scipy.ndimage.zoom(patches, (grid / side, grid / side, 1), order=1)
    else:
        weights = _interpolation(side, grid, *method.partition("_")[::2])
        resampled = np.einsum("yi,xj,ijd->yxd", weights, weights, patches, optimize=True)
    resampled = resampled.astype(np.float32).reshape(1, grid**2, d)
    return np.concatenate([first, resampled], axis=1)


def _unrolled(flat: dict[str, Any]) -> dict[str, Any]:
    unrolled = {}
    for name, value in flat.items():
        if name.startswith("Transformer/encoderblock/") and np.ndim(value):
            rest = name.removeprefix("Transformer/encoderblock/")
            unrolled |= {f"Transformer/encoderblock_{i}/{rest}": x for i, x in enumerate(value)}
        else:
            unrolled[name] = value
    return unrolled


def _side(n: int) -> int:
    """The side of a square grid of n patches; 0 if there is none."""
    side = math.isqrt(n)
    return side if side**2 == n else 0


def _interpolation(old: int, new: int, kernel: str, antialias: str) -> Float[np.ndarray, "new old"]:
    """Each new sample's weights on the old: Keys' kernel with PyTorch's parameters, or a hat."""
    scale = old / new
    # With antialiasing the kernel widens as the grid shrinks, and what it has outside the grid is
    # left out; without it, the grid's edge goes on for ever.
    a, stretch = (-0.5, max(scale, 1.0)) if antialias else (-0.75, 1.0)
    margin = 0 if antialias else 2
    taps = np.arange(-margin, old + margin)
    centres = (np.arange(new) + 0.5) * scale - 0.5
    x = np.abs(taps - centres[:, None]) / stretch
    if kernel == "bicubic":
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * (x**3 - 5 * x**2 + 8 * x - 4)
        values = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    else:
        values = np.maximum(1 - x, 0)
    weights = np.zeros((new, old))
    np.add.at(weights.T, np.clip(taps, 0, old - 1), values.T)
    return weights / weights.sum(axis=1, keepdims=True)
