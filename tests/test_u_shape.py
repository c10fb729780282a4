"""U shapes: against statsmodels, SciPy and slow formulas, and by how often chance makes one."""

import time

import numpy as np
import pytest
import scipy.interpolate
import scipy.optimize
import scipy.stats

from alignet.errors import InputError
from evals.statistics import u_shape
from evals.statistics.u_shape import INVERTED, NEITHER, U

RNG = np.random.default_rng
N = 491
SEEDS = 200
LOW, HIGH = scipy.stats.binom.ppf([0.025, 0.975], SEEDS, 0.05) / SEEDS


def made(seed=0, n=60, c=0, turn=0.4, by=6.0, noise=0.5):
    """A parabola in noise that grows with x; covariates that y depends on."""
    rng = RNG(seed)
    x, covariates = rng.uniform(size=n), rng.normal(size=(n, c))
    y = by * (x - turn) ** 2 + covariates.sum(axis=1)
    return x, y + noise * (0.5 + x) * rng.normal(size=n), covariates if c else None


def left_out(design, y):
    """Coefficients; their HC3 covariance: how leaving each point out in turn changes them."""
    fit = lambda keep: np.linalg.lstsq(design[keep], y[keep])[0]  # noqa: E731
    all_points = np.arange(len(y))
    b = fit(all_points)
    changes = np.array([fit(all_points != i) - b for i in all_points])
    return b, changes.T @ changes


def inferred(b, variance, df):
    t, half = b / variance**0.5, scipy.stats.t.ppf(0.975, df) * variance**0.5
    return [b, b - half, b + half], 2 * scipy.stats.t.sf(abs(t), df), abs(t)


def standardised(x):
    return (x - x.mean()) / x.std()


########################################## Oracles ##########################################


@pytest.mark.parametrize("c", [0, 2])
def test_the_parabola_is_that_of_slow_formulas(c):
    x, y, covariates = made(c=c)
    found, n, z = u_shape.quadratic(x, y, covariates), len(x), standardised(x)
    columns = [np.ones(n), z, z**2, *(() if c == 0 else covariates.T)]
    b, variance = left_out(np.column_stack(columns), y)
    measured, p, _ = inferred(b[2], variance[2, 2], n - len(b))
    np.testing.assert_allclose(found.curvature[:3], measured, rtol=1e-9)
    assert found.p == pytest.approx(p, rel=1e-8)
    for aic, design in (
        (found.aic_quadratic, columns),
        (found.aic_linear, columns[:2] + columns[3:]),
    ):
        design = np.column_stack(design)
        sd = np.std(y - design @ np.linalg.lstsq(design, y)[0])
        likelihood = scipy.stats.norm.logpdf(y, design @ np.linalg.lstsq(design, y)[0], sd).sum()
        assert aic == pytest.approx(2 * (design.shape[1] + 1) - 2 * likelihood)
    assert (found.n, found.curvature.n, found.vertex.n) == (n, n, n)


@pytest.mark.parametrize("c", [0, 2])
def test_parabola_and_lines_are_those_of_statsmodels(c):
    api = pytest.importorskip("statsmodels.api")
    x, y, covariates = made(c=c, n=N)
    others = np.column_stack([np.ones(N), *(() if c == 0 else covariates.T)])
    fit = lambda *columns: api.OLS(y, np.column_stack([*columns, others])).fit(  # noqa: E731
        cov_type="HC3", use_t=True
    )
    z, found = standardised(x), u_shape.quadratic(x, y, covariates)
    expected = fit(z, z**2)
    np.testing.assert_allclose(found.curvature[1:3], expected.conf_int()[1])
    assert found.p == pytest.approx(expected.pvalues[1])
    # statsmodels does not count the variance.
    assert found.aic_quadratic == pytest.approx(expected.aic + 2)
    assert found.aic_linear == pytest.approx(fit(z).aic + 2)

    lines = u_shape.two_lines(x, y, covariates)
    high = x > lines.break_at
    from_break = x - lines.break_at
    expected = fit(from_break * ~high, from_break * high, high)
    for j, line in enumerate((lines.left, lines.right)):
        np.testing.assert_allclose(line.slope[0], expected.params[j])
        np.testing.assert_allclose(line.slope[1:3], expected.conf_int()[j])
        assert line.p == pytest.approx(expected.pvalues[j])
    assert (lines.left.n, lines.right.n) == ((~high).sum(), high.sum())


def test_at_the_ends_of_the_vertex_s_interval_the_slope_may_just_be_0():
    x, y, _ = made()
    n, found = len(x), u_shape.quadratic(x, y)
    assert np.isfinite(found.vertex[:3]).all()
    for at, expected in zip(found.vertex[:3], (1, 0.05, 0.05), strict=True):
        columns = [x - at, (x - at) ** 2, np.ones(n)]
        b, variance = left_out(np.column_stack(columns), y)
        assert inferred(b[0], variance[0, 0], n - 3)[1] == pytest.approx(expected, rel=1e-6)


def test_a_vertex_has_no_bounds_if_there_may_be_no_curvature():
    x, y, _ = made(by=0.1)
    found = u_shape.quadratic(x, y)
    assert found.p > 0.05
    assert found.vertex.as_dict() == {
        "value": found.vertex.value,
        "low": None,
        "high": None,
        "n": 60,
    }
    assert found.curvature.low < 0 < found.curvature.high


def test_the_curve_is_scipy_s_smoothing_spline():
    rng = RNG(3)
    n = 24
    x = np.sort(rng.uniform(3, 9, n))
    y = np.sin(x) + 0.3 * rng.normal(size=n)
    spline = lambda y, lam: scipy.interpolate.make_smoothing_spline(x, y, lam=lam)(x)  # noqa: E731
    hat = lambda lam: np.array([spline(unit, lam) for unit in np.eye(n)]).T  # noqa: E731

    def validation(log):
        h = hat(np.exp(log))
        return n * ((y - h @ y) ** 2).sum() / (n - np.trace(h)) ** 2

    best = scipy.optimize.minimize_scalar(validation, bounds=(-6, 6), method="bounded")
    h = hat(np.exp(best.x))
    order = rng.permutation(n)  # of the points, which makes no difference
    found = u_shape.smooth(x[order], y[order], knots=n)
    np.testing.assert_allclose(found.fitted, (h @ y)[order], atol=1e-3)
    np.testing.assert_allclose(found.fitted, spline(y, None)[order], atol=1e-3)
    assert found.freedom == pytest.approx(np.trace(h), rel=0.01)
    variance = ((y - h @ y) ** 2).sum() / (n - np.trace(h))
    np.testing.assert_allclose(found.error, np.sqrt(variance * np.diag(h))[order], rtol=0.01)


def test_the_curve_does_not_go_through_all_points():
    # Cross-validation alone has its best score there: no residuals, and no points to spare.
    rng = RNG(2)
    x = np.sort(rng.uniform(3, 9, 24))
    y = np.sin(x) + 0.3 * rng.normal(size=24)
    assert 3 < u_shape.smooth(x, y, knots=24).freedom < 12


def side(x, y, keep):
    """The line through one side's points alone, slowly."""
    b, variance = left_out(np.column_stack([x, np.ones(len(x))])[keep], y[keep])
    return inferred(b[0], variance[0, 0], len(x) - 4)


@pytest.mark.parametrize("levels", [None, 9])
@pytest.mark.parametrize(("by", "turn"), [(6, 0.3), (6, 0.6), (-6, 0.3), (-6, 0.6)])
def test_the_break_is_robin_hood_s(by, turn, levels):
    x, y, _ = made(by=by, turn=turn, n=120)
    x = x if levels is None else np.round(x * (levels - 1))
    found, curve = u_shape.two_lines(x, y), u_shape.smooth(x, y)
    middle = (x > np.quantile(x, 0.1)) & (x < np.quantile(x, 0.9))
    if by > 0:
        flat = x[middle & (curve.fitted - curve.error < curve.fitted[middle].min())]
    else:
        flat = x[middle & (curve.fitted + curve.error > curve.fitted[middle].max())]
    at = np.median(flat)
    left, right = (side(x, y, keep)[2] for keep in (x <= at, x >= at))
    assert found.break_at == pytest.approx(np.quantile(flat, right / (left + right)))
    # The weaker line has gained.
    assert found.break_at <= at if left > right else found.break_at >= at
    for line, keep in ((found.left, x <= found.break_at), (found.right, x >= found.break_at)):
        measured, p, _ = side(x, y, keep)
        np.testing.assert_allclose(line.slope[:3], measured, rtol=1e-6)
        assert line.p == pytest.approx(p, rel=1e-6)
        assert line.n == line.slope.n == keep.sum()


########################################## What it finds ##########################################


@pytest.mark.parametrize("turn", [-0.5, 0.25, 3.0])
def test_the_vertex_of_an_exact_parabola(turn):
    x = np.linspace(0, 1, 41) ** 2
    found = u_shape.quadratic(x, 5 - 2 * (x - turn) ** 2)
    np.testing.assert_allclose(found.vertex[:3], turn, rtol=1e-6)
    assert found.curvature.value == pytest.approx(-2 * x.var())
    assert found.below == (x < turn).mean()
    assert found.p < 1e-50


def test_a_straight_line_has_no_vertex():
    x = np.linspace(0, 1, 41)
    found = u_shape.quadratic(x, 1 + 3 * x)
    assert found.p == 1
    assert found.curvature.value == 0
    assert np.isnan([*found.vertex[:3], found.below]).all()


@pytest.mark.parametrize(("by", "shape"), [(6, U), (-6, INVERTED)])
@pytest.mark.parametrize("c", [0, 3])
def test_planted_shapes_are_found(by, shape, c):
    for seed in range(20):
        x, y, covariates = made(seed, N, c, by=by)
        assert u_shape.two_lines(x, y, covariates).shape == shape
        found = u_shape.quadratic(x, y, covariates)
        assert found.p < 1e-6
        assert found.vertex.value == pytest.approx(0.4, abs=0.1)
        assert found.aic_quadratic < found.aic_linear
        assert 0.2 < found.below < 0.6


@pytest.mark.parametrize("rising", [np.log, lambda x: x / (x + 0.1), lambda x: -np.exp(-4 * x)])
def test_what_never_turns_is_curved_but_not_u_shaped(rising):
    rng = RNG(3)
    x = rng.uniform(0.02, 1, N)
    y = rising(x) + 0.1 * rng.normal(size=N)
    assert u_shape.quadratic(x, y).p < 1e-10
    assert u_shape.two_lines(x, y).shape == NEITHER
    assert u_shape.two_lines(x, -y).shape == NEITHER


NULLS = {
    "flat": lambda x: 0 * x,
    "linear": lambda x: 3 * x,
    "log": lambda x: np.log(x + 0.02),
    "saturating": lambda x: 3 * x / (x + 0.1),
}


@pytest.mark.parametrize("null", NULLS)
def test_chance_is_rarely_called_a_shape(null):
    curved = shaped = 0
    for seed in range(SEEDS):
        rng = RNG([5, seed])
        x = rng.uniform(size=N)
        y = NULLS[null](x) + rng.normal(size=N)
        shaped += u_shape.two_lines(x, y).shape != NEITHER
        curved += u_shape.quadratic(x, y).p < 0.05
    assert shaped / SEEDS <= HIGH
    if null in ("flat", "linear"):
        assert LOW <= curved / SEEDS <= HIGH
    else:
        assert curved / SEEDS > 0.9


########################################## Covariates ##########################################


def test_a_u_shaped_confounder_is_allowed_for():
    rng = RNG(6)
    x = rng.uniform(-1, 1, N)
    other = x**2 + 0.3 * rng.normal(size=N)
    y = 2 * other + 0.3 * rng.normal(size=N)
    assert u_shape.two_lines(x, y).shape == U
    assert u_shape.quadratic(x, y).p < 1e-10
    assert u_shape.two_lines(x, y, other[:, None]).shape == NEITHER
    assert u_shape.quadratic(x, y, other[:, None]).p > 0.05


def numbers(found):
    if isinstance(found, u_shape.Quadratic):
        return [*found.curvature, found.p, *found.vertex, found.below]
    return [found.break_at, *found.left.slope, found.left.p, *found.right.slope, found.right.p]


def test_what_covariates_explain_does_not_count():
    x, y, covariates = made(c=3, n=80)
    # A constant, a repeated and a combined column, and other units, add nothing.
    more = [covariates, np.ones((80, 1)), covariates[:, :1], 1e6 * covariates @ np.ones((3, 1))]
    more = np.hstack(more)
    explained = y + covariates @ [5, -3, 2]
    for function in (u_shape.quadratic, u_shape.two_lines):
        expected = numbers(function(x, y, covariates))
        np.testing.assert_allclose(numbers(function(x, explained, covariates)), expected)
        np.testing.assert_allclose(numbers(function(x, y, more)), expected)
    curve = u_shape.smooth(x, y, covariates)
    other = u_shape.smooth(x, explained, more)
    np.testing.assert_allclose(other.error, curve.error)
    # Both are at the covariates' means.
    shift = covariates.mean(axis=0) @ [5, -3, 2]
    np.testing.assert_allclose(other.fitted, curve.fitted + shift)


def test_the_only_point_of_its_kind_is_as_if_left_out():
    x, y, _ = made()
    only = np.zeros((60, 1))
    only[17] = 1
    found, rest = (
        u_shape.quadratic(x, y, only),
        u_shape.quadratic(np.delete(x, 17), np.delete(y, 17)),
    )
    assert found.p == pytest.approx(rest.p)
    assert found.vertex.value == pytest.approx(rest.vertex.value)
    assert found.curvature.value / x.var() == pytest.approx(
        rest.curvature.value / np.delete(x, 17).var()
    )


#################################### Numbers as they come ####################################


def test_units_and_order_make_no_difference():
    x, y, _ = made(n=100)
    order = RNG(7).permutation(100)
    parabola, lines = u_shape.quadratic(x, y), u_shape.two_lines(x, y)
    for unit, origin in ((1e-6, 0), (1e3, -50)):
        a, b = unit * x[order] + origin, 7 * y[order] - 2
        other = u_shape.quadratic(a, b)
        assert other.p == pytest.approx(parabola.p)
        np.testing.assert_allclose(other.curvature[:3], 7 * np.array(parabola.curvature[:3]))
        np.testing.assert_allclose(
            other.vertex[:3], unit * np.array(parabola.vertex[:3]) + origin, rtol=1e-6
        )
        other = u_shape.two_lines(a, b)
        assert other.break_at == pytest.approx(unit * lines.break_at + origin)
        assert other.left.slope.value == pytest.approx(7 / unit * lines.left.slope.value)
        assert (other.shape, other.right.n) == (lines.shape, lines.right.n)


def test_whole_numbers_and_float32_will_do():
    x, y = np.arange(40) % 3, np.array([2, 0, 1], np.float32)[np.arange(40) % 3]
    y[::7] += 1
    found = u_shape.two_lines(x, y)
    assert (found.break_at, found.shape) == (1, U)
    # The points at the break belong to both lines.
    assert (found.left.n, found.right.n) == ((x <= 1).sum(), (x >= 1).sum())
    assert u_shape.quadratic(x, y).curvature.value > 0


def test_ten_points_are_enough_and_two_make_no_line():
    x = np.arange(10.0)
    found = u_shape.two_lines(x, np.array([9.0, 1, 0, 1, 2, 3, 4.5, 5, 6, 7]))
    assert found.left.n <= 3
    assert found.shape in (U, NEITHER)
    for seed in range(50):
        found = u_shape.two_lines(x, RNG(seed).normal(size=10))
        for line in (found.left, found.right):
            assert np.isnan(line.p) == (line.n == 2)
            assert np.isnan(line.slope.low) == (line.n == 2)


@pytest.mark.parametrize("function", [u_shape.quadratic, u_shape.two_lines, u_shape.smooth])
def test_what_cannot_be_tested_is_said(function):
    x, y, covariates = made(c=2)
    hole = y.copy()
    hole[[3, 5]] = np.nan, np.inf
    with pytest.raises(InputError, match=r"^y: 2 of 60 points are NaN or infinite"):
        function(x, hole)
    with pytest.raises(InputError, match=r"^x: 2 of 60 points"):
        function(hole, y)
    with pytest.raises(InputError, match=r"^covariates: 2 of 60 points"):
        function(x, y, np.column_stack([hole, x]))
    with pytest.raises(InputError, match=r"^0 points; expected at least 10"):
        function(np.empty(0), np.empty(0))
    with pytest.raises(InputError, match=r"^9 points; expected at least 10"):
        function(x[:9], y[:9])
    with pytest.raises(InputError, match=r"^11 points; expected at least 12"):
        function(x[:11], y[:11], covariates[:11])
    with pytest.raises(InputError, match=r"^x is the same at all 60 points"):
        function(np.full(60, 0.1), y)
    with pytest.raises(InputError, match=r"^y is the same at all 60 points"):
        function(x, np.full(60, 0.1))
    with pytest.raises(InputError, match=r"^x has 2 distinct values"):
        function((x > 0.5).astype(float), y)


def test_x_must_be_told_from_covariates_and_have_a_middle():
    x, y, covariates = made(c=2)
    for taken in (1 - 2 * x, x**2):
        for function in (u_shape.quadratic, u_shape.two_lines):
            with pytest.raises(InputError, match=r"^the covariates determine x or its square"):
                function(x, y, np.column_stack([covariates, taken]))
    x = np.where(np.arange(60) < 2, np.arange(60), 5.0)
    with pytest.raises(InputError, match="no values between"):
        u_shape.two_lines(x, y)


def test_it_is_quick():
    x, y, covariates = made(n=N, c=4)

    def seconds(function):
        start = time.perf_counter()
        function(x, y, covariates)
        return time.perf_counter() - start

    assert min(seconds(u_shape.quadratic) for _ in range(20)) < 0.002
    assert min(seconds(u_shape.two_lines) for _ in range(20)) < 0.010
