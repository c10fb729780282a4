"""The command `python -m evals`: its options, its files, and what it says of bad input."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from alignet import students, transform
from alignet.data.embeddings import Embeddings, save_embeddings
from alignet.data.images import Images, load_images, save_images
from evals import __main__ as command
from evals import rsa, things
from tests.evals_case import IDS, TRIPLETS, X, human_matrix

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def data_dir(tmp_path):
    """A small world in the shape of the public data: 12 objects and a set of photographs."""
    data = tmp_path / "data"
    (data / "things").mkdir(parents=True)
    (data / "peterson").mkdir()
    np.savetxt(data / "things" / "triplets.txt", TRIPLETS, fmt="%d")
    # RAW order is IDS; two objects move in the SORTED order of unique_id.txt.
    order = np.array([0, 2, 1, *range(3, 12)])
    (data / "things" / "unique_id.txt").write_text("\n".join(IDS[order]) + "\n")
    np.savetxt(data / "things" / "sortindex", order, fmt="%d")
    human = human_matrix()
    np.savez(data / "peterson" / "similarity.npz", fruits=human, various=human)
    names = {"fruits": [f"{name}.jpg" for name in IDS], "various": [f"v{i}.png" for i in range(12)]}
    (data / "peterson" / "filenames.json").write_text(json.dumps(names))
    return data


@pytest.fixture
def embeddings(tmp_path):
    """The rows of X, in another order, beside some that are no THINGS objects."""
    path = tmp_path / "e.npz"
    shuffled = np.random.default_rng(0).permutation(12)
    ids = np.concatenate([IDS[shuffled], ["other"]])
    save_embeddings(path, Embeddings(ids, np.concatenate([X[shuffled], X[:1]])))
    return path


def arguments(data, folder, **options):
    options = {"evals": "things", "data_dir": data, "out": folder} | options
    return [f"--{name}={value}" for name, value in options.items()]


def test_command(tmp_path, data_dir, embeddings):
    out = tmp_path / "deep" / "out"
    p_star = tmp_path / "p_star.npy"
    np.save(p_star, np.random.default_rng(0).dirichlet(np.ones(3), size=len(TRIPLETS)))
    options = {"embeddings": embeddings, "evals": "things,rsa,uncertainty", "tau": 2, "seed": 3}
    options["human_uncertainty"] = p_star
    run = subprocess.run(
        [sys.executable, "-m", "evals", *arguments(data_dir, out, **options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")
    results = json.loads((out / "results.json").read_text())
    score = things.run(X, TRIPLETS, tau=2.0)
    assert results["things"]["accuracy"] == score.accuracy.as_dict()
    assert results["things"]["cross_entropy"]["value"] == pytest.approx(score.cross_entropy.value)
    expected = rsa.run(X, human_matrix(), seed=3)
    assert results["rsa"]["fruits"]["pearson"]["value"] == pytest.approx(expected.pearson.value)
    assert results["rsa_skipped"].keys() == {"various", "kriegeskorte92"}
    assert [entry["tau"] for entry in results["uncertainty"]] == [0.1, 1, 2, 10, 100]
    assert all(entry["spearman"]["n"] == 220 for entry in results["uncertainty"])
    assert results["settings"]["seed"] == 3
    assert {Path(path).name for path in results["inputs"]} == {
        "e.npz", "triplets.txt", "similarity.npz", "filenames.json", "p_star.npy"
    }  # fmt: skip
    assert "numpy" in results["versions"]
    assert f"{score.accuracy.value:.4f} [{score.accuracy.low:.4f}, " in run.stdout
    assert "rsa: various skipped: 12 of its 12 ids are not in" in run.stdout
    assert run.stdout.splitlines()[-2:] == [
        f"Results: {out / 'results.json'}",
        f"Report:  {out / 'report.html'}",
    ]
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "results.json"]
    report = (out / "report.html").read_text()
    assert report.count("<figure>") == 2  # a figure for things, one for fruits
    assert f"{score.accuracy.value:.4f}" in report
    assert results["config_hash"] in report


def test_command_takes_a_plain_matrix_in_raw_order(tmp_path, data_dir, capsys):
    path = tmp_path / "e.npy"
    np.save(path, X)
    options = {"embeddings": path, "similarity": "cosine"}
    assert command.main(arguments(data_dir, tmp_path / "out", **options)) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    expected = things.run(X, TRIPLETS, similarity="cosine")
    assert results["things"]["accuracy"] == expected.accuracy.as_dict()
    assert "ties" in capsys.readouterr().out


def test_command_applies_a_transform(tmp_path, data_dir, embeddings):
    rng = np.random.default_rng(0)
    ud = transform.Transform(
        np.array(0.1), np.array(2.0), rng.normal(size=(5, 5)), rng.normal(size=5)
    )
    transform.save_transform(tmp_path / "t.npz", ud)
    options = {"embeddings": embeddings, "transform": tmp_path / "t.npz"}
    assert command.main(arguments(data_dir, tmp_path / "out", **options)) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    expected = things.run((X - 0.1) / 2 @ ud.W + ud.b, TRIPLETS)
    assert results["things"]["accuracy"] == expected.accuracy.as_dict()
    assert expected.accuracy != things.run(X, TRIPLETS).accuracy


def test_command_embeds_images_with_a_checkpoint(tmp_path, data_dir):
    student = students.Student("mu/16", 16, "gap")
    params = students.init(student, jax.random.key(0))
    workdir = tmp_path / "workdir"
    students.save_weights(workdir / "student.npz", student, params)
    pixels = np.random.default_rng(0).integers(256, size=(12, 24, 24, 3)).astype(np.uint8)
    order = np.random.default_rng(1).permutation(12)
    images = Images(IDS[order], pixels[order])
    save_images(data_dir / "things" / "images.npz", images)
    (data_dir / "peterson" / "images" / "fruits").mkdir(parents=True)
    for name, image in zip(IDS, pixels, strict=True):
        Image.fromarray(image).save(data_dir / "peterson" / "images" / "fruits" / f"{name}.png")
    options = {"checkpoint": workdir, "evals": "things,rsa"}
    assert command.main(arguments(data_dir, tmp_path / "out", **options)) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    photographs = load_images(
        data_dir / "peterson" / "images" / "fruits",
        resize=functools.partial(students.resize, student),
    )
    assert photographs.ids.tolist() == list(IDS)
    embedded = students.embed(student, params, photographs.pixels)
    expected = things.run(embedded, TRIPLETS)
    assert results["things"]["accuracy"] == expected.accuracy.as_dict()
    cosine = rsa.run(embedded, human_matrix()).cosine
    assert results["rsa"]["fruits"]["cosine"]["value"] == pytest.approx(cosine.value, abs=1e-3)
    assert "no photographs" in results["rsa_skipped"]["various"]


RDMS = 1 - np.stack([human_matrix(), np.corrcoef(X)])
CLASSES = {name: f"n{number:02d}" for number, name in enumerate(IDS[:8])}


@pytest.fixture
def photographs_dir(data_dir):
    """The same world with photographs of its own: two of some objects' classes, and "the 92"."""
    pixels = np.random.default_rng(2).integers(256, size=(13, 20, 24, 3)).astype(np.uint8)
    (data_dir / "kriegeskorte92").mkdir()
    np.savez(
        data_dir / "kriegeskorte92" / "kriegeskorte92.npz", images=pixels[:12], behav_rdms=RDMS
    )
    lines = ["uniqueID,wnids,ilsvrc_exact,ilsvrc_hyponyms,ilsvrc_hypernyms"]
    for name, wnid in CLASSES.items():
        # One is no class itself: it has two under it, of which one is another object's.
        under = name == IDS[7]
        lines.append(f"{name},,{'' if under else wnid},{f'{wnid}|n00' if under else ''},")
    (data_dir / "imagenet").mkdir()
    (data_dir / "imagenet" / "DERIVED_things_to_ilsvrc.csv").write_text("\n".join(lines))
    folder = data_dir / "images" / "imagenet_sample_1000"
    folder.mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"n{number:02d}_name_{number}.png")
    return data_dir


def concept_means(rows):
    """Rows of the concepts by hand: the class's own, but for the last."""
    return np.stack([*rows[:7], (rows[7] + rows[0]) / 2])


def test_command_scores_photographs_by_the_ids_of_an_embeddings_file(
    tmp_path, photographs_dir, capsys
):
    path, rng = tmp_path / "e.npz", np.random.default_rng(3)
    rows, others = rng.normal(size=(8, 5)), rng.normal(size=(12, 5))
    ids = [f"{wnid}_photo" for wnid in CLASSES.values()]
    ids += [f"kriegeskorte92_{i:02d}" for i in range(12)]
    save_embeddings(path, Embeddings(np.array(ids), np.concatenate([rows, others])))
    vice = rng.random(size=(12, 4))
    np.save(photographs_dir / "things" / "vice_embedding.npy", vice)
    options = {"embeddings": path, "evals": "rsa,things_photographs", "seed": 1}
    assert command.main(arguments(photographs_dir, tmp_path / "out", **options)) == 0

    results = json.loads((tmp_path / "out" / "results.json").read_text())
    for key, n in (("exact", 7), ("exact_or_hyponyms", 8)):
        found = results["things_photographs"][key]
        chosen = TRIPLETS[(n > TRIPLETS).all(axis=1)]
        means = concept_means(rows)[:n]
        accuracy = things.run(means, chosen).accuracy
        assert found["concepts"] == n
        assert found["independent_answers"] == accuracy.as_dict()
        assert found["accuracy"]["value"] == accuracy.value
        assert found["vice"]["accuracy"]["value"] == things.run(vice, chosen).accuracy.value
        similar = rsa.run(means, vice[:n] @ vice[:n].T, seed=1)
        assert found["spearman_with_vice_cosine"] == pytest.approx(similar.cosine.as_dict())
    expected = rsa.run(others, RDMS.mean(axis=0), kind="dissimilarity", seed=1)
    assert results["rsa"]["kriegeskorte92"]["pearson"] == expected.pearson.as_dict()
    assert set(results["rsa_skipped"]) == {"fruits", "various"}
    assert "the noise ceiling with one person is" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").read_text().count("<figure>") == 2


def test_command_embeds_photographs_with_a_pretrained_model(tmp_path, photographs_dir, capsys):
    student = students.Student("mu/16", 32, "map")
    params = students.init(student, jax.random.key(0))
    students.save_weights(tmp_path / "weights.npz", student, params)
    options = {
        "model": "mu16",
        "weights": tmp_path / "weights.npz",
        "image_size": 32,
        "layer": 0,
        "evals": "rsa,things_photographs",
    }
    assert command.main(arguments(photographs_dir, tmp_path / "out", **options)) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["settings"]["layer"] == 0
    assert "weights.npz" in {Path(path).name for path in results["inputs"]}

    embedder = students.load("mu16", weights=tmp_path / "weights.npz", image_size=32, layer=0)
    folder = photographs_dir / "images" / "imagenet_sample_1000"
    rows = embedder(folder)
    score = things.run(concept_means(rows), TRIPLETS[(TRIPLETS < 8).all(axis=1)])
    found = results["things_photographs"]["exact_or_hyponyms"]
    assert found["accuracy"]["value"] == score.accuracy.value
    with np.load(photographs_dir / "kriegeskorte92" / "kriegeskorte92.npz") as archive:
        rows = embedder(archive["images"])
    expected = rsa.run(rows, RDMS.mean(axis=0), kind="dissimilarity")
    value = results["rsa"]["kriegeskorte92"]["cosine"]["value"]
    assert value == pytest.approx(expected.cosine.value, abs=1e-3)
    assert "mu16, layer 0: images" in capsys.readouterr().err


# What is taken away or replaced, and why things_photographs is skipped.
ABSENT = {
    "mapping": ("imagenet/DERIVED_things_to_ilsvrc.csv", "there is no"),
    "names": ("things/sortindex", "have no names"),
    "photographs": ("images/imagenet_sample_1000", "there are no photographs at"),
}


@pytest.mark.parametrize("what", ABSENT)
def test_photographs_without_their_data_are_skipped(tmp_path, photographs_dir, capsys, what):
    place, reason = ABSENT[what]
    (photographs_dir / place).rename(photographs_dir / "away")
    options = {"checkpoint": write_student(tmp_path / "student.npz"), "evals": "things_photographs"}
    assert command.main(arguments(photographs_dir, tmp_path / "out", **options)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "nothing could be measured; things_photographs skipped: " in error
    assert reason in error


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    return {"embeddings": path}


def write_ids(path, ids, matrix):
    save_embeddings(path, Embeddings(ids, matrix))
    return {"embeddings": path}


def write_transform(path, width):
    one = np.array(1.0)
    transform.save_transform(path, transform.Transform(one, one, np.eye(width), np.zeros(width)))
    return path


def write_student(path):
    student = students.Student("mu/16", 16, "gap")
    students.save_weights(path, student, students.init(student, jax.random.key(0)))
    return path


def without(path, **options):
    path.unlink()
    return options


def replaced(path, text, **options):
    path.write_text(text)
    return options


def with_mapping(data_dir, **options):
    path = data_dir / "imagenet" / "DERIVED_things_to_ilsvrc.csv"
    path.parent.mkdir()
    path.write_text("uniqueID,ilsvrc_exact,ilsvrc_hyponyms\nobject00,n1,\n")
    return options


# What is wrong: options made from (temporary folder, data folder, good embeddings), and the answer.
BAD = {
    "no model": (
        lambda t, d, e: {},
        "one of the arguments --embeddings --checkpoint --model is required",
    ),
    "both": (lambda t, d, e: {"embeddings": e, "checkpoint": t}, "not allowed with argument"),
    "model and embeddings": (
        lambda t, d, e: {"embeddings": e, "model": "ti16"},
        "not allowed with",
    ),
    "model without weights": (lambda t, d, e: {"model": "mu16"}, "--model needs --weights"),
    "weights without model": (
        lambda t, d, e: {"embeddings": e, "weights": e},
        "--weights needs --model",
    ),
    "layer of embeddings": (lambda t, d, e: {"embeddings": e, "layer": 3}, "--layer needs --model"),
    "layer is no number": (lambda t, d, e: {"model": "mu16", "layer": "x"}, "--layer"),
    "unknown model": (lambda t, d, e: {"model": "m", "weights": e}, "model 'm' is unknown"),
    "no such layer": (
        lambda t, d, e: {"model": "mu16", "weights": write_student(t / "s.npz"), "layer": 1},
        "layer 1 does not exist",
    ),
    "unknown eval": (
        lambda t, d, e: {"embeddings": e, "evals": "things,thing"},
        "'thing' is none of things, things_photographs, rsa, uncertainty",
    ),
    "unknown option": (lambda t, d, e: {"embeddings": e, "taau": 1}, "--taau"),
    "abbreviation": (lambda t, d, e: {"embeddings": e, "simi": "dot"}, "--simi"),
    "temperature": (lambda t, d, e: {"embeddings": e, "tau": 0}, "'0' is not a positive number"),
    "absent embeddings": (lambda t, d, e: {"embeddings": t / "no.npz"}, "no.npz: no such file"),
    "absent checkpoint": (lambda t, d, e: {"checkpoint": t}, "expected a student's weights"),
    "nan": (
        lambda t, d, e: write(t / "x.npy", np.where(np.arange(60).reshape(12, 5) == 7, np.nan, X)),
        "(both from 0) is nan; expected finite numbers",
    ),
    "rows": (lambda t, d, e: write(t / "x.npy", X[:11]), "has 11 rows and no ids; expected 12"),
    "object array": (
        lambda t, d, e: write(t / "x.npy", np.array([[None]])),
        "pickled objects are never loaded",
    ),
    "text": (lambda t, d, e: write(t / "x.npy", b"1 2 3\n4 5 6\n"), "not a whole NumPy file"),
    "ids": (
        lambda t, d, e: write_ids(t / "x.npz", np.char.add(IDS, "b"), X),
        "12 of the 12 expected ids are missing: object00, object01, object02, …",
    ),
    "out is a file": (lambda t, d, e: {"embeddings": e, "out": e}, "expected a folder"),
    "out is in a file": (lambda t, d, e: {"embeddings": e, "out": e / "out"}, "Not a directory"),
    "absent transform": (
        lambda t, d, e: {"embeddings": e, "transform": t / "no.npz"},
        "no.npz: ",
    ),
    "constant row": (
        lambda t, d, e: (
            write_ids(t / "x.npz", IDS, np.where(np.arange(12) == 3, 1, X.T).T) | {"evals": "rsa"}
        ),
        "x.npz, fruits: row 3 (from 0) of the embeddings is constant",
    ),
    "zero row": (
        lambda t, d, e: (
            write(t / "x.npy", np.where(np.arange(12) == 3, 0, X.T).T) | {"similarity": "cosine"}
        ),
        "x.npy: row 3 (from 0) of the embeddings is all zeros",
    ),
    "narrow transform": (
        lambda t, d, e: {"embeddings": e, "transform": write_transform(t / "t.npz", width=4)},
        "e.npz: the embeddings have 5 columns",
    ),
    "no images": (
        lambda t, d, e: {"checkpoint": write_student(t / "student.npz")},
        "images",
    ),
    "no triplets": (
        lambda t, d, e: without(d / "things" / "triplets.txt", embeddings=e),
        "triplets.txt: no such file; expected odd-one-out triplets",
    ),
    "no data": (lambda t, d, e: {"embeddings": e, "data_dir": t / "none"}, "f5rn6"),
    "no peterson": (
        lambda t, d, e: without(d / "peterson" / "similarity.npz", embeddings=e, evals="rsa"),
        "similarity.npz: no such file; expected the similarity judgments",
    ),
    "truncated peterson": (
        lambda t, d, e: replaced(d / "peterson" / "similarity.npz", "", embeddings=e, evals="rsa"),
        "similarity.npz: not a whole .npz",
    ),
    "peterson names": (
        lambda t, d, e: replaced(
            d / "peterson" / "filenames.json",
            '{"fruits": ["a.png"], "various": []}',
            embeddings=e,
            evals="rsa",
        ),
        "fruits: people's matrix has shape [12, 12]; expected [1, 1]",
    ),
    "no photographs": (
        lambda t, d, e: with_mapping(d, embeddings=e, evals="things_photographs"),
        "things_photographs skipped: no row's id is, or begins with, the WordNet id of a class",
    ),
    "nothing to do": (
        lambda t, d, e: write(t / "x.npy", X) | {"evals": "rsa"},
        "nothing could be measured; rsa: fruits skipped: the embeddings have no ids",
    ),
    "triplet out of range": (
        lambda t, d, e: replaced(d / "things" / "triplets.txt", "0 1 2\n3 4 12\n", embeddings=e),
        "triplets.txt, row 2",
    ),
    "no uncertainty": (
        lambda t, d, e: {"embeddings": e, "evals": "uncertainty", "human_uncertainty": t / "no"},
        "no: no such file; expected finite floats",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_sentence(tmp_path, data_dir, embeddings, capsys, case):
    options, message = BAD[case][0](tmp_path, data_dir, embeddings), BAD[case][1]
    out = tmp_path / "out"
    assert command.main(arguments(data_dir, out, **options)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""
    assert not out.exists()


def test_too_few_rows_are_named_where_the_objects_have_no_names(tmp_path, data_dir, capsys):
    (data_dir / "things" / "unique_id.txt").unlink()
    options = write(tmp_path / "x.npy", X[:11])
    assert command.main(arguments(data_dir, tmp_path / "out", **options)) == 2
    assert "has 11 rows; expected at least 12" in capsys.readouterr().err


def test_the_process_exits_with_2_and_no_traceback(tmp_path, data_dir):
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "evals",
            *arguments(data_dir, tmp_path / "out", embeddings="no.npz"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()
