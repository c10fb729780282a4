"""Do a model's probabilities mean what they say, and is it in doubt where people are?

The probabilities of the three answers are a softmax of the similarities over a temperature τ, and
everything here depends on it: hence a sweep besides the temperature of training, and `TAU`, the
temperature at which people's choices are most probable.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from alignet import triplets as kernels
from alignet.data import things_choices
from evals import things
from evals.answers import PEOPLE, Answers, Question, Score
from evals.models import Model, naming
from evals.options import Options
from evals.pages import human_figures, page, table
from evals.statistics import calibration, ceilings, intervals, odd_one_out, uncertainty
from evals.statistics.calibration import Bins
from evals.statistics.intervals import Measured

TITLE = "Probabilities and doubts"
TAU = "temperature at which people's choices are most probable"
MOST_DIAGRAMS = 3
LEAST_REPEATED = 4  # answers to a triplet, for shares of people
TEXT = (
    "A model's similarities become probabilities of the three answers by a softmax over a "
    "temperature. The calibration error (ECE) says by how much a probability differs from the "
    "share of people who then give that answer: 0 is best. It is given at the one temperature at "
    "which people's choices are most probable, fitted on all choices, so that models whose "
    "similarities are on different scales can be compared; scores.csv has it at fixed temperatures."
)


class Doubts(NamedTuple):
    """How much people are in doubt about some triplets.

    Attributes:
      triplets: [k, 3], their objects.
      value: one a triplet: the more, the more in doubt.
    """

    triplets: Int[np.ndarray, "k 3"]
    value: Float[np.ndarray, " k"]


class Data(NamedTuple):
    """Attributes:
    choices: of single people.
    repeated: triplets that several people answered, and
    shares: how many of them chose each pair.
    doubts: by what they were measured with.
    photographs: of the objects.
    files: what all this was read from.
    """

    choices: things_choices.Choices
    repeated: Int[np.ndarray, "r 3"]
    shares: Float[np.ndarray, "r 3"]
    doubts: Mapping[str, Doubts]
    photographs: Path | None
    files: tuple[Path, ...]


def load(data_dir: Path, options: Options) -> Data:
    """Reads the choices, and whatever tells people's doubts about them.

    Raises:
      Absent: there are no choices.
      InputError: a file is malformed.
    """
    choices = things_choices.load(data_dir)
    repeated, shares = repeated_shares(choices.repeats)
    doubts, files = {}, choices.files
    if len(repeated) > 2:
        doubts["disagreement"] = Doubts(repeated, uncertainty.entropy(shares))
    if choices.rt is not None:
        known = np.isfinite(choices.rt) & (choices.rt > 0)
        if known.sum() > 2:
            doubts["RT"] = Doubts(choices.triplets[known], np.log(choices.rt[known]))
    if options.human_uncertainty:
        given = uncertainty.load_human(options.human_uncertainty, n=len(choices.triplets))
        doubts["given uncertainty"] = Doubts(choices.triplets, given)
        files = (*files, options.human_uncertainty)
    photographs = things_choices.photographs(data_dir)
    return Data(choices, repeated, shares, doubts, photographs, files)


def repeated_shares(
    repeats: things_choices.Repeats,
) -> tuple[Int[np.ndarray, "r 3"], Float[np.ndarray, "r 3"]]:
    """Which share of people chose each pair of the triplets that were asked again and again.

    A person's second answer is left out: the first may have coloured it.
    """
    objects, odd = ceilings.count_votes(np.concatenate([repeats.one, repeats.two, repeats.three]))
    # The pair that was chosen is the one without the odd object.
    votes = odd[:, ::-1]
    enough = votes.sum(axis=1) >= LEAST_REPEATED
    votes = votes[enough]
    return objects[enough], votes / votes.sum(axis=1, keepdims=True)


def people(data: Data, options: Options) -> Answers:
    """How far people's own response times go with their disagreement is for `levels` to say."""
    mean = [
        Score("repeated", "entropy of people's answers", intervals.mean(doubt.value))
        for name, doubt in data.doubts.items()
        if name == "disagreement"
    ]
    return Answers(mean, {}, [])


def score(data: Data, model: Model, options: Options) -> Answers:
    """Scores one model.

    Raises:
      Absent: the model has no rows for the objects.
      InputError: a row has no such similarity.
    """
    rows = things.object_rows(data.choices, model, data.photographs)
    with naming(model.path):
        similarities, repeated, *doubts = (
            odd_one_out.pair_similarities(rows, triplets, similarity=options.similarity)
            if len(triplets)
            else np.zeros((0, 3))
            for triplets in (
                data.choices.triplets,
                data.repeated,
                *(doubt.triplets for doubt in data.doubts.values()),
            )
        )
    best, notes = uncertainty.best_tau(similarities), []
    if best is None:
        notes.append(
            "no temperature is best: the similarities say nothing of people's choices, or agree "
            "with all of them."
        )
    m = len(similarities)
    scores = [] if best is None else [Score("all", TAU, Measured(best, np.nan, np.nan, m))]
    arrays: dict[str, np.ndarray] = {}
    taus = {f", tau={tau:g}": tau for tau in sorted({*uncertainty.TAUS, options.tau})}
    if best is not None:
        taus[""] = best
    for end, tau in taus.items():
        log_p = kernels.log_probabilities(similarities, tau=tau)
        found = calibration.run(np.exp(log_p), resamples=options.resamples, seed=options.seed)
        scores.append(Score("all", f"ECE{end}", found.ece))
        scores.append(Score("all", f"ECE of all pairs{end}", found.pairwise_ece))
        scores.append(Score("all", f"entropy{end}", intervals.mean(kernels.entropy(log_p))))
        if not end:
            arrays |= {f"all/bins/{key}": x for key, x in found.bins._asdict().items()}
        if len(repeated):
            p = np.exp(kernels.log_probabilities(repeated, tau=tau))
            found = calibration.run(p, data.shares, resamples=options.resamples, seed=options.seed)
            scores.append(Score("repeated", f"ECE{end}", found.ece))
    for (name, doubt), s in zip(data.doubts.items(), doubts, strict=True):
        sweep = uncertainty.run(
            s,
            doubt.value,
            taus=list(taus.values()),
            resamples=options.resamples,
            seed=options.seed,
        )
        for end, one in zip(taus, sweep, strict=True):
            if one.spearman is not None and np.isfinite(one.spearman.value):
                metric = f"spearman of entropy with {name}{end}"
                scores.append(Score("all", metric, one.spearman))
    return Answers(scores, arrays, notes)


def section(answers: Mapping[str, Answers]) -> page.Section:
    """A table of all models, and reliability diagrams of the first."""
    models = {model: found for model, found in answers.items() if model != PEOPLE}
    columns = {TAU: "best temperature", "ECE": "ECE", "ECE of all pairs": "ECE, all pairs"}
    doubts = {
        score.metric: score.metric.replace("spearman of entropy", "ρ of doubt")
        for found in models.values()
        for score in found.scores
        if score.metric.startswith("spearman of entropy") and "tau=" not in score.metric
    }
    rows = []
    for model, found in models.items():
        row: dict[str, object] = {"model": model}
        for metric, name in (columns | doubts).items():
            value = found.find("all", metric)
            row[name] = f"{value.value:.3g}" if value is not None and metric == TAU else value
        rows.append(row)
    caption = (
        "Calibration of the models' probabilities, with 95 % intervals: of the most probable "
        "answer (ECE), and of all three pairs."
    )
    if doubts:
        caption += (
            " ρ of doubt: Spearman's correlation of the entropy of a model's answers with how much "
            "people disagree, or how long they take."
        )
    blocks: list[str | page.Table | page.Picture] = [TEXT, page.Table(rows, caption)]
    calibrated = [model for model, found in models.items() if found.find("all", "ECE")]
    # Models come in order, the most human first.
    for model in calibrated if len(calibrated) <= MOST_DIAGRAMS else calibrated[:1]:
        arrays = models[model].arrays
        bins = Bins(*(arrays[f"all/bins/{name}"] for name in Bins._fields))
        ece = table.cell(models[model].find("all", "ECE"))
        picture = human_figures.reliability_diagram(bins, title=model)
        text = f"{model}: how often people give the answer that it holds most probable; ECE {ece}."
        blocks.append(page.Picture(picture, text))
    return page.Section(TITLE, blocks)


QUESTION = Question(headline=lambda _: (), load=load, people=people, score=score, section=section)
