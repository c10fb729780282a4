"""The chain: human choices → VICE → UD → clusters → triplets → students, one artifact a step.

With people's data it stops after UD (`configs/things.py`). With `config.toy` it draws its own world
and pretrains its own networks first, and goes on to aligned students (`configs/demo.py`). The
scores come afterwards, from the artifacts alone, in `evals.report`.
"""

from pathlib import Path
from typing import NamedTuple

import ml_collections

from alignet import human_side, student_side
from alignet.data import toy
from alignet.data.embeddings import load_embeddings
from alignet.errors import InputError
from alignet.runtime import stages
from alignet.students import Student, save_weights
from alignet.students.pretrain import pretrain


class Teacher(NamedTuple):
    """A teacher's embeddings of the images that triplets are drawn from, and its clusters."""

    embeddings: Path
    clusters: Path


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> None:
    """Makes every artifact that is missing or out of date in `workdir`.

    Raises:
      InputError: what was given is wrong; the artifacts made before stay.
    """
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    if config.get("toy"):
        from_toy_world(config, workdir)
    else:
        from_people(config, workdir, data_dir=human_side.data_dir(config))


def from_people(config: ml_collections.ConfigDict, workdir: Path, *, data_dir: Path) -> None:
    """People's choices and a model's embeddings of the same objects → VICE → UD."""
    embeddings = data_dir / config.embeddings
    n_objects = len(human_side.object_embeddings(embeddings, data_dir=data_dir).matrix)
    published = data_dir / config.published_concepts if config.published_concepts else None
    if published and published.is_file():
        rows = len(load_embeddings(published).matrix)
        if rows != n_objects:
            raise InputError(
                f"{published}: has {rows} rows; expected {n_objects}, as {embeddings} has."
            )
    human_side.split(config, workdir, triplets=data_dir / config.triplets, n_objects=n_objects)
    human_side.posterior(config, workdir, n_objects=n_objects)
    for name, targets in (("soft", workdir / "p_star.npy"), ("hard", None)):
        human_side.align(
            config, workdir, f"ud_{name}", embeddings, targets=targets, data_dir=data_dir
        )
    if published and published.is_file():
        p_star = human_side.published_p_star(workdir, concepts=published)
        human_side.align(
            config,
            workdir,
            "ud_published",
            embeddings,
            targets=p_star,
            data_dir=data_dir,
        )


def from_toy_world(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """A toy world, its people and pretrained networks → VICE → UD → aligned students."""
    world = toy_world(config, workdir)
    things, pool = world / "things" / "images.npz", world / "pool" / "images.npz"
    teachers = toy_teachers(config, workdir, world)
    base = pretrained(config.toy, config.base, workdir, "base")
    base_things = student_side.embed(workdir, "base_things", weights=base, images=things)
    p_star = workdir / "p_star.npy"
    human_side.align(config, workdir, "ud_base", base_things, targets=p_star, data_dir=world)
    for name, teacher in teachers.items():
        triplets = student_side.draw_triplets(
            config.sampling,
            workdir,
            f"triplets_{name}",
            embeddings=teacher.embeddings,
            labels=teacher.clusters,
        )
        weights = student_side.make_student(
            config.distill, workdir, name, weights=base, images=pool, triplets=triplets
        )
        student_side.embed(workdir, f"{name}_things", weights=weights, images=things)


def toy_world(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Draws the world; its data folder."""
    toy_folder = stages.run(
        workdir / "toy",
        lambda out, _: toy.make_world(config.toy, out),
        config=config.toy,
        inputs={},
    )
    return toy_folder / "world"


def toy_teachers(
    config: ml_collections.ConfigDict, workdir: Path, world: Path
) -> dict[str, Teacher]:
    """Pretrains the teacher, and aligns it with the world's people (VICE, UD).

    Returns:
      The teacher on the images of the pool: "distilled" as it is, on UD's scale, and "aligned".
    """
    things, pool = world / "things" / "images.npz", world / "pool" / "images.npz"
    weights = pretrained(config.toy, config.teacher, workdir, "teacher")
    teacher_things = student_side.embed(workdir, "teacher_things", weights=weights, images=things)
    n_objects = config.toy.n_things
    choices = world / "things" / "triplets.txt"
    human_side.split(config, workdir, triplets=choices, n_objects=n_objects)
    human_side.posterior(config, workdir, n_objects=n_objects)
    p_star = workdir / "p_star.npy"
    human_side.align(config, workdir, "ud_teacher", teacher_things, targets=p_star, data_dir=world)

    original = student_side.embed(workdir, "teacher_pool", weights=weights, images=pool)
    embeddings = {
        "distilled": student_side.standardise(workdir, "teacher_pool_scaled", embeddings=original),
        "aligned": student_side.align_embeddings(
            workdir, "teacher_pool_aligned", embeddings=original, ud=workdir / "ud_teacher.npz"
        ),
    }
    return {
        name: Teacher(
            rows,
            student_side.cluster(config.clusters, workdir, f"clusters_{name}", embeddings=rows),
        )
        for name, rows in embeddings.items()
    }


def pretrained(
    world: ml_collections.ConfigDict, recipe: ml_collections.ConfigDict, workdir: Path, name: str
) -> Path:
    """Pretrains a network on labelled images of the world; its weights in big_vision's layout."""

    def step(out: Path, _: Path) -> None:
        images, labels = toy.pretraining_set(world, recipe.n_images)
        student = Student(recipe.variant, world.image_size, recipe.pool)
        params, _ = pretrain(student, images, labels, recipe)
        save_weights(out, student, params)

    settings = {"toy": world.to_dict(), name: recipe.to_dict()}
    return stages.run(workdir / f"{name}.npz", step, config=settings, inputs={})
