"""The human side of the chain: people's choices → VICE → p* → UD, one artifact a step."""

from pathlib import Path
from typing import NamedTuple

import ml_collections
import numpy as np

from alignet import cross_validation, transform, vice
from alignet import triplets as kernels
from alignet.data.embeddings import Embeddings, load_embeddings
from alignet.data.human import ORDER_FILES, load_triplets, object_ids
from alignet.errors import InputError
from alignet.runtime import files, stages


class Split(NamedTuple):
    """Human choices, those that are fitted and those that only score; odd one out last."""

    train: np.ndarray
    held_out: np.ndarray


def data_dir(config: ml_collections.ConfigDict, option: str = "config.data_dir") -> Path:
    """The folder of public data that the configuration names, by the option that errors tell."""
    if not config.data_dir:
        raise InputError(
            f"{option} is empty; expected the folder with things/triplets.txt, as in "
            f"--{option}=/path/to/data (README.md says how to get the data)."
        )
    folder = Path(config.data_dir)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the data_dir with things/ in it.")
    return folder


def object_embeddings(path: Path, *, data_dir: Path) -> Embeddings:
    """A model's embeddings of the THINGS objects, in the order that the triplets count in."""
    return load_embeddings(path, ids=object_ids(data_dir))


def split(
    config: ml_collections.ConfigDict, workdir: Path, *, triplets: Path, n_objects: int
) -> None:
    """Puts aside a random share of the choices, for scores only."""

    def step(out: Path, _: Path) -> None:
        choices = load_triplets(triplets, n_objects=n_objects)
        order = np.random.default_rng(config.seed).permutation(len(choices))
        n_held_out = round(len(choices) * config.held_out_share)
        if not 0 < n_held_out < len(choices):
            raise InputError(
                f"{triplets}: a share of {config.held_out_share} of {len(choices)} choices leaves "
                "none to fit or none to score; expected more choices or another held_out_share."
            )
        held_out, train = np.split(choices[order], [n_held_out])
        files.write_npz(out, train=train, held_out=held_out)

    stages.run(
        workdir / "split.npz",
        step,
        config={"seed": config.seed, "share": config.held_out_share, "n_objects": n_objects},
        inputs={"triplets": triplets},
    )


def load_split(workdir: Path) -> Split:
    """Reads the choices that `split` put apart."""
    with np.load(workdir / "split.npz", allow_pickle=False) as archive:
        return Split(archive["train"], archive["held_out"])


def posterior(config: ml_collections.ConfigDict, workdir: Path, *, n_objects: int) -> None:
    """Fits VICE to the training choices and evaluates p* for them."""
    inputs = {"split": workdir / "split.npz"}
    stages.run(
        workdir / "vice.npz",
        lambda out, scratch: vice.save_posterior(
            out, vice.fit(config.vice, load_split(workdir).train, n_objects, scratch=scratch)
        ),
        config={"vice": config.vice, "n_objects": n_objects},
        inputs=inputs,
    )
    stages.run(
        workdir / "p_star.npy",
        lambda out, _: np.save(
            out,
            vice.p_star(
                vice.load_posterior(workdir / "vice.npz").posterior,
                load_split(workdir).train,
                **config.p_star,
            ),
        ),
        config=config.p_star,
        inputs=inputs | {"vice": workdir / "vice.npz"},
    )


def align(
    config: ml_collections.ConfigDict,
    workdir: Path,
    name: str,
    embeddings: Path,
    *,
    targets: Path | None,
    data_dir: Path,
) -> None:
    """Cross-validates λ over folds of objects, then fits UD to all training choices.

    Held-out scores of the folds use all choices whose three objects are in the fold: the choices
    that VICE was fitted to among them were seen by VICE, but by no step that saw their objects'
    embeddings.
    """

    def step(out: Path, scratch: Path) -> None:
        x = object_embeddings(embeddings, data_dir=data_dir).matrix
        choices = load_split(workdir)
        p_star = None if targets is None else np.load(targets, allow_pickle=False)
        folds = cross_validation.cross_validate(
            x,
            choices.train,
            p_star,
            np.concatenate(choices),
            config=config.ud,
            scratch=scratch,
        )
        lam = float(folds.lambdas[folds.best])
        final = transform.fit(x, choices.train, p_star, lam=lam, config=config.ud)
        cross_validation.save_cross_validation(out, final, folds)

    inputs = {"split": workdir / "split.npz", "embeddings": embeddings}
    # Embeddings with ids are put in the order that these files tell.
    order = {file: data_dir / "things" / file for file in ORDER_FILES}
    inputs |= {file: path for file, path in order.items() if path.is_file()}
    stages.run(
        workdir / f"{name}.npz",
        step,
        config=config.ud,
        inputs=inputs | ({} if targets is None else {"p_star": targets}),
    )


def published_p_star(workdir: Path, *, concepts: Path) -> Path:
    """p* from a point estimate of the concept embedding, whose σ was not published."""

    def step(out: Path, _: Path) -> None:
        s = kernels.similarity_matrix(load_embeddings(concepts).matrix)
        s = kernels.gather_similarities(s, load_split(workdir).train)
        np.save(out, np.exp(kernels.log_probabilities(s)))

    inputs = {"concepts": concepts, "split": workdir / "split.npz"}
    return stages.run(workdir / "p_star_published.npy", step, config={}, inputs=inputs)
