"""WordNet: files, which category counts, and the tables against ImageNet's 1,000 classes."""

import collections
import csv

import numpy as np
import pytest

from alignet.data import wordnet, wordnet_facts
from alignet.errors import Absent, InputError
from evals.statistics import relations

# A beagle is a dog is an animal; a robot is a machine and a toy; a golem is nothing listed.
WORDS = """\
n00000001\tanimal, animate being
n00000002\tdog, domestic dog
n00000003\tbeagle
n00000004\tmachine
n00000005\ttoy, plaything
n00000006\trobot, automaton
n00000007\tbig machine
n00000008\tgolem
n00000009\tbeagle, ship
n00000010\tdog, andiron
"""
IS_A = """\
n00000001 n00000002
n00000002 n00000003
n00000004 n00000006
n00000005 n00000006
n00000004 n00000007
n00000007 n00000010
n00000001 n00000007
"""


def write(folder, words=WORDS, is_a=IS_A):
    (folder / "imagenet").mkdir(exist_ok=True)
    (folder / wordnet.WORDS).write_text(words)
    (folder / wordnet.IS_A).write_text(is_a)
    return folder


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.setattr(
        wordnet_facts,
        "SUPERORDINATES",
        {"toys": ("n00000005",), "animals": ("n00000001",), "machines": ("n00000004",)},
    )
    monkeypatch.setattr(wordnet_facts, "BASIC", {"dog": ("n00000002",), "": ("n00000008",)})


def categories(folder, *wnids):
    found = wordnet.levels(wordnet.load(folder), wnids)
    return list(zip(*(column.tolist() for column in found), strict=True))


def test_names_and_parents_are_read(tmp_path):
    found = wordnet.load(write(tmp_path))
    assert found.names["n00000006"] == "robot"
    assert sorted(found.parents["n00000006"]) == ["n00000004", "n00000005"]
    assert "n00000001" not in found.parents


@pytest.mark.usefixtures("tables")
def test_a_class_is_in_the_nearest_listed_category(tmp_path):
    write(tmp_path)
    assert categories(tmp_path, "n00000003", "n00000008") == [
        ("beagle", "dog", "animals"),
        ("golem", "golem", ""),
    ]
    # Two steps to the animal and to the machine: the first in the list.
    assert categories(tmp_path, "n00000010")[0][2] == "animals"
    # One step to the machine and to the toy.
    assert categories(tmp_path, "n00000006")[0][2] == "toys"
    # The class itself is nearer than what it is also below.
    wordnet_facts.SUPERORDINATES["machines"] = ("n00000010",)
    assert categories(tmp_path, "n00000010")[0][2] == "machines"


@pytest.mark.usefixtures("tables")
def test_an_empty_category_takes_a_class_out_of_those_above_it(tmp_path):
    write(tmp_path)
    wordnet_facts.BASIC[""] = ("n00000003",)
    assert categories(tmp_path, "n00000003") == [("beagle", "beagle", "animals")]


@pytest.mark.usefixtures("tables")
def test_different_things_of_one_name_are_not_one_category(tmp_path):
    write(tmp_path)
    found = categories(tmp_path, "n00000003", "n00000009", "n00000010")
    assert [subordinate for subordinate, _, _ in found] == [
        "beagle (n00000003)",
        "beagle (n00000009)",
        "dog",
    ]
    assert [basic for _, basic, _ in found] == ["dog", "beagle (n00000009)", "dog (n00000010)"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"words": WORDS + "n1\tx\n"}, r"words\.txt, line 11: is 'n1\\tx'; expected an id"),
        ({"words": "\n"}, r"words\.txt, line 1: is ''"),
        ({"is_a": IS_A + "n00000001\n"}, r"is_a\.txt, line 8: .*; expected the ids of a parent"),
        ({"is_a": "n00000001 n00000099"}, r"is_a\.txt: n00000099 has no names in .*words\.txt"),
        ({"is_a": IS_A + "n00000003 n00000001"}, r"is_a\.txt: n0000000\d is above itself"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        wordnet.load(write(tmp_path, **files))


def test_what_is_no_text_is_refused(tmp_path):
    (write(tmp_path) / wordnet.WORDS).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"words\.txt: cannot be read as text"):
        wordnet.load(tmp_path)


def test_a_file_that_is_not_there_is_absent(tmp_path):
    write(tmp_path)
    (tmp_path / wordnet.IS_A).unlink()
    with pytest.raises(Absent, match=r"is_a\.txt: no such file"):
        wordnet.load(tmp_path)


def test_a_class_must_be_in_wordnet(tmp_path):
    with pytest.raises(InputError, match=r"words\.txt: has no n99999999"):
        wordnet.levels(wordnet.load(write(tmp_path)), ["n99999999"])


########################################## ImageNet ##########################################


@pytest.fixture(scope="module")
def net(shared_data):
    return wordnet.load(shared_data)


@pytest.fixture(scope="module")
def classes(shared_data):
    return (shared_data / "imagenet" / "imagenet_synsets.txt").read_text().split()


@pytest.fixture(scope="module")
def levels(net, classes):
    return wordnet.levels(net, classes)


@pytest.mark.parametrize("table", [wordnet_facts.BASIC, wordnet_facts.SUPERORDINATES])
def test_every_synset_of_the_tables_exists_once(net, table):
    listed = [wnid for wnids in table.values() for wnid in wnids]
    assert set(listed) <= net.names.keys()
    assert len(listed) == len(set(listed))


def test_how_much_of_imagenet_the_tables_cover(levels):
    superordinate = collections.Counter(levels.superordinate.tolist())
    assert superordinate[""] == 124
    assert set(superordinate) == {"", *wordnet.SUPERORDINATES}
    assert superordinate["animals"] == 398
    basic = collections.Counter(levels.basic.tolist())
    assert len(basic) == 545
    assert set(wordnet_facts.BASIC) - {""} <= set(basic)
    assert basic.most_common(4) == [("dog", 118), ("bird", 59), ("snake", 17), ("monkey", 13)]
    assert len(set(levels.subordinate.tolist())) == 1000


def test_a_basic_level_category_is_in_one_superordinate_category(levels):
    above = collections.defaultdict(set)
    for basic, superordinate in zip(levels.basic, levels.superordinate, strict=True):
        above[str(basic)].add(str(superordinate))
    assert {len(names) for names in above.values()} == {1}


@pytest.mark.parametrize(
    ("wnid", "subordinate", "basic", "superordinate"),
    [
        ("n02088364", "beagle", "dog", "animals"),
        ("n01440764", "tench", "fish", "animals"),
        ("n02129165", "lion", "lion", "animals"),
        ("n03376595", "folding chair", "chair", "furniture"),
        ("n04552348", "warplane", "airplane", "vehicles"),
        ("n02676566", "acoustic guitar", "guitar", "musical instruments"),
        ("n04254680", "soccer ball", "ball", "sports equipment"),
        ("n04371430", "swimming trunks", "swimsuit", "clothes"),
        ("n07742313", "Granny Smith", "apple", "food"),
        ("n03126707", "crane (n03126707)", "crane (n03126707)", ""),
        ("n04162706", "seat belt", "seat belt", ""),
    ],
)
def test_well_known_classes(levels, classes, wnid, subordinate, basic, superordinate):
    place = classes.index(wnid)
    assert [str(column[place]) for column in levels] == [subordinate, basic, superordinate]


def test_another_grouping_of_the_classes_agrees_in_what_both_have(shared_data, levels):
    path = shared_data / "imagenet" / "imagenet_categories_synset.csv"
    with open(path, encoding="utf-8", newline="") as file:
        other = np.array([row["categories"] for row in csv.DictReader(file)])
    for theirs, ours in [("bird", "bird"), ("butterfly", "butterfly"), ("turtle", "turtle")]:
        assert ((other == theirs) == (levels.basic == ours)).all()
    for theirs, ours in [("primate", "animals"), ("instrument", "musical instruments")]:
        assert (levels.superordinate[other == theirs] == ours).mean() > 0.9
    assert (levels.superordinate[np.isin(other, ["dog", "wild cat", "bug"])] == "animals").all()


def test_most_relations_of_imagenets_classes_are_known(levels):
    number = {name: place for place, name in enumerate(wordnet.SUPERORDINATES)}
    superordinate = np.array([number.get(str(name), -1) for name in levels.superordinate])
    basic = np.unique(levels.basic, return_inverse=True)[1]
    codes = relations.relations(basic, superordinate)[np.triu_indices(1000, 1)]
    counts = dict(zip(relations.RELATIONS, np.bincount(codes, minlength=5), strict=True))
    assert counts == {
        "same class": 0,
        "same basic": 9473,
        "same superordinate": 79337,
        "not known": 116243,
        "different": 294447,
    }
