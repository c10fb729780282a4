"""How long k-means takes, and how good it is, against scikit-learn and faiss.

    python -m benchmarks.clustering          # 20 minutes; needs faiss-cpu
    python -m benchmarks.clustering --large  # ours only, ImageNet's size: 3 minutes, 6 GB of disk

500 clusters of 200,000 × 1,152 float32, from one start each, by scikit-learn's MiniBatchKMeans and
faiss.Kmeans at several settings, since either can be had faster or better. Times include the label
of every row and start with the rows in memory. The inertia is computed here from each one's
centres, over all rows. Each runs in a process of its own, on all cores, ours before and after each
of the others, so that other load on the machine meets both. Prints a table and one JSON line.

Two worlds of 800 clusters of unequal sizes. "embeddings": 100 kinds of clusters, variances that
fall with the rank of a direction, between clusters faster than within, and a common mean.
"isotropic": clusters and rows differ in all directions alike, which principal components can make
least of. With --large the embeddings are a memory map; the memory is the most that the process had,
with the pages of the file that were mapped.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from alignet import clustering
from benchmarks.dataset import peak

ROWS, LARGE, WIDTH, CLUSTERS, K = 200_000, 1_281_167, 1152, 800, 500
CHUNK = 8192


def write_world(path: Path, world: str, n: int) -> None:
    """Writes embeddings [n, 1152] to an `.npy`."""
    rng = np.random.default_rng(0)
    rank = np.arange(1, WIDTH + 1)
    weights = rng.lognormal(size=CLUSTERS)
    labels = rng.choice(CLUSTERS, n, p=weights / weights.sum())
    if world == "embeddings":
        kinds = np.repeat(rng.normal(size=(CLUSTERS // 8, WIDTH)), 8, axis=0)
        means = (kinds + rng.normal(size=(CLUSTERS, WIDTH))) * rank**-0.5
        spread = rng.lognormal(sigma=0.3, size=(CLUSTERS, 1)) * rank**-0.4
        rotation, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
        common = 0.3 * rng.normal(size=WIDTH)
    else:
        means = 0.15 * rng.normal(size=(CLUSTERS, WIDTH))
        spread, rotation, common = np.ones((CLUSTERS, 1)), None, np.zeros(WIDTH)
    means, spread, common = (part.astype(np.float32) for part in (means, spread, common))
    z = np.lib.format.open_memmap(path, "w+", np.float32, (n, WIDTH))
    for start in range(0, n, CHUNK):
        some = labels[start : start + CHUNK]
        x = rng.standard_normal((len(some), WIDTH), np.float32) * spread[some] + means[some]
        if rotation is not None:
            x = x @ rotation.astype(np.float32)
        z[start : start + CHUNK] = x + common
    z.flush()


# A side is imported first, and then given the rows for their centres.
Side = Callable[[np.ndarray], np.ndarray]


def ours() -> Side:
    return lambda z: clustering.cluster(z, ks=(K,), restarts=1, seed=0).centres


def sklearn(batch_size: int) -> Side:
    from sklearn.cluster import MiniBatchKMeans

    kmeans = MiniBatchKMeans(K, batch_size=batch_size, random_state=0)
    return lambda z: kmeans.fit(z).cluster_centers_


def faiss(init: str = "RANDOM", **settings: int | float) -> Side:
    import faiss

    init_method = getattr(faiss, f"ClusteringInitMethod_{init}")

    def run(z: np.ndarray) -> np.ndarray:
        kmeans = faiss.Kmeans(z.shape[1], K, seed=1, init_method=init_method, **settings)
        kmeans.train(z)
        kmeans.index.search(z, 1)
        return kmeans.centroids

    return run


OURS = "ours"
SIDES = {
    OURS: ours,
    "sklearn, batches of 1024 (default)": lambda: sklearn(1024),
    "sklearn, batches of 8192": lambda: sklearn(8192),
    "faiss, 5 iterations": lambda: faiss(niter=5),
    "faiss, 10 iterations": lambda: faiss(niter=10),
    "faiss, 25 iterations (default)": lambda: faiss(niter=25),
    "faiss, 25, all rows": lambda: faiss(niter=25, max_points_per_centroid=ROWS),
    "faiss, 25, stops early": lambda: faiss(niter=25, early_stop_threshold=1e-3),
    "faiss, 10 after k-means++": lambda: faiss("KMEANS_PLUS_PLUS", niter=10),
}


def inertia(z: np.ndarray, centres: np.ndarray) -> float:
    """Mean squared distance to the nearest centre."""
    norms, total = np.einsum("kp,kp->k", centres, centres), 0.0
    for start in range(0, len(z), CHUNK):
        x = z[start : start + CHUNK]
        nearest = (norms - 2 * (x @ centres.T)).argmin(axis=1)
        total += np.square(x - centres[nearest]).sum(dtype=np.float64)
    return total / len(z)


def run(side: str, path: Path, *, in_memory: bool) -> dict[str, float]:
    """Times one side on the embeddings of a file."""
    z = np.load(path, mmap_mode=None if in_memory else "r")
    function = SIDES[side]()
    start = time.perf_counter()
    centres = function(z)
    seconds, memory = time.perf_counter() - start, peak()
    return {"s": round(seconds, 2), "peak_gb": round(memory, 2), "inertia": inertia(z, centres)}


def start(side: str, path: Path, *options: str) -> dict[str, float]:
    """`run` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.clustering", f"--side={side}", f"--file={path}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr}")
    return json.loads(done.stdout)


def compare(world: str, path: Path) -> dict[str, dict[str, float]]:
    """All other sides, in turn with ours."""
    _say(f"{world:<34} {'s':>7} {'ours':>7} {'ratio':>6} {'inertia':>9} {'ours':>9} {'ratio':>8}")
    found, before = {}, start(OURS, path)
    for side in [name for name in SIDES if name != OURS]:
        theirs, after = start(side, path), start(OURS, path)
        mine = (before["s"] + after["s"]) / 2
        theirs["ours_s"] = round(mine, 2)
        theirs["time_ratio"] = round(theirs["s"] / mine, 2)
        theirs["inertia_ratio"] = round(theirs["inertia"] / after["inertia"], 5)
        _say(
            f"{side:<34} {theirs['s']:7.1f} {mine:7.1f} {theirs['time_ratio']:6.2f} "
            f"{theirs['inertia']:9.3f} {after['inertia']:9.3f} {theirs['inertia_ratio']:8.5f}"
        )
        found[side], before = theirs, after
    return found


def main() -> None:
    """Runs all sides and prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="ours, ImageNet's size, from disk")
    parser.add_argument("--folder", type=Path, help="where files are; a temporary one by default")
    parser.add_argument("--side", choices=SIDES, help="run only this one, on --file")
    parser.add_argument("--file", type=Path, help="embeddings, an .npy")
    args = parser.parse_args()
    if args.side:
        print(json.dumps(run(args.side, args.file, in_memory=not args.large)))
        return
    result = {"benchmark": "clustering", "cores": os.cpu_count(), "k": K}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "z.npy"
        if args.large:
            write_world(path, "embeddings", LARGE)
            print(json.dumps(result | {"shape": [LARGE, WIDTH]} | start(OURS, path, "--large")))
            return
        for world in ("embeddings", "isotropic"):
            write_world(path, world, ROWS)
            result[world] = compare(world, path)
    print(json.dumps(result | {"shape": [ROWS, WIDTH]}))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
