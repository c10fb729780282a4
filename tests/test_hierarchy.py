"""The hierarchy of concepts: a small WordNet and ImageNet, against loops over pairs."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from alignet.data import alignet_triplets, wordnet
from alignet.data.labelled import take
from alignet.errors import Absent, InputError
from evals import answers, comparison, hierarchy, models, report
from evals.answers import PEOPLE
from evals.options import Options
from evals.pages import hierarchy_page, page
from evals.runs import Run
from evals.scoring import QUESTIONS
from evals.statistics.relations import KNOWN, RELATIONS
from tests.runs_case import ABOUT

# By wnid: its name, how many photographs, and what it is.
CLASSES = {
    "n01443537": ("goldfish", 3, "fish", "animals"),
    "n02088364": ("beagle", 4, "dog", "animals"),
    "n02113624": ("toy poodle", 3, "dog", "animals"),
    "n02791124": ("barber chair", 2, "chair", "furniture"),
    "n02948072": ("candle", 3, "candle", ""),
    "n03376595": ("folding chair", 4, "chair", "furniture"),
    "n03804744": ("nail", 1, "nail", ""),
    "n04550184": ("wardrobe", 3, "wardrobe", "furniture"),
}
PARENTS = {
    "n00015388": ["n02512053", "n02084071"],  # animal: fish, dog
    "n02512053": ["n01443537"],
    "n02084071": ["n02088364", "n02113624"],
    "n03405725": ["n03001627", "n04550184"],  # furniture: chair, wardrobe
    "n03001627": ["n02791124", "n03376595"],
}
WNIDS = [wnid for wnid, (_, n, _, _) in CLASSES.items() for _ in range(n)]
IDS = np.array([f"{wnid}/photograph-{place:02}" for place, wnid in enumerate(WNIDS)])
N = len(IDS)
OPTIONS = Options(resamples=50)


def related(one, other):
    """The relation of two classes, said a second time."""
    _, _, basic, above = CLASSES[one]
    _, _, other_basic, other_above = CLASSES[other]
    if one == other:
        return "same class"
    if basic == other_basic:
        return "same basic"
    if not above or not other_above:
        return "not known"
    return "same superordinate" if above == other_above else "different"


PAIRS = {name: [] for name in RELATIONS}
for i, j in itertools.combinations(range(N), 2):
    PAIRS[related(WNIDS[i], WNIDS[j])].append((i, j))


class Model(models.Model):
    """Rows of all photographs."""

    def __init__(self, matrix, name="model"):
        self.name, self.path, self.files = name, Path(f"{name}.npz"), ()
        self.row = dict(zip(IDS.tolist(), matrix, strict=True))

    def lookup(self, prefix, ids, photographs):
        assert prefix == "imagenet/val"
        assert photographs.n == N
        if not self.row.keys() >= set(ids.tolist()):
            raise Absent(f"{self.path}: not all of {prefix} is there.")
        return np.array([self.row[name] for name in ids.tolist()])


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    for name in IDS.tolist():
        path = data_dir / "imagenet" / "val" / f"{name}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    edges = [f"{parent} {child}" for parent in PARENTS for child in PARENTS[parent]]
    (data_dir / wordnet.IS_A).write_text("\n".join(edges))
    names = {wnid: wnid for edge in edges for wnid in edge.split()}
    names |= {wnid: name for wnid, (name, *_) in CLASSES.items()}
    words = "\n".join(f"{wnid}\t{name}, thing" for wnid, name in names.items())
    (data_dir / wordnet.WORDS).write_text(words)
    return data_dir


@pytest.fixture(scope="module")
def data(data_dir):
    return hierarchy.load(data_dir, OPTIONS)


def matrix(seed=0, p=8):
    return np.random.default_rng(seed).normal(size=(N, p)).astype(np.float32) + 3


def distances(rows):
    """Of all pairs, relative, by relation."""
    rows = rows.astype(np.float64)
    by_relation = {
        name: np.array([np.linalg.norm(rows[i] - rows[j]) for i, j in pairs])
        for name, pairs in PAIRS.items()
    }
    mean = np.concatenate(list(by_relation.values())).mean()
    return {name: values / mean for name, values in by_relation.items()}


def asked(data, *matrices, options=OPTIONS):
    found = {PEOPLE: hierarchy.people(data, options)}
    for place, rows in enumerate(matrices):
        name = ("before", "after", "later")[place]
        found[name] = hierarchy.score(data, Model(rows, name), options)
    return found


def moved(found):
    """Mean changes by relation."""
    return hierarchy_page.changes(found).means


########################################## One model ##########################################


def test_what_is_related_is_said_with_the_number_of_pairs(data):
    found = hierarchy.people(data, OPTIONS)
    assert found.arrays["all/pairs"].tolist() == [len(PAIRS[name]) for name in RELATIONS]
    assert found.arrays["all/superordinate"].tolist() == [above for *_, above in CLASSES.values()]
    assert found.notes == [
        "23 photographs (imagenet/val) of 8 classes in 6 basic-level categories; 6 classes are in "
        "2 superordinate categories. Pairs with one of the others count only where they are of "
        f"the same class or basic-level category: of {len(PAIRS['not known'])} it is not known "
        "how they are related."
    ]
    assert [path.name for path in data.files] == ["wordnet.is_a.txt", "words.txt"]
    assert list(data.fingerprints) == ["imagenet/val"]


def test_relative_distances_and_gaps_are_those_of_all_pairs(data):
    rows = matrix()
    found = hierarchy.score(data, Model(rows), OPTIONS)
    expected = distances(rows)
    spread = np.concatenate(list(expected.values())).std()
    names = [RELATIONS[code] for code in KNOWN]
    for name in names:
        value = found.find("all", f"relative distance, {name}")
        assert value.value == pytest.approx(expected[name].mean(), rel=1e-5)
        assert value.low < value.value < value.high
    for near, far in itertools.pairwise(names):
        gap = (expected[far].mean() - expected[near].mean()) / spread
        assert found.find("all", f"{far} − {near}, SD").value == pytest.approx(gap, rel=1e-3)
    assert len(found.scores) == 7
    drawn = np.sort(found.arrays["all/distances"])
    np.testing.assert_allclose(drawn, np.sort(np.concatenate(list(expected.values()))), rtol=1e-5)


@pytest.mark.parametrize(("factor", "shift"), [(1e-20, 0), (3.7, 1000), (1e28, 0)])
def test_scale_and_origin_do_not_matter(data, factor, shift):
    rows = matrix().astype(np.float64)
    found = hierarchy.score(data, Model(rows), OPTIONS)
    other = hierarchy.score(data, Model(factor * rows + shift), OPTIONS)
    for one, two in zip(found.scores, other.scores, strict=True):
        assert two.value == pytest.approx(one.value, rel=1e-3)


def test_with_the_cosine_rows_are_of_unit_length(data, data_dir):
    rows = matrix()
    options = OPTIONS._replace(similarity="cosine")
    found = hierarchy.score(data, Model(rows), options)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    value = found.find("all", "relative distance, same basic").value
    assert value == pytest.approx(distances(unit)["same basic"].mean(), rel=1e-5)
    assert "unit length" in hierarchy.people(data, options).notes[-1]
    rows[2] = 0
    with pytest.raises(InputError, match=r"^model\.npz: the row of photograph 3 is all zeros"):
        hierarchy.score(data, Model(rows), options)


def test_rows_that_are_all_alike_are_refused(data):
    with pytest.raises(InputError, match=r"^model\.npz: the rows of all photographs are equal"):
        hierarchy.score(data, Model(np.tile(np.float32([0.1, 7e5]), (N, 1))), OPTIONS)


def test_a_hierarchy_is_seen_in_the_gaps(data):
    found = hierarchy.score(data, Model(hierarchical()), OPTIONS)
    gaps = [s.value for s in found.scores if s.metric.endswith("SD")]
    assert all(gap.low > 0.1 for gap in gaps)


def hierarchical(seed=1, p=64):
    """Rows of things that share parts of their position, the more the closer they are."""
    rng = np.random.default_rng(seed)
    position = {}

    def at(name, scale):
        return position.setdefault(name, scale * rng.normal(size=p))

    return np.array(
        [
            at(wnid, 1) + at(CLASSES[wnid][2], 2) + at(CLASSES[wnid][3], 2) + rng.normal(size=p) / 2
            for wnid in WNIDS
        ]
    )


########################################## A change ##########################################


def test_the_change_is_that_of_all_pairs_in_their_standard_deviation(data):
    before, after = matrix(0), matrix(1)
    old, new = distances(before), distances(after)
    changes = {name: new[name] - old[name] for name in RELATIONS}
    scale = np.concatenate(list(changes.values())).std()
    found = moved(asked(data, before, after))
    assert list(found) == [RELATIONS[code] for code in KNOWN]
    for name, value in found.items():
        assert value.value == pytest.approx(changes[name].mean() / scale, abs=1e-4)
        assert value.low < value.value < value.high


def test_what_was_pulled_together_moved_closer(data):
    before = matrix()
    dogs = np.array([CLASSES[wnid][2] == "dog" for wnid in WNIDS])
    after = before.copy()
    after[dogs] += 0.9 * (before[dogs].mean(axis=0) - before[dogs])
    found = asked(data, before, after)
    values = moved(found)
    assert values["same basic"].value < -1
    assert values["different"].value > values["same basic"].value + 1
    back = moved({name: found[name] for name in (PEOPLE, "after", "before")})
    assert back["same basic"].value == pytest.approx(-values["same basic"].value)


def test_of_many_pairs_some_stand_for_all(data_dir, monkeypatch):
    before, after = matrix(0), matrix(1)
    options = Options(resamples=5)
    whole = moved(asked(hierarchy.load(data_dir, options), before, after, options=options))
    monkeypatch.setattr(hierarchy, "MOST_PAIRS", 250)
    some = hierarchy.load(data_dir, options)
    assert len(some.pairs.first) == 250
    found = moved(asked(some, before, after, options=options))
    # The means are exact, only their scale is of the sample.
    ratios = [found[name].value / whole[name].value for name in whole]
    assert ratios == pytest.approx([ratios[0]] * 4)
    assert ratios[0] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("factor", [1, 2, 0.3])
def test_a_change_of_scale_is_none(data, factor):
    found = asked(data, matrix(), factor * matrix())
    section, scores = hierarchy.QUESTION.change(found)
    assert not scores
    assert section.blocks == ["From before to after none did: all relative distances are the same."]


def test_other_photographs_are_not_compared(data, data_dir):
    found = asked(data, matrix(0), matrix(1))
    options = OPTIONS._replace(seed=1)
    other = asked(hierarchy.load(data_dir, options), matrix(1), options=options)
    found["after"] = other["before"]
    with pytest.raises(InputError, match="before and after: their distances are not between"):
        hierarchy.QUESTION.change(found)


def test_categories_are_grouped_by_the_one_above(data):
    before, after = matrix(0), matrix(1)
    found = asked(data, before, after)
    changes, groups = hierarchy_page._categories(*found.values())
    assert groups == {"animals": 2, "furniture": 2}
    order = ["fish", "dog", "chair", "wardrobe"]
    old, new = (
        {pair: d for name, values in zip(PAIRS.values(), distances(x).values(), strict=True)
         for pair, d in zip(name, values, strict=True)}
        for x in (before, after)
    )  # fmt: skip
    for (a, one), (b, other) in itertools.product(enumerate(order), repeat=2):
        expected = [
            new[i, j] - old[i, j]
            for i, j in old
            if [CLASSES[WNIDS[i]][2], CLASSES[WNIDS[j]][2]] in ([one, other], [other, one])
        ]
        assert changes[a, b] == pytest.approx(np.mean(expected), abs=1e-5)


########################################## Triplets ##########################################


def write_triplets(path, rows):
    names = np.array([[f"{wnid}.JPEG" for wnid in row] for row in rows])
    n = len(rows)
    alignet_triplets.save_triplets(
        path,
        alignet_triplets.AligNetTriplets(
            names,
            np.tile(np.float32([3, 2, 1]), (n, 1)),
            np.unique(names, return_inverse=True)[1].reshape(n, 3),
        ),
    )
    return path


def test_triplets_are_counted_by_their_relations(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(hierarchy, "TRIPLETS_A_BLOCK", 2)
    goldfish, beagle, poodle, _, candle, chair, *_ = CLASSES
    rows = [
        # A name may be in a folder, which may be the class.
        (f"{beagle}_7", f"train/{beagle}/{beagle}_8", f"{chair}/photograph"),
        (f"{beagle}_1", f"{poodle}_2", f"{goldfish}_3"),
        (f"{beagle}_1", f"{poodle}_2", f"{goldfish}_4"),
        (f"{beagle}_1", f"{poodle}_2", f"{candle}_4"),
        ("kitchen", f"{poodle}_2", f"{candle}_4"),
        (f"{beagle}_1", "n99999999_2", f"x{candle}"),
    ]
    path = write_triplets(tmp_path / "triplets.npz", rows)
    options = OPTIONS._replace(triplets=path)
    data = hierarchy.load(data_dir, options)
    assert path in data.files
    found = hierarchy.people(data, options)
    assert {s.metric: (s.value.value, s.value.n) for s in found.scores} == {
        "same class, different": (1 / 3, 3),
        "same basic, same superordinate": (2 / 3, 3),
    }
    assert found.arrays["triplets/counts"].sum() == 4
    assert found.notes[-1] == (
        f"{path}: relations are known in 3 of 6 triplets; 2 have photographs without a WordNet id "
        "in their name."
    )
    section = hierarchy.QUESTION.section({PEOPLE: found, **asked(data, matrix())})
    assert isinstance(section.blocks[-1], page.Picture)


def test_triplets_without_wordnet_ids_are_refused(data_dir, tmp_path):
    path = write_triplets(tmp_path / "triplets.npz", [("a", "b", "c")])
    with pytest.raises(InputError, match=r"triplets\.npz: no triplet has .* as in 'a\.JPEG'"):
        hierarchy.load(data_dir, OPTIONS._replace(triplets=path))


########################################## Report ##########################################


def test_the_report_has_all_that_was_found(data, tmp_path):
    found = asked(data, matrix(0), hierarchical(), matrix(2))
    for name, one in found.items():
        answers.save(tmp_path / "one.npz", one)
        found[name] = answers.load(tmp_path / "one.npz")
    section = hierarchy.QUESTION.section(found)
    assert [type(block) for block in section.blocks] == [str, str, page.Picture, page.Table]
    assert section.blocks[1].endswith(
        "; different: 90. Of those of the same basic-level category, 60% are of the category dog."
    )
    [table] = [block for block in section.blocks if isinstance(block, page.Table)]
    assert [row["model"] for row in table.rows] == ["before", "after", "later"]
    assert set(table.rows[0]) == {"model", *(RELATIONS[code] for code in KNOWN)}
    two = {name: found[name] for name in (PEOPLE, "before", "after")}
    change, scores = hierarchy.QUESTION.change(two)
    assert "same class: closer" in change.blocks[0]
    means = moved(two)
    assert [score.value for score in scores] == list(means.values())
    assert {row["relation"]: row["change, SD"] for row in change.blocks[2].rows} == means
    assert [type(b) for b in change.blocks] == [str, page.Picture, page.Table, page.Picture]
    assert page.page("report", [section, change]).count("<figure>") == 3


def test_the_change_is_told_by_a_run_and_by_a_comparison(data):
    found = asked(data, matrix(0), matrix(1))
    settings = ABOUT["settings"] | {"before": "before", "triplets": "none"}
    run = Run(["before", "after"], {"hierarchy": found}, ABOUT | {"settings": settings})
    sections, rows, text = report.sections(run)
    assert "From before to after, relative to all pairs: same class: " in text
    values = {row[2]: row[5] for row in rows}
    assert all(len(row) == len(report.COLUMNS) for row in rows)
    expected = {f"change of relative distance, {k}, SD": v.value for k, v in moved(found).items()}
    assert values == expected
    assert {row[:2] + row[3:5] for row in rows} == {("hierarchy", "all", "after", "before")}
    names = [row["what"] for row in sections[-1].blocks[0].rows]
    assert "before" in names and not any(name.startswith("levels") for name in names)

    alone = {
        name: Run([name], {"hierarchy": {key: found[key] for key in (PEOPLE, name)}}, ABOUT)
        for name in ("before", "after")
    }
    compared = comparison.compare(alone, QUESTIONS)
    assert compared.sentences[0].startswith("From before to after, relative to all pairs: ")
    assert {(row[1], *row[4:6]) for row in compared.differences} == {
        ("hierarchy", "after", "before")
    }
    assert {row[3]: row[6] for row in compared.differences} == expected
    assert all(len(row) == len(comparison.DIFFERENCE_COLUMNS) for row in compared.differences)


def test_a_model_without_rows_is_absent(data):
    model = Model(matrix())
    del model.row[str(IDS[3])]
    with pytest.raises(Absent, match=r"model\.npz: not all of imagenet/val"):
        hierarchy.score(data, model, OPTIONS)


def test_without_wordnet_the_question_is_absent(tmp_path):
    with pytest.raises(Absent, match=r"words\.txt: no such file"):
        hierarchy.load(tmp_path, OPTIONS)


def test_photographs_may_come_in_any_order(data_dir):
    """A network's rows are those of its photographs in their own order."""
    data = hierarchy.load(data_dir, OPTIONS)
    matrix = np.random.default_rng(0).normal(size=(N, 4))
    expected = hierarchy.score(data, Model(matrix), OPTIONS)
    mixed = np.random.default_rng(1).permutation(N)
    photographs = take(data.photographs, mixed)
    shuffled = data._replace(
        photographs=photographs, order=np.argsort(photographs.labels, kind="stable")
    )

    class Network(Model):
        def lookup(self, prefix, ids, source):
            assert [source.read(i)[0] for i in range(N)] == ids.tolist()
            return np.array([self.row[source.read(i)[0]] for i in range(N)])

    found = hierarchy.score(shuffled, Network(matrix), OPTIONS)
    for one, other in zip(found.scores, expected.scores, strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-6)
