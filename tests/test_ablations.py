"""Ablations: which arms there are, what each is trained on, and the tests of the world."""

from pathlib import Path

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from alignet import student_side
from alignet.data import toy
from alignet.data.alignet_triplets import load_triplets, save_triplets
from alignet.data.embeddings import Embeddings, load_embeddings, save_embeddings
from alignet.data.human import load_triplets as load_choices
from alignet.data.images import Images, load_images
from alignet.data.labelled import open_labelled
from alignet.errors import InputError
from alignet.recipes import ablations, chain
from alignet.recipes.ablations import CATEGORIES, SURFACE
from alignet.runtime import files
from alignet.training import objective
from configs import ablations as recipe
from evals import things
from evals.options import Options

CEILING = ("all", "accuracy ceiling")


def _config(**changes):
    config = recipe.get_config()
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


############################## Arms ##############################


def test_arms_differ_from_the_main_one_in_one_thing_or_are_it():
    plan = ablations.plan(_config(), n_images=3000)
    main = plan["capacity"].arms["aligned"]
    assert main.name == "aligned" and main.sampling == {
        "n_triplets": 20_000,
        "n_images": 3000,
        "seed": 0,
    }
    assert [*plan["images"].arms] == ["30", "100", "300", "1000", "3000"]
    assert [*plan["triplets"].arms] == ["2", "20", "200", "2000", "20000"]
    last = (
        ("images", "3000"),
        ("triplets", "20000"),
        ("sampling", "cluster"),
        ("teacher", "aligned"),
    )
    assert all(plan[name].arms[label] == main for name, label in last)
    names = []
    dense = plan["dense"].arms
    assert [*dense] == [x for n in plan["images"].arms for x in (n, f"{n}, dense")]
    assert dense["300"] == plan["images"].arms["300"] and dense["3000"] == main
    for name, ablation in plan.items():
        for label, arm in ablation.arms.items():
            if arm == main or (name == "dense" and arm.name.startswith("images/")):
                continue
            names.append(arm.name)
            assert arm.name.startswith(f"{name}/") and not Path(arm.name).suffix
            differ = [f for f in arm._fields if getattr(arm, f) != getattr(main, f) and f != "name"]
            expected = {
                "images": ["sampling"],
                "triplets": ["sampling"],
                "sampling": ["scheme"],
                "teacher": ["teacher"],
                "things": ["teacher", "distill"],
                "dense": ["distill"] if label == "3000, dense" else ["sampling", "distill"],
            }[name]
            assert differ == expected
            if name == "images":
                assert arm.sampling == main.sampling | {"n_images": int(label)}
    assert len({*names}) == len(names) == 4 + 4 + 2 + 1 + 4 + 5
    direct = plan["things"].arms["lr 0.0006 pull 0.3"]
    changes = {"loss": "hard", "peak_lr": 0.0006, "pull": 0.3}
    assert direct.distill == main.distill | changes and direct.teacher == "people"


BAD = {
    "unknown": ({"ablations": ("capacity", "colour")}, ("ablations has 'colour'", "capacity, im")),
    "none": ({"ablations": ()}, ("config.ablations is empty",)),
    "more images than there are": ({"n_images": (30, 5000)}, ("n_images has 5000", "below the 3")),
    "all images": ({"n_images": (3000,)}, ("n_images has 3000",)),
    "two images": ({"n_images": (2,)}, ("n_images has 2", "from 3 on")),
    "part of a triplet": ({"n_triplets": (0.5,)}, ("n_triplets has 0.5", "whole numbers")),
    "no such size": (
        {"sizes.teacher": ("huge",)},
        ("sizes.teacher has 'huge'", "large, medium, small"),
    ),
    "no sizes": ({"sizes.capacity": ()}, ("sizes.capacity is empty",)),
    "learning rate": ({"direct.peak_lr": (0.0,)}, ("direct.peak_lr has 0.0", "positive")),
    "pull": ({"direct.pull": (-1.0,)}, ("direct.pull has -1.0",)),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_ablated_is_refused(name):
    changes, parts = BAD[name]
    with pytest.raises(InputError) as error:
        ablations.plan(_config(**changes), n_images=3000)
    for part in parts:
        assert part in str(error.value)


############################## Triplets ##############################


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Embeddings of 60 images in 6 clusters, the file of clusters, and a folder."""
    folder = tmp_path_factory.mktemp("pool")
    rng = np.random.default_rng(0)
    ids = np.array([f"image{i}" for i in range(60)])
    save_embeddings(folder / "z.npz", Embeddings(ids, rng.normal(size=(60, 4)).astype(np.float32)))
    files.write_npz(folder / "clusters.npz", labels=np.arange(60) % 6)
    files.write_npz(folder / "classes.npz", labels=np.arange(60) // 6)
    return folder


def _draw(pool, name, labels, **settings):
    config = ml_collections.ConfigDict({"n_triplets": 400, "seed": 0} | settings)
    path = student_side.draw_triplets(
        config, pool, name, embeddings=pool / "z.npz", labels=labels and pool / labels
    )
    return load_triplets(path, n_images=60).indices


def test_triplets_of_some_images_are_of_these_only_and_nested(pool):
    few, more = (_draw(pool, f"some{n}", "clusters.npz", n_images=n) for n in (15, 40))
    assert len(np.unique(few)) <= 15 and len(np.unique(more)) <= 40
    assert {*np.unique(few)} <= {*np.unique(more)} and len(few) == len(more) == 400
    random = _draw(pool, "random", None, n_images=15)
    assert len(np.unique(random)) == 15 and {*np.unique(few)} <= {*np.unique(random)}
    everything, same = (
        _draw(pool, name, "clusters.npz", **n)
        for name, n in (("all", {}), ("60", {"n_images": 60}))
    )
    np.testing.assert_array_equal(everything, same)


@pytest.mark.parametrize("labels", ["clusters.npz", "classes.npz", None])
def test_triplets_lie_at_the_boundaries_of_the_labels(pool, labels):
    triplets = _draw(pool, f"at_{labels}", labels)
    same = {name: 0.0 for name in ("clusters.npz", "classes.npz")}
    for name in same:
        group = np.load(pool / name)["labels"][triplets]
        pairs = (group[:, [0, 0, 1]] == group[:, [1, 2, 2]]).sum(axis=1)
        same[name] = float((pairs == 1).mean())
    for name, share in same.items():
        assert share == 1 if name == labels else share < 0.8


def test_too_few_images_or_labels_are_refused(pool):
    with pytest.raises(InputError, match="has 60 images; expected n_images, 61"):
        _draw(pool, "bad", None, n_images=61)
    files.write_npz(pool / "short.npz", labels=np.arange(59))
    with pytest.raises(InputError, match=r"short\.npz: labels have shape \(59,\); expected \[60\]"):
        _draw(pool, "bad", "short.npz")


############################## Training ##############################


def test_every_student_is_trained_once_and_on_its_own_triplets(pool, tmp_path, monkeypatch):
    made = {}

    def make_student(config, folder, size, *, weights, images, triplets, teacher):
        assert (folder, size) not in made
        made[folder.relative_to(tmp_path / "arms").as_posix(), size] = (
            config.to_dict(),
            weights.name,
            images.name,
            load_triplets(triplets).indices,
        )
        assert teacher == (pool / "z.npz" if config.dense else None)

    monkeypatch.setattr(student_side, "make_student", make_student)
    objects = Images(np.array([f"thing{i}" for i in range(9)]), np.zeros((9, 2, 2, 3), np.uint8))
    choices = np.stack([np.random.default_rng(i).permutation(9)[:3] for i in range(50)])
    save_triplets(tmp_path / "choices.npz", ablations.as_answers(choices, objects))
    ids = load_embeddings(pool / "z.npz").ids
    other = np.random.default_rng(3).normal(size=(60, 4))
    save_embeddings(tmp_path / "other.npz", Embeddings(ids, other))
    sources = ablations.Sources(
        bases={size: Path(f"base_{size}.npz") for size in ("small", "medium", "large")},
        images=Path("images.npz"),
        teachers={
            "aligned": chain.Teacher(pool / "z.npz", pool / "clusters.npz"),
            "distilled": chain.Teacher(tmp_path / "other.npz", pool / "clusters.npz"),
        },
        classes=pool / "classes.npz",
        objects=Path("objects.npz"),
        choices=tmp_path / "choices.npz",
    )
    config = _config(n_images=(10,), n_triplets=(20,), **{"sampling.n_triplets": 300})
    config.direct.peak_lr, config.direct.pull = (0.5,), (0.0,)
    config.sizes.teacher = ("small",)
    ablations.train(ablations.plan(config, n_images=60), sources, tmp_path)

    every = [(arm, s) for arm in ("aligned", "sampling/random", "sampling/class") for s in
             ("small", "medium", "large")]  # fmt: skip
    rest = [("images/10", "medium"), ("triplets/20", "medium"), ("teacher/distilled", "small")]
    rest += [("dense/10-dense", "medium"), ("dense/60-dense", "medium")]
    assert {*made} == {*every, *rest, ("things/lr-0_5-pull-0", "medium")}
    main = config.distill.to_dict()
    for (name, size), (settings, weights, images, triplets) in made.items():
        assert weights == f"base_{size}.npz"
        if name.startswith("things"):
            assert settings == main | {"loss": "hard", "peak_lr": 0.5, "pull": 0.0}
            assert images == "objects.npz"
            np.testing.assert_array_equal(triplets, choices)
        else:
            dense = {"dense": name.startswith("dense")}
            assert settings == main | dense and images == "images.npz"
            assert len(triplets) == (20 if name == "triplets/20" else 300)
    assert len(np.unique(made["images/10", "medium"][3])) <= 10
    by_class = np.arange(60)[made["sampling/class", "small"][3]] // 6
    assert ((by_class[:, :2] == by_class[:, 1:]).sum(axis=1) <= 1).all()
    aligned, distilled = (made[name, "small"][3] for name in ("aligned", "teacher/distilled"))
    # The same triplets of images, of which another teacher calls another the odd one out.
    np.testing.assert_array_equal(np.sort(aligned, axis=1), np.sort(distilled, axis=1))
    assert (aligned[:, 2] != distilled[:, 2]).mean() > 0.2


def test_people_are_a_teacher_that_keeps_their_pair_together():
    objects = Images(np.array(["a", "b", "c", "d"]), np.zeros((4, 2, 2, 3), np.uint8))
    found = ablations.as_answers(np.array([[3, 0, 2], [1, 2, 0]]), objects)
    assert found.filenames.tolist() == [["d", "a", "c"], ["b", "c", "a"]]
    teacher, settings = jnp.asarray(found.similarities), {"tau_teacher": 1.0, "tau_student": 1.0}
    for kept, wrong in (([9.0, 1, 1], False), ([1, 1, 9.0], True)):
        loss = objective.triplet_losses("hard", teacher, jnp.array([kept, kept]), **settings).mean()
        assert (loss > 7) == wrong and (loss < 1e-3) != wrong


############################## The toy world's tests ##############################


def test_the_toy_world_is_tested_on_what_nothing_saw(tmp_path):
    config = _config(**{"toy.n_things": 96, "toy.n_pool": 80, "toy.n_triplets": 500})
    config.toy.n_test, config.tests.n_images = 60, 144
    world = chain.toy_world(config, tmp_path)
    tests = ablations.toy_tests(config, tmp_path, world)
    for folder, name in ((tests, "test"), (tests / "new_categories", "heldout")):
        asked = load_choices(folder / "things" / "triplets.txt")
        np.testing.assert_array_equal(asked, load_choices(world / f"things/{name}_triplets.txt"))
        ceiling = things.people(things.load(folder, Options()), Options()).find(*CEILING)
        with np.load(world / "truth.npz") as truth:
            known = truth[{"test": "noise_ceiling", "heldout": "noise_ceiling_heldout"}[name]]
        assert ceiling.value == pytest.approx(known, abs=0.05)
    fitted = {frozenset(row) for row in load_choices(world / "things" / "triplets.txt").tolist()}
    new = load_choices(tests / "things" / "triplets.txt").tolist()
    assert not fitted & {frozenset(row) for row in new}

    with np.load(world / "truth.npz") as truth:
        unseen = {toy.LEAVES[leaf] for leaf in np.unique(truth["leaf"][truth["heldout"]])}
        pooled = {pixels.tobytes() for pixels in load_images(world / "pool/images.npz").pixels}
    sets = {
        name: open_labelled(tests / "fewshot" / f"{name}.npz") for name in (CATEGORIES | SURFACE)
    }
    classes = {name: len(found.classes) for name, found in sets.items()}
    assert classes == {
        "superordinate": 4,
        "basic": 12,
        "category": 36,
        "new_category": 12,
        "colour": 12,
        "texture": 8,
        "background": 8,
    }
    known, new = (
        {toy.LEAVES[int(leaf)] for leaf in sets[name].classes}
        for name in ("category", "new_category")
    )
    assert new == unseen and not known & unseen
    seen = set()
    for found in sets.values():
        pictures = {found.source.read(place)[1].tobytes() for place in range(144)}
        assert not pictures & (pooled | seen) and len(pictures) == 144
        seen |= pictures
