"""Exact triplet agreement against brute force and against `scipy.stats.kendalltau`."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau

from alignet import agreement
from alignet.agreement import Agreement, sampled_triplet_agreement, triplet_agreement
from alignet.errors import InputError


def brute_force(a, b):
    """Asks every triplet of two dissimilarity matrices one by one, as Definition 3.5 does."""
    n = len(a)
    order_a = np.sign(a[:, :, None] - a[:, None, :])
    order_b = np.sign(b[:, :, None] - b[:, None, :])
    i, j, k = np.indices((n, n, n))
    asked = (j < k) & (i != j) & (i != k)
    x, y = order_a[asked], order_b[asked]
    return Agreement(
        n_objects=n,
        agreements=int((x * y > 0).sum()),
        disagreements=int((x * y < 0).sum()),
        ties_a=int(((x == 0) & (y != 0)).sum()),
        ties_b=int(((x != 0) & (y == 0)).sum()),
        ties_both=int(((x == 0) & (y == 0)).sum()),
    )


def distances(x):
    return squareform(pdist(x, "sqeuclidean"))


def small_integers(rng, n):
    return rng.integers(rng.integers(2, 7), size=(n, rng.integers(1, 4))).astype(float)


@pytest.mark.parametrize("seed", range(40))
def test_brute_force_with_many_ties(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 41))
    x, y = small_integers(rng, n), small_integers(rng, n)
    a, b = distances(x), distances(y)
    expected = brute_force(a, b)
    assert sum(expected[1:]) == expected.total
    assert triplet_agreement(x, y) == expected
    assert triplet_agreement(a, b, kind="dissimilarity") == expected
    assert triplet_agreement(-a, 3 - b, kind="similarity") == expected
    assert triplet_agreement(x, -b, kind=("embedding", "similarity")) == expected
    a[0, :] = a[:, 0]
    assert triplet_agreement(a.astype(int), y, kind=("dissimilarity", "embedding")) == expected


@pytest.mark.parametrize("n", [3, 4, 33, 34, 35, 65, 67, 130, 200])
def test_brute_force_without_ties(n):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 5)), rng.normal(size=(n, 3))
    assert triplet_agreement(x, y) == brute_force(distances(x), distances(y))


@pytest.mark.parametrize("seed", range(5))
def test_values_that_quantise_alike(seed):
    """Ties up to the last bit, and outliers that squeeze all other values together."""
    rng = np.random.default_rng(seed)
    a, b = (np.rint(distances(rng.normal(size=(60, 2)))) for _ in range(2))
    noise = np.triu(rng.integers(3, size=a.shape) * 2.0**-50, 1)
    a *= 1 + noise + noise.T
    far = rng.integers(60, size=3)
    b[far], b[:, far] = b[far] * 1e30, b[:, far] * 1e30
    expected = brute_force(a, b)
    assert triplet_agreement(a, b, kind="dissimilarity") == expected
    swapped = triplet_agreement(b, a, kind="dissimilarity")
    assert swapped == expected._replace(ties_a=expected.ties_b, ties_b=expected.ties_a)


def kendall_differences(a, b, anchors):
    """Agreements less disagreements around each anchor; exact where nothing is tied."""
    n = len(a)
    pairs = (n - 1) * (n - 2) // 2
    others = ~np.eye(n, dtype=bool)
    taus = [kendalltau(a[i, others[i]], b[i, others[i]]).statistic for i in anchors]
    return [round(tau * pairs) for tau in taus]


def test_kendalls_tau_at_the_size_of_things():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1854, 20))
    y = x[:, :10] + rng.normal(size=(1854, 10))
    a, b = distances(x), distances(y)
    counts = triplet_agreement(a, b, kind="dissimilarity")
    assert counts.total == 3_181_237_812
    assert counts.ties_a == counts.ties_b == counts.ties_both == 0
    assert counts.agreements + counts.disagreements == counts.total
    difference = sum(kendall_differences(a, b, range(1854)))
    assert counts.agreements - counts.disagreements == difference
    same = triplet_agreement(a, np.sqrt(a), kind="dissimilarity")
    assert (same.agreements, same.alignment) == (counts.total, 1.0)
    opposite = triplet_agreement(a, a, kind=("dissimilarity", "similarity"))
    assert (opposite.disagreements, opposite.alignment) == (counts.total, 0.0)


def test_more_objects_than_16_bits_rank():
    rng = np.random.default_rng(0)
    anchors, n = np.array([0, 20_000]), 40_000
    a = rng.normal(size=(2, n))
    b = a + rng.normal(size=(2, n))
    discordant, *ties = agreement._count_block(anchors, a, b)
    pairs, expected = (n - 1) * (n - 2) // 2, 0
    for row, anchor in enumerate(anchors):
        tau = kendalltau(np.delete(a[row], anchor), np.delete(b[row], anchor)).statistic
        expected += (pairs - round(tau * pairs)) // 2
    assert (discordant, ties) == (expected, [0, 0, 0])


def test_identical_rows_tie_exactly():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(150, 37)).astype(np.float32)
    y = rng.normal(size=(150, 4))
    x[rng.integers(150, size=40)] = x[3]
    members = int((x == x[3]).all(axis=1).sum())
    # Members of the set are equally far from every object outside and all at distance 0 inside.
    outside = (150 - members) * members * (members - 1) // 2
    inside = members * (members - 1) * (members - 2) // 2
    counts = triplet_agreement(x, y)
    assert (counts.ties_a, counts.ties_b) == (outside + inside, 0)
    constant = triplet_agreement(np.tile(x[:1], (150, 1)), y)
    assert constant.ties_a == constant.total
    assert np.isnan(constant.alignment)


def test_a_common_offset_does_not_matter():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(100, 8)), rng.normal(size=(100, 8))
    assert triplet_agreement(x + 1e6, y) == triplet_agreement((x + 1e6) - 1e6, y)


def test_embeddings_may_be_huge_or_tiny():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))
    expected = triplet_agreement(x, y)
    assert triplet_agreement(x * 2.0**480, y * 2.0**-480) == expected


def test_alignment_leaves_ties_out():
    assert Agreement(4, 6, 2, 1, 2, 1).alignment == 0.75
    assert Agreement(4, 6, 2, 1, 2, 1).total == 12
    assert Agreement(120, 0, 0, 0, 0, 0).total == 842_520


# ---- Sampling ------------------------------------------------------------------------------------


def test_sampled_intervals_cover_the_exact_value():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(80, 5)), rng.normal(size=(80, 5))
    y[:, 0] += 2 * x[:, 0]
    exact = triplet_agreement(x, y).alignment
    draws = [sampled_triplet_agreement(x, y, n_samples=400, rng=rng) for _ in range(400)]
    covered = np.mean([d.low <= exact <= d.high for d in draws])
    assert 0.92 <= covered <= 0.98
    assert abs(np.mean([d.value for d in draws]) - exact) < 0.006


def test_sampled_counts_ties_and_knows_every_kind(monkeypatch):
    monkeypatch.setattr(agreement, "SAMPLE_ELEMENTS", 10_000)  # several chunks
    rng = np.random.default_rng(5)
    x, y = small_integers(rng, 30), small_integers(rng, 30)
    a, b = distances(x), distances(y)
    exact = triplet_agreement(x, y)
    tied = 1 - (exact.agreements + exact.disagreements) / exact.total

    def sample(a, b, kind):
        rng = np.random.default_rng(6)
        return sampled_triplet_agreement(
            a, b, n_samples=40_000, rng=rng, kind=kind, confidence=0.9999
        )

    for sampled in (sample(x, y, "embedding"), sample(a, b, "dissimilarity")):
        assert sampled.low < exact.alignment < sampled.high
        assert sampled.n + sampled.n_tied == 40_000
        assert sampled.n_tied / 40_000 == pytest.approx(tied, abs=0.015)
    assert sample(-a, b, ("similarity", "dissimilarity")) == sample(a, b, "dissimilarity")


def test_wilson_interval():
    # Newcombe (1998), table I: 81 of 263 and 0 of 20.
    assert agreement._wilson(81 / 263, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert agreement._wilson(0.0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=5e-5)
    constant = np.ones((9, 2))
    nothing = sampled_triplet_agreement(
        constant, constant, n_samples=50, rng=np.random.default_rng(0)
    )
    assert np.isnan(nothing.value)
    assert nothing[1:] == (0.0, 1.0, 0, 50)


def test_random_triplets_have_three_objects_and_miss_none():
    drawn = agreement.random_triplets(5, 20_000, np.random.default_rng(7))
    kinds, counts = np.unique(drawn.T, axis=0, return_counts=True)
    assert all(len(set(row)) == 3 for row in kinds.tolist())
    assert len(kinds) == 60
    assert counts.min() > 240 and counts.max() < 430


# ---- Bad input -----------------------------------------------------------------------------------

GOOD = distances(np.random.default_rng(8).normal(size=(6, 3)))


def broken(row, column, value):
    x = GOOD.copy()
    x[row, column] = value
    return x


BAD = {
    "NaN": (broken(4, 2, np.nan), GOOD, "embedding", "a: row 4 is not all finite"),
    "infinite": (GOOD, broken(2, 1, -np.inf), "dissimilarity", "b: row 2 is not all finite"),
    "not square": (GOOD[:, :5], GOOD, "similarity", r"a: similarity matrix is \(6, 5\)"),
    "asymmetric": (GOOD, broken(1, 5, 99.0), "dissimilarity", r"b: entries \(1, 5\) and \(5, 1\)"),
    "other n": (GOOD, GOOD[:5], "embedding", "a has 6 objects and b has 5"),
    "two objects": (GOOD[:2], GOOD[:2], "embedding", "needs at least 3"),
    "no dimensions": (GOOD[:, :0], GOOD, "embedding", "at least one dimension"),
    "unknown kind": (GOOD, GOOD, "cosine", "kind 'cosine'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    a, b, kind, message = BAD[case]
    with pytest.raises(InputError, match=message):
        triplet_agreement(a, b, kind=kind)


def test_bad_samples():
    rng = np.random.default_rng(9)
    with pytest.raises(InputError, match="n_samples is 0"):
        sampled_triplet_agreement(GOOD, GOOD, n_samples=0, rng=rng)
    for kind in ("embedding", "dissimilarity"):
        for value in (np.nan, np.inf):
            with pytest.raises(InputError, match=r"a: rows .* are not all finite"):
                sampled_triplet_agreement(
                    broken(4, 2, value), GOOD, n_samples=500, rng=rng, kind=kind
                )


def test_rounding_is_no_asymmetry():
    noise = 1 + 1e-7 * np.random.default_rng(10).normal(size=GOOD.shape)
    assert triplet_agreement(GOOD * noise, GOOD, kind="dissimilarity").n_objects == 6
