"""How long the AligNet dataset of ImageNet takes, and how much memory, against the plain way.

    python -m benchmarks.dataset                        # 10 minutes, 12 GB of disk
    python -m benchmarks.dataset --images=100000 --triplets=1000000

From embeddings and clusters to the `.npz`, and from there to what a student trains on. Embeddings
(1,281,167 × 1,152, float32) lie in a file and are mapped into memory. The other side draws all
triplets at once, gathers the three rows of each as they come, all filenames, and calls
numpy.savez. Either runs in a process of its own, in turn. Prints one JSON line; the memory is the
most that the process had, with the pages of files that were mapped.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alignet import sampling
from alignet.data import alignet_triplets

IMAGES, WIDTH, CLUSTERS, TRIPLETS = 1_281_167, 1152, 500, 10_000_000
CHUNK = 16_384


def write_world(folder: Path, n: int) -> None:
    """Embeddings, clusters of unequal size, and names of ImageNet's length."""
    rng = np.random.default_rng(0)
    z = np.lib.format.open_memmap(folder / "z.npy", "w+", np.float32, (n, WIDTH))
    for start in range(0, n, CHUNK):
        z[start : start + CHUNK] = rng.standard_normal((len(z[start : start + CHUNK]), WIDTH), "f4")
    z.flush()
    weight = rng.uniform(0.2, 1.8, CLUSTERS)
    np.save(folder / "clusters.npy", rng.choice(CLUSTERS, n, p=weight / weight.sum()))
    np.save(folder / "ids.npy", np.array([f"n{i % 1000:08}_{i:05}.JPEG" for i in range(n)]))


def ours(folder: Path, n_triplets: int) -> dict[str, float]:
    """Seconds of the parts."""
    z = np.load(folder / "z.npy", mmap_mode="r")
    ids, clusters = np.load(folder / "ids.npy"), np.load(folder / "clusters.npy")
    drawn, draw = _timed(
        lambda: sampling.draw("cluster-boundary", clusters, n_triplets, n_validation=10_000, seed=0)
    )
    answers, answer = _timed(lambda: sampling.soft_answers(z, drawn.train))
    _, write = _timed(lambda: alignet_triplets.write_triplets(folder / "ours.npz", ids, *answers))
    return {"draw": draw, "answer": answer, "write": write}


def load(folder: Path, n_triplets: int) -> dict[str, float]:
    """Seconds to read and check what `ours` wrote."""
    ids = np.load(folder / "ids.npy")
    found, seconds = _timed(
        lambda: alignet_triplets.load_triplets(folder / "ours.npz", ids=ids, filenames=False)
    )
    assert len(found.indices) == n_triplets
    return {"load": seconds}


def plain(folder: Path, n_triplets: int) -> dict[str, float]:
    """Seconds of the parts."""
    z = np.load(folder / "z.npy", mmap_mode="r")
    ids, clusters = np.load(folder / "ids.npy"), np.load(folder / "clusters.npy")
    rng = np.random.default_rng(0)

    def draw() -> np.ndarray:
        order, size = np.argsort(clusters, kind="stable"), np.bincount(clusters)
        start = np.cumsum(size) - size
        one, other = rng.integers(0, len(size), (2, n_triplets))
        other = np.where(one == other, (other + 1) % len(size), other)
        first, second = rng.integers(0, size[one]), rng.integers(0, size[one] - 1)
        second += second >= first
        third = rng.integers(0, size[other])
        return order[np.stack([start[one] + first, start[one] + second, start[other] + third], 1)]

    def answer() -> tuple[np.ndarray, np.ndarray]:
        s = np.empty(triplets.shape, np.float32)
        for begin in range(0, len(triplets), CHUNK):
            i, j, k = np.moveaxis(z[triplets[begin : begin + CHUNK]], 1, 0)
            pairs = [np.einsum("td,td->t", *pair) for pair in ((i, j), (i, k), (j, k))]
            s[begin : begin + CHUNK] = np.stack(pairs, axis=1)
        rank = np.argsort(-s, axis=1, kind="stable")
        indices = np.take_along_axis(triplets, 2 - rank[:, ::-1], axis=1)
        return np.take_along_axis(s, rank, axis=1), indices

    def write() -> None:
        s, indices = answers
        np.savez(folder / "plain.npz", filenames=ids[indices], similarities=s, indices=indices)

    triplets, draw_s = _timed(draw)
    answers, answer_s = _timed(answer)
    _, write_s = _timed(write)
    return {"draw": draw_s, "answer": answer_s, "write": write_s}


SIDES = {"ours": ours, "load": load, "plain": plain}


def peak() -> float:
    """The most memory this process has had, in GB."""
    try:
        # Not what getrusage says, which on Linux counts the process that started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def main() -> None:
    """Runs both sides and prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--triplets", type=int, default=TRIPLETS)
    parser.add_argument("--folder", type=Path, help="where files are; a temporary one by default")
    parser.add_argument("--side", choices=SIDES, help="run only this one, on the folder's files")
    args = parser.parse_args()
    if args.side:
        seconds = SIDES[args.side](args.folder, args.triplets)
        print(json.dumps({"seconds": seconds, "peak_gb": round(peak(), 2)}))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        write_world(Path(folder), args.images)
        found = {}
        for side in SIDES:
            arguments = [f"--folder={folder}", f"--triplets={args.triplets}", f"--side={side}"]
            command = [sys.executable, "-m", "benchmarks.dataset", *arguments]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            found[side] = json.loads(out)
            print(f"{side}: {found[side]}", file=sys.stderr, flush=True)
            (Path(folder) / "plain.npz").unlink(missing_ok=True)
    total, plain_total = (sum(found[side]["seconds"].values()) for side in ("ours", "plain"))
    result = {
        "benchmark": "dataset",
        "cores": os.cpu_count(),
        "images": [args.images, WIDTH],
        "triplets": args.triplets,
        "ours_s": round(total, 1),
        "plain_s": round(plain_total, 1),
        "ratio": round(plain_total / total, 2),
        **found,
    }
    print(json.dumps(result))


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = function()
    return found, round(time.perf_counter() - start, 2)


if __name__ == "__main__":
    main()
