"""Students against the networks of transformers and timm: the same weights, the same numbers.

Every network is real but for its weights, which are random, and, where that says nothing new, its
depth and the number of its pixels.
"""

import json
import re
import shutil
from typing import NamedTuple

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, torch_names, zoo
from alignet.students import student as specification

torch = pytest.importorskip("torch", reason="parity with PyTorch: tests/requirements.txt")
try:
    import torchvision  # noqa: F401
except RuntimeError:
    # Its kernels are absent from CPU builds; importing it asks only for these two names.
    OPERATORS = torch.library.Library("torchvision", "DEF")
    OPERATORS.define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    OPERATORS.define("qnms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
except ImportError:
    pass
transformers = pytest.importorskip("transformers", reason="tests/requirements.txt")
save_torch = pytest.importorskip("safetensors.torch").save_file
no_init_weights = pytest.importorskip("transformers.initialization").no_init_weights

TOLERANCE = 2e-4
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 50,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(autouse=True, scope="module")
def short_networks():
    with pytest.MonkeyPatch.context() as patch:
        for letter in ("B", "L", "So400m"):
            width, _, *rest = specification.VARIANTS[letter]
            patch.setitem(specification.VARIANTS, f"{letter}-short", (width, 2, *rest))
        yield


def row(name, side=None, depth=None):
    student = zoo.find(name).student
    letter, patch = student.variant.split("/")
    return student._replace(
        image_size=side or student.image_size,
        variant=f"{letter}-{depth}/{patch}" if depth else student.variant,
    )


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
    width, depth, mlp_dim, heads, patch = specification.sizes(student)
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
        depth = specification.sizes(student).depth
        return library.create_model(
            name, img_size=student.image_size, depth=depth, weight_init="skip", **options
        )

    return build


# Our row, their network, the layout of its checkpoint.
CASES = {
    "siglip": (row("siglip-b16"), siglip, "hf_siglip"),
    "siglip whole": (row("siglip-b16", 64, "short"), whole_siglip, "hf_siglip"),
    "siglip so400m": (row("siglip-so400m-14", 56, "short"), siglip, "hf_siglip"),
    "siglip2": (row("siglip2-b16", 64, "short"), siglip, "hf_siglip"),
    "siglip2 naflex": (row("siglip2-b16", 64, "short"), naflex, "hf_siglip"),
    "clip b16": (row("clip-b16", 64, "short"), clip, "hf_clip"),
    "clip b32": (row("clip-b32"), clip, "hf_clip"),
    "clip l14": (row("clip-l14", 56, "short"), clip, "hf_clip"),
    "clip whole": (row("clip-b16", 64, "short"), whole_clip, "hf_clip"),
    "dinov2 s14": (row("dinov2-s14"), dinov2, "hf_dinov2"),
    "dinov2 b14": (row("dinov2-b14", 56, "short"), dinov2, "hf_dinov2"),
    "dinov2 l14": (row("dinov2-l14", 56, "short"), dinov2, "hf_dinov2"),
    "dinov2 registers": (row("dinov2-s14-reg", 56), dinov2, "hf_dinov2"),
    "dinov2 classifier": (row("dinov2-s14", 56), dinov2_classifier, "hf_dinov2"),
    "dino s16": (row("dinov1-s16"), vit, "hf_vit"),
    "dino b16": (row("dinov1-b16", 64, "short"), vit, "hf_vit"),
    "vit b16": (row("vit-b16", 64, "short"), vit_classifier, "hf_vit"),
    "timm dino s16": (row("dinov1-s16", 64), timm("vit_small_patch16_224.dino"), "timm_vit"),
    "timm dino b16": (
        row("dinov1-b16", 64, "short"),
        timm("vit_base_patch16_224.dino"),
        "timm_vit",
    ),
    "timm dinov2": (row("dinov2-s14", 56), timm("vit_small_patch14_dinov2.lvd142m"), "timm_vit"),
    "timm dinov2 registers": (
        row("dinov2-s14-reg", 56),
        timm("vit_small_patch14_reg4_dinov2.lvd142m"),
        "timm_vit",
    ),
    "timm vit b16": (
        row("vit-b16", 64, "short"),
        timm("vit_base_patch16_224.augreg_in1k", num_classes=7),
        "timm_vit",
    ),
}


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    shutil.rmtree(tmp_path)  # hundreds of megabytes, which pytest would keep


class Case(NamedTuple):
    """A checkpoint as the library writes it, and our translation."""

    name: str
    layout: str
    expected: dict
    arrays: dict
    config: dict | None
    student: students.Student
    flat: dict


@pytest.fixture(params=CASES, scope="module")
def case(request, tmp_path_factory):
    student, build, layout = CASES[request.param]
    folder = tmp_path_factory.mktemp("checkpoint")
    with no_init_weights():  # for they are drawn anew
        model = redraw(build(student))
    config = None
    if layout == "timm_vit":
        save_torch(model.state_dict(), folder / "model.safetensors")
    else:
        model.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
    arrays = load_file(folder / "model.safetensors")
    shutil.rmtree(folder)
    assert torch_names.recognise(arrays) == layout
    student = torch_names.adjust(layout, student, arrays, config)
    flat = torch_names.from_torch(layout, arrays, student)
    expected = theirs(model, random_pixels(student))
    return Case(request.param, layout, expected, arrays, config, student, flat)


def exported(folder, student, flat):
    """What transformers makes of a student's export, and what it said about it."""
    arrays, config = torch_names.to_torch(student, flat)
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    network = getattr(transformers, config["architectures"][0])
    options = {"add_pooling_layer": False} if network is transformers.ViTModel else {}
    return network.from_pretrained(folder, output_loading_info=True, **options)


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


def random_pixels(student):
    shape = (2, student.image_size, student.image_size, 3)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def test_all_activations_are_those_of_the_library(case):
    found = ours(case.student, case.flat, random_pixels(case.student))
    assert found.keys() == case.expected.keys()
    differences = {}
    for key, value in case.expected.items():
        assert 0.1 < value.std() < 100, key  # the comparison says something
        differences[key] = np.abs(found[key] - value).max()
    worst = max(differences, key=differences.get)
    print(f"{case.name}: max|Δ| {differences[worst]:.1e} at {worst}", end=", ")
    print(f"{differences['read-out']:.1e} at the read-out")
    assert differences[worst] <= TOLERANCE


def test_transformers_loads_what_we_export_and_computes_the_same(case, folder):
    model, loading_info = exported(folder, case.student, case.flat)
    assert not any(loading_info.values()), loading_info
    found = theirs(model, random_pixels(case.student))
    assert found.keys() == case.expected.keys()
    for key, value in case.expected.items():
        np.testing.assert_allclose(found[key], value, atol=TOLERANCE, rtol=0, err_msg=key)


def test_a_translation_comes_back_bit_for_bit(case):
    arrays, _ = torch_names.to_torch(case.student, case.flat)
    layout = torch_names.recognise(arrays)
    again = torch_names.from_torch(layout, arrays, case.student)
    assert_equal(again, case.flat)
    if case.layout == "timm_vit":
        return
    assert layout == case.layout
    prefix = r"^(vision_model|vit|dinov2)\."
    tower = {re.sub(prefix, "", name): value for name, value in case.arrays.items()}
    arrays = {re.sub(prefix, "", name): value for name, value in arrays.items()}
    if case.layout == "hf_dinov2":
        assert not arrays.pop("embeddings.mask_token").any()
    # Nothing is left behind but what is no part of an image tower's features.
    rest = r"text_model\.|text_projection|logit_|pooler\.|embeddings.mask_token"
    rest += "" if case.student.num_classes else "|classifier"
    tower = {name: value for name, value in tower.items() if not re.match(rest, name)}
    if case.name == "siglip2 naflex":
        patches = tower["embeddings.patch_embedding.weight"].reshape(-1, 16, 16, 3)
        tower["embeddings.patch_embedding.weight"] = patches.transpose(0, 3, 1, 2)
    assert_equal(arrays, tower)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)


ORDINARY = ("siglip whole", "clip whole", "dinov2 registers", "dino b16", "vit b16", "timm vit b16")


@pytest.mark.parametrize("case", ORDINARY, indirect=True)
def test_a_row_of_the_table_loads_the_librarys_files(case, folder, monkeypatch):
    save_file(case.arrays, folder / "model.safetensors")
    if case.config is not None:
        (folder / "config.json").write_text(json.dumps(case.config))
    student, _, _ = CASES[case.name]
    monkeypatch.setitem(zoo.ZOO, "row", zoo.Model(student, 0, "nowhere", "none"))
    embedder = students.load("row", folder)
    assert embedder.student == case.student._replace(num_classes=None)
    flat = {name: value for name, value in case.flat.items() if not name.startswith("head/")}
    assert_equal(layouts.flatten(embedder.params, ""), flat)


# --- what is ours alone, at toy size ---

TOY = students.Student("mu/8", 16, "tok")
DINO = TOY._replace(cls_position=True, activation="gelu")
CLIP = DINO._replace(pre_norm=True, patch_bias=False, activation="quick_gelu", projection=12)
FAMILIES = {
    "siglip": TOY._replace(pool="map"),
    "clip": CLIP,
    "clip without projection": CLIP._replace(projection=None),
    "dinov2": DINO._replace(layer_scale=True),
    "dinov2 with registers": DINO._replace(layer_scale=True, registers=3),
    "dino": DINO,
    "vit of big_vision": TOY,
    "vit with classes": DINO._replace(num_classes=5, norm_eps=1e-3),
}


def random_flat(student):
    shapes = jax.eval_shape(lambda: students.init(student, jax.random.key(0)))
    rng = np.random.default_rng(0)
    return {
        name: 0.3 * rng.standard_normal(leaf.shape, np.float32)
        for name, leaf in layouts.flatten(shapes, "").items()
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_exported_with_its_triplet_head(family, tmp_path):
    student = FAMILIES[family]._replace(triplet_head=6)
    flat = random_flat(student)
    model, loading_info = exported(tmp_path, student, flat)
    unexpected = {"triplet_head.weight", "triplet_head.bias"}
    assert {*loading_info.pop("unexpected_keys")} == unexpected
    assert not any(loading_info.values())
    pixels = random_pixels(student)
    found, expected = theirs(model, pixels), ours(student, flat, pixels)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=key)

    arrays = load_file(tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    layout = torch_names.recognise(arrays)
    row = student._replace(triplet_head=None, num_classes=None)
    again = torch_names.adjust(layout, row, arrays, config)
    if family == "vit of big_vision":
        # The CLS token's position, a row of zeros, is in the file.
        assert again.cls_position
        positions = np.pad(flat["pos_embedding"], [(0, 0), (1, 0), (0, 0)])
        student, flat = student._replace(cls_position=True), flat | {"pos_embedding": positions}
    assert again._replace(preprocessing=student.preprocessing) == student
    assert_equal(torch_names.from_torch(layout, arrays, again), flat)


def test_two_lines_load_an_export(tmp_path):
    for name in ("siglip", "dinov2", "dinov2 with registers", "dino"):
        folder = tmp_path / name
        folder.mkdir()
        model, _ = exported(folder, FAMILIES[name], random_flat(FAMILIES[name]))
        assert type(transformers.AutoModel.from_pretrained(folder)) is type(model)


@pytest.mark.parametrize(
    "student, message",
    [
        (TOY._replace(pool="gap"), "pool 'gap' .* vit .* expected 'tok'"),
        (TOY._replace(rep_size=8), "rep_size 8 .* expected None"),
        (TOY._replace(posemb="sincos2d"), "posemb 'sincos2d' .* expected 'learn'"),
        (TOY._replace(layer=0), "layer 0 .* expected None"),
        (DINO._replace(registers=2), "registers 2 .* vit .* expected 0"),
        (DINO._replace(projection=8), "projection 8 .* vit"),
        (FAMILIES["siglip"]._replace(num_classes=3), "num_classes 3 .* siglip"),
        (FAMILIES["siglip"]._replace(pre_norm=True), "pre_norm True .* siglip"),
        (CLIP._replace(layer_scale=True), "layer_scale True .* clip"),
        (CLIP._replace(patch_bias=True), "patch_bias True .* clip"),
        (FAMILIES["dinov2"]._replace(patch_bias=False), "patch_bias False .* dinov2"),
        (FAMILIES["dinov2"]._replace(variant="g/8"), "6144 .* no multiple of 1408"),
    ],
)
def test_a_student_that_transformers_has_not_is_refused(student, message):
    with pytest.raises(InputError, match=message):
        torch_names.to_torch(student, {})


@pytest.mark.parametrize("prefix", ["", "model.", "dinov2.", "vit.", "siglip.vision_model."])
@pytest.mark.parametrize("family", ["siglip", "clip", "dinov2 with registers", "dino"])
def test_the_tower_is_found_under_any_prefix(family, prefix):
    student = FAMILIES[family]
    flat = random_flat(student)
    arrays, _ = torch_names.to_torch(student, flat)
    layout = torch_names.recognise(arrays)
    projection = arrays.pop("visual_projection.weight", None)
    arrays = {prefix + name.removeprefix("vision_model."): a for name, a in arrays.items()}
    if projection is not None:
        arrays["visual_projection.weight"] = projection
    assert torch_names.recognise(arrays) == layout
    assert_equal(torch_names.from_torch(layout, arrays, student), flat)


@pytest.mark.parametrize(
    "names", [[], ["embedding/kernel", "cls"], ["conv1.weight", "layer1.0.bn1.weight"]]
)
def test_other_files_are_not_recognised(names):
    assert torch_names.recognise(names) is None


def test_what_cannot_be_translated_keeps_its_name():
    flat = random_flat(DINO)
    arrays, _ = torch_names.to_torch(DINO, flat)
    query = "encoder.layer.0.attention.attention.query.weight"
    odd = {
        "adapter.weight": np.zeros(3),
        "encoder.layer.1.layernorm_before.weight": np.zeros(32),
        "embeddings.cls_token": np.zeros(()),
        query: np.zeros((33, 32)),
    }
    found = torch_names.from_torch("hf_vit", arrays | odd, DINO)
    assert found.keys() - flat.keys() == odd.keys()
    assert flat.keys() - found.keys() == {
        "cls",
        "Transformer/encoderblock_0/MultiHeadDotProductAttention_0/query/kernel",
    }


# --- what a file implies about the network ---


def test_supervised_vits_are_fed_as_their_library_feeds_them():
    supervised, dino = row("vit-b16"), row("dinov1-b16")
    hugging_face = torch_names.adjust("hf_vit", supervised, {})
    assert hugging_face == supervised._replace(
        cls_position=True,
        activation="gelu",
        norm_eps=1e-12,
        preprocessing=students.Preprocessing("squash", None, "bilinear"),
    )
    assert torch_names.adjust("timm_vit", supervised, {}) == hugging_face._replace(
        norm_eps=1e-6, preprocessing=students.Preprocessing("crop", 248, "bicubic")
    )
    assert torch_names.adjust("hf_vit", dino, {}) == dino._replace(norm_eps=1e-12)
    assert torch_names.adjust("timm_vit", dino, {}) == dino


def test_timm_says_so_too():
    library = pytest.importorskip("timm", reason="tests/requirements-no-deps.txt")
    for name, side in (("augreg_in21k", 224), ("augreg_in21k_ft_in1k", 384)):
        config = library.get_pretrained_cfg(f"vit_base_patch16_{side}.{name}")
        found = torch_names.adjust("timm_vit", row("vit-b16", side), {}).preprocessing
        assert (found.interpolation, found.mean, found.std) == (
            config.interpolation,
            config.mean,
            config.std,
        )
        assert (found.short_side or side) == int(side / config.crop_pct)


def test_the_config_tells_activation_and_epsilon():
    whole = {"hidden_act": "silu", "vision_config": {"hidden_act": "gelu", "layer_norm_eps": 1e-4}}
    laion = torch_names.adjust("hf_clip", CLIP, {}, whole)
    assert laion == CLIP._replace(activation="gelu", norm_eps=1e-4)
    assert torch_names.adjust("hf_clip", CLIP, {}, {}) == CLIP
    for wrong in ({"hidden_act": "relu"}, {"hidden_act": []}, {"layer_norm_eps": "1"}):
        (field,) = wrong
        with pytest.raises(InputError, match=rf"config.json: {field} is .*; expected"):
            torch_names.adjust("hf_clip", CLIP, {}, wrong)
