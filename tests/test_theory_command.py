"""`python -m theory`: what it writes, and what it says of bad options."""

import json

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
        (["--out=x", "--seed=-1"], "'-1' is not a whole number from 0 on"),
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


def test_a_file_is_no_folder_for_results(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert command.main([f"--out={tmp_path / 'file'}"]) == 2
    assert "is a file; expected a folder" in capsys.readouterr().err


def test_the_package_gives_the_functions():
    for name in theory.__all__:
        assert callable(getattr(theory, name)) and getattr(theory, name).__doc__
    with pytest.raises(AttributeError, match="'theory' has no attribute 'nothing'"):
        _ = theory.nothing
