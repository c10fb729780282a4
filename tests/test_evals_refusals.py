"""What the command `python -m evals` refuses: each time in one sentence, with exit status 2."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alignet import transform
from alignet.data.embeddings import Embeddings, save_embeddings
from evals import __main__ as command
from tests import command_case as case
from tests.evals_case import IDS, X

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def data_dir(tmp_path):
    return case.write_data(tmp_path / "data")


@pytest.fixture
def embeddings(tmp_path):
    return case.write_embeddings(tmp_path / "e.npz")


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
        lambda t, d, e: {"model": "mu16", "weights": case.write_student(t / "s.npz"), "layer": 1},
        "layer 1 does not exist",
    ),
    "unknown eval": (
        lambda t, d, e: {"embeddings": e, "evals": "things,thing"},
        "'thing' is none of things, things_photographs, rsa, uncertainty",
    ),
    "unknown option": (lambda t, d, e: {"embeddings": e, "taau": 1}, "--taau"),
    "abbreviation": (lambda t, d, e: {"embeddings": e, "simi": "dot"}, "--simi"),
    "temperature": (lambda t, d, e: {"embeddings": e, "tau": 0}, "'0' is not a positive number"),
    "seed": (lambda t, d, e: {"embeddings": e, "seed": -1}, "'-1' is not a whole number from 0 on"),
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
    "out is in a file, said first": (
        lambda t, d, e: {"embeddings": t / "no.npz", "out": e / "out"},
        "Not a directory",
    ),
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
        lambda t, d, e: {"checkpoint": case.write_student(t / "student.npz")},
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


@pytest.mark.parametrize("wrong", BAD)
def test_bad_input_ends_in_one_sentence(tmp_path, data_dir, embeddings, capsys, wrong):
    options, message = BAD[wrong][0](tmp_path, data_dir, embeddings), BAD[wrong][1]
    out = tmp_path / "out"
    assert command.main(case.arguments(data_dir, out, **options)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""
    assert not list(out.glob("*"))


def test_too_few_rows_are_named_where_the_objects_have_no_names(tmp_path, data_dir, capsys):
    (data_dir / "things" / "unique_id.txt").unlink()
    options = write(tmp_path / "x.npy", X[:11])
    assert command.main(case.arguments(data_dir, tmp_path / "out", **options)) == 2
    assert "has 11 rows; expected at least 12" in capsys.readouterr().err


def test_the_process_exits_with_2_and_no_traceback(tmp_path, data_dir):
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "evals",
            *case.arguments(data_dir, tmp_path / "out", embeddings="no.npz"),
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
    assert not list((tmp_path / "out").glob("*"))
