"""Pictures → embeddings: a network of the table over a folder, an `.npz` or a tfds dataset.

Every process decodes its own rows of each batch, in threads and one batch ahead of the devices; the
first process writes. A shard of finished embeddings is kept in the step's scratch folder until all
are done, so that a run that was cut off goes on from the last one, on any number of devices.
"""

import contextlib
import functools
import hashlib
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, UInt8

from alignet import students
from alignet.data.decoding import decode_ahead, read_tag
from alignet.data.embeddings import Embeddings, write_embeddings
from alignet.data.images import Source, first_repeated, open_source
from alignet.errors import InputError
from alignet.runtime import files, stages
from alignet.runtime import mesh as meshes
from alignet.runtime.progress import progress
from alignet.students import Embedder, inference, layouts

CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "backend": ("alignet", "big_vision"),
    "unreadable": ("fail", "skip"),
    "not_rgb": ("convert", "skip", "fail"),
}
LEAST = {"image_size": 0, "layer": -1, "batch_per_device": 0, "shard_size": 1}


class Part(NamedTuple):
    """What became of some of the pictures.

    Attributes:
      ids: of the rows of `embeddings`.
      embeddings: of the pictures that were not skipped.
      unreadable: id and reason.
      not_rgb: id and what it is instead.
    """

    ids: list[str]
    embeddings: Float[np.ndarray, "n d"]
    unreadable: list[tuple[str, str]]
    not_rgb: list[tuple[str, str]]


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> None:
    """Embeds `config.images` with `config.model` and prints what it did; see configs/embed.py.

    Raises:
      InputError: a wrong config; weights or pictures that are not what they should be.
    """
    _check(config)
    source = open_source(config.images, data_dir=config.data_dir)
    embedder = students.load(
        config.model,
        config.weights,
        **layer_and_size(config),
        compute=students.Compute(config.dtype, config.scan, backend=config.backend),
    )
    model = config.model
    if config.layer >= 0:
        model += f"-layer{config.layer}"
    if config.image_size:
        model += f"-{config.image_size}px"
    name = re.sub(r"[^\w.-]+", "-", f"{model}_{source.name}")
    settings = {k: config[k] for k in ("shard_size", "unreadable", "not_rgb")}
    settings["batch_per_device"] = config.batch_per_device or inference.default_batch()
    make(Path(workdir) / f"{name}.npz", embedder, source, **settings)


def layer_and_size(config: ml_collections.ConfigDict) -> dict[str, int | None]:
    """What a recipe's numbers mean to `students.load`: a layer of −1 or a size of 0 is none."""
    return {
        "layer": None if config.layer < 0 else config.layer,
        "image_size": config.image_size or None,
    }


def every_picture(shard_size: int, batch_per_device: int = 0) -> dict[str, Any]:
    """Settings of `make` for recipes that can do without no picture; 0 for the default batch."""
    return {
        "batch_per_device": batch_per_device or inference.default_batch(),
        "shard_size": shard_size,
        "unreadable": "fail",
        "not_rgb": "convert",
    }


def make(artifact: Path, embedder: Embedder, source: Source, **settings: Any) -> None:
    """Makes the embeddings file, unless it is up to date, and `<name>.pictures.json` beside it.

    Every process calls this. The file is up to date while the network, its parameters, the
    pictures' fingerprint, the settings and the libraries' versions are the same.

    Args:
      artifact: the `.npz` to make.
      embedder: the network.
      source: the pictures, the same in every process.
      settings: of `embed_images`.

    Raises:
      InputError: as `embed_images` does; or, in the first process and after everything was
        written, a picture was unreadable or not RGB that is to fail.
    """
    counts = multihost_utils.process_allgather(np.array(source.n))
    if (counts != source.n).any():
        raise InputError(
            f"{source.name}: the processes see {counts.tolist()} pictures; expected the same ones."
        )
    if jax.process_index() > 0:
        embed_images(embedder, source, None, None, **settings)
        return
    # Not the size of shards nor what is to fail: the bytes are the same either way.
    wanted = {
        "student": embedder.student,
        "compute": embedder.compute,
        "params": _digest(embedder.params),
        "images": source.fingerprint,
        "batch_per_device": settings["batch_per_device"],
        "skip_not_rgb": settings["not_rgb"] != "convert",
    }
    made_with, rate = stages.config_hash(wanted), None
    report = artifact.with_suffix(".pictures.json")
    if files.read_json(report).get("config_hash") != made_with:
        # The one is of no use without the other.
        artifact.with_name(f"{artifact.name}.manifest.json").unlink(missing_ok=True)

    def step(out: Path, scratch: Path) -> None:
        nonlocal rate
        found, rate = embed_images(embedder, source, out, scratch, **settings)
        files.remove_temporaries(report)
        files.write_json(report, found | {"config_hash": made_with})

    stages.run(artifact, step, config=wanted, inputs={})
    if rate is None:
        _first_says(np.zeros(len(_cut(range(source.n), settings["shard_size"])), bool))
    found = files.read_json(report)
    _refuse(source, found, report, policy=settings)

    devices = f"{jax.device_count()} × {jax.devices()[0].device_kind}"
    speed = f", {rate:.1f} images/s on {devices}" if rate else ""
    print(
        f"{artifact}: {found['embeddings']} of {found['images']} images, "
        f"{found['dimension']} dimensions{speed}"
    )
    for kind in ("unreadable", "not_rgb"):
        pictures = found[kind]
        if pictures:
            done = {"skip": "skipped", "convert": "converted"}[settings[kind]]
            names = ", ".join(f"{name} ({why})" for name, why in islice(pictures.items(), 3))
            more = ", …" if len(pictures) > 3 else ""
            print(f"{done} {len(pictures)} {kind.replace('_rgb', ' RGB')}: {names}{more}")
    print(f"Details: {report}")


def embed_images(
    embedder: Embedder,
    source: Source,
    out: Path | None,
    scratch: Path | None,
    *,
    batch_per_device: int,
    shard_size: int,
    unreadable: str,
    not_rgb: str,
) -> tuple[dict[str, Any], float]:
    """Embeds pictures over every device of every process and goes on where it was cut off.

    Every device runs the same program on the same rows, however many devices there are, and so
    gives the same bits.

    Args:
      embedder: the network.
      source: the pictures.
      out: where the first process writes the embeddings; None in the others.
      scratch: where the first process keeps finished shards; None in the others.
      batch_per_device: pictures in flight on each device; the host holds two such batches.
      shard_size: pictures a shard, the most that an interruption can lose.
      unreadable: "fail" or "skip", what cannot be decoded; left out here, `make` fails.
      not_rgb: "convert", "skip" or "fail", what is not plain 8-bit RGB; likewise.

    Returns:
      Counts, and every picture that was unreadable or not RGB; and images a second after the first
      batch, which waits for the compiler, 0 if there was no other. Of use in the first process
      only.

    Raises:
      InputError: nothing is left after skipping, an id comes twice, an embedding is not finite.
    """
    ############################## What is to do ##############################
    first = scratch is not None
    shards = _cut(range(source.n), shard_size)
    paths = [scratch / f"{shard_size}-{i:06}.npz" if first else None for i in range(len(shards))]
    missing = _first_says(np.array([not first or not path.is_file() for path in paths]))
    to_do = [i for i in range(len(shards)) if missing[i]]
    n = sum(len(shards[i]) for i in to_do)
    if first and n < source.n:
        print(f"embed: {source.n - n} of {source.n} images are done", file=sys.stderr, flush=True)

    ############################## Shard after shard ##############################
    batches = {i: _cut(shards[i], batch_per_device * jax.device_count()) for i in to_do}
    parts = _embedded(
        embedder,
        source,
        [batch for i in to_do for batch in batches[i]],
        batch_per_device=batch_per_device,
        only_rgb=not_rgb != "convert",
    )
    rate, start, compiled = 0.0, 0.0, 0
    with progress(total=n, desc="embed", unit=" image") as bar, contextlib.closing(parts):
        for i in to_do:
            done = []
            for batch in batches[i]:
                done.append(next(parts))
                bar.update(len(batch))
                if not compiled:
                    start, compiled = time.perf_counter(), bar.n
                elif bar.n == n:
                    rate = (n - compiled) / (time.perf_counter() - start)
            if first:
                _write_shard(paths[i], done)

    ############################## One file ##############################
    return (_join(out, paths, source) if first else {}), rate


def embed_source(embedder: Embedder, source: Source) -> Embeddings:
    """Embeds pictures in memory, in a single process; `make` is for many.

    Args:
      embedder: the network.
      source: the pictures, at least one.

    Raises:
      InputError: a picture cannot be read, or an embedding is not finite.
    """
    batch_per_device = inference.default_batch()
    batches = _cut(range(source.n), batch_per_device * jax.device_count())
    parts = [*_embedded(embedder, source, batches, batch_per_device=batch_per_device)]
    for part in parts:
        if part.unreadable:
            name, why = part.unreadable[0]
            raise InputError(f"{source.name}: {name} cannot be read as a picture ({why}).")
    ids = np.array([name for part in parts for name in part.ids], np.str_)
    return Embeddings(ids, np.concatenate([part.embeddings for part in parts]))


def _embedded(
    embedder: Embedder,
    source: Source,
    batches: Sequence[range],
    *,
    batch_per_device: int,
    only_rgb: bool = False,
) -> Iterator[Part]:
    """Embeds batch after batch; this process decodes the rows of its own devices."""
    student, params, compute = embedder
    mesh = meshes.make_mesh()
    params = inference.place(params, compute, mesh)
    n, process = batch_per_device * jax.local_device_count(), jax.process_index()

    def settle(places: range, z: jax.Array, tags: jax.Array) -> Part:
        z = np.asarray(z, np.float32)[: len(places)]
        read = [read_tag(tag) for tag in np.asarray(tags)[: len(places)]]
        unreadable = [(tag.id, tag.unreadable) for tag in read if tag.unreadable]
        not_rgb = [(tag.id, tag.not_rgb) for tag in read if tag.not_rgb and not tag.unreadable]
        skipped = [bool(tag.unreadable or (tag.not_rgb and only_rgb)) for tag in read]
        kept = [row for row, skip in enumerate(skipped) if not skip]
        ids, z = [read[row].id for row in kept], z[kept]
        finite = np.isfinite(z).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{source.name}: the embedding of {ids[np.argmin(finite)]} is not finite; "
                "expected finite numbers, which float32 may give where bfloat16 does not."
            )
        return Part(ids, z, unreadable, not_rgb)

    waiting = None
    fit = functools.partial(students.resize, student)
    rows = slice(n * process, n * (process + 1))
    for batch in decode_ahead(source, fit, batches, rows=rows, size=student.image_size):
        pixels, tags = meshes.shard_batch(mesh, (batch.pixels, batch.tags))
        z = inference.pre_logits(student, compute, mesh, params, pixels)
        # Fetched one batch late, so that the devices never wait for the host.
        if waiting:
            yield settle(*waiting)
        waiting = batch.places, z, _everywhere(mesh, tags)
    if waiting:
        yield settle(*waiting)


@functools.partial(jax.jit, static_argnums=0)
def _everywhere(mesh: Mesh, tags: UInt8[Array, "b t"]) -> UInt8[Array, "b t"]:
    # So that the first process knows what the others have read.
    return jax.lax.with_sharding_constraint(tags, NamedSharding(mesh, PartitionSpec()))


def _write_shard(path: Path, parts: Sequence[Part]) -> None:
    files.write_npz(
        path,
        ids=np.array([name for part in parts for name in part.ids], np.str_),
        embeddings=np.concatenate([part.embeddings for part in parts]),
        unreadable=_pairs(pair for part in parts for pair in part.unreadable),
        not_rgb=_pairs(pair for part in parts for pair in part.not_rgb),
    )


def _pairs(pairs: Iterable[tuple[str, str]]) -> np.ndarray:
    return np.array([*pairs], np.str_).reshape(-1, 2)


def _join(out: Path, paths: Sequence[Path], source: Source) -> dict[str, Any]:
    """Writes all shards to one file, one in memory at a time."""
    expected = "expected a finished shard (delete it and run again)"

    def read(name: str) -> Iterator[np.ndarray]:
        return (files.read_npz(path, (name,), expected=expected)[0] for path in paths)

    ids, unreadable, not_rgb = (
        np.concatenate([*read(name)]) for name in ("ids", "unreadable", "not_rgb")
    )
    if len(ids) == 0:
        raise InputError(
            f"{source.name}: all {source.n} pictures were skipped, {len(unreadable)} as unreadable "
            f"and {len(not_rgb)} as not RGB; expected at least one to embed."
        )
    repeated = first_repeated(ids.tolist())
    if repeated is not None:
        raise InputError(f"{source.name}: the id {repeated!r} comes twice; expected unique ids.")
    dimension = next(read("embeddings")).shape[1]
    write_embeddings(out, ids, read("embeddings"), dimension=dimension, dtype="float32")
    return {
        "images": source.n,
        "embeddings": len(ids),
        "dimension": dimension,
        "unreadable": dict(unreadable.tolist()),
        "not_rgb": dict(not_rgb.tolist()),
    }


def _refuse(
    source: Source, found: Mapping[str, Any], report: Path, *, policy: Mapping[str, Any]
) -> None:
    for kind, what in (("unreadable", "cannot be read"), ("not_rgb", "are not RGB")):
        if found[kind] and policy[kind] == "fail":
            name, why = next(iter(found[kind].items()))
            raise InputError(
                f"{source.name}: {len(found[kind])} of {source.n} pictures {what}, the first "
                f"{name} ({why}); listed in {report}; --config.{kind}=skip leaves them out."
            )


def _cut(places: range, size: int) -> list[range]:
    return [places[start : start + size] for start in range(0, len(places), size)]


def _first_says(answer: np.ndarray) -> np.ndarray:
    return np.asarray(multihost_utils.broadcast_one_to_all(answer))


def _digest(params: students.Params) -> str:
    state = hashlib.sha256()
    for name, value in sorted(layouts.flatten(params).items()):
        state.update(f"{name} {np.shape(value)} {value.dtype}\n".encode())
        state.update(np.ascontiguousarray(value))
    return state.hexdigest()


def _check(config: ml_collections.ConfigDict) -> None:
    for name in ("model", "weights", "images"):
        if not config[name]:
            raise InputError(f"config.{name} is empty; expected --config.{name}=…")
    for name, choices in CHOICES.items():
        if config[name] not in choices:
            raise InputError(
                f"config.{name} is {config[name]!r}; expected one of {', '.join(choices)}."
            )
    for name, least in LEAST.items():
        if config[name] < least:
            raise InputError(f"config.{name} is {config[name]}; expected at least {least}.")
