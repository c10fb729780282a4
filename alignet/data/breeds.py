"""BREEDS: kinds of things, each made of ImageNet classes of which half are kept for the test.

Santurkar, Tsipras and Mądry (2020) rearranged WordNet above the classes of ImageNet to a tree in
which nodes of one level are about equally broad. A benchmark tells the nodes of one level apart,
those that have enough classes below them. Of each, that many classes are drawn: a classifier is
trained on the first half, the source, and tested on the other, the target, too.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alignet.errors import Absent, InputError

FOLDER = "imagenet"
# As in the authors' repository, each also as `breeds_modified_<name>`.
HIERARCHY, CLASSES, NAMES = "class_hierarchy.txt", "dataset_class_info.json", "node_names.txt"
LIVING, NON_LIVING = "n00004258", "n00021939"
SEED = 2  # this and what follows: make_entity13 and so on, in MadryLab/robustness


class Recipe(NamedTuple):
    """Attributes:
    level: of the kinds, counted from the root, 0.
    classes: drawn from each kind; those with fewer are left out.
    under: the node that all are below, or None.
    """

    level: int
    classes: int
    under: str | None = None


RECIPES = {
    "entity13": Recipe(level=3, classes=20),
    "entity30": Recipe(level=4, classes=8),
    "living17": Recipe(level=5, classes=4, under=LIVING),
    "nonliving26": Recipe(level=5, classes=4, under=NON_LIVING),
}


class Benchmark(NamedTuple):
    """Kinds to be told apart, and the WordNet ids of the classes that stand for each.

    Attributes:
      kinds: nodes of the tree, sorted.
      names: of the kinds.
      source: of each kind, the classes that are trained on.
      target: of each kind, as many others.
    """

    kinds: tuple[str, ...]
    names: tuple[str, ...]
    source: tuple[tuple[str, ...], ...]
    target: tuple[tuple[str, ...], ...]


class Breeds(NamedTuple):
    """Attributes:
    benchmarks: by name, those of `RECIPES`.
    files: that they were made from.
    """

    benchmarks: Mapping[str, Benchmark]
    files: tuple[Path, ...]


def load(data_dir: str | Path) -> Breeds:
    """Makes the four benchmarks, with the very classes that the authors drew.

    Args:
      data_dir: has the tree in `imagenet`.

    Raises:
      Absent: a file of it is not there.
      InputError: one is malformed, they are no tree with the classes of ImageNet as its leaves, or
        no benchmark can be made of it.
    """
    files = tuple(_find(Path(data_dir) / FOLDER, name) for name in (HIERARCHY, CLASSES, NAMES))
    hierarchy, classes, names = files
    tree = _read_tree(hierarchy, _read_classes(classes))
    names = _read_names(names)
    made = {name: _draw(f"{hierarchy}: {name}", tree, names, r) for name, r in RECIPES.items()}
    return Breeds(made, files)


class _Tree(NamedTuple):
    parent: Mapping[str, str]  # of each node but the root
    level: Mapping[str, int]  # of each node
    leaves: Mapping[str, list[str]]  # below each node, sorted

    def lineage(self, node: str | None) -> Iterator[str]:
        """The node and those that it is below."""
        while node is not None:
            yield node
            node = self.parent.get(node)


def _draw(called: str, tree: _Tree, names: Mapping[str, str], recipe: Recipe) -> Benchmark:
    kinds = [
        node
        for node, level in sorted(tree.level.items())
        if level == recipe.level
        and len(tree.leaves[node]) >= recipe.classes
        and recipe.under in (None, *tree.lineage(node))
    ]
    if len(kinds) < 2:
        under = f" under {recipe.under}" if recipe.under else ""
        raise InputError(
            f"{called}: {len(kinds)} nodes at level {recipe.level}{under} have {recipe.classes} "
            "classes below them; expected two or more, as in the BREEDS hierarchy."
        )
    for kind in kinds:
        if kind not in names:
            raise InputError(f"{called}: {kind} has no name; expected one in {NAMES}.")
    # The old generator, whose stream is frozen: it decides which classes are published.
    rng = np.random.RandomState(SEED)
    drawn = [
        tuple(rng.choice(tree.leaves[kind], recipe.classes, replace=False).tolist())
        for kind in kinds
    ]
    half = recipe.classes // 2
    return Benchmark(
        tuple(kinds),
        tuple(names[kind] for kind in kinds),
        source=tuple(classes[:half] for classes in drawn),
        target=tuple(classes[half:] for classes in drawn),
    )


def _read_tree(path: Path, classes: frozenset[str]) -> _Tree:
    parent: dict[str, str] = {}
    below: dict[str, list[str]] = {}
    for number, line in enumerate(_lines(path), 1):
        match line.split():
            case [upper, lower] if lower not in parent:
                parent[lower] = upper
                below.setdefault(upper, []).append(lower)
            case [_, lower]:
                raise InputError(
                    f"{path}, line {number}: {lower} is below {parent[lower]} already; expected a "
                    "tree, in which every node is below one other."
                )
            case _:
                raise InputError(
                    f"{path}, line {number}: expected two ids, of a node and one below it, found "
                    f"{line[:40]!r}."
                )
    roots = [node for node in below if node not in parent]
    if len(roots) > 1:
        raise InputError(
            f"{path}: {', '.join(roots[:3])} are below no other node; expected one root."
        )
    level = dict.fromkeys(roots, 0)
    order = list(roots)
    for node in order:  # it grows
        for lower in below.get(node, ()):
            level[lower] = level[node] + 1
            order.append(lower)
    # Every node has one above it at most, so that those out of the root's reach go round.
    for node in parent:
        if node not in level:
            raise InputError(f"{path}: {node} is below itself; expected a tree.")
    for node in order:
        if (node in below) == (node in classes):
            is_class, n = "a class" if node in classes else "no class", len(below.get(node, ()))
            raise InputError(
                f"{path}: {node} is {is_class} of ImageNet and has {n} nodes below it; expected "
                "ImageNet's classes, and nothing else, at the tree's ends."
            )
    tree = _Tree(parent, level, {node: [] for node in order})
    for leaf in sorted(classes & level.keys()):
        for node in tree.lineage(leaf):
            tree.leaves[node].append(leaf)
    return tree


def _read_classes(path: Path) -> frozenset[str]:
    try:
        rows = json.loads("\n".join(_lines(path)))
        classes = frozenset(wnid for _, wnid, _ in rows if isinstance(wnid, str))
        whole = len(classes) == len(rows) > 0
    except (ValueError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise InputError(
            f"{path}: expected a JSON list of classes, each [number, WordNet id, names], no id "
            "twice."
        )
    return classes


def _read_names(path: Path) -> dict[str, str]:
    names = {}
    for number, line in enumerate(_lines(path), 1):
        node, tab, name = line.partition("\t")
        if not tab or not name.strip():
            raise InputError(
                f"{path}, line {number}: expected an id, a tab and a name, found {line[:40]!r}."
            )
        names[node.strip()] = name.strip()
    return names


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"breeds_modified_{name}", folder / name):
        if path.is_file():
            return path
    raise Absent(
        f"{folder}: has no breeds_modified_{name}; expected the class hierarchy of BREEDS; `python "
        "-m alignet.data.download imagenet-tables` gets it."
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}).") from None
