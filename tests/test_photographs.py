"""The recipe on photographs: what is held out from whom, and all of it at a tiny size."""

import itertools
import json
import tarfile

import jax
import numpy as np
import pytest
from PIL import Image

from alignet import students, transform
from alignet.data import things_photographs
from alignet.data.embeddings import Embeddings, load_embeddings, save_embeddings
from alignet.errors import InputError
from alignet.recipes import concepts, photographs
from alignet.runtime import files
from configs import photographs as recipe

N, SPLITS = 24, ((0, 1), (2, 3))
NAMES = [f"concept_{number:02d}" for number in range(N)]
# The last concept has no class of its own, but those of the first and the fourth under it.
CLASSES = {name: f"n{number:08d}" for number, name in enumerate(NAMES)}
HEADER = "uniqueID,ilsvrc_exact,ilsvrc_hyponyms\n"


@pytest.fixture
def data_dir(tmp_path):
    """Concepts with two photographs a class, in a release's order, and other photographs."""
    data, rng = tmp_path / "data", np.random.default_rng(0)
    for folder in ("things", "imagenet", "images/imagenet_sample_1000", "val/images"):
        (data / folder).mkdir(parents=True)
    np.savetxt(data / "things" / "sortindex", np.arange(N), fmt="%d")
    (data / "things" / "unique_id.txt").write_text("\n".join(NAMES) + "\n")
    np.save(data / "things" / "vice_embedding.npy", rng.gamma(0.5, size=(N, 5)))
    rows = [f"{name},{wnid},\n" for name, wnid in CLASSES.items()]
    rows[-1] = f"{NAMES[-1]},,{CLASSES[NAMES[0]]}|{CLASSES[NAMES[3]]}\n"
    (data / "imagenet" / "DERIVED_things_to_ilsvrc.csv").write_text(HEADER + "".join(rows))
    names = [f"imagenet_sample_1000/{wnid}_{i}" for wnid in CLASSES.values() for i in range(2)]
    for name in [f"images/{name}" for name in names] + [f"val/images/{i}" for i in range(20)]:
        picture = Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8))
        picture.save(data / f"{name}.png")
    shown = [*CLASSES.values()][:20]
    table = [f"{i}.png\t{wnid}\t0\t0\t9\t9" for i, wnid in enumerate(shown)]
    (data / "val" / "val_annotations.txt").write_text("\n".join(table) + "\n")
    with tarfile.open(data / "others.tar.gz", "w:gz") as archive:
        archive.add(data / "val", "val")
    return data


@pytest.fixture
def config(data_dir, tmp_path):
    student = students.Student("mu/16", 32, "map")
    weights = tmp_path / "mu16.npz"
    students.save_weights(weights, student, students.init(student, jax.random.key(0)))
    config = recipe.get_config()
    config.data_dir, config.others.path = str(data_dir), "others.tar.gz"
    config.others.n_images = 18
    for model in (config.teacher, config.student):
        model.name, model.weights, model.image_size = "mu16", str(weights), 32
    config.student.layer = 0
    config.splits, config.n_students = SPLITS, 1
    config.ud.lambdas, config.ud.max_iterations, config.ud.n_folds = (1.0, 0.1), 30, 2
    config.n_triplets = 400
    config.clusters.ks, config.clusters.restarts = (4,), 1
    config.sampling.n_triplets = 60
    config.distill.steps, config.distill.warmup_steps, config.distill.batch_size = 4, 2, 4
    config.short_steps = 2
    return config


########################################## Concepts ##########################################


def test_groups_of_concepts_have_no_class_in_common_and_are_of_about_the_same_size():
    rng = np.random.default_rng(0)
    classes = [tuple(rng.choice(400, rng.integers(1, 4)).astype(str)) for _ in range(200)]
    group = concepts.concept_groups(classes, n_groups=3, seed=0)
    for one, other in itertools.combinations(range(200), 2):
        assert group[one] == group[other] or not {*classes[one]} & {*classes[other]}
    # By an oracle: all that can be reached through common classes.
    todo, lots = set(range(200)), []
    while todo:
        lot = {todo.pop()}
        while more := {i for i in todo if any({*classes[i]} & {*classes[j]} for j in lot)}:
            lot |= more
            todo -= more
        lots.append(len(lot))
    size = np.bincount(group, minlength=3)
    assert len(size) == 3 and size.max() - size.min() <= max(lots)
    assert len({*group[: len(lots)]}) == 3
    again = concepts.concept_groups(classes, n_groups=3, seed=0)
    other = concepts.concept_groups(classes, n_groups=3, seed=1)
    np.testing.assert_array_equal(group, again)
    assert (group != other).any()


def test_concepts_without_common_classes_are_dealt_evenly():
    group = concepts.concept_groups([(str(i),) for i in range(10)], n_groups=4, seed=0)
    assert sorted(np.bincount(group)) == [2, 2, 3, 3]


def test_concepts_are_linked_through_others():
    classes = [("a",), ("b",), ("c", "b"), ("d",), ("a", "c")]
    group = concepts.concept_groups(classes, n_groups=2, seed=0)
    assert len({*group[[0, 1, 2, 4]]}) == 1 and group[3] != group[0]


########################################## UD ##########################################


def test_soft_answers_are_the_softmax_of_dot_products_with_the_odd_one_last():
    vice = np.random.default_rng(0).gamma(0.5, size=(9, 4))
    triplets, p_star = photographs.soft_answers(vice, 200, seed=1)
    assert triplets.shape == p_star.shape == (200, 3)
    for (i, j, k), p in zip(triplets, p_star, strict=True):
        odds = np.exp([vice[i] @ vice[j], vice[i] @ vice[k], vice[j] @ vice[k]])
        np.testing.assert_allclose(p, odds / odds.sum(), rtol=1e-12)
        assert len({i, j, k}) == 3 and p[0] == p.max()


def test_drawn_answers_are_as_frequent_as_they_are_probable():
    triplets = np.tile([[4, 7, 2]], (30_000, 1))
    p_star = np.tile([[0.6, 0.3, 0.1]], (30_000, 1))  # of the pairs 47, 42, 72
    drawn = photographs.draw_answers(triplets, p_star, seed=1)
    assert np.array_equal(np.sort(drawn, axis=1), np.sort(triplets, axis=1))
    share = [(drawn[:, 2] == odd).mean() for odd in (2, 7, 4)]
    np.testing.assert_allclose(share, [0.6, 0.3, 0.1], atol=0.012)  # four standard errors
    certain = photographs.draw_answers(triplets[:9], np.tile([0.0, 0.0, 1.0], (9, 1)), seed=1)
    assert (certain == [7, 2, 4]).all()


def write_world(folder, *, seed=None):
    """Concepts whose embeddings are VICE's seen askew; with a seed, others where held out."""
    rng = np.random.default_rng(0)
    vice, groups = rng.gamma(0.5, size=(60, 4)), np.arange(60) % 3
    # Most of what a network tells apart people do not mind.
    minor = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 12))
    x = vice @ rng.normal(size=(4, 12)) + rng.normal(size=12) + minor
    if seed is not None:
        hidden, other = groups == 2, np.random.default_rng(seed)
        vice[hidden], x[hidden] = other.random((20, 4)), other.normal(size=(20, 12))
    names = np.array([f"concept_{i:02d}" for i in range(60)])
    folder.mkdir()
    files.write_npz(folder / "concepts.npz", names=names, groups=groups, vice=vice)
    order = np.random.default_rng(2).permutation(60)
    save_embeddings(folder / "x.npz", Embeddings(names[order], x[order]))
    return x, vice, groups == 2


def aligned(config, folder):
    path = photographs.align(
        config, folder, "ud", folder / "x.npz", concepts=folder / "concepts.npz", held_out=(2,)
    )
    return transform.load_transform(path)


def test_what_is_held_out_does_not_touch_ud_and_is_aligned_by_it(tmp_path):
    config = recipe.get_config()
    config.ud.lambdas, config.n_triplets = (0.1, 0.01), 4000
    x, vice, hidden = write_world(tmp_path / "one")
    found = aligned(config, tmp_path / "one")
    write_world(tmp_path / "other", seed=1)
    for mine, theirs in zip(found, aligned(config, tmp_path / "other"), strict=True):
        np.testing.assert_array_equal(mine, theirs)

    def agreement(z):
        ours, truth = (v[hidden] @ v[hidden].T for v in (z, vice))
        return np.corrcoef(*(v[np.triu_indices(20, 1)] for v in (ours, truth)))[0, 1]

    assert agreement(transform.apply_transform(found, x)) > agreement(x) + 0.2


########################################## The recipe ##########################################


def class_shown(name):
    """Of a photograph of either folder."""
    last = name.split("/")[-1].split("_")[0]
    return [*CLASSES.values()][int(last)] if name.startswith("others/") else last


def test_the_class_of_other_photographs_is_told_by_a_table_or_by_their_names(tmp_path):
    (tmp_path / "val").mkdir()
    assert things_photographs.photograph_classes(tmp_path, ["n00000003/a", "n00000004_b"]) == [
        "n00000003",
        "n00000004",
    ]
    with pytest.raises(InputError, match=r"the class of a/b is not known; expected names that beg"):
        things_photographs.photograph_classes(tmp_path, ["n00000003/a", "a/b"])
    table = tmp_path / "val" / "val_annotations.txt"
    table.write_text("val_1.JPEG\tn00000007\t0\t1\nval_2.JPEG\tn00000008\n")
    found = things_photographs.photograph_classes(tmp_path, ["val/images/val_2", "val_1"])
    assert found == ["n00000008", "n00000007"]
    with pytest.raises(InputError, match=r"the class of images/val_3 is not known"):
        things_photographs.photograph_classes(tmp_path, ["images/val_3"])


@pytest.mark.slow
def test_a_run_holds_out_what_it_says_and_is_made_once(config, tmp_path, capsys):
    workdir = tmp_path / "run"
    photographs.run(config, workdir)
    names, groups, _ = photographs.load_concepts(workdir / "concepts.npz")
    assert names.tolist() == NAMES and groups[0] == groups[3] == groups[-1]
    teacher = load_embeddings(workdir / "teacher.npz")
    with np.load(workdir / "pool.npz") as pool:
        np.testing.assert_array_equal(pool["ids"], teacher.ids)
        assert pool["pixels"].shape == (66, 32, 32, 3)
    rows = load_embeddings(workdir / "teacher_concepts.npz", ids=NAMES).matrix
    first = [f"ilsvrc/{CLASSES[NAMES[i]]}_{j}" for i in (0, 3) for j in range(2)]
    mean = np.mean([teacher.matrix[teacher.ids.tolist().index(name)] for name in first], axis=0)
    np.testing.assert_allclose(rows[-1], mean, rtol=1e-5)

    held_out = {CLASSES[name] for name in names[np.isin(groups, SPLITS[0])][:-1]}
    for name in ("distilled", "aligned"):
        with np.load(workdir / "split0" / f"triplets_{name}.npz") as triplets:
            used = {class_shown(one) for one in triplets["filenames"].flat}
            assert np.array_equal(teacher.ids[triplets["indices"]], triplets["filenames"])
        assert used & set(CLASSES.values()) and not used & held_out and len(used) > 9
        student, _ = students.load_weights(workdir / "split0" / f"{name}.npz")
        assert (student.layer, student.image_size) == (0, 32)
    # Longer warm-ups and cosines are of more steps; a loss of more triplets is another one.
    logged = {}
    for name in photographs.STUDENTS:
        manifest = json.loads((workdir / "split0" / f"{name}.npz.manifest.json").read_text())
        settings = manifest["config"]
        logged[name] = settings["steps"], settings["warmup_steps"], settings["dense"]
    assert logged == {
        "distilled": (4, 2, False),
        "aligned": (4, 2, False),
        "dense": (4, 2, True),
        "aligned_short": (2, 1, False),
        "dense_short": (2, 1, True),
    }
    assert (workdir / "split1" / "ud_teacher.npz").is_file()
    assert not (workdir / "split1" / "aligned.npz").exists()

    capsys.readouterr()
    photographs.run(config, workdir)
    said = capsys.readouterr().err
    assert "up to date, skipped" in said and "running" not in said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data_dir": ""}, "config.data_dir is empty"),
        ({"teacher.weights": ""}, r"config\.teacher\.weights is empty; expected --config\."),
        ({"student.weights": "none.npz"}, r"none\.npz: no such file or folder; expected config\."),
        ({"splits": ((0, 1), (0, 1, 2, 3))}, r"has \(0, 1, 2, 3\); expected some, not all, of the"),
        ({"splits": ((4,),)}, r"has \(4,\); expected some"),
        ({"short_steps": 4}, "short_steps is 4; expected 1 to 3, less than config.distill.steps"),
        ({"n_students": 3}, "n_students is 3; expected 1 to 2"),
        ({"others.n_images": 21}, r"others\.tar\.gz: has 20 photographs; expected 21 or more"),
        ({"others.path": "none"}, "none: no such folder; expected photographs"),
    ],
)
def test_a_wrong_config_is_refused(config, tmp_path, change, expected):
    config.update_from_flattened_dict(change)
    with pytest.raises(InputError, match=expected):
        photographs.run(config, tmp_path / "run")
