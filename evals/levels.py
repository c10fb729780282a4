"""Levels: is a model as human in broad, in fine and in categorical judgments of similarity?

Triplets are coarse (three photographs of three classes), fine (of one class), or at a class
boundary (two of one, one of another); some five people picked the odd one out of each. A model is
scored on the majority's answer, as in paper 002, and on single people's. Its doubts, the entropy of
its probabilities, are compared with people's: with their response times and their disagreement.

Subsets are the types of triplets; "all" is the mean of the three, "pooled" all triplets alike.
Arrays beside those that `Answers` names, here for coarse triplets: "coarse/accuracy/correct" and
people's "coarse/triplets" are of the triplets that have a majority; where ties are given fractional
credit, of all, and "coarse/accuracy/credit" stands for "correct". "coarse/log_rt" and
"coarse/entropy" are of the triplets for which there are response times. "coarse/reliability" has a
row a bin: mean probability, share of people's answers, number of triplets.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from alignet import triplets as kernels
from alignet.data import levels
from alignet.errors import InputError
from evals.answers import Answers, Headline, Question, Score
from evals.models import Model, naming
from evals.options import Options
from evals.pages import levels_page
from evals.pages.levels_page import AGREEMENT, CEILING, DISAGREEMENT, DOUBT, ECE, SLOWER, SPEED
from evals.statistics import (
    calibration,
    ceilings,
    intervals,
    odd_one_out,
    resamples,
    response_times,
    uncertainty,
)
from evals.statistics import people as persons
from evals.statistics.intervals import Measured


class Kind(NamedTuple):
    """The triplets of one type.

    Attributes:
      rows: which of the study's triplets these are.
      votes: how many people chose each photograph as the odd one out.
      scored: the triplets that models are scored on.
      entropy: of the votes, nats.
      log_rt: mean log response time; NaN where no answer counts.
      answers: to these triplets, which are numbered as here.
      draws: bootstrap resamples of the triplets, the same for every model.
    """

    rows: Int[np.ndarray, " t"]
    votes: Int[np.ndarray, "t 3"]
    scored: Bool[np.ndarray, " t"]
    entropy: Float[np.ndarray, " t"]
    log_rt: Float[np.ndarray, " t"]
    answers: levels.Responses
    draws: UInt8[np.ndarray, "r t"]


class Data(NamedTuple):
    """Attributes:
    study: what the filters leave.
    kinds: by name, those of `levels.CLASSES` that occur.
    photographs: the folder where they are, if anywhere.
    files: of the study.
    """

    study: levels.Levels
    kinds: Mapping[str, Kind]
    photographs: Path | None
    files: tuple[Path, ...]


########################################## Data ##########################################


def load(data_dir: Path, options: Options) -> Data:
    """Reads the study.

    Raises:
      Absent: it is not there.
      InputError: it is malformed, or no triplet of some type can be scored.
    """
    folder = Path(data_dir) / levels.FOLDER
    study = levels.load_levels(data_dir, options.levels)
    kinds = {}
    for name, classes in levels.CLASSES.items():
        if (study.classes == classes).any():
            kind = _kind(study, classes, options)
            for missing, known in (
                ("majority", kind.scored),
                ("response time", np.isfinite(kind.log_rt)),
            ):
                if not known.any():
                    raise InputError(
                        f"{folder}: none of its {len(kind.rows):,} {name} triplets has a {missing};"
                        " expected more data, or other filters."
                    )
            kinds[name] = kind
    photographs = folder / "images"
    return Data(study, kinds, photographs if photographs.is_dir() else None, study.files)


def _kind(study: levels.Levels, classes: int, options: Options) -> Kind:
    rows = np.flatnonzero(study.classes == classes)
    number = np.full(len(study.triplets), -1)
    number[rows] = np.arange(len(rows))
    of_kind = number[study.responses.triplet] >= 0
    answers = levels.Responses(*(column[of_kind] for column in study.responses))
    answers = answers._replace(triplet=number[answers.triplet])
    votes = study.votes[rows]
    scored = _most(votes).sum(axis=1) == 1
    if options.levels.ties == "fractional":
        scored[:] = True
    n = np.bincount(answers.triplet, answers.timed, len(rows))
    sums = np.bincount(answers.triplet, answers.timed * answers.log_rt, len(rows))
    return Kind(
        rows=rows,
        votes=votes,
        scored=scored,
        # Sorted, so that equal votes have equal entropies to the last digit: ties in ranks.
        entropy=uncertainty.entropy(np.sort(votes) / votes.sum(axis=1, keepdims=True)),
        log_rt=np.where(n > 0, sums / np.maximum(n, 1), np.nan),
        answers=answers,
        # Of its own: means over the types take their errors to be independent.
        draws=resamples.draw(len(rows), resamples=options.resamples, seed=(options.seed, classes)),
    )


def _most(votes: Int[np.ndarray, "t 3"]) -> Bool[np.ndarray, "t 3"]:
    """Which answers are the majority's, or tied for it."""
    return votes == votes.max(axis=1, keepdims=True)


########################################## Answers ##########################################


class _Findings:
    """Answers in the making, about people or a model."""

    def __init__(self, data: Data, options: Options):
        self.data, self.options = data, options
        self.scores: list[Score] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.notes: list[str] = []

    def add(
        self, subset: str, metric: str, value: Measured, samples: np.ndarray | None = None
    ) -> None:
        """Adds a number, and what it is in each resample if that will be asked for."""
        self.scores.append(Score(subset, metric, value))
        if samples is not None:
            self.arrays[f"{subset}/{metric}/samples"] = samples

    def add_correlation(
        self, name: str, metric: str, value: float | np.floating, samples: Float[np.ndarray, " r"]
    ) -> None:
        """Adds a correlation over the triplets that have response times, if it is defined."""
        if np.isnan(value):
            return
        n = int(np.isfinite(self.data.kinds[name].log_rt).sum())
        self.add(name, metric, intervals.percentile(float(value), samples, n), samples)

    def add_means(self) -> None:
        """Adds means over the three types of triplets, if there are all; they are independent."""
        kinds = self.data.kinds
        if len(kinds) < len(levels.CLASSES):
            return
        for metric in ("accuracy", AGREEMENT, CEILING, f"{AGREEMENT} ceiling"):
            parts = [s.value for s in self.scores if s.metric == metric and s.subset in kinds]
            if not parts:
                continue
            value, low, high, n = np.array(parts).T
            mean, half = float(value.mean()), float(np.linalg.norm(high - low)) / 2 / len(parts)
            samples = [self.arrays.get(f"{name}/{metric}/samples") for name in kinds]
            samples = None if samples[0] is None else np.mean(samples, axis=0)
            self.add("all", metric, Measured(mean, mean - half, mean + half, int(n.sum())), samples)

    def add_shares_by_person(self, name: str, hits: Float[np.ndarray, " r"]) -> None:
        """Adds each person's share of answers that are hits."""
        person, n = self.data.kinds[name].answers.person, len(self.data.study.people)
        answers = np.bincount(person, minlength=n)
        total, shares = np.bincount(person, hits, minlength=n), np.full(n, np.nan)
        np.divide(total, answers, out=shares, where=answers > 0)
        self._add_persons(name, AGREEMENT, shares, persons.share_variance(shares, answers))

    def add_doubts_by_person(self, name: str, entropy: Float[np.ndarray, " t"]) -> None:
        """Adds the correlation of triplets' entropies with each person's response times."""
        timed = self.data.kinds[name].answers.timed
        answers = levels.Responses(*(x[timed] for x in self.data.kinds[name].answers))
        values, variance = response_times.spearman_by_person(
            entropy[answers.triplet], answers.log_rt, answers.person, len(self.data.study.people)
        )
        self._add_persons(name, DOUBT, values, variance)

    def _add_persons(
        self, name: str, metric: str, values: np.ndarray, variance: np.ndarray
    ) -> None:
        self.arrays[f"{name}/{metric}/person"] = values
        if np.isfinite(values).sum() > 1:
            options = self.options
            spread = persons.spread(
                values, variance, seed=options.seed, resamples=options.resamples
            )
            self.scores += persons.scores(name, metric, spread)


########################################## People ##########################################


def people(data: Data, options: Options) -> Answers:
    """Ceilings, response times, and whether people take longer where they disagree."""
    study, found, medians = data.study, _Findings(data, options), {}
    found.arrays["counts"] = np.array(list(study.counts.values()))
    found.arrays["counts/of"] = np.array(list(study.counts))
    for name, kind in data.kinds.items():
        _add_ceilings(found, name, kind.votes)
        timed = np.isfinite(kind.log_rt)
        found.arrays |= {
            f"{name}/triplets": study.triplets[kind.rows[kind.scored]],
            f"{name}/log_rt": kind.log_rt[timed],
            f"{name}/entropy": kind.entropy[timed],
            f"{name}/person": study.people,
        }
        value, samples = resamples.spearman(kind.draws, kind.entropy[None], kind.log_rt[None])
        found.add_correlation(name, DOUBT, value[0, 0], samples[:, 0, 0])
        if np.isnan(value[0, 0]):
            found.notes.append(
                f"{name}: there is no correlation of people's response times with their "
                "disagreement, as one of them is the same for all triplets."
            )
        found.add_doubts_by_person(name, kind.entropy)
        found.add_shares_by_person(name, _others_agree(kind))
        answers, fast = kind.answers, kind.answers.timed
        medians[name] = response_times.medians(
            answers.log_rt[fast], answers.person[fast], len(study.people)
        )
        seconds = np.exp(medians[name])
        found.arrays[f"{name}/{SPEED}/person"] = seconds
        found.add(name, SPEED, intervals.mean(seconds[np.isfinite(seconds)]))
    found.add_means()
    _add_ceilings(found, "pooled", study.votes)
    for slow, fast in (("coarse", "fine"), ("fine", "boundary")):
        if slow in medians and fast in medians:
            _add_test(found, f"{SLOWER}, {slow} − {fast}", medians[slow], medians[fast])
    return Answers(found.scores, found.arrays, [*_notes(data, options), *found.notes])


def _add_ceilings(found: _Findings, subset: str, votes: Int[np.ndarray, "t 3"]) -> None:
    out = ceilings.leave_one_out(votes)
    found.add(subset, CEILING, out.fractional)
    found.add(subset, f"{CEILING}, optimistic", out.optimistic)
    found.add(subset, f"{CEILING}, strict", out.strict)
    found.add(subset, f"{AGREEMENT} ceiling", ceilings.majority_share(votes))


def _add_test(found: _Findings, metric: str, slow: np.ndarray, fast: np.ndarray) -> None:
    differences = (slow - fast)[np.isfinite(slow - fast)]
    if len(differences) < 2 or not np.ptp(differences):
        return
    test = response_times.paired_t(slow, fast)
    found.add("all", metric, test.difference)
    found.add("all", f"{metric}, t", Measured(test.t, np.nan, np.nan, test.difference.n))
    found.add("all", f"{metric}, p", Measured(test.p, np.nan, np.nan, test.difference.n))


def _others_agree(kind: Kind) -> Float[np.ndarray, " r"]:
    """Whether each answer is the majority's of the others, tied answers counting in part."""
    triplet, choice, voted = kind.answers.triplet, kind.answers.choice, kind.answers.voted
    most = _most(kind.votes[triplet] - voted[:, None] * (choice[:, None] == np.arange(3)))
    return most[np.arange(len(choice)), choice] / most.sum(axis=1)


def _notes(data: Data, options: Options) -> list[str]:
    study, filters = data.study, options.levels
    notes = [
        f"{study.counts['answers kept']:,} answers of {len(study.people):,} people to "
        f"{len(study.triplets):,} triplets; on average {study.slow:.2%} of a person's answers took "
        f"more than {filters.max_seconds:g} s and do not count for response times."
    ]
    for name, kind in data.kinds.items():
        tied = int((_most(kind.votes).sum(axis=1) > 1).sum())
        done = (
            "they are not scored"
            if filters.ties == "drop"
            else "choosing one of the tied answers is given its share of credit"
        )
        notes.append(
            f"{tied:,} of {len(kind.rows):,} {name} triplets have no majority (2-2-1); {done}."
        )
    return notes


########################################## Models ##########################################


def score(data: Data, model: Model, options: Options) -> Answers:
    """Accuracy, agreement with single people, doubts and calibration of one model.

    Raises:
      Absent: the model has no rows for the photographs.
      InputError: the rows are bad.
    """
    rows = model.rows(levels.FOLDER, data.study.ids, data.photographs)
    with naming(model.path):
        similarities = odd_one_out.pair_similarities(
            rows, data.study.triplets, similarity=options.similarity
        )
    found = _Findings(data, options)
    for name, kind in data.kinds.items():
        own = similarities[kind.rows]
        _score_choices(found, name, kernels.odd_one_out(own))
        _score_doubts(found, name, own)
        _score_probabilities(found, name, own)
    found.add_means()
    return Answers(found.scores, found.arrays, found.notes)


def _score_choices(found: _Findings, name: str, odd: Int[np.ndarray, " t"]) -> None:
    """Compares the odd one out (−1: tied) with the majority's, and with each person's."""
    kind = found.data.kinds[name]
    picked = odd[:, None] == np.arange(3)
    most = _most(kind.votes)
    credit = np.where(kind.scored, (picked & most).sum(axis=1) / most.sum(axis=1), np.nan)
    given = credit[kind.scored]
    if found.options.levels.ties == "drop":
        found.arrays[f"{name}/accuracy/correct"] = given > 0
        accuracy = intervals.proportion(int(given.sum()), len(given))
    else:
        found.arrays[f"{name}/accuracy/credit"] = given
        accuracy = intervals.mean(given)
    found.add(name, "accuracy", accuracy, resamples.means(kind.draws, credit))
    shares = (picked * kind.votes).sum(axis=1) / kind.votes.sum(axis=1)
    found.add(name, AGREEMENT, intervals.mean(shares), resamples.means(kind.draws, shares))
    hits = picked[kind.answers.triplet, kind.answers.choice]
    found.add_shares_by_person(name, hits.astype(np.float64))
    if (odd < 0).any():
        found.notes.append(
            f"{name}: {(odd < 0).sum():,} triplets have no single most similar pair, which counts "
            "as a wrong answer."
        )


def _score_doubts(found: _Findings, name: str, similarities: Float[np.ndarray, "t 3"]) -> None:
    """Correlates the entropy of the answers with response times and with disagreement."""
    kind, own = found.data.kinds[name], found.options.tau
    taus = list(dict.fromkeys((own, *uncertainty.TAUS)))
    entropies = np.stack([uncertainty.model_entropy(similarities, tau=tau) for tau in taus])
    found.arrays[f"{name}/entropy"] = entropies[0, np.isfinite(kind.log_rt)]
    found.add_doubts_by_person(name, entropies[0])
    targets = np.stack([kind.log_rt, kind.entropy])
    value, samples = resamples.spearman(kind.draws, entropies, targets)
    named = {"": 0} | {f", tau={tau:g}": taus.index(tau) for tau in uncertainty.TAUS}
    for suffix, row in named.items():
        for column, metric in enumerate((DOUBT, DISAGREEMENT)):
            spread = samples[:, row, column]
            found.add_correlation(name, metric + suffix, value[row, column], spread)
    if np.isnan(value[0]).any():
        found.notes.append(
            f"{name}: there is no correlation with people's doubts at τ = {own:g}, as the model's "
            "entropy, or what it is compared with, is the same for all triplets."
        )


def _score_probabilities(
    found: _Findings, name: str, similarities: Float[np.ndarray, "t 3"]
) -> None:
    """Compares probabilities with the shares of people's answers."""
    kind, options = found.data.kinds[name], found.options
    p = np.exp(kernels.log_probabilities(similarities, tau=options.tau))
    # The odd one out of pair c is the photograph at place 2 − c.
    shares = (kind.votes / kind.votes.sum(axis=1, keepdims=True))[:, ::-1]
    measured = calibration.run(p, shares, resamples=options.resamples, seed=options.seed)
    found.add(name, ECE, measured.ece)
    found.add(name, f"{ECE} of all pairs", measured.pairwise_ece)
    bins = measured.pairwise_bins
    columns = [bins.confidence, bins.frequency, bins.n]
    found.arrays[f"{name}/reliability"] = np.stack(columns, axis=1)


QUESTION = Question(
    headline=lambda _: [
        Headline(name, "accuracy", f"Levels, {name}", odd_one_out.CHANCE) for name in levels.CLASSES
    ],
    load=load,
    people=people,
    score=score,
    section=levels_page.section,
)
