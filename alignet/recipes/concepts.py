"""Concepts of people's choices that photographs show: their groups, and what is held out of them.

Photographs stand in two folders, a sample of all classes and others, and are called folder/name;
those of a concept are the photographs of its classes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import ml_collections
import numpy as np
from jaxtyping import Int

from alignet.data import things_choices, things_photographs
from alignet.data.embeddings import Embeddings, load_embeddings, save_embeddings
from alignet.data.human import ORDER_FILES, object_ids
from alignet.data.things_photographs import class_of, photograph_classes
from alignet.errors import InputError
from alignet.runtime import files, stages

LABELLED, OTHERS = "ilsvrc", "others"  # the folders


def deal_concepts(config: ml_collections.ConfigDict, workdir: Path, data_dir: Path) -> Path:
    """Names, group and published embedding of the concepts that photographs show.

    Returns:
      An `.npz` with `names` str [n], `groups` int [n] and `vice` float [n, d].
    """

    def step(out: Path, _: Path) -> None:
        of = things_photographs.load_concepts(data_dir).exact_or_hyponyms
        ids = object_ids(data_dir)
        if ids is None:
            raise InputError(
                f"{data_dir / 'things'}: objects have no names; expected unique_id.txt and "
                "sortindex."
            )
        folder = data_dir / things_photographs.FOLDER
        shown = {class_of(path.name) for path in folder.iterdir()}
        row = {name: number for number, name in enumerate(ids.tolist())}
        of = {name: c for name, c in of.items() if name in row and shown.intersection(c)}
        groups = concept_groups(list(of.values()), n_groups=config.n_groups, seed=config.seed)
        vice = things_choices.load_vice(data_dir, ids)[[row[name] for name in of]]
        files.write_npz(out, names=np.array([*of], np.str_), groups=groups, vice=vice)

    inputs = {
        "mapping": data_dir / things_photographs.MAPPING,
        "vice": data_dir / things_choices.VICE,
    }
    inputs |= {"photographs": data_dir / things_photographs.FOLDER}
    order = {file: data_dir / "things" / file for file in ORDER_FILES}
    inputs |= {file: path for file, path in order.items() if path.is_file()}
    settings = {"seed": config.seed, "n_groups": config.n_groups}
    return stages.run(workdir / "concepts.npz", step, config=settings, inputs=inputs)


def concept_groups(
    classes: Sequence[Sequence[str]], *, n_groups: int, seed: int
) -> Int[np.ndarray, "n"]:
    """Deals concepts into groups of about the same size that have no class in common.

    Concepts that share a class, directly or through others, go together: the most first, each lot
    into the smallest group.

    Args:
      classes: of each concept.
      n_groups: how many groups there are.
      seed: of the order among lots of the same size.
    """
    lot = np.arange(len(classes))
    first: dict[str, int] = {}
    for concept, names in enumerate(classes):
        for name in names:
            lot[lot == lot[concept]] = lot[first.setdefault(name, concept)]
    _, lot, size = np.unique(lot, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(size))
    group, total = np.empty(len(size), np.int64), np.zeros(n_groups, np.int64)
    for one in order[np.argsort(-size[order], kind="stable")]:
        group[one] = np.argmin(total)
        total[group[one]] += size[one]
    return group[lot]


def concept_embeddings(
    workdir: Path, name: str, *, embeddings: Path, concepts: Path, data_dir: Path
) -> Path:
    """The mean embedding of every concept's photographs."""
    mapping = data_dir / things_photographs.MAPPING

    def step(out: Path, _: Path) -> None:
        ids, matrix = load_embeddings(embeddings)
        ids = np.array([one.removeprefix(f"{LABELLED}/") for one in ids.tolist()])
        of = classes_of(concepts, data_dir)
        save_embeddings(out, things_photographs.concept_rows(of, Embeddings(ids, matrix)))

    inputs = {"embeddings": embeddings, "concepts": concepts, "mapping": mapping}
    return stages.run(workdir / f"{name}.npz", step, config={}, inputs=inputs)


def leave_out(
    workdir: Path,
    name: str,
    *,
    labels: Path,
    embeddings: Path,
    concepts: Path,
    held_out: Sequence[int],
    data_dir: Path,
    folders: Mapping[str, Path],
) -> Path:
    """Labels held-out concepts' photographs −1, from which no triplets are drawn."""

    def step(out: Path, _: Path) -> None:
        [clusters] = files.read_npz(labels, ["labels"], expected="expected clusters")
        names, groups, _ = load_concepts(concepts)
        of = classes_of(concepts, data_dir)
        hidden = {c for concept in names[np.isin(groups, held_out)].tolist() for c in of[concept]}
        shown = [one.partition("/")[::2] for one in load_embeddings(embeddings).ids.tolist()]
        left_out = np.zeros(len(shown), bool)
        for folder, path in folders.items():
            rows = [row for row, (of_folder, _) in enumerate(shown) if of_folder == folder]
            found = photograph_classes(path, [shown[row][1] for row in rows])
            left_out[rows] = [wnid in hidden for wnid in found]
        files.write_npz(out, labels=np.where(left_out, -1, clusters))

    inputs = {
        "labels": labels,
        "embeddings": embeddings,
        "concepts": concepts,
        "mapping": data_dir / things_photographs.MAPPING,
    }
    tables = [table for path in folders.values() for table in things_photographs.annotations(path)]
    inputs |= {f"classes {number}": table for number, table in enumerate(tables)}
    settings = {"held_out": list(held_out)}
    return stages.run(workdir / f"{name}.npz", step, config=settings, inputs=inputs)


def load_concepts(path: Path) -> list[np.ndarray]:
    """Reads the names, groups and published embedding that `deal_concepts` wrote."""
    return files.read_npz(path, ["names", "groups", "vice"], expected="expected concepts")


def classes_of(concepts: Path, data_dir: Path) -> dict[str, tuple[str, ...]]:
    """The classes of every concept that `deal_concepts` wrote, in its order."""
    of = things_photographs.load_concepts(data_dir).exact_or_hyponyms
    return {name: of[name] for name in load_concepts(concepts)[0].tolist()}
