"""Choosing UD's λ, and scoring UD, on objects that the fit has never seen.

Objects are split at random into folds. A fold's transform is fitted on the triplets whose three
objects are all outside the fold and scored on those whose three objects are all inside; mixed
triplets are left out. Each fold is scored at the λ that is best on the other folds, so that no
triplet has a say in the λ it is scored with.
"""

from pathlib import Path
from typing import NamedTuple

import ml_collections
import numpy as np
from jaxtyping import Float, Int

from alignet import transform as ud
from alignet import triplets as kernels
from alignet.errors import InputError
from alignet.runtime import files
from alignet.runtime.progress import progress


class CrossValidation(NamedTuple):
    """Held-out scores of every λ on every fold, and the folds' transforms.

    Attributes:
      lambdas: [L], descending.
      correct: [L, F], number of held-out triplets answered as people did; ties are wrong.
      cross_entropy: [L, F], mean over the held-out choices, nats.
      n_held_out: [F], number of held-out triplets.
      chosen: [F], the row of `lambdas` that is best, by cross-entropy, on the other folds.
      mean, std, W, b: the folds' transforms at their chosen λ, stacked over F.
    """

    lambdas: Float[np.ndarray, "L"]
    correct: Int[np.ndarray, "L F"]
    cross_entropy: Float[np.ndarray, "L F"]
    n_held_out: Int[np.ndarray, "F"]
    chosen: Int[np.ndarray, "F"]
    mean: Float[np.ndarray, "F"]
    std: Float[np.ndarray, "F"]
    W: Float[np.ndarray, "F p p"]
    b: Float[np.ndarray, "F p"]

    @property
    def best(self) -> int:
        """The row of `lambdas` with the smallest cross-entropy over all held-out choices."""
        return int(np.argmin(self.cross_entropy @ self.n_held_out))

    def transform(self, fold: int) -> ud.Transform:
        """The transform that never saw the fold's objects."""
        return ud.Transform(*(np.array(part[fold]) for part in self[-4:]))


def object_folds(n_objects: int, *, n_folds: int, seed: int) -> Int[np.ndarray, "m"]:
    """Assigns every object a fold at random; folds differ in size by at most one."""
    return np.random.default_rng(seed).permutation(np.arange(n_objects) % n_folds)


def inside(
    fold_of: Int[np.ndarray, "m"], triplets: Int[np.ndarray, "n 3"], fold: int
) -> Int[np.ndarray, "h"]:
    """Rows of the triplets whose three objects are all in the fold."""
    return np.flatnonzero((fold_of[triplets] == fold).all(axis=1))


def outside(
    fold_of: Int[np.ndarray, "m"], triplets: Int[np.ndarray, "n 3"], fold: int
) -> Int[np.ndarray, "t"]:
    """Rows of the triplets that have no object in the fold."""
    return np.flatnonzero((fold_of[triplets] != fold).all(axis=1))


def cross_validate(
    x: Float[np.ndarray, "m p"],
    triplets: Int[np.ndarray, "n 3"],
    p_star: Float[np.ndarray, "n 3"] | None,
    scored: Int[np.ndarray, "s 3"],
    *,
    config: ml_collections.ConfigDict,
    scratch: Path,
) -> CrossValidation:
    """Fits every λ on every fold, from the largest λ down, each starting where the last ended.

    Args:
      x: embeddings.
      triplets: choices to fit on, the odd one out last.
      p_star: their soft targets, or None for the hard choices.
      scored: choices to score on; may include those fitted on, since only triplets of a fold's own
        objects are scored.
      config: `configs/things.py` describes the fields of `config.ud`.
      scratch: folder for finished fits; an interrupted run resumes after the last of them.

    Raises:
      InputError: a fold has no triplet to fit on or to score, or the grid or the number of folds
        makes no sense.
    """
    if config.n_folds < 2 or not config.lambdas or min(config.lambdas) <= 0:
        raise InputError(
            f"config.ud has {config.n_folds} folds and lambdas {tuple(config.lambdas)}; expected "
            "two folds or more and positive lambdas."
        )
    fold_of = object_folds(len(x), n_folds=config.n_folds, seed=config.seed)
    lambdas = np.sort(np.array(config.lambdas, np.float64))[::-1]
    shape = (len(lambdas), config.n_folds)
    correct, cross_entropy = np.zeros(shape, np.int64), np.zeros(shape)
    n_held_out = np.zeros(config.n_folds, np.int64)
    bar = progress(total=lambdas.size * config.n_folds, desc="UD folds")
    for fold in range(config.n_folds):
        train, held_out = outside(fold_of, triplets, fold), inside(fold_of, scored, fold)
        if not len(train) or not len(held_out):
            raise InputError(
                f"{len(triplets)} triplets are too few for {config.n_folds} folds over {len(x)} "
                "objects: a fold has none to fit on or to score; expected more triplets."
            )
        n_held_out[fold], transform = len(held_out), None
        for row, lam in enumerate(lambdas):
            saved = scratch / f"lambda{row}_fold{fold}.npz"
            if saved.is_file():
                transform = ud.load_transform(saved)
            else:
                targets = None if p_star is None else p_star[train]
                transform = ud.fit(
                    x, triplets[train], targets, lam=float(lam), config=config, start=transform
                )
                ud.save_transform(saved, transform)
            s = score_similarities(transform, x, scored[held_out])
            correct[row, fold] = kernels.correct(s).sum()
            cross_entropy[row, fold] = kernels.cross_entropy(s).mean()
            bar.update()
    bar.close()
    others = cross_entropy * n_held_out
    others = others.sum(axis=1, keepdims=True) - others
    chosen = np.argmin(others, axis=0)
    transforms = [
        ud.load_transform(scratch / f"lambda{row}_fold{fold}.npz")
        for fold, row in enumerate(chosen)
    ]
    stacked = [np.stack(parts) for parts in zip(*transforms, strict=True)]
    return CrossValidation(lambdas, correct, cross_entropy, n_held_out, chosen, *stacked)


def score_similarities(
    transform: ud.Transform, x: Float[np.ndarray, "m p"], triplets: Int[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """Similarities of transformed embeddings in the order (ij, ik, jk), float64."""
    z = ud.apply_transform(transform, np.asarray(x, np.float64))
    return kernels.gather_similarities(kernels.similarity_matrix(z), triplets)


def save_cross_validation(path: str | Path, transform: ud.Transform, cv: CrossValidation) -> None:
    """Writes the final transform with its cross-validation; `load_transform` reads the former."""
    folds = {f"cv_{name}": value for name, value in cv._asdict().items()}
    files.write_npz(path, **transform._asdict(), **folds)


def load_cross_validation(path: str | Path) -> CrossValidation:
    """Reads what `save_cross_validation` wrote.

    Raises:
      InputError: an array is missing or the file is not an `.npz` of plain arrays.
    """
    names = [f"cv_{name}" for name in CrossValidation._fields]
    return CrossValidation(
        *files.read_npz(path, names, expected="expected a UD fit with its folds")
    )
