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
from tests import levels_case
from tests.evals_case import IDS, TRIPLETS, X, human_matrix

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def data_dir(tmp_path):
    return case.write_data(tmp_path / "data")


@pytest.fixture
def embeddings(tmp_path):
    return case.write_embeddings(tmp_path / "e.npz")


class Pickled:
    """Leaves a file behind if it is ever loaded."""

    def __reduce__(self):
        return open, ("sprung", "w")


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    return {"embeddings": path}


def write_ids(path, ids, matrix, **options):
    np.savez(path, ids=ids, embeddings=matrix)
    return {"embeddings": path} | options


def write_transform(path, width):
    one = np.array(1.0)
    transform.save_transform(path, transform.Transform(one, one, np.eye(width), np.zeros(width)))
    return path


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {"embeddings": path}


def empty(folder):
    folder.mkdir()
    return folder


def without(path, **options):
    path.unlink()
    return options


def replaced(path, text, **options):
    path.write_text(text)
    return options


def with_human(data_dir, fruits, **options):
    np.savez(data_dir / "peterson" / "similarity.npz", fruits=fruits, various=human_matrix())
    return options | {"evals": "peterson"}


def with_mapping(data_dir, **options):
    case.write_mapping(data_dir, ["object00,n1,"])
    return options


def with_levels(data_dir, **options):
    levels_case.write_votes(data_dir, [[5, 0, 0], [2, 2, 1]])
    return options | {"evals": "levels"}


def with_few(data_dir, n):
    """A set of so few photographs, and a model of them."""
    human = human_matrix()[:n, :n]
    np.savez(data_dir / "peterson" / "similarity.npz", fruits=human)
    names = ", ".join(f'"{name}.jpg"' for name in IDS[:n])
    (data_dir / "peterson" / "filenames.json").write_text(f'{{"fruits": [{names}]}}')
    return {"evals": "peterson"}


def changed(rows, value, *, where=3):
    return np.where(np.arange(len(rows))[:, None] == where, value, rows)


ONE_NAN = human_matrix()
ONE_NAN[2, 5] = ONE_NAN[5, 2] = np.nan

# What is wrong: options made from (temporary folder, data folder, good embeddings), and the answer.
OPTIONS = {
    "no model": (
        lambda t, d, e: {},
        "one of the arguments --embeddings --checkpoint --model --saved_model is required",
    ),
    "both": (lambda t, d, e: {"embeddings": e, "checkpoint": t}, "not allowed with argument"),
    "model without weights": (lambda t, d, e: {"model": "mu16"}, "--model needs --weights"),
    "weights without model": (
        lambda t, d, e: {"embeddings": e, "weights": e},
        "--weights needs --model",
    ),
    "layer of embeddings": (lambda t, d, e: {"embeddings": e, "layer": 3}, "--layer needs --model"),
    "output of embeddings": (
        lambda t, d, e: {"embeddings": e, "output": "pre_logits"},
        "--output needs --saved_model",
    ),
    "layer is no number": (lambda t, d, e: {"model": "mu16", "layer": "x"}, "--layer"),
    "unknown model": (lambda t, d, e: {"model": "m", "weights": e}, "model 'm' is unknown"),
    "unknown eval": (
        lambda t, d, e: {"embeddings": e, "evals": "things,rsa"},
        "'rsa' is none of things, things_photographs, uncertainty, levels, peterson, king, cichy, "
        "kriegeskorte92, between_models",
    ),
    "no eval": (lambda t, d, e: {"embeddings": e, "evals": ""}, "'' is none of things"),
    "unknown option": (lambda t, d, e: {"embeddings": e, "taau": 1}, "--taau"),
    "abbreviation": (lambda t, d, e: {"embeddings": e, "simi": "dot"}, "--simi"),
    "similarity": (lambda t, d, e: {"embeddings": e, "similarity": "l2"}, "'l2'"),
    "no out": (lambda t, d, e: {"embeddings": e, "out": None}, "--out"),
    **{
        f"{option} {value}": (
            lambda t, d, e, option=option, value=value: {"embeddings": e, option: value},
            f"--{option}: '{value}' is not a {kind}",
        )
        for option, kind, values in (
            ("tau", "positive number", ("0", "-1", "nan", "inf", "1e-400", "", "one")),
            ("seed", "whole number", ("-1", "1.5", "x", "")),
            ("resamples", "whole number", ("0", "1", "-1", "1e3")),
            ("levels_min_votes", "whole number", ("-1", "4.5")),
            ("levels_max_seconds", "positive number", ("0", "x")),
        )
        for value in values
    },
    "mask_missing has no value": (
        lambda t, d, e: {"embeddings": e, "mask_missing": "yes"},
        "--mask_missing",
    ),
    "out is a file": (lambda t, d, e: {"embeddings": e, "out": e}, "expected a folder"),
    "out is in a file, said first": (
        lambda t, d, e: {"embeddings": t / "no.npz", "out": e / "out"},
        "Not a directory",
    ),
}
MODELS = {
    "absent embeddings": (lambda t, d, e: {"embeddings": t / "no.npz"}, "no.npz: no such file"),
    "a pattern without files": (
        lambda t, d, e: {"embeddings": t / "no*.npz"},
        "no*.npz: no such file; expected embeddings",
    ),
    "a folder": (lambda t, d, e: {"embeddings": t}, "a folder is one model with a file a set"),
    "absent checkpoint": (lambda t, d, e: {"checkpoint": t}, "expected a student's weights"),
    "absent saved model": (lambda t, d, e: {"saved_model": t / "no"}, "no: "),
    "nan": (
        lambda t, d, e: write(t / "x.npy", np.where(np.arange(60).reshape(12, 5) == 7, np.nan, X)),
        "row 1, column 2 (both from 0) is nan; expected finite numbers",
    ),
    "infinity": (lambda t, d, e: write(t / "x.npy", changed(X, np.inf)), "is inf; expected finite"),
    "rows": (lambda t, d, e: write(t / "x.npy", X[:11]), "has 11 rows and no ids; expected 12"),
    "no rows": (lambda t, d, e: write(t / "x.npy", X[:0]), "the embeddings are empty"),
    "integers": (lambda t, d, e: write(t / "x.npy", np.ones((12, 2), int)), "of type int64"),
    "objects": (
        lambda t, d, e: write(t / "x.npy", np.array([[Pickled()]], object)),
        "pickled objects are never loaded",
    ),
    "pickle": (lambda t, d, e: write(t / "x.npz", b"\x80\x04K\x01."), "not a whole NumPy file"),
    "pickle inside": (
        lambda t, d, e: write_ids(t / "x.npz", np.array([Pickled()] * 12, object), X),
        "x.npz: ",
    ),
    "text": (lambda t, d, e: write(t / "x.npy", b"1 2 3\n4 5 6\n"), "not a whole NumPy file"),
    "truncated": (lambda t, d, e: truncated(e), "e.npz: not a whole NumPy file"),
    "ids": (
        lambda t, d, e: write_ids(t / "x.npz", np.char.add(IDS, "b"), X),
        "x.npz: not all of things is there: 12 of 12 expected ids are missing (object00, object01, "
        "object02, …) and it has 12 others (object00b, object01b, object02b, …)",
    ),
    "repeated ids": (
        lambda t, d, e: write_ids(t / "x.npz", np.array([*IDS, "object05"]), X[[*range(12), 0]]),
        "x.npz: 1 ids name more than one row: object05",
    ),
    "one bad file of several": (
        lambda t, d, e: write(t / "f.npz", b"") | {"embeddings": f"{t}/[ef].npz"},
        "f.npz: not a whole NumPy file",
    ),
    "constant row": (
        lambda t, d, e: write_ids(t / "x.npz", IDS, changed(X, 1.0), evals="peterson"),
        "x.npz, peterson/fruits: row 3 (from 0) of the embeddings is constant",
    ),
    "no variance": (
        lambda t, d, e: write_ids(t / "x.npz", IDS, np.tile(X[:1], (12, 1)), evals="peterson"),
        "x.npz, peterson/fruits: the model's pearson similarities of all 66 pairs are equal",
    ),
    "zero row": (
        lambda t, d, e: write(t / "x.npy", changed(X, 0.0)) | {"similarity": "cosine"},
        "x.npy: row 3 (from 0) of the embeddings is all zeros",
    ),
    "too large": (lambda t, d, e: write(t / "x.npy", X * 1e200), "finite numbers below 1e+30"),
    "absent transform": (lambda t, d, e: {"embeddings": e, "transform": t / "no.npz"}, "no.npz: "),
    "narrow transform": (
        lambda t, d, e: {"embeddings": e, "transform": write_transform(t / "t.npz", width=4)},
        "e.npz: the embeddings have 5 columns",
    ),
    "no photographs": (
        lambda t, d, e: {"checkpoint": case.write_student(t / "student.npz")},
        "student.npz: there are no photographs of things",
    ),
    "nothing for an eval": (
        lambda t, d, e: write(t / "x.npy", X) | {"evals": "things,peterson"},
        "x.npy: its rows have no ids; expected an .npz",
    ),
    "nothing at all": (
        lambda t, d, e: write_ids(t / "x.npz", IDS[:2], X[:2], evals=None),
        "x.npz: nothing could be measured; things: not all of things is there",
    ),
    "no class of ILSVRC": (
        lambda t, d, e: with_mapping(d, embeddings=e, evals="things_photographs"),
        "e.npz: no id is, or begins with, the WordNet id of an ILSVRC class",
    ),
    "too few objects to compare models": (
        lambda t, d, e: {"embeddings": e, "evals": "between_models"},
        "12 objects are too few to compare representations",
    ),
}
DATA = {
    "no triplets": (
        lambda t, d, e: without(d / "things" / "triplets.txt", embeddings=e),
        "triplets.txt: no such file; expected odd-one-out triplets",
    ),
    "no data": (
        lambda t, d, e: {"embeddings": e, "data_dir": t / "none", "evals": None},
        "none: no such folder; expected the data",
    ),
    "no choices": (
        lambda t, d, e: {"embeddings": e, "data_dir": empty(t / "empty")},
        "triplets.txt: no such file; expected odd-one-out triplets (the THINGS",
    ),
    "nothing in the folder": (
        lambda t, d, e: {"embeddings": e, "data_dir": empty(t / "empty"), "evals": None},
        "e.npz: nothing could be measured; things: ",
    ),
    "no levels": (lambda t, d, e: {"embeddings": e, "evals": "levels"}, "levels: no .json files"),
    "no mapping": (
        lambda t, d, e: {"embeddings": e, "evals": "things_photographs"},
        "ilsvrc.csv: no such file; expected a table",
    ),
    "no names": (
        lambda t, d, e: without(
            d / "things" / "sortindex",
            **with_mapping(d, embeddings=e, evals="things_photographs"),
        ),
        "things: objects have no names",
    ),
    "peterson without its matrices": (
        lambda t, d, e: without(d / "peterson" / "similarity.npz", embeddings=e, evals="peterson"),
        "similarity.npz: no such file",
    ),
    "truncated peterson": (
        lambda t, d, e: replaced(
            d / "peterson" / "similarity.npz", "", embeddings=e, evals="peterson"
        ),
        "similarity.npz: not a whole .npz",
    ),
    "peterson's names": (
        lambda t, d, e: replaced(
            d / "peterson" / "filenames.json",
            '{"fruits": ["a.png"], "various": []}',
            embeddings=e,
            evals="peterson",
        ),
        "fruits: people's matrix has shape [12, 12]; expected [1, 1]",
    ),
    "a pair is not known": (
        lambda t, d, e: with_human(d, ONE_NAN, embeddings=e),
        "people's matrix is nan at row 2, column 5 (from 0); expected a number; with --mask",
    ),
    "nothing is known": (
        lambda t, d, e: with_human(d, np.full((12, 12), np.nan), embeddings=e, mask_missing=True),
        "similarity.npz",
    ),
    "dissimilarities": (
        lambda t, d, e: with_human(d, 1 - human_matrix(), embeddings=e),
        "not a similarity matrix",
    ),
    **{
        f"{n} photographs": (
            lambda t, d, e, n=n: with_few(d, n) | {"embeddings": e},
            message,
        )
        for n, message in ((2, "3 or more"), (3, "3 objects are too few"))
    },
    "triplet out of range": (
        lambda t, d, e: replaced(d / "things" / "triplets.txt", "0 1 2\n3 4 12\n", embeddings=e),
        "triplets.txt, row 2",
    ),
    "levels' filters": (
        lambda t, d, e: with_levels(d, embeddings=e, levels_min_votes=6),
        "min_votes is 6 and max_votes 5",
    ),
    "levels' ties": (
        lambda t, d, e: with_levels(d, embeddings=e, levels_ties="lucky"),
        "ties",
    ),
    "a damaged bundle of levels": (
        lambda t, d, e: (
            replaced(d / "levels" / "participant_0.json", "{", **with_levels(d)) | {"embeddings": e}
        ),
        "participant_0.json, line 1: '{' is not JSON",
    ),
    "no uncertainty": (
        lambda t, d, e: {"embeddings": e, "evals": "uncertainty", "human_uncertainty": t / "no"},
        "no: no such file; expected finite floats",
    ),
    "uncertainty of other triplets": (
        lambda t, d, e: (
            write(t / "u.npy", np.ones(len(TRIPLETS) - 1))
            | {"embeddings": e, "evals": "uncertainty", "human_uncertainty": t / "u.npy"}
        ),
        "u.npy: has shape [219]; expected finite floats of shape [220]",
    ),
}


@pytest.mark.parametrize("wrong", [*OPTIONS, *MODELS, *DATA])
def test_bad_input_ends_in_one_sentence(tmp_path, data_dir, embeddings, capsys, monkeypatch, wrong):
    make, message = (OPTIONS | MODELS | DATA)[wrong]
    options = make(tmp_path, data_dir, embeddings)
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    assert command.main(case.arguments(data_dir, out, **options)) == 2
    captured = capsys.readouterr()
    *progress, error = captured.err.splitlines()
    assert all(line.startswith("evals: ") for line in progress)
    assert not progress or wrong not in OPTIONS
    assert error.startswith("error: ")
    assert message in error
    assert captured.out == ""
    assert not list(out.glob("*"))
    assert not (tmp_path / "sprung").exists()


def test_too_few_rows_are_named_where_the_objects_have_no_names(tmp_path, data_dir, capsys):
    (data_dir / "things" / "unique_id.txt").unlink()
    options = write(tmp_path / "x.npy", X[:11])
    assert command.main(case.arguments(data_dir, tmp_path / "out", **options)) == 2
    assert "has 11 rows; expected at least 12" in capsys.readouterr().err


def test_a_failed_run_leaves_the_one_before_as_it_was(tmp_path, data_dir, embeddings, capsys):
    out = tmp_path / "out"
    assert command.main(case.arguments(data_dir, out, embeddings=embeddings)) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    bad = write(tmp_path / "x.npy", X[:11])
    assert command.main(case.arguments(data_dir, out, **bad)) == 2
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_model_without_variance_makes_no_choice(tmp_path, data_dir, capsys):
    save_embeddings(tmp_path / "x.npz", Embeddings(IDS, np.tile(X[:1], (12, 1))))
    out = tmp_path / "out"
    assert command.main(case.arguments(data_dir, out, embeddings=tmp_path / "x.npz")) == 0
    accuracy = case.scores(out, "things", "x")["all", "accuracy"]
    assert [accuracy[key] for key in ("value", "low", "high")] == [0, 0, 0]
    assert "things: 220 triplets have no single most similar pair" in capsys.readouterr().out


def test_the_process_exits_with_2_and_no_traceback(tmp_path, data_dir, environment):
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "evals",
            *case.arguments(data_dir, tmp_path / "out", embeddings="no.npz"),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1
    assert "Traceback" not in run.stderr
    assert not list((tmp_path / "out").glob("*"))
