"""One model's rows for whatever objects are asked for; from embeddings here, else `networks`.

Rows of an embeddings file are called as the photographs are, without the suffix, or the same after
the set's name ("peterson/animals/stim-0007"). Photographs in folders are called by their path in
the set's ("n01440764/n01440764_10026"), or by their file name where no two have the same.
"""

import bisect
import contextlib
import functools
import glob
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from alignet.data import images
from alignet.data.embeddings import Embeddings, differences, load_embeddings
from alignet.data.images import Source
from alignet.errors import Absent, InputError
from alignet.runtime import stages
from evals.answers import PEOPLE

THINGS = "things"
SUFFIXES = (".npy", ".npz")
# Ids that say nothing of the set: "17", "train/17".
NUMBERED = re.compile(r"([^/]+/)?\d+")
Photographs = Path | Source | UInt8[np.ndarray, "n h w 3"]


@runtime_checkable
class Rows(Protocol):
    """A matrix of which only the rows asked for are in memory; an array is one, too."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def __getitem__(self, places: slice | Int[np.ndarray, "k"]) -> Float[np.ndarray, "k p"]: ...


@contextlib.contextmanager
def naming(name: Path | str) -> Iterator[None]:
    """Puts a name before the complaint of a function that was given arrays, not files."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{name}: {error}") from None


# A matrix, perhaps memory-mapped, and the places of the rows asked for; None for all of them.
Found = tuple[np.ndarray, Int[np.ndarray, "n"] | None]


class _Rows:
    def __init__(
        self,
        matrix: np.ndarray,
        places: np.ndarray | None,
        transformed: Callable[[np.ndarray], np.ndarray],
    ):
        self._matrix, self._places, self._transformed = matrix, places, transformed
        n = len(matrix if places is None else places)
        self.shape = (n, transformed(matrix[:1]).shape[1])

    def __getitem__(self, places: slice | Int[np.ndarray, "k"]) -> np.ndarray:
        chosen = places if self._places is None else self._places[places]
        return self._transformed(np.asarray(self._matrix[chosen]))


class Model:
    """What is scored; made by `from_embeddings` and the other functions of that kind.

    Attributes:
      name: what reports call it.
      path: the file or folder that its rows or weights come from.
      files: all files and folders that its rows depend on, but for photographs.
    """

    def __init__(self, name: str, path: Path, files: Iterable[Path], transform: Path | None):
        # People's own answers stand beside the models'.
        self.name = f"{name} (model)" if name == PEOPLE else name
        self.path = path
        self.files = (*files, *((transform,) if transform else ()))
        self._transform = None
        if transform:
            # Imported only here: scoring embeddings as they are needs no JAX.
            from alignet.transform import load_transform

            self._transform = load_transform(transform)

    @functools.cached_property
    def hashes(self) -> Mapping[str, str]:
        """SHA-256 of the files, by path."""
        return {str(path): stages.file_hash(path) for path in self.files}

    def rows(
        self, prefix: str, ids: np.ndarray | None, photographs: Photographs | None
    ) -> Float[np.ndarray, "n p"]:
        """Rows of a set of objects.

        Args:
          prefix: the set: "things", "levels", "peterson/animals". Where the model's ids begin with
            it and a slash, only those count.
          ids: str [n], the photographs' file names without the suffix; of THINGS objects the names,
            where a photograph may also be called as in the release ("aardvark_01b"). None where
            the objects have no names: all rows, in the order in which the model has them.
          photographs: a folder of them, or a source of them or the pixels in the order of `ids`,
            for a network; None if there are none.

        Returns:
          One row an id, in order, float32 or float64, finite.

        Raises:
          Absent: there are no photographs, or not all ids are there.
          InputError: two different rows or photographs have the same name, a photograph is
            damaged, or the transform is for embeddings of another width.
        """
        matrix, places = self._rows(prefix, ids, photographs)
        return self._transformed(matrix if places is None else matrix[places])

    def lookup(self, prefix: str, ids: np.ndarray | None, photographs: Photographs | None) -> Rows:
        """The same as `rows`, of which a slice is read when it is asked for."""
        return _Rows(*self._rows(prefix, ids, photographs), self._transformed)

    def find(self, photographs: Path | Source, wanted: Callable[[str], bool]) -> Embeddings:
        """Rows of all photographs whose id is wanted, perhaps none.

        Args:
          photographs: a folder of them, for a network.
          wanted: tells by an id, which of a photograph is its path inside the folder without the
            suffix.

        Raises:
          Absent: there are no photographs, or the embeddings have no ids.
          InputError: as for `rows`.
        """
        found = self._find(photographs, wanted)
        return found._replace(matrix=self._transformed(found.matrix)) if len(found.ids) else found

    def _rows(self, prefix: str, ids: np.ndarray | None, photographs: Photographs | None) -> Found:
        raise NotImplementedError

    def _find(self, photographs: Path | Source, wanted: Callable[[str], bool]) -> Embeddings:
        raise NotImplementedError

    def _transformed(self, matrix: np.ndarray) -> np.ndarray:
        if self._transform is None:
            return matrix
        from alignet.transform import apply_transform

        with naming(self.path):
            transformed = apply_transform(self._transform, matrix)
        if not np.isfinite(transformed).all():
            raise InputError(
                f"{self.path}: what {self.files[-1]} makes of it is not finite; expected a "
                "transform that was fitted to such embeddings."
            )
        return transformed


############################## Embeddings ##############################


def from_embeddings(pattern: str | Path, *, transform: Path | None = None) -> list[Model]:
    """Models from embeddings, sorted by path and called after their files or folders.

    Args:
      pattern: a file, see `load_embeddings`; a folder, which is one model with an `.npz` a set,
        called as the set is ("things.npz", "cifar100/test.npz"), as `OUT/embeddings/MODEL` is; or
        a pattern of files, or of folders if it fits none ("features/*.npz", "features/*").
      transform: a UD transform to apply to all rows.

    Raises:
      InputError: there is no such file, or one is damaged.
    """
    paths = [Path(pattern)]
    if not paths[0].exists():
        found = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]
        paths = [path for path in found if path.suffix in SUFFIXES and path.is_file()]
        # Of a model that could not be embedded there may be a folder that says why.
        folders = (path for path in found if path.is_dir())
        paths = paths or [path for path in folders if any(path.rglob("*.npz"))]
    if not paths:
        raise InputError(f"{pattern}: no such file; expected embeddings in an .npz or .npy.")
    return [
        (_Folder if path.is_dir() else _File)(name, path, transform)
        for name, path in zip(_names(paths), paths, strict=True)
    ]


def _names(paths: Sequence[Path]) -> list[str]:
    """As little of each path's end as tells it from the others."""

    def end(path: Path, depth: int) -> str:
        # The dot in a folder's name, resnet50.a1_in1k, is none before a suffix.
        whole = path if path.is_dir() else path.with_suffix("")
        return Path(*whole.parts[-depth:]).as_posix()

    names = []
    for path in paths:
        others = [other for other in paths if other != path]
        depths = range(1, len(path.parts) + 1)
        distinct = (d for d in depths if end(path, d) not in {end(other, d) for other in others})
        depth = next(distinct, None)
        names.append(str(path) if depth is None else end(path, depth))
    return names


class _File(Model):
    def __init__(self, name: str, path: Path, transform: Path | None):
        super().__init__(name, path, [path], transform)
        self._ids, self._matrix = load_embeddings(path)
        names = [] if self._ids is None else self._ids.tolist()
        self._row = {name: row for row, name in enumerate(names)}
        self._sorted = sorted(names)
        self._numbered: dict[str, np.ndarray] = {}

    def _rows(self, prefix: str, ids: np.ndarray | None, photographs: Photographs | None) -> Found:
        if ids is None:
            return self._matrix, None
        if self._ids is None:
            n = len(self._matrix)
            if prefix != THINGS:
                raise Absent(
                    f"{self.path}: its rows have no ids; expected an .npz with `ids` and "
                    f"`embeddings` for {prefix}."
                )
            if n != len(ids):
                raise InputError(
                    f"{self.path}: has {n:,} rows and no ids; expected {len(ids):,} rows, the "
                    "THINGS objects in the triplets' order, or an .npz with `ids`."
                )
            return self._matrix, None
        begin = f"{prefix}/"
        place = bisect.bisect_left(self._sorted, begin)
        if not any(name.startswith(begin) for name in self._sorted[place : place + 1]):
            begin = ""
        names = self._spelled(prefix, ids.tolist(), begin)
        if not all(name in self._row for name in names):
            known = (name for name in self._row if name.startswith(begin))
            raise absent(prefix, self.path, known, names)
        places = np.array([self._row[name] for name in names])
        if not begin and all(map(NUMBERED.fullmatch, names)):
            self._check_numbered(prefix, places)
        return self._matrix, places

    def _spelled(self, prefix: str, ids: list[str], begin: str) -> list[str]:
        """What ids are called here; as they are if not all of them are here."""
        whole = [spelled(prefix, name, self._row, begin) for name in ids]
        for shorter in (_without_suffix, _file_name):
            if all(name in self._row for name in whole):
                break
            names = [begin + shorter(name) for name in ids]
            # Of two photographs of the same name neither can be told.
            if all(name in self._row for name in names) and len({*names}) == len(names):
                return names
        return whole

    def _check_numbered(self, prefix: str, places: np.ndarray) -> None:
        """That rows which are only numbered are not taken for those of two sets."""
        for other, used in self._numbered.items():
            if other != prefix and len(np.intersect1d(used, places)):
                raise InputError(
                    f"{self.path}: its rows have numbers for ids, which may be those of {other} or "
                    f"of {prefix}; expected ids that begin with {other}/ and {prefix}/."
                )
        self._numbered[prefix] = places

    def _find(self, photographs: Path | Source, wanted: Callable[[str], bool]) -> Embeddings:
        if self._ids is None:
            raise Absent(f"{self.path}: its rows have no ids; expected an .npz with `ids`.")
        rows = [row for name, row in self._row.items() if wanted(name)]
        return Embeddings(self._ids[rows], self._matrix[rows])


class _Folder(Model):
    """A file a set, opened when it is first asked for."""

    def __init__(self, name: str, path: Path, transform: Path | None):
        sets = {p.relative_to(path).with_suffix("").as_posix(): p for p in path.rglob("*.npz")}
        if not sets:
            raise InputError(f"{path}: a folder without .npz files; expected one a set.")
        super().__init__(name, path, [sets[key] for key in sorted(sets)], transform)
        self._sets = sets
        self._open = functools.cache(lambda key: _File(name, sets[key], None))

    def _rows(self, prefix: str, ids: np.ndarray | None, photographs: Photographs | None) -> Found:
        # Some of a set may be in a file of their own, as networks keep them.
        known = sorted(self._sets)
        reason = Absent(
            f"{self.path}: has no {prefix}.npz, but {', '.join(known[:3])}"
            f"{', …' if len(known) > 3 else ''}; a folder is one model with a file a set; "
            f"for a file a model, say '{self.path}/*.npz'."
        )
        for key in known:
            if f"{key}/".startswith(f"{prefix}/"):
                try:
                    return self._open(key)._rows(prefix, ids, photographs)
                except Absent as error:
                    reason = error
        raise reason

    def _find(self, photographs: Path | Source, wanted: Callable[[str], bool]) -> Embeddings:
        some = [key for key in sorted(self._sets) if key.startswith("photographs/")]
        if not some:
            raise Absent(f"{self.path}: has no photographs/*.npz.")
        found = [self._open(key)._find(photographs, wanted) for key in some]
        ids, matrices = zip(*found, strict=True)
        return Embeddings(np.concatenate(ids), np.concatenate(matrices))


def spelled(prefix: str, name: str, known: Container[str], begin: str = "") -> str:
    """What an id is called among those known, after `begin`; the id itself if it is not."""
    spellings = [name]
    if prefix == THINGS:
        # In the release, the photograph that people saw, and the same in its object's folder.
        spellings += [f"{name}_01b", f"{name}/{name}_01b"]
    return next((begin + s for s in spellings if begin + s in known), begin + name)


def _without_suffix(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return stem if f".{suffix.lower()}" in images.SUFFIXES else name


def _file_name(name: str) -> str:
    return _without_suffix(name).rpartition("/")[2]


def absent(prefix: str, where: Path | str, known: Iterable[str], names: Iterable[str]) -> Absent:
    return Absent(f"{where}: not all of {prefix} is there: {differences(known, names)}.")
