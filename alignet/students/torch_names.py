"""Names and shapes of Hugging Face transformers' and timm's image towers, and ours.

The values are the same, only named and arranged differently: PyTorch keeps a linear layer as
[out, in], a convolution as [out, in, height, width], and the heads of attention side by side in
one dimension. A checkpoint of either library becomes ours by `adjust`, which says what the layout
implies about the network, and `from_torch`; `to_torch` is the way back, to transformers.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from alignet.students import torch_config
from alignet.students.student import Preprocessing, Student, sizes

_ATTENTION = "MultiHeadDotProductAttention_0"
_MLP = "MlpBlock_0"


class _Layout(NamedTuple):
    """Their modules and single parameters, each with our name for it.

    Attributes:
        mark: a parameter that tells this layout from those after it in `_LAYOUTS`.
        tower: everything in the image tower outside its blocks.
        blocks: the path of the blocks.
        block: everything in one block.
        beside: what lies outside the image tower, whatever the tower's prefix is.
    """

    mark: str
    tower: dict[str, str]
    blocks: str
    block: dict[str, str]
    beside: dict[str, str]


# CLIP's and SigLIP's blocks.
_CLIP_BLOCK = {
    "layer_norm1": "LayerNorm_0",
    "self_attn.q_proj": f"{_ATTENTION}/query",
    "self_attn.k_proj": f"{_ATTENTION}/key",
    "self_attn.v_proj": f"{_ATTENTION}/value",
    "self_attn.out_proj": f"{_ATTENTION}/out",
    "layer_norm2": "LayerNorm_1",
    "mlp.fc1": f"{_MLP}/Dense_0",
    "mlp.fc2": f"{_MLP}/Dense_1",
}
# ViT's and DINOv2's, as far as they agree.
_VIT_TOWER = {
    "embeddings.cls_token": "cls",
    "embeddings.position_embeddings": "pos_embedding",
    "embeddings.register_tokens": "registers",
    "embeddings.patch_embeddings.projection": "embedding",
    "layernorm": "Transformer/encoder_norm",
}
_VIT_ATTENTION = {
    "attention.attention.query": f"{_ATTENTION}/query",
    "attention.attention.key": f"{_ATTENTION}/key",
    "attention.attention.value": f"{_ATTENTION}/value",
    "attention.output.dense": f"{_ATTENTION}/out",
}

_LAYOUTS = {
    "hf_clip": _Layout(
        mark="pre_layrnorm.weight",  # theirs, sic
        tower={
            "embeddings.class_embedding": "cls",
            "embeddings.position_embedding.weight": "pos_embedding",
            "embeddings.patch_embedding": "embedding",
            "pre_layrnorm": "pre_norm",
            "post_layernorm": "Transformer/encoder_norm",
        },
        blocks="encoder.layers",
        block=_CLIP_BLOCK,
        beside={"visual_projection": "projection"},
    ),
    # SigLIP 2 as well; in its NaFlex form the patch embedding is a linear layer.
    "hf_siglip": _Layout(
        mark="embeddings.patch_embedding.weight",
        tower={
            "embeddings.position_embedding.weight": "pos_embedding",
            "embeddings.patch_embedding": "embedding",
            "post_layernorm": "Transformer/encoder_norm",
            "head.probe": "MAPHead_0/probe",
            "head.attention.in_proj_weight": f"MAPHead_0/{_ATTENTION}/qkv/kernel",
            "head.attention.in_proj_bias": f"MAPHead_0/{_ATTENTION}/qkv/bias",
            "head.attention.out_proj": f"MAPHead_0/{_ATTENTION}/out",
            "head.layernorm": "MAPHead_0/LayerNorm_0",
            "head.mlp.fc1": f"MAPHead_0/{_MLP}/Dense_0",
            "head.mlp.fc2": f"MAPHead_0/{_MLP}/Dense_1",
        },
        blocks="encoder.layers",
        block=_CLIP_BLOCK,
        beside={},
    ),
    # With registers or without.
    "hf_dinov2": _Layout(
        mark="encoder.layer.0.layer_scale1.lambda1",
        tower=_VIT_TOWER,
        blocks="encoder.layer",
        block=_VIT_ATTENTION
        | {
            "norm1": "LayerNorm_0",
            "layer_scale1.lambda1": "layer_scale_0",
            "norm2": "LayerNorm_1",
            "mlp.fc1": f"{_MLP}/Dense_0",
            "mlp.fc2": f"{_MLP}/Dense_1",
            "layer_scale2.lambda1": "layer_scale_1",
        },
        beside={},
    ),
    # Supervised ViTs and DINO.
    "hf_vit": _Layout(
        mark="encoder.layer.0.layernorm_before.weight",
        tower=_VIT_TOWER,
        blocks="encoder.layer",
        block=_VIT_ATTENTION
        | {
            "layernorm_before": "LayerNorm_0",
            "layernorm_after": "LayerNorm_1",
            "intermediate.dense": f"{_MLP}/Dense_0",
            "output.dense": f"{_MLP}/Dense_1",
        },
        beside={"classifier": "head"},
    ),
    # Supervised ViTs, DINO, and DINOv2 with registers or without.
    "timm_vit": _Layout(
        mark="blocks.0.attn.qkv.weight",
        tower={
            "cls_token": "cls",
            "pos_embed": "pos_embedding",
            "reg_token": "registers",
            "patch_embed.proj": "embedding",
            "norm": "Transformer/encoder_norm",
        },
        blocks="blocks",
        block={
            "norm1": "LayerNorm_0",
            "attn.qkv": f"{_ATTENTION}/qkv",
            "attn.proj": f"{_ATTENTION}/out",
            "ls1.gamma": "layer_scale_0",
            "norm2": "LayerNorm_1",
            "mlp.fc1": f"{_MLP}/Dense_0",
            "mlp.fc2": f"{_MLP}/Dense_1",
            "ls2.gamma": "layer_scale_1",
        },
        beside={"head": "head"},
    ),
}

# What is a parameter by itself; everything else in the tables is a module with weight and bias.
_SINGLE = {"cls", "pos_embedding", "registers", "probe", "layer_scale_0", "layer_scale_1"}
_SINGLE |= {"kernel", "bias"}
_NORMS = {"LayerNorm_0", "LayerNorm_1", "encoder_norm", "pre_norm"}
_QKV = ("query", "key", "value")
# The specification's fields for the widths of heads.
_WIDTHS = {"head": "num_classes", "triplet_head": "triplet_head"}

# Parts of a checkpoint that are no part of an image tower, or not of its features.
_LEFT_OUT = {
    "text_model",
    "text_projection",
    "logit_scale",
    "logit_bias",
    "mask_token",
    "pooler",
    "position_ids",
}


def recognise(names: Collection[str]) -> str | None:
    """Tells whose checkpoint has parameters of these names.

    Args:
        names: of all parameters in the file or files.

    Returns:
        "hf_clip", "hf_siglip", "hf_dinov2", "hf_vit" or "timm_vit"; None for none of them.
    """
    for layout in _LAYOUTS:
        if _prefix(layout, names) is not None:
            return layout
    return None


def adjust(
    layout: str,
    student: Student,
    arrays: Mapping[str, np.ndarray],
    config: Mapping[str, Any] | None = None,
) -> Student:
    """Says what a checkpoint implies about its network and the table of models does not.

    ViTs of both libraries have a position for the CLS token and the exact GELU, which big_vision's
    have not, and are fed otherwise. Checkpoints of CLIP differ in their activation and agree in
    everything else, so that only the config can tell.

    Args:
        layout: from `recognise`.
        student: the row of the table.
        arrays: the checkpoint's parameters under their own names.
        config: what `config.json` beside a transformers checkpoint says, if it is there.

    Returns:
        The student as this checkpoint has it.

    Raises:
        InputError: the config names an activation or an epsilon that we have not.
    """
    if layout in ("hf_vit", "timm_vit") and student.pool == "tok":
        if not student.cls_position:
            student = student._replace(preprocessing=_fed(layout, student.image_size))
        student = student._replace(
            posemb="learn",
            cls_position=True,
            activation="gelu",
            norm_eps=1e-12 if layout == "hf_vit" else 1e-6,  # the default in either library
        )
    for theirs, ours in _beside(layout).items():
        if ours in _WIDTHS and f"{theirs}.bias" in arrays:
            student = student._replace(**{_WIDTHS[ours]: arrays[f"{theirs}.bias"].size})
    if config is not None and layout != "timm_vit":
        student = torch_config.configured(student, config)
    return student


def from_torch(
    layout: str, arrays: Mapping[str, np.ndarray], student: Student
) -> dict[str, np.ndarray]:
    """Translates a checkpoint's image tower.

    Left out are text towers, logit scales, poolers, mask tokens, buffers, and classifiers that are
    not linear in the read-out. The position embedding keeps the checkpoint's grid.

    Args:
        layout: from `recognise`.
        arrays: the checkpoint's parameters under their own names.
        student: from `adjust`; of another architecture than the checkpoint, it decides the number
            of blocks and heads.

    Returns:
        Our parameters by their path, such as "Transformer/encoder_norm/scale". What cannot be
        translated is there under its own name.
    """
    prefix = _prefix(layout, arrays) or ""
    names = _names(layout, student)
    flat = {}
    for theirs in arrays:
        name = theirs.removeprefix(prefix)
        ours = names.get(name)
        if ours is None and (name.split(".")[0] == "classifier" or _LEFT_OUT & {*name.split(".")}):
            continue
        array = arrays[theirs]  # only now: a file's are read one by one
        try:
            flat |= {theirs: array} if ours is None else _to_ours(ours, array, student)
        except (ValueError, IndexError):  # of a shape that cannot be rearranged
            flat[theirs] = array
    return flat


def to_torch(
    student: Student, flat: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Translates a student for Hugging Face transformers.

    With the arrays in `model.safetensors` (metadata {"format": "pt"}) and the dict in
    `config.json`, `AutoModel.from_pretrained(folder)` gives the network. Our read-out is
    `pooler_output` of SigLIP and DINOv2, `image_embeds` of CLIP with a projection
    (`CLIPVisionModelWithProjection`), and `last_hidden_state[:, 0]` of ViT, whose own pooler is
    no part of ours (`add_pooling_layer=False`). A triplet head is stored as an extra tensor that
    transformers reports and ignores. A CLS token without position gets a row of zeros.

    Args:
        student: the network.
        flat: its parameters by their path, without "params/", all of them (`weights.checked`).

    Returns:
        Their parameters, under the names that published checkpoints have, and the config.

    Raises:
        InputError: no family of transformers has such a network.
    """
    layout = torch_config.family(student)
    if layout in ("hf_clip", "hf_siglip"):
        prefix = "vision_model."
    else:
        prefix = "" if student.num_classes is None else "vit."
    if student.pool == "tok" and not student.cls_position:
        flat = {**flat, "pos_embedding": _with_cls_row(flat["pos_embedding"])}
    arrays = {}
    for theirs, ours in _names(layout, student).items():
        parts = [ours.replace("/qkv/", f"/{part}/") for part in _QKV] if "/qkv/" in ours else [ours]
        if parts[0] not in flat:  # a bias or a head that this student has not
            continue
        name = theirs if theirs.split(".")[0] in _beside(layout) else prefix + theirs
        array = np.concatenate([_to_theirs(part, flat[part], layout) for part in parts])
        # safetensors writes bytes as they lie in memory, whatever the strides.
        arrays[name] = np.ascontiguousarray(array)
    if layout == "hf_dinov2":
        # Only training needs it, but the model has it.
        arrays["embeddings.mask_token"] = np.zeros((1, sizes(student).width), np.float32)
    return arrays, torch_config.config(layout, student)


def _prefix(layout: str, names: Collection[str]) -> str | None:
    mark = _LAYOUTS[layout].mark
    found = [n.removesuffix(mark) for n in names if n == mark or n.endswith(f".{mark}")]
    return min(found, default=None)


def _beside(layout: str) -> dict[str, str]:
    # A triplet head is ours alone, and stored under our name.
    return _LAYOUTS[layout].beside | {"triplet_head": "triplet_head"}


def _names(layout: str, student: Student) -> dict[str, str]:
    """Every parameter that a student of this layout can have: their name and ours."""
    table = _LAYOUTS[layout]
    modules = table.tower | _beside(layout)
    for layer in range(sizes(student).depth):
        for theirs, ours in table.block.items():
            modules[f"{table.blocks}.{layer}.{theirs}"] = f"Transformer/encoderblock_{layer}/{ours}"
    return {t: o for module in modules.items() for t, o in _parameters(*module)}


def _parameters(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    last = ours.split("/")[-1]
    if last in _SINGLE:
        yield theirs, ours
    else:
        yield f"{theirs}.weight", f"{ours}/{'scale' if last in _NORMS else 'kernel'}"
        yield f"{theirs}.bias", f"{ours}/bias"


def _to_ours(name: str, array: np.ndarray, student: Student) -> dict[str, np.ndarray]:
    if "/qkv/" in name:
        flat = {}
        for part, piece in zip(_QKV, np.split(array, 3), strict=True):
            flat |= _to_ours(name.replace("/qkv/", f"/{part}/"), piece, student)
        return flat
    _, _, _, heads, patch = sizes(student)
    module, leaf = name.split("/")[-2:] if "/" in name else ("", name)
    if leaf == "kernel":
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        if module == "embedding" and array.ndim == 2:
            # NaFlex: a patch's pixels row by row, a pixel's channels together.
            array = array.reshape(patch, patch, 3, -1)
        elif module in _QKV:
            array = array.reshape(len(array), heads, -1)
        elif module == "out":
            array = array.reshape(heads, -1, array.shape[-1])
    elif leaf == "bias" and module in _QKV:
        array = array.reshape(heads, -1)
    elif leaf in ("cls", "pos_embedding"):
        array = array.reshape(1, -1, array.shape[-1])
        if leaf == "pos_embedding" and student.cls_position and _is_square(array.shape[1]):
            # With registers, timm adds the CLS token's position to the token itself.
            array = _with_cls_row(array)
    return {name: array}


def _to_theirs(name: str, array: np.ndarray, layout: str) -> np.ndarray:
    module, leaf = name.split("/")[-2:] if "/" in name else ("", name)
    if leaf == "kernel":
        if array.ndim == 4:
            return array.transpose(3, 2, 0, 1)
        inputs = len(array) if module in _QKV else math.prod(array.shape[:-1])
        return array.reshape(inputs, -1).T
    if leaf == "bias":
        return array.reshape(-1)
    if leaf == "cls" and layout == "hf_clip":
        return array.reshape(-1)
    if leaf == "pos_embedding" and layout in ("hf_clip", "hf_siglip"):
        return array[0]
    return array


def _with_cls_row(positions: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(positions[:, :1]), positions], axis=1)


def _is_square(n: int) -> bool:
    return math.isqrt(n) ** 2 == n


def _fed(layout: str, side: int) -> Preprocessing:
    """How the libraries feed supervised ViTs; the mean and std of 0.5 are big_vision's."""
    if layout == "hf_vit":
        return Preprocessing(interpolation="bilinear")
    # timm's `crop_pct`: 0.9 for the networks of 224 pixels, 1 for those fine-tuned on more.
    return Preprocessing(resize="crop", short_side=248 if side == 224 else None)
