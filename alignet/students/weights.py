"""Weights on disk: what is written here, and whether parameters fit a student."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy

from alignet.errors import InputError
from alignet.runtime import files
from alignet.students import torch_names, vit
from alignet.students.layouts import flatten, unflatten
from alignet.students.student import Student
from alignet.students.weight_files import SPEC, open_weights

EXPORTED = ("config.json", "model.safetensors", "preprocessor_config.json")

# Pillow's numbers for its filters, as Hugging Face's files have them.
PILLOW_FILTERS = {"bilinear": 2, "bicubic": 3, "tf_bilinear": 2, "tf_area": 4}


def save_weights(path: str | Path, student: Student, params: vit.Params) -> None:
    """Writes a student, atomically: big_vision's `params/<name>` keys and the specification.

    Args:
        path: the `.npz` to write; big_vision reads it too, a triplet head aside, which its
            `dont_load=["triplet_head/.*"]` leaves out.
        student: the specification, stored as a JSON string under "student".
        params: nested dict of float32 parameters.
    """
    arrays = {name: np.asarray(value) for name, value in flatten(params).items()}
    files.write_npz(path, **arrays, **{SPEC: np.array(_as_json(student))})


def load_weights(path: str | Path) -> tuple[Student, vit.Params]:
    """Reads a student that `save_weights` wrote, and checks every parameter.

    Args:
        path: the `.npz`.

    Returns:
        The specification and a nested dict of float32 NumPy arrays.

    Raises:
        InputError: the file is no such archive, or a parameter is missing, unexpected, of another
            shape, or not finite.
    """
    with open_weights(path) as (arrays, student):
        if student is None:
            raise InputError(
                f"{path}: no specification under {SPEC!r}; expected weights written by "
                "students.save_weights (students.load reads those of other trainers)."
            )
        flat = {name.removeprefix("params/"): arrays[name] for name in arrays}
    return student, checked(path, student, flat)


def save_safetensors(folder: str | Path, student: Student, params: vit.Params) -> None:
    """Writes a student as a folder that Hugging Face's transformers reads, atomically.

    Args:
        folder: becomes `model.safetensors`, `config.json` and `preprocessor_config.json`. The last
            names Pillow's filter nearest to the student's: TensorFlow's have no equal there.
        student: the specification.
        params: nested dict of float32 parameters.

    Raises:
        InputError: transformers has no such network, or the folder holds something else.
    """
    folder = Path(folder)
    others = {file.name for file in folder.iterdir()} - {*EXPORTED} if folder.exists() else set()
    if others:
        raise InputError(
            f"{folder}: it holds {sorted(others)[0]}, which would be lost; expected a new folder."
        )
    flat = {name: np.asarray(value) for name, value in flatten(params, "").items()}
    # transformers would draw at random what is missing.
    checked(folder, student, flat)
    tensors, config = torch_names.to_torch(student, flat)
    metadata = {"format": "pt", SPEC: _as_json(student)}
    with files.atomic_folder(folder) as temporary:
        safetensors.numpy.save_file(tensors, temporary / EXPORTED[1], metadata=metadata)
        files.write_json(temporary / EXPORTED[0], config)
        files.write_json(temporary / EXPORTED[2], _image_processor(student))


class Diff(NamedTuple):
    """How the parameters of a file differ from a student's; `print` shows all of it.

    Attributes:
        missing: shapes by name of parameters that the file lacks.
        unexpected: shapes by name of parameters that the student lacks.
        misshapen: shapes (found, expected) by name.
    """

    missing: dict[str, tuple[int, ...]]
    unexpected: dict[str, tuple[int, ...]]
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __str__(self) -> str:
        lines = [f"missing     {name} {shape}" for name, shape in self.missing.items()]
        lines += [f"unexpected  {name} {shape}" for name, shape in self.unexpected.items()]
        for name, (found, expected) in self.misshapen.items():
            lines.append(f"misshapen   {name} {found}, expected {expected}")
        return "\n".join(lines) or "no difference"


NO_DIFFERENCE = Diff({}, {}, {})


def difference(student: Student, flat: Mapping[str, np.ndarray]) -> Diff:
    """Compares the parameters of a file, by flat name, with those that a student has."""
    expected = _shapes(student)
    found = {name: np.shape(value) for name, value in flat.items()}
    both = sorted(found.keys() & expected.keys())
    return Diff(
        {name: expected[name] for name in sorted(expected.keys() - found.keys())},
        {name: found[name] for name in sorted(found.keys() - expected.keys())},
        {n: (found[n], expected[n]) for n in both if found[n] != expected[n]},
    )


def checked(
    path: str | Path, student: Student, flat: Mapping[str, np.ndarray], hint: str = ""
) -> vit.Params:
    """Checks every parameter and makes a tree of them; `hint` ends the refusal of a misfit.

    Raises:
        InputError: a parameter is missing, unexpected, of another shape, or not finite.
    """
    diff = difference(student, flat)
    if diff != NO_DIFFERENCE:
        raise InputError(f"{path}: {_summary(diff, student)}{hint}.")
    for name, value in flat.items():
        if value.dtype != np.float32:
            raise InputError(f"{path}: {name} is {value.dtype}; expected floats.")
        if not np.isfinite(value).all():
            raise InputError(f"{path}: {name} has a NaN or infinite value; expected finite ones.")
    return unflatten(dict(flat), "")


@functools.lru_cache(maxsize=64)
def _shapes(student: Student) -> dict[str, tuple[int, ...]]:
    tree = jax.eval_shape(functools.partial(vit.init, student), jax.random.key(0))
    return {name: leaf.shape for name, leaf in flatten(tree, "").items()}


def _as_json(student: Student) -> str:
    return json.dumps(student._asdict() | {"preprocessing": student.preprocessing._asdict()})


def _summary(diff: Diff, student: Student) -> str:
    """The difference in half a sentence: how many of each kind, and three of them."""
    wrong = {
        name: f"{found}, expected {wanted}" for name, (found, wanted) in diff.misshapen.items()
    }
    kinds = []
    for kind, shapes in (
        ("missing", diff.missing),
        ("unexpected", diff.unexpected),
        ("misshapen", wrong),
    ):
        # The outer ones say most about the network.
        names = sorted(shapes, key=lambda name: (name.count("/"), name))
        some = [f"{name[:80]} {shapes[name]}" for name in names[:3]]
        some += [f"{len(names) - 3} more"] if len(names) > 3 else []
        kinds += [f"{len(names)} {kind} ({', '.join(some)})"] if names else []
    return (
        f"the parameters do not fit {student.variant} with pool {student.pool} at "
        f"{student.image_size} px: {'; '.join(kinds)}"
    )


def _image_processor(student: Student) -> dict[str, Any]:
    side, scaling = student.image_size, student.preprocessing
    config = {
        "do_resize": True,
        "resample": PILLOW_FILTERS[scaling.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": scaling.mean,
        "image_std": scaling.std,
    }
    square = {"height": side, "width": side}
    if scaling.resize == "squash":
        return config | {"image_processor_type": "ViTImageProcessor", "size": square}
    return config | {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": scaling.short_side or side},
        "do_center_crop": True,
        "crop_size": square,
    }
