"""Is the relation of y to x U-shaped?

That y goes with the square of x does not show it: so does y = log x, which never turns. Two answers
are given. A quadratic regression says how strong the curvature is and where the parabola turns. The
two-lines test asks for a change of sign itself: lines through low and through high x that both
slope, and in opposite directions (Simonsohn 2018, doi:10.1177/2515245918805755).

Standard errors are robust to unequal variances: HC3 (MacKinnon and White 1985), with quantiles of
Student's t. They are too small where the few extreme x have the noisiest y, too: of exponential x
(n = 491) with errors that grow as 0.2 + |x − mean|, 11 % have a curvature of p < .05 by chance.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.interpolate
import scipy.special
from jaxtyping import Float64, Num

from alignet.errors import InputError
from evals.statistics.intervals import TAILS, Measured

ALPHA = 0.05
LEAST = 10  # points, besides one for every covariate
KNOTS = 10  # of the smooth curve, as published
MIDDLE = (0.1, 0.9)  # quantiles of x between which the lines may break, as published
U, INVERTED, NEITHER = "U", "inverted U", "neither"


class Quadratic(NamedTuple):
    """A parabola: y on z and z², z being x standardised with the population's sd.

    Attributes:
      n: points.
      curvature: coefficient of z², in units of y.
      p: of no curvature; two-sided.
      aic_linear, aic_quadratic: Akaike's criterion without and with z², for Gaussian errors of one
        variance, which counts as a parameter.
      vertex: x where the parabola turns; NaN without curvature. Its interval is Fieller's: the x at
        which the slope may be 0. Its ends are infinite if p ≥ .05, as those x then have no bounds.
      below: share of x below the vertex; 0 or 1 if it lies outside the data.
    """

    n: int
    curvature: Measured
    p: float
    aic_linear: float
    aic_quadratic: float
    vertex: Measured
    below: float


class Line(NamedTuple):
    """One of two lines.

    Attributes:
      slope: per unit of x. Its interval is NaN if the line goes through all its points.
      p: of no slope, two-sided; NaN likewise.
      n: points on this side.
    """

    slope: Measured
    p: float
    n: int


class TwoLines(NamedTuple):
    """Attributes:
    n: points.
    break_at: x where one line ends and the other begins; points at this very x belong to both.
    left, right: the lines.
    shape: U or INVERTED if both slopes have p < .05 and opposite signs, else NEITHER.
    """

    n: int
    break_at: float
    left: Line
    right: Line
    shape: str


class Smooth(NamedTuple):
    """A curve at the points' x, covariates at their means.

    Attributes:
      fitted, error: the curve and its standard error, in the order of the points.
      freedom: effective number of parameters, the covariates' included.
    """

    fitted: Float64[np.ndarray, " n"]
    error: Float64[np.ndarray, " n"]
    freedom: float


def quadratic(
    x: Num[np.ndarray, " n"],
    y: Num[np.ndarray, " n"],
    covariates: Num[np.ndarray, "n c"] | None = None,
) -> Quadratic:
    """How curved the relation of y to x is, which is not yet whether it turns.

    Args:
      x: at least 10 numbers, and one more a covariate; 3 of them distinct.
      y: what may depend on it.
      covariates: enter linearly; they may be constant or depend on each other.

    Raises:
      InputError: something is not finite, there are too few points, x or y does not vary, or the
        covariates leave nothing of x or of its square.
    """
    data = _checked(x, y, covariates)
    n = len(data.y)
    linear = _fit(np.column_stack([data.z, data.others]), data.y)
    fit = _parabola(data)
    curvature, p, _ = _tested(fit, 1, n)
    vertex = Measured(*(data.mean + data.sd * z for z in _vertex(fit)), n)
    below = math.nan if math.isnan(vertex.value) else float((data.x < vertex.value).mean())
    return Quadratic(n, curvature, p, _aic(linear), _aic(fit), vertex, below)


def two_lines(
    x: Num[np.ndarray, " n"],
    y: Num[np.ndarray, " n"],
    covariates: Num[np.ndarray, "n c"] | None = None,
) -> TwoLines:
    """The two-lines test of a U shape, its break placed by the Robin Hood algorithm.

    As the author's program does it (urisohn/statuser, R/twolines.R): (1) The slope of a parabola at
    the lowest x says which of the two shapes is looked for. (2) A curve is fitted by `smooth`. Of
    the middle 80 % of x, those are flat at which it is within one standard error of its extreme
    there. (3) Lines that break at the flat x's median have t values, and the break moves to the
    flat x's quantile |t right| / (|t left| + |t right|), whereby the weaker line gets more points.
    (4) Lines that break there, intercepts and slopes apart, are the result.

    It departs from the program in what matters for few points only: p and intervals come from
    Student's t, not the normal distribution; a line too short for HC3 has none, instead of HC1's;
    the curve may not have half as many parameters as there are points.

    The break is put where y seems to turn. Where it rises and then stays flat, chance thus makes a
    U shape of up to 6 % of samples, not of the 2.5 % that p says; where it is flat throughout,
    straight or logarithmic, of 3 % at most (1,000 samples of 100 or 491 points each).

    Args:
      x, y, covariates: as of `quadratic`.

    Raises:
      InputError: as of `quadratic`, or the middle 80 % of x are all the same as an end of theirs.
    """
    data = _checked(x, y, covariates)
    low, high = np.quantile(data.x, MIDDLE)
    middle = (data.x > low) & (data.x < high)
    if not middle.any():
        raise InputError("x has no values between its 10 % and 90 % quantiles to break lines at.")
    slope, curvature, *_ = _parabola(data).coefficients
    sign = -1 if slope + 2 * curvature * data.z.min() > 0 else 1
    curve = smooth(x, y, covariates)
    fitted, error = sign * curve.fitted[middle], curve.error[middle]
    flat = data.x[middle][fitted - error <= fitted.min()]

    _, (t_left, t_right) = _lines(data, float(np.median(flat)))
    total = t_left + t_right
    break_at = float(np.quantile(flat, t_right / total if 0 < total < math.inf else 0.5))
    (left, right), _ = _lines(data, break_at)
    shape = NEITHER
    if left.p < ALPHA and right.p < ALPHA and left.slope.value * right.slope.value < 0:
        shape = U if left.slope.value < 0 else INVERTED
    return TwoLines(len(data.y), break_at, left, right, shape)


def smooth(
    x: Num[np.ndarray, " n"],
    y: Num[np.ndarray, " n"],
    covariates: Num[np.ndarray, "n c"] | None = None,
    *,
    knots: int = KNOTS,
) -> Smooth:
    """A penalised cubic regression spline (Wood 2017, Generalized Additive Models, §5.3.1).

    It is the published test's: a natural spline with knots at quantiles of the distinct x, whose
    integrated squared second derivative is weighted by generalised cross-validation. The errors are
    the Bayesian ones, which allow for the bias of smoothing. SciPy's smoothing spline, which it
    becomes with a knot at every x, has neither errors nor covariates.

    Args:
      x, y, covariates: as of `quadratic`.
      knots: at most; there are no more than distinct x.

    Raises:
      InputError: as of `quadratic`.
    """
    data = _checked(x, y, covariates)
    distinct = np.unique(data.z)
    at = np.quantile(distinct, np.linspace(0, 1, min(knots, len(distinct))))
    basis = scipy.interpolate.CubicSpline(at, np.eye(len(at)), bc_type="natural")
    # The second derivative is linear between knots: two points in each give the integral (Gauss).
    half = np.diff(at)[:, None] / 2
    points = at[:-1, None] + half * (1 + np.array([-1, 1]) / 3**0.5)
    bend = np.repeat(half**0.5, 2, axis=0) * basis(points.ravel(), 2)

    # In these coordinates the design is orthonormal and the penalty diagonal.
    splines = basis(data.z)
    u, s, vt = _svd(np.column_stack([splines, data.others[:, 1:]]))
    turn = (vt.T / s)[: len(at)]
    penalties, axes = np.linalg.eigh(turn.T @ bend.T @ bend @ turn)
    penalties[penalties < 1e-10 * penalties[-1]] = 0  # of straight lines and covariates
    b = axes.T @ (u.T @ data.y)

    n = len(data.y)
    some = penalties[penalties > 0]
    weights = np.geomspace(1e-4 / some[-1], 1e4 / some[0], 1000)
    kept = 1 / (1 + weights[:, None] * penalties)
    freedom = kept.sum(axis=1)
    rss = max(float(data.y @ data.y - b @ b), 0.0) + (1 - kept) ** 2 @ b**2
    # A curve through nearly all points would be as valid: it may not use up half of them.
    c = data.others.shape[1] - 1
    best = int(np.argmin(np.where(freedom - c < (n - c) / 2, rss / (n - freedom) ** 2, np.inf)))
    rows = splines @ turn @ axes
    variance = rss[best] / (n - freedom[best]) * (rows**2 @ kept[best])
    return Smooth(rows @ (kept[best] * b), np.sqrt(variance), float(freedom[best]))


class _Data(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    mean: float
    sd: float
    others: np.ndarray  # a column of ones, and an orthogonal basis of the centred covariates


class _Fit(NamedTuple):
    coefficients: np.ndarray
    covariance: np.ndarray
    rss: float
    n: int
    rank: int


def _checked(x: np.ndarray, y: np.ndarray, covariates: np.ndarray | None) -> _Data:
    n = len(x)
    covariates = np.empty((n, 0)) if covariates is None else covariates
    for name, values in (("x", x), ("y", y), ("covariates", covariates)):
        finite = np.isfinite(values)
        if bad := n - int((finite if finite.ndim == 1 else finite.all(axis=1)).sum()):
            raise InputError(f"{name}: {bad} of {n} points are NaN or infinite; leave them out.")
    least = LEAST + covariates.shape[1]
    if n < least:
        raise InputError(f"{n} points; expected at least {least} to tell a U shape.")
    x, y, covariates = (values.astype(np.float64) for values in (x, y, covariates))
    for name, values in (("x", x), ("y", y)):
        if not _varies(values):
            raise InputError(f"{name} is the same at all {n} points; expected it to vary.")
    if len(np.unique(x)) < 3:
        raise InputError("x has 2 distinct values; expected at least 3 to tell a U shape.")
    mean, sd = float(x.mean()), float(x.std())
    # Which columns span the covariates' space makes no difference to the coefficients of x.
    covariates = covariates[:, _varies(covariates)]
    basis, *_ = _svd((covariates - covariates.mean(axis=0)) / covariates.std(axis=0))
    return _Data(x, y, (x - mean) / sd, mean, sd, np.column_stack([np.ones(n), basis * n**0.5]))


def _varies(values: np.ndarray) -> np.ndarray | np.bool_:
    return values.std(axis=0) > 1e-12 * np.abs(values).max(axis=0)


def _svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    keep = s > 1e-9 * s.max(initial=0)
    return u[:, keep], s[keep], vt[keep]


def _fit(design: Float64[np.ndarray, "n k"], y: Float64[np.ndarray, " n"]) -> _Fit:
    """Least squares; the covariance is HC3, NaN where it is not known."""
    u, s, vt = _svd(design)
    inverse = (vt.T / s) @ u.T
    b = inverse @ y
    b[np.abs(b) < 1e-12 * np.abs(y).max()] = 0  # rounding, which would have a t of its own
    residuals = y - design @ b
    spare = 1 - (u**2).sum(axis=1)
    # A point with a coefficient to itself, such as the only one of its kind, is fitted whatever it
    # is. It says nothing of the other coefficients, and nothing says how certain its own is.
    own = spare < 1e-9
    scores = inverse * np.where(own, 0, residuals / np.where(own, 1, spare))
    covariance = scores @ scores.T
    size = np.abs(inverse)
    unknown = (size[:, own] > 1e-9 * size.max(axis=1, keepdims=True)).any(axis=1)
    unknown |= (vt**2).sum(axis=0) < 1 - 1e-9  # a combination of other columns
    covariance[unknown] = covariance[:, unknown] = np.nan
    return _Fit(b, covariance, float(residuals @ residuals), len(y), len(s))


def _parabola(data: _Data) -> _Fit:
    fit = _fit(np.column_stack([data.z, data.z**2, data.others]), data.y)
    if fit.rank < 2 + data.others.shape[1]:
        raise InputError("the covariates determine x or its square; expected them to leave some.")
    return fit


def _lines(data: _Data, at: float) -> tuple[list[Line], list[float]]:
    """The two lines that break at an x, and their |t|."""
    lines, ts = [], []
    z = (data.x - at) / data.sd
    for j, high in enumerate((data.x > at, data.x >= at)):
        fit = _fit(np.column_stack([z * ~high, z * high, high, data.others]), data.y)
        n = int((high == bool(j)).sum())
        slope, p, t = _tested(fit, j, n, data.sd)
        lines.append(Line(slope, p, n))
        ts.append(t)
    return lines, ts


def _quantile(fit: _Fit) -> float:
    return float(scipy.special.stdtrit(fit.n - fit.rank, TAILS[1]))


def _tested(fit: _Fit, j: int, n: int, unit: float = 1.0) -> tuple[Measured, float, float]:
    """A coefficient of n points, divided by a unit; the p that it is 0; |t|."""
    b, error = float(fit.coefficients[j]), math.sqrt(fit.covariance[j, j])
    t = abs(b) / error if error != 0 else math.inf if b else 0.0
    p = float(2 * scipy.special.stdtr(fit.n - fit.rank, -t))
    half = error * _quantile(fit)
    return Measured(b / unit, (b - half) / unit, (b + half) / unit, n), p, t


def _aic(fit: _Fit) -> float:
    if fit.rss == 0:
        return -math.inf
    return fit.n * (math.log(2 * math.pi * fit.rss / fit.n) + 1) + 2 * (fit.rank + 1)


def _vertex(fit: _Fit) -> tuple[float, float, float]:
    """Where b₁ + 2b₂z = 0, and the ends of where it may be 0 (Fieller 1954)."""
    b = fit.coefficients[:2]
    if b[1] == 0:
        return math.nan, math.nan, math.nan
    # The slope's own interval contains 0 where a(2z)² + 2h(2z) + c ≤ 0.
    (c, h), (_, a) = np.outer(b, b) - _quantile(fit) ** 2 * fit.covariance[:2, :2]
    low, high = -math.inf, math.inf
    if a > 0:
        root = math.sqrt(max(h**2 - a * c, 0))
        low, high = (-h - root) / a / 2, (-h + root) / a / 2
    return float(-b[0] / b[1] / 2), float(low), float(high)
