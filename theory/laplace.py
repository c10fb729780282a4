"""What so many random answers teach about an embedding, without fitting it (Laplace).

Near the truth y the log-likelihood of T answers to random questions is quadratic in the coordinates
of an object, with Fisher information T·J_i. An answer is about object i with probability 3/n, and
where it is, with the two others j and k, its information is the covariance of the gradient:

    J_i = 3/n · E_{jk} [ Σ_c p_c g_c g_cᵀ − (Σ_c p_c g_c)(Σ_c p_c g_c)ᵀ ],   g = y_j, y_k, 0

for the pairs ij, ik, jk. With a normal prior of the population's own mean m and variance v, the
learnt coordinates are

    ŷ_i = m + (T·J_i + 1/v)⁻¹ (T·J_i (y_i − m) + (T·J_i)^½ ε),   ε ~ N(0, 1),

cut off at 0. Objects are taken one at a time, as if the others were known. What that leaves out are
errors that objects share; of n·d coordinates those are in the order of d² directions, few where n
is much larger than d, and a fit must also find the neighbourhood of the truth. How far it is off is
measured against fits (`theory.plan`).
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Float

from alignet import agreement

OTHERS = 400  # pairs of other objects from which an object's information is estimated
QUESTIONS = 30_000  # on which the alignment is measured
SIGNALS = np.geomspace(0.02, 2e4, 25)  # mean information about a coordinate times its variance


class Information(NamedTuple):
    """About every object, per answer to a random question: J_i = U_i diag(λ_i) U_iᵀ.

    Attributes:
      values: λ.
      vectors: U, its columns.
    """

    values: Float[np.ndarray, "n d"]
    vectors: Float[np.ndarray, "n d d"]


class Learnt(NamedTuple):
    """After so many answers.

    Attributes:
      alignment: 1 − D_R of what is learnt and the truth.
      error: mean squared error of the coordinates over their variance.
    """

    alignment: Float[np.ndarray, " t"]
    error: Float[np.ndarray, " t"]


def information(y: Float[np.ndarray, "n d"], rng: np.random.Generator) -> Information:
    """The Fisher information J_i of one answer to a random question, for every object.

    Args:
      y: the population's embedding.
      rng: of the other objects in the questions.
    """
    n, d = y.shape
    total = np.empty((n, d, d))
    for i in range(n):
        j = (i + rng.integers(1, n, size=OTHERS)) % n
        k = rng.integers(n - 2, size=OTHERS)
        k += k >= np.minimum(i, j)
        k += k >= np.maximum(i, j)
        first, second = y[j], y[k]
        s = np.stack([first @ y[i], second @ y[i], (first * second).sum(axis=1)], axis=1)
        ij, ik, _ = scipy.special.softmax(s, axis=1).T[:, :, None]
        mean = ij * first + ik * second
        squares = (ij * first).T @ first + (ik * second).T @ second
        total[i] = 3 / n * (squares - mean.T @ mean) / OTHERS
    values, vectors = np.linalg.eigh(total)
    return Information(values.clip(0), vectors)


def learn(
    y: Float[np.ndarray, "n d"], answers: Float[np.ndarray, " t"], rng: np.random.Generator
) -> Learnt:
    """How near the truth so many answers to random questions lead.

    The noise of the answers is drawn once: the same people, who answer more.

    Args:
      y: the population's embedding.
      answers: T, one or more.
      rng: of the information, the noise, and the questions on which the alignment is measured.
    """
    return _learn(y, information(y, rng), answers, rng)


def needed(
    y: Float[np.ndarray, "n d"], alignments: Float[np.ndarray, " a"], rng: np.random.Generator
) -> tuple[Float[np.ndarray, " a"], Float[np.ndarray, " a"]]:
    """Answers to random questions that lead to each alignment, and the error of coordinates there.

    Args:
      y: the population's embedding.
      alignments: wanted, between ½ and 1.
      rng: as of `learn`.

    Returns:
      Answers, infinite where the grid ends before, and errors as of `Learnt`.
    """
    known = information(y, rng)
    answers = SIGNALS / (known.values.mean() * y.var())
    found = _learn(y, known, answers, rng)
    rising = scipy.optimize.isotonic_regression(found.alignment).x
    # Where it stands still, it takes the first of the answers to get there.
    first = np.concatenate([[True], np.diff(rising) > 0])
    logs = np.log([answers, found.error])[:, first]
    needed, error = (np.exp(np.interp(alignments, rising[first], log)) for log in logs)
    return np.where(alignments <= rising[-1], needed, np.inf), error


def _learn(
    y: np.ndarray, known: Information, answers: np.ndarray, rng: np.random.Generator
) -> Learnt:
    mean, variance = y.mean(), y.var()
    truth = np.einsum("nij,ni->nj", known.vectors, y - mean)
    noise = rng.normal(size=y.shape)
    questions = int(rng.integers(2**32))
    found = []
    for t in answers:
        precision = t * known.values
        learnt = (precision * truth + np.sqrt(precision) * noise) / (precision + 1 / variance)
        guess = np.maximum(mean + np.einsum("nij,nj->ni", known.vectors, learnt), 0)
        measured = agreement.sampled_triplet_agreement(
            guess, y, n_samples=QUESTIONS, rng=np.random.default_rng(questions)
        )
        found.append((measured.value, ((guess - y) ** 2).mean() / variance))
    return Learnt(*np.array(found).T)
