"""Ablations: students that are trained as the main one is, but for one thing (002, B.2.3).

An arm says how students are made, an ablation is a few arms that differ in one thing, and `Sources`
are the files that all of them start from. What is the same in two arms is trained once:

    arms/base/<size>.npz               pretrained students
    arms/aligned/<size>.npz            those of the main recipe, in whichever ablation it stands
    arms/<ablation>/<what>/<size>.npz  all others, beside the triplets they were trained on
"""

import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from jaxtyping import Int

from alignet import human_side, student_side
from alignet.data import toy
from alignet.data.alignet_triplets import AligNetTriplets, save_triplets
from alignet.data.human import load_triplets as load_choices
from alignet.data.images import Images, load_images
from alignet.errors import InputError
from alignet.recipes import chain
from alignet.runtime import files, stages
from alignet.runtime.progress import progress

ABLATIONS = ("capacity", "images", "triplets", "sampling", "teacher", "things", "dense")
BASE, MAIN = "base", "aligned"
# Who answers, and at whose boundaries triplets are drawn: paper 002's own choices first.
ALIGNED, DISTILLED, PEOPLE = "aligned", "distilled", "people"
CLUSTER, CLASS, RANDOM = "cluster", "class", "random"
DENSE = ", dense"  # ends the labels of students that learn from all triplets within a batch

# Data sets of few-shot learning in the toy world, and the factor that their labels are. Its people
# judge by categories, and hardly by the rest.
NEW, NEW_CATEGORIES = "new_category", "new_categories"
CATEGORIES = {"superordinate": "superordinate", "basic": "basic", "category": "leaf", NEW: "leaf"}
SURFACE = {"colour": "colour", "texture": "texture", "background": "background"}
# Questions that the toy world's people are asked again and again, for the ceiling, and how often.
REPEATED, TIMES = 500, 40


class Arm(NamedTuple):
    """How students are made from pretrained ones.

    Attributes:
      name: of its folder in arms/.
      teacher: ALIGNED or DISTILLED (not aligned), or PEOPLE: their own choices are fitted.
      scheme: CLUSTER, CLASS or RANDOM, how triplets are drawn; people's are what they are.
      sampling: of `student_side.draw_triplets`.
      distill: of `distill.distill`.
    """

    name: str
    teacher: str
    scheme: str
    sampling: Mapping[str, Any]
    distill: Mapping[str, Any]


class Ablation(NamedTuple):
    """Attributes:
    arms: by what was varied ("300", "random", …), in order; the main one is among them.
    sizes: of the students that are trained in every arm.
    """

    arms: Mapping[str, Arm]
    sizes: Sequence[str]


class Sources(NamedTuple):
    """What arms are made from.

    Attributes:
      bases: weights of the pretrained students by size.
      images: those that triplets are drawn from.
      teachers: their embeddings and clusters of these images, by ALIGNED and DISTILLED.
      classes: an `.npz` with `labels`, the class of each of these images.
      objects: images of what people chose between.
      choices: people's own, as an AligNet dataset; see `as_answers`.
    """

    bases: Mapping[str, Path]
    images: Path
    teachers: Mapping[str, chain.Teacher]
    classes: Path
    objects: Path
    choices: Path


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> None:
    """Makes every student of the ablations that is missing or out of date in `workdir`.

    Raises:
      InputError: what was given is wrong; the artifacts made before stay.
    """
    workdir = Path(workdir)
    ablations = plan(config, n_images=config.toy.n_pool)
    workdir.mkdir(parents=True, exist_ok=True)
    world = chain.toy_world(config, workdir)
    toy_tests(config, workdir, world)
    train(ablations, toy_sources(config, ablations, workdir, world), workdir)


########################################## Arms ##########################################


def plan(config: ml_collections.ConfigDict, *, n_images: int) -> dict[str, Ablation]:
    """The ablations that are asked for, by name.

    Args:
      config: of the recipe, see configs/ablations.py.
      n_images: how many there are to draw triplets from; the main recipe takes all.

    Raises:
      InputError: an ablation or a size is unknown, or a value is out of range.
    """
    _check("ablations", config.ablations, ABLATIONS.__contains__, f"some of {', '.join(ABLATIONS)}")
    sampling, distill = config.sampling.to_dict(), config.distill.to_dict()
    main = Arm(MAIN, ALIGNED, CLUSTER, sampling | {"n_images": n_images}, distill)
    return {name: _ablation(name, config, main) for name in config.ablations}


def _ablation(name: str, config: ml_collections.ConfigDict, main: Arm) -> Ablation:
    sizes, known = tuple(config.sizes[name]), [*config.students]
    _check(f"sizes.{name}", sizes, known.__contains__, f"some of {', '.join(known)}")
    arms = {
        label: arm if arm == main or arm.name != MAIN else arm._replace(name=_folder(name, label))
        for label, arm in _arms(name, config, main).items()
    }
    return Ablation(arms, sizes)


def _arms(name: str, config: ml_collections.ConfigDict, main: Arm) -> dict[str, Arm]:
    """All by what was varied, but still called as the main one."""
    if name == "dense":
        # Of as many images, once as in "images" and once with all triplets within a batch.
        plain = _ablation("images", config, main).arms
        dense = main.distill | {"dense": True}
        return {
            each: arm if each == label else main._replace(sampling=arm.sampling, distill=dense)
            for label, arm in plain.items()
            for each in (label, label + DENSE)
        }
    if name in ("images", "triplets"):
        field, least = f"n_{name}", {"images": 3, "triplets": 1}[name]
        most = main.sampling[field]
        expected = f"whole numbers from {least} on, below the {most} of the main recipe"
        _check(field, config[field], lambda n: isinstance(n, int) and least <= n < most, expected)
        counts = [*sorted({*config[field]}), most]
        return {f"{n}": main._replace(sampling=main.sampling | {field: n}) for n in counts}
    if name == "sampling":
        return {scheme: main._replace(scheme=scheme) for scheme in (RANDOM, CLASS, CLUSTER)}
    if name == "teacher":
        return {teacher: main._replace(teacher=teacher) for teacher in (DISTILLED, ALIGNED)}
    if name == "things":
        direct, arms = config.direct, {}
        _check("direct.peak_lr", direct.peak_lr, lambda lr: lr > 0, "positive numbers")
        _check("direct.pull", direct.pull, lambda pull: pull >= 0, "numbers from 0 on")
        for lr, pull in itertools.product(direct.peak_lr, direct.pull):
            distill = main.distill | {"loss": "hard", "peak_lr": lr, "pull": pull}
            arms[f"lr {lr:g} pull {pull:g}"] = main._replace(teacher=PEOPLE, distill=distill)
        return arms | {MAIN: main}
    return {MAIN: main}  # of all sizes


def _folder(name: str, label: str) -> str:
    """Of an arm; it has no suffix: "lr 0.01 pull 1" is lr-0_01-pull-1."""
    return f"{name}/{label.replace(' ', '-').replace('.', '_').replace(',', '')}"


def _check(field: str, values: Sequence[Any], right: Callable[[Any], bool], expected: str) -> None:
    wrong = [value for value in values if not right(value)]
    if wrong or not values:
        found = f"has {wrong[0]!r}" if wrong else "is empty"
        raise InputError(f"config.{field} {found}; expected {expected}.")


########################################## Students ##########################################


def checkpoint(workdir: Path, arm: str, size: str) -> Path:
    """The weights of an arm's student, or of a pretrained one (BASE)."""
    return workdir / "arms" / arm / f"{size}.npz"


def train(ablations: Mapping[str, Ablation], sources: Sources, workdir: Path) -> None:
    """Trains the students of all arms, those of an arm that several ablations have only once."""
    todo = {
        (arm.name, size): arm
        for ablation in ablations.values()
        for arm in ablation.arms.values()
        for size in ablation.sizes
    }
    with progress(total=len(todo), desc="students", unit=" student") as bar:
        for (name, size), arm in todo.items():
            bar.set_postfix_str(f"{name}, {size}")
            _student(arm, size, sources, workdir / "arms" / name)
            bar.update()


def _student(arm: Arm, size: str, sources: Sources, folder: Path) -> None:
    direct = arm.teacher == PEOPLE
    if direct:
        triplets = sources.choices
    else:
        teacher = sources.teachers[arm.teacher]
        labels = {CLUSTER: teacher.clusters, CLASS: sources.classes, RANDOM: None}[arm.scheme]
        triplets = student_side.draw_triplets(
            ml_collections.ConfigDict(arm.sampling),
            folder,
            "triplets",
            embeddings=teacher.embeddings,
            labels=labels,
        )
    student_side.make_student(
        ml_collections.ConfigDict(arm.distill),
        folder,
        size,
        weights=sources.bases[size],
        images=sources.objects if direct else sources.images,
        triplets=triplets,
        teacher=teacher.embeddings if arm.distill["dense"] else None,
    )


def as_answers(choices: Int[np.ndarray, "n 3"], objects: Images) -> AligNetTriplets:
    """People's choices as those of a teacher without doubt: the pair that they kept is alike."""
    alike = np.tile(np.array([1, 0, 0], np.float32), (len(choices), 1))
    return AligNetTriplets(objects.ids[choices], alike, choices)


########################################## The toy world ##########################################


def toy_sources(
    config: ml_collections.ConfigDict,
    ablations: Mapping[str, Ablation],
    workdir: Path,
    world: Path,
) -> Sources:
    """Makes what arms start from: a toy world's teachers and people, pretrained students."""
    teachers = chain.toy_teachers(config, workdir, world)
    objects = world / "things" / "images.npz"
    sizes = dict.fromkeys(size for ablation in ablations.values() for size in ablation.sizes)
    bases = {
        size: chain.pretrained(config.toy, config.students[size], workdir / "arms" / BASE, size)
        for size in sizes
    }
    truth, split = world / "truth.npz", workdir / "split.npz"

    def classes(out: Path, _: Path) -> None:
        [leaf] = files.read_npz(truth, ["pool_leaf"], expected="expected a toy world's truth")
        files.write_npz(out, labels=leaf)

    def choices(out: Path, _: Path) -> None:
        save_triplets(out, as_answers(human_side.load_split(workdir).train, load_images(objects)))

    return Sources(
        bases=bases,
        images=world / "pool" / "images.npz",
        teachers=teachers,
        classes=stages.run(workdir / "classes.npz", classes, config={}, inputs={"truth": truth}),
        objects=objects,
        choices=stages.run(
            workdir / "choices.npz",
            choices,
            config={},
            inputs={"split": split, "objects": objects},
        ),
    )


def toy_tests(config: ml_collections.ConfigDict, workdir: Path, world: Path) -> Path:
    """What students are scored on, as data folders: nothing that they or a teacher were trained on.

    tests/things has new choices between the objects that people's other choices are about, and
    tests/new_categories/things those between objects of categories that nobody was shown, each with
    many answers to some of the questions. tests/fewshot has labelled pictures, a file a factor.
    """
    _check("tests.shots", config.tests.shots, lambda n: n >= 1, "numbers of examples")
    _check(
        "tests.draws", [config.tests.draws], lambda n: n >= 2, "2 or more, to tell how they vary"
    )
    seed, n = config.tests.seed, config.tests.n_images
    image_size = config.toy.image_size

    def step(out: Path, _: Path) -> None:
        leaf, new, concepts = files.read_npz(
            world / "truth.npz",
            ["leaf", "heldout", "concept_embedding"],
            expected="expected a toy world's truth",
        )
        # Streams that no part of the world has.
        rng = np.random.default_rng([seed, 5])
        for folder, choices in (("", "test_triplets"), (NEW_CATEGORIES, "heldout_triplets")):
            things = out / folder / "things"
            things.mkdir(parents=True)
            shutil.copyfile(world / "things" / "images.npz", things / "images.npz")
            shutil.copyfile(world / "things" / f"{choices}.txt", things / "triplets.txt")
            asked = np.repeat(load_choices(things / "triplets.txt")[:REPEATED], TIMES, axis=0)
            np.savetxt(things / "testset1.txt", toy.ask(concepts, asked, rng), fmt="%d")
        for place, (name, factor) in enumerate((CATEGORIES | SURFACE).items()):
            rng = np.random.default_rng([seed, 6, place])
            categories = np.unique(leaf[new == (name == NEW)])
            factors = toy.draw_factors(categories[rng.permutation(n) % len(categories)], rng)
            classes, labels = np.unique(factors.labels()[factor], return_inverse=True)
            files.write_npz(
                out / "fewshot" / f"{name}.npz",
                images=toy.draw(factors, rng, image_size=image_size),
                labels=labels,
                classes=classes.astype(str),
            )

    settings = {"seed": seed, "n_images": n, "image_size": image_size}
    return stages.run(workdir / "tests", step, config=settings, inputs={"world": world})
