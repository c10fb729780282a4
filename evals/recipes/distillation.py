"""Distillation with evals of the student while it is being trained."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_collections

from alignet import students
from alignet.recipes import distillation
from evals import networks, scoring
from evals.options import Options

# Curves show no intervals: resampling is cut to the least.
FEWEST = 2


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> None:
    """Distils and, whenever a checkpoint is written, scores; see configs/distill_siglip_b16.py."""
    distillation.run(config, workdir, make_evaluate=scorer)


def scorer(
    evals: Sequence[str], *, student: students.Student, data_dir: Path, cache: Path | None
) -> Callable[[students.Params], dict[str, float]]:
    """Makes the function that `alignet.distill` calls whenever it writes a checkpoint.

    Every process calls it at the same time, and every process gets the same numbers.

    Args:
      evals: names of evals of `python -m evals`.
      student: the network.
      data_dir: people's judgments, photographs.
      cache: folder for what does not depend on the weights (labels of data sets); None for none.

    Returns:
      A function of the parameters, which gives the numbers that the report of a run begins with,
      by "evals/EVAL/COLUMN".

    Raises:
      InputError: an eval is unknown, or its data are not there.
    """
    scoring.check_names("config.evals", evals)
    options = Options(resamples=FEWEST, cache=cache)
    for name in evals:  # now, not after the first thousands of steps
        scoring.QUESTIONS[name].load(data_dir, options)

    def score(params: students.Params) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "student.npz"
            students.save_weights(weights, student, params)
            model = networks.from_checkpoint(weights, cache=Path(folder) / "embeddings")
            found = scoring.run([model], data_dir, options, evals=evals).answers
        numbers = {}
        for name, answers in found.items():
            for headline in scoring.QUESTIONS[name].headline(answers):
                if measured := answers[model.name].find(headline.subset, headline.metric):
                    numbers[f"evals/{name}/{headline.name}"] = measured.value
        if cache is not None:
            scoring.finished(cache)
        return numbers

    return score
