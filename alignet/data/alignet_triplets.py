"""The AligNet dataset on disk: image triplets with a teacher's similarities."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from alignet.errors import InputError
from alignet.runtime import files

# The released rows put the teacher's most similar pair first; a file that breaks this more often
# than rounding can has its similarities in another order (docs of the release are ambiguous).
FIRST_PAIR_SHARE = 0.999


class AligNetTriplets(NamedTuple):
    """Triplets of images and the teacher's soft answers, in the released layout.

    Attributes:
      filenames: str [n, 3], the images' names; the last image is the odd one out.
      similarities: float32 [n, 3], the teacher's (s01, s02, s12); s01 is the largest.
      indices: int64 [n, 3], the images' rows in the image set.
    """

    filenames: np.ndarray
    similarities: Float[np.ndarray, "n 3"]
    indices: Int[np.ndarray, "n 3"]


def save_triplets(path: str | Path, triplets: AligNetTriplets) -> None:
    """Writes the `.npz` of the released layout, atomically."""
    files.write_npz(path, **triplets._asdict())


def load_triplets(path: str | Path, *, n_images: int | None = None) -> AligNetTriplets:
    """Reads an AligNet dataset, ours or a released `alignet_{train,valid}.npz`.

    Args:
      path: the `.npz` file.
      n_images: the number of images; an index at or above it is an error.

    Raises:
      InputError: a missing or ill-shaped array, a bad index, a similarity that is not finite, or
        rows whose first pair is not the most similar one.
    """
    path = Path(path)
    expected = f"expected an AligNet dataset with {', '.join(AligNetTriplets._fields)}"
    found = AligNetTriplets(*files.read_npz(path, AligNetTriplets._fields, expected=expected))
    n = len(found.indices) if found.indices.ndim else 0
    for name, array, kinds in zip(found._fields, found, ("U", "f", "iu"), strict=True):
        if array.shape != (n, 3) or array.dtype.kind not in kinds or n == 0:
            raise InputError(
                f"{path}: {name} has shape {array.shape} and type {array.dtype}; expected [n, 3] "
                f"rows of {'text' if kinds == 'U' else 'numbers'}, as many as the others."
            )
    finite = np.isfinite(found.similarities).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{path}, row {int(np.argmin(finite)) + 1}: a similarity is not finite; "
            "expected three numbers."
        )
    i, j, k = found.indices.T
    limit = np.inf if n_images is None else n_images
    bad = ((found.indices < 0) | (found.indices >= limit)).any(axis=1)
    bad |= (i == j) | (i == k) | (j == k)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{path}, row {row + 1}: image indices {found.indices[row].tolist()}; expected three "
            f"different ones from 0 to {'n' if n_images is None else n_images} - 1."
        )
    first = (found.similarities[:, :1] >= found.similarities).all(axis=1).mean()
    if first < FIRST_PAIR_SHARE:
        raise InputError(
            f"{path}: the first pair is the most similar one in {first:.1%} of the rows; expected "
            "similarities in the order (s01, s02, s12) with s01 the largest."
        )
    return found._replace(
        similarities=found.similarities.astype(np.float32), indices=found.indices.astype(np.int64)
    )
