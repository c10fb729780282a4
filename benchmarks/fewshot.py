"""How long a few-shot sweep takes, against scikit-learn and PyTorch in a loop.

    python -m benchmarks.fewshot                       # minutes; needs torch
    python -m benchmarks.fewshot --features=FILE.npz   # embeddings, labels

The protocol of paper 000: {1, 5, 10, 20, 40, 80} examples of each of 100 classes are drawn three
times from 10,000 features of 768 columns, and logistic regression and heads of one and two layers
that have learnt from them classify the rest. The other side is scikit-learn's LogisticRegression
and PyTorch modules trained by the same recipe, one after the other. Both run here, in turn; prints
the accuracies side by side, then one JSON line.

scikit-learn stops by the size of the gradient, and where that is small depends on the features: by
default (--tol=1e-4) at 80 shots of the synthetic ones 1.6 points below the accuracy of the minimum,
with CLIP's of CIFAR-100 at it. The two sides are compared at equal accuracy, hence 1e-5. Heads are
trained on random batches: with another seed, the mean over three draws differs by 0.3 points.
"""

import argparse
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from evals.probes import draws, heads, logistic

CLASSES, IMAGES, WIDTH = 100, 100, 768
SHOTS, DRAWS = (1, 5, 10, 20, 40, 80), 3
LAYERS = {"1 layer": 1, "2 layers": 2}

# A kind of read-out at every number of shots: the class of every row, by draw.
Sweep = Callable[[], list[np.ndarray]]


def world(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, d] and labels [n] of 100 classes in 20 kinds.

    The images of a class differ along directions whose variance falls as 1 / rank, the classes
    along the same, but relatively less with every rank: about as CLIP's features of CIFAR-100 do.
    """
    rank = np.arange(1, WIDTH + 1)
    kinds = np.repeat(rng.normal(size=(CLASSES // 5, WIDTH)), 5, axis=0)
    means = (kinds + rng.normal(size=(CLASSES, WIDTH))) * (0.1 / (1 + rank / 30)) ** 0.5
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    x = (means[labels] + rng.normal(size=(len(labels), WIDTH))) * 8 / rank**0.5
    mixed = x @ np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]
    return mixed.astype(np.float32), labels


def ours(x: np.ndarray, y: np.ndarray, trains: Sequence[np.ndarray]) -> dict[str, Sweep]:
    """`evals.probes`, by kind of read-out."""
    n_classes = int(y.max()) + 1
    found = {"logistic": lambda: logistic.classify(x, y, x, trains, n_classes=n_classes)[0]}
    for name, layers in LAYERS.items():
        found[name] = functools.partial(
            heads.classify, x, y, x, trains, n_classes=n_classes, layers=layers
        )
    return found


def theirs(
    x: np.ndarray, y: np.ndarray, trains: Sequence[np.ndarray], tol: float
) -> dict[str, Sweep]:
    """Loops over scikit-learn and PyTorch, by kind of read-out."""
    found = {"logistic": functools.partial(sklearn_logistic, x, y, trains, tol)}
    for name, layers in LAYERS.items():
        found[name] = functools.partial(torch_heads, x, y, trains, layers=layers)
    return found


def sklearn_logistic(
    x: np.ndarray, y: np.ndarray, trains: Sequence[np.ndarray], tol: float
) -> list[np.ndarray]:
    """The class of every row by scikit-learn, for each number of shots [r, n]."""
    from sklearn.linear_model import LogisticRegression

    def fit(row: np.ndarray) -> np.ndarray:
        return LogisticRegression(tol=tol, max_iter=10_000).fit(x[row], y[row]).predict(x)

    return [np.stack([fit(row) for row in rows]) for rows in trains]


def torch_heads(
    x: np.ndarray,
    y: np.ndarray,
    trains: Sequence[np.ndarray],
    *,
    layers: int,
    recipe: heads.Recipe = heads.RECIPE,
) -> list[np.ndarray]:
    """The class of every row by a head in PyTorch, for each number of shots [r, n]."""
    import torch

    torch.manual_seed(0)
    labels = torch.from_numpy(y)

    def fit(row: np.ndarray) -> np.ndarray:
        z = torch.from_numpy((x - x[row].mean(axis=0)) / x[row].std(axis=0))
        some, classes = z[row], labels[row]
        modules, width = [torch.nn.Dropout(recipe.drop)], x.shape[1]
        if layers == 2:
            modules += [torch.nn.Linear(width, recipe.hidden), torch.nn.ReLU()]
            width = recipe.hidden
        head = torch.nn.Sequential(*modules, torch.nn.Linear(width, int(y.max()) + 1))
        adam = torch.optim.Adam(head.parameters(), recipe.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, recipe.steps)
        for _ in range(recipe.steps):
            batch = torch.randint(len(row), (recipe.batch,))
            loss = torch.nn.functional.cross_entropy(
                head(some.index_select(0, batch)), classes.index_select(0, batch)
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
        with torch.inference_mode():
            return head.eval()(z).argmax(dim=1).numpy()

    return [np.stack([fit(row) for row in rows]) for rows in trains]


def accuracy(found: Sequence[np.ndarray], y: np.ndarray, trains: Sequence[np.ndarray]) -> list:
    """Mean over draws of the share of right answers among rows not learnt from, by shots."""
    result = []
    for classes, rows in zip(found, trains, strict=True):
        shares = []
        for answers, row in zip(classes, rows, strict=True):
            rest = np.delete(np.arange(len(y)), row)
            shares.append((answers[rest] == y[rest]).mean())
        result.append(float(np.mean(shares)))
    return result


def timed(side: str, sweeps: dict[str, Sweep]) -> tuple[dict[str, float], dict[str, list]]:
    """Seconds and answers of every head."""
    seconds, found = {}, {}
    for name, run in sweeps.items():
        start = time.perf_counter()
        found[name] = run()
        seconds[name] = round(time.perf_counter() - start, 2)
        _say(f"{side}, {name}: {seconds[name]} s")
    return seconds, found


def main() -> None:
    """Runs both sides and prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", help="an .npz with embeddings [n, d] and labels [n]")
    parser.add_argument("--tol", type=float, default=1e-5, help="of scikit-learn")
    args = parser.parse_args()
    if args.features:
        with np.load(args.features, allow_pickle=False) as file:
            x, y = file["embeddings"].astype(np.float32), file["labels"]
    else:
        x, y = world(np.random.default_rng(0))
    names, y = np.unique(y, return_inverse=True)
    trains = draws.draw(y, SHOTS, DRAWS, 0, names.astype(str), leave=1)
    seconds, found = timed("ours", ours(x, y, trains))
    their_seconds, their_found = timed("scikit-learn and torch", theirs(x, y, trains, args.tol))
    differences = {}
    for name in found:
        mine, other = (accuracy(f[name], y, trains) for f in (found, their_found))
        for shots, a, b in zip(SHOTS, mine, other, strict=True):
            _say(f"{name}, {shots}-shot: {a:.2%}, {b:.2%}")
        differences[name] = np.subtract(mine, other)
    total, their_total = sum(seconds.values()), sum(their_seconds.values())
    result = {
        "benchmark": "fewshot",
        "cores": os.cpu_count(),
        "features": list(x.shape),
        "heads": len(found) * len(SHOTS) * DRAWS,
        "tol": args.tol,
        "seconds": seconds,
        "seconds_sklearn_torch": their_seconds,
        "total_s": round(total, 1),
        "total_sklearn_torch_s": round(their_total, 1),
        "ratio": round(their_total / total, 2),
        "mean_differences": {k: round(float(d.mean()), 4) for k, d in differences.items()},
        "largest_differences": {k: round(np.abs(d).max(), 4) for k, d in differences.items()},
    }
    print(json.dumps(result))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
