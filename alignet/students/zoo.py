"""The table of students and teachers: one row a model, with everything its features depend on.

A row's read-out is the one the papers use: the MAP head's output for SigLIP, the CLS token before
the classifier for supervised ViTs and DINO, the mean of the tokens for CapPa, the projected CLS
token for CLIP. Its preprocessing is that of the code the weights come from.
"""

from typing import NamedTuple

from alignet.errors import InputError
from alignet.students.student import Preprocessing, Student

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLIP_PIXELS = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}

# big_vision's `resize(224)` and `resize_small(256)|central_crop(224)`, then `value_range(-1, 1)`.
# The latter is how its supervised ViTs were evaluated in pretraining; fine-tuning squashed.
BV_SQUASH = Preprocessing(interpolation="tf_bilinear")
BV_CROP = Preprocessing(resize="crop", short_side=256, interpolation="tf_area")
DINO_CROP = Preprocessing(resize="crop", short_side=256, interpolation="bicubic", **IMAGENET)
CLIP_CROP = Preprocessing(resize="crop", interpolation="bicubic", **CLIP_PIXELS)

DINO = {
    "pool": "tok",
    "preprocessing": DINO_CROP,
    "activation": "gelu",
    "cls_position": True,
}
DINOV2 = DINO | {"layer_scale": True}
CLIP = {
    "pool": "tok",
    "preprocessing": CLIP_CROP,
    "activation": "quick_gelu",
    "norm_eps": 1e-5,
    "cls_position": True,
    "pre_norm": True,
    "patch_bias": False,
}

APACHE, MIT = "Apache-2.0", "MIT"


class Model(NamedTuple):
    """A row of the table.

    Attributes:
        student: the network, its preprocessing and its read-out.
        dimension: of the read-out.
        weights: where they are published; docs/students.md names the others that load.
        licence: of the weights.
        subtree: of the checkpoint that holds the image tower, where it holds more than that.
    """

    student: Student
    dimension: int
    weights: str
    licence: str
    subtree: str = ""


def _siglip(variant: str, size: int, dimension: int, weights: str) -> Model:
    student = Student(variant, size, "map", BV_SQUASH)
    return Model(student, dimension, weights, APACHE, "img")


def _dinov2(variant: str, dimension: int, *, registers: int) -> Model:
    # Trained at 518 px: the position embedding is resampled to 224.
    student = Student(variant, 224, registers=registers, **DINOV2)
    letter = {"S": "small", "B": "base", "L": "large"}[variant[0]]
    suffix = "-with-registers" if registers else ""
    return Model(student, dimension, f"hf: facebook/dinov2{suffix}-{letter}", APACHE)


AUGREG = "gs://vit_models/augreg/{}-*.npz"
ZOO = {
    # Supervised on ImageNet-21k or -1k (Steiner et al. 2022): a CLS token, learned positions.
    "vit-s16": Model(Student("S/16", 224, "tok", BV_CROP), 384, AUGREG.format("S_16"), APACHE),
    "vit-b16": Model(Student("B/16", 224, "tok", BV_CROP), 768, AUGREG.format("B_16"), APACHE),
    "vit-l16": Model(Student("L/16", 224, "tok", BV_CROP), 1024, AUGREG.format("L_16"), APACHE),
    # big_vision's own recipe for ImageNet-1k (Beyer et al. 2022): no CLS token, fixed positions,
    # a tanh layer before the classifier.
    "vit-s16-i1k": Model(
        Student("S/16", 224, "gap", BV_CROP, posemb="sincos2d", rep_size=384),
        384,
        "gs://big_vision/vit_s16_i1k_*ep.npz",
        APACHE,
    ),
    "siglip-b16": _siglip("B/16", 224, 768, "gs://big_vision/siglip/webli_en_b16_224_63724782.npz"),
    "siglip-b16-224": _siglip(
        "B/16", 224, 768, "gs://big_vision/siglip/webli_en_b16_224_63724782.npz"
    ),
    "siglip-b16-256": _siglip(
        "B/16", 256, 768, "gs://big_vision/siglip/webli_en_b16_256_60500360.npz"
    ),
    "siglip-b16-384": _siglip(
        "B/16", 384, 768, "gs://big_vision/siglip/webli_en_b16_384_68578854.npz"
    ),
    # The teacher of 002.
    "siglip-so400m-14": _siglip(
        "So400m/14", 384, 1152, "gs://big_vision/siglip/webli_en_so400m_384_58765454.npz"
    ),
    "siglip2-b16": _siglip("B/16", 224, 768, "gs://big_vision/siglip2/siglip2_b16_224.npz"),
    "cappa-b16": Model(
        Student("B/16", 224, "gap", BV_SQUASH),
        768,
        "what big_vision's proj/cappa trainer writes",
        APACHE,
        "encoder",
    ),
    "cappa-l14": Model(
        Student("L/14", 224, "gap", BV_SQUASH),
        1024,
        "what big_vision's proj/cappa trainer writes",
        APACHE,
        "encoder",
    ),
    "dinov1-s16": Model(Student("S/16", 224, **DINO), 384, "hf: facebook/dino-vits16", APACHE),
    "dinov1-b16": Model(Student("B/16", 224, **DINO), 768, "hf: facebook/dino-vitb16", APACHE),
    "dinov2-s14": _dinov2("S/14", 384, registers=0),
    "dinov2-b14": _dinov2("B/14", 768, registers=0),
    "dinov2-l14": _dinov2("L/14", 1024, registers=0),
    "dinov2-s14-reg": _dinov2("S/14", 384, registers=4),
    "dinov2-b14-reg": _dinov2("B/14", 768, registers=4),
    "dinov2-l14-reg": _dinov2("L/14", 1024, registers=4),
    "clip-b16": Model(
        Student("B/16", 224, projection=512, **CLIP), 512, "hf: openai/clip-vit-base-patch16", MIT
    ),
    "clip-b32": Model(
        Student("B/32", 224, projection=512, **CLIP), 512, "hf: openai/clip-vit-base-patch32", MIT
    ),
    "clip-l14": Model(
        Student("L/14", 224, projection=768, **CLIP), 768, "hf: openai/clip-vit-large-patch14", MIT
    ),
    # For tests and the toy world; nobody publishes weights.
    "ti16": Model(Student("Ti/16", 224, "gap"), 192, "none", "none"),
    "mu16": Model(Student("mu/16", 224, "map"), 32, "none", "none"),
}


def find(name: str) -> Model:
    """A row of the table.

    Raises:
        InputError: there is no such model; the message lists those there are.
    """
    if name not in ZOO:
        raise InputError(f"model {name!r} is unknown; expected one of {', '.join(ZOO)}.")
    return ZOO[name]
