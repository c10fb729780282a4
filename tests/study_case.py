"""A small study: made-up judgments, results and embeddings, with a U or without."""

import collections
import csv
import json

import numpy as np

from evals.timm_study import models, results

OBJECTS, WIDTH = 16, 24
CLASSES, IMAGES = 5, 12
SETS = ("animals", "various")
# Five of each of thirteen families: whole ones are left out, and resampled.
FAMILIES = collections.Counter(row.family for row in models.table()).most_common(13)
NAMES = sorted(
    name
    for family, _ in FAMILIES
    for name in [row.name for row in models.table() if row.family == family][:5]
)


def write(folder, *, names=NAMES, shape="u", labels=True, seed=0):
    """Judgments, results and embeddings; the models' true alignment is given back."""
    rng = np.random.default_rng(seed)
    unit = {}
    for name in SETS:
        rows = rng.normal(size=(OBJECTS, 4))
        unit[name] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    human = folder / "peterson"
    human.mkdir(parents=True, exist_ok=True)
    np.savez(human / "similarity.npz", **{k: (1 + v @ v.T) / 2 for k, v in unit.items()})
    files = {k: [f"{k}-{i}.png" for i in range(OBJECTS)] for k in SETS}
    (human / "filenames.json").write_text(json.dumps(files))
    truth = rng.uniform(size=len(names))
    z = (truth - 0.5) / 0.3
    apart = 0.6 + {"u": 0.5 * z**2, "none": 0 * z}[shape] + 0.05 * rng.normal(size=len(names))
    target = np.repeat(np.arange(CLASSES), IMAGES)
    centres = rng.normal(size=(CLASSES, 6))
    for name, own, distance in zip(names, truth, apart, strict=True):
        for one in SETS:
            noise = rng.normal(size=(OBJECTS, 4))
            noise /= np.linalg.norm(noise, axis=1, keepdims=True)
            rows = np.sqrt(own) * unit[one] @ rng.normal(size=(4, WIDTH))
            rows += np.sqrt(1 - own) * noise @ rng.normal(size=(4, WIDTH))
            ids = np.array([f"{one}-{i}" for i in range(OBJECTS)])
            save(folder / "emb" / name / "peterson" / f"{one}.npz", ids, rows)
        rows = distance * centres[target] + rng.normal(size=(len(target), 6))
        ids = np.array([f"{i:02}" for i in range(len(target))])
        extra = {"labels": target} if labels else {}
        save(folder / "emb" / name / "cifar100" / "test.npz", ids, rows, **extra)
    write_results(folder / "results", models.chosen(",".join(names)), rng)
    return truth


def save(path, ids, rows, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, ids=ids, embeddings=rows.astype(np.float32), **arrays)


def write_results(folder, listed, rng):
    folder.mkdir(parents=True, exist_ok=True)
    top1 = rng.uniform(60, 85, size=len(listed))
    for variant, name in results.FILES.items():
        off = {"imagenet": 0, "real": 5}.get(variant, -30)
        values = top1 + off + (off != 0) * rng.normal(size=len(listed))
        rows = [
            (model.name, model.img_size or 224, f"{value:.3f}", f"{(value + 100) / 2:.3f}")
            for model, value in zip(listed, values, strict=True)
        ]
        with open(folder / name, "w", newline="") as file:
            csv.writer(file).writerows([results.COLUMNS, *rows])
