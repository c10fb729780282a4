"""Few-shot learning of a teacher's classes by a student (000 and 001, after Theorem 3.9).

The papers conclude from Theorem 3.9 that students of high and of low alignment learn from few
examples and those between do not: a U. Here its parts can be taken apart: what the alignment is,
by construction (`theory.students`), how classes are learnt, and whether the learner knows that it
sees things the wrong way round.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from evals.probes import draws
from evals.statistics import intervals
from evals.statistics.intervals import Measured
from theory import checks, students
from theory.students import Student, Teacher

REGULARISER = 0.1  # of ridge regression, in units of the mean squared length
PLAIN, TOLD, TRIES = "takes it as it is", "is told its alignment", "tries on its examples"
LEARNERS = (PLAIN, TOLD, TRIES)


class Learnt(NamedTuple):
    """What a student learnt.

    Attributes:
      alignment: 1 − D_R of teacher and student.
      accuracy: on the objects that were no examples, with an interval over draws of examples, by
        rule and learner. The rules: the nearest class mean; ridge regression on one-hot classes.
        The learners: PLAIN follows the rule; TOLD follows its opposite (the farthest mean, the
        lowest score) if the alignment is below ½; TRIES does if that does better where it learns
        from half of its examples and tries on the others.
    """

    alignment: float
    accuracy: Mapping[tuple[str, str], Measured]


def learn(teacher: Teacher, student: Student, *, shots: int, times: int, seed: int) -> Learnt:
    """How well a student learns the teacher's classes (000 and 001, after Theorem 3.9).

    Args:
      teacher, student: of the same objects.
      shots: examples of each class, at least 2.
      times: draws of examples.
      seed: of the draws.

    Raises:
      InputError: there are fewer than 2 shots or 1 draw, or a class has not so many objects.
    """
    labels = teacher.labels
    checks.at_least(shots, 2, "shots")
    checks.at_least(times, 1, "times")
    names = [str(label) for label in range(labels.max() + 1)]
    [trains] = draws.draw(labels, [shots], times, seed, names, leave=1)
    similarities = students.gram(student)
    alignment = students.alignment(teacher, student)
    accuracy: dict[tuple[str, str], list[float]] = {
        (rule, learner): [] for rule in RULES for learner in LEARNERS
    }
    for examples in trains:
        tested = np.ones(len(labels), bool)
        tested[examples] = False
        # The first half has as many of every class as the order of the draws goes shot by shot.
        half = shots // 2 * len(names)
        for rule, scores_of in RULES.items():
            scores = scores_of(similarities, examples, labels[examples])
            by_half = scores_of(similarities, examples[:half], labels[examples[:half]])
            tries, opposite = (
                _right(s, labels)[examples[half:]].mean() for s in (by_half, -by_half)
            )
            turn = {PLAIN: False, TOLD: alignment < 0.5, TRIES: opposite > tries}
            for learner in LEARNERS:
                right = _right(-scores if turn[learner] else scores, labels)
                accuracy[rule, learner].append(float(right[tested].mean()))
    return Learnt(alignment, {k: intervals.mean(np.array(v)) for k, v in accuracy.items()})


def centroid_scores(
    similarities: Float[np.ndarray, "n n"],
    examples: Int[np.ndarray, " e"],
    y: Int[np.ndarray, " e"],
) -> Float[np.ndarray, "n c"]:
    """How near each object is to the mean of each class's examples: −|x − mean|²/2 + |x|²/2.

    Args:
      similarities: of all objects, a Gram matrix.
      examples: of which objects.
      y: their classes, each of 0 to c − 1 at least once.
    """
    shares = np.eye(y.max() + 1)[y]
    shares /= shares.sum(axis=0)
    among = similarities[np.ix_(examples, examples)]
    lengths = np.einsum("ec,ef,fc->c", shares, among, shares)
    return similarities[:, examples] @ shares - lengths / 2


def ridge_scores(
    similarities: Float[np.ndarray, "n n"],
    examples: Int[np.ndarray, " e"],
    y: Int[np.ndarray, " e"],
) -> Float[np.ndarray, "n c"]:
    """Ridge regression on one-hot classes, less their means, in its dual form.

    Args: as of `centroid_scores`.
    """
    targets = np.eye(y.max() + 1)[y]
    targets -= targets.mean(axis=0)
    among = similarities[np.ix_(examples, examples)]
    # A student to whom all objects are one has no scale, and learns nothing by any.
    penalty = REGULARISER * np.trace(among) / len(among) or 1.0
    weights = np.linalg.solve(among + penalty * np.eye(len(among)), targets)
    return similarities[:, examples] @ weights


RULES = {"nearest mean": centroid_scores, "ridge": ridge_scores}


def _right(
    scores: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    best = scores.max(axis=1, keepdims=True)
    # Several best are wrong, never a lucky guess.
    return ((scores == best).sum(axis=1) == 1) & (scores.argmax(axis=1) == labels)
