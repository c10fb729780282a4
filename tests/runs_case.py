"""Finished runs of the evals, made up so that what they differ in is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evals import answers, runs
from evals.answers import PEOPLE, Answers, Headline, Question, Score
from evals.pages.page import Section
from evals.statistics.intervals import Measured, percentile, proportion

M = 2000  # triplets
PEOPLE_ASKED = np.array(["ann", "bo, jr", "çem"])
QUESTIONS = {
    "things": Question(
        lambda _: [Headline("all", "accuracy", "THINGS", 1 / 3)],
        None,
        None,
        None,
        lambda found: Section(f"things of {', '.join(found)}", ["…"]),
    ),
    "king": Question(
        lambda _: [Headline("set1", "spearman/pearson", "King")],
        None,
        None,
        None,
        lambda found: Section(f"king of {', '.join(found)}", ["…"]),
    ),
    "levels": Question(
        lambda _: [
            Headline(level, "accuracy", f"Levels, {level}", 1 / 3)
            for level in ("coarse", "fine", "boundary")
        ],
        None,
        None,
        None,
        lambda found: Section(f"levels of {', '.join(found)}", ["…"]),
    ),
}
ABOUT = {
    "settings": {
        "similarity": "dot",
        "tau": 1.0,
        "seed": 0,
        "resamples": 200,
        "levels": {"ties": "drop", "max_seconds": 10.0},
    },
    "config_hash": "0123abcd",
    "seed": 0,
    "inputs": {"triplets.txt": "ab" * 32},
    "versions": {"alignet": "0"},
    "skipped": [],
    "finished": "2025-01-01T00:00:00Z",
    "seconds": 1.0,
}


def run(models: Sequence[str], quality: float, *, about=ABOUT) -> runs.Run:
    """A run whose models all do better the higher the quality, 0 to 1, and the later the model.

    Models answer nested sets of triplets rightly: of two, the better one is right wherever the
    other is.
    """
    found = {eval: {PEOPLE: people(eval)} for eval in QUESTIONS}
    for index, model in enumerate(models):
        level = quality + 0.02 * index
        found["things"][model] = choices(("all",), level)
        found["king"][model] = correlation(level)
        found["levels"][model] = levels(level)
    return runs.Run(list(models), found, about)


def rng(*names: str) -> np.random.Generator:
    return np.random.default_rng(list(" ".join(names).encode()))


def people(eval: str) -> Answers:
    triplets = np.argsort(rng("triplets").random((M, 40)), axis=1)[:, :3]
    if eval == "things":
        ceiling = Score("all", "accuracy ceiling", proportion(2 * M // 3, M))
        return Answers([ceiling], {"all/triplets": triplets, "all/person": PEOPLE_ASKED}, [])
    if eval == "king":
        ends = (("lower", 0.5), ("upper", 0.6))
        scores = [
            Score(
                "set1",
                f"spearman with one person ceiling, {end}",
                Measured(value, value - 0.05, value + 0.05, 9),
            )
            for end, value in ends
        ]
        return Answers(scores, {}, ["9 people."])
    scores, arrays = [], {}
    for level, value in (("coarse", 0.62), ("fine", 0.66), ("boundary", 0.89)):
        scores.append(Score(level, "accuracy ceiling", proportion(int(value * M), M)))
        arrays |= {f"{level}/triplets": triplets, f"{level}/log_rt": log_rt(level)}
    return Answers(scores, arrays, [])


def log_rt(level: str) -> np.ndarray:
    mean = {"coarse": 1.2, "fine": 1.1, "boundary": 0.7}[level]
    return rng("log_rt", level).normal(mean, 0.4, size=M)


def choices(subsets: Sequence[str], level: float) -> Answers:
    """Right on the triplets whose difficulty is below 1/3 + level/3."""
    scores, arrays = [], {}
    for subset in subsets:
        correct = rng("difficulty", subset).random(M) < (1 + level) / 3
        scores.append(Score(subset, "accuracy", proportion(correct.sum(), M)))
        arrays[f"{subset}/accuracy/correct"] = correct
    if "all" in subsets:
        arrays["all/accuracy/person"] = np.array([(1 + level) / 3, np.nan, 0.5])
    return Answers(scores, arrays, [])


def correlation(level: float) -> Answers:
    shared, own = rng("samples").normal(0, 0.02, size=200), rng(f"{level}").normal(size=200)
    samples = 0.6 * level + shared + 0.005 * own
    measured = percentile(0.6 * level, samples, 90)
    arrays = {"set1/spearman/pearson/samples": samples}
    return Answers([Score("set1", "spearman/pearson", measured)], arrays, [])


def levels(level: float) -> Answers:
    found = choices(("coarse", "fine", "boundary"), level)
    scores, arrays = list(found.scores), dict(found.arrays)
    for subset in ("coarse", "fine", "boundary"):
        noise = rng("entropy", subset).normal(0, 0.4, size=M)
        signal = level * (log_rt(subset) - 1)
        arrays[f"{subset}/entropy"] = np.log(3) / (1 + np.exp(-2 * (signal + noise)))
        rho = Measured(0.7 * level, 0.7 * level - 0.04, 0.7 * level + 0.04, M)
        scores.append(Score(subset, "spearman of entropy with RT", rho))
    return Answers(scores, arrays, [])


def write(folder: Path, run: runs.Run) -> None:
    """The folder as `python -m evals` leaves it."""
    for eval, by_model in run.answers.items():
        for model, found in by_model.items():
            path = runs.answers_path(folder, eval, model)
            path.parent.mkdir(parents=True, exist_ok=True)
            answers.save(path, found)
    runs.write(folder, run)
