"""The Vision Transformer, with big_vision's parameter names, shapes and numerics.

A big_vision checkpoint therefore loads by name, and a network trained here loads there. Names that
come from a class (`MlpBlock_0`, `MAPHead_0`) are part of that agreement: do not rename the classes.
What DINO (Caron et al. 2021), DINOv2 (Oquab et al. 2023; registers: Darcet et al. 2023) and CLIP
(Radford et al. 2021) add is in the specification, `Student`, and off by default.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alignet.errors import InputError
from alignet.students.student import Student, sizes

Params = dict[str, Any]

ACTIVATIONS = {
    "gelu_tanh": functools.partial(nn.gelu, approximate=True),
    "gelu": functools.partial(nn.gelu, approximate=False),
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
}


class Compute(NamedTuple):
    """How a network runs; what it computes stays the same.

    Attributes:
        dtype: of what attention and MLPs compute in, "float32" or "bfloat16"; parameters, the
            residual stream and read-outs are float32.
        scan: compile one block and loop over it; the parameters are then in the scanned layout,
            see `layouts.to_scan`. Compiles in a fraction of the time, runs a little slower.
        remat: recompute a block's activations in the backward pass instead of keeping them.
        backend: "alignet", or "big_vision" where that is importable.
    """

    dtype: str = "float32"
    scan: bool = False
    remat: bool = False
    backend: str = "alignet"


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


def _fused_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, **_: Any
) -> Float[Array, "b q h d"]:
    return jax.nn.dot_product_attention(query, key, value)


def _norm(eps: float, name: str | None = None) -> nn.Module:
    # Not E[x²] − E[x]²: some pretrained tokens are a thousand times larger in one channel, and
    # the stable form takes no longer.
    return nn.LayerNorm(epsilon=eps, use_fast_variance=False, name=name)


class Block(nn.Module):
    """What the attention and the MLP of a block need to know."""

    mlp_dim: int
    num_heads: int
    activation: str
    norm_eps: float
    dtype: str

    def norm(self) -> nn.Module:
        return _norm(self.norm_eps)

    def attention(self) -> nn.Module:
        return nn.MultiHeadDotProductAttention(
            num_heads=self.num_heads,
            kernel_init=nn.initializers.xavier_uniform(),
            deterministic=True,
            dtype=self.dtype,
            attention_fn=_fused_attention,
            name="MultiHeadDotProductAttention_0",
        )

    def mlp(self) -> nn.Module:
        return MlpBlock(self.mlp_dim, self.activation, self.dtype, name="MlpBlock_0")


class MlpBlock(nn.Module):
    """Dense, GELU, Dense."""

    mlp_dim: int
    activation: str
    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        init = {
            "kernel_init": nn.initializers.xavier_uniform(),
            "bias_init": nn.initializers.normal(stddev=1e-6),
            "dtype": self.dtype,
        }
        hidden = ACTIVATIONS[self.activation](nn.Dense(self.mlp_dim, **init)(x))
        return nn.Dense(x.shape[-1], **init)(hidden)


class EncoderBlock(Block):
    """Pre-norm self-attention and MLP, each with a residual connection.

    Returns its output twice, as `nn.scan` wants it: to go on with and to keep.
    """

    layer_scale: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"]
    ) -> tuple[Float[Array, "b n d"], Float[Array, "b n d"]]:
        y = self.norm()(x)
        x = x + self._scale(self.attention()(y, y), "layer_scale_0")
        y = self.mlp()(self.norm()(x))
        x = x + self._scale(y, "layer_scale_1")
        return x, x

    def _scale(self, x: Float[Array, "b n d"], name: str) -> Float[Array, "b n d"]:
        if not self.layer_scale:
            return x
        # DINOv2's initial value; every pretrained one replaces it.
        return x * self.param(name, nn.initializers.constant(1e-5), (x.shape[-1],))


class Encoder(nn.Module):
    """A stack of blocks and a final norm; returns every block's output as well."""

    depth: int
    block: dict[str, Any]
    scan: bool
    remat: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"]
    ) -> tuple[Float[Array, "b n d"], list[Float[Array, "b n d"]]]:
        block = nn.remat(EncoderBlock, prevent_cse=not self.scan) if self.remat else EncoderBlock
        if self.scan:
            stack = nn.scan(
                block,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=self.depth,
            )
            x, outputs = stack(**self.block, name="encoderblock")(x)
            outputs = [outputs[layer] for layer in range(self.depth)]
        else:
            outputs = []
            for layer in range(self.depth):
                x, output = block(**self.block, name=f"encoderblock_{layer}")(x)
                outputs.append(output)
        return _norm(self.block["norm_eps"], "encoder_norm")(x), outputs


class MAPHead(Block):
    """Attention pooling: one learned query over all tokens, then an MLP (SigLIP's read-out)."""

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b d"]:
        d = x.shape[-1]
        probe = self.param("probe", nn.initializers.xavier_uniform(), (1, 1, d))
        x = self.attention()(jnp.tile(probe, [len(x), 1, 1]), x)
        x = x + self.mlp()(self.norm()(x))
        return x[:, 0]


class ViT(nn.Module):
    """A Vision Transformer; `network` builds it.

    Attributes:
        student: the specification.
        compute: how it runs.
    """

    student: Student
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, images: Float[Array | np.ndarray, "b h w 3"]) -> dict[str, Any]:
        """Embeds a batch of preprocessed images.

        Args:
            images: square images, normalised as `student.preprocessing` says.

        Returns:
            "blocks": every block's output, a list of [b, n, width]: the CLS token, registers,
                then the patches, row by row;
            "encoded": the last of them after the final norm;
            "pre_logits": the read-out, float32 [b, width or rep_size or projection];
            "logits" and "triplet_head": those heads' outputs, where there are such heads.
        """
        student, dtype = self.student, self.compute.dtype
        width, depth, mlp_dim, num_heads, patch = sizes(student)
        x = nn.Conv(
            width,
            (patch, patch),
            strides=(patch, patch),
            padding="VALID",
            use_bias=student.patch_bias,
            dtype=dtype,
            name="embedding",
        )(images)
        b, h, w, d = x.shape
        # From here on float32: blocks add to the residual stream what they compute in `dtype`.
        x = self._tokens(x.reshape(b, h * w, d).astype(jnp.float32), (h, w))
        if student.pre_norm:
            x = _norm(student.norm_eps, "pre_norm")(x)

        block = {
            "mlp_dim": mlp_dim,
            "num_heads": num_heads,
            "activation": student.activation,
            "norm_eps": student.norm_eps,
            "dtype": dtype,
        }
        x, blocks = Encoder(
            depth,
            block | {"layer_scale": student.layer_scale},
            self.compute.scan,
            self.compute.remat,
            name="Transformer",
        )(x)
        out = {"blocks": blocks, "encoded": x}

        if student.pool == "gap":
            x = x.mean(axis=1)
        elif student.pool == "tok":
            x = x[:, 0]
        else:
            x = MAPHead(**block, name="MAPHead_0")(x)
        if student.rep_size is not None:
            x = jnp.tanh(nn.Dense(student.rep_size, dtype=dtype, name="pre_logits")(x))
        if student.projection is not None:
            dense = nn.Dense(student.projection, use_bias=False, dtype=dtype, name="projection")
            x = dense(x)
        zeros, lecun = nn.initializers.zeros, nn.initializers.lecun_normal()
        for name, output, features, kernel_init in (
            ("head", "logits", student.num_classes, zeros),
            ("triplet_head", "triplet_head", student.triplet_head, lecun),
        ):
            if features is not None:
                dense = nn.Dense(features, dtype=dtype, kernel_init=kernel_init, name=name)
                out[output] = dense(x).astype(jnp.float32)
        if student.layer is not None:
            x = blocks[student.layer]
            x = x[:, 0] if student.pool == "tok" else x.mean(axis=1)
        out["pre_logits"] = x.astype(jnp.float32)
        return out

    def _tokens(
        self, x: Float[Array, "b n d"], grid: tuple[int, int]
    ) -> Float[Array, "b tokens d"]:
        """Adds positions, the CLS token and registers."""
        student = self.student
        b, n, d = x.shape
        if student.posemb == "learn":
            rows = n + student.cls_position
            normal = nn.initializers.normal(stddev=d**-0.5)
            positions = self.param("pos_embedding", normal, (1, rows, d))
        else:
            positions = sincos2d(*grid, d)
        if student.pool != "tok":
            return x + positions
        cls = self.param("cls", nn.initializers.zeros, (1, 1, d))
        if student.cls_position:
            cls = cls + positions[:, :1]
        x = x + positions[:, student.cls_position :]
        extra = [cls]
        if student.registers:
            normal = nn.initializers.normal(stddev=0.02)
            extra.append(self.param("registers", normal, (1, student.registers, d)))
        extra = [jnp.tile(token, [b, 1, 1]) for token in extra]
        return jnp.concatenate([*extra, x], axis=1)


def network(student: Student, compute: Compute = Compute()) -> nn.Module:
    """Builds the linen module of a student.

    Its `apply({"params": params}, images)` gives a dict with "pre_logits" and more; see `ViT`.

    Raises:
        InputError: the specification names no network, or the backend is not there.
    """
    sizes(student)
    if compute.dtype not in ("float32", "bfloat16"):
        raise InputError(f"compute dtype {compute.dtype!r}; expected float32 or bfloat16.")
    if compute.backend == "big_vision":
        from alignet.students import big_vision_backend

        return big_vision_backend.network(student, compute)
    if compute.backend != "alignet":
        raise InputError(f"backend {compute.backend!r} is unknown; expected alignet or big_vision.")
    return ViT(student, compute)


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
