"""The losses of AligNet (002, eqs. 1, 2, 4, 5, 6), each the scalar mean over the triplets.

Where the paper misprints an equation the correct form is used: the divergences sum p (log p −
log q) over the three pairs (the printed first term lacks its p and its sum), and the pairs are
(ij, ik, jk) for teacher and student alike (eq. 5 prints ij twice for the teacher).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import xlogy
from jaxtyping import Float, Int, PyTree, ScalarLike

from alignet import triplets
from alignet.triplets import Numeric


def hard_alignment(
    s: Float[Numeric, "*b 3"],
    choice: int | Int[Numeric, "*#b"] = 0,
    *,
    tau: ScalarLike = 1.0,
) -> Float[jax.Array, ""]:
    """Computes the negative log-likelihood of discrete human choices (002, eqs. 1 and 4).

    Args:
        s: similarities in the order (ij, ik, jk).
        choice: the chosen pair of each triplet, or of all of them.
        tau: temperature; it divides.

    Returns:
        Mean over the triplets, in nats.
    """
    return jnp.mean(triplets.cross_entropy(s, choice, tau=tau))


def soft_alignment(
    s: Float[Numeric, "*b 3"], p_star: Float[Numeric, "*b 3"], *, tau: ScalarLike = 1.0
) -> Float[jax.Array, ""]:
    """Computes KL(p* ‖ q) between human uncertainties and the model's probabilities (002, eq. 2).

    Args:
        s: similarities in the order (ij, ik, jk).
        p_star: human probabilities of the three pairs; exact zeros contribute nothing.
        tau: temperature; it divides.

    Returns:
        Mean over the triplets, in nats.
    """
    negative_entropy = xlogy(p_star, p_star).sum(-1)
    return jnp.mean(negative_entropy + triplets.soft_cross_entropy(s, p_star, tau=tau))


def alignet_kl(
    teacher_s: Float[Numeric, "*b 3"],
    student_s: Float[Numeric, "*b 3"],
    *,
    tau_teacher: ScalarLike = 1.0,
    tau_student: ScalarLike = 100.0,
) -> Float[jax.Array, ""]:
    """Computes KL(teacher ‖ student) of the triplet probabilities (002, eq. 5).

    Args:
        teacher_s: similarities of the aligned teacher, in the order (ij, ik, jk).
        student_s: similarities of the student, in the same order.
        tau_teacher: temperature τ′; it divides.
        tau_student: temperature τ†; it divides.

    Returns:
        Mean over the triplets, in nats.
    """
    log_p = triplets.log_probabilities(teacher_s, tau=tau_teacher)
    log_q = triplets.log_probabilities(student_s, tau=tau_student)
    return jnp.mean(_kl(log_p, log_q))


def alignet_jsd(
    teacher_s: Float[Numeric, "*b 3"],
    student_s: Float[Numeric, "*b 3"],
    *,
    tau_teacher: ScalarLike = 1.0,
    tau_student: ScalarLike = 100.0,
) -> Float[jax.Array, ""]:
    """Computes the Jensen–Shannon divergence of teacher and student triplet probabilities.

    The official configs train with it in place of eq. 5. Its gradients are several times smaller
    than those of the KL, so the strength of the pull towards the initial weights does not
    transfer from one to the other.

    Args:
        teacher_s: similarities of the aligned teacher, in the order (ij, ik, jk).
        student_s: similarities of the student, in the same order.
        tau_teacher: temperature τ′; it divides.
        tau_student: temperature τ†; it divides.

    Returns:
        Mean over the triplets, in nats, at most log 2.
    """
    log_p = triplets.log_probabilities(teacher_s, tau=tau_teacher)
    log_q = triplets.log_probabilities(student_s, tau=tau_student)
    log_m = jnp.logaddexp(log_p, log_q) - jnp.log(2.0)
    return jnp.mean(_kl(log_p, log_m) + _kl(log_q, log_m)) / 2


def contrastive(
    student_s: Float[Numeric, "*b 3"],
    choice: int | Int[Numeric, "*#b"],
    *,
    tau_student: ScalarLike,
) -> Float[jax.Array, ""]:
    """Computes the contrastive loss of the teacher's choice against the two other pairs.

    The chosen pair is the positive: −s_choice/τ + log Σ exp(s/τ). This is eq. 4 with the
    teacher's discrete choice in place of the human one; the official code fixes pair 0.

    Args:
        student_s: similarities of the student, in the order (ij, ik, jk).
        choice: the pair that the teacher chose, of each triplet or of all of them.
        tau_student: temperature τ†; it divides.

    Returns:
        Mean over the triplets, in nats.
    """
    return hard_alignment(student_s, choice, tau=tau_student)


def _kl(log_p: Float[Numeric, "*b 3"], log_q: Float[Numeric, "*b 3"]) -> Float[jax.Array, "*b"]:
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


class PullToInitState(NamedTuple):
    """The weights to be pulled towards, kept with the optimizer's state."""

    anchor: PyTree


def pull_to_init(
    strength: float, mask: PyTree[bool] | Callable[[PyTree], PyTree[bool]] | None = None
) -> optax.GradientTransformation:
    """Pulls the weights towards those that `init` was called with (002, eq. 6), decoupled.

    Adds strength · (θ − θ*) to the updates. Put it after `optax.scale_by_adam` and before
    `optax.scale_by_learning_rate`, as the official code does: inside the loss, Adam would
    normalise the pull away. There is no factor 2 from the square; the official strength is 1.0.
    A free drift then shrinks by exp(−strength · Σ learning rate).

    The anchor θ* is a copy taken by `init`: call `init` after pretrained weights are loaded. It
    is part of the optimizer's state, so a restored state keeps pulling to the original weights.

    Args:
        strength: the factor λ.
        mask: which weights to pull, as a tree of bools or a function from weights to such a
            tree; None pulls all of them, as the official code does.

    Returns:
        The transformation; its `update` needs the weights.
    """

    def init(params: optax.Params) -> PullToInitState:
        # A copy, not a reference: a training step that donates the weights frees their buffers.
        return PullToInitState(anchor=jax.tree.map(jnp.copy, params))

    def update(
        updates: optax.Updates, state: PullToInitState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, PullToInitState]:
        if params is None:
            raise ValueError("pull_to_init needs the weights: call update(updates, state, params)")
        pulled = jax.tree.map(
            lambda u, weight, anchor: u + strength * (weight - anchor),
            updates,
            params,
            state.anchor,
        )
        return pulled, state

    transformation = optax.GradientTransformation(init, update)
    return transformation if mask is None else optax.masked(transformation, mask)
