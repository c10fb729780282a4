"""Networks that are scored: a student's checkpoint, pretrained weights, or a SavedModel.

A network embeds photographs; what it made of a set is kept, so that an evaluation that was killed
goes on where it was.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignet.data.embeddings import Embeddings, load_embeddings
from alignet.data.images import Source, some
from alignet.errors import Absent, InputError
from alignet.runtime import stages
from evals import photographs as pictures
from evals.models import Found, Model, Photographs, absent, spelled


def from_checkpoint(path: Path, *, cache: Path, transform: Path | None = None) -> Model:
    """A student as it was saved; called after its folder or file.

    Args:
      path: what `students.save_weights` wrote, or a folder with it as `student.npz`.
      cache: folder for its embeddings.
      transform: a UD transform to apply to all rows.

    Raises:
      InputError: there is no such file.
    """
    name = path.resolve().name if path.is_dir() else path.stem
    path = path / "student.npz" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a student's weights.")

    def load() -> pictures.Network:
        from alignet import embed, students

        embedder = students.Embedder(*students.load_weights(path))
        return functools.partial(embed.embed_source, embedder)

    return _Network(name, path, [path], load, {}, cache, transform)


def from_zoo(
    name: str,
    weights: Path,
    layer: int | None = None,
    image_size: int | None = None,
    *,
    cache: Path,
    transform: Path | None = None,
) -> Model:
    """A model of the table with pretrained weights; arguments are those of `students.load`.

    Args:
      name: a row of the table.
      weights: of it.
      layer: the block, from 0, that is read out; None for the network's end.
      image_size: in pixels, if not the row's.
      cache: folder for its embeddings.
      transform: a UD transform to apply to all rows.

    Raises:
      InputError: there is no such row or file.
    """
    from alignet import students
    from alignet.students import zoo

    settings = {"student": zoo.find(name).student, "layer": layer, "image_size": image_size}
    if not weights.exists():
        raise InputError(f"{weights}: no such file or folder; expected the weights of {name}.")
    # Beside weights in Hugging Face's layout; it may say more than they do.
    config = weights.with_name("config.json")
    used = [weights, config] if weights.is_file() and config.is_file() else [weights]

    def load() -> pictures.Network:
        from alignet import embed

        embedder = students.load(name, weights, layer=layer, image_size=image_size)
        return functools.partial(embed.embed_source, embedder)

    called = name if layer is None else f"{name}, layer {layer}"
    called += f", {image_size} px" if image_size else ""
    return _Network(called, weights, used, load, settings, cache, transform)


def from_saved_model(
    path: Path, output: str | None = None, *, cache: Path, transform: Path | None = None
) -> Model:
    """A TensorFlow SavedModel, such as AligNet's authors released; called after its folder.

    Args:
      path: the folder.
      output: which of its outputs; None for `saved_model.load`'s own choice.
      cache: folder for its embeddings.
      transform: a UD transform to apply to all rows.

    Raises:
      InputError: there is no such folder.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; expected a SavedModel.")

    def load() -> pictures.Network:
        from alignet.students import saved_model

        return saved_model.load(path, **({"output": output} if output else {})).embed_source

    name = path.resolve().name + (f", {output}" if output else "")
    return _Network(name, path, [path], load, {"output": output}, cache, transform)


class _Network(Model):
    """Its weights are read when they are first needed, which is never if all rows were kept."""

    def __init__(
        self,
        name: str,
        path: Path,
        files: Sequence[Path],
        load: Callable[[], pictures.Network],
        settings: Mapping[str, Any],
        cache: Path,
        transform: Path | None,
    ):
        super().__init__(name, path, files, transform)
        self._load = functools.cache(load)
        self._weights, self._settings = files, settings
        self._cache = cache / re.sub(r"[^\w.-]+", "-", self.name)

    def _rows(self, prefix: str, ids: np.ndarray | None, photographs: Photographs | None) -> Found:
        if photographs is None:
            raise Absent(f"{self.path}: there are no photographs of {prefix} for it to see.")
        if isinstance(photographs, Source):
            # By the source's own name: it may be some of the set, and others are kept, too.
            found, places = self._kept_whole(photographs)
            if found is None:
                found = self._embedded(photographs.name, photographs)
            there = found.ids if places is None else found.ids[places]
            if ids is None or not np.array_equal(there, ids):
                raise ValueError(f"{prefix}: the ids are not those of the photographs, in order")
            return found.matrix, places
        if isinstance(photographs, Path):
            source = pictures.from_folder(photographs)
        else:
            source = pictures.from_pixels(prefix, ids, photographs)
        if ids is None:
            return self._embedded(prefix, source).matrix, None
        places = pictures.by_name(source)
        names = [spelled(prefix, name, places) for name in ids.tolist()]
        if not all(name in places for name in names):
            raise absent(prefix, source.name, pictures.stems(source), names)
        chosen = [pictures.only(source, places[name]) for name in names]
        # In the source's order: what is kept does not depend on the order of the ids.
        order = sorted({*chosen})
        matrix = self._embedded(prefix, some(source, order)).matrix
        return matrix, np.searchsorted(order, chosen)

    def _find(self, photographs: Path | Source, wanted: Callable[[str], bool]) -> Embeddings:
        source = photographs
        if isinstance(photographs, Path):
            source = pictures.from_folder(photographs)
        places = pictures.wanted_places(source, wanted)
        if not places:
            return Embeddings(np.array([], np.str_), np.zeros((0, 1), np.float32))
        name = f"photographs/{Path(source.name).name}"
        return self._embedded(name, some(source, places))

    @functools.cached_property
    def _made_with(self) -> dict[str, Any]:
        hashes = [stages.file_hash(path) for path in self._weights]
        return {"weights": hashes, "settings": self._settings}

    def _kept_whole(self, source: Source) -> tuple[Embeddings | None, np.ndarray | None]:
        """Rows of all photographs that these are some of, if they are kept, and their places."""
        if source.part_of is None:
            return None, None
        whole, places = source.part_of
        artifact = self._cache / f"{whole.name}.npz"
        if not stages.is_current(artifact, config=self._config(whole), inputs={}):
            return None, None
        return load_embeddings(artifact), places

    def _embedded(self, name: str, source: Source) -> Embeddings:
        artifact, desc = self._cache / f"{name}.npz", f"{self.name}: {name}"
        config = self._config(source)
        return pictures.embedded(artifact, source, self._load, made_with=config, desc=desc)

    def _config(self, source: Source) -> dict[str, Any]:
        return self._made_with | {"photographs": source.fingerprint}
