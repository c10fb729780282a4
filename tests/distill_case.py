"""A distillation of seconds, run in the tests and, by `python -m tests.distill_case`, apart."""

import argparse
import json
import os
import resource
import signal

import jax
import ml_collections
import numpy as np

from alignet import distill, students
from alignet.data.alignet_triplets import AligNetTriplets
from alignet.errors import InputError, Preempted
from alignet.training import batches

STUDENT = students.Student(variant="mu/8", image_size=16, pool="gap")


def config(**overrides):
    c = ml_collections.ConfigDict()
    c.seed = 42
    c.batch_size = 8
    c.steps = 12
    c.warmup_steps = 2
    c.peak_lr = 1e-3
    c.loss = "kl"
    c.tau_teacher = 1.0
    c.tau_student = 10.0
    c.dense = False
    c.pull = 1.0
    c.grad_clip = None
    c.accumulate = 1
    c.ema = None
    c.read_out = "pre_logits"
    c.dtype = "float32"
    c.scan = False
    c.remat = False
    c.fsdp = 1
    c.workers = 0
    c.checkpoint_every = 5
    c.log_every = 1
    c.keep = 2
    c.force = False
    with c.unlocked():
        c.update(overrides)
    return c


def pretrained(student=STUDENT):
    return jax.device_get(students.init(student, jax.random.key(1)))


def data(n_images=30, n_triplets=50):
    """Noisy images of three colours; the teacher finds images of one colour alike."""
    rng = np.random.default_rng(0)
    colour = np.arange(n_images) % 3
    pixels = rng.integers(0, 128, (n_images, 16, 16, 3), np.uint8)
    pixels[np.arange(n_images), :, :, colour] += 127
    first = rng.integers(0, n_images, n_triplets)
    second = (first + 3 * rng.integers(1, n_images // 3, n_triplets)) % n_images
    odd = (first + 3 * rng.integers(1, n_images // 3, n_triplets) + 1) % n_images
    indices = np.stack([first, second, odd], 1)
    noise = rng.uniform(0, 0.5, (n_triplets, 3))
    similarities = (noise + np.array([3.0, 1.0, 0.5])).astype(np.float32)
    return pixels, AligNetTriplets(indices.astype(str), similarities, indices)


def run(workdir, *, student=STUDENT, params=None, more=None, **overrides):
    images, triplets = data()
    given = {"images": images, "triplets": triplets} | (more or {})
    if overrides.get("dense"):
        z = np.random.default_rng(3).normal(size=(len(images), 6)).astype(np.float32)
        given = {"teacher_z": z} | given
    return distill.distill(
        config(**overrides),
        student=student,
        params=pretrained(student) if params is None else params,
        workdir=workdir,
        **given,
    )


def kill_at(step):
    """Kills this process, without a chance to tidy up, while the batch of `step` is loaded."""
    batch_rows = batches.batch_rows

    def deadly(seed, at, **kwargs):
        if at == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch_rows(seed, at, **kwargs)

    batches.batch_rows = deadly


def preempt_at(step):
    """Sends this process SIGTERM while the batch of `step` is loaded."""
    batch_rows = batches.batch_rows

    def preempting(seed, at, **kwargs):
        if at == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch_rows(seed, at, **kwargs)

    batches.batch_rows = preempting


def fill_disk_at(step):
    """Lets no file grow beyond a few bytes from when the batch of `step` is loaded."""
    batch_rows = batches.batch_rows

    def filling(seed, at, **kwargs):
        if at == step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        return batch_rows(seed, at, **kwargs)

    batches.batch_rows = filling


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("workdir")
    parser.add_argument("--kill_at", type=int)
    parser.add_argument("--preempt_at", type=int)
    parser.add_argument("--fill_disk_at", type=int)
    parser.add_argument("--variant", default="mu/8")
    parser.add_argument("--config", type=json.loads, default={})
    parser.add_argument("--port", type=int, help="of the first of two processes")
    parser.add_argument("--process", type=int)
    arguments = parser.parse_args()
    if arguments.port:
        jax.distributed.initialize(f"127.0.0.1:{arguments.port}", 2, arguments.process)
    if arguments.kill_at is not None:
        kill_at(arguments.kill_at)
    if arguments.preempt_at is not None:
        preempt_at(arguments.preempt_at)
    if arguments.fill_disk_at is not None:
        fill_disk_at(arguments.fill_disk_at)
    try:
        run(
            arguments.workdir,
            student=STUDENT._replace(variant=arguments.variant),
            **arguments.config,
        )
    except (Preempted, InputError) as stopped:
        print(stopped, flush=True)
        # As main.py does: threads of libraries have more to say.
        os._exit(2 if isinstance(stopped, InputError) else 0)
