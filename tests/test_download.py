"""The command that downloads data sets: what it does, leaves alone, tells, and survives."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from alignet.data import download, transfer
from alignet.data.layout import Folder
from alignet.data.sources import File, Source
from tests import http_case
from tests.http_case import CONTENT, HALF, HURRIED, OTHER, SHA256


@pytest.fixture
def server():
    with http_case.running() as server:
        server.contents["/a.bin"] = CONTENT
        yield server


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def sources(server):
    server.contents["/b.zip"] = zipped({"release/train.txt": "1 2 3\n", "release/test.txt": "4\n"})
    unpacked = Folder("things", ("train.txt", "test.txt"))
    return (
        Source(
            name="things",
            about="choices",
            licence="CC-BY-4.0",
            page="https://example.org/things",
            layouts=((unpacked, Folder("things", ("a.bin",))),),
            files=(
                File(server.url("/a.bin"), "things/a.bin", SHA256, len(CONTENT)),
                File(server.url("/b.zip"), "things/b.zip", unpack=unpacked),
            ),
        ),
        Source(
            name="vice",
            about="means",
            licence="GPL-3.0",
            page="https://example.org/vice",
            layouts=((Folder("vice", ("vice.npy",)),),),
            files=(File(server.url("/vice.npy"), "vice/vice.npy"),),
        ),
        Source(
            name="levels",
            about="votes",
            licence="ask",
            page="https://example.org/levels",
            layouts=((Folder("levels", ("*.json",)),),),
            manual="Ask for the files and put them into levels/.",
        ),
    )


@pytest.fixture
def run(sources, tmp_path, capsys):
    def run(*arguments):
        status = download.main(
            [*arguments, f"--data_dir={tmp_path}"], sources=sources, patience=HURRIED
        )
        return status, *capsys.readouterr()

    return run


def test_a_data_set_is_downloaded_and_then_left_alone(run, server, tmp_path):
    status, out, err = run("things")
    assert status == 0 and "all there" in out
    assert (tmp_path / "things" / "a.bin").read_bytes() == CONTENT
    assert (tmp_path / "things" / "train.txt").read_text() == "1 2 3\n"
    names = {path.name for path in (tmp_path / "things").iterdir()}
    assert names == {"a.bin", "train.txt", "test.txt"}
    assert err.count("warning:") == 1 and "b.zip: no hash of it is published" in err

    asked = len(server.asked)
    status, out, err = run("things")
    assert (status, err) == (0, "") and out.count(": there") == 2
    assert len(server.asked) == asked


def test_a_first_seen_file_is_held_to_its_hash(run, server, tmp_path):
    server.contents["/vice.npy"] = CONTENT
    target, ledger = tmp_path / "vice" / "vice.npy", tmp_path / "downloads.json"
    assert run("vice")[0] == 0
    entries = json.loads(ledger.read_text())
    assert entries == {server.url("/vice.npy"): {"sha256": SHA256, "size": len(CONTENT)}}

    target.unlink()
    server.contents["/vice.npy"] = OTHER
    status, _, err = run("vice")
    assert status == 2 and not target.exists()
    assert f"first came from there (its entry in {ledger})" in err and err.count("\n") == 1

    ledger.write_text("{}")
    status, _, err = run("vice")
    assert status == 0 and "warning:" in err
    assert target.read_bytes() == OTHER


def test_a_file_that_was_there_before_is_not_checked_and_not_touched(run, server, tmp_path):
    (tmp_path / "vice").mkdir()
    (tmp_path / "vice" / "vice.npy").write_bytes(b"mine")
    status, out, _ = run("vice")
    assert status == 0 and "vice.npy: there, not checked" in out
    assert server.asked == []


def test_a_file_of_another_content_is_named_and_not_touched(run, server, tmp_path):
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "a.bin").write_bytes(b"mine")
    status, _, err = run("things")
    assert status == 2 and "a.bin: has the SHA-256" in err and "move it away" in err
    assert (tmp_path / "things" / "a.bin").read_bytes() == b"mine"
    assert "another content" in run("things", "--dry-run")[1]


def test_a_damaged_ledger_is_not_taken_for_an_empty_one(run, tmp_path):
    for text in ("{", "[]", '{"https://example.org": 1}'):
        (tmp_path / "downloads.json").write_text(text)
        for arguments in (["vice"], ["vice", "--dry-run"]):
            status, _, err = run(*arguments)
            assert status == 2 and "downloads.json: expected hashes by address" in err


def test_an_archive_that_lacks_a_file_is_kept_and_told(run, server, tmp_path):
    server.contents["/b.zip"] = zipped({"release/train.txt": "1 2 3\n"})
    status, _, err = run("things")
    assert status == 2 and "expected test.txt, found" in err


def test_an_archive_that_was_not_unpacked_is_not_downloaded_again(run, server, tmp_path):
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "b.zip").write_bytes(server.contents["/b.zip"])
    (tmp_path / "things" / "train.txt").write_text("1 2 3\n")
    assert "to unpack" in run("things", "--dry-run")[1]
    assert run("things")[0] == 0
    assert [path for path, _ in server.asked] == ["/a.bin"]
    assert (tmp_path / "things" / "test.txt").read_text() == "4\n"


def test_a_failure_does_not_keep_the_others_from_coming(run, server, tmp_path):
    status, out, err = run("vice", "levels", "things")
    assert status == 2 and out.count("all there") == 1
    assert (tmp_path / "things" / "a.bin").exists()
    lines = err.splitlines()
    assert "error: vice: http" in lines[0] and "answered 404" in lines[0]
    assert lines[1] == (
        f"error: levels: {tmp_path}: expected levels/, found vice/. By hand: Ask for the files "
        "and put them into levels/."
    )


def test_a_step_by_hand_that_was_taken_is_enough(run, server, tmp_path):
    (tmp_path / "levels").mkdir()
    (tmp_path / "levels" / "1.json").write_text("{}")
    status, out, err = run("levels")
    assert (status, err) == (0, "") and "all there" in out


def test_the_list_has_a_line_for_each_data_set(run):
    status, out, err = run("--list")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "name    size           licence    what     read more",
        "things  over 300.0 kB  CC-BY-4.0  choices  https://example.org/things",
        "vice    unknown        GPL-3.0    means    https://example.org/vice",
        "levels  by hand        ask        votes    https://example.org/levels",
    ]


def test_a_dry_run_tells_everything_and_does_nothing(run, server, tmp_path):
    (tmp_path / "vice").mkdir()
    (tmp_path / "vice" / "vice.npy.part").write_bytes(b"12345")
    status, out, err = run("all", "--dry-run")
    rows = [line.split("  ") for line in out.splitlines()]
    rows = [[cell.strip() for cell in row if cell] for row in rows]
    assert (status, err) == (0, "")
    assert rows[:6] == [
        ["what", "size", "now", "from"],
        [f"{tmp_path}/things/a.bin", "300.0 kB", "to download", server.url("/a.bin")],
        [f"{tmp_path}/things/", "unknown", "to download", server.url("/b.zip")],
        [f"{tmp_path}/vice/vice.npy", "unknown", "5 B there", server.url("/vice.npy")],
        [],
        ["3 to download, over 300.0 kB."],
    ]
    assert "levels, by hand: Ask for the files" in out
    assert server.asked == []

    run("things")
    assert "Nothing to download." in run("things", "--dry-run")[1]


def test_a_check_downloads_nothing(run, server, tmp_path):
    status, _, err = run("things", "--check")
    assert status == 2 and f"error: things: {tmp_path}: expected things/" in err
    run("things")
    asked = len(server.asked)
    assert run("things", "--check")[:2] == (
        0,
        "things: choices (CC-BY-4.0; https://example.org/things)\n  all there\n",
    )
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ([], "name a data set, of things, vice, levels, or all"),
        (["thongs"], "'thongs' is none of things, vice, levels, or all"),
        (["things", "--fast"], "unrecognized arguments: --fast"),
        (["things", "--check", "--dry-run"], "not allowed with argument"),
    ],
)
def test_a_bad_option_is_told_in_one_line(run, arguments, reason):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert err.startswith("error: ") and reason in err


SCRIPT = """
import signal
import sys
from alignet.data import download
from alignet.data.layout import Folder
from alignet.data.sources import File, Source

# In a shell's background, where the tests may run, it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
url, folder = sys.argv[1:]
source = Source("a", "a file", "none", "https://example.org",
                ((Folder("a", ("a.bin",)),),), (File(url, "a/a.bin"),))
sys.exit(download.main(["a", f"--data_dir={folder}"], sources=[source]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda how: how.name)
def test_a_killed_download_goes_on_where_it_was(server, tmp_path, how):
    command = [sys.executable, "-c", SCRIPT, server.url("/a.bin"), str(tmp_path)]
    server.plans["/a.bin"] = [("stall", HALF)]
    part = tmp_path / "a" / "a.bin.part"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stalled.wait(30)
        wait_until(lambda: part.exists() and part.stat().st_size >= HALF - transfer.CHUNK)
        process.send_signal(how)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == (-how if how == signal.SIGKILL else 130)
    if how == signal.SIGINT:
        assert err.strip() == "stopped; the same command goes on from here."
    assert {path.name for path in part.parent.iterdir()} == {"a.bin.part", "a.bin.part.version"}

    came = part.stat().st_size
    sent = server.sent
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "a.bin").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "a") == ["a.bin"]
    # Of the first half, only what was on its way when the process ended comes again.
    assert server.asked[-1] == ("/a.bin", f"bytes={came}-")
    assert server.sent - sent == len(CONTENT) - came < HALF + transfer.CHUNK


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
