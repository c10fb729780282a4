"""Real photographs: a teacher aligned with people by UD, and students distilled from it.

UD is fitted to published concepts, and checked on choices that people made. A split of the concepts
says what nobody is shown: a teacher's or student's UD is fitted to the split's other concepts, λ is
chosen among these, and the held-out concepts' photographs are in no triplet that students of this
split are trained on. So what people chose between held-out concepts only scores. Files:

    teacher.npz, student.npz               embeddings of all photographs; weights before alignment
    teacher_concepts.npz, …                the mean embedding of each concept's photographs
    split<i>/ud_teacher.npz, ud_student…   UD, fitted to what is not held out
    split<i>/distilled.npz, aligned.npz    students of the teacher as it is, and of the aligned one
    split<i>/dense.npz, …_short.npz        the latter by all triplets in a batch, and by fewer steps
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from jaxtyping import Float, Int

from alignet import cross_validation, embed, human_side, sampling, student_side, students, transform
from alignet import triplets as kernels
from alignet.data import things_photographs
from alignet.data.embeddings import Embeddings, load_embeddings, save_embeddings
from alignet.data.human import odd_last
from alignet.data.images import Images, load_images, open_source, save_images
from alignet.data.unpack import unpack
from alignet.errors import InputError
from alignet.recipes.concepts import (
    LABELLED,
    OTHERS,
    concept_embeddings,
    deal_concepts,
    leave_out,
    load_concepts,
)
from alignet.runtime import stages
from alignet.students.centring import centre

# Students, after whose teacher they are called: it is aligned, or it is not. The aligned one has
# others, who also learn from all triplets in a batch, or do so for fewer steps.
ALIGNED, DISTILLED, DENSE = "aligned", "distilled", "dense"
ALIGNED_SHORT, DENSE_SHORT = "aligned_short", "dense_short"
STUDENTS = (DISTILLED, ALIGNED, DENSE, ALIGNED_SHORT, DENSE_SHORT)


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> None:
    """Makes every artifact that is missing or out of date in `workdir`.

    Raises:
      InputError: what was given is wrong; the artifacts made before stay.
    """
    data_dir = human_side.data_dir(config)
    _check(config)
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    folders = photographs(config, workdir, data_dir)
    concepts = deal_concepts(config, workdir, data_dir)

    ############################## Networks ##############################
    student = stages.run(
        workdir / "student.npz",
        lambda out, _: students.save_weights(out, *_load(config.student)[:2]),
        config=_settings(config.student),
        inputs={"weights": Path(config.student.weights)},
    )
    pool = pool_images(workdir, folders, weights=student)
    teacher = teacher_embeddings(config, workdir, folders)
    student_rows = student_side.embed(
        workdir, "student_embeddings", weights=student, images=folders[LABELLED]
    )
    centred = centred_student(workdir, weights=student, embeddings=student_rows)
    rows = {
        name: concept_embeddings(
            workdir, f"{name}_concepts", embeddings=embeddings, concepts=concepts, data_dir=data_dir
        )
        for name, embeddings in (("teacher", teacher), ("student", student_rows))
    }

    ############################## Teachers ##############################
    original = student_side.standardise(workdir, "teacher_scaled", embeddings=teacher)
    original_clusters = student_side.cluster(
        config.clusters, workdir, "clusters_scaled", embeddings=original
    )
    for number, held_out in enumerate(config.splits):
        split = workdir / f"split{number}"
        align(config, split, "ud_teacher", rows["teacher"], concepts=concepts, held_out=held_out)

    ############################## Students ##############################
    for number, held_out in enumerate(config.splits[: config.n_students]):
        split = workdir / f"split{number}"
        align(config, split, "ud_student", rows["student"], concepts=concepts, held_out=held_out)
        aligned = student_side.align_embeddings(
            split, "teacher_aligned", embeddings=teacher, ud=split / "ud_teacher.npz"
        )
        clusters = student_side.cluster(
            config.clusters, split, "clusters_aligned", embeddings=aligned
        )
        for teacher_name, embeddings, labels, names in (
            (DISTILLED, original, original_clusters, STUDENTS[:1]),
            (ALIGNED, aligned, clusters, STUDENTS[1:]),
        ):
            shown = leave_out(
                split,
                f"shown_{teacher_name}",
                labels=labels,
                embeddings=embeddings,
                concepts=concepts,
                held_out=held_out,
                data_dir=data_dir,
                folders=folders,
            )
            triplets = student_side.draw_triplets(
                _with_seed(config.sampling, number),
                split,
                f"triplets_{teacher_name}",
                embeddings=embeddings,
                labels=shown,
            )
            for name in names:
                settings = _training(config, name, number)
                student_side.make_student(
                    settings,
                    split,
                    name,
                    weights=centred,
                    images=pool,
                    triplets=triplets,
                    teacher=embeddings if settings.dense else None,
                )


########################################## Photographs ##########################################


def photographs(
    config: ml_collections.ConfigDict, workdir: Path, data_dir: Path
) -> dict[str, Path]:
    """Folders of a sample of all classes, and of others: some of those in an archive."""
    others = archive = data_dir / config.others.path

    def step(out: Path, _: Path) -> None:
        unpack(archive, out)
        found = open_source(out)
        n = config.others.n_images
        if n > found.n:
            raise InputError(f"{archive}: has {found.n} photographs; expected {n} or more.")
        order = np.random.default_rng(config.others.seed).permutation(found.n)
        for place in order[n:].tolist():
            found.read(place)[1].unlink()

    if archive.is_file():
        settings = {"n_images": config.others.n_images, "seed": config.others.seed}
        others = stages.run(
            workdir / "others", step, config=settings, inputs={"photographs": archive}
        )
    folders = {LABELLED: data_dir / things_photographs.FOLDER, OTHERS: others}
    for folder in folders.values():
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; expected photographs.")
    return folders


def pool_images(workdir: Path, folders: Mapping[str, Path], *, weights: Path) -> Path:
    """All photographs at the student's size, called folder/name as everywhere below."""

    def step(out: Path, _: Path) -> None:
        student, _ = students.load_weights(weights)

        fit = functools.partial(students.resize, student)
        found = {name: load_images(folder, resize=fit) for name, folder in folders.items()}
        pixels = np.concatenate([images.pixels for images in found.values()])
        save_images(out, Images(_called({name: one.ids for name, one in found.items()}), pixels))

    return stages.run(workdir / "pool.npz", step, config={}, inputs={**folders, "weights": weights})


def centred_student(workdir: Path, *, weights: Path, embeddings: Path) -> Path:
    """The student as training finds it: the mean of its read-out subtracted."""

    def step(out: Path, _: Path) -> None:
        student, params = students.load_weights(weights)
        mean = load_embeddings(embeddings).matrix.mean(axis=0, dtype=np.float64)
        students.save_weights(out, student, centre(student, params, mean))

    inputs = {"weights": weights, "embeddings": embeddings}
    return stages.run(workdir / "student_centred.npz", step, config={}, inputs=inputs)


def teacher_embeddings(
    config: ml_collections.ConfigDict, workdir: Path, folders: Mapping[str, Path]
) -> Path:
    """The teacher's embeddings of all photographs; what takes longest if there is no chip."""
    embedder, parts = _load(config.teacher), {}
    for name, folder in folders.items():
        parts[name] = workdir / "embeddings" / f"{name}.npz"
        embed.make(
            parts[name],
            embedder,
            open_source(folder),
            **embed.every_picture(shard_size=128),
        )

    def step(out: Path, _: Path) -> None:
        found = {name: load_embeddings(path) for name, path in parts.items()}
        matrix = np.concatenate([one.matrix for one in found.values()])
        ids = _called({name: one.ids for name, one in found.items()})
        save_embeddings(out, Embeddings(ids, matrix))

    return stages.run(workdir / "teacher.npz", step, config={}, inputs=parts)


def _called(ids: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.array([f"{name}/{one}" for name, of in ids.items() for one in of.tolist()], np.str_)


def _load(model: ml_collections.ConfigDict) -> students.Embedder:
    return students.load(model.name, model.weights, **embed.layer_and_size(model))


def _settings(model: ml_collections.ConfigDict) -> dict[str, Any]:
    return {key: value for key, value in model.items() if key != "weights"}


########################################## UD ##########################################


def align(
    config: ml_collections.ConfigDict,
    workdir: Path,
    name: str,
    embeddings: Path,
    *,
    concepts: Path,
    held_out: Sequence[int],
) -> Path:
    """Fits UD to p* of the concepts that are not held out, cross-validating λ among them."""

    def step(out: Path, scratch: Path) -> None:
        names, groups, vice = load_concepts(concepts)
        known = ~np.isin(groups, held_out)
        x = np.asarray(load_embeddings(embeddings, ids=names).matrix[known], np.float64)
        triplets, p_star = soft_answers(vice[known], config.n_triplets, config.seed)
        # λ is for people, who do not always give the most probable answer.
        scored = draw_answers(triplets, p_star, config.seed)
        folds = cross_validation.cross_validate(
            x, triplets, p_star, scored, config=config.ud, scratch=scratch
        )
        lam = float(folds.lambdas[folds.best])
        final = transform.fit(x, triplets, p_star, lam=lam, config=config.ud)
        cross_validation.save_cross_validation(out, final, folds)

    settings = {
        "seed": config.seed,
        "n_triplets": config.n_triplets,
        "held_out": list(held_out),
        "ud": config.ud,
    }
    inputs = {"embeddings": embeddings, "concepts": concepts}
    return stages.run(workdir / f"{name}.npz", step, config=settings, inputs=inputs)


def soft_answers(
    vice: Float[np.ndarray, "n d"], n_triplets: int, seed: int
) -> tuple[Int[np.ndarray, "t 3"], Float[np.ndarray, "t 3"]]:
    """Triplets drawn at random, and p* of a point estimate of the concept embedding.

    Returns:
      The triplets, their most probable odd one out last, and p* of their pairs (ij, ik, jk).
    """
    similarities = kernels.similarity_matrix(vice)
    triplets = sampling.draw("random", np.arange(len(vice)), n_triplets, seed=seed).train
    pair = kernels.gather_similarities(similarities, triplets).argmax(axis=1)
    triplets = odd_last(triplets, pair)
    s = kernels.gather_similarities(similarities, triplets)
    return triplets, np.exp(kernels.log_probabilities(s))


def draw_answers(
    triplets: Int[np.ndarray, "t 3"], p_star: Float[np.ndarray, "t 3"], seed: int
) -> Int[np.ndarray, "t 3"]:
    """The triplets with an odd one out, last, that is drawn from p* of their pairs (ij, ik, jk)."""
    drawn = np.random.default_rng(seed).random((len(triplets), 1))
    pair = (drawn > p_star.cumsum(axis=1)[:, :2]).sum(axis=1)
    return odd_last(triplets, pair)


########################################## Configuration ##########################################


def _training(
    config: ml_collections.ConfigDict, name: str, number: int
) -> ml_collections.ConfigDict:
    settings = _with_seed(config.distill, number)
    settings.dense = name in (DENSE, DENSE_SHORT)
    if name == DISTILLED:
        settings.tau_teacher = config.tau_unaligned
    if name in (ALIGNED_SHORT, DENSE_SHORT):
        settings.warmup_steps = settings.warmup_steps * config.short_steps // settings.steps
        settings.steps = config.short_steps
    return settings


def _with_seed(config: ml_collections.ConfigDict, number: int) -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(config.to_dict() | {"seed": config.seed + number})


def _check(config: ml_collections.ConfigDict) -> None:
    for name in ("teacher", "student"):
        weights = config[name].weights
        if not weights:
            raise InputError(f"config.{name}.weights is empty; expected --config.{name}.weights=…")
        if not Path(weights).exists():
            raise InputError(f"{weights}: no such file or folder; expected config.{name}.weights.")
    n = config.n_groups
    for held_out in config.splits:
        if not 0 < len({*held_out}) < n or not {*held_out} <= {*range(n)}:
            raise InputError(
                f"config.splits has {held_out!r}; expected some, not all, of the groups 0 to "
                f"{n - 1}."
            )
    if not 1 <= config.n_students <= len(config.splits):
        raise InputError(
            f"config.n_students is {config.n_students}; expected 1 to {len(config.splits)}, the "
            "number of splits."
        )
    if not 1 <= config.short_steps < config.distill.steps:
        raise InputError(
            f"config.short_steps is {config.short_steps}; expected 1 to "
            f"{config.distill.steps - 1}, less than config.distill.steps."
        )
    shots, n = config.cifar.shots, config.cifar.images_per_class
    if not 1 <= min(shots) <= max(shots) < n:
        raise InputError(
            f"config.cifar.shots is {shots!r}; expected numbers from 1 to {n - 1}, less than "
            "config.cifar.images_per_class."
        )
    if config.cifar.draws < 2:
        raise InputError(f"config.cifar.draws is {config.cifar.draws}; expected 2 or more.")
