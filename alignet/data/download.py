"""Gets the public data, or says what to do by hand where a licence wants a person.

    python -m alignet.data.download --list
    python -m alignet.data.download things vice levels --data_dir=data
    python -m alignet.data.download all --dry-run
    python -m alignet.data.download --check king

What was cut off goes on with the same command; what is there is left alone. A file without a
published hash is held to the hash that it came with first, which DATA/downloads.json keeps.
The exit status is 0 if all that was named is there as it should be, and otherwise 2.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignet.data import transfer, unpack
from alignet.data.layout import first_difference
from alignet.data.sources import SOURCES, File, Source
from alignet.errors import InputError
from alignet.runtime import files
from alignet.runtime.command_line import Parser

LEDGER = "downloads.json"


def parse(argv: Sequence[str] | None, sources: Sequence[Source]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m alignet.data.download",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", help="data sets of --list, or all")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="where they go")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="which data sets there are")
    what.add_argument("--dry-run", action="store_true", help="what would be done")
    what.add_argument(
        "--check", action="store_true", help="whether what is there is laid out right"
    )
    options = parser.parse_args(argv)
    known = {source.name: source for source in sources}
    if not options.names and not options.list:
        parser.error(f"name a data set, of {', '.join(known)}, or all")
    for name in options.names:
        if name != "all" and name not in known:
            parser.error(f"{name!r} is none of {', '.join(known)}, or all")
    chosen = known if "all" in options.names or not options.names else options.names
    options.sources = [known[name] for name in dict.fromkeys(chosen)]
    return options


def get(source: Source, data_dir: Path, patience: transfer.Patience = transfer.PATIENCE) -> None:
    """Downloads what is not there of a data set, unpacks it and looks at the layout.

    Raises:
      InputError: a file could not be had or is not what it should be, the layout is wrong, or a
        step by hand is still to be taken.
    """
    for file in source.files:
        if _there(file, data_dir):
            unchecked = file.unpack is None and _known_hash(file, data_dir) is None
            print(f"  {_place(file, data_dir)}: there{', not checked' if unchecked else ''}")
            continue
        target = data_dir / file.path
        if not target.exists():
            _download(file, data_dir, patience)
        if file.unpack is not None:
            unpack.unpack(target, data_dir / file.unpack.path)
            if difference := first_difference(data_dir, [file.unpack]):
                raise InputError(f"{difference}, although {target} is unpacked there.")
            target.unlink()
            print(f"  {_place(file, data_dir)}: unpacked")
    if difference := check(source, data_dir):
        raise InputError(difference)


def check(source: Source, data_dir: Path) -> str | None:
    """What is wrong with a data set's layout and what to do by hand about it, or None."""
    differences = [first_difference(data_dir, layout) for layout in source.layouts]
    if None in differences or not differences:
        return None
    return f"{differences[0]}. {'By hand: ' + source.manual if source.manual else ''}".strip()


def _there(file: File, data_dir: Path) -> bool:
    """Whether a file, or what an archive unpacks to, is there.

    Raises:
      InputError: a file is there whose content is another than was published or first seen.
    """
    target, known = data_dir / file.path, _known_hash(file, data_dir)
    if target.is_dir():
        raise InputError(f"{target}: is a folder; expected a file.")
    if target.is_file() and known is not None and (found := files.sha256(target)) != known:
        raise InputError(
            f"{target}: has the SHA-256 {found}, not {known} as {_whence(file, data_dir)}; move it "
            "away to download it."
        )
    if file.unpack is not None:
        # While the archive is there, what it unpacked to may not be all.
        return not target.exists() and first_difference(data_dir, [file.unpack]) is None
    return target.is_file()


def _download(file: File, data_dir: Path, patience: transfer.Patience) -> None:
    target, known = data_dir / file.path, _known_hash(file, data_dir)
    transfer.fetch(
        file.url,
        target,
        sha256=known,
        size=file.size,
        whence=_whence(file, data_dir),
        patience=patience,
    )
    found, size = known or files.sha256(target), target.stat().st_size
    print(f"  {target}: downloaded, {_bytes(size)}")
    if known is None:
        ledger = _ledger(data_dir) | {file.url: {"sha256": found, "size": size}}
        files.write_json(data_dir / LEDGER, ledger)
        print(
            f"warning: {target}: no hash of it is published; {data_dir / LEDGER} keeps this one, "
            f"{found}, and another content is refused from now on.",
            file=sys.stderr,
        )


def _place(file: File, data_dir: Path) -> str:
    """Where a file ends up; of an archive, the folder."""
    return f"{data_dir / file.unpack.path}/" if file.unpack else str(data_dir / file.path)


def _known_hash(file: File, data_dir: Path) -> str | None:
    return file.sha256 or _ledger(data_dir).get(file.url, {}).get("sha256")


def _whence(file: File, data_dir: Path) -> str:
    if file.sha256:
        return "was published"
    return f"first came from there (its entry in {data_dir / LEDGER})"


def _ledger(data_dir: Path) -> dict[str, dict[str, Any]]:
    """What files without a published hash were when they first came, by address."""
    path = data_dir / LEDGER
    try:
        ledger = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        ledger = None
    if not isinstance(ledger, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str)
        for entry in ledger.values()
    ):
        raise InputError(f"{path}: expected hashes by address, as this command writes them.")
    return ledger


def _bytes(n: int) -> str:
    """A size as people read it: 311.6 kB."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 999.95 or unit == "GB":
            break
        n /= 1000
    return f"{n:.0f} B" if unit == "B" else f"{n:.1f} {unit}"


def _sum(sizes: Sequence[int | None]) -> str:
    known = sum(size or 0 for size in sizes)
    if None not in sizes:
        return _bytes(known)
    return f"over {_bytes(known)}" if known else "unknown"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (zip(row, widths, strict=True) for row in rows)
    return "\n".join("  ".join(f"{cell:{w}}" for cell, w in line).rstrip() for line in lines)


def _listed(sources: Sequence[Source]) -> str:
    rows = [("name", "size", "licence", "what", "read more")]
    for source in sources:
        size = _sum([file.size for file in source.files]) if source.files else "by hand"
        rows.append((source.name, size, source.licence, source.about, source.page))
    return _columns(rows)


def _planned(sources: Sequence[Source], data_dir: Path) -> str:
    """What would be downloaded, how large it is and where it would go."""
    _ledger(data_dir)  # Raises if it is damaged.
    rows, sizes, by_hand = [("what", "size", "now", "from")], [], []
    for source in sources:
        for file in source.files:
            state = _state(file, data_dir)
            if state not in ("there", "to unpack"):
                sizes.append(file.size)
            size = "unknown" if file.size is None else _bytes(file.size)
            rows.append((_place(file, data_dir), size, state, file.url))
        if source.manual and (check(source, data_dir) or not source.layouts):
            by_hand.append(f"{source.name}, by hand: {source.manual}")
    total = f"{len(sizes)} to download, {_sum(sizes)}." if sizes else "Nothing to download."
    return "\n\n".join([*([_columns(rows)] if rows[1:] else []), total, *by_hand])


def _state(file: File, data_dir: Path) -> str:
    target = data_dir / file.path
    part = transfer.part_of(target)
    try:
        if _there(file, data_dir):
            return "there"
    except InputError:
        return "another content"
    if target.exists():
        return "to unpack"
    return f"{_bytes(part.stat().st_size)} there" if part.exists() else "to download"


def main(
    argv: Sequence[str] | None = None,
    *,
    sources: Sequence[Source] = SOURCES,
    patience: transfer.Patience = transfer.PATIENCE,
) -> int:
    """Runs the command; returns its exit status."""
    status = 0
    try:
        options = parse(argv, sources)
        if options.list:
            print(_listed(options.sources))
            return 0
        if options.dry_run:
            print(_planned(options.sources, options.data_dir))
            return 0
        for source in options.sources:
            print(f"{source.name}: {source.about} ({source.licence}; {source.page})", flush=True)
            try:
                if options.check:
                    if difference := check(source, options.data_dir):
                        raise InputError(difference)
                else:
                    get(source, options.data_dir, patience)
                print("  all there" if source.layouts else f"  by hand: {source.manual}")
            except (InputError, OSError) as error:
                print(f"error: {source.name}:", *str(error).split(), file=sys.stderr)
                status = 2
    except (InputError, OSError) as error:
        print("error:", *str(error).split(), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here.", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
