"""The table of public data, and what is said about a layout that differs from it."""

import io
import re
import zipfile
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest

from alignet.data import download, transfer
from alignet.data.layout import Folder, first_difference
from alignet.data.sources import SOURCES
from alignet.runtime import files
from tests import http_case

FILES = [file for source in SOURCES for file in source.files]


def test_the_table_has_what_the_papers_use():
    names = [source.name for source in SOURCES]
    assert len(set(names)) == len(names)
    assert set(names) == {
        "things", "things-images", "vice", "spose", "levels", "peterson", "cichy", "king",
        "alignet-triplets", "alignet-models", "timm", "imagenet-tables", "imagenet",
    }  # fmt: skip


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_row_says_all_that_a_person_has_to_know(source):
    assert re.fullmatch(r"[a-z-]+", source.name)
    assert source.licence and source.about and "\n" not in source.about
    assert urlsplit(source.page).scheme == "https"
    assert source.files or source.manual
    if source.manual:
        assert source.manual.endswith(".") and "\n" not in source.manual
        assert not re.search(r"[.!?] [A-Z]", source.manual), "one sentence"


def test_files_are_fetched_encrypted_and_from_where_they_stay():
    for file in FILES:
        address = urlsplit(file.url)
        assert address.scheme == "https" and address.hostname and not address.query
        if address.hostname == "raw.githubusercontent.com":
            assert re.fullmatch(r"[0-9a-f]{40}", address.path.split("/")[3]), "a commit"
    assert len({file.url for file in FILES}) == len(FILES)


def test_files_go_into_the_data_folder():
    places = [file.path for file in FILES]
    assert len(set(places)) == len(places)
    for place in [*places, *(file.unpack.path for file in FILES if file.unpack)]:
        path = PurePosixPath(place)
        assert not path.is_absolute() and ".." not in path.parts and str(path) == place


def test_hashes_and_sizes_have_their_form():
    for file in FILES:
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size is None or file.size > 0
        assert file.sha256 is None or file.size is not None


def test_hashes_are_those_of_the_real_files(shared_data):
    there = [f for f in FILES if f.sha256 and (shared_data / f.path).is_file()]
    for file in there:
        assert files.sha256(shared_data / file.path) == file.sha256, file.path
        assert (shared_data / file.path).stat().st_size == file.size
    assert len(there) == 26


def stand_in(folder):
    """A zip with the files that a folder has to hold."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in folder.has:
            archive.writestr(f"release/{name.split('|')[0].replace('*', 'a')}", name)
    return buffer.getvalue()


@pytest.mark.parametrize("source", [s for s in SOURCES if s.files], ids=lambda source: source.name)
def test_what_the_table_downloads_makes_the_layout(source, tmp_path, capsys):
    with http_case.running() as server:
        local = []
        for i, file in enumerate(source.files):
            server.contents[f"/{i}"] = stand_in(file.unpack) if file.unpack else b"content"
            local.append(file._replace(url=server.url(f"/{i}"), sha256=None, size=None))
        # What has to be asked for is not there.
        by_hand = source.name == "peterson"
        status = download.main(
            [source.name, f"--data_dir={tmp_path}"],
            sources=[source._replace(files=tuple(local))],
            patience=transfer.Patience(timeout=5.0, retries=0),
        )
    assert status == (2 if by_hand else 0), capsys.readouterr().err


@pytest.mark.parametrize("name", ["vice", "peterson", "timm", "imagenet-tables"])
def test_the_real_data_are_laid_out_as_the_table_says(shared_data, name, capsys):
    assert download.main([name, "--check", f"--data_dir={shared_data}"]) == 0


def test_what_has_to_be_done_by_hand_is_told(tmp_path, capsys):
    assert download.main(["imagenet", f"--data_dir={tmp_path}"]) == 0
    assert "by hand: Register at https://image-net.org" in capsys.readouterr().out
    assert download.main(["levels", f"--data_dir={tmp_path}"]) == 2
    assert "By hand: Clone https://gin.g-node.org/fborn/Dataset_Levels" in capsys.readouterr().err


def make(folder, *names):
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)


KING = next(source for source in SOURCES if source.name == "king").layouts[0]


@pytest.mark.parametrize(
    "names, difference",
    [
        ([], "data: expected king/, found no such folder"),
        (["things/"], "data: expected king/, found things/"),
        (["king/stimuli/"], "data/king: expected images/, found stimuli/"),
        (
            ["king/images/images1/1.jpg", "king/images/stimulus_category_labels.txt"],
            "data/king/images: expected set1/ and set2/, found images1/",
        ),
        (
            ["king/images/set1/1.jpg", "king/images/set2", "king/images/.hidden"],
            "data/king/images: expected set2/ and stimulus_category_labels.txt, found set2",
        ),
        (
            [*(f"king/images/{letter}" for letter in "abcdefg")],
            "data/king/images: expected set1/, set2/ and stimulus_category_labels.txt, found a, b, "
            "c, d and 3 more",
        ),
        (
            ["king/images/set1/", "king/images/set2/", "king/images/stimulus_category_labels.txt"],
            "data/king/images/set1: expected *.jpg, found nothing",
        ),
    ],
)
def test_a_wrong_layout_names_the_first_difference(tmp_path, monkeypatch, names, difference):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "data", *names)
    assert first_difference("data", KING) == difference


def test_a_right_layout_has_no_difference(tmp_path):
    images = ("set1/0001.jpg", "set2/0002.jpg", "stimulus_category_labels.txt")
    make(tmp_path / "king", *(f"images/{name}" for name in images))
    for spelling in ("sim_judgements", "sim_judgments"):
        assert "expected sim_judgements/ or sim_judgments/" in first_difference(tmp_path, KING)
        make(tmp_path / "king", f"{spelling}/BEHAVIOR.mat")
        assert first_difference(tmp_path, KING) is None
        (tmp_path / "king" / spelling / "BEHAVIOR.mat").unlink()
        assert "expected BEHAVIOR.mat, found nothing" in first_difference(tmp_path, KING)
        (tmp_path / "king" / spelling).rmdir()


def test_photographs_are_counted_in_either_format(tmp_path):
    folder = [Folder("a", ("*.jpg|*.png",), 3)]
    make(tmp_path, "a/1.jpg", "a/2.png", "a/notes.txt", "a/3.jpg/")
    found = first_difference(tmp_path, folder)
    assert found == f"{tmp_path / 'a'}: expected 3 of *.jpg or *.png, found 2"
    make(tmp_path, "a/4.png")
    assert first_difference(tmp_path, folder) is None
