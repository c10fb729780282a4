"""Students whose alignment with a teacher is dialled from 1 to 0.

A student is given by its similarity matrix over the teacher's objects,

    G = Z diag(s) Zᵀ + κ I,

features Z of which some count against similarity (s = −1). κ, the least that makes G positive
semi-definite, gives every object a direction of its own: it adds 2κ to all squared distances and
changes no triplet. So G is the Gram matrix of real points, even where the student finds alike
what the teacher finds different, with an alignment below ½ (after Lingoes 1971, Psychometrika 36).
"""

import math
from typing import NamedTuple

import numpy as np
import sklearn.cluster
from jaxtyping import Float, Int

from alignet import agreement
from alignet.errors import InputError
from theory import checks

LEAST_OBJECTS = 12  # of a class


class Teacher(NamedTuple):
    """Attributes:
    points: centred, with a mean squared length of 1; their dot products are similarities.
    labels: the class of each.
    """

    points: Float[np.ndarray, "n p"]
    labels: Int[np.ndarray, " n"]


class Student(NamedTuple):
    """Attributes:
    features: Z, one row an object.
    signs: s, ±1 a feature.
    shift: κ.
    """

    features: Float[np.ndarray, "n q"]
    signs: Float[np.ndarray, " q"]
    shift: float


def clustered(
    rng: np.random.Generator,
    *,
    classes: int = 10,
    objects: int = 24,
    d: int = 8,
    apart: float = 1.5,
) -> Teacher:
    """A teacher to whom classes are clusters.

    Args:
      rng: of the objects.
      classes: how many.
      objects: in each.
      d: dimensions.
      apart: standard deviation of the classes' centres, in units of that within a class.

    Raises:
      InputError: there are fewer than 2 classes, 3 objects of each, or 1 dimension.
    """
    checks.at_least(classes, 2, "classes")
    checks.at_least(objects, 3, "objects")
    centres = apart * rng.normal(size=(classes, checks.at_least(d, 1, "d")))
    labels = np.repeat(np.arange(classes), objects)
    return _teacher(centres[labels] + rng.normal(size=(len(labels), d)), labels)


def from_embedding(
    x: Float[np.ndarray, "n p"],
    *,
    classes: int = 20,
    seed: int = 0,
    name: str = "the embedding",
    rows: Int[np.ndarray, " n"] | None = None,
) -> Teacher:
    """A teacher with a real embedding, whose classes are its clusters by k-means.

    Args:
      x: of real objects.
      classes: clusters; those with fewer than 12 objects are left out, with their objects.
      seed: of k-means.
      name: of the embedding, for errors.
      rows: of the objects in it, for errors, if they are not all.

    Raises:
      InputError: two objects are the same, one is not finite, or fewer than two clusters are large
        enough.
    """
    points = checks.embedding(x, name, rows)
    if len(points) >= classes:
        fitted = sklearn.cluster.KMeans(classes, n_init=3, random_state=seed).fit(points)
        large = np.flatnonzero(np.bincount(fitted.labels_) >= LEAST_OBJECTS)
        kept = np.isin(fitted.labels_, large)
        if len(large) >= 2:
            return _teacher(points[kept], np.searchsorted(large, fitted.labels_[kept]))
    raise InputError(
        f"{name}: of {len(points)} objects in {classes} clusters fewer than two have "
        f"{LEAST_OBJECTS} objects; expected more objects."
    )


def mixed(teacher: Teacher, dial: float, rng: np.random.Generator) -> Student:
    """Similarities cos(π dial) G_teacher + sin(π dial) G_noise: aligned, unrelated, reversed.

    Args:
      teacher: whose objects.
      dial: 0, the teacher's own similarities; ½, those of random points; 1, the teacher's with the
        opposite sign.
      rng: of the random points.
    """
    angle = math.pi * float(checks.probability(dial, "dial"))
    n, p = teacher.points.shape
    noise = rng.normal(size=(n, p)) / math.sqrt(p)
    features = np.hstack([teacher.points, noise])
    return _student(features, np.repeat([math.cos(angle), math.sin(angle)], p))


def turned(teacher: Teacher, dial: float) -> Student:
    """Principal components turned round one after the other, the largest first.

    Args:
      teacher: whose objects.
      dial: the share of the variance that is turned round; a component may be so in part, being
        weaker before it changes its sign.
    """
    components, variance = _components(teacher)
    share = np.cumsum(variance) / variance.sum()
    before = np.concatenate([[0], share[:-1]])
    done = np.clip((float(checks.probability(dial, "dial")) - before) / (share - before), 0, 1)
    return _student(components, 1 - 2 * done)


def squeezed(teacher: Teacher, dial: float) -> Student:
    """Principal components with other variances: all information kept, none of it as weighty.

    Args:
      teacher: whose objects.
      dial: 0, as they are; ½, all alike; 1, the largest as weak as the smallest was, and so on.
    """
    components, variance = _components(teacher)
    weight = (variance / np.exp(np.log(variance).mean())) ** (
        -2 * float(checks.probability(dial, "dial"))
    )
    return _student(components, weight)


def gram(student: Student) -> Float[np.ndarray, "n n"]:
    """Its similarity matrix G: positive semi-definite, dot products of real points."""
    matrix = (student.features * student.signs) @ student.features.T
    matrix[np.diag_indices(len(matrix))] += student.shift
    return matrix


def alignment(teacher: Teacher, student: Student) -> float:
    """1 − D_R of teacher and student over all triplets, exactly (Definition 3.5)."""
    similarities = gram(student)
    squares = np.diag(similarities)
    distances = squares[:, None] + squares - 2 * similarities
    np.fill_diagonal(distances, 0)
    kinds = ("embedding", "dissimilarity")
    return agreement.triplet_agreement(teacher.points, distances, kind=kinds).alignment


def _teacher(points: Float[np.ndarray, "n p"], labels: Int[np.ndarray, " n"]) -> Teacher:
    centred = points - points.mean(axis=0)
    return Teacher(centred / math.sqrt((centred**2).sum(axis=1).mean()), labels)


def _components(teacher: Teacher) -> tuple[Float[np.ndarray, "n q"], Float[np.ndarray, " q"]]:
    u, s, _ = np.linalg.svd(teacher.points, full_matrices=False)
    keep = s > 1e-9 * s[0]
    return u[:, keep] * s[keep], s[keep] ** 2


def _student(features: Float[np.ndarray, "n q"], weights: Float[np.ndarray, " q"]) -> Student:
    scaled = features * np.sqrt(np.abs(weights))
    signs = np.where(weights < 0, -1.0, 1.0)
    # The eigenvalues of Z diag(s) Zᵀ are those of the small matrix diag(s) ZᵀZ, and zeros.
    small = np.linalg.eigvals(signs[:, None] * (scaled.T @ scaled)).real
    return Student(scaled, signs, max(-float(small.min()), 0.0))
