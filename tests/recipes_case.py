"""Pictures of a few colours, a network, and what the recipes of AligNet at scale make of them."""

import jax
import numpy as np
from PIL import Image

from alignet import students, transform
from alignet.recipes import alignet_dataset
from alignet.students import zoo
from configs import alignet_dataset as dataset_config
from configs import distill_siglip_b16

N, WIDTH = 24, 32  # pictures; of embeddings
# VICE and UD that are done soon.
PEOPLE = {
    f"people.vice.{name}": value
    for name, value in {
        "n_seeds": 1, "init_dim": 4, "batch_size": 64, "burn_in": 20, "window": 10,
        "max_steps": 40, "cooldown_steps": 10, "check_every": 10, "min_objects": 0,
    }.items()
} | {"people.p_star.n_samples": 2, "people.ud.n_folds": 2, "people.ud.lambdas": (0.1,)}  # fmt: skip


def write(folder):
    """Pictures of four colours, a network, a transform, and the dataset made of them."""
    rng = np.random.default_rng(0)
    for i in range(N):
        path = folder / "pictures" / f"class{i % 4}" / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (20, 24, 3), np.uint8)
        pixels[..., i % 3] += np.uint8(100)
        Image.fromarray(pixels).save(path)
    student = zoo.find("mu16").student
    params = jax.device_get(students.init(student, jax.random.key(0)))
    students.save_weights(folder / "mu16.npz", student, params)
    identity = transform.Transform(np.array(0.0), np.array(1.0), np.eye(WIDTH), np.zeros(WIDTH))
    transform.save_transform(folder / "ud.npz", identity)
    alignet_dataset.run(dataset(folder), folder / "dataset")
    return folder


def write_photographs(data):
    """A photograph of every object of `command_case.write_data`; returns the objects' names."""
    names = np.loadtxt(data / "things" / "unique_id.txt", dtype=str)
    rng = np.random.default_rng(1)
    for name in names:
        path = data / "things" / "images" / name / f"{name}_01b.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(path)
    return names


def dataset(folder, **changes):
    config = dataset_config.get_config()
    config.teacher, config.weights = "mu16", str(folder / "mu16.npz")
    config.images, config.ud_file = str(folder / "pictures"), str(folder / "ud.npz")
    config.clusters.ks, config.clusters.restarts = (4,), 1
    config.sampling.n_triplets, config.sampling.n_validation = 60, 10
    config.update_from_flattened_dict(changes)
    return config


def training(folder, recipe=distill_siglip_b16, **changes):
    config = recipe.get_config()
    config.model, config.weights = "mu16", str(folder / "mu16.npz")
    config.image_size = 32
    config.images = str(folder / "pictures")
    config.triplets = str(folder / "dataset" / "ud" / "cluster-boundary" / "alignet_train.npz")
    config.distill.batch_size, config.distill.steps, config.distill.warmup_steps = 4, 4, 1
    config.distill.checkpoint_every, config.distill.log_every = 2, 1
    config.distill.dtype, config.distill.scan, config.distill.workers = "float32", False, 0
    config.update_from_flattened_dict(changes)
    return config
