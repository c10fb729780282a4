"""A step of the chain: files in, one artifact out, skipped while it is up to date.

Beside every artifact lies `<artifact>.manifest.json`: the step's configuration, the versions, the
hashes of its inputs and of the artifact, and the time it took. A step runs again when any of the
first three changed or the artifact is not the file the manifest describes. The manifest is written
after the artifact, both atomically, so a step cut off anywhere is run again and gives the same
bits, being a function of its configuration and inputs alone.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

import alignet
from alignet.errors import InputError
from alignet.runtime import files

LIBRARIES = ("jax", "numpy", "scipy", "scikit-learn", "optax", "flax", "pillow")


def run(
    artifact: str | Path,
    step: Callable[[Path, Path], None],
    *,
    config: Any,
    inputs: Mapping[str, Path],
) -> Path:
    """Makes `artifact` by calling `step`, unless it is already there and up to date.

    Args:
      artifact: the file to make; without a suffix, a folder.
      step: called with a temporary path to write the artifact to, and with a scratch folder that
        survives an interruption (for partial results) and is removed when the step is done.
      config: everything besides the inputs that the result depends on; JSON-serialisable.
      inputs: files the step reads, by name.

    Returns:
      The artifact's path.

    Raises:
      InputError: an input is missing.
    """
    artifact = Path(artifact)
    for name, path in inputs.items():
        if not path.exists():
            raise InputError(
                f"{path}: no such file; expected {name} for {artifact.name} (README.md says where "
                "the data comes from)."
            )
    wanted = _wanted(config, inputs)
    manifest_path = _manifest_path(artifact)
    parts = artifact.parent / f"{artifact.name}.parts"
    if _is(artifact, wanted):
        # Left by a process that was killed after it had written the manifest.
        shutil.rmtree(parts, ignore_errors=True)
        print(f"{artifact.name}: up to date, skipped", file=sys.stderr, flush=True)
        return artifact
    print(f"{artifact.name}: running", file=sys.stderr, flush=True)
    key = hashlib.sha256(_json(wanted).encode()).hexdigest()[:16]
    files.remove_temporaries(artifact)
    files.remove_temporaries(manifest_path)
    for stale in parts.glob("*") if parts.is_dir() else ():
        if stale.name != key:
            shutil.rmtree(stale)
    scratch = parts / key
    scratch.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    whole = files.atomic_path if artifact.suffix else files.atomic_folder
    with whole(artifact) as temporary:
        step(temporary, scratch)
    seconds = time.perf_counter() - start
    status = artifact.stat()
    files.write_json(
        manifest_path,
        wanted
        | {
            "sha256": _sha256(artifact),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )
    shutil.rmtree(parts)
    print(f"{artifact.name}: done in {seconds:.1f} s", file=sys.stderr, flush=True)
    return artifact


def is_current(artifact: str | Path, *, config: Any, inputs: Mapping[str, Path]) -> bool:
    """Whether `run` would skip the step."""
    return _is(Path(artifact), _wanted(config, inputs))


def _wanted(config: Any, inputs: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "config": json.loads(_json(config)),
        "inputs": {name: file_hash(path) for name, path in inputs.items()},
        "versions": versions(),
    }


def _is(artifact: Path, wanted: Mapping[str, Any]) -> bool:
    manifest = files.read_json(_manifest_path(artifact))
    return (
        bool(manifest)
        and artifact.exists()
        and all(manifest.get(key) == value for key, value in wanted.items())
        and manifest.get("sha256") == file_hash(artifact)
    )


def file_hash(path: str | Path) -> str:
    """A file's SHA-256; an artifact unchanged since its manifest was written is not read again."""
    path = Path(path)
    status = path.stat()
    manifest = {} if path.is_dir() else files.read_json(_manifest_path(path))
    if (manifest.get("size"), manifest.get("mtime_ns")) == (status.st_size, status.st_mtime_ns):
        return manifest["sha256"]
    return _sha256(path)


def config_hash(config: Any) -> str:
    """Eight hexadecimal digits that name a configuration, printed with every result."""
    return hashlib.sha256(_json(config).encode()).hexdigest()[:8]


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {"alignet": alignet.__version__} | {name: metadata.version(name) for name in LIBRARIES}


def _sha256(path: Path) -> str:
    if path.is_file():
        return files.sha256(path)
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{files.sha256(file)} {file.relative_to(path)}" for file in inside]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _manifest_path(artifact: Path) -> Path:
    return artifact.with_name(artifact.name + ".manifest.json")


def _json(value: Any) -> str:
    def plain(item: Any) -> Any:
        if isinstance(item, ml_collections.ConfigDict):
            return item.to_dict()
        if isinstance(item, np.generic):
            return item.item()
        if isinstance(item, Path):
            return str(item)
        raise TypeError(f"a {type(item).__name__} cannot be part of a step's configuration")

    return json.dumps(value, default=plain, sort_keys=True)
