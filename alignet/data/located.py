"""The images of an AligNet dataset, found among those that one has."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from alignet.data.alignet_triplets import AligNetTriplets, load_with_names
from alignet.data.images import SUFFIXES, Source
from alignet.data.records import TFDS
from alignet.errors import InputError

# Of a tfds dataset, whose names are known only when a record is read.
SAMPLE = 1000


def load_located(
    path: str | Path, source: Source, *, images: str, max_missing: float = 0.0
) -> AligNetTriplets:
    """Reads an AligNet dataset whose indices are the places of its images in a source.

    Pictures of a folder or an `.npz` are found by their names, in whatever order they are. Folders
    before a name, and a suffix, that only one side has do not count; folders that both have must be
    the same. Those of a tfds dataset are taken in its own order, as the release counts them; the
    names of some are compared.

    Args:
      path: see `load_triplets`.
      source: the pictures.
      images: what the source was opened with.
      max_missing: the share of the dataset's images that may be missing; triplets with one of these
        are left out, and how many is printed.

    Returns:
      The triplets, without filenames.

    Raises:
      InputError: as `load_triplets` does; or more images are missing, or it is not clear which
        picture a name is of.
    """
    if images.startswith(TFDS):
        found, rows, names = load_with_names(path, n_images=source.n)
        _compare_some(path, rows, names, source)
        return found
    found, rows, names = load_with_names(path)
    at = _places(names.tolist(), source)
    missing = names[at < 0]
    if len(missing):
        listed = ", ".join(missing[:3].tolist()) + (", …" if len(missing) > 3 else "")
        share = len(missing) / len(names)
        if share > max_missing:
            raise InputError(
                f"{path}: {len(missing):,} of its {len(names):,} images ({share:.2%}) are not in "
                f"{images}: {listed}; expected no more than max_missing, {max_missing:.2%}."
            )
    table = np.full(rows[-1] + 1, -1)
    table[rows] = at
    if np.array_equal(table, np.arange(len(table))):
        return found
    kept = (table[found.indices] >= 0).all(axis=1)
    if not kept.all():
        print(
            f"{path}: {len(missing):,} of {len(names):,} images are missing ({listed}); "
            f"{len(kept) - kept.sum():,} of {len(kept):,} triplets are left out."
        )
    if not kept.any():
        raise InputError(f"{path}: none of its triplets has all three images in {images}.")
    return AligNetTriplets(None, found.similarities[kept], table[found.indices[kept]])


def _tails(name: str) -> list[str]:
    """A name without its suffix, whole and from each of its folders on: a/b/c, b/c, c."""
    bare, dot, suffix = name.rpartition(".")
    parts = (bare if dot and f".{suffix.lower()}" in SUFFIXES else name).split("/")
    return ["/".join(parts[at:]) for at in range(len(parts))]


def _places(names: list[str], source: Source) -> Int[np.ndarray, "n"]:
    """Where the pictures of these names are; −1 for nowhere."""
    ids = [source.read(place)[0] for place in range(source.n)]
    exact = {name: place for place, name in enumerate(ids)}
    whole, ending = {}, {}
    for place, called in enumerate(ids):
        tails = _tails(called)
        whole.setdefault(tails[0], []).append(place)
        for tail in tails:
            ending.setdefault(tail, []).append(place)
    places, name_of = [], {}
    for name in names:
        tails = _tails(name)
        if name in exact:
            found = [exact[name]]
        else:
            shorter = (place for tail in tails[1:] for place in whole.get(tail, []))
            found = [*ending.get(tails[0], []), *shorter]
        if len(found) > 1:
            one, other = (ids[place] for place in found[:2])
            raise InputError(
                f"{source.name}: {one} and {other} may both be the triplets' {name}; expected one "
                "picture of that file name."
            )
        [place] = found or [-1]
        if place >= 0 and name_of.setdefault(place, name) != name:
            raise InputError(
                f"{source.name}: {ids[place]} may be the triplets' {name_of[place]} and {name}; "
                "expected a picture for each."
            )
        places.append(place)
    return np.array(places)


def _compare_some(
    path: str | Path, rows: Int[np.ndarray, "n"], names: np.ndarray, source: Source
) -> None:
    chosen = np.random.default_rng(0).permutation(len(rows))[:SAMPLE]
    for row, name in sorted(zip(rows[chosen].tolist(), names[chosen].tolist(), strict=True)):
        found = source.read(row)[0]
        # A data set that keeps no file names numbers its records.
        known, named = _tails(found), _tails(name)
        if not found.endswith(f"/{row}") and known[0] not in named and named[0] not in known:
            raise InputError(
                f"{path}: image {row} is {name}, and record {row} of {source.name} is {found}; "
                "expected the data set that the triplets were drawn from, in its order."
            )
