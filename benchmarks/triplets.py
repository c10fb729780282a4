"""How fast the exact triplet agreement is, against `scipy.stats.kendalltau` called per anchor.

    python -m benchmarks.triplets            # about 10 s
    python -m benchmarks.triplets --large    # and 10,000 objects

Prints one JSON line. Both sides start from the same two dissimilarity matrices and are timed in
turn, so that other load on the machine meets both.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau

from alignet.agreement import Agreement, triplet_agreement

REPEATS = 3


def _embeddings(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    a = rng.normal(size=(n, 100))
    return a, a[:, :50] + rng.normal(size=(n, 50))


def _scipy_agreement(a: np.ndarray, b: np.ndarray) -> Agreement:
    """Counts from Kendall's tau, which without ties is (agreements − disagreements) / pairs."""
    n = len(a)
    pairs = (n - 1) * (n - 2) // 2
    others = ~np.eye(n, dtype=bool)
    difference = sum(
        round(kendalltau(a[i, others[i]], b[i, others[i]]).statistic * pairs) for i in range(n)
    )
    agreements = (n * pairs + difference) // 2
    return Agreement(n, agreements, n * pairs - agreements, 0, 0, 0)


def _timed(function, *args, **kwargs):
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return time.perf_counter() - start, result


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compare(n: int) -> dict:
    """Times both sides on the same matrices, in turn."""
    a, b = (squareform(pdist(x)) for x in _embeddings(n, np.random.default_rng(0)))
    triplet_agreement(a, b, kind="dissimilarity")  # threads and caches warm up
    times = {"ours": [], "scipy": []}
    for repeat in range(REPEATS):
        ours_s, ours = _timed(triplet_agreement, a, b, kind="dissimilarity")
        scipy_s, theirs = _timed(_scipy_agreement, a, b)
        times["ours"].append(ours_s)
        times["scipy"].append(scipy_s)
        _say(f"{repeat + 1}/{REPEATS}: ours {ours_s:.3f} s, scipy {scipy_s:.3f} s")
    ours_s, scipy_s = (statistics.median(values) for values in times.values())
    return {
        "n": n,
        "triplets": ours.total,
        "ours_s": round(ours_s, 4),
        "scipy_kendalltau_s": round(scipy_s, 4),
        "ratio": round(ours_s / scipy_s, 4),
        "counts_equal": ours == theirs,
    }


def large(n: int) -> dict:
    """Times the exact agreement of many objects, from embeddings."""
    a, b = _embeddings(n, np.random.default_rng(0))
    seconds, counts = _timed(triplet_agreement, a, b)
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    _say(f"n = {n}: {seconds:.1f} s, peak {peak:.2f} GB")
    return {
        "n": n,
        "triplets": counts.total,
        "ours_s": round(seconds, 2),
        "peak_rss_gb": round(peak, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="also run 10,000 objects")
    result = {"benchmark": "triplets", "cores": os.cpu_count()}
    with_large = parser.parse_args().large
    result |= compare(1854)
    if with_large:
        result["large"] = large(10_000)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
