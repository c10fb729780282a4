"""WordNet's hierarchy, and the categories of ImageNet's classes on two levels above them.

Files in data_dir/imagenet: `wordnet.is_a.txt`, two ids "parent child" a line, and `words.txt`, an
id and its names, "n02084071<TAB>dog, domestic dog, Canis familiaris", a line; both are ImageNet's.
"""

import graphlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alignet.data import wordnet_facts as facts
from alignet.errors import Absent, InputError

IS_A, WORDS = Path("imagenet", "wordnet.is_a.txt"), Path("imagenet", "words.txt")
SUPERORDINATES = tuple(name for name in facts.SUPERORDINATES if name)


class WordNet(NamedTuple):
    """Attributes:
    parents: ids of the synsets directly above each that is below any.
    names: by id, the name that stands first.
    files: that this is read from.
    """

    parents: Mapping[str, Sequence[str]]
    names: Mapping[str, str]
    files: tuple[Path, ...]


class Levels(NamedTuple):
    """Names of the categories that classes belong to, str [k] each; as in Rosch et al. (1976).

    Attributes:
      subordinate: the class.
      basic: dog, chair, guitar; the class's own name where `wordnet_facts` has no category for it.
      superordinate: of `SUPERORDINATES`, or "" if none.
    """

    subordinate: np.ndarray
    basic: np.ndarray
    superordinate: np.ndarray


def load(data_dir: str | Path) -> WordNet:
    """Reads the hierarchy.

    Raises:
      Absent: a file is not there.
      InputError: a line is malformed, an id has no names, or a synset is above itself.
    """
    is_a, words = Path(data_dir) / IS_A, Path(data_dir) / WORDS
    lines = _lines(words, r"(n\d{8})\t(.+)", "an id, a tab and names")
    names = {wnid: text.split(",")[0].strip() for wnid, text in lines}
    parents: dict[str, list[str]] = {}
    for parent, child in _lines(is_a, r"(n\d{8}) (n\d{8})", "the ids of a parent and a child"):
        for wnid in (parent, child):
            if wnid not in names:
                raise InputError(f"{is_a}: {wnid} has no names in {words}; expected both complete.")
        parents.setdefault(child, []).append(parent)
    try:
        graphlib.TopologicalSorter(parents).prepare()
    except graphlib.CycleError as error:
        raise InputError(
            f"{is_a}: {error.args[1][0]} is above itself; expected a hierarchy."
        ) from None
    return WordNet(parents, names, (is_a, words))


def levels(wordnet: WordNet, wnids: Sequence[str]) -> Levels:
    """The categories of some classes.

    Of the listed synsets at or above a class, the one fewest steps away counts, and of several the
    one whose category stands first in the list.

    Args:
      wordnet: the hierarchy.
      wnids: ids of the classes, all different.

    Raises:
      InputError: an id is not in WordNet.
    """
    for wnid in wnids:
        if wnid not in wordnet.names:
            raise InputError(f"{wordnet.files[1]}: has no {wnid}; expected the id of every class.")
    called = [wordnet.names[wnid] for wnid in wnids]
    count = Counter(called)
    names = [
        name if count[name] == 1 else f"{name} ({wnid})"
        for name, wnid in zip(called, wnids, strict=True)
    ]
    basic = _nearest(wordnet, wnids, facts.BASIC)
    for place, name in enumerate(names):
        if not basic[place]:
            # A class that is called as a category of others is none of them.
            basic[place] = f"{name} ({wnids[place]})" if name in facts.BASIC else name
    superordinate = _nearest(wordnet, wnids, facts.SUPERORDINATES)
    return Levels(*(np.array(column, np.str_) for column in (names, basic, superordinate)))


def _lines(path: Path, pattern: str, expected: str) -> list[tuple[str, ...]]:
    """The groups of a pattern in every line of a file."""
    if not path.is_file():
        raise Absent(
            f"{path}: no such file; expected {IS_A.name} and {WORDS.name} there; `python -m "
            "alignet.data.download imagenet-tables` gets them."
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: cannot be read as text; expected {expected} a line.") from None
    match = re.compile(pattern).fullmatch
    found = [match(line) for line in lines]
    if not all(found):
        row = found.index(None)
        raise InputError(f"{path}, line {row + 1}: is {lines[row]!r:.60}; expected {expected}.")
    return [one.groups() for one in found if one]


def _nearest(
    wordnet: WordNet, wnids: Sequence[str], table: Mapping[str, Sequence[str]]
) -> list[str]:
    """The category of a table that is nearest to each class, "" if none."""
    order = list(table)
    place = {synset: order.index(name) for name in order for synset in table[name]}
    result = []
    for wnid in wnids:
        level, seen = {wnid}, {wnid}
        while level and not (found := [place[synset] for synset in level if synset in place]):
            level = {p for synset in level for p in wordnet.parents.get(synset, ())} - seen
            seen |= level
        result.append(order[min(found)] if level else "")
    return result
