"""`python -m theory`: what it writes, and what it says of bad options."""

import json
import re

import numpy as np
import pytest

import theory
from theory import __main__ as command
from theory import claims
from theory.claims import Claim
from theory.plots import Effort, capacity, domain_shift


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("plots")
    assert command.main([f"--out={out}", "--fast", "--seed=3", "--only=capacity,domain_shift"]) == 0
    return out


def test_every_claim_is_written_with_its_numbers(written):
    found = json.loads((written / "theory.json").read_text())
    effort = Effort(fast=True, seed=3)
    expected = [*capacity.part(effort).claims, *domain_shift.part(effort).claims]
    # The same numbers in another process: seeds are all that counts.
    assert found["claims"] == json.loads(json.dumps([claim.as_dict() for claim in expected]))
    assert {claim["verdict"] for claim in found["claims"]} <= set(claims.VERDICTS)
    assert found["seed"] == 3 and found["fast"] and found["parts"] == ["capacity", "domain_shift"]


def test_figures_and_page_are_written(written):
    for name in ("capacity", "domain_shift"):
        assert (written / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (written / "report.html").read_text()
    assert page.count("<figure>") == 2
    for claim in json.loads((written / "theory.json").read_text())["claims"]:
        assert claim["verdict"] in page
    assert {path.name for path in written.iterdir()} == {
        "capacity.png", "domain_shift.png", "report.html", "theory.json",
    }  # fmt: skip


def test_claims_are_told_by_verdict(capsys, written):
    text = command.text(
        [Claim("000", "A.", claims.BOUND, "", {}), Claim("001", "B.", claims.HOLDS, "", {})]
    )
    assert text.splitlines() == ["Holds", "  001: B.", "", "Holds as a bound only", "  000: A."]


def test_numbers_become_plain():
    value = {"a": np.float32(np.inf), "b": np.array([1, 2]), "c": [claims.Measured(1, 0, 2, 3)]}
    assert claims.plain(value) == {
        "a": None, "b": [1, 2], "c": [{"value": 1.0, "low": 0.0, "high": 2.0, "n": 3}],
    }  # fmt: skip


@pytest.mark.parametrize(
    "options, said",
    [
        ([], "required: --out"),
        (["--out=x", "--only=nothing"], "'nothing' is none of representation, capacity"),
        (["--out=x", "--seed=-1"], "'-1' is not a whole number from 0 to 2^63"),
        (["--out=x", "--embedding=nowhere.npy"], "nowhere.npy: no such file; expected embeddings"),
        (["--out=x", "--unknown"], "unrecognized arguments: --unknown; --help lists the options."),
    ],
)
def test_bad_options_are_said_in_one_line(capsys, monkeypatch, tmp_path, options, said):
    monkeypatch.chdir(tmp_path)
    assert command.main(options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All parts, with an embedding whose objects lie in clusters."""
    folder = tmp_path_factory.mktemp("everything")
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(25, 12))
    x = (centres[np.arange(700) % 25] + rng.normal(size=(700, 12))).astype(np.float32)
    np.save(folder / "people.npy", x)
    options = [f"--out={folder / 'out'}", "--fast", f"--embedding={folder / 'people.npy'}"]
    assert command.main(options) == 0
    return folder


def test_all_parts_are_made(everything):
    found = json.loads((everything / "out/theory.json").read_text())
    assert found["parts"] == list(command.PARTS) and len(found["claims"]) == 29
    assert {path.stem for path in (everything / "out").glob("*.png")} == set(command.PARTS)
    page = (everything / "out/report.html").read_text()
    assert "people.npy: is few-shot accuracy U-shaped" in page


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_wrong_with_an_embedding_is_said_before_anything_is_lost(
    everything, capsys, tmp_path, seed
):
    kept = (everything / "out/theory.json").read_bytes()
    x = np.load(everything / "people.npy")
    x[350:] = x[:350]
    np.save(tmp_path / "twice.npy", x)
    options = [f"--out={everything / 'out'}", "--fast", f"--seed={seed}"]
    assert command.main([*options, f"--embedding={tmp_path / 'twice.npy'}"]) == 2
    error = capsys.readouterr().err
    [(first, second)] = re.findall(
        r"twice.npy: rows (\d+) and (\d+) \(from 0\) are the same", error
    )
    assert int(second) - int(first) == 350
    np.save(tmp_path / "few.npy", x[:30])
    assert command.main([*options, f"--embedding={tmp_path / 'few.npy'}"]) == 2
    assert "fewer than two have 12 objects" in capsys.readouterr().err
    options = [*options, "--only=game", f"--embedding={everything / 'people.npy'}"]
    assert command.main(options) == 2
    assert "which --only leaves out" in capsys.readouterr().err
    assert (everything / "out/theory.json").read_bytes() == kept


def test_an_embedding_of_one_dimension(capsys, tmp_path):
    x = np.random.default_rng(0).normal(size=(400, 1)) + 3 * (np.arange(400) % 12)[:, None]
    np.save(tmp_path / "line.npy", x)
    options = ["--fast", "--only=few_shot", f"--embedding={tmp_path / 'line.npy'}"]
    assert command.main([f"--out={tmp_path / 'out'}", *options]) == 0
    assert "line.npy" in (tmp_path / "out/report.html").read_text()


def test_a_file_is_no_folder_for_results(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert command.main([f"--out={tmp_path / 'file'}"]) == 2
    assert "is a file; expected a folder" in capsys.readouterr().err


def test_the_package_gives_the_functions():
    for name in theory.__all__:
        found = getattr(theory, name)
        assert found.__doc__ and (callable(found) or name.isupper())
    with pytest.raises(AttributeError, match="'theory' has no attribute 'nothing'"):
        _ = theory.nothing
