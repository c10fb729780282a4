"""Distillation: AligNet triplets and a pretrained student become an aligned student (002, eq. 6).

The student embeds the three images of a triplet and its three dot products become probabilities;
these are fitted to the teacher's while a decoupled pull holds the weights near the pretrained ones.
"""

import contextlib
import functools
import gc
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import ml_collections
import numpy as np

from alignet import students
from alignet.data.images import Source
from alignet.errors import Preempted
from alignet.runtime import checkpoints
from alignet.runtime import mesh as meshes
from alignet.runtime.preemption import Preemption
from alignet.runtime.progress import progress
from alignet.runtime.work_folder import WorkFolder
from alignet.students import layouts
from alignet.training import checks, metrics, optimizer
from alignet.training.batches import Batch, Batches, Triplets, stream
from alignet.training.objective import make_validation, objective

# Steps that may be on their way to the devices while the host goes on.
IN_FLIGHT = 2

Evaluate = Callable[[students.Params], Mapping[str, float]]


def distill(
    config: ml_collections.ConfigDict,
    *,
    student: students.Student,
    params: students.Params,
    images: np.ndarray | Source,
    triplets: Triplets,
    workdir: str | Path,
    validation: Triplets | None = None,
    teacher_z: np.ndarray | None = None,
    evaluate: Evaluate | None = None,
) -> students.Params:
    """Fine-tunes a student on a teacher's triplet similarities (002, eq. 6 and A.1.3).

    `workdir` receives `checkpoints/`, `metrics.jsonl`, TensorBoard's events in `tensorboard/` and,
    at the end, the weights `student.npz`. A run that was cut off goes on from its newest readable
    checkpoint when called again with the same arguments, on any number of devices; on the same
    devices it ends in the same bits (on GPUs only if XLA is told to choose deterministic kernels).

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
            dense: whether to fit the teacher on `objective.all_thirds`, too, within each part of a
                batch (False).
            pull: strength of the decoupled pull to the weights in `params` (1.0).
            grad_clip: largest global norm of the gradient, or None (None).
            accumulate: parts in which a batch goes through the network, one after the other (1).
            ema: decay of a moving average of the weights, which is then the result; None for none
                (None).
            read_out: "pre_logits" (the paper) or "triplet_head" (official code).
            dtype, scan, remat: how the network runs, see `students.Compute`.
            fsdp: devices that share one copy of parameters and optimizer state; 1 for a copy on
                every device, 0 for one over all.
            workers: processes that decode images; 0 for none, where they are decoded already.
            checkpoint_every, log_every: in steps (10 000; -). What `validation` and `evaluate`
                measure is measured whenever a checkpoint is written.
            keep: how many of the newest checkpoints stay, besides the one with the lowest
                validation loss.
            force: whether to go on from a checkpoint of another configuration.
        student: the network; see `students.add_triplet_head` for a read-out by a head.
        params: its pretrained float32 parameters, left as they are.
        images: uint8 [n, h, w, 3], perhaps a memory map of which only batches are read; or
            pictures that are decoded and resized when needed.
        triplets: image indices and the teacher's similarities; may be memory maps.
        workdir: folder of this run, made if absent; perhaps in a bucket (gs://bucket/run).
        validation: triplets on which the loss is measured, not trained. With them there is also
            `best.npz`, the weights at the checkpoint with the lowest loss.
        teacher_z: the teacher's embeddings of the images, one a row, if config.dense.
        evaluate: gives further numbers to log, of parameters in the layout of `params`.

    Returns:
        The aligned parameters, NumPy float32.

    Raises:
        InputError: a wrong config, image or triplet; a workdir that holds another run; a loss
            that is not finite; a disk or a bucket that cannot be written.
        Preempted: SIGTERM came; a checkpoint was written.
    """
    ############################## Inputs ##############################
    config = ml_collections.FrozenConfigDict(config)
    checks.check_config(config, student)
    checks.check_data(config, student, images, triplets, validation, teacher_z)
    mesh = meshes.make_mesh(fsdp=config.fsdp)
    checks.check_devices(config, mesh.size)
    folder = WorkFolder(workdir)
    load = functools.partial(
        Batches,
        images,
        fit=functools.partial(students.resize, student),
        batch_size=config.batch_size,
        part=jax.process_index(),
        parts=jax.process_count(),
        accumulate=config.accumulate,
    )
    teacher_z = teacher_z if config.dense else None
    training = load(triplets, seed=config.seed, teacher_z=teacher_z)

    def on_devices(batch: Batch) -> dict[str, jax.Array]:
        parts = jax.tree.map(lambda x: x.reshape(config.accumulate, -1, *x.shape[1:]), batch)
        return meshes.shard_batch(mesh, parts, axis=1)

    ############################## State, new or resumed ##############################
    compute = students.Compute(config.dtype, config.scan, config.remat)
    laid_out = layouts.to_scan(params) if compute.scan else params
    state, shardings = optimizer.initial_state(config, laid_out, mesh)
    identity = checks.identity(config, student, params, images, triplets, validation, teacher_z)
    saved = folder.path / "checkpoints"
    found = checkpoints.restore_latest(saved, state, meta=identity, force=config.force)
    done, state = found if found else (0, state)
    if done:
        print(f"distill: resuming after step {done} of {config.steps}", file=sys.stderr)

    ############################## What is compiled ##############################
    network = students.network(student, compute)
    trained = objective(config, student, network, dense=config.dense)
    train_step = optimizer.make_step(config, trained, shardings, mesh)
    validate = make_validation(objective(config, student, network, dense=False))
    schedule = optimizer.make_schedule(config)
    everywhere = jax.jit(lambda tree: tree, out_shardings=meshes.whole(mesh))

    def on_host(state: optimizer.State) -> students.Params:
        result = jax.device_get(everywhere(state.get("ema", state["params"])))
        return layouts.to_unrolled(result) if compute.scan else result

    def measure(state: optimizer.State) -> dict[str, float]:
        if validation is None:
            return {}
        held_out = load(validation, seed=None, teacher_z=None)
        batches = stream(held_out, range(len(held_out)), workers=config.workers)
        current = state.get("ema", state["params"])
        found = validate(current, (on_devices(batch) for batch in batches))
        return {f"validation/{name}": value for name, value in found.items()}

    ############################## Training ##############################
    first = jax.process_index() == 0
    speed = metrics.Speed(student, images_per_step=3 * config.batch_size, n_devices=mesh.size)
    running: list[dict[str, jax.Array]] = []  # metrics of the steps since the last look at them
    steps, validated = range(done, config.steps), validation is not None
    if first:
        folder.fetch(metrics.FILE)
    with (
        folder,
        contextlib.closing(metrics.Log(folder.here, done=done, writes=first)) as log,
        contextlib.closing(stream(training, steps, workers=config.workers)) as batches,
        Preemption() as preemption,
        checkpoints.open_manager(saved, keep=config.keep, keep_best=validated) as kept,
        progress(total=len(steps), desc="distill", unit=" step") as bar,
    ):
        for step, batch in enumerate(batches, start=done + 1):
            state, of_step = train_step(state, on_devices(batch))
            running.append(of_step)
            # The devices always have work; more would pile up batches in their memory.
            jax.block_until_ready(running[-IN_FLIGHT:][0])
            if step == done + 1:
                jax.block_until_ready(of_step)
                speed.start(step)
            bar.update()

            preempted = preemption.reached(step)
            whole = step % config.checkpoint_every == 0 or step == config.steps
            if not (preempted or whole or step % config.log_every == 0):
                continue
            values = checks.finite(running, last_step=step)
            running.clear()
            values |= {"lr": float(schedule(step - 1))} | speed.measure(step)
            bar.set_postfix_str(metrics.summary(values), refresh=False)
            failed = None
            if whole:
                values |= measure(state)
                # What goes wrong with evals may not cost the steps since the last checkpoint.
                try:
                    values |= {} if evaluate is None else evaluate(on_host(state))
                except Exception as error:
                    failed = error
            log.write(step, values)
            folder.publish(seldom=not (preempted or whole))
            if preempted or whole:
                loss = values.get("validation/loss")
                checkpoints.save(kept, step, state, identity, loss=loss)
                speed.start(step)
            if failed is not None:
                checkpoints.finish(kept)
                raise failed
            if preempted and step < config.steps:
                checkpoints.finish(kept)
                raise Preempted(
                    f"{workdir}: stopped by SIGTERM after step {step} of {config.steps}, which is "
                    "saved; the same command goes on from there."
                )
        # Batches lie in memory that workers gave, and refer to themselves: what is not returned
        # by now is complained of when Python ends.
        batch = None
        gc.collect()
        best = kept.best_step() if validated else None

    ############################## Result ##############################
    params = on_host(state)
    with folder:
        _save(folder.here / "student.npz", student, params)
        if best is not None:
            of_best = on_host(checkpoints.restore(saved, best, state))
            _save(folder.here / "best.npz", student, of_best)
    return params


def _save(path: Path, student: students.Student, params: students.Params) -> None:
    if jax.process_index() == 0:
        students.save_weights(path, student, params)
