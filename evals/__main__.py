"""Scores embeddings, or a student's checkpoint, against human judgments.

    python -m evals --embeddings=FILE --evals=things --data_dir=DATA --out=OUT
    python -m evals --checkpoint=DIR --evals=things,rsa --data_dir=DATA --out=OUT

Prints a table and writes OUT/results.json.
"""

import argparse
import contextlib
import functools
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from alignet.data.embeddings import Embeddings, load_embeddings, select
from alignet.data.human import load_triplets, object_ids
from alignet.errors import InputError
from alignet.runtime import files, stages
from evals import rsa, things, uncertainty
from evals.intervals import Measured
from evals.table import table

EVALS = ("things", "rsa", "uncertainty")


class Parser(argparse.ArgumentParser):
    """Reports a bad option as any other bad input: in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; --help lists the options.")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m evals",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument(
        "--embeddings",
        type=Path,
        help=".npz with ids [n] and embeddings [n, p], or .npy [n, p] in the triplets' RAW order",
    )
    model.add_argument(
        "--checkpoint", type=Path, help="a student's weights (.npz), or a folder with student.npz"
    )
    parser.add_argument("--transform", type=Path, help="a UD transform (.npz) to apply")
    parser.add_argument(
        "--evals", type=names, default=("things",), help=f"comma-separated, of {', '.join(EVALS)}"
    )
    parser.add_argument("--data_dir", type=Path, required=True, help="has things/ and peterson/")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json")
    parser.add_argument(
        "--similarity", choices=("dot", "cosine"), default="dot", help="of triplets' pairs"
    )
    parser.add_argument(
        "--tau", type=positive, default=1.0, help="temperature of training, for probabilities"
    )
    parser.add_argument(
        "--human_uncertainty",
        type=Path,
        help=".npy for the triplets in order: p* [m, 3], or people's uncertainty [m]",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    return parser.parse_args(argv)


def names(text: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in EVALS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(EVALS)}")
    return chosen


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


@contextlib.contextmanager
def naming(source: Path | str) -> Iterator[None]:
    """Puts a name before the complaint of a function that was given arrays, not files."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


class Model:
    """Where rows come from: an embeddings file, or images through a student."""

    def __init__(self, options: argparse.Namespace):
        self.data_dir = options.data_dir
        self.path = options.embeddings or options.checkpoint
        self.hashes: dict[str, str] = {}
        self.embeddings = self.student = self.transform = None
        if options.embeddings:
            self.embeddings = load_embeddings(self.path)
        else:
            # Imported only here: scoring an embeddings file needs no networks.
            from alignet import students

            self.path = self.path / "student.npz" if self.path.is_dir() else self.path
            self.student = students.load_weights(self.path)
        self.record(self.path)
        if options.transform:
            from alignet.transform import load_transform

            self.transform = load_transform(options.transform)
            self.record(options.transform)

    def record(self, path: Path) -> None:
        """Keeps the hash of a file that the results depend on; of a folder, that of its files."""
        if path.is_dir():
            lines = [f"{f.name} {files.sha256(f)}" for f in sorted(path.iterdir()) if f.is_file()]
            self.hashes[str(path)] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        else:
            self.hashes[str(path)] = files.sha256(path)

    def things(self, ids: np.ndarray | None) -> np.ndarray:
        """Rows of the THINGS objects, in the triplets' order."""
        embeddings, path = self.embeddings, self.path
        if embeddings is None:
            path = self.data_dir / "things" / "images.npz"
            path = path if path.is_file() else path.with_suffix("")
            embeddings = self.embed(path)
        if ids is not None:
            if embeddings.ids is None:
                embeddings = load_embeddings(path, ids=ids)
            else:
                # One file may serve several evals: other ids are not in the way.
                embeddings = select(embeddings, ids, path=path)
        return self.transformed(embeddings.matrix)

    def peterson(self, human: rsa.HumanSet) -> np.ndarray | str:
        """Rows of a set's photographs, in its order; or why there are none."""
        embeddings, path = self.embeddings, self.path
        if embeddings is None:
            path = self.data_dir / "peterson" / "images" / human.name
            if not path.is_dir():
                return f"there are no photographs at {path}"
            embeddings = self.embed(path)
        elif embeddings.ids is None:
            return "the embeddings have no ids"
        absent = len(np.setdiff1d(human.ids, embeddings.ids))
        if absent:
            return f"{absent} of its {len(human.ids)} ids are not in {path}"
        return self.transformed(select(embeddings, human.ids, path=path).matrix)

    def embed(self, path: Path) -> Embeddings:
        from alignet import students
        from alignet.data.images import load_images

        student, params = self.student
        images = load_images(path, resize=functools.partial(students.resize, student))
        self.record(path)
        return Embeddings(images.ids, students.embed(student, params, images.pixels))

    def transformed(self, matrix: np.ndarray) -> np.ndarray:
        if self.transform is None:
            return matrix
        from alignet.transform import apply_transform

        with naming(self.path):
            return apply_transform(self.transform, matrix)


def evaluate(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Runs the evals.

    Returns:
      What results.json holds, and the text to print.
    """
    start = time.perf_counter()
    model = Model(options)
    results: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    notes: list[str] = []

    def report(name: str, measure: str, value: Measured) -> None:
        rows.append({"eval": name, "measure": measure, "value": value, "n": value.n})

    if {"things", "uncertainty"} & set(options.evals):
        similarities = things_similarities(model, options)
    if "things" in options.evals:
        score = things.score(similarities, tau=options.tau)
        report("things", f"odd-one-out accuracy ({options.similarity})", score.accuracy)
        report("things", f"cross-entropy at τ = {options.tau:g}, nats", score.cross_entropy)
        notes.append(f"things: {score.ties:,} ties, counted as wrong; chance is 1/3.")
        results["things"] = {
            "accuracy": score.accuracy.as_dict(),
            "cross_entropy": score.cross_entropy.as_dict(),
            "ties": score.ties,
        }
    if "rsa" in options.evals:
        results["rsa"], skipped = {}, {}
        for human in rsa.load_peterson(options.data_dir):
            embeddings = model.peterson(human)
            if isinstance(embeddings, str):
                skipped[human.name] = embeddings
                notes.append(f"rsa: peterson/{human.name} skipped: {embeddings}.")
                continue
            with naming(f"{model.path}, peterson/{human.name}"):
                score = rsa.run(embeddings, human.similarity, seed=options.seed)
            results["rsa"][human.name] = {k: v.as_dict() for k, v in score._asdict().items()}
            for kernel, value in score._asdict().items():
                report("rsa", f"peterson/{human.name}, Spearman ({kernel} kernel)", value)
        results["rsa_skipped"] = skipped
        for name in ("similarity.npz", "filenames.json"):
            model.record(options.data_dir / "peterson" / name)
    if "uncertainty" in options.evals:
        human = None
        if options.human_uncertainty:
            human = uncertainty.load_human(options.human_uncertainty, n=len(similarities))
            model.record(options.human_uncertainty)
        else:
            notes.append("uncertainty: not compared with people's (--human_uncertainty=FILE).")
        taus = sorted({*uncertainty.TAUS, options.tau})
        results["uncertainty"] = []
        for score in uncertainty.run(similarities, human, taus=taus, seed=options.seed):
            entry = {"tau": score.tau, "entropy": score.entropy.as_dict()}
            report("uncertainty", f"mean entropy at τ = {score.tau:g}, nats", score.entropy)
            if score.spearman:
                entry["spearman"] = score.spearman.as_dict()
                report("uncertainty", f"Spearman with people at τ = {score.tau:g}", score.spearman)
            results["uncertainty"].append(entry)
    if not rows:
        raise InputError(f"{model.path}: nothing could be measured; {notes[0]}")

    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
    results |= {
        "settings": settings,
        "config_hash": stages.config_hash(settings),
        "inputs": model.hashes,
        "versions": stages.versions(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(time.perf_counter() - start, 3),
    }
    about = f"95 % intervals in brackets; seed {options.seed}, settings {results['config_hash']}."
    return results, "\n".join([table(rows), "", *notes, about])


def things_similarities(model: Model, options: argparse.Namespace) -> np.ndarray:
    """Similarities of the pairs of every THINGS triplet."""
    path = options.data_dir / "things" / "triplets.txt"
    ids = object_ids(options.data_dir)
    triplets = load_triplets(path, n_objects=None if ids is None else len(ids))
    model.record(path)
    embeddings = model.things(ids)
    if triplets.max() >= len(embeddings):
        raise InputError(
            f"{model.path}: has {len(embeddings)} rows; expected at least "
            f"{triplets.max() + 1}, the objects that {path} names."
        )
    with naming(model.path):
        return things.pair_similarities(embeddings, triplets, similarity=options.similarity)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    try:
        options = parse(argv)
        if options.out.exists() and not options.out.is_dir():
            raise InputError(f"{options.out}: is a file; expected a folder for results.json.")
        results, text = evaluate(options)
        path = options.out / "results.json"
        files.write_json(path, results)
    except (InputError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    print(text)
    print(f"Results: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
