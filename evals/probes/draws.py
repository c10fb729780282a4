"""Which examples a few-shot classifier learns from."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from alignet.errors import InputError


def draw(
    labels: Int[np.ndarray, " n"],
    shots: Sequence[int],
    draws: int,
    seed: int,
    classes: Sequence[str],
    *,
    leave: int = 0,
) -> list[Int[np.ndarray, "r _"]]:
    """Draws the same number of examples of every class, without replacement.

    Each draw is one random order of every class, of which n shots take the first n: what is
    learnt from more shots is learnt from those of fewer and some. A draw depends on the seed and
    its own number, not on how many draws there are or on which shots are asked for.

    Args:
      labels: class of each example, in 0..k-1.
      shots: examples a class, each at least 1.
      draws: how often.
      seed: of the draws.
      classes: names of the k classes, for what is said of one that is too small.
      leave: examples of every class that must remain, for tests.

    Returns:
      For each number of shots s, r = draws rows of s·k places in `labels`; a row begins with the
      first example of each class in the order of the classes, then come the second ones, ….

    Raises:
      InputError: a class has too few examples.
    """
    k, most = len(classes), max(shots)
    counts = np.bincount(labels, minlength=k)
    smallest = int(counts.argmin())
    if counts[smallest] < most + leave:
        if not counts[smallest]:
            last = int(labels.max())
            raise InputError(
                f"class {classes[smallest]!r} has no images, and labels go up to {last}; expected "
                f"some of each of {k} classes."
            )
        images = "image" if counts[smallest] == 1 else "images"
        tested = f", {leave} of them to be tested on" if leave else ""
        raise InputError(
            f"class {classes[smallest]!r} has {counts[smallest]} {images}; {most} "
            f"{'shot needs' if most == 1 else 'shots need'} {most + leave}{tested}."
        )
    first = np.cumsum(counts) - counts
    places = first + np.arange(most)[:, None]  # [most, k]
    orders = []
    for number in range(draws):
        rng = np.random.default_rng((seed, number))
        by_class = np.lexsort((rng.random(len(labels)), labels))
        orders.append(by_class[places].ravel())
    return [np.stack([order[: s * k] for order in orders]) for s in shots]
