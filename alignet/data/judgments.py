"""People's judgments of how alike photographs are: four public data sets, read and checked.

    peterson/         Peterson et al. (2016, 2018): ratings of pairs, 120 photographs a set
    cichy/            Cichy et al. (2019): arrangements of 118 photographs on a screen
    king/             King et al. (2019): likewise, two sets of 144
    kriegeskorte92/   Kriegeskorte et al. (2008), arranged by the people of Mur et al. (2013)

The first holds similarities, the others distances; a matrix of the wrong kind is refused.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.spatial.distance
from jaxtyping import Float, UInt8

from alignet.data import judgment_matrices
from alignet.data.images import first_repeated, open_source
from alignet.data.matlab import numbers, read_mat
from alignet.errors import Absent, InputError
from alignet.runtime import files

# Peterson's sets: of things of many kinds, and of things of one kind (002, Section 4.2).
COARSE = ("various",)
FINE = ("animals", "automobiles", "fruits", "furniture", "vegetables")
# Both spellings are about.
JUDGMENTS = ("sim_judgements", "sim_judgments")
WHERE = "`python -m alignet.data.download` gets them or says how"


class JudgmentSet(NamedTuple):
    """People's similarities of some photographs.

    Attributes:
      name: "peterson/animals", "king/set1", "cichy", "kriegeskorte92": also the prefix of ids.
      ids: str [n], file names of the photographs without suffix, in the order of the rows.
      similarity: people's mean, larger is more alike (distances are negated); NaN where masked.
      people: one such matrix a person where they are known, NaN in the same places.
      photographs: a folder of them, which need not exist, or their pixels in the order of `ids`.
      n_masked: pairs left out because at least one matrix has NaN there.
      files: all that was read.
    """

    name: str
    ids: np.ndarray
    similarity: Float[np.ndarray, "n n"]
    people: Float[np.ndarray, "people n n"] | None
    photographs: Path | UInt8[np.ndarray, "n h w 3"]
    n_masked: int
    files: tuple[Path, ...]


def load_peterson(data_dir: str | Path, *, mask_missing: bool = False) -> list[JudgmentSet]:
    """Reads similarity ratings of pairs, averaged over people.

    Args:
      data_dir: has either `peterson/similarity.npz`, a matrix a set, with
        `peterson/filenames.json`, the photographs' names a set in the order of the rows, and
        perhaps the photographs in `peterson/images/SET/`; or the public folders `peterson/SET/`
        with `images/` and, in `sim_judgments/`, a `.mat` that has one matrix whose name contains
        "sim", or an `.npz` with `similarity`; the rows are in the order of the sorted file names.
      mask_missing: leave out pairs that are NaN, in both triangles, instead of refusing them.

    Returns:
      The sets that are there, at least one.

    Raises:
      Absent: there is no such folder.
      InputError: a file is missing or damaged, or is not what it should be.
    """
    return read_peterson(
        _root(data_dir, "peterson", "the similarity ratings of Peterson et al. (2016, 2018)"),
        mask_missing=mask_missing,
    )


def read_peterson(folder: Path, *, mask_missing: bool = False) -> list[JudgmentSet]:
    """The same as `load_peterson`, from that folder itself."""
    public = sorted(name for name in COARSE + FINE if (folder / name).is_dir())
    if public and not (folder / "similarity.npz").exists():
        return [_peterson_folder(folder / name, mask_missing) for name in public]
    return _peterson_file(folder, mask_missing)


def load_cichy(data_dir: str | Path, *, mask_missing: bool = False) -> list[JudgmentSet]:
    """Reads people's distances between 118 photographs, from arrangements on a screen.

    Args:
      data_dir: has `cichy/images/`, whose sorted file names are the order of the rows, and
        `cichy/sim_judgements/judgments_general.mat` with `judgments` [people, n, n].
      mask_missing: leave out pairs that anybody's matrix has as NaN, in both triangles, instead
        of refusing them.

    Returns:
      One set.

    Raises:
      Absent: there is no such folder.
      InputError: a file is missing or damaged, or is not what it should be.
    """
    folder = _root(data_dir, "cichy", "the arrangements of Cichy et al. (2019)")
    photographs = _inside(folder, "images")
    path = _inside(_inside(folder, *JUDGMENTS), "judgments_general.mat")
    ids = _photographs_in(photographs)
    people = numbers(read_mat(path), "judgments", path)
    n = len(ids)
    if people.ndim != 3 or people.shape[1:] != (n, n):
        raise InputError(
            f"{path}: judgments have shape {list(people.shape)}; expected [people, {n}, {n}] for "
            f"the {n} photographs in {photographs}."
        )
    return [_of_people("cichy", ids, people, photographs, (path,), mask_missing)]


def load_king(data_dir: str | Path, *, mask_missing: bool = False) -> list[JudgmentSet]:
    """Reads people's distances between 144 photographs, from arrangements on a screen, twice.

    The distances of a person are one triangle of a matrix in a row: d(2,1), d(3,1), …, d(n,1),
    d(3,2) and so on. That is how MATLAB, which is where the file comes from, flattens a lower
    triangle and what its pdist gives: column after column, as numpy goes through an *upper*
    triangle and as SciPy's squareform expects.

    Args:
      data_dir: has `king/images/stimulus_category_labels.txt`, a header line and then lines that
        end with the number of a photograph, in the order of the rows; `king/images/set1/NNNN.jpg`
        and `set2` (only needed to embed them); and `king/sim_judgements/BEHAVIOR.mat` with
        `BEHAVIOR.set1.pairwisedistances` [people, n·(n−1)/2], and set2.
      mask_missing: leave out pairs that anybody's distances have as NaN instead of refusing them.

    Returns:
      Two sets.

    Raises:
      Absent: there is no such folder.
      InputError: a file is missing or damaged, or is not what it should be.
    """
    folder = _root(data_dir, "king", "the arrangements of King et al. (2019)")
    images = _inside(folder, "images")
    labels = _inside(images, "stimulus_category_labels.txt")
    path = _inside(_inside(folder, *JUDGMENTS), "BEHAVIOR.mat")
    ids = _king_order(labels)
    n, behaviour = len(ids), read_mat(path)
    sets = []
    for name in ("set1", "set2"):
        if (images / name).is_dir():
            absent = np.setdiff1d(ids, _photographs_in(images / name))
            if len(absent):
                raise InputError(
                    f"{images / name}: has no photograph {absent[0]}, which {labels} lists "
                    f"({len(absent)} of {n} are missing)."
                )
        variable = f"BEHAVIOR.{name}.pairwisedistances"
        pairs = numbers(behaviour, variable, path)
        if pairs.ndim != 2 or pairs.shape[1] != n * (n - 1) // 2:
            raise InputError(
                f"{path}: {variable} has shape {list(pairs.shape)}; expected [people, "
                f"{n * (n - 1) // 2}], the pairs of the {n} photographs that {labels} lists."
            )
        people = np.array([scipy.spatial.distance.squareform(row) for row in pairs])
        read = (path, labels)
        sets.append(_of_people(f"king/{name}", ids, people, images / name, read, mask_missing))
    return sets


def load_kriegeskorte92(data_dir: str | Path, *, mask_missing: bool = False) -> list[JudgmentSet]:
    """Reads people's distances between 92 photographs, from arrangements on a screen.

    Args:
      data_dir: has `kriegeskorte92/kriegeskorte92.npz` with `images` uint8 [n, h, w, 3] and
        `behav_rdms` float [people, n, n].
      mask_missing: leave out pairs that anybody's matrix has as NaN, in both triangles, instead
        of refusing them.

    Returns:
      One set, whose ids are `kriegeskorte92_00` and so on.

    Raises:
      Absent: there is no such folder.
      InputError: a file is missing or damaged, or is not what it should be.
    """
    name = "kriegeskorte92"
    folder = _root(data_dir, name, "the arrangements of Mur et al. (2013)")
    path = folder / f"{name}.npz"
    expected = "expected `images` uint8 [n, h, w, 3] and `behav_rdms` float [people, n, n]"
    pixels, people = files.read_npz(path, ("images", "behav_rdms"), expected=expected)
    n = len(pixels) if pixels.ndim else 0
    right = pixels.dtype == np.uint8 and pixels.ndim == 4 and pixels.shape[3] == 3
    if not right or people.dtype.kind != "f" or people.ndim != 3 or people.shape[1:] != (n, n):
        raise InputError(
            f"{path}: has images {pixels.dtype} {list(pixels.shape)} and behav_rdms {people.dtype} "
            f"{list(people.shape)}; {expected}."
        )
    ids = np.array([f"{name}_{number:02d}" for number in range(n)], np.str_)
    return [_of_people(name, ids, people, pixels, (path,), mask_missing)]


############################################ Layouts ############################################


def _root(data_dir: str | Path, name: str, what: str) -> Path:
    folder = Path(data_dir) / name
    if not folder.is_dir():
        raise Absent(f"{folder}: no such folder; expected {what}; {WHERE}.")
    return folder


def _inside(folder: Path, *names: str) -> Path:
    """The first of these, files if they have a suffix, that is in the folder."""
    for name in names:
        path = folder / name
        if path.is_file() if path.suffix else path.is_dir():
            return path
    raise InputError(
        f"{folder}: expected {' or '.join(names)} in it; found {_listing(folder)}; {WHERE}."
    )


def _listing(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "") or "nothing"


def _photographs_in(folder: Path) -> np.ndarray:
    """What the photographs in a folder are called, in the order of their sorted file names."""
    source = open_source(folder)
    return np.array([source.read(place)[0] for place in range(source.n)], np.str_)


def _ids(filenames: Sequence[str], where: Path) -> np.ndarray:
    ids = [Path(name).stem for name in filenames]
    repeated = first_repeated(ids)
    if repeated is not None:
        raise InputError(
            f"{where}: {repeated!r} names more than one photograph; expected each once."
        )
    return np.array(ids, np.str_)


def _king_order(labels: Path) -> np.ndarray:
    _, *lines = labels.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    try:
        order = [int(line.rpartition(",")[2]) for line in lines if line.strip()]
    except ValueError:
        raise InputError(
            f"{labels}: expected a header and then lines that end with a comma and the number of a "
            "photograph."
        ) from None
    return _ids([f"{number:04d}.jpg" for number in order], labels)


def _peterson_file(folder: Path, mask_missing: bool) -> list[JudgmentSet]:
    matrices, names = folder / "similarity.npz", folder / "filenames.json"
    for path in (matrices, names):
        if not path.is_file():
            raise InputError(
                f"{path}: no such file; expected the similarity judgments of Peterson et al. "
                f"(2016, 2018), or their folders {', '.join(COARSE + FINE)} in {folder}; found "
                f"{_listing(folder)}; {WHERE}."
            )
    similarity = files.read_all_npz(matrices, expected="expected a matrix a set")
    try:
        filenames = json.loads(names.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{names}: not JSON; expected lists of file names by set.") from None
    if not similarity or not isinstance(filenames, dict) or set(filenames) != set(similarity):
        raise InputError(
            f"{names}: expected file names for what {matrices} holds: "
            f"{', '.join(similarity) or 'nothing'}."
        )
    for name, listed in filenames.items():
        if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
            raise InputError(f"{names}: {name} is no list of file names.")
    return [
        _of_ratings(
            f"peterson/{name}",
            _ids(filenames[name], names),
            matrix,
            folder / "images" / name,
            (matrices, names),
            mask_missing,
        )
        for name, matrix in similarity.items()
    ]


def _peterson_folder(folder: Path, mask_missing: bool) -> JudgmentSet:
    photographs = _inside(folder, "images")
    ids = _photographs_in(photographs)
    judgments = _inside(folder, *JUDGMENTS)
    found = sorted(p for p in judgments.iterdir() if p.suffix in (".mat", ".npz"))
    if len(found) > 1:
        found = [path for path in found if "sim" in path.name.lower()]
    if len(found) != 1:
        raise InputError(
            f"{judgments}: expected one .mat with people's similarities; found "
            f"{_listing(judgments)}; pickles are never loaded: convert one outside to "
            "similarity.npz there, with the array `similarity` float [n, n], people's mean rating "
            "of each pair and 10 on the diagonal, rows in the order of the sorted file names in "
            f"{photographs}."
        )
    (path,) = found
    if path.suffix == ".npz":
        (matrix,) = files.read_npz(path, ("similarity",), expected="expected `similarity` [n, n]")
    else:
        content = read_mat(path)
        names = [
            name
            for name, value in content.items()
            if "sim" in name.lower() and isinstance(value, np.ndarray) and value.ndim == 2
        ]
        if len(names) != 1:
            raise InputError(
                f"{path}: has the variables {', '.join(content) or 'none'}; expected one matrix "
                "whose name contains “sim”."
            )
        matrix = numbers(content, names[0], path)
    name = f"peterson/{folder.name}"
    return _of_ratings(name, ids, matrix, photographs, (path,), mask_missing)


############################################ Matrices ############################################


def _of_ratings(
    name: str,
    ids: np.ndarray,
    similarity: np.ndarray,
    photographs: Path,
    read: tuple[Path, ...],
    mask_missing: bool,
) -> JudgmentSet:
    checked, n_masked = judgment_matrices.similarities(
        [similarity],
        [f"{read[0]}, {name}"],
        len(ids),
        kind="similarity",
        mask_missing=mask_missing,
    )
    return JudgmentSet(name, ids, checked[0], None, photographs, n_masked, read)


def _of_people(
    name: str,
    ids: np.ndarray,
    distances: np.ndarray,
    photographs: Path | np.ndarray,
    read: tuple[Path, ...],
    mask_missing: bool,
) -> JudgmentSet:
    where = f"{read[0]}, {name}"
    if len(distances) < 2:
        raise InputError(f"{where}: has {len(distances)} people; expected 2 or more.")
    people, n_masked = judgment_matrices.similarities(
        distances,
        [f"{where}, person {person} (from 0)" for person in range(len(distances))],
        len(ids),
        kind="dissimilarity",
        mask_missing=mask_missing,
    )
    return JudgmentSet(name, ids, people.mean(axis=0), people, photographs, n_masked, read)
