"""Weights on disk: ours, orbax's, and files that are damaged, no weights, or may hold code."""

from pathlib import Path

import flax.serialization
import flax.traverse_util
import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest

from alignet import students
from alignet.errors import InputError
from alignet.runtime import checkpoints
from alignet.students import layouts, loading, torch_names
from tests.weights_case import MU, TOY, assert_same, parameters, random_params


@pytest.fixture(scope="module")
def toy_params():
    return random_params(TOY)


@pytest.fixture(scope="module")
def mu_params():
    return random_params(MU)


def test_weights_come_back_as_they_were(tmp_path):
    student = TOY._replace(
        triplet_head=6, preprocessing=students.Preprocessing(std=(0.2, 0.3, 0.4)), pool="map"
    )
    params = random_params(student)
    students.save_weights(tmp_path / "w.npz", student, params)
    loaded_student, loaded = students.load_weights(tmp_path / "w.npz")
    assert loaded_student == student
    assert hash(loaded_student) == hash(student)  # a static argument of jitted functions
    assert all(type(x) is np.ndarray and x.dtype == np.float32 for x in jax.tree.leaves(loaded))
    assert_same(loaded, params)


def test_weights_have_big_visions_keys(tmp_path, toy_params):
    students.save_weights(tmp_path / "w.npz", TOY, toy_params)
    keys = set(np.load(tmp_path / "w.npz", allow_pickle=False).files) - {"student"}
    flat = flax.traverse_util.flatten_dict(toy_params, sep="/")
    assert keys == {f"params/{name}" for name in flat}


def test_bfloat16_in_an_npz_becomes_float32_exactly(tmp_path, mu_params):
    flat = {
        n: np.asarray(x).astype(ml_dtypes.bfloat16) for n, x in layouts.flatten(mu_params).items()
    }
    np.savez(tmp_path / "w.npz", **flat)
    found = layouts.flatten(loading.load("mu16", tmp_path / "w.npz").params)
    for name, value in flat.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value.astype(np.float32))


# --- refusals ---


def saved_with(tmp_path: Path, toy_params, change) -> Path:
    students.save_weights(tmp_path / "w.npz", TOY, toy_params)
    with np.load(tmp_path / "w.npz") as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(tmp_path / "w.npz", **arrays)
    return tmp_path / "w.npz"


NORM = "Transformer/encoder_norm/scale"
SPEC = "no readable specification"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: a.pop(f"params/{NORM}"), rf"1 missing \({NORM} \(32,\)\)"),
        (lambda a: a.update({"params/cls": np.zeros((1, 1, 32))}), r"1 unexpected \(cls "),
        (lambda a: a.update({f"params/{NORM}": np.zeros(31)}), rf"{NORM} \(31,\), expected \(32,"),
        (lambda a: a.update({f"params/{NORM}": np.zeros(32, int)}), f"{NORM} is int64"),
        (lambda a: a.update({f"params/{NORM}": np.full(32, np.nan)}), f"{NORM} has a NaN"),
        (lambda a: a.update({f"params/{NORM}": np.full(32, 1e300)}), f"{NORM} has a NaN"),
        (lambda a: a.update({f"params/{NORM}": np.array([None] * 32)}), "not readable"),
        (lambda a: a.pop("student"), "no specification"),
        (lambda a: a.update(student=np.array("{")), SPEC),
        (lambda a: a.update(student=np.array("[]")), SPEC),
        (lambda a: a.update(student=np.array('{"color": 1}')), SPEC),
        (lambda a: a.update(student=np.array(str(a["student"]).replace("16", "16.0"))), SPEC),
        (lambda a: a.update(student=np.array(str(a["student"]).replace("mu/8", "mu/0"))), SPEC),
    ],
)
def test_wrong_weights_are_refused_in_one_sentence(tmp_path, toy_params, change, message):
    path = saved_with(tmp_path, toy_params, change)
    with pytest.raises(InputError, match=message) as info:
        students.load_weights(path)
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


def test_nan_in_a_file_of_another_trainer_is_refused(tmp_path, mu_params):
    flat = layouts.flatten(mu_params)
    flat[f"params/{NORM}"] = np.full(32, np.inf)
    np.savez(tmp_path / "w.npz", **flat)
    with pytest.raises(InputError, match=f"w.npz as mu16: {NORM} has a NaN or infinite"):
        loading.load("mu16", tmp_path / "w.npz")


def test_files_that_are_no_weights_are_refused(tmp_path, toy_params):
    with pytest.raises(InputError, match="no such file"):
        students.load_weights(tmp_path / "absent.npz")
    with pytest.raises(InputError, match=r"no such file.*siglip-b16 \(gs://big_vision"):
        loading.load("siglip-b16", tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    students.save_weights(tmp_path / "w.npz", TOY, toy_params)
    whole = (tmp_path / "w.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    (tmp_path / "flipped.npz").write_bytes(flipped)
    for name in ("text", "array", "half", "flipped"):
        with pytest.raises(InputError, match=f"{name}.npz: not readable as weights"):
            students.load_weights(tmp_path / f"{name}.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no weights in a known format"):
        loading.load("mu16", tmp_path / "empty")


# --- kinds of files that may hold code ---


def command_in(message):
    return str(message).split('python -c "')[1].rsplit('"', 1)[0]


def test_files_of_torch_are_refused_with_a_command_that_converts_them(tmp_path, mu_params):
    torch = pytest.importorskip("torch", reason="converts with torch")
    tensors, _ = torch_names.to_torch(MU, layouts.flatten(mu_params, ""))
    tensors = {name: torch.tensor(value) for name, value in tensors.items()}
    for name in ("a.bin", "b.pt", "c.pth", "d.ckpt", "e.pkl"):
        torch.save(tensors, tmp_path / name)
        with pytest.raises(InputError, match=f"{name} is of a kind that is not read") as info:
            loading.load("mu16", tmp_path / name)
    folder = tmp_path / "snapshot"
    folder.mkdir()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="weights_only=True") as info:
        loading.load("mu16", folder)
    exec(command_in(info.value))
    assert_same(loading.load("mu16", folder / "pytorch_model.safetensors").params, mu_params)


def test_msgpack_is_refused_with_a_command_that_converts_it(tmp_path, mu_params):
    path = tmp_path / "flax.msgpack"
    path.write_bytes(flax.serialization.to_bytes({"params": mu_params}))
    with pytest.raises(InputError, match="msgpack is of a kind that is not read") as info:
        loading.load("mu16", path)
    exec(command_in(info.value))
    assert_same(loading.load("mu16", path.with_suffix(".npz")).params, mu_params)


# --- orbax ---


def test_a_checkpoint_of_distillation_loads(tmp_path, mu_params):
    student = MU
    newer = jax.tree.map(lambda x: x + 1, mu_params)
    with checkpoints.open_manager(tmp_path / "checkpoints") as manager:
        for step, params in ((9, mu_params), (10, newer)):
            state = {"params": params, "opt_state": [{"mu": params}]}
            checkpoints.save(manager, step, state, {"student": student._asdict()})
    embed = loading.load("mu16", tmp_path / "checkpoints")
    assert embed.student == student
    assert_same(embed.params, newer)
    assert_same(loading.load("mu16", tmp_path / "checkpoints" / "9").params, mu_params)
    with pytest.raises(InputError, match="specification says variant 'mu/16' and ti16"):
        loading.load("ti16", tmp_path / "checkpoints")
    for file in (tmp_path / "checkpoints" / "10").rglob("manifest.ocdbt"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="not readable as weights"):
        loading.load("mu16", tmp_path / "checkpoints")


@pytest.mark.parametrize("tree", [lambda p: p, lambda p: {"params": {"img": p, "t": p["cls"]}}])
def test_a_plain_tree_of_orbax_loads(tmp_path, golden, tree):
    params = layouts.unflatten(parameters(golden("vit_tok")[1]), "")
    with ocp.StandardCheckpointer() as writer:
        writer.save(tmp_path / "tree", tree(params))
    path = tmp_path / "tree"
    embed = loading.load("golden-tok", path if tree(params) is params else f"{path}:img")
    assert_same(embed.params, {name: x for name, x in params.items() if name != "head"})
