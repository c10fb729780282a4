"""The whole chain on a toy world whose truth is known (`configs/demo.py`)."""

from pathlib import Path

import ml_collections

from alignet import chain, student_side
from alignet.data import toy
from alignet.runtime import stages
from alignet.students import Student, save_weights
from alignet.students.pretrain import pretrain


def run(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Draws the world, pretrains a teacher and a base student, and runs every step after them."""
    world = (
        stages.run(
            workdir / "toy",
            lambda out, _: toy.make_world(config.toy, out),
            config=config.toy,
            inputs={},
        )
        / "world"
    )
    things, pool = world / "things" / "images.npz", world / "pool" / "images.npz"
    teacher = pretrained(config, workdir, "teacher")
    base = pretrained(config, workdir, "base")

    ############################## People → the aligned teacher ##############################
    teacher_things = student_side.embed(workdir, "teacher_things", weights=teacher, images=things)
    base_things = student_side.embed(workdir, "base_things", weights=base, images=things)
    n_objects = config.toy.n_things
    choices = world / "things" / "triplets.txt"
    chain.split(config, workdir, triplets=choices, n_objects=n_objects)
    chain.posterior(config, workdir, n_objects=n_objects)
    p_star = workdir / "p_star.npy"
    for name, embeddings in (("ud_teacher", teacher_things), ("ud_base", base_things)):
        chain.align(config, workdir, name, embeddings, targets=p_star, data_dir=world)

    ############################## The teacher → students ##############################
    original = student_side.embed(workdir, "teacher_pool", weights=teacher, images=pool)
    teachers = {
        "distilled": student_side.standardise(workdir, "teacher_pool_scaled", embeddings=original),
        "aligned": student_side.align_embeddings(
            workdir, "teacher_pool_aligned", embeddings=original, ud=workdir / "ud_teacher.npz"
        ),
    }
    for name, embeddings in teachers.items():
        clusters = student_side.cluster(
            config.clusters, workdir, f"clusters_{name}", embeddings=embeddings
        )
        triplets = student_side.draw_triplets(
            config.sampling,
            workdir,
            f"triplets_{name}",
            embeddings=embeddings,
            clusters=clusters,
        )
        weights = student_side.make_student(
            config.distill, workdir, name, weights=base, images=pool, triplets=triplets
        )
        student_side.embed(workdir, f"{name}_things", weights=weights, images=things)


def pretrained(config: ml_collections.ConfigDict, workdir: Path, name: str) -> Path:
    """Pretrains a network on labelled images of the world; its weights in big_vision's layout."""
    recipe = config[name]

    def step(out: Path, _: Path) -> None:
        images, labels = toy.pretraining_set(config.toy, recipe.n_images)
        student = Student(recipe.variant, config.toy.image_size, recipe.pool)
        params, _ = pretrain(student, images, labels, recipe)
        save_weights(out, student, params)

    settings = {"toy": config.toy.to_dict(), name: recipe.to_dict()}
    return stages.run(workdir / f"{name}.npz", step, config=settings, inputs={})
