"""Paper 000 again: are models that see as people do better at learning from few examples?

    python -m evals.timm_study export --models=names491 --images=peterson,cifar100,mnist,fashion_mnist --out=EMB
    python -m evals.timm_study run --embeddings=EMB --human=DATA/peterson --timm_results=RESULTS --out=OUT

The first writes embeddings of pictures by timm's networks, EMB/MODEL/SET.npz; it needs torch,
torchvision and timm. The second needs none of them. It measures every model's alignment with people
and how well it learns from few examples, and writes OUT/report.html, figures, and a CSV a table, with
what the paper says beside what the run gives. Whatever is not given is left out and said.
"""  # noqa: E501

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from alignet.errors import InputError
from alignet.runtime import command_line
from alignet.runtime.command_line import Parser
from evals.options import HEADS as KNOWN_HEADS
from evals.options import FewShot
from evals.timm_study import models, output, study
from evals.timm_study.study import COVARIATES, Options

HEADS = ("logistic", "linear", "mlp")
SHOTS = (1, 5, 10, 20, 40, 80)  # 000, section 4
DRAWS = 3  # ours: the paper names none
FEWSHOT = FewShot((), SHOTS, DRAWS, HEADS)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        return options.command(options)
    except (InputError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the options."""
    shape = {
        "description": __doc__,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
    parser = Parser(prog="python -m evals.timm_study", **shape)
    commands = parser.add_subparsers(required=True, metavar="export or run", parser_class=Parser)
    _export_options(commands.add_parser("export", allow_abbrev=False, help="timm → embeddings"))
    _run_options(commands.add_parser("run", allow_abbrev=False, help="embeddings → the study"))
    return parser.parse_args(argv)


def _export_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=export)
    parser.add_argument("--out", type=Path, required=True, help="folder for the embeddings")
    parser.add_argument("--images", type=command_line.listed, required=True, help=(
        "by commas: peterson; data sets of tfds, of which the test split is taken (cifar100), or "
        "NAME:SPLIT; or paths of labelled pictures"
    ))  # fmt: skip
    _models_option(parser)
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="default: data")
    parser.add_argument(
        "--weights", type=Path, help="a folder with NAME.TAG.safetensors or .pth; else timm's hub"
    )
    parser.add_argument("--batch", type=command_line.count, default=32, help="default: 32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=run)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--embeddings", type=Path, help="a folder that has a folder with .npz, or an .npz, a model"
    )
    parser.add_argument("--human", type=Path, help="the folder of Peterson et al.'s judgments")
    parser.add_argument("--timm_results", type=Path, help="a snapshot of timm's results/")
    _models_option(parser)
    parser.add_argument(
        "--similarity", choices=("cosine", "dot"), default="cosine", help="default: cosine"
    )
    parser.add_argument(
        "--covariates", type=command_line.some_of(*COVARIATES), default=("top1",),
        help=f"of partial correlations, by commas: {', '.join(COVARIATES)}; default: top1",
    )  # fmt: skip
    parser.add_argument(
        "--fewshot_data", type=command_line.listed, default=(),
        help="labels of embeddings that have none: as of `python -m evals`, by commas",
    )  # fmt: skip
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="default: data")
    for name, kind, default in (
        ("shots", command_line.counts, SHOTS),
        ("draws", command_line.count, DRAWS),
        ("heads", command_line.some_of(*KNOWN_HEADS), HEADS),
    ):
        text = ",".join(map(str, default)) if isinstance(default, tuple) else default
        parser.add_argument(
            f"--fewshot_{name}", type=kind, default=default, help=f"default: {text}"
        )
    parser.add_argument("--seed", type=command_line.whole, default=0, help="default: 0")
    parser.add_argument(
        "--resamples", type=command_line.several, default=1000, help="of families; default: 1000"
    )
    parser.add_argument(
        "--processes", type=command_line.count, default=os.cpu_count(), help="default: one a core"
    )


def _models_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        default=models.NAMES491,
        help=f"{models.NAMES491}, the paper's (default); names by commas, of 2022 or of timm; or a "
        "file with a name a line",
    )


def export(options: argparse.Namespace) -> int:
    """Writes embeddings, and says of which models it could not."""
    from evals.timm_study import export as exporting

    wanted = [exporting.Wanted(row.name, row.timm) for row in models.chosen(options.models)]
    sets = exporting.image_sets(options.images, options.data_dir)
    command_line.prepare(options.out)
    outcome = exporting.export(
        wanted,
        sets,
        options.out,
        weights=options.weights,
        batch=options.batch,
        device=options.device,
    )
    print(exporting.report(outcome))
    # Of the paper's models one is always gone; if nothing is there, that is no export.
    return 0 if outcome.done or outcome.skipped or outcome.elsewhere else 1


def run(options: argparse.Namespace) -> int:
    """The study."""
    chosen = Options(
        **{
            name: getattr(options, name)
            for name in Options._fields
            if name not in ("fewshot", "cache")
        },
        fewshot=FewShot(
            options.fewshot_data,
            options.fewshot_shots,
            options.fewshot_draws,
            options.fewshot_heads,
        ),
        cache=options.out / "cache",
    )
    study.check(chosen)
    command_line.prepare(options.out)
    output.clear(options.out)
    known = study.collect(chosen)
    found = output.measure(known, resamples=chosen.resamples, seed=chosen.seed)
    print(output.write(options.out, known, found, chosen))
    print(f"Report:  {options.out / output.REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
