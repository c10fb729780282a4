"""The toy world: what it draws, what its people answer, and that held-out means held out."""

import itertools
import math

import ml_collections
import numpy as np
import pytest
import scipy.stats

from alignet import students
from alignet.data import toy
from alignet.data.human import load_triplets
from alignet.data.images import load_images
from alignet.errors import InputError
from alignet.students.pretrain import pretrain


def world_config(**changes) -> ml_collections.ConfigDict:
    fields = {
        "seed": 3,
        "image_size": 16,
        "n_things": 120,
        "n_pool": 70,
        "n_triplets": 3000,
        "n_test": 300,
        "heldout_share": 0.25,
    }
    return ml_collections.ConfigDict(fields | changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return toy.make_world(world_config(), tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def truth(world):
    with np.load(world / "truth.npz", allow_pickle=False) as archive:
        return dict(archive)


def one_of_each_leaf(seed=0, *, image_size=32, **others) -> np.ndarray:
    """All leaves in the same pose and with the same noise, plain red on the meadow by default."""
    images = []
    for leaf in range(48):
        values = {"colour": 0, "texture": 0, "background": 0} | others
        factors = toy.Factors(np.array([leaf]), *(np.array([v]) for v in values.values()))
        images.append(toy.draw(factors, np.random.default_rng(seed), image_size=image_size)[0])
    return np.stack(images).astype(int)


############################## The world on disk ##############################


def test_equal_configs_give_equal_bytes(world, tmp_path):
    again = toy.make_world(world_config(), tmp_path / "again")
    files = sorted(path.relative_to(world) for path in world.rglob("*") if path.is_file())
    assert [str(path) for path in files] == [
        "pool/images.npz",
        "things/heldout_triplets.txt",
        "things/images.npz",
        "things/test_triplets.txt",
        "things/triplets.txt",
        "truth.npz",
    ]
    other = toy.make_world(world_config(seed=4), tmp_path / "other")
    for file in files:
        assert (again / file).read_bytes() == (world / file).read_bytes()
        assert (other / file).read_bytes() != (world / file).read_bytes()


def test_a_larger_pool_leaves_the_objects_as_they_are(world, tmp_path):
    larger = toy.make_world(world_config(n_pool=90), tmp_path)
    for file in world.glob("things/*"):
        assert (larger / "things" / file.name).read_bytes() == file.read_bytes()


def test_files_are_valid_and_of_the_sizes_asked_for(world, truth):
    things, pool = load_images(world / "things/images.npz"), load_images(world / "pool/images.npz")
    assert things.pixels.shape == (120, 16, 16, 3) and pool.pixels.shape == (70, 16, 16, 3)
    for name, n in (("triplets", 3000), ("test_triplets", 300), ("heldout_triplets", 300)):
        assert len(load_triplets(world / f"things/{name}.txt", n_objects=120)) == n
    for n, ids, prefix in ((120, things.ids, ""), (70, pool.ids, "pool_")):
        assert list(ids) == [f"{toy.LEAVES[truth[f'{prefix}leaf'][i]]}_{i:05d}" for i in range(n)]


def test_heldout_categories_are_held_out(world, truth):
    leaves = np.unique(truth["leaf"][truth["heldout"]])
    assert len(leaves) == 12 and not np.isin(truth["leaf"][~truth["heldout"]], leaves).any()
    assert set(truth["basic"][~truth["heldout"]]) == set(range(12))
    assert not np.isin(truth["pool_leaf"], leaves).any()
    _, labels = toy.pretraining_set(world_config(), 500)
    assert len(np.unique(labels["leaf"])) == 36 and not np.isin(labels["leaf"], leaves).any()

    def triplets(name):
        return load_triplets(world / f"things/{name}.txt", n_objects=120)

    for name in ("triplets", "test_triplets"):
        assert not truth["heldout"][triplets(name)].any()
    assert truth["heldout"][triplets("heldout_triplets")].all()
    asked = np.concatenate([triplets("triplets"), triplets("test_triplets")])
    assert len(np.unique(np.sort(asked, axis=1), axis=0)) == len(asked)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.75])
def test_heldout_leaves_are_spread_over_the_tree(share):
    heldout = toy.heldout_leaves(share, np.random.default_rng(0))
    assert heldout.sum() == round(48 * share)
    per_basic = heldout.reshape(12, 4).sum(axis=1)
    assert np.ptp(per_basic) <= 1 and per_basic.max() <= 3


def test_bad_configs(tmp_path):
    for share in (-0.1, 0.8):
        with pytest.raises(InputError, match=r"between 0 and 0\.75"):
            toy.make_world(world_config(heldout_share=share), tmp_path)
    with pytest.raises(InputError, match=r"4061 .*n_test"):
        toy.distinct_triplets(np.arange(30), 4061, np.random.default_rng(0))
    with pytest.raises(InputError, match="n_test"):
        toy.make_world(world_config(heldout_share=0.0), tmp_path)


############################## Drawing ##############################


def test_every_factor_shows(world):
    rng = np.random.default_rng(0)
    factors = toy.draw_factors(rng.integers(48, size=300), rng)
    base = toy.draw(factors, np.random.default_rng(1), image_size=32)
    np.testing.assert_array_equal(base, toy.draw(factors, np.random.default_rng(1), image_size=32))
    sizes = (len(toy.LEAVES), len(toy.COLOURS), len(toy.TEXTURES), len(toy.BACKGROUNDS))
    for name, size in zip(toy.Factors._fields, sizes, strict=True):
        values = getattr(factors, name)
        assert set(values) == set(range(size))
        changed = factors._replace(**{name: (values + 1) % size})
        images = toy.draw(changed, np.random.default_rng(1), image_size=32)
        change = np.abs(images.astype(int) - base).max(axis=(1, 2, 3))
        assert change.min() > 5 and np.median(change) > 50, name


def test_background_is_behind_the_shape():
    box = toy.LEAVES.index("box-d")
    red, blue = one_of_each_leaf(colour=0)[box], one_of_each_leaf(colour=8)[box]
    meadow, night = red, one_of_each_leaf(background=5)[box]
    centre, corner = (slice(14, 18),) * 2, (slice(0, 2),) * 2
    np.testing.assert_array_equal(meadow[centre], night[centre])
    np.testing.assert_array_equal(red[corner], blue[corner])
    assert np.abs(meadow[corner] - night[corner]).min() > 50
    assert np.abs(red[centre] - blue[centre])[..., [0, 2]].min() > 50


def test_leaves_go_from_slender_to_stout_and_edges_are_smooth():
    # What changes with the colour is the shape; by how much, its share of the pixel.
    change = np.abs(one_of_each_leaf(colour=0) - one_of_each_leaf(colour=8))[..., 2]
    area = change.sum(axis=(1, 2)).reshape(12, 4) / change.max()
    assert (np.diff(area, axis=1) > 0).all()
    slender, stout = area[toy.BASICS.index("ring")][[0, 3]]
    half_widths = np.array(toy.SLENDER["arc"])[[0, 3]]
    expected = np.divide(*(1 - (1 - 2 * half_widths) ** 2)[::-1])
    assert stout / slender == pytest.approx(expected, rel=0.02)
    masks = {mask.tobytes() for mask in change}
    assert len(masks) == 48
    assert (((change > 20) & (change < change.max() - 20)).sum(axis=(1, 2)) > 10).all()


############################## People ##############################


def test_choices_follow_the_softmax_of_dot_products():
    rng = np.random.default_rng(5)
    concepts = np.abs(rng.normal(size=(3, 4)))
    n = 30_000
    answers = toy.ask(concepts, np.tile([2, 0, 1], (n, 1)), rng)
    assert (np.sort(answers, axis=1) == [0, 1, 2]).all()
    weights = np.array([math.exp(concepts[a] @ concepts[b]) for a, b in ((0, 1), (0, 2), (1, 2))])
    # Object 2 is the odd one out when people keep 0 and 1 together, and so on.
    counts = np.bincount(answers[:, 2], minlength=3)[[2, 1, 0]]
    assert scipy.stats.chisquare(counts, n * weights / weights.sum()).pvalue > 0.01
    p = toy.choice_probabilities(concepts, np.array([[2, 0, 1]]))
    np.testing.assert_allclose(p[0], weights[[1, 2, 0]] / weights.sum(), rtol=1e-12)


def test_noise_ceiling_is_the_mean_over_all_triplets(truth):
    concepts = truth["concept_embedding"][truth["heldout"]]
    best = []
    for triplet in itertools.combinations(range(len(concepts)), 3):
        s = np.array([concepts[a] @ concepts[b] for a, b in itertools.combinations(triplet, 2)])
        best.append(scipy.special.softmax(s).max())
    assert truth["noise_ceiling_heldout"] == pytest.approx(np.mean(best), rel=1e-12)
    assert 0.67 < truth["noise_ceiling"] < 0.75


def test_knowing_the_truth_scores_at_the_ceiling(world, truth):
    concepts = truth["concept_embedding"]
    triplets = load_triplets(world / "things/triplets.txt")
    best = toy.choice_probabilities(concepts, triplets).argmax(axis=1) == 0
    margin = 4 * math.sqrt(0.25 / len(best))
    assert np.mean(best) == pytest.approx(truth["noise_ceiling"], abs=margin)


def test_concepts_follow_the_tree(truth):
    concepts, leaf = truth["concept_embedding"], truth["leaf"]
    assert concepts.min() >= 0 and concepts.shape == (120, 21)
    similarity = concepts @ concepts.T
    a, b = np.triu_indices(len(leaf), 1)
    means, rest = [], np.ones(len(a), bool)
    for level in (leaf, truth["basic"], truth["superordinate"], truth["superordinate"] // 2):
        same = (level[a] == level[b]) & rest
        means.append(similarity[a, b][same].mean())
        rest &= ~same
    means.append(similarity[a, b][rest].mean())
    assert (np.diff(means) < -0.2).all(), means


def test_distinct_triplets_are_uniform():
    objects, rng = np.array([3, 5, 8, 9, 11, 20, 21, 30]), np.random.default_rng(0)
    everything = {tuple(sorted(t)) for t in toy.distinct_triplets(objects, 56, rng)}
    assert everything == set(itertools.combinations(objects, 3))
    firsts = [toy.distinct_triplets(objects, 1, rng)[0] for _ in range(2000)]
    for column in np.transpose(firsts):
        assert scipy.stats.chisquare(np.unique(column, return_counts=True)[1]).pvalue > 0.001


############################## Pretraining ##############################


def recipe(**changes) -> ml_collections.ConfigDict:
    fields = {
        "seed": 0,
        "batch_size": 32,
        "steps": 60,
        "warmup_steps": 5,
        "peak_lr": 1e-2,
        "factors": {"colour": 1.0, "background": 0.5},
    }
    return ml_collections.ConfigDict(fields | changes)


def test_pretraining_learns_its_factors_and_repeats():
    student = students.Student("mu/8", 16, "gap")
    images, labels = toy.pretraining_set(world_config(), 400)
    params, losses = pretrain(student, images, labels, recipe())
    assert losses.shape == (60,)
    assert losses[0] == pytest.approx(math.log(12) + 0.5 * math.log(8), rel=1e-3)
    assert losses[-5:].mean() < 0.7 * losses[0]
    assert students.embed(student, params, images[:5]).shape == (5, 32)
    _, again = pretrain(student, images, labels, recipe())
    np.testing.assert_array_equal(losses, again)
    with pytest.raises(InputError, match="color"):
        pretrain(student, images, labels, recipe(factors={"color": 1.0}))
