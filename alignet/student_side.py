"""The student's side of the chain: an aligned teacher's answers on images → an aligned student."""

import functools
import shutil
from pathlib import Path

import ml_collections
import numpy as np

from alignet import clustering, sampling, students, transform
from alignet.data.alignet_triplets import load_triplets, save_triplets
from alignet.data.embeddings import Embeddings, load_embeddings, save_embeddings
from alignet.data.images import load_images
from alignet.distill import distill
from alignet.errors import InputError
from alignet.runtime import files, stages


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
        found = load_embeddings(embeddings)
        aligned = transform.apply_transform(transform.load_transform(ud), found.matrix)
        save_embeddings(out, Embeddings(found.ids, aligned))

    inputs = {"embeddings": embeddings, "ud": ud}
    return stages.run(workdir / f"{name}.npz", step, config={}, inputs=inputs)


def standardise(workdir: Path, name: str, *, embeddings: Path) -> Path:
    """The teacher without alignment: its embeddings on the scale that UD starts from."""

    def step(out: Path, _: Path) -> None:
        found = load_embeddings(embeddings)
        mean, std = found.matrix.mean(dtype=np.float64), found.matrix.std(dtype=np.float64)
        scaled = ((found.matrix - mean) / std).astype(found.matrix.dtype)
        save_embeddings(out, Embeddings(found.ids, scaled))

    return stages.run(workdir / f"{name}.npz", step, config={}, inputs={"embeddings": embeddings})


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
) -> Path:
    """Draws triplets of images and lets the teacher answer: the AligNet dataset.

    Args:
      config: n_triplets and seed; perhaps n_images, to draw from so many of the images only. These
        are among the images that a larger n_images would give.
      workdir, name: where the dataset will be.
      embeddings: the teacher's.
      labels: an `.npz` with `labels`, the cluster or class of every image, at whose boundaries
        triplets are drawn; None draws any three images.

    Raises:
      InputError: there are fewer images than n_images, or not one label an image.
    """

    def step(out: Path, _: Path) -> None:
        ids, z = load_embeddings(embeddings)
        n = config.get("n_images", len(z))
        if n > len(z):
            raise InputError(f"{embeddings}: has {len(z)} images; expected n_images, {n}, or more.")
        # A stream of their own: the triplets of all images stay as they are.
        chosen = np.sort(np.random.default_rng([config.seed, 1]).permutation(len(z))[:n])
        rng = np.random.default_rng(config.seed)
        if labels is None:
            triplets = chosen[sampling.random_triplets(n, config.n_triplets, rng)]
        else:
            [groups] = files.read_npz(labels, ["labels"], expected="expected a label an image")
            if groups.shape != (len(z),):
                raise InputError(
                    f"{labels}: labels have shape {groups.shape}; expected [{len(z)}], one an "
                    f"image of {embeddings}."
                )
            left_out = ~np.isin(np.arange(len(z)), chosen)
            triplets = sampling.boundary_triplets(
                np.where(left_out, -1, groups), config.n_triplets, rng
            )
        save_triplets(out, sampling.answer(z, triplets, ids))

    inputs = {"embeddings": embeddings} | ({} if labels is None else {"labels": labels})
    return stages.run(workdir / f"{name}.npz", step, config=config, inputs=inputs)


def make_student(
    config: ml_collections.ConfigDict,
    workdir: Path,
    name: str,
    *,
    weights: Path,
    images: Path,
    triplets: Path,
) -> Path:
    """Distils a teacher's answers into pretrained weights; resumes from its checkpoints."""

    def step(out: Path, scratch: Path) -> None:
        student, params = students.load_weights(weights)
        _, pixels = load_images(images, resize=functools.partial(students.resize, student))
        distill(
            config,
            student=student,
            params=params,
            images=pixels,
            triplets=load_triplets(triplets, n_images=len(pixels)),
            workdir=scratch,
        )
        shutil.copyfile(scratch / "student.npz", out)
        shutil.copyfile(scratch / "metrics.jsonl", workdir / f"{name}.metrics.jsonl")

    inputs = {"weights": weights, "images": images, "triplets": triplets}
    return stages.run(workdir / f"{name}.npz", step, config=config, inputs=inputs)
