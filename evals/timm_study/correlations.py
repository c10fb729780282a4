"""Do alignment and a property go together over models? Plain and partial correlations.

A metric is taken as it is or as z² = ((x − μ) / σ)², μ and σ over the models whose alignment is
known, after the mean over sets (000, 4.1; σ is the population's, which no correlation depends on).
z² is large for models of high and of low alignment: a positive correlation is what a U makes, but
any other bent line makes one, too; see `u_shape`.

Correlations are Pearson's, by pingouin: plain, and partial given the covariates (ImageNet top-1 in
the paper). Their intervals are Fisher's and take models for independent. As models of one family
are alike, a second interval is the percentile bootstrap of whole families.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pingouin
from jaxtyping import Float, Int

from evals.statistics import intervals
from evals.statistics.intervals import Measured

FEWEST = 8  # models; ours: fewer say nothing
# Ours: of 24 unrelated models, intervals by families leave 0 out in 14 % of cases where they are of
# six families, and in 8 % where of twelve.
FEWEST_FAMILIES = 12


class Correlation(NamedTuple):
    """Attributes:
    r: with Fisher's interval; NaN if there are fewer than `FEWEST` models, or one side is constant.
    p: two-sided; NaN likewise.
    families: r with the bootstrap interval of families; n is their number, and r is NaN if there
      are fewer than `FEWEST_FAMILIES`.
    """

    r: Measured
    p: float
    families: Measured


def fewest(covariates: Float[np.ndarray, "n c"]) -> int:
    """How many models a correlation takes: Fisher's interval needs more than its covariates."""
    return max(FEWEST, covariates.shape[1] + 4)


def z_squared(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Squared distance from the mean in standard deviations; NaN where x is."""
    scale = np.nanstd(x)
    return ((x - np.nanmean(x)) / scale) ** 2 if scale > 0 else np.full(x.shape, np.nan)


def correlate(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    covariates: Float[np.ndarray, "n c"],
    families: Sequence[str] | np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Correlation:
    """Pearson's correlation of x and y given the covariates, over the models that have all.

    Args:
      x, y: a value a model, NaN where it is not known.
      covariates: likewise; none (c = 0) for the plain correlation.
      families: of the models.
      resamples: of families.
      seed: of the resampling.
    """
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(covariates).all(axis=1)
    x, y, covariates = x[known], y[known], covariates[known]
    # A column that is constant over these models would only make the rest singular.
    covariates = covariates[:, np.ptp(covariates, axis=0) > 0] if known.any() else covariates
    n, c = len(x), covariates.shape[1]
    names, family = np.unique(np.asarray(families)[known], return_inverse=True)
    undefined = Measured(np.nan, np.nan, np.nan, len(names))
    if n < fewest(covariates) or min(np.ptp(x), np.ptp(y)) == 0:
        return Correlation(undefined._replace(n=n), np.nan, undefined)
    columns = {"x": x, "y": y} | {f"c{i}": column for i, column in enumerate(covariates.T)}
    covar = [f"c{i}" for i in range(c)]
    frame = pd.DataFrame(columns)
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.filterwarnings("ignore", "The covariance matrix is rank-deficient", UserWarning)
        if c:
            found = pingouin.partial_corr(frame, x="x", y="y", covar=covar)
        else:
            found = pingouin.corr(x, y)
        r, p = (float(found[key].iloc[0]) for key in ("r", "p_val"))
        # Where x determines y (two metrics that order few models alike), partial_corr inverts a
        # singular matrix and may give −1 for 1.
        r = float(np.copysign(r, partial(frame.to_numpy())))
        # As pingouin's own interval, which it rounds to two decimals.
        low, high = pingouin.compute_esci(stat=r, nx=n - c, eftype="r", decimals=8)
    if len(names) < FEWEST_FAMILIES:
        # Resamples of a few families are too alike: the interval would be too short.
        return Correlation(Measured(r, float(low), float(high), n), p, undefined)
    samples = _resampled(np.column_stack([x, y, covariates]), family, resamples, seed)
    return Correlation(
        Measured(r, float(low), float(high), n),
        p,
        intervals.percentile(r, samples, len(names)),
    )


def partial(table: Float[np.ndarray, "*r n c"]) -> Float[np.ndarray, "*r"]:
    """The correlation of the first two columns given the others, of one table or of many."""
    centred = table - table.mean(axis=-2, keepdims=True)
    return _of_covariance(centred.swapaxes(-1, -2) @ centred)


def _resampled(
    table: Float[np.ndarray, "n c"], family: Int[np.ndarray, " n"], resamples: int, seed: int
) -> Float[np.ndarray, " r"]:
    """The partial correlation in resamples of whole families, from their sums of products."""
    table = table - table.mean(axis=0)
    k = int(family.max()) + 1
    counts = np.bincount(family, minlength=k).astype(np.float64)
    member = (family == np.arange(k)[:, None]).astype(np.float64)
    sums = member @ table
    products = np.einsum("kn,ni,nj->kij", member, table, table, optimize=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(k, np.full(k, 1 / k), size=resamples).astype(np.float64)
    n, total = drawn @ counts, drawn @ sums
    covariance = (
        np.tensordot(drawn, products, 1) - total[:, :, None] * total[:, None] / (n[:, None, None])
    )
    return _of_covariance(covariance)


def _of_covariance(covariance: Float[np.ndarray, "*r c c"]) -> Float[np.ndarray, "*r"]:
    """The correlation of the first two, of what the others leave of them."""
    first, others = covariance[..., :2, :2], covariance[..., 2:, 2:]
    across = covariance[..., :2, 2:]
    if others.shape[-1]:
        # A resample may lack a kind of pretraining: its column is then zero.
        inverse = np.linalg.pinv(others, hermitian=True)
        first = first - across @ inverse @ across.swapaxes(-1, -2)
    scale = first[..., 0, 0] * first[..., 1, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, first[..., 0, 1] / np.sqrt(scale), np.nan)
