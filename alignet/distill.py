"""Distillation: AligNet triplets and a pretrained student become an aligned student (002, eq. 6).

The student embeds the three images of a triplet and its three dot products become probabilities;
these are fitted to the teacher's while a decoupled pull holds the weights near the pretrained ones.
"""

import functools
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from alignet import losses, students
from alignet import triplets as kernels
from alignet.errors import InputError
from alignet.runtime import checkpoints, files
from alignet.runtime import mesh as meshes
from alignet.runtime.progress import progress
from alignet.students import inference, layouts

LOSSES = ("kl", "jsd", "contrastive", "hard")
FIELDS = (
    *("seed", "batch_size", "steps", "warmup_steps", "peak_lr", "loss", "tau_teacher"),
    *("tau_student", "pull", "grad_clip", "read_out", "dtype", "scan", "remat"),
    *("checkpoint_every", "log_every"),
)
# A resumed run may change these: they do not touch the weights.
CADENCE = ("checkpoint_every", "log_every")


@runtime_checkable
class Triplets(Protocol):
    """What is distilled: `alignet.data.alignet_triplets.AligNetTriplets` or anything like it."""

    indices: Any  # int [n, 3], rows of the images
    similarities: Any  # float [n, 3], the teacher's, in the order (ij, ik, jk)


def distill(
    config: ml_collections.ConfigDict,
    *,
    student: students.Student,
    params: students.Params,
    pixels: np.ndarray,
    triplets: Triplets,
    workdir: str | Path,
) -> students.Params:
    """Fine-tunes a student on a teacher's triplet similarities (002, eq. 6 and A.1.3).

    `workdir` receives `checkpoints/`, `metrics.jsonl` and, at the end, the weights `student.npz`.
    A run that was cut off goes on from its newest readable checkpoint when called again with the
    same arguments, on any number of devices; on the same machine it ends in the same bits (on GPUs
    only if XLA is told to choose deterministic kernels).

    Args:
        config: the values in parentheses are those of the paper or its official code.
            seed: of the order of the triplets (42).
            batch_size: triplets a step, over all devices (512).
            steps: optimiser steps (100 000).
            warmup_steps: of a linear warm-up from 0, counted within `steps` (5 000).
            peak_lr: learning rate after the warm-up; a cosine takes it to 0 (3e-5).
            loss: "kl" (the paper), "jsd" (the official configs), "contrastive" or "hard" (both
                take the teacher's most similar pair for the truth, ties going to the first).
            tau_teacher, tau_student: temperatures that divide (1 and 100).
            pull: strength of the decoupled pull to the weights in `params` (1.0).
            grad_clip: largest global norm of the gradient, or None (None).
            read_out: "pre_logits" (the paper) or "triplet_head" (official code).
            dtype, scan, remat: how the network runs, see `students.Compute`.
            checkpoint_every, log_every: in steps (10 000; -).
        student: the network; see `students.add_triplet_head` for a read-out by a head.
        params: its pretrained float32 parameters, left as they are.
        pixels: uint8 [n, h, w, 3]; may be a memory map, of which only batches are read.
        triplets: image indices and the teacher's similarities.
        workdir: folder of this run, made if absent.

    Returns:
        The aligned parameters, NumPy float32.

    Raises:
        InputError: a wrong config, image or triplet; a workdir that holds another run; a loss
            that is not finite.
    """
    ############################## Inputs ##############################
    config = ml_collections.FrozenConfigDict(config)
    workdir = Path(workdir).absolute()
    mesh = meshes.make_mesh()
    _check_config(config, student, devices=mesh.size)
    _check_triplets(triplets, n_images=len(pixels))
    students.normalise(student, pixels[:1])
    workdir.mkdir(parents=True, exist_ok=True)

    def load_batch(step: int) -> dict[str, jax.Array]:
        rows = batch_rows(config.seed, step, n=len(triplets.indices), batch_size=config.batch_size)
        rows = np.split(rows, jax.process_count())[jax.process_index()]
        batch = {
            "images": pixels[triplets.indices[rows]],
            "teacher": np.asarray(triplets.similarities[rows], np.float32),
        }
        return meshes.shard_batch(mesh, batch)

    ############################## Optimiser ##############################
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.peak_lr,
        warmup_steps=config.warmup_steps,
        decay_steps=config.steps,
        end_value=0.0,
    )
    optimizer = optax.chain(
        optax.identity()
        if config.grad_clip is None
        else optax.clip_by_global_norm(config.grad_clip),
        optax.scale_by_adam(),
        losses.pull_to_init(config.pull),
        optax.scale_by_learning_rate(schedule),
    )

    ############################## State, new or resumed ##############################
    whole = NamedSharding(mesh, PartitionSpec())
    identity = _identity(config, student, params, pixels, triplets)

    def initial_state(params: students.Params) -> dict[str, Any]:
        # A copy: the caller's arrays must survive the donation below.
        return {"params": jax.tree.map(jnp.copy, params), "opt_state": optimizer.init(params)}

    compute = students.Compute(config.dtype, config.scan, config.remat)
    params = inference.place(params, compute, mesh)
    state = jax.jit(initial_state, out_shardings=whole)(params)
    folder = workdir / "checkpoints"
    found = checkpoints.restore_latest(folder, state, meta=identity)
    done, state = found if found else (0, state)
    if done:
        print(f"distill: resuming after step {done} of {config.steps}", file=sys.stderr)

    ############################## One step ##############################
    network = students.network(student, compute)

    def loss_and_agreement(params: students.Params, batch: dict[str, jax.Array]) -> tuple:
        images = batch["images"].reshape(-1, *batch["images"].shape[2:])
        x = students.normalise(student, images)
        z = network.apply({"params": params}, x)[config.read_out]
        s = kernels.pair_similarities(z.reshape(-1, 3, z.shape[-1]))
        loss = triplet_loss(
            config.loss,
            batch["teacher"],
            s,
            tau_teacher=config.tau_teacher,
            tau_student=config.tau_student,
        )
        return loss, kernels.accuracy(s, kernels.choices(batch["teacher"]))

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=whole)
    def train_step(state: dict[str, Any], batch: dict[str, jax.Array]) -> tuple:
        value_and_grad = jax.value_and_grad(loss_and_agreement, has_aux=True)
        (loss, agreement), grads = value_and_grad(state["params"], batch)
        updates, opt_state = optimizer.update(grads, state["opt_state"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        metrics = {"loss": loss, "agreement": agreement, "grad_norm": optax.tree.norm(grads)}
        return {"params": params, "opt_state": opt_state}, metrics

    ############################## Training ##############################
    log = workdir / "metrics.jsonl"
    if jax.process_index() == 0:
        _truncate_log(log, done)
    previous, clock, clocked = None, time.perf_counter(), done
    with checkpoints.open_manager(folder) as manager:
        batches = prefetch(load_batch, range(done, config.steps))
        bar = progress(batches, total=config.steps - done, desc="distill")
        for step, batch in enumerate(bar, start=done + 1):
            state, metrics = train_step(state, batch)
            # One step may be in flight, not more: their batches would pile up on the device.
            jax.block_until_ready(previous)
            previous = metrics
            if step == done + 1:
                # Compilation is no part of the throughput.
                jax.block_until_ready(metrics)
                clock, clocked = time.perf_counter(), step

            last = step == config.steps
            checkpoint = last or step % config.checkpoint_every == 0
            if checkpoint or step % config.log_every == 0:
                metrics = {name: float(value) for name, value in metrics.items()}
                _check_finite(step, metrics)
                seconds, n = time.perf_counter() - clock, 3 * config.batch_size * (step - clocked)
                clock, clocked = time.perf_counter(), step
                metrics |= {
                    "lr": float(schedule(step - 1)),
                    "images_per_second": round(n / seconds, 1) if n else None,
                }
                bar.set_postfix_str(f"loss {metrics['loss']:.4f}", refresh=False)
                if jax.process_index() == 0:
                    with open(log, "a", encoding="utf-8") as file:
                        file.write(json.dumps({"step": step} | metrics) + "\n")
            if checkpoint:
                checkpoints.save(manager, step, state, identity)

    ############################## Result ##############################
    params = jax.device_get(state["params"])
    if compute.scan:
        params = layouts.to_unrolled(params)
    if jax.process_index() == 0:
        students.save_weights(workdir / "student.npz", student, params)
    return params


def triplet_loss(
    name: str,
    teacher_s: Float[Array, "b 3"],
    student_s: Float[Array, "b 3"],
    *,
    tau_teacher: float,
    tau_student: float,
) -> Float[Array, ""]:
    """Compares a student's triplet similarities with its teacher's.

    Args:
        name: one of `LOSSES`.
        teacher_s: similarities of the teacher, in the order (ij, ik, jk).
        student_s: similarities of the student, in the same order.
        tau_teacher: the teacher's temperature; it divides. Discrete losses do not use it.
        tau_student: the student's temperature; it divides.

    Returns:
        Mean loss over the triplets, in nats.
    """
    taus = {"tau_teacher": tau_teacher, "tau_student": tau_student}
    choice = teacher_s.argmax(-1)
    if name == "kl":
        return losses.alignet_kl(teacher_s, student_s, **taus)
    if name == "jsd":
        return losses.alignet_jsd(teacher_s, student_s, **taus)
    if name == "contrastive":
        return losses.contrastive(student_s, choice, tau_student=tau_student)
    return losses.hard_alignment(student_s, choice, tau=tau_student)


def batch_rows(seed: int, step: int, *, n: int, batch_size: int) -> Int[np.ndarray, "b"]:
    """Chooses the triplets of a step, a function of seed and step alone.

    The steps read one long stream of epochs, each a permutation of all triplets: every triplet is
    seen equally often, no remainder is dropped, and a resumed run needs no more than its step.

    Args:
        seed: of the whole stream.
        step: number of steps done before this one.
        n: number of triplets.
        batch_size: triplets a step.

    Returns:
        Indices of triplets.
    """
    epochs, offsets = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), n)
    parts = [
        _permutation(seed, e, n)[offsets[epochs == e]] for e in range(epochs[0], epochs[-1] + 1)
    ]
    return np.concatenate(parts)


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, n: int) -> Int[np.ndarray, "n"]:
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(n)


def prefetch(load: Callable[[int], Any], steps: range) -> Iterator[Any]:
    """Yields `load(step)` for every step; a thread loads the next one meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = [pool.submit(load, step) for step in steps[:1]]
        for step in steps:
            batch = ahead.pop().result()
            if step + 1 in steps:
                ahead.append(pool.submit(load, step + 1))
            yield batch


def _check_config(config: Any, student: students.Student, *, devices: int) -> None:
    missing = [name for name in FIELDS if name not in config]
    if missing:
        raise InputError(f"distill config: {', '.join(missing)} missing; expected a value.")
    expectations = {
        "loss": (config.loss in LOSSES, f"one of {', '.join(LOSSES)}"),
        "read_out": (config.read_out in ("pre_logits", "triplet_head"), "pre_logits, triplet_head"),
        "seed": (config.seed >= 0, "at least 0"),
        "batch_size": (
            config.batch_size >= 1 and config.batch_size % devices == 0,
            f"a positive multiple of the number of devices, {devices}",
        ),
        "warmup_steps": (0 <= config.warmup_steps < config.steps, "at least 0 and below steps"),
        "checkpoint_every": (config.checkpoint_every >= 1, "at least 1"),
        "log_every": (config.log_every >= 1, "at least 1"),
        "tau_teacher": (config.tau_teacher > 0, "a positive number"),
        "tau_student": (config.tau_student > 0, "a positive number"),
        "grad_clip": (
            config.grad_clip is None or config.grad_clip > 0,
            "None or a positive number",
        ),
    }
    for name, (right, expected) in expectations.items():
        if not right:
            raise InputError(f"distill config: {name} is {config[name]!r}; expected {expected}.")
    if config.read_out == "triplet_head" and student.triplet_head is None:
        raise InputError(
            "distill config: read_out is 'triplet_head' but the student has none; expected one "
            "put on by students.add_triplet_head."
        )


def _check_triplets(triplets: Triplets, *, n_images: int) -> None:
    indices, similarities = triplets.indices, triplets.similarities
    n = len(indices)
    if n == 0 or indices.shape != (n, 3) or similarities.shape != (n, 3):
        raise InputError(
            f"triplets: indices {indices.shape} and similarities {similarities.shape}; expected "
            "[n, 3] both, with n at least 1."
        )
    bad = ((indices < 0) | (indices >= n_images)).any(axis=1)
    bad |= ~np.isfinite(similarities).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"triplets, row {row + 1}: indices {indices[row].tolist()} and similarities "
            f"{similarities[row].tolist()}; expected images 0 to {n_images - 1} and finite numbers."
        )


def _check_finite(step: int, metrics: dict[str, float]) -> None:
    if not math.isfinite(metrics["loss"]) or not math.isfinite(metrics["grad_norm"]):
        raise InputError(
            f"distill: at step {step} the loss is {metrics['loss']} and the gradient's norm "
            f"{metrics['grad_norm']}; expected finite numbers (a smaller peak_lr, a larger "
            "tau_student or a grad_clip may help)."
        )


def _identity(
    config: Any,
    student: students.Student,
    params: students.Params,
    pixels: np.ndarray,
    triplets: Triplets,
) -> dict[str, Any]:
    """Everything the result depends on, to tell a resumed run from another one."""

    def digest(tree: Any) -> str:
        # Leaf by leaf: these may be gigabytes.
        state = hashlib.sha256()
        for leaf in jax.tree.leaves(tree):
            state.update(np.ascontiguousarray(leaf))
        return state.hexdigest()

    return {
        "config": {k: v for k, v in config.to_dict().items() if k not in CADENCE},
        "student": student._asdict(),
        "params": digest(params),
        "images": list(pixels.shape),
        "triplets": digest([triplets.indices, triplets.similarities]),
    }


def _truncate_log(path: Path, step: int) -> None:
    """Drops the lines after `step`, which will be written again, and a half-written last one."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    with files.atomic_path(path) as temporary:
        kept = [line for line in whole if json.loads(line)["step"] <= step]
        temporary.write_text("".join(kept), encoding="utf-8")
