"""Safetensors: an export for transformers, sharded or not, and incomplete or damaged ones."""

import json
import os

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alignet import students
from alignet.errors import InputError
from alignet.students import loading, weight_files, weights
from tests.weights_case import MU, assert_same, random_params


@pytest.fixture(scope="module")
def mu_params():
    return random_params(MU)


@pytest.fixture
def exported(tmp_path, mu_params):
    weights.save_safetensors(tmp_path / "mu", MU, mu_params)
    return tmp_path / "mu"


def test_a_student_goes_to_hugging_face_and_back_unchanged(exported, mu_params):
    assert {file.name for file in exported.iterdir()} == set(weights.EXPORTED)
    for path in (exported, exported / "model.safetensors"):
        embed = loading.load("mu16", path)
        assert embed.student == MU
        assert_same(embed.params, mu_params)
    # As transformers would write it again, without our specification.
    save_file(load_file(exported / "model.safetensors"), exported / "model.safetensors")
    assert_same(loading.load("mu16", exported).params, mu_params)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_float32_exactly(exported, dtype):
    file = exported / "model.safetensors"
    halves = {name: value.astype(dtype) for name, value in load_file(file).items()}
    save_file(halves, file)
    half = loading.load("mu16", exported).params
    save_file({name: value.astype(np.float32) for name, value in halves.items()}, file)
    assert_same(half, loading.load("mu16", exported).params)


@pytest.fixture
def sharded(exported):
    tensors = load_file(exported / "model.safetensors")
    (exported / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({name: tensors[name] for name in part}, exported / shard)
    index = {"weight_map": {n: shard for shard, part in shards.items() for n in part}}
    (exported / weight_files.INDEX).write_text(json.dumps(index))
    return exported


def test_shards_are_put_together(sharded, mu_params):
    assert_same(loading.load("mu16", sharded).params, mu_params)


def drop_shard(folder):
    (folder / "two.safetensors").unlink()


def point_outside(folder):
    index = (folder / weight_files.INDEX).read_text()
    (folder.parent / "two.safetensors").write_bytes((folder / "two.safetensors").read_bytes())
    (folder / weight_files.INDEX).write_text(index.replace("two.s", "../two.s"))


def drop_tensor(folder):
    tensors = load_file(folder / "one.safetensors")
    tensors.popitem()
    save_file(tensors, folder / "one.safetensors")


def truncate_shard(folder):
    os.truncate(folder / "one.safetensors", 3000)


def spoil_index(folder):
    (folder / weight_files.INDEX).write_text('{"weight_map": 3}')


@pytest.mark.parametrize(
    "change, message",
    [
        (drop_shard, "names 'two.safetensors', which is not beside it"),
        (point_outside, "names '../two.safetensors', which is not beside it"),
        (drop_tensor, "one.safetensors: it lacks .*, which model.safetensors.index.json says"),
        (truncate_shard, "one.safetensors: not readable as weights"),
        (spoil_index, "index.json: not readable as weights"),
    ],
)
def test_an_incomplete_set_of_shards_is_refused(sharded, change, message):
    change(sharded)
    with pytest.raises(InputError, match=message):
        loading.load("mu16", sharded)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_safetensors_file_is_refused(exported, length):
    whole = (exported / "model.safetensors").read_bytes()
    (exported / "model.safetensors").write_bytes(whole[:length])
    with pytest.raises(InputError, match=r"model.safetensors: not readable as weights \(.+\)"):
        loading.load("mu16", exported)


@pytest.mark.parametrize("text", ["{", "3"])
def test_a_config_that_is_no_json_object_is_refused(exported, text):
    (exported / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config.json: .*expected (a )?JSON"):
        loading.load("mu16", exported)


def test_an_export_replaces_an_export_and_nothing_else(exported, mu_params):
    other = jax.tree.map(lambda x: x + 1, mu_params)
    weights.save_safetensors(exported, MU, other)
    assert_same(loading.load("mu16", exported).params, other)
    (exported / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds thesis\.tex, which would be lost"):
        weights.save_safetensors(exported, MU, mu_params)
    assert (exported / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    "preprocessing",
    [
        students.Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
        students.Preprocessing(resize="crop", short_side=40, interpolation="bilinear"),
        students.Preprocessing(resize="crop"),
    ],
)
def test_transformers_feeds_an_export_as_the_student_is_fed(tmp_path, preprocessing):
    pytest.importorskip("torch", reason="transformers needs it")
    transformers = pytest.importorskip("transformers", reason="the reader of the export")
    image = pytest.importorskip("PIL.Image")
    student = students.Student("mu/16", 32, "map", preprocessing)
    weights.save_safetensors(tmp_path / "mu", student, random_params(student))
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    config = json.loads((tmp_path / "mu" / "preprocessor_config.json").read_text())
    processor = getattr(transformers, config["image_processor_type"])(**config)
    picture = image.fromarray(pixels)
    theirs = np.asarray(processor(picture, return_tensors="np")["pixel_values"])
    ours = students.normalise(student, students.resize(student, picture)[None])
    np.testing.assert_allclose(theirs.transpose(0, 2, 3, 1), ours, atol=1.01 / 255 / 0.4)
