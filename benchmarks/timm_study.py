"""A rehearsal of the study of 491 models: made-up embeddings, of which the truth is known.

    python -m benchmarks.timm_study --out=FOLDER [--shape=u|none]

Six sets of 120 photographs with made-up judgments, and for each of the 491 models of paper 000
embeddings of them, 2,048 wide, and of a small labelled set. How much of a model's embeddings is
people's space and how much is noise, its true alignment, is drawn; how well the labelled set's
classes are apart depends on that alignment in a U, or not at all. Then the command

    python -m evals.timm_study run

is timed, and its memory read, and the last line says, as JSON, whether it found what was planted,
and how often it finds a U in 200 studies in which few-shot learning is shuffled over models.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats

from alignet.data.judgments import COARSE, FINE
from alignet.runtime.progress import progress
from evals.timm_study import correlations, models, results, tables
from evals.timm_study.alignment import METRICS

OBJECTS, WIDTH = 120, 2048
CLASSES, IMAGES, FEATURES = 20, 30, 64
NULLS = 200
SHAPES = {"u": "U", "none": "neither"}


def write(out: Path, shape: str, rng: np.random.Generator) -> np.ndarray:
    """Makes judgments, timm's results and embeddings.

    Returns:
      The true alignment of every model, 0 to 1.
    """
    sets = sorted({*COARSE, *FINE})
    people = {name: rng.normal(size=(OBJECTS, 8)) for name in sets}
    unit = {k: v / np.linalg.norm(v, axis=1, keepdims=True) for k, v in people.items()}
    folder = out / "human"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "similarity.npz", **{k: (1 + v @ v.T) / 2 for k, v in unit.items()})
    names = {k: [f"{k}-{i:03}.png" for i in range(OBJECTS)] for k in sets}
    (folder / "filenames.json").write_text(json.dumps(names))

    listed = models.table()
    truth = rng.beta(2, 2, size=len(listed))
    z = (truth - truth.mean()) / truth.std()
    strength = {"u": 0.35 * z**2, "none": np.zeros_like(z)}[shape]
    separation = 0.8 + strength + 0.15 * rng.normal(size=len(listed))
    _write_results(out / "results", listed, rng)
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    centres = rng.normal(size=(CLASSES, FEATURES))
    for model, own, apart in progress([*zip(listed, truth, separation, strict=True)], desc="made"):
        for name in sets:
            # A random map of people's space into the model's, and noise of the same size.
            mapped = unit[name] @ rng.normal(size=(8, WIDTH))
            noise = rng.normal(size=(OBJECTS, WIDTH))
            rows = np.sqrt(own) * mapped + np.sqrt(1 - own) * _space(noise, rng)
            ids = np.array([f"{name}-{i:03}" for i in range(OBJECTS)])
            _save(out / "emb" / model.name / "peterson" / f"{name}.npz", ids, rows)
        rows = apart * centres[labels] + rng.normal(size=(len(labels), FEATURES)) * 2
        ids = np.array([f"{i:03}" for i in range(len(labels))])
        _save(out / "emb" / model.name / "cifar100" / "test.npz", ids, rows, labels=labels)
    return truth


def _space(noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of as few dimensions as people's space: else all its similarities would be near 0."""
    few = rng.normal(size=(len(noise), 8))
    few /= np.linalg.norm(few, axis=1, keepdims=True)
    return few @ rng.normal(size=(8, noise.shape[1])) + 0.01 * noise


def _save(path: Path, ids: np.ndarray, rows: np.ndarray, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, ids=ids, embeddings=rows.astype(np.float32), **arrays)


def _write_results(folder: Path, listed: list[models.Listed], rng: np.random.Generator) -> None:
    """The models' true accuracies on ImageNet; those on its variants are noise around them."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(models.TABLE, newline="", encoding="utf-8") as file:
        top1 = np.array([float(row["top1_2022"]) for row in csv.DictReader(file)])
    for variant, name in results.FILES.items():
        off = {"imagenet": 0.0, "real": 6.0}.get(variant, -30.0)
        values = top1 + off + (abs(off) > 0) * rng.normal(size=len(top1))
        rows = [
            (model.name, model.img_size, f"{value:.3f}", f"{(value + 100) / 2:.3f}")
            for model, value in zip(listed, values, strict=True)
        ]
        with open(folder / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([results.COLUMNS, *rows])


def false_positives(table: pd.DataFrame, column: str, seed: int) -> dict[str, float]:
    """How often a U is found where few-shot learning is shuffled over models: shares of `NULLS`."""
    rng = np.random.default_rng(seed)
    metric = METRICS[0]
    x, y = table[metric].to_numpy(), table[column].to_numpy()
    covariates = table[[tables.IMAGENET]].to_numpy()
    z2, none = correlations.z_squared(x), np.zeros(len(x), str)
    found = {"z² correlation": 0, "curvature": 0, "two lines": 0}
    for _ in progress(range(NULLS), desc="nulls"):
        shuffled = rng.permutation(y)
        parabola, lines = tables.shape(x, shuffled, covariates)
        p = correlations.correlate(z2, shuffled, covariates, none, resamples=2).p
        found["z² correlation"] += p < 0.05
        found["curvature"] += parabola.p < 0.05
        found["two lines"] += lines.shape == "U"
    return {name: count / NULLS for name, count in found.items()}


def memory(session: int) -> float:
    """GiB resident in all processes of a session; what they share counts more than once."""
    found = subprocess.run(
        ["ps", "-o", "rss=", "--sid", str(session)], capture_output=True, text=True
    )
    return sum(map(int, found.stdout.split())) / 2**20


def main() -> None:
    """Makes, runs and judges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", choices=SHAPES, default="u")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    truth = write(args.out, args.shape, np.random.default_rng(args.seed))
    command = [sys.executable, "-m", "evals.timm_study", "run"]
    command += [f"--embeddings={args.out / 'emb'}", f"--human={args.out / 'human'}"]
    command += [f"--timm_results={args.out / 'results'}", f"--out={args.out / 'study'}"]
    command += ["--fewshot_shots=1,5", "--fewshot_draws=2", "--fewshot_heads=logistic"]
    start = time.perf_counter()
    # A session of its own, so that its processes can be told.
    process = subprocess.Popen(command, start_new_session=True)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(0.5)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(process.returncode)
    table = pd.read_csv(args.out / "study" / "models.csv", index_col="model")
    column = "cifar100/test, logistic, 5-shot"
    shapes = pd.read_csv(args.out / "study" / "shapes.csv", keep_default_na=False)
    mine = shapes[(shapes["property"] == column) & (shapes["given"] != "")]
    rates = false_positives(table, column, args.seed)
    expected = scipy.stats.binom.ppf([0.025, 0.975], NULLS, 0.05) / NULLS
    print(
        json.dumps({
            "benchmark": "timm_study",
            "cores": os.cpu_count(),
            "models": len(table),
            "seconds": round(seconds, 1),
            "peak_gib_of_all_processes": round(peak, 2),
            "planted": SHAPES[args.shape],
            "found": dict(zip(mine["metric"], mine["shape"], strict=True)),
            "alignment_with_truth": {
                m: round(float(table[m].corr(pd.Series(truth, table.index), "spearman")), 3)
                for m in METRICS
            },
            "false_positives": rates,
            "expected_of_5_percent": expected.round(3).tolist(),
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
