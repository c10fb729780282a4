"""The BREEDS benchmarks, from the tree of ImageNet's classes."""

import hashlib
import json

import pytest

from alignet.data import breeds
from alignet.data.imagenet import WNIDS
from alignet.errors import Absent, InputError
from tests.breeds_case import PREFIX, ROOT, edges, write_tables

# Kinds and classes a kind; SHA-256 of [kinds, source, target] as JSON, which make_entity13 and so
# on of MadryLab/robustness gave for the files of MadryLab/BREEDS-Benchmarks with split="rand".
PUBLISHED = {
    "entity13": (13, 20, "3e3e527bcf6ab54fd5324a620d6b2a0ea671ae4dd91217e0fb7134aa91a0d4e9"),
    "entity30": (30, 8, "c4a01ae70fcdfa1f51adf8142cb8a140f61949ba5e3ed1bf46d140ce364e5800"),
    "living17": (17, 4, "05be28aacdb4978d19ac93bbded819d929452a57d4ec094a4c0e9ac175fde770"),
    "nonliving26": (26, 4, "2a4d95853af477a86da9e3a9aa548d8166851a7b8f1349723a3006c0a54dc40e"),
}


def test_the_published_benchmarks(shared_data):
    found = breeds.load(shared_data)
    assert found.benchmarks.keys() == PUBLISHED.keys()
    for name, (n_kinds, n_classes, sha256) in PUBLISHED.items():
        kinds, names, source, target = found.benchmarks[name]
        assert len(kinds) == len(names) == len(source) == len(target) == n_kinds
        assert {len(classes) for classes in source + target} == {n_classes // 2}
        drawn = json.dumps([kinds, source, target])
        assert hashlib.sha256(drawn.encode()).hexdigest() == sha256
    living = found.benchmarks["living17"]
    assert living.names[8] == "dog, domestic dog, Canis familiaris"
    assert living.kinds == tuple(sorted(living.kinds))
    assert [path.name.startswith("breeds_modified_") for path in found.files] == [True] * 3


def test_a_tree_gives_each_kind_its_own_classes(tmp_path):
    found = breeds.load(write_tables(tmp_path)).benchmarks
    # Of 96 classes four are below each of 24 nodes, of which three are below each of 8, and so on.
    assert {name: len(b.kinds) for name, b in found.items()} == {
        "entity13": 4,
        "entity30": 8,
        "living17": 12,
        "nonliving26": 12,
    }
    for name, below in (("entity13", 24), ("entity30", 12), ("living17", 4)):
        half = breeds.RECIPES[name].classes // 2
        for place, (source, target) in enumerate(
            zip(found[name].source, found[name].target, strict=True)
        ):
            kind = int(found[name].kinds[place].rpartition("-")[2])
            mine = WNIDS[kind * below : (kind + 1) * below]
            assert len(source) == len(target) == half
            assert len({*source, *target}) == 2 * half
            assert {*source, *target} <= {*mine}
    assert set(found["living17"].kinds).isdisjoint(found["nonliving26"].kinds)
    assert found["entity13"].names[0] == "kind dummy3-0, synonym"


def test_the_order_of_the_files_does_not_matter(tmp_path):
    first = breeds.load(write_tables(tmp_path / "a")).benchmarks
    others = write_tables(tmp_path / "b", edges()[::-1], classes=WNIDS[::-1])
    assert breeds.load(others).benchmarks == first


def test_the_files_may_have_the_names_of_the_repository(tmp_path):
    named = breeds.load(write_tables(tmp_path / "a", prefix=""))
    assert named.benchmarks == breeds.load(write_tables(tmp_path / "b")).benchmarks
    assert [path.name for path in named.files] == [
        "class_hierarchy.txt",
        "dataset_class_info.json",
        "node_names.txt",
    ]


@pytest.mark.parametrize("name", [breeds.HIERARCHY, breeds.CLASSES, breeds.NAMES])
def test_a_file_that_is_not_there_is_absent(tmp_path, name):
    (write_tables(tmp_path) / "imagenet" / f"{PREFIX}{name}").unlink()
    with pytest.raises(Absent, match=rf"imagenet: has no {PREFIX}{name}; .* imagenet-tables` gets"):
        breeds.load(tmp_path)


LEAF = edges()[-1]


@pytest.mark.parametrize(
    "lines, message",
    [
        ([], "0 nodes at level 3 have 20 classes"),
        ([*edges(), ("one",)], r"line \d+: expected two ids, .* found 'one'"),
        ([*edges(), ("one", "two", "three")], r"line \d+: expected two ids"),
        ([*edges(), LEAF], rf"line \d+: {LEAF[1]} is below {LEAF[0]} already"),
        ([*edges(), (breeds.LIVING, LEAF[1])], rf"{LEAF[1]} is below {LEAF[0]} already"),
        ([*edges(), ("other", WNIDS[500])], f"{ROOT}, other are below no other node; expected one"),
        ([*edges(), ("a", "b"), ("b", "a")], "a is below itself|b is below itself"),
        ([("a", "b"), ("b", "a")], "is below itself"),
        ([*edges(), ("a", "a")], "a is below itself"),
        (
            [*edges(), (ROOT, "n99999999")],
            "n99999999 is no class of ImageNet and has 0 nodes",
        ),
        ([*edges(), (LEAF[1], WNIDS[500])], f"{LEAF[1]} is a class of ImageNet and has 1 nodes"),
        (edges()[:-60], "is no class of ImageNet"),
        ([(ROOT, wnid) for wnid in WNIDS], "0 nodes at level 3 have 20 classes"),
    ],
)
def test_what_is_no_tree_of_classes_is_refused(tmp_path, lines, message):
    write_tables(tmp_path, lines)
    with pytest.raises(InputError, match=rf"{PREFIX}class_hierarchy\.txt.*({message})") as error:
        breeds.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, content, message",
    [
        (breeds.HIERARCHY, b"\xff\xfe", "cannot be read as text"),
        (breeds.NAMES, b"n00001740 entity\n", "line 1: expected an id, a tab and a name"),
        (breeds.NAMES, b"n00001740\tentity\n", "dummy3-0 has no name"),
        (breeds.CLASSES, b"", "expected a JSON list"),
        (breeds.CLASSES, b"{}", "expected a JSON list"),
        (breeds.CLASSES, b"[]", "expected a JSON list"),
        (breeds.CLASSES, b"3", "expected a JSON list"),
        (breeds.CLASSES, b'[["n01440764"]]', "expected a JSON list"),
        (breeds.CLASSES, b'[[0, ["n01440764"], ""]]', "expected a JSON list"),
        (breeds.CLASSES, b'[[0, "n01440764", ""], [1, "n01440764", ""]]', "expected a JSON list"),
        (breeds.CLASSES, b"[" * 100_000, "expected a JSON list"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, name, content, message):
    path = write_tables(tmp_path) / "imagenet" / f"{PREFIX}{name}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        breeds.load(tmp_path)
