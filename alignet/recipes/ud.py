"""UD of a network that is at hand: it embeds the THINGS objects, people chose between them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from alignet import embed, human_side, students, transform
from alignet.data.embeddings import Embeddings, load_embeddings, save_embeddings
from alignet.data.human import RELEASE, object_ids
from alignet.data.images import open_source, some
from alignet.errors import InputError
from alignet.runtime import stages

# How THINGS calls the photograph of an object that people saw.
SPELLINGS = ("{0}", "{0}_01b", "{0}/{0}_01b")


def check_width(path: str | Path, network: students.Embedder) -> None:
    """Raises InputError if a file is no transform, or not one for the network's embeddings."""
    _check_columns(path, len(transform.load_transform(path).b), network)


def check_people(people: ml_collections.ConfigDict) -> None:
    """Raises InputError if people's choices are not there."""
    path = _data_dir(people) / people.triplets
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected odd-one-out triplets ({RELEASE}).")


def embed_objects(
    people: ml_collections.ConfigDict,
    workdir: Path,
    network: students.Embedder,
    settings: Mapping[str, Any],
) -> Path:
    """The network's embeddings of the objects that people chose between; by every process.

    Args:
      people: as configs/things.py; with `embeddings`, these are taken, and "" embeds the
        photographs in data_dir/things/images.
      workdir: folder of the artifacts.
      network: whose embeddings.
      settings: of `embed.make`.

    Raises:
      InputError: there is no photograph of an object, or no order of the objects; or the embeddings
        are not as wide as the network's.
    """
    data_dir = _data_dir(people)
    if people.embeddings:
        found = embedded_objects(people, workdir)
        _check_columns(found, load_embeddings(found).matrix.shape[1], network)
        return found
    ids = object_ids(data_dir)
    if ids is None:
        raise InputError(
            f"{data_dir / 'things'}: objects have no names; expected unique_id.txt and sortindex."
        )
    source = open_source(data_dir / "things" / "images")
    place = {source.read(place)[0]: place for place in range(source.n)}
    called = [[s.format(name) for s in SPELLINGS if s.format(name) in place] for name in ids]
    absent = [name for name, found in zip(ids.tolist(), called, strict=True) if not found]
    if absent:
        raise InputError(
            f"{data_dir / 'things' / 'images'}: has no photograph of {len(absent)} of the "
            f"{len(ids)} objects, the first {absent[0]}; expected one of each."
        )
    found = workdir / "photographs.npz"
    shown = some(source, [place[names[0]] for names in called])
    embed.make(found, network, shown, **settings)
    if jax.process_index() > 0:
        return found

    def step(out: Path, _: Path) -> None:
        save_embeddings(out, Embeddings(ids, np.asarray(load_embeddings(found).matrix)))

    named = {"objects": ids.tolist()}
    inputs = {"photographs": found}
    out = embedded_objects(people, workdir)
    return stages.run(out, step, config=named, inputs=inputs)


def embedded_objects(people: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Where `embed_objects` puts them, or finds them."""
    if people.embeddings:
        return _data_dir(people) / people.embeddings
    return workdir / "objects.npz"


def fit(people: ml_collections.ConfigDict, workdir: Path, objects: Path) -> Path:
    """VICE and UD, fitted to people's choices; by one process.

    Args:
      people: as configs/things.py.
      workdir: folder of the artifacts.
      objects: embeddings of the objects.

    Returns:
      The transform.
    """
    data_dir = _data_dir(people)
    n_objects = len(human_side.object_embeddings(objects, data_dir=data_dir).matrix)
    human_side.split(people, workdir, triplets=data_dir / people.triplets, n_objects=n_objects)
    human_side.posterior(people, workdir, n_objects=n_objects)
    p_star = workdir / "p_star.npy"
    human_side.align(people, workdir, "ud", objects, targets=p_star, data_dir=data_dir)
    return workdir / "ud.npz"


def _data_dir(people: ml_collections.ConfigDict) -> Path:
    return human_side.data_dir(people, "config.people.data_dir")


def _check_columns(path: str | Path, columns: int, network: students.Embedder) -> None:
    student, params, _ = network
    side = student.image_size
    pixels = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    apply = students.network(student).apply
    width = jax.eval_shape(apply, {"params": params}, pixels)["pre_logits"].shape[-1]
    if columns != width:
        raise InputError(
            f"{path}: is of embeddings of {columns} columns and the network has {width}; expected "
            "one of this network's."
        )
