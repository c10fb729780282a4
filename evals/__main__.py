"""Scores models against human judgments, and as vision: any model's embeddings, a student's
checkpoint, pretrained weights of a model of the table (`alignet.students.zoo`), or a SavedModel.

    python -m evals --embeddings='features/*.npz' --out=OUT
    python -m evals --checkpoint=DIR --evals=things,levels,peterson --data_dir=DATA --out=OUT
    python -m evals --model=clip-b16 --weights=FILE --evals=kriegeskorte92 --out=OUT
    python -m evals compare --runs=OUT1,OUT2 --labels=original,aligned --out=OUT

Prints a table and writes OUT/results.json, OUT/scores.csv (every number, a row each),
OUT/differences.csv (every pair of models) and OUT/report.html, a page with figures, which are
also in OUT/figures, to print.

Evals; without --evals, all of the first kind whose data are there:
  things              odd-one-out choices between the THINGS objects, from their images
  things_photographs  the same from ILSVRC photographs of the same concepts
  uncertainty         do the model's probabilities and doubts go with people's, on THINGS
  levels              odd-one-out choices at three levels of abstraction, and response times
  peterson, king, cichy, kriegeskorte92
                      similarities of pairs of photographs, as rated or as arranged
  between_models      how alike the models are to each other
and of the second, which are asked for by name or as "vision":
  fewshot             learning from a few labelled examples
  breeds              does what is learnt of some kinds carry over to others
  ood                 ImageNet and its variants: other photographs, renditions, corruptions
  hierarchy           distances by WordNet's hierarchy, and what --before changed in them
  projection          maps of the space of images

In an embeddings file, `ids` are the photographs' file names without the suffix, or the same after
the set's name: peterson/animals/stim-0007, king/set1/0001, kriegeskorte92/kriegeskorte92_00.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from alignet.data.levels import CHOICES, Filters
from alignet.errors import InputError
from alignet.runtime.command_line import (
    Parser,
    count,
    counts,
    listed,
    positive,
    prepare,
    several,
    some_of,
    whole,
)
from evals import models, networks, output, runs, scoring
from evals.answers import HUMAN, VISION
from evals.options import HEADS, FewShot, Options

FLAGS = (
    # name, of which kind of model, type, help
    ("transform", None, Path, "a UD transform (.npz) to apply to every row"),
    ("weights", "model", Path, "of --model: .npz, .safetensors, or a folder with them"),
    ("layer", "model", int, "of --model: the block, from 0, to read out instead of the end"),
    ("image_size", "model", int, "of --model: in pixels, if not the size in the table"),
    ("output", "saved_model", str, "of --saved_model: pre_logits, triplet_logits, layer_10, …"),
)
# What the fields of `FewShot` and `Filters` do.
FEWSHOT = {
    "data": "data sets by commas: names, NAME:SPLIT, folders of classes, or .npz with images and "
    "labels; without it, those of paper 002 that tfds has on disk",
    "shots": "labelled examples a class, by commas",
    "draws": "of the examples; numbers are means over them",
    "heads": f"what learns from them, by commas: {', '.join(HEADS)}",
}
LEVELS = {
    "min_votes": "triplets with fewer answers are dropped",
    "max_votes": "of triplets with more answers, as many are drawn",
    "excess": "draw, or drop triplets with more answers",
    "max_trials": "a person's answers that count for response times",
    "max_seconds": "slower answers do not count for response times",
    "ties": "2-2-1 votes: drop, or fractional credit",
    "seed": "of the draw",
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the options of scoring."""
    parser = _parser("python -m evals", __doc__)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument(
        "--embeddings",
        help=".npz files with ids [n] and embeddings [n, p], one a model: a name, or a pattern "
        "in quotes; a .npy [n, p] has the THINGS objects in the triplets' RAW order",
    )
    model.add_argument(
        "--checkpoint", type=Path, help="a student's weights (.npz), or a folder with student.npz"
    )
    model.add_argument("--model", help="a row of the table of models, such as clip-b16")
    model.add_argument("--saved_model", type=Path, help="a TensorFlow SavedModel (a folder)")
    for name, _, kind, text in FLAGS:
        parser.add_argument(f"--{name}", type=kind, help=text)
    what = (
        f"by commas: {', '.join(EVALS)}; or {HUMAN} (default), {VISION}: all whose data are there"
    )
    parser.add_argument("--evals", type=some_of(*EVALS, HUMAN, VISION), help=what)
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="default: data")
    defaults = Options()
    parser.add_argument(
        "--similarity",
        choices=("dot", "cosine"),
        default=defaults.similarity,
        help="of triplets' pairs; cosine also puts hierarchy's rows to unit length",
    )
    parser.add_argument(
        "--tau", type=positive, default=defaults.tau, help="temperature of training: 1 for UD, …"
    )
    parser.add_argument(
        "--human_uncertainty",
        type=Path,
        help=".npy for the THINGS triplets in order: p* [m, 3], or people's uncertainty [m]",
    )
    parser.add_argument(
        "--mask_missing",
        action="store_true",
        help="leave out pairs that people's matrices do not know (NaN), instead of refusing them",
    )
    parser.add_argument(
        "--seed", type=whole, default=defaults.seed, help="of the bootstrap and of what is drawn"
    )
    parser.add_argument(
        "--resamples", type=several, default=defaults.resamples, help="of the bootstrap"
    )
    parser.add_argument(
        "--imagenet",
        default=defaults.imagenet,
        help="a folder with train/ and val/ (folders of classes, or train.npz and val.npz with ids "
        "and labels); default: DATA/imagenet, or tfds's",
    )
    kinds = {"shots": counts, "draws": count, "data": listed, "heads": some_of(*HEADS)}
    for name, value in FewShot()._asdict().items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else value
        text = f"{FEWSHOT[name]}; default: {text}" if value else FEWSHOT[name]
        parser.add_argument(f"--fewshot_{name}", type=kinds[name], default=value, help=text)
    parser.add_argument(
        "--triplets", type=Path, help="an AligNet dataset (.npz): for hierarchy, what it contains"
    )
    parser.add_argument(
        "--before", help="of several models the one to compare the others with: hierarchy"
    )
    for name, value in Filters()._asdict().items():
        kind = {int: whole, float: positive}.get(type(value), str)
        text = f"{LEVELS[name]}; default: {value}"
        known = CHOICES.get(name)
        parser.add_argument(f"--levels_{name}", type=kind, default=value, choices=known, help=text)
    options = parser.parse_args(argv)
    if options.model and not options.weights:
        parser.error("--model needs --weights")
    for name, needed, *_ in FLAGS:
        if needed and getattr(options, name) is not None and not getattr(options, needed):
            parser.error(f"--{name} needs --{needed}")
    return options


def parse_compare(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the options of comparing."""
    about = "Sets finished runs of `python -m evals` side by side."
    parser = _parser("python -m evals compare", about)
    parser.add_argument("--runs", type=listed, required=True, help="their --out folders, by commas")
    parser.add_argument("--labels", type=listed, help="what to call them; else the folders' names")
    return parser.parse_args(argv)


def _parser(prog: str, description: str | None) -> Parser:
    parser = Parser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    return parser


EVALS = tuple(scoring.QUESTIONS)


def score(options: argparse.Namespace) -> str:
    """Scores models and writes what was found.

    Returns:
      The text for the terminal.
    """
    out = options.out
    if not options.data_dir.is_dir():
        raise InputError(
            f"{options.data_dir}: no such folder; expected the data, see --data_dir and "
            "`python -m alignet.data.download --list`."
        )
    evaluated = _models(options)
    run = scoring.run(evaluated, options.data_dir, _options(options), evals=options.evals)
    what = evaluated[0].name if len(evaluated) == 1 else f"{len(evaluated)} models"
    text = output.write_run(out, run, called=what)
    scoring.finished(out / "cache")
    return text


def _models(options: argparse.Namespace) -> list[models.Model]:
    if options.embeddings:
        return models.from_embeddings(options.embeddings, transform=options.transform)
    settings = {"transform": options.transform, "cache": options.out / "embeddings"}
    if options.checkpoint:
        return [networks.from_checkpoint(options.checkpoint, **settings)]
    if options.saved_model:
        return [networks.from_saved_model(options.saved_model, options.output, **settings)]
    where = {"layer": options.layer, "image_size": options.image_size}
    return [networks.from_zoo(options.model, options.weights, **where, **settings)]


def _options(options: argparse.Namespace) -> Options:
    filters = Filters(**{name: getattr(options, f"levels_{name}") for name in Filters._fields})
    fewshot = FewShot(**{name: getattr(options, f"fewshot_{name}") for name in FewShot._fields})
    own = {"levels": filters, "fewshot": fewshot, "cache": options.out / "cache"}
    plain = {name: getattr(options, name) for name in Options._fields if name not in own}
    return Options(**plain, **own)


def compare(options: argparse.Namespace) -> str:
    """Compares finished runs and writes what was found.

    Returns:
      The text for the terminal.
    """
    folders = [Path(folder) for folder in options.runs]
    if options.out.resolve() in [folder.resolve() for folder in folders]:
        raise InputError(f"--out: {options.out} is one of the runs; expected another folder.")
    return output.write_comparison(options.out, runs.load_labelled(folders, options.labels))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    comparing = argv[:1] == ["compare"]
    try:
        options = parse_compare(argv[1:]) if comparing else parse(argv)
        prepare(options.out)
        output.clear(options.out)
        text = compare(options) if comparing else score(options)
    except (InputError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    print(text, output.places(options.out), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
