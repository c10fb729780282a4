"""Pretrained weights of any trainer, adapted to a row of the table of models and checked."""

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from alignet.errors import InputError
from alignet.students import torch_config, torch_names, vit, zoo
from alignet.students.inference import Embedder
from alignet.students.layouts import flatten, modernise, resample_posemb
from alignet.students.student import Student, at_resolution, sizes
from alignet.students.vit import Compute
from alignet.students.weight_files import open_weights
from alignet.students.weights import NO_DIFFERENCE, Diff, checked, difference

CLASSIFIER = "head/.*"
# A file may have these or not; the specification follows.
HEADS = {"head": "num_classes", "triplet_head": "triplet_head"}
# What `torch_names.adjust` may have changed in a student that was saved here: its own word counts.
IMPLIED = ("preprocessing", "activation", "norm_eps", "cls_position")
# Parts of checkpoints that hold an image tower beside something else.
TOWERS = {"img", "encoder"}


def load(
    name: str,
    weights: str | Path,
    *,
    image_size: int | None = None,
    layer: int | None = None,
    drop: str = CLASSIFIER,
    fresh: str = "",
    seed: int = 0,
    compute: Compute = Compute(),
) -> Embedder:
    """Loads a model of the table with pretrained weights, ready to embed images.

        embed = students.load("siglip-b16", "webli_en_b16_224_63724782.npz")
        z = embed("photographs/")

    A learned position embedding for another image size is resampled: linearly if the file has
    big_vision's names, as big_vision does; bicubically if it has Hugging Face's, with antialiasing
    where there are registers; so, too, if it has timm's. But if no `image_size` is given and the
    file fits another row of the table as it is, it is refused, for it is most likely that row's.

    Args:
        name: a row of the table, see `zoo.ZOO`.
        weights: a path, see `weight_files.open_weights`: an `.npz` with big_vision's parameters,
            bare or under "params/" or "opt/target/", in any of its layouts; `.safetensors` with the
            names of Hugging Face's transformers or of timm, or a folder of them; an orbax folder;
            or what `save_weights` wrote, whose specification must then agree with the row.
            "file.npz:img" names a subtree; without one, the row's is taken if the file has it.
        image_size: in pixels, if not the row's.
        layer: the block, from 0, that is read out instead of the network's end.
        drop: a regular expression; what it matches of the file's parameters (by our names) is left
            out. A head that is not left out is kept, and the specification follows it.
        fresh: a regular expression; what it matches of the parameters that the file lacks is drawn
            at random. See `add_triplet_head` for a new triplet head.
        seed: of that draw.
        compute: how the network runs.

    Returns:
        The student with its weights.

    Raises:
        InputError: there is no such row or file, the file is damaged, or its parameters do not fit;
            `compare` gives the whole difference.
    """
    pattern = _compiled("fresh", fresh)
    # What cannot run is said before gigabytes are read.
    vit.network(zoo.find(name).student, compute)
    with _opened(name, weights) as source:
        student, flat, owners = _adapted(source, image_size, layer, drop)
        drawn = [n for n in difference(student, flat).missing if pattern.fullmatch(n)]
        if drawn:
            initial = flatten(vit.init(student, jax.random.key(seed)), "")
            flat |= {n: np.asarray(initial[n]) for n in drawn}
        diff = difference(student, flat)
        hint = "" if diff == NO_DIFFERENCE else _hint(source, student, diff, owners, drop)
        if not hint and source.config is not None:
            torch_config.check_heads(student, source.config)
    return Embedder(student, checked(f"{weights} as {name}", student, flat, hint), compute)


def compare(
    name: str,
    weights: str | Path,
    *,
    image_size: int | None = None,
    drop: str = CLASSIFIER,
) -> Diff:
    """How the parameters of a file differ from those of a row; `print` it.

    Args:
        name: as for `load`.
        weights: as for `load`.
        image_size: as for `load`.
        drop: as for `load`.

    Returns:
        The whole difference, by our names of parameters.
    """
    with _opened(name, weights) as source:
        student, flat, _ = _adapted(source, image_size, None, drop)
    return difference(student, flat)


class _Source(NamedTuple):
    """An open file, beside the row that it is to be loaded as."""

    row: zoo.Model
    name: str
    path: Path
    subtree: str
    arrays: Mapping[str, np.ndarray]
    spec: Student | None
    layout: str | None
    config: dict[str, Any] | None


@contextlib.contextmanager
def _opened(name: str, weights: str | Path) -> Iterator[_Source]:
    row = zoo.find(name)
    path, subtree = _split(weights)
    if not path.exists():
        raise InputError(
            f"{path}: no such file or folder; expected the weights of {name} ({row.weights}), on "
            "this machine."
        )
    with open_weights(path) as (arrays, spec):
        layout = None if subtree else torch_names.recognise(arrays)
        config = None if layout is None else _config(path)
        yield _Source(row, name, path, subtree, arrays, spec, layout, config)


def _adapted(
    source: _Source, image_size: int | None, layer: int | None, drop: str
) -> tuple[Student, dict[str, np.ndarray], list[str]]:
    """The parameters as the row wants them, as far as they go.

    Returns:
        The specification that they have, the parameters by flat name, and other rows that they
        fit, if these kept the position embedding from being resampled.
    """
    given = {"image_size": image_size, "layer": layer}
    given = {field: value for field, value in given.items() if value is not None}

    def as_given(student: Student) -> Student:
        student = student._replace(layer=given.get("layer", student.layer))
        return student if image_size is None else at_resolution(student, image_size)

    student = as_given(source.row.student)
    sizes(student)
    if source.spec is not None:
        _check_agreement(source, student, given)
        student = as_given(source.spec)
    student, flat = _translated(source, student, source.row.subtree, drop)
    patches = _rows(flat) - student.cls_position
    if (
        student.posemb != "learn"
        or _rows(flat) == _rows_wanted(student)
        # A misfit of another kind is reported as it is.
        or patches < 1
        or math.isqrt(patches) ** 2 != patches
        or flat["pos_embedding"].shape[2] != sizes(student).width
    ):
        return student, flat, []
    owners = [] if image_size else _owners(source, drop)
    if not owners:
        flat["pos_embedding"] = resample_posemb(
            flat["pos_embedding"],
            student.image_size // sizes(student).patch_size,
            _resampling(source, student),
            cls_row=student.cls_position,
        )
    return student, flat, owners


def _translated(
    source: _Source, student: Student, subtree: str, drop: str
) -> tuple[Student, dict[str, np.ndarray]]:
    """Our names and present layout, less what is dropped, and the heads that there are."""
    if source.layout is None:
        flat = _big_vision(source, subtree)
    else:
        if source.spec is None:
            student = torch_names.adjust(source.layout, student, source.arrays, source.config)
        flat = torch_names.from_torch(source.layout, source.arrays, student)
    pattern = _compiled("drop", drop)
    flat = modernise(flat, student)
    flat = {name: value for name, value in flat.items() if not pattern.fullmatch(name)}
    widths = {}
    for head, field in HEADS.items():
        shape = np.shape(flat.get(f"{head}/kernel"))
        widths[field] = shape[-1] if shape else None
    return student._replace(**widths), flat


def _big_vision(source: _Source, default: str) -> dict[str, np.ndarray]:
    """Reads the parameters, which may lie beside an optimiser's state, and of them the subtree."""
    arrays, subtree = source.arrays, source.subtree
    roots = ("params/", "opt/target/")
    root = next((r for r in roots if any(n.startswith(r) for n in arrays)), "")
    names = [n.removeprefix(root) for n in arrays if n.startswith(root)]
    if subtree and not any(n.startswith(f"{subtree}/") for n in names):
        tops = sorted({n.split("/")[0] for n in names})
        raise InputError(
            f"{source.path}: it has no subtree {subtree!r}; expected one of {', '.join(tops[:9])}."
        )
    if not subtree and any(n.startswith(f"{default}/") for n in names):
        subtree = default
    prefix = f"{subtree}/" if subtree else ""
    return {n.removeprefix(prefix): arrays[root + n] for n in names if n.startswith(prefix)}


def _resampling(source: _Source, student: Student) -> str:
    """How the library whose names the file has resamples positions."""
    if source.layout is None:
        return "linear"
    if source.layout == "timm_vit" or student.registers:
        return "bicubic_antialias"
    patch = "embeddings.patch_embedding.weight"
    naflex = any(n.endswith(patch) and a.ndim == 2 for n, a in source.arrays.items() if patch in n)
    return "bilinear_antialias" if naflex else "bicubic"


def _hint(source: _Source, student: Student, diff: Diff, owners: list[str], drop: str) -> str:
    """What to do about parameters that do not fit."""
    if others := owners or _owners(source, drop) or _owners(source, drop, any_grid=True):
        hint = f"; these look like the weights of {', '.join(others)}"
        if diff == Diff({}, {}, {"pos_embedding": diff.misshapen.get("pos_embedding")}):
            hint += f" (image_size={student.image_size} resamples the position embedding)"
        return hint
    if towers := sorted({name.split("/")[0] for name in diff.unexpected} & TOWERS):
        return (
            f"; name the subtree that holds the image tower, as in {source.path.name}:{towers[0]}"
        )
    return "; name what to leave out with drop=… and what to draw at random with fresh=…"


def _owners(source: _Source, drop: str, *, any_grid: bool = False) -> list[str]:
    """The rows of the table that the file fits exactly, or but for the grid of positions."""
    # The shapes are enough; an array of one repeated number has no size in memory.
    zero = np.zeros((), np.float32)
    outline = {name: np.broadcast_to(zero, value.shape) for name, value in source.arrays.items()}
    source = source._replace(arrays=outline)
    owners = []
    for name, row in zoo.ZOO.items():
        student, flat = _translated(source, row.student, row.subtree, drop)
        width, *_, patch = sizes(student)
        wanted = _rows_wanted(student)
        # First what is quick to tell: the whole tree takes a second.
        if np.shape(flat.get("embedding/kernel")) != (patch, patch, 3, width) or (
            _rows(flat) != wanted and not (any_grid and wanted and _rows(flat))
        ):
            continue
        if wanted:
            flat["pos_embedding"] = np.broadcast_to(zero, (1, wanted, width))
        if difference(student, flat) == NO_DIFFERENCE:
            owners.append(name)
    return owners


def _split(weights: str | Path) -> tuple[Path, str]:
    path, _, subtree = str(weights).rpartition(":")
    return (Path(path), subtree) if Path(path).exists() and path else (Path(weights), "")


def _config(path: Path) -> dict[str, Any] | None:
    path = (path if path.is_dir() else path.parent) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable ({error}); expected JSON.") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: it holds a {type(config).__name__}; expected a JSON object.")
    return config


def _check_agreement(source: _Source, student: Student, given: Mapping[str, Any]) -> None:
    for field in Student._fields:
        found, expected = getattr(source.spec, field), getattr(student, field)
        if field not in (*HEADS.values(), *IMPLIED, *given) and found != expected:
            way_out = "expected the row of the table that the student was made from"
            if field in ("image_size", "layer"):
                way_out = f"pass {field}={found!r} to load it so"
            raise InputError(
                f"{source.path}: its specification says {field} {found!r} and {source.name} says "
                f"{expected!r}; {way_out} (students.load_weights goes by the file alone)."
            )


def _rows(flat: Mapping[str, np.ndarray]) -> int:
    shape = np.shape(flat.get("pos_embedding"))
    return shape[1] if len(shape) == 3 else 0


def _rows_wanted(student: Student) -> int:
    if student.posemb != "learn":
        return 0
    return (student.image_size // sizes(student).patch_size) ** 2 + student.cls_position


def _compiled(argument: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"{argument}={pattern!r} is not a regular expression ({error}); expected one that "
            f"matches names of parameters, such as {CLASSIFIER!r}."
        ) from None
