"""How long a UD fit takes at the published size, against the papers' minibatch SGD.

    python -m benchmarks.ud                  # 4.1M triplets, 1,854 objects, p = 768: a few minutes

Prints one JSON line. The world is made: p* is the softmax of a random concept embedding of low
rank, and the embeddings are a noisy linear image of it. L-BFGS is run to its end with the settings
of `configs/things.py`; of SGD, a share of one epoch is timed and scaled, in the same run.
"""

import argparse
import contextlib
import json
import os
import sys
import time

import numpy as np
import scipy.special

from alignet import transform
from alignet import triplets as kernels
from configs import things


def world(
    n_objects: int, n_triplets: int, p: int, *, rank: int, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings [m, p], triplets [n, 3] and their p* [n, 3]."""
    concepts = np.where(
        rng.random((n_objects, rank)) < 0.3, rng.gamma(2, 0.5, (n_objects, rank)), 0
    )
    x = concepts @ rng.normal(size=(rank, p)) / np.sqrt(rank) + noise * rng.normal(
        size=(n_objects, p)
    )
    triplets = rng.integers(0, n_objects, (n_triplets, 3))
    i, j, k = triplets.T
    triplets = triplets[(i != j) & (i != k) & (j != k)]
    s = kernels.gather_similarities(concepts @ concepts.T, triplets)
    return x, triplets, scipy.special.softmax(s, axis=1)


@contextlib.contextmanager
def counted_evaluations():
    """Times every evaluation of the full-batch objective, with a line for each tenth."""
    objective, seconds = transform._objective, []

    def timed(*args):
        start = time.perf_counter()
        value, grad = objective(*args)
        value.block_until_ready(), grad.block_until_ready()
        seconds.append(time.perf_counter() - start)
        if len(seconds) % 10 == 1:
            _say(f"evaluation {len(seconds)}: objective {float(value):.5f}, {seconds[-1]:.2f} s")
        return value, grad

    transform._objective = timed
    try:
        yield seconds
    finally:
        transform._objective = objective


def objective(found: transform.Transform, x, triplets, p_star, *, lam: float) -> float:
    """Eq. 3 less the entropy of p*, by NumPy."""
    z = transform.apply_transform(found, x)
    s = kernels.gather_similarities(kernels.similarity_matrix(z), triplets)
    W = found.W
    distance = ((W - np.trace(W) / len(W) * np.eye(len(W))) ** 2).sum()
    return float(kernels.soft_cross_entropy(s, p_star).mean() + lam * distance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=1854)
    parser.add_argument("--triplets", type=int, default=4_100_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--rank", type=int, default=40)
    parser.add_argument("--noise", type=float, default=0.5)
    parser.add_argument("--lam", type=float, default=0.1)
    parser.add_argument("--sgd-share", type=float, default=0.02, help="of an epoch that is timed")
    args = parser.parse_args()
    config = things.get_config().ud
    x, triplets, p_star = world(
        args.objects,
        args.triplets,
        args.width,
        rank=args.rank,
        noise=args.noise,
        rng=np.random.default_rng(0),
    )
    _say(f"{len(triplets):,} triplets of {args.objects:,} objects, p = {args.width}")

    start = time.perf_counter()
    with counted_evaluations() as evaluations:
        found = transform.fit(x, triplets, p_star, lam=args.lam, config=config)
    lbfgs_s = time.perf_counter() - start
    _say(f"L-BFGS: {lbfgs_s:.1f} s, {len(evaluations)} evaluations")

    sgd_s = sgd_epoch_seconds(
        x, triplets, p_star, lam=args.lam, config=config, share=args.sgd_share
    )
    # The first evaluation compiles.
    lbfgs_pass_s = float(np.median(evaluations[1:]))
    result = {
        "benchmark": "ud",
        "cores": os.cpu_count(),
        "triplets": len(triplets),
        "objects": args.objects,
        "p": args.width,
        "lambda": args.lam,
        "lbfgs_s": round(lbfgs_s, 1),
        "lbfgs_evaluations": len(evaluations),
        "lbfgs_evaluation_s": round(lbfgs_pass_s, 3),
        "objective_start": round(
            objective(_start(x, triplets, p_star), x, triplets, p_star, lam=0), 5
        ),
        "objective_end": round(objective(found, x, triplets, p_star, lam=args.lam), 5),
        "objective_floor": round(float(scipy.special.entr(p_star).sum(axis=1).mean()), 5),
        "sgd_epoch_s": round(sgd_s, 1),
        "sgd_measured_share": args.sgd_share,
        "sgd_batch_size": config.sgd.batch_size,
        "sgd_to_lbfgs_seconds_a_pass": round(sgd_s / lbfgs_pass_s, 1),
    }
    print(json.dumps(result))


def sgd_epoch_seconds(x, triplets, p_star, *, lam: float, config, share: float) -> float:
    """Seconds of one epoch of SGD, from two runs on the share, one an epoch and one three long.

    Compiling and copying are in both, so that the difference is two epochs of the share alone.
    """
    some = np.random.default_rng(1).permutation(len(triplets))[: round(share * len(triplets))]
    seconds = []
    for epochs in (1, 3):
        sgd = config.copy_and_resolve_references()
        sgd.solver, sgd.sgd.max_epochs = "sgd", epochs
        start = time.perf_counter()
        transform.fit(x, triplets[some], p_star[some], lam=lam, config=sgd)
        seconds.append(time.perf_counter() - start)
        _say(f"SGD, {epochs} epochs of {share:.2%} of the triplets: {seconds[-1]:.1f} s")
    return (seconds[1] - seconds[0]) / 2 / share


def _start(x, triplets, p_star) -> transform.Transform:
    """The scaled identity that L-BFGS starts from."""
    p = x.shape[1]
    mean, std = x.mean(), x.std()
    scale = transform._best_scale((x - mean) / std, triplets, p_star)
    return transform.Transform(np.array(mean), np.array(std), scale * np.eye(p), np.zeros(p))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
