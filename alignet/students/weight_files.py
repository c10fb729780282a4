"""Files of weights, whoever wrote them: `.npz`, `.safetensors` and orbax folders."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import safetensors

from alignet.errors import InputError
from alignet.students import vit
from alignet.students.layouts import flatten
from alignet.students.student import Preprocessing, Student

SPEC = "student"
INDEX = "model.safetensors.index.json"

TORCH_TO_SAFETENSORS = (
    "import torch, safetensors.torch as s; s.save_file({{k: v.clone().contiguous() for k, v in "
    "torch.load('{name}', weights_only=True).items()}}, '{stem}.safetensors')"
)
MSGPACK_TO_NPZ = (
    "import flax, numpy; numpy.savez('{stem}.npz', **flax.traverse_util.flatten_dict("
    "flax.serialization.msgpack_restore(open('{name}', 'rb').read()), sep='/'))"
)
CONVERSIONS = dict.fromkeys((".bin", ".pt", ".pth", ".ckpt", ".pkl"), TORCH_TO_SAFETENSORS)
CONVERSIONS[".msgpack"] = MSGPACK_TO_NPZ


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a file by name; each is read when asked for, floats as float32."""

    def __init__(self, path: Path, readers: Mapping[str, Callable[[], Any]]) -> None:
        self.path = path
        self._readers = readers

    def __getitem__(self, name: str) -> np.ndarray:
        reader = self._readers[name]
        with _reading(self.path):
            value = np.asarray(reader())
        if value.dtype == "V2":
            # NumPy's own files have no name for bfloat16.
            value = value.view(jax.numpy.bfloat16)
        if value.dtype == jax.numpy.bfloat16 or value.dtype.kind == "f":
            with np.errstate(over="ignore"):
                value = value.astype(np.float32, copy=False)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


@contextlib.contextmanager
def open_weights(path: str | Path) -> Iterator[tuple[Arrays, Student | None]]:
    """Opens a file or folder of weights; nothing in it is trusted, and no pickle is read.

    Args:
        path: an `.npz` (big_vision's or ours); a `.safetensors` file; a folder with
            `model.safetensors`, or with shards and their index; or a folder written by orbax: a
            tree of parameters, or the checkpoints of `alignet.distill`, of which the newest is
            taken.

    Yields:
        The arrays, and the specification if it was written here.

    Raises:
        InputError: there is no such file, or it is damaged or of another kind.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a student's weights.")
    with contextlib.ExitStack() as stack:
        if path.is_dir() and (path / "model.safetensors").is_file():
            path = path / "model.safetensors"
        if path.suffix == ".npz" and path.is_file():
            with _reading(path):
                file = stack.enter_context(open(path, "rb"))
                archive = stack.enter_context(np.lib.npyio.NpzFile(file, allow_pickle=False))
                readers = {n: functools.partial(archive.__getitem__, n) for n in archive.files}
                spec = str(archive[SPEC]) if readers.pop(SPEC, None) else None
            yield Arrays(path, readers), _spec(path, spec)
        elif path.suffix == ".safetensors" and path.is_file():
            readers, metadata = _tensors(stack, path)
            yield Arrays(path, readers), _spec(path, metadata.get(SPEC))
        elif (path / INDEX).is_file():
            yield Arrays(path, _sharded(stack, path)), None
        elif folder := _orbax_folder(path):
            yield _read_orbax(folder)
        else:
            raise InputError(f"{path}: {_advice(path)}.")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    # NumPy, zipfile, safetensors and orbax have no one type for a damaged file.
    except Exception as error:
        reason = (str(error).strip().split("\n")[0] or type(error).__name__)[:200]
        raise InputError(
            f"{path}: not readable as weights ({reason}); expected a whole file of plain arrays."
        ) from error


def _tensors(
    stack: contextlib.ExitStack, path: Path
) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """Readers of a file's tensors by name, and its metadata."""
    with _reading(path):
        file = stack.enter_context(safetensors.safe_open(path, framework="np"))
        readers = {name: functools.partial(file.get_tensor, name) for name in file.keys()}  # noqa: SIM118
        return readers, file.metadata() or {}


def _sharded(stack: contextlib.ExitStack, folder: Path) -> dict[str, Callable[[], Any]]:
    with _reading(folder / INDEX):
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        shard_of = {str(name): str(shard) for name, shard in index["weight_map"].items()}
    readers = {}
    for shard in sorted(set(shard_of.values())):
        # A name with a folder in it could point anywhere.
        if Path(shard).name != shard or not (folder / shard).is_file():
            raise InputError(
                f"{folder / INDEX}: it names {shard!r}, which is not beside it; expected every "
                "shard of the set in the same folder."
            )
        readers |= _tensors(stack, folder / shard)[0]
    lost = sorted(shard_of.keys() - readers.keys())
    if lost:
        raise InputError(
            f"{folder / shard_of[lost[0]]}: it lacks {lost[0]}, which {INDEX} says it has; "
            "expected shards and an index of one set."
        )
    return {name: readers[name] for name in shard_of}


def _orbax_folder(path: Path) -> Path | None:
    """The folder of the tree itself, in a folder that orbax wrote."""
    if not path.is_dir():
        return None
    steps = [child for child in path.iterdir() if child.name.isdecimal()]
    path = max(steps, key=lambda step: int(step.name), default=path)
    for folder in (path, path / "state", path / "default", path / "params"):
        if (folder / "_METADATA").is_file():
            return folder.absolute()
    return None


def _read_orbax(folder: Path) -> tuple[Arrays, Student | None]:
    """The "params" of a tree, or all of it; an optimiser's state stays on disk."""
    meta = folder.parent / "meta" / "metadata"
    with _reading(folder):
        reader = ocp.PyTreeCheckpointer()
        tree = reader.metadata(folder).item_metadata.tree
        tree = {"params": tree["params"]} if "params" in tree else dict(tree)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        restore = ocp.args.PyTreeRestore(tree, restore_args=as_numpy, partial_restore=True)
        flat = flatten(reader.restore(folder, args=restore), "")
        fields = json.loads(meta.read_text(encoding="utf-8")) if meta.is_file() else {}
        spec = json.dumps(fields[SPEC]) if SPEC in fields else None
    readers = {name: functools.partial(flat.get, name) for name in flat}
    return Arrays(folder, readers), _spec(meta, spec)


def _advice(path: Path) -> str:
    """What to do with something that is not read."""
    candidates = [path, *sorted(path.iterdir())] if path.is_dir() else [path]
    for file in candidates:
        if command := CONVERSIONS.get(file.suffix):
            # A name that the shell or Python could take for code is not repeated.
            plain = not {*str(file)} & {*"'\"`$\\\n"}
            file_name = str(file) if plain else f"FILE{file.suffix}"
            command = command.format(name=file_name, stem=file_name.removesuffix(file.suffix))
            return f'{file.name} is of a kind that is not read; convert it: python -c "{command}"'
    return (
        "no weights in a known format; expected an .npz, a .safetensors file, a folder with "
        f"model.safetensors or {INDEX}, or a checkpoint folder written by orbax"
    )


def _spec(path: Path, text: str | None) -> Student | None:
    if text is None:
        return None
    try:
        fields = json.loads(text)
        scaling = fields.pop("preprocessing", {})
        scaling = Preprocessing(**scaling) if isinstance(scaling, dict) else Preprocessing(*scaling)
        mean, std = tuple(map(float, scaling.mean)), tuple(map(float, scaling.std))
        student = Student(**fields, preprocessing=scaling._replace(mean=mean, std=std))
        for field, kind in Student.__annotations__.items():
            if not isinstance(getattr(student, field), kind):
                raise TypeError(f"{field} is {getattr(student, field)!r}")
        vit.network(student)
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: no readable specification under {SPEC!r} ({error}); expected weights written "
            "by students.save_weights."
        ) from error
    return student
