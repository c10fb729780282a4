"""Adam, pulled towards the pretrained weights, with a warm-up and a cosine (002, eq. 6)."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from alignet import losses, students
from alignet.runtime import mesh as meshes

State = dict[str, Any]


def make_schedule(config: Any) -> optax.Schedule:
    """The learning rate by number of steps done; see `alignet.distill.distill`."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.peak_lr,
        warmup_steps=config.warmup_steps,
        decay_steps=config.steps,
        end_value=0.0,
    )


def make_optimizer(config: Any) -> optax.GradientTransformation:
    """The official optimizer: Adam, then the decoupled pull, then the learning rate."""
    clip = optax.identity()
    if config.grad_clip is not None:
        clip = optax.clip_by_global_norm(config.grad_clip)
    return optax.chain(
        clip,
        optax.scale_by_adam(),
        losses.pull_to_init(config.pull),
        optax.scale_by_learning_rate(make_schedule(config)),
    )


def initial_state(config: Any, params: students.Params, mesh: Mesh) -> tuple[State, Any]:
    """The state before the first step, laid out over the mesh, and its shardings.

    Args:
        config: of `alignet.distill.distill`.
        params: the pretrained parameters, which are also what the optimizer pulls to.
        mesh: from `make_mesh`.
    """
    optimizer = make_optimizer(config)

    def make(params: students.Params) -> State:
        # Copies: the arrays given must survive the donation of the state.
        state = {"params": jax.tree.map(jnp.copy, params), "opt_state": optimizer.init(params)}
        if config.ema is not None:
            state["ema"] = jax.tree.map(jnp.copy, params)
        return state

    shardings = meshes.shard_parameters(mesh, jax.eval_shape(make, params))
    placed = meshes.put(params, meshes.shard_parameters(mesh, params))
    return jax.jit(make, out_shardings=shardings)(placed), shardings


def make_step(
    config: Any, objective: Callable[..., tuple[Array, Array]], shardings: Any, mesh: Mesh
) -> Callable[[State, dict[str, Array]], tuple[State, dict[str, Array]]]:
    """Compiles a training step.

    Args:
        config: of `alignet.distill.distill`.
        objective: from `objective.objective`.
        shardings: of the state.
        mesh: which it is laid out over.

    Returns:
        A function of the state, which is donated, and of a batch whose arrays have a leading axis
        of config.accumulate parts: their gradients are summed one after the other. It gives the
        new state, and "loss", "triplet_accuracy" and "grad_norm".
    """
    optimizer, parts = make_optimizer(config), config.accumulate

    def step(state: State, batch: dict[str, Array]) -> tuple[State, dict[str, Array]]:
        params = state["params"]
        of_part = functools.partial(jax.value_and_grad(objective, has_aux=True), params)
        if parts == 1:
            total = of_part(jax.tree.map(lambda x: x[0], batch))
        else:
            zeros = jax.tree.map(jnp.zeros_like, ((jnp.zeros(()),) * 2, params))

            def add(total: Any, part: Any) -> tuple[Any, None]:
                return jax.tree.map(jnp.add, total, of_part(part)), None

            total, _ = jax.lax.scan(add, zeros, batch)
        (loss, accuracy), grads = jax.tree.map(lambda x: x / parts, total)
        updates, opt_state = optimizer.update(grads, state["opt_state"], params)
        params = optax.apply_updates(params, updates)
        after = {"params": params, "opt_state": opt_state}
        if config.ema is not None:
            after["ema"] = optax.incremental_update(params, state["ema"], 1 - config.ema)
        norm = optax.tree.norm(grads)
        return after, {"loss": loss, "triplet_accuracy": accuracy, "grad_norm": norm}

    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, meshes.whole(mesh)))
