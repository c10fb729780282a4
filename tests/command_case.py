"""The data of a small world on disk, and options of `python -m evals` for it."""

import json

import numpy as np

from alignet import students
from alignet.data.embeddings import Embeddings, save_embeddings
from tests.evals_case import IDS, TRIPLETS, X, human_matrix
from tests.weights_case import random_params


def write_data(data):
    """A small world in the shape of the public data: 12 objects and a set of photographs."""
    (data / "things").mkdir(parents=True)
    (data / "peterson").mkdir()
    np.savetxt(data / "things" / "triplets.txt", TRIPLETS, fmt="%d")
    # RAW order is IDS; two objects move in the SORTED order of unique_id.txt.
    order = np.array([0, 2, 1, *range(3, 12)])
    (data / "things" / "unique_id.txt").write_text("\n".join(IDS[order]) + "\n")
    np.savetxt(data / "things" / "sortindex", order, fmt="%d")
    human = human_matrix()
    np.savez(data / "peterson" / "similarity.npz", fruits=human, various=human)
    names = {"fruits": [f"{name}.jpg" for name in IDS], "various": [f"v{i}.png" for i in range(12)]}
    (data / "peterson" / "filenames.json").write_text(json.dumps(names))
    return data


def write_embeddings(path):
    """The rows of X, in another order, beside some that are no THINGS objects."""
    shuffled = np.random.default_rng(0).permutation(12)
    ids = np.concatenate([IDS[shuffled], ["other"]])
    save_embeddings(path, Embeddings(ids, np.concatenate([X[shuffled], X[:1]])))
    return path


def write_student(path):
    student = students.Student("mu/16", 16, "gap")
    students.save_weights(path, student, random_params(student))
    return path


def arguments(data, folder, **options):
    options = {"evals": "things", "data_dir": data, "out": folder} | options
    return [f"--{name}={value}" for name, value in options.items()]
