"""Photographs for a network: which picture of a folder a name means, and what is made of them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alignet.data.embeddings import (
    Embeddings,
    load_embeddings,
    save_embeddings,
    write_embeddings,
)
from alignet.data.images import Source, open_source, same_picture, some
from alignet.errors import Absent, InputError
from alignet.runtime import stages
from alignet.runtime.progress import progress

# The most photographs that an interruption can lose.
SHARD = 64
Network = Callable[[Source], Embeddings]


def from_folder(path: Path) -> Source:
    """What `open_source` opens, called by its whole path.

    Raises:
      Absent: there is nothing.
      InputError: it is malformed or holds no pictures.
    """
    if not path.exists():
        raise Absent(f"{path}: there are no photographs.")
    return open_source(path)._replace(name=str(path))


def from_pixels(name: str, ids: np.ndarray | None, pixels: UInt8[np.ndarray, "n h w 3"]) -> Source:
    """Photographs in memory; without ids they are numbered."""
    names = [str(i) for i in range(len(pixels))] if ids is None else ids.tolist()
    state = hashlib.sha256(json.dumps([names, pixels.shape]).encode())
    state.update(np.ascontiguousarray(pixels))
    return Source(name, len(names), lambda i: (names[i], pixels[i]), state.hexdigest())


def stems(source: Source) -> Iterator[str]:
    """File names without the suffix, in order."""
    return (_stem(source.read(place)[0]) for place in range(source.n))


def by_name(source: Source) -> dict[str, list[int]]:
    """Places of the photographs by id, which is a path inside the folder, and by stem."""
    places: dict[str, list[int]] = {}
    for place in range(source.n):
        name = source.read(place)[0]
        for called in {name, _stem(name)}:
            places.setdefault(called, []).append(place)
    return places


def only(source: Source, places: Sequence[int]) -> int:
    """The place of the one photograph among some of the same name, of which there may be copies.

    Raises:
      InputError: they are different photographs.
    """
    first, *others = _distinct(source, places)
    if others:
        one, other = (_called(*source.read(place)) for place in (first, others[0]))
        raise InputError(
            f"{source.name}: {one} and {other} have the same name but not the same pixels; "
            "expected one photograph of that name: rename or remove the other."
        )
    return first


def wanted_places(source: Source, wanted: Callable[[str], bool]) -> list[int]:
    """Places of the photographs whose id is wanted.

    Of the same photograph with the same name in the same outermost folder, which may be its class,
    there is one.
    """
    alike: dict[tuple[str, str], list[int]] = {}
    for place in range(source.n):
        name = source.read(place)[0]
        if wanted(name):
            alike.setdefault((name.partition("/")[0], _stem(name)), []).append(place)
    return sorted(place for places in alike.values() for place in _distinct(source, places))


def embedded(
    artifact: Path,
    source: Source,
    load: Callable[[], Network],
    *,
    made_with: Mapping[str, Any],
    desc: str,
) -> Embeddings:
    """Embeds photographs, unless the file is up to date; goes on where it was cut off.

    Args:
      artifact: the `.npz` to keep them in.
      source: the photographs, at least one.
      load: gives the network; called if there is something to embed.
      made_with: says which network and which photographs these are; JSON-serialisable.
      desc: what the bar of progress is called.

    Raises:
      InputError: a photograph cannot be read, or an embedding is not finite.
    """

    def step(out: Path, scratch: Path) -> None:
        shards = {
            scratch / f"{start:08}-{SHARD}.npz": range(start, min(start + SHARD, source.n))
            for start in range(0, source.n, SHARD)
        }
        to_do = {path: places for path, places in shards.items() if not path.is_file()}
        with progress(total=sum(map(len, to_do.values())), desc=desc, unit=" image") as bar:
            for path, places in to_do.items():
                save_embeddings(path, load()(some(source, places)))
                bar.update(len(places))
        # One at a time: a shard keeps its file open, and there may be thousands.
        ids = np.concatenate([load_embeddings(path).ids for path in shards])
        first = load_embeddings(next(iter(shards))).matrix
        blocks = (load_embeddings(path).matrix for path in shards)
        write_embeddings(out, ids, blocks, dimension=first.shape[1], dtype=first.dtype)

    return load_embeddings(stages.run(artifact, step, config=made_with, inputs={}))


def _distinct(source: Source, places: Sequence[int]) -> list[int]:
    """Leaves out photographs with the same pixels as one before."""
    kept: list[int] = []
    for place in places:
        picture = source.read(place)[1]
        if not any(same_picture(source.read(other)[1], picture) for other in kept):
            kept.append(place)
    return kept


def _stem(name: str) -> str:
    return name.rpartition("/")[2]


def _called(name: str, picture: object) -> str:
    return str(picture) if isinstance(picture, Path) else name
