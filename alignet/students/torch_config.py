"""The `config.json` of Hugging Face transformers and our specification of a student."""

from collections.abc import Mapping
from typing import Any

from alignet.errors import InputError
from alignet.students.student import Student, sizes

# Theirs and ours; of two with the same meaning the first is written.
_ACTIVATIONS = {
    "gelu": "gelu",
    "quick_gelu": "quick_gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}

# What a family of networks in transformers cannot be without, or cannot have.
_FIXED = {
    "hf_siglip": {"pre_norm": False, "layer_scale": False, "projection": None},
    "hf_clip": {"patch_bias": False, "layer_scale": False, "registers": 0},
    "hf_dinov2": {"projection": None},
    "hf_vit": {"projection": None, "registers": 0},
}
_FIXED_EVERYWHERE = {"posemb": "learn", "rep_size": None, "layer": None}


def configured(student: Student, config: Mapping[str, Any]) -> Student:
    """Takes over the activation and the epsilon of the norms, which parameters do not show.

    Args:
        student: the specification.
        config: of an image tower, or of a whole CLIP or SigLIP.

    Returns:
        The specification with what the config says.

    Raises:
        InputError: the config names an activation that we have not, or an epsilon that is none.
    """
    config = _of_tower(config)
    activation = config.get("hidden_act")
    if activation is not None:
        if not isinstance(activation, str) or activation not in _ACTIVATIONS:
            raise InputError(
                f"config.json: hidden_act is {activation!r}; "
                f"expected one of {', '.join(_ACTIVATIONS)}."
            )
        student = student._replace(activation=_ACTIVATIONS[activation])
    eps = config.get("layer_norm_eps")
    if eps is not None:
        if not (isinstance(eps, float) and 0 < eps < 1):
            raise InputError(
                f"config.json: layer_norm_eps is {eps!r}; expected a number between 0 and 1."
            )
        student = student._replace(norm_eps=eps)
    return student


def check_heads(student: Student, config: Mapping[str, Any]) -> None:
    """Compares the number of attention heads, which no parameter's shape shows.

    Raises:
        InputError: the config has another number than the student.
    """
    found, expected = _of_tower(config).get("num_attention_heads"), sizes(student).num_heads
    if found is not None and found != expected:
        raise InputError(
            f"config.json: num_attention_heads is {found!r}; expected {expected}, as "
            f"{student.variant} has."
        )


def _of_tower(config: Mapping[str, Any]) -> Mapping[str, Any]:
    tower = config.get("vision_config")
    return tower if isinstance(tower, Mapping) else config


def family(student: Student) -> str:
    """Finds the family of transformers that has this network.

    Args:
        student: the specification.

    Returns:
        "hf_siglip", "hf_clip", "hf_dinov2" or "hf_vit".

    Raises:
        InputError: none has; the message names the first field that has no place there.
    """
    width, _, mlp_dim, _, _ = sizes(student)
    if student.pool == "map":
        layout = "hf_siglip"
    elif student.pre_norm:
        layout = "hf_clip"
    else:
        layout = "hf_dinov2" if student.layer_scale else "hf_vit"
    fixed = {"pool": "map" if layout == "hf_siglip" else "tok", "patch_bias": True}
    if layout != "hf_vit":
        fixed["num_classes"] = None
    for field, expected in (fixed | _FIXED_EVERYWHERE | _FIXED[layout]).items():
        value = getattr(student, field)
        if value != expected:
            raise InputError(
                f"student {field} {value!r} has no place in the {layout.removeprefix('hf_')} "
                f"networks of Hugging Face transformers; expected {expected!r}, or weights in "
                "alignet's own format."
            )
    if layout == "hf_dinov2" and mlp_dim % width:
        raise InputError(
            f"student variant {student.variant}: the width {mlp_dim} of its MLPs is no multiple "
            f"of {width}, as Hugging Face's dinov2 expects."
        )
    return layout


def config(layout: str, student: Student) -> dict[str, Any]:
    """Says in their words what the network is.

    Args:
        layout: from `family`.
        student: the specification.

    Returns:
        The content of `config.json`.
    """
    width, depth, mlp_dim, num_heads, patch = sizes(student)
    if layout == "hf_siglip":
        named = {"model_type": "siglip_vision_model", "architectures": ["SiglipVisionModel"]}
    elif layout == "hf_clip" and student.projection is not None:
        named = {
            "model_type": "clip_vision_model",
            "architectures": ["CLIPVisionModelWithProjection"],
            "projection_dim": student.projection,
        }
    elif layout == "hf_clip":
        named = {"model_type": "clip_vision_model", "architectures": ["CLIPVisionModel"]}
    elif student.registers:
        named = {
            "model_type": "dinov2_with_registers",
            "architectures": ["Dinov2WithRegistersModel"],
            "num_register_tokens": student.registers,
        }
    elif layout == "hf_dinov2":
        named = {"model_type": "dinov2", "architectures": ["Dinov2Model"]}
    elif student.num_classes is not None:
        named = {
            "model_type": "vit",
            "architectures": ["ViTForImageClassification"],
            "num_labels": student.num_classes,
        }
    else:
        named = {"model_type": "vit", "architectures": ["ViTModel"]}
    if layout == "hf_dinov2":
        named["mlp_ratio"] = mlp_dim // width
    else:
        named["intermediate_size"] = mlp_dim
    return named | {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": num_heads,
        "hidden_act": next(t for t, ours in _ACTIVATIONS.items() if ours == student.activation),
        "layer_norm_eps": student.norm_eps,
        "image_size": student.image_size,
        "patch_size": patch,
        "num_channels": 3,
    }
