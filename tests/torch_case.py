"""Students beside the networks of transformers and timm, for the tests of their parity."""

import json
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from alignet import students
from alignet.students import layouts, torch_names, zoo
from alignet.students.student import at_resolution, sizes
from tests.torch_library import torch

transformers = pytest.importorskip("transformers", reason="tests/requirements.txt")


def row(name, side=None, depth=None):
    student = zoo.find(name).student
    letter, patch = student.variant.split("/")
    student = at_resolution(student, side or student.image_size)
    return student._replace(variant=f"{letter}-{depth}/{patch}") if depth else student


# --- their networks ---

TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 50,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def redraw(model, seed=0):
    """Draws every parameter anew, so that each matters and the activations stay of order one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1 and not name.endswith(("bias", "class_embedding")):
                parameter.copy_(1 + 0.3 * noise)  # norms and layer scales
            elif name.endswith("weight") and parameter.ndim > 1 and "position" not in name:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(0.3 * noise)
    return model.eval()


def common(student):
    width, depth, mlp_dim, heads, patch = sizes(student)
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": mlp_dim,
        "image_size": student.image_size,
        "patch_size": patch,
    }


def siglip(student):
    return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**common(student)))


def whole_siglip(student):
    return transformers.SiglipModel(
        transformers.SiglipConfig(text_config=TEXT, vision_config=common(student))
    )


def naflex(student):
    vision = common(student)
    vision["num_patches"] = (vision.pop("image_size") // vision["patch_size"]) ** 2
    return transformers.Siglip2VisionModel(transformers.Siglip2VisionConfig(**vision))


def clip(student):
    config = transformers.CLIPVisionConfig(**common(student), projection_dim=student.projection)
    return transformers.CLIPVisionModelWithProjection(config)


def whole_clip(student):
    return transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=TEXT, vision_config=common(student), projection_dim=student.projection
        )
    )


def dinov2(student):
    config = common(student)
    config["mlp_ratio"] = config.pop("intermediate_size") // config["hidden_size"]
    if student.registers:
        return transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**config, num_register_tokens=student.registers)
        )
    return transformers.Dinov2Model(transformers.Dinov2Config(**config))


def dinov2_classifier(student):
    config = dinov2(student).config
    return transformers.Dinov2ForImageClassification(config)


def vit(student):
    return transformers.ViTModel(transformers.ViTConfig(**common(student)))


def vit_classifier(student):
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(**common(student), num_labels=7)
    )


def timm(name, **options):
    def build(student):
        library = pytest.importorskip("timm", reason="tests/requirements-no-deps.txt")
        depth = sizes(student).depth
        return library.create_model(
            name, img_size=student.image_size, depth=depth, weight_init="skip", **options
        )

    return build


# --- what they give, and what ours give ---


def random_pixels(student):
    shape = (2, student.image_size, student.image_size, 3)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def theirs(model, pixels):
    """Every block's output, the last one normalised, the read-out and the logits."""
    modules = dict(model.named_modules())
    blocks = [
        module
        for name, module in modules.items()
        if re.search(r"(^|\.)(layers?|blocks)\.\d+$", name) and "text_model" not in name
    ]
    (norm,) = [
        module
        for name, module in modules.items()
        if re.fullmatch(r"((vision_model|vit|dinov2)\.)?(post_layernorm|layernorm|norm)", name)
    ]
    outputs = []
    for block in blocks:
        block.register_forward_hook(
            lambda _, __, out: outputs.append(out[0] if isinstance(out, tuple) else out)
        )
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    kind = type(model).__name__
    with torch.no_grad():
        if kind == "Siglip2VisionModel":
            patch = model.config.patch_size
            n, side = len(pixels), pixels.shape[1] // patch
            patches = pixels.reshape(n, side, patch, side, patch, 3).transpose(0, 1, 3, 2, 4, 5)
            out = model(
                torch.from_numpy(patches.reshape(n, side * side, -1).copy()),
                torch.ones(n, side * side),
                torch.full((n, 2), side),
            )
        elif kind == "SiglipModel":
            out = model.vision_model(images)
        elif kind == "CLIPModel":
            out = model.get_image_features(images)
        else:
            out = model(images)
        encoded = norm(outputs[-1])
        logits = None
        if kind == "CLIPVisionModelWithProjection":
            read_out = out.image_embeds
        elif kind.startswith(("Siglip", "CLIP")):
            read_out = out.pooler_output
        elif kind == "VisionTransformer":
            read_out, logits = (encoded[:, 0], out) if model.num_classes else (out, None)
        else:
            read_out = encoded[:, 0]
            logits = out.logits if kind == "ViTForImageClassification" else None
    found = {f"block {i}": block for i, block in enumerate(outputs)}
    found |= {"encoded": encoded, "read-out": read_out}
    found |= {} if logits is None else {"logits": logits}
    return {key: value.numpy() for key, value in found.items()}


def ours(student, flat, pixels):
    # In scanned form: compiled twelve times as fast.
    params = layouts.to_scan(layouts.unflatten(flat, ""))
    apply = jax.jit(students.network(student, students.Compute(scan=True)).apply)
    with jax.default_matmul_precision("highest"):
        out = apply({"params": params}, pixels)
    found = {f"block {i}": block for i, block in enumerate(out["blocks"])}
    found |= {"encoded": out["encoded"], "read-out": out["pre_logits"]}
    return found | ({"logits": out["logits"]} if student.num_classes else {})


def exported(folder, student, flat):
    """What transformers makes of a student's export, and what it said about it."""
    arrays, config = torch_names.to_torch(student, flat)
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    network = getattr(transformers, config["architectures"][0])
    options = {"add_pooling_layer": False} if network is transformers.ViTModel else {}
    return network.from_pretrained(folder, output_loading_info=True, **options)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)
