"""Every theoretical claim of papers 000 and 001: its formula and a simulation on the same axes.

    python -m theory --out=plots

writes OUT/report.html, a page with all figures and what was found; each figure as PNG and, but for
--fast, PDF; and OUT/theory.json, which has every claim with a verdict and the numbers behind it. No
data are needed; with --embedding=FILE.npy a real embedding, such as VICE's, teaches students of
few-shot learning, too. How many answers to collect in an experiment: python -m theory.plan.
"""

import argparse
import multiprocessing
import os
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from alignet.errors import InputError
from alignet.runtime import command_line, files, stages
from alignet.runtime.command_line import Parser
from alignet.runtime.progress import progress
from alignet.runtime.workers import end_with_parent
from evals.pages import page
from evals.pages import provenance as made_with
from theory import claims
from theory.claims import Claim
from theory.plots import KINDS, Effort, Part, make

PARTS = (
    "representation",
    "capacity",
    "game",
    "law",
    "geometry",
    "few_shot",
    "domain_shift",
    "adversarial",
    "labels",
    "asking",
)
# The longest first, so that none is left to run alone at the end.
ORDER = (
    *("asking", "game", "law", "geometry", "labels", "few_shot", "adversarial", "domain_shift"),
    *("representation", "capacity"),
)
WIDTH = 100  # of what is printed
REPORT, CLAIMS = "report.html", "theory.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        return run(options)
    except (InputError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the options."""
    parser = Parser(
        prog="python -m theory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--fast", action="store_true", help="small sizes: seconds, not minutes")
    parser.add_argument("--seed", type=command_line.whole, default=0, help="of all simulations")
    parser.add_argument(
        "--embedding",
        type=Path,
        metavar="FILE",
        help="real embeddings, .npy or .npz, to teach few-shot students too",
    )
    parser.add_argument("--only", type=command_line.some_of(*PARTS), default=PARTS, metavar="PARTS",
                        help=f"by commas: {', '.join(PARTS)}; all by default")  # fmt: skip
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> int:
    """Simulates, draws, judges, and writes."""
    if options.embedding is not None:
        check(options)
    command_line.prepare(options.out)
    # First away with it and last written: where it is, the other files are of the same run.
    old = [CLAIMS, REPORT, *(f"{name}.{kind}" for name in PARTS for kind in KINDS)]
    for path in (options.out / name for name in old):
        path.unlink(missing_ok=True)
        files.remove_temporaries(path)
    effort = Effort(options.fast, options.seed, options.embedding)
    begun = time.monotonic()
    parts = measure(options.only, effort, options.out)
    judged = [claim for part in parts for claim in part.claims]
    write(options.out, parts, judged, about(options, time.monotonic() - begun))
    print(text(judged))
    print(f"\n{len(judged)} claims. {claims.counted(judged)}.")
    print(f"Report:  {options.out / REPORT}")
    return 0


def check(options: argparse.Namespace) -> None:
    """Tries the embedding, so that what is wrong with it is said before anything is taken away."""
    from theory.plots import few_shot  # scikit-learn, which the rest of this process does not need

    if "few_shot" not in options.only:
        raise InputError("--embedding teaches the part few_shot, which --only leaves out.")
    few_shot.real(options.embedding, options.seed)


def measure(names: Sequence[str], effort: Effort, out: Path) -> list[Part]:
    """Makes the parts and writes their figures, in as many processes as there are cores."""
    workers = min(len(names), os.cpu_count() or 1)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=end_with_parent) as pool:
        begun = {
            name: pool.submit(make, name, effort, out) for name in sorted(names, key=ORDER.index)
        }
        try:
            for one in progress(as_completed(begun.values()), total=len(names), desc="theory"):
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [begun[name].result() for name in names]


def text(judged: Sequence[Claim]) -> str:
    """The claims for a terminal, by verdict."""
    lines = []
    for verdict in claims.VERDICTS:
        own = [one for one in judged if one.verdict == verdict]
        if own:
            lines += ["", f"{verdict[0].upper()}{verdict[1:]}"]
            lines += [textwrap.fill(f"{one.source}: {one.statement}", WIDTH, initial_indent="  ",
                                    subsequent_indent="    ") for one in own]  # fmt: skip
    return "\n".join(lines[1:])


def write(out: Path, parts: Sequence[Part], judged: Sequence[Claim], settings: dict) -> None:
    """Writes the page and, last, the claims."""
    sections = [page.Section("", [
        "Papers 000 and 001 (Sucholutsky and Griffiths) say in theorems what representational "
        "alignment does to learning from few examples, to domain shift and to adversarial "
        "examples. Here every statement stands beside a simulation, and is judged by it. "
        f"{len(judged)} claims. {claims.counted(judged)}.",
        page.Table(verdicts(judged), "The claims; each is taken up below."),
    ])]  # fmt: skip
    for part in parts:
        found = page.Table(
            [of_claim(one) for one in part.claims], "What is claimed, and what was found."
        )
        blocks = [*part.about, *part.figures.values(), found, *part.tables]
        sections.append(page.Section(part.heading, blocks))
    sections.append(provenance(settings))
    page.write_page(out / REPORT, "The theory of alignment and few-shot learning", sections)
    files.write_json(out / CLAIMS, settings | {"claims": [one.as_dict() for one in judged]})


def verdicts(judged: Sequence[Claim]) -> list[dict[str, str]]:
    """A row a claim."""
    return [{"where": one.source, "claim": one.statement, "verdict": one.verdict} for one in judged]


def provenance(settings: Mapping[str, Any]) -> page.Section:
    """With what the numbers were made, for the page."""
    shown = [
        ("settings", settings["config_hash"]),
        ("sizes", "fast" if settings["fast"] else "full"),
        ("seed", str(settings["seed"])),
        ("parts", ", ".join(settings["parts"])),
        ("seconds", f"{settings['seconds']:g}"),
    ]
    return made_with.section(shown, settings, settings["inputs"])


def of_claim(one: Claim) -> dict[str, str]:
    """The row of a claim in its own section."""
    verdict = f"{one.verdict}: {one.assumption}" if one.verdict == claims.ASSUMED else one.verdict
    return {"claim": f"{one.source}: {one.statement}", "verdict": verdict, "found": one.found}


def about(options: argparse.Namespace, seconds: float) -> dict:
    """With what the run was made."""
    given = [] if options.embedding is None else [options.embedding]
    settings = {
        "fast": options.fast,
        "seed": options.seed,
        "parts": list(options.only),
        "inputs": {path.name: stages.file_hash(path) for path in given},
    }
    return settings | {
        "config_hash": stages.config_hash(settings),
        "seconds": round(seconds, 1),
        "versions": stages.versions(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


if __name__ == "__main__":
    sys.exit(main())
