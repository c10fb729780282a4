"""What training costs beside the network itself, and whether the pictures come fast enough.

    python -m benchmarks.distill                     # ViT-Ti/16 at 64 px: 5 minutes on 2 cores
    python -m benchmarks.distill --model=vit-b16 --triplets=512 --dtype=bfloat16   # for a chip

By turns, in one process and on the same images: steps of `alignet.distill` (batches made and moved,
loss, clipping, pull, metrics, progress), and a bare jitted step (forward, backward, Adam) on images
that are on the device already. Then pictures from JPEG files of ImageNet's size, decoded and
resized in worker processes, alone. Prints one JSON line; "ratio" is time over the bare step's, the
median over turns.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from PIL import Image

from alignet import students
from alignet import triplets as kernels
from alignet.data.alignet_triplets import AligNetTriplets
from alignet.data.images import open_source
from alignet.distill import distill
from alignet.students import flops, layouts, zoo
from alignet.training.batches import Batches, stream
from configs import distill_siglip_b16

N_PICTURES = 256


def made_up(rng: np.random.Generator, n_images: int, n_triplets: int) -> AligNetTriplets:
    indices = np.argsort(rng.random((n_triplets, n_images)), axis=1)[:, :3]
    similarities = -np.sort(-rng.normal(size=(n_triplets, 3)), axis=1).astype(np.float32)
    return AligNetTriplets(None, similarities, indices)


def bare_seconds(
    student: students.Student,
    params: students.Params,
    config: ml_collections.ConfigDict,
    batch: dict[str, np.ndarray],
) -> float:
    """A step written down as simply as it can be."""
    compute = students.Compute(config.dtype, config.scan, config.remat)
    network = students.network(student, compute)
    optimizer = optax.adam(config.peak_lr)
    # Copies, which are donated.
    params = jax.tree.map(jnp.array, layouts.to_scan(params) if config.scan else params)
    state = (params, optimizer.init(params))
    images, teacher = jax.device_put((batch["images"], batch["teacher"]))

    def loss(params: students.Params) -> jax.Array:
        x = images.reshape(-1, *images.shape[2:]) / 127.5 - 1
        z = network.apply({"params": params}, x)["pre_logits"]
        s = kernels.pair_similarities(z.reshape(-1, 3, z.shape[-1])) / config.tau_student
        return -(jax.nn.softmax(teacher) * jax.nn.log_softmax(s)).sum(-1).mean()

    def step(state: tuple) -> tuple:
        params, opt_state = state
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    step = jax.jit(step, donate_argnums=0)
    state = jax.block_until_ready(step(state))
    start = time.perf_counter()
    for _ in range(config.steps - 1):
        state = step(state)
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / (config.steps - 1)


def our_seconds(
    student: students.Student,
    params: students.Params,
    config: ml_collections.ConfigDict,
    images: np.ndarray,
    triplets: AligNetTriplets,
) -> float:
    with tempfile.TemporaryDirectory() as workdir:
        distill(
            config,
            student=student,
            params=params,
            images=images,
            triplets=triplets,
            workdir=workdir,
        )
        [line] = (Path(workdir) / "metrics.jsonl").read_text().splitlines()
    return 3 * config.batch_size / json.loads(line)["images_per_second"]


def pipeline_rate(
    student: students.Student, rng: np.random.Generator, *, n_triplets: int, workers: int
) -> float:
    """Images a second from JPEG files to batches, once the workers have started."""
    with tempfile.TemporaryDirectory() as folder:
        # Of low contrast between neighbours, as photographs are, and of their usual size.
        for i in range(N_PICTURES):
            small = Image.fromarray(rng.integers(0, 256, (25, 32, 3), np.uint8))
            small.resize((500, 375), Image.Resampling.BICUBIC).save(f"{folder}/{i:03}.jpg")
        source = open_source(folder)

        def fit(picture: Image.Image) -> np.ndarray:
            return students.resize(student, picture)

        triplets = made_up(rng, N_PICTURES, 10 * n_triplets)
        load = Batches(source, triplets, fit=fit, teacher_z=None, batch_size=n_triplets, seed=0)
        batches = stream(load, range(4 * max(workers, 1) + 4), workers=workers)
        for _ in range(max(workers, 1) + 1):
            next(batches)
        start, n = time.perf_counter(), 0
        for batch in batches:
            n += 3 * len(batch["teacher"])
        return n / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ti16", help="a row of the table of models")
    parser.add_argument("--image_size", type=int, help="in pixels; by default 64 for ti16")
    parser.add_argument("--triplets", type=int, default=32, help="a step")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--remat", action="store_true")
    options = parser.parse_args()

    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
    student = zoo.find(options.model).student
    side = options.image_size or (64 if options.model == "ti16" else student.image_size)
    student = student._replace(image_size=side)
    params = jax.device_get(students.init(student, jax.random.key(0)))
    config = distill_siglip_b16.get_config().distill
    config.batch_size, config.steps, config.warmup_steps = options.triplets, options.steps, 1
    config.dtype, config.remat = options.dtype, options.remat
    config.scan, config.workers = False, 0
    config.log_every = config.checkpoint_every = options.steps

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3 * options.triplets, side, side, 3), np.uint8)
    triplets = made_up(rng, len(images), 4 * options.triplets)
    batch = Batches(
        images, triplets, fit=None, teacher_z=None, batch_size=options.triplets, seed=0
    )(0)
    seconds = {"alignet": [], "bare": []}
    sides = {
        "alignet": lambda: our_seconds(student, params, config, images, triplets),
        "bare": lambda: bare_seconds(student, params, config, batch),
    }
    for turn in range(options.turns):
        # Each side begins every other turn: what the machine does besides hits both alike.
        for name in sorted(sides, reverse=turn % 2 == 0):
            seconds[name].append(sides[name]())
        print(f"turn {turn + 1} of {options.turns}: {seconds}", file=sys.stderr, flush=True)
    rate = pipeline_rate(student, rng, n_triplets=options.triplets, workers=options.workers)

    device = jax.devices()[0].device_kind
    ratios = np.divide(seconds["alignet"], seconds["bare"])
    median = {name: float(np.median(times)) for name, times in seconds.items()}
    trained = 3 * options.triplets / median["alignet"]
    peak = flops.peak_flops(device)
    per_image = 3 * flops.forward_flops(student)
    print(
        json.dumps(
            {
                "model": options.model,
                "image_size": side,
                "triplets": options.triplets,
                "dtype": options.dtype,
                "device": f"{jax.device_count()} × {device}",
                "median_s": {name: round(value, 4) for name, value in median.items()},
                "ratio": round(float(np.median(ratios)), 3),
                "ratios_of_turns": ratios.round(3).tolist(),
                "images_per_second": round(trained, 1),
                "tflops": round(trained * per_image / 1e12, 3),
                "mfu": round(trained * per_image / peak / jax.device_count(), 3) if peak else None,
                "pipeline_images_per_second": round(rate, 1),
                "workers": options.workers,
            }
        )
    )


if __name__ == "__main__":
    main()
