"""A linear classifier, and which class wins."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

BLOCK = 8192  # rows read at once: ours


@runtime_checkable
class Rows(Protocol):
    """Features of n examples, of which a part can be read: an array or what looks like one."""

    shape: tuple[int, ...]

    def __getitem__(self, places: slice) -> np.ndarray: ...


class Linear(NamedTuple):
    """Class scores x @ weights + bias; rows of x are examples.

    Attributes:
      weights: [d, c], one column a class.
      bias: [c].
    """

    weights: Float[np.ndarray, "d c"]
    bias: Float[np.ndarray, " c"]


def scores(linear: Linear, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n c"]:
    """The score of each class for each row of x.

    In float64: features far from the origin make terms that cancel, and what float32 would leave of
    the scores ties.
    """
    return x.astype(np.float64) @ linear.weights + linear.bias


def classes_of(linear: Linear, rows: Rows) -> Int[np.ndarray, " n"]:
    """The class of each row, −1 for a tie, of rows that are read block by block."""
    n, _ = rows.shape
    blocks = (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))
    return np.concatenate([predict(scores(linear, rows[block])) for block in blocks])


def scores_of(linear: Linear, rows: Rows) -> Float[np.ndarray, "n c"]:
    """The same of rows that are read block by block; float32."""
    n, _ = rows.shape
    found = np.empty((n, len(linear.bias)), np.float32)
    for start in range(0, n, BLOCK):
        block = slice(start, min(start + BLOCK, n))
        found[block] = scores(linear, rows[block])
    return found


def predict(scores: Float[np.ndarray, "*b c"]) -> Int[np.ndarray, "*b"]:
    """The class with the highest score; −1 where several share it, which is a wrong answer."""
    best = scores.argmax(axis=-1)
    top = np.take_along_axis(scores, best[..., None], axis=-1)
    # A NaN equals nothing, itself included: no class wins.
    return np.where((scores == top).sum(axis=-1) == 1, best, -1)
