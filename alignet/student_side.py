"""The student's side of the chain: an aligned teacher's answers on images → an aligned student."""

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from alignet import clustering, sampling, students, transform
from alignet.data.alignet_triplets import load_triplets, write_triplets
from alignet.data.embeddings import (
    Embeddings,
    load_embeddings,
    save_embeddings,
    write_embeddings,
)
from alignet.data.images import load_images
from alignet.data.mapped import let_go
from alignet.distill import distill
from alignet.errors import InputError
from alignet.runtime import files, stages

ROWS = 16_384  # in memory at a time


def embed(workdir: Path, name: str, *, weights: Path, images: Path) -> Path:
    """Embeds images with a network: pre-logits by image name."""

    def step(out: Path, _: Path) -> None:
        student, params = students.load_weights(weights)
        ids, pixels = load_images(images, resize=functools.partial(students.resize, student))
        save_embeddings(out, Embeddings(ids, students.embed(student, params, pixels)))

    inputs = {"weights": weights, "images": images}
    return stages.run(workdir / f"{name}.npz", step, config={}, inputs=inputs)


def align_embeddings(workdir: Path, name: str, *, embeddings: Path, ud: Path) -> Path:
    """Applies a UD transform to embeddings, those of the images that triplets are drawn from."""

    def step(out: Path, _: Path) -> None:
        found, fitted = _load_named(embeddings), transform.load_transform(ud)
        if found.matrix.shape[1] != len(fitted.W):
            raise InputError(
                f"{ud}: is for embeddings of {len(fitted.W)} columns and {embeddings} has "
                f"{found.matrix.shape[1]}; expected a transform fitted to the same network's."
            )
        _write_blocks(out, found, functools.partial(transform.apply_transform, fitted))

    inputs = {"embeddings": embeddings, "ud": ud}
    return stages.run(workdir / f"{name}.npz", step, config={}, inputs=inputs)


def standardise(workdir: Path, name: str, *, embeddings: Path) -> Path:
    """The teacher without alignment: its embeddings on the scale that UD starts from."""

    def step(out: Path, _: Path) -> None:
        found = _load_named(embeddings)
        n = found.matrix.size
        mean = sum(block.sum(dtype=np.float64) for block in _blocks(found.matrix)) / n
        squares = sum(((block - mean) ** 2).sum() for block in _blocks(found.matrix, np.float64))
        std = np.sqrt(squares / n)
        _write_blocks(out, found, lambda block: ((block - mean) / std).astype(block.dtype))

    return stages.run(workdir / f"{name}.npz", step, config={}, inputs={"embeddings": embeddings})


def _blocks(matrix: np.ndarray, dtype: Any = None) -> Iterator[np.ndarray]:
    # A matrix may be larger than the memory.
    for start in range(0, len(matrix), ROWS):
        yield np.array(matrix[start : start + ROWS], dtype)
        let_go(matrix)


def _write_blocks(
    out: Path, found: Embeddings, function: Callable[[np.ndarray], np.ndarray]
) -> None:
    blocks, (_, dimension) = (
        (function(block) for block in _blocks(found.matrix)),
        found.matrix.shape,
    )
    write_embeddings(out, found.ids, blocks, dimension=dimension, dtype=found.matrix.dtype)


def _load_named(path: Path) -> Embeddings:
    found = load_embeddings(path)
    if found.ids is None:
        raise InputError(f"{path}: its rows have no names; expected an .npz with `ids`.")
    return found


def cluster(
    config: ml_collections.ConfigDict, workdir: Path, name: str, *, embeddings: Path
) -> Path:
    """Clusters a teacher's embeddings."""

    def step(out: Path, _: Path) -> None:
        found = clustering.cluster(load_embeddings(embeddings).matrix, **config)
        files.write_npz(out, **found._asdict())

    return stages.run(
        workdir / f"{name}.npz", step, config=config, inputs={"embeddings": embeddings}
    )


def draw_triplets(
    config: ml_collections.ConfigDict,
    workdir: Path,
    name: str,
    *,
    embeddings: Path,
    labels: Path | None,
    validation: bool = False,
) -> Path:
    """Draws triplets of images and lets the teacher answer: the AligNet dataset.

    Args:
      config: n_triplets, seed, and perhaps, of `sampling.draw`, scheme (cluster-boundary), by_size
        and n_validation; and n_images, to draw from so many of the images only. These are among
        the images that a larger n_images would give.
      workdir, name: where the dataset will be.
      embeddings: the teacher's.
      labels: an `.npz` with `labels`, the cluster or class of every image; None draws any three
        images.
      validation: whether to write those for validation instead of those for training, which do not
        depend on n_validation.

    Raises:
      InputError: there are fewer images than n_images, or not one label an image.
    """

    def step(out: Path, _: Path) -> None:
        ids, z = _load_named(embeddings)
        n = config.get("n_images", len(z))
        if n > len(z):
            raise InputError(f"{embeddings}: has {len(z)} images; expected n_images, {n}, or more.")
        scheme, groups = "random", np.arange(len(z))
        if labels is not None:
            scheme = config.get("scheme", "cluster-boundary")
            [groups] = files.read_npz(labels, ["labels"], expected="expected a label an image")
            if groups.shape != (len(z),):
                raise InputError(
                    f"{labels}: labels have shape {groups.shape}; expected [{len(z)}], one an "
                    f"image of {embeddings}."
                )
        # A stream of its own: the triplets of all images stay as they are.
        left_out = np.random.default_rng([config.seed, 1]).permutation(len(z))[n:]
        groups[left_out] = -1
        drawn = sampling.draw(
            scheme,
            groups,
            config.n_triplets,
            n_validation=config.get("n_validation", 0) if validation else 0,
            by_size=config.get("by_size", False),
            seed=config.seed,
        )
        chosen = drawn.validation if validation else drawn.train
        write_triplets(out, ids, *sampling.soft_answers(z, chosen))

    inputs = {"embeddings": embeddings} | ({} if labels is None else {"labels": labels})
    settings = {key: value for key, value in config.items() if key != "n_validation"}
    if validation:
        settings = {"sampling": config, "validation": True}
    return stages.run(workdir / f"{name}.npz", step, config=settings, inputs=inputs)


def make_student(
    config: ml_collections.ConfigDict,
    workdir: Path,
    name: str,
    *,
    weights: Path,
    images: Path,
    triplets: Path,
    teacher: Path | None = None,
) -> Path:
    """Distils a teacher's answers into pretrained weights; resumes from its checkpoints.

    `teacher` has its embeddings of the images, which config.dense needs.
    """

    def step(out: Path, scratch: Path) -> None:
        student, params = students.load_weights(weights)
        ids, pixels = load_images(images, resize=functools.partial(students.resize, student))
        distill(
            config,
            student=student,
            params=params,
            images=pixels,
            triplets=load_triplets(triplets, ids=ids, filenames=False),
            teacher_z=None if teacher is None else load_embeddings(teacher, ids=ids).matrix,
            workdir=scratch,
        )
        shutil.copyfile(scratch / "student.npz", out)
        shutil.copyfile(scratch / "metrics.jsonl", workdir / f"{name}.metrics.jsonl")

    inputs = {"weights": weights, "images": images, "triplets": triplets}
    inputs |= {} if teacher is None else {"teacher": teacher}
    return stages.run(workdir / f"{name}.npz", step, config=config, inputs=inputs)
