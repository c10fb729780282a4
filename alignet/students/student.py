"""A student's specification: everything about a network but its weights."""

from typing import NamedTuple

import numpy as np

from alignet.errors import InputError

# Width, depth, MLP width, heads. The letters are big_vision's, but for "nano": ours, a toy size
# between mu and Ti.
VARIANTS = {
    "mu": (32, 1, 128, 2),
    "nano": (64, 3, 256, 4),
    "Ti": (192, 12, 768, 3),
    "S": (384, 12, 1536, 6),
    "M": (512, 12, 2048, 8),
    "B": (768, 12, 3072, 12),
    "L": (1024, 24, 4096, 16),
    "So400m": (1152, 27, 4304, 16),
    "H": (1280, 32, 5120, 16),
    "g": (1408, 40, 6144, 16),
    "g-opt": (1536, 40, 6144, 16),
    "G": (1664, 48, 8192, 16),
    "G-opt": (1536, 48, 8192, 16),
    "e": (1792, 56, 15360, 16),
}

RESIZES = ("squash", "crop")
INTERPOLATIONS = ("bicubic", "bilinear", "tf_bilinear", "tf_area")
POOLS = ("gap", "tok", "map")
POSEMBS = ("learn", "sincos2d")
ACTIVATIONS = ("gelu_tanh", "gelu", "quick_gelu")


class Preprocessing(NamedTuple):
    """How pictures become the network's input; the default is big_vision's `value_range(-1, 1)`.

    Attributes:
        resize: "squash": both sides to the image size, aspect ratio lost; "crop": the short side to
            `short_side`, then the central square of the image size.
        short_side: in pixels; None for the image size.
        interpolation: "bicubic" or "bilinear" (Pillow's, with antialiasing); "tf_bilinear" or
            "tf_area" (TensorFlow's, which big_vision uses, truncated to whole numbers).
        mean: of a channel on a scale from 0 to 1, subtracted.
        std: divides what is left.
    """

    resize: str = "squash"
    short_side: int | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class Sizes(NamedTuple):
    """What a variant stands for; the patch size is in pixels."""

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    patch_size: int


class Student(NamedTuple):
    """A network's specification; the defaults are big_vision's ViT.

    Attributes:
        variant: big_vision's letter and the patch size, as in "Ti/16"; see `VARIANTS`.
        image_size: side of the square images, in pixels.
        pool: "gap" (mean of the tokens), "tok" (a CLS token) or "map" (attention pooling).
        preprocessing: how a picture becomes the network's input.
        posemb: "learn" or "sincos2d".
        rep_size: width of a dense tanh layer before the pre-logits are read, or None.
        num_classes: classes of a linear classifier on the pre-logits, or None.
        triplet_head: width of the extra linear head on the pre-logits (002, official code: 1024).
        activation: of the MLPs: "gelu_tanh", "gelu" (exact; DINO) or "quick_gelu" (CLIP).
        norm_eps: added to the variance in every LayerNorm.
        cls_position: whether the CLS token has a row of its own, the first, in the position
            embedding (DINO, CLIP); in big_vision it has none.
        registers: tokens without position after the CLS token (DINOv2).
        layer_scale: whether each residual branch is scaled by a learned vector (DINOv2).
        pre_norm: whether the tokens are normalised before the first block (CLIP).
        patch_bias: whether the patch embedding has a bias (not in CLIP).
        projection: width of a linear layer without bias between pooling and pre-logits (CLIP).
        layer: the block, from 0, whose residual stream is read out instead of the network's end:
            its CLS token, or the mean of its tokens where there is none. None for the end.
    """

    variant: str
    image_size: int
    pool: str
    preprocessing: Preprocessing = Preprocessing()
    posemb: str = "learn"
    rep_size: int | None = None
    num_classes: int | None = None
    triplet_head: int | None = None
    activation: str = "gelu_tanh"
    norm_eps: float = 1e-6
    cls_position: bool = False
    registers: int = 0
    layer_scale: bool = False
    pre_norm: bool = False
    patch_bias: bool = True
    projection: int | None = None
    layer: int | None = None


def sizes(student: Student) -> Sizes:
    """Looks up the variant and checks the whole specification.

    Raises:
        InputError: the specification names no network.
    """
    letter, _, patch = student.variant.partition("/")
    if letter not in VARIANTS or not (patch.isdecimal() and int(patch) > 0):
        raise InputError(
            f"student variant {student.variant!r} is unknown; expected one of "
            f"{', '.join(VARIANTS)}, a slash and the patch size, as in 'Ti/16'."
        )
    found = Sizes(*VARIANTS[letter], int(patch))
    scaling = student.preprocessing
    for field, value, known in (
        ("pool", student.pool, POOLS),
        ("posemb", student.posemb, POSEMBS),
        ("activation", student.activation, ACTIVATIONS),
        ("preprocessing resize", scaling.resize, RESIZES),
        ("preprocessing interpolation", scaling.interpolation, INTERPOLATIONS),
    ):
        if value not in known:
            raise InputError(
                f"student {field} {value!r} is unknown; expected one of {', '.join(known)}."
            )
    side, short_side = student.image_size, scaling.short_side
    if short_side is not None and not side <= short_side <= 2 * side:
        raise InputError(
            f"student preprocessing short_side {short_side} does not fit image_size {side}; "
            f"expected {side} to {2 * side}, to crop from."
        )
    numbers = np.array([*scaling.mean, *scaling.std, student.norm_eps], np.float64)
    if (len(scaling.mean), len(scaling.std)) != (3, 3) or not (
        np.isfinite(numbers).all() and (numbers[3:] > 0).all() and student.norm_eps < 1
    ):
        raise InputError(
            f"student preprocessing has mean {scaling.mean} and std {scaling.std}, and norm_eps is "
            f"{student.norm_eps}; expected three numbers each, the std and norm_eps positive."
        )
    if student.image_size < found.patch_size:
        raise InputError(
            f"student image_size {student.image_size} is smaller than the patch size in "
            f"{student.variant!r}."
        )
    if student.layer is not None and not 0 <= student.layer < found.depth:
        raise InputError(
            f"student layer {student.layer} does not exist; {student.variant} has the blocks 0 to "
            f"{found.depth - 1}."
        )
    for field in ("cls_position", "registers"):
        if getattr(student, field) and student.pool != "tok":
            raise InputError(f"student {field} needs a CLS token; expected pool tok.")
    if student.cls_position and student.posemb != "learn":
        raise InputError("student cls_position needs a learned position embedding.")
    return found


def at_resolution(student: Student, image_size: int) -> Student:
    """The student with larger or smaller images, of which the crop keeps the same share."""
    scaling = student.preprocessing
    if scaling.short_side is not None:
        short_side = scaling.short_side * image_size // student.image_size
        scaling = scaling._replace(short_side=short_side)
    return student._replace(image_size=image_size, preprocessing=scaling)
