"""Progress in a log."""

import re

from alignet.runtime.progress import progress


def test_a_log_has_whole_lines_and_none_twice(capfd):
    with progress(total=3, desc="embed", unit="image") as bar:
        for _ in range(3):
            bar.update()
            bar.refresh()
            bar.refresh()
    written = capfd.readouterr().err
    assert "\r" not in written and written.endswith("\n")
    lines = written.splitlines()
    assert len(set(lines)) == len(lines) == 4
    assert re.fullmatch(r"embed: 3/3 in 00:00, 00:00 to go, +[\d.]+image/s", lines[-1])


def test_in_a_log_a_bar_within_a_bar_does_not_move_about(capfd):
    with progress(total=2, desc="outer") as outer:
        for _ in range(2):
            with progress(total=1, desc="inner") as inner:
                inner.update()
            outer.update()
    written = capfd.readouterr().err
    assert "\x1b" not in written
    assert written.startswith("outer: ")
    assert "inner: 1/1" in written and "outer: 2/2" in written
