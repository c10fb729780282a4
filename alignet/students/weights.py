"""Weights on disk: one `.npz` with big_vision's `params/<name>` keys and the student's spec."""

import functools
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alignet.errors import InputError
from alignet.runtime import files
from alignet.students import vit
from alignet.students.layouts import flatten, unflatten
from alignet.students.student import Preprocessing, Student

SPEC = "student"


def save_weights(path: str | Path, student: Student, params: vit.Params) -> None:
    """Writes a student, atomically.

    Args:
        path: the `.npz` to write.
        student: the specification, stored as a JSON string under "student".
        params: nested dict of float32 parameters.
    """
    arrays = {name: np.asarray(value) for name, value in flatten(params).items()}
    files.write_npz(path, **arrays, **{SPEC: np.array(json.dumps(_plain(student)))})


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
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a student's weights (.npz).")
    try:
        with np.lib.npyio.NpzFile(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable .npz of plain arrays ({error}).") from error
    student = _spec(path, arrays.pop(SPEC, None))
    return student, _checked(path, student, arrays)


def _plain(student: Student) -> dict[str, Any]:
    return student._asdict() | {"preprocessing": student.preprocessing._asdict()}


def _spec(path: Path, text: np.ndarray | None) -> Student:
    try:
        fields = json.loads(str(text)) if text is not None else {}
        scaling = Preprocessing(**fields.pop("preprocessing", {}))
        scaling = scaling._replace(mean=tuple(scaling.mean), std=tuple(scaling.std))
        student = Student(**fields, preprocessing=scaling)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: no readable specification under {SPEC!r} ({error}); expected weights written "
            "by alignet.students.save_weights."
        ) from error
    vit.network(student)
    return student


def _checked(path: Path, student: Student, arrays: dict[str, np.ndarray]) -> vit.Params:
    shapes = jax.eval_shape(functools.partial(vit.init, student), jax.random.key(0))
    expected = {name: shape.shape for name, shape in flatten(shapes).items()}
    for name in sorted(expected.keys() | arrays.keys()):
        if name not in arrays:
            raise InputError(f"{path}: {name} is missing; expected shape {expected[name]}.")
        if name not in expected:
            raise InputError(
                f"{path}: {name} is unexpected; pool {student.pool} of {student.variant} has no "
                "such parameter."
            )
        value = arrays[name]
        if value.shape != expected[name] or value.dtype.kind != "f":
            raise InputError(
                f"{path}: {name} is {value.dtype} of shape {value.shape}; "
                f"expected floats of shape {expected[name]}."
            )
        if not np.isfinite(value).all():
            raise InputError(f"{path}: {name} has a NaN or infinite value; expected finite ones.")
    return unflatten({name: value.astype(np.float32) for name, value in arrays.items()})
