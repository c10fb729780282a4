"""A small BREEDS: a tree of the first 96 classes of ImageNet, from which all benchmarks come."""

import json

from alignet.data import breeds
from alignet.data.imagenet import WNIDS

ROOT = "n00001740"
BRANCHES = (1, 2, 2, 3, 4)  # below a node at levels 1, 2, …, of which the last are classes
PREFIX = "breeds_modified_"


def edges():
    """Lines of the hierarchy: living and non-living things, and below them as many of a level."""
    lines, level = [], [breeds.LIVING, breeds.NON_LIVING]
    lines += [(ROOT, node) for node in level]
    for depth, branches in enumerate(BRANCHES, 2):
        below = [f"dummy{depth}-{i}" for i in range(branches * len(level))]
        if depth == len(BRANCHES) + 1:
            below = list(WNIDS[: len(below)])
        lines += [(level[i // branches], node) for i, node in enumerate(below)]
        level = below
    return lines


def write_tables(data_dir, lines=None, *, prefix=PREFIX, names=None, classes=None):
    """The three files."""
    lines = edges() if lines is None else lines
    nodes = dict.fromkeys(node for line in lines for node in line)
    names = {node: f"kind {node}, synonym" for node in nodes} if names is None else names
    folder = data_dir / breeds.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        breeds.HIERARCHY: "".join(f"{' '.join(line)}\n" for line in lines),
        breeds.NAMES: "".join(f"{node}\t{name}\n" for node, name in names.items()),
        breeds.CLASSES: json.dumps([[i, wnid, "name"] for i, wnid in enumerate(classes or WNIDS)]),
    }
    for name, text in texts.items():
        (folder / f"{prefix}{name}").write_text(text)
    return data_dir
