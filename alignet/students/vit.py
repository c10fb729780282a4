"""The Vision Transformer, with big_vision's parameter names, shapes and numerics.

A big_vision checkpoint therefore loads by name, and a network trained here loads there. Names that
come from a class (`MlpBlock_0`, `MAPHead_0`) are part of that agreement: do not rename the classes.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alignet.errors import InputError

Params = dict[str, Any]

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


def _decode_variant(variant: str) -> dict[str, int]:
    """The sizes that "Ti/16" stands for: a letter of `VARIANTS` and a patch size in pixels."""
    letter, _, patch = variant.partition("/")
    if letter not in VARIANTS or not (patch.isdecimal() and int(patch) > 0):
        raise InputError(
            f"student variant {variant!r} is unknown; expected one of {', '.join(VARIANTS)}, "
            "a slash and the patch size, as in 'Ti/16'."
        )
    width, depth, mlp_dim, num_heads = VARIANTS[letter]
    return {
        "width": width,
        "depth": depth,
        "mlp_dim": mlp_dim,
        "num_heads": num_heads,
        "patch_size": int(patch),
    }


def sincos2d(height: int, width: int, dim: int) -> Float[np.ndarray, "1 n d"]:
    """Fixed sine-cosine position embedding of a grid, as in MoCo v3 and big_vision.

    Args:
        height: rows of the grid of patches.
        width: columns of the grid of patches.
        dim: channels, a multiple of 4: sin x, cos x, sin y, cos y.

    Returns:
        One embedding for each patch, row by row.
    """
    y, x = np.divmod(np.arange(height * width), width)
    frequencies = 10_000.0 ** -np.linspace(0, 1, dim // 4)
    x, y = np.outer(x, frequencies), np.outer(y, frequencies)
    return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], 1)[None].astype(np.float32)


def _attention(num_heads: int) -> nn.Module:
    return nn.MultiHeadDotProductAttention(
        num_heads=num_heads,
        kernel_init=nn.initializers.xavier_uniform(),
        deterministic=True,
        name="MultiHeadDotProductAttention_0",
    )


class MlpBlock(nn.Module):
    """Dense, GELU (the tanh approximation), Dense."""

    mlp_dim: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        init = {
            "kernel_init": nn.initializers.xavier_uniform(),
            "bias_init": nn.initializers.normal(stddev=1e-6),
        }
        hidden = nn.gelu(nn.Dense(self.mlp_dim, **init)(x), approximate=True)
        return nn.Dense(x.shape[-1], **init)(hidden)


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and MLP, each with a residual connection."""

    mlp_dim: int
    num_heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        y = nn.LayerNorm()(x)
        x = x + _attention(self.num_heads)(y, y)
        return x + MlpBlock(self.mlp_dim)(nn.LayerNorm()(x))


class Encoder(nn.Module):
    """A stack of blocks and a final norm."""

    depth: int
    mlp_dim: int
    num_heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        for layer in range(self.depth):
            x = EncoderBlock(self.mlp_dim, self.num_heads, name=f"encoderblock_{layer}")(x)
        return nn.LayerNorm(name="encoder_norm")(x)


class MAPHead(nn.Module):
    """Attention pooling: one learned query over all tokens, then an MLP (SigLIP's read-out)."""

    mlp_dim: int
    num_heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b d"]:
        d = x.shape[-1]
        probe = self.param("probe", nn.initializers.xavier_uniform(), (1, 1, d))
        x = _attention(self.num_heads)(jnp.tile(probe, [len(x), 1, 1]), x)
        x = x + MlpBlock(self.mlp_dim)(nn.LayerNorm()(x))
        return x[:, 0]


class ViT(nn.Module):
    """A Vision Transformer without a classifier.

    Attributes:
        patch_size: side of a patch in pixels.
        pool: "gap" (mean of the tokens), "tok" (a CLS token) or "map" (attention pooling).
        posemb: "learn" or "sincos2d".
        rep_size: width of a dense tanh layer after pooling; None for no such layer.
        triplet_head: width of a linear layer on the pre-logits (002, official code: 1024).
    """

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    patch_size: int
    pool: str = "gap"
    posemb: str = "learn"
    rep_size: int | None = None
    triplet_head: int | None = None

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"]) -> dict[str, jax.Array]:
        """Embeds a batch of preprocessed images.

        Args:
            images: square images in the student's value range.

        Returns:
            "encoded": all tokens after the final norm, [b, n, width] (the CLS token first);
            "pre_logits": the pooled embedding, [b, width or rep_size];
            "triplet_head": the head's output, [b, triplet_head], where there is one.
        """
        patch = (self.patch_size, self.patch_size)
        x = nn.Conv(self.width, patch, strides=patch, padding="VALID", name="embedding")(images)
        b, h, w, d = x.shape
        x = x.reshape(b, h * w, d)

        if self.posemb == "learn":
            normal = nn.initializers.normal(stddev=d**-0.5)
            x = x + self.param("pos_embedding", normal, (1, h * w, d))
        else:
            x = x + sincos2d(h, w, d)
        if self.pool == "tok":
            # After the position embedding: in big_vision the CLS token has no position.
            cls = self.param("cls", nn.initializers.zeros, (1, 1, d))
            x = jnp.concatenate([jnp.tile(cls, [b, 1, 1]), x], axis=1)

        x = Encoder(self.depth, self.mlp_dim, self.num_heads, name="Transformer")(x)
        out = {"encoded": x}

        if self.pool == "gap":
            x = x.mean(axis=1)
        elif self.pool == "tok":
            x = x[:, 0]
        else:
            x = MAPHead(self.mlp_dim, self.num_heads)(x)
        if self.rep_size is not None:
            x = jnp.tanh(nn.Dense(self.rep_size, name="pre_logits")(x))
        out["pre_logits"] = x
        if self.triplet_head is not None:
            out["triplet_head"] = nn.Dense(self.triplet_head, name="triplet_head")(x)
        return out


class Student(NamedTuple):
    """A network's specification, everything but its weights.

    Attributes:
        variant: big_vision's letter and the patch size, as in "Ti/16"; see `VARIANTS`.
        image_size: side of the square images, in pixels.
        pool: "gap", "tok" or "map".
        value_range: what pixel values 0 and 255 become.
        triplet_head: width of the extra linear head on the pre-logits, or None.
        posemb: "learn" or "sincos2d".
        rep_size: width of the dense tanh layer before the pre-logits are read, or None.
    """

    variant: str
    image_size: int
    pool: str
    value_range: tuple[float, float] = (-1.0, 1.0)
    triplet_head: int | None = None
    posemb: str = "learn"
    rep_size: int | None = None


def network(student: Student) -> nn.Module:
    """Builds the linen module of a student.

    Its `apply({"params": params}, images)` gives a dict with "pre_logits" and, where the student
    has one, "triplet_head"; see `ViT`.

    Raises:
        InputError: the specification names no network.
    """
    sizes = _decode_variant(student.variant)
    if student.pool not in ("gap", "tok", "map"):
        raise InputError(f"student pool {student.pool!r} is unknown; expected gap, tok or map.")
    if student.posemb not in ("learn", "sincos2d"):
        raise InputError(
            f"student posemb {student.posemb!r} is unknown; expected learn or sincos2d."
        )
    if student.image_size < 1 or student.image_size % sizes["patch_size"]:
        raise InputError(
            f"student image_size {student.image_size} is not a multiple of the patch size in "
            f"{student.variant!r}."
        )
    return ViT(
        **sizes,
        pool=student.pool,
        posemb=student.posemb,
        rep_size=student.rep_size,
        triplet_head=student.triplet_head,
    )


@functools.partial(jax.jit, static_argnums=0)
def init(student: Student, key: jax.Array) -> Params:
    """Draws random parameters, big_vision's initialisation, float32.

    Args:
        student: what to initialise.
        key: a JAX random key.

    Returns:
        Nested dict of parameters.
    """
    side = student.image_size
    # Compiled as one: operation by operation it takes seconds longer.
    draw = jax.jit(network(student).init)
    return draw(key, jnp.zeros((1, side, side, 3), jnp.float32))["params"]
