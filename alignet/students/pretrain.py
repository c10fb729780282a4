"""Supervised pretraining of small networks, where no pretrained weights are at hand.

The toy world uses it twice: for a base student that knows colours and textures only, and for a
teacher that was told everything, as image-text pretraining tells a model what captions mention.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, UInt8

from alignet.errors import InputError
from alignet.runtime.progress import progress
from alignet.students import Params, Student, init, network, normalise


def pretrain(
    student: Student,
    images: UInt8[np.ndarray, "n h w 3"],
    labels: Mapping[str, np.ndarray],
    config: Any,
) -> tuple[Params, Float[np.ndarray, "steps"]]:
    """Trains a network from scratch to name several factors of its images.

    Each factor has a linear head on the pre-logits; the loss is the weighted sum of the heads'
    cross-entropies, and the heads are thrown away.

    Args:
      student: the network's specification.
      images: the training images.
      labels: integer labels [n] by factor name.
      config: seed, batch_size, steps, warmup_steps, peak_lr, and factors (weight by name of the
        factors to learn).

    Returns:
      The network's parameters, and the loss of every step.

    Raises:
      InputError: a factor has no labels, or the images do not fit the network.
    """
    weights = dict(config.factors)
    if not weights or not weights.keys() <= labels.keys():
        raise InputError(
            f"factors to pretrain on are {sorted(weights)}; expected some of {sorted(labels)}."
        )
    labels = {name: jnp.asarray(labels[name]) for name in weights}
    images = jnp.asarray(images)
    net_key, batch_key = jax.random.split(jax.random.key(config.seed))
    net = network(student)
    params = {"network": init(student, net_key), "heads": {}}
    width = jax.eval_shape(
        lambda p: net.apply({"params": p}, normalise(student, images[:1]))["pre_logits"],
        params["network"],
    ).shape[-1]
    for name, values in labels.items():
        classes = int(values.max()) + 1
        params["heads"][name] = (jnp.zeros((width, classes)), jnp.zeros(classes))

    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.peak_lr, config.warmup_steps, config.steps
    )
    optimizer = optax.adam(schedule)

    def loss(params: Params, batch: jax.Array, targets: Mapping[str, jax.Array]) -> jax.Array:
        z = net.apply({"params": params["network"]}, normalise(student, batch))["pre_logits"]
        total = jnp.zeros(())
        for name, (kernel, bias) in params["heads"].items():
            cross_entropy = optax.softmax_cross_entropy_with_integer_labels(
                z @ kernel + bias, targets[name]
            )
            total += weights[name] * cross_entropy.mean()
        return total

    @jax.jit
    def train_step(params, opt_state, step, images, labels):
        rows = jax.random.randint(
            jax.random.fold_in(batch_key, step), (config.batch_size,), 0, len(images)
        )
        targets = {name: values[rows] for name, values in labels.items()}
        value, gradient = jax.value_and_grad(loss)(params, images[rows], targets)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    opt_state = optimizer.init(params)
    losses = []
    for step in progress(range(config.steps), total=config.steps, desc="pretrain"):
        params, opt_state, value = train_step(params, opt_state, step, images, labels)
        losses.append(value)
    return params["network"], np.asarray(jnp.stack(losses))
