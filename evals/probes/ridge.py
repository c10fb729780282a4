"""Ridge regression to one-hot targets, in closed form: the few-shot read-out of paper 002.

With features x [n, d], every column brought to mean 0 and standard deviation 1 by the n training
rows, targets y [n, c], one-hot less their mean over the rows, and a regulariser λ, the weights
[d, c] that make ‖x W − y‖² + λ‖W‖² least are

    primal    W = (xᵀx + λI)⁻¹ xᵀy      inverts [d, d], the smaller where n ≥ d
    dual      W = xᵀ (xxᵀ + λI)⁻¹ y     inverts [n, n], the smaller where n < d

One eigendecomposition Q diag(e) Qᵀ of the matrix without λ serves every λ: the inverse is
Q diag(1 / (e + λ)) Qᵀ. Since columns and targets have mean 0, the best intercept is 0 there and
the targets' mean in the end; it is not regularised.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from evals.probes.linear import Linear, classes_of

L2 = 2.0**10  # big_vision's few-shot evaluator; the papers give none
L2S = (2.0**4, 2.0**7, L2, 2.0**13, 2.0**16)  # ours, around it


def classify(
    x: Float[np.ndarray, "n d"],
    y: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    trains: Sequence[Int[np.ndarray, "_ _"]],
    *,
    n_classes: int,
    l2s: Sequence[float] = (L2,),
) -> list[Int[np.ndarray, "l _ m"]]:
    """Learns from some rows and names the class of others, once for every draw of rows.

    Args:
      x: features that are learnt from.
      y: their classes.
      test: features to be classified.
      trains: for each number of shots, the rows of x that each of r draws learns from.
      n_classes: number of classes.
      l2s: regularisers λ, of standardised features.

    Returns:
      For each number of shots, the class of every test row by regulariser and draw [l, r, m]; −1
      where several classes have the highest score.
    """
    found = []
    for rows in trains:
        draws = [fit(x[row], y[row], n_classes=n_classes, l2s=l2s) for row in rows]
        found.append(
            np.array([[classes_of(draw[l2], test) for draw in draws] for l2 in range(len(l2s))])
        )
    return found


def fit(
    x: Float[np.ndarray, "n d"],
    y: Int[np.ndarray, " n"],
    *,
    n_classes: int,
    l2s: Sequence[float] = (L2,),
) -> list[Linear]:
    """The classifier for each regulariser, in float64 and for features as they are.

    Columns that are constant over the rows have weight 0.

    Args:
      x: training features.
      y: their classes, in 0..n_classes-1.
      n_classes: number of classes.
      l2s: regularisers λ > 0, of standardised features.
    """
    x = np.asarray(x, np.float64)
    mean, std = x.mean(axis=0), x.std(axis=0)
    # Rounding gives a constant column a tiny deviation, which would blow up what varies elsewhere.
    std[x.max(axis=0) == x.min(axis=0)] = np.inf
    x = (x - mean) / std
    targets = np.eye(n_classes)[y]
    share = targets.mean(axis=0)
    solve = primal if len(x) >= x.shape[1] else dual
    found = []
    for weights in solve(x, targets - share, l2s):
        weights /= std[:, None]
        found.append(Linear(weights, share - mean @ weights))
    return found


def primal(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n c"], l2s: Sequence[float]
) -> list[Float[np.ndarray, "d c"]]:
    """(xᵀx + λI)⁻¹ xᵀy for each λ."""
    e, q = np.linalg.eigh(x.T @ x)
    right = q.T @ (x.T @ y)
    return [q @ (right / (e + l2)[:, None]) for l2 in l2s]


def dual(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n c"], l2s: Sequence[float]
) -> list[Float[np.ndarray, "d c"]]:
    """xᵀ (xxᵀ + λI)⁻¹ y for each λ."""
    e, q = np.linalg.eigh(x @ x.T)
    left, right = x.T @ q, q.T @ y
    return [left @ (right / (e + l2)[:, None]) for l2 in l2s]
