"""A small world in the shape of the data and of the run that the report on photographs reads."""

import itertools
import json

import jax
import numpy as np
from PIL import Image

from alignet import cross_validation, students, transform
from alignet.data.embeddings import Embeddings, save_embeddings
from alignet.recipes.photographs import STUDENTS
from alignet.runtime import files
from configs import photographs as recipe
from tests import command_case, judgments_case
from tests.weights_case import random_params

N, WIDTH = 16, 32  # concepts; of embeddings
NAMES = [f"concept_{number:02d}" for number in range(N)]
CLASSES = {name: f"n{number:08d}" for number, name in enumerate(NAMES)}
GROUPS = np.arange(N) % 4
SPLITS = ((0, 1), (0, 2), (2, 3))  # students are trained for the first two
STUDENT = students.Student("mu/16", 16, "gap")
COLOURS = 4  # classes of CIFAR-100
RATED = ("animals", "fruits")


def write_data(data):
    """Everything that the report reads but what the recipe makes."""
    rng = np.random.default_rng(0)
    for folder in ("things", "imagenet", "images/imagenet_sample_1000"):
        (data / folder).mkdir(parents=True)
    np.savetxt(data / "things" / "sortindex", np.arange(N), fmt="%d")
    (data / "things" / "unique_id.txt").write_text("\n".join(NAMES) + "\n")
    np.save(data / "things" / "vice_embedding.npy", rng.gamma(0.5, size=(N, 5)))
    choices = [rng.permutation(N)[:3] for _ in range(1500)]
    np.savetxt(data / "things" / "triplets.txt", choices, fmt="%d")
    command_case.write_mapping(data, [f"{name},{wnid}," for name, wnid in CLASSES.items()])
    for wnid, i in itertools.product(CLASSES.values(), range(2)):
        picture = Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8))
        picture.save(data / "images" / "imagenet_sample_1000" / f"{wnid}_{i}.png")
    rated = {name: judgments_case.ratings(n=12, seed=i) for i, name in enumerate(RATED)}
    judgments_case.write_peterson(data, rated)
    pixels = rng.integers(0, 256, (12, 16, 16, 3), np.uint8)
    judgments_case.write_kriegeskorte92(data, judgments_case.distances(n=12), pixels)
    labels = np.arange(COLOURS * 8) % COLOURS
    images = 60 * labels[:, None, None, None] + rng.integers(0, 40, (len(labels), 16, 16, 3))
    np.savez(data / "images" / "cifar100_test.npz", images=images.astype(np.uint8), labels=labels)


def configured(data, weights):
    config = recipe.get_config()
    config.data_dir = str(data)
    for model in (config.teacher, config.student):
        model.name, model.weights, model.layer, model.image_size = "mu16", str(weights), -1, 32
    config.splits, config.n_students = SPLITS, 2
    config.n_vice_triplets = 50
    config.cifar.images_per_class, config.cifar.shots, config.cifar.draws = 6, (1, 3), 3
    return config


def write_ud(path, seed):
    rng = np.random.default_rng(seed)
    fitted = transform.Transform(
        np.array(0.1), np.array(2.0), rng.normal(size=(WIDTH, WIDTH)), rng.normal(size=WIDTH)
    )
    folds = cross_validation.CrossValidation(
        np.array([1.0, 0.1]),
        np.ones((2, 2), int),
        np.array([[1.0, 1.0], [0.5, 0.5]]),
        np.full(2, 9),
        np.zeros(2, int),
        *(np.stack([part, part]) for part in fitted),
    )
    path.parent.mkdir(exist_ok=True)
    cross_validation.save_cross_validation(path, fitted, folds)


def write_run(workdir):
    """What the recipe makes, of random networks."""
    rng = np.random.default_rng(1)
    workdir.mkdir()
    vice = np.load(workdir.parent / "data" / "things" / "vice_embedding.npy")
    files.write_npz(workdir / "concepts.npz", names=np.array(NAMES), groups=GROUPS, vice=vice)
    (workdir / "embeddings").mkdir()
    ids = np.array([f"{wnid}_{i}" for wnid in CLASSES.values() for i in range(2)])
    save_embeddings(
        workdir / "embeddings" / "ilsvrc.npz",
        Embeddings(ids, rng.normal(size=(2 * N, WIDTH)).astype(np.float32)),
    )
    for seed, name in enumerate(("student", "student_centred")):
        students.save_weights(workdir / f"{name}.npz", STUDENT, random_params(STUDENT, seed))
    for place in range(3):
        split = workdir / f"split{place}"
        write_ud(split / "ud_teacher.npz", place)
        if place < 2:
            write_ud(split / "ud_student.npz", 10 + place)
            for kind, name in enumerate(STUDENTS):
                params = random_params(STUDENT, 20 + len(STUDENTS) * place + kind)
                students.save_weights(split / f"{name}.npz", STUDENT, params)
                lines = [json.dumps({"step": i, "triplet_accuracy": i / 8}) for i in range(8)]
                (split / f"{name}.metrics.jsonl").write_text("\n".join(lines) + "\n")


def write_world(folder):
    """Writes data, a teacher and a run whose networks are random; gives the configuration."""
    write_data(folder / "data")
    mu = students.Student("mu/16", 32, "map")
    students.save_weights(folder / "teacher.npz", mu, students.init(mu, jax.random.key(0)))
    write_run(folder / "run")
    return configured(folder / "data", folder / "teacher.npz")
