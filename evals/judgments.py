"""Do models find the same pairs of photographs alike as people do?

Four data sets, an eval each. Peterson et al.: "coarse" are things of many kinds, each other subset
is of things of one kind, "fine" their mean. King et al.: two sets, and "mean". Cichy et al. and the
92 photographs of Kriegeskorte et al.: "all".

Metrics are named "<comparison>/<kernel>", see `rsa`; "spearman/pearson" is paper 002's. Beside the
arrays that `Answers` names, "<subset>/similarity", float32, has the similarities of all pairs (the
upper triangle, row by row): people's mean, and a model's by the Pearson kernel.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from alignet.data import judgments
from alignet.data.judgments import COARSE, FINE, JudgmentSet
from alignet.errors import Absent
from evals.answers import Answers, Headline, Question, Score
from evals.models import Model, naming
from evals.options import Options
from evals.pages import judgments_page
from evals.pages.judgments_page import CEILINGS, ONE_PERSON, PAPER
from evals.statistics import concordance, intervals, noise_ceiling, rsa
from evals.statistics import people as persons
from evals.statistics.intervals import Measured
from evals.statistics.rsa import Alignment, Judged


class Data(NamedTuple):
    """Attributes:
    sets: people's judgments, by subset.
    judged: the same as models are compared with them.
    means: by name, the subsets that it is the mean of.
    files: of all sets.
    """

    sets: Mapping[str, JudgmentSet]
    judged: Mapping[str, Judged]
    means: Mapping[str, Sequence[str]]
    files: tuple[Path, ...]


def load(data_dir: Path, options: Options, *, read: Callable[..., Sequence[JudgmentSet]]) -> Data:
    """Reads one of the data sets and draws the resamples.

    Raises:
      Absent: it is not there.
      InputError: it is malformed.
    """
    found = {subset(s.name): s for s in read(data_dir, mask_missing=options.mask_missing)}
    sets = {name: found[name] for name in sorted(found, key=lambda name: name != "coarse")}
    judged = {}
    for number, (name, one) in enumerate(sets.items()):
        with naming(one.files[0] if len(sets) == 1 else f"{one.files[0]}, {name}"):
            judged[name] = rsa.prepare(
                one.similarity,
                one.people,
                resamples=options.resamples,
                seed=(options.seed, number),
            )
    fine = [name for name in FINE if name in sets]
    means = {"fine": fine} if fine else {"mean": list(sets)} if len(sets) > 1 else {}
    read_files = dict.fromkeys(path for one in sets.values() for path in one.files)
    return Data(sets, judged, means, tuple(read_files))


def subset(name: str) -> str:
    """What scores call a set: "peterson/various" is "coarse", "king/set1" "set1", "cichy" "all"."""
    short = name.partition("/")[2]
    return "coarse" if short in COARSE else short or "all"


def people(data: Data, options: Options) -> Answers:
    """Noise ceilings where single people are known, and people's mean similarities."""
    scores, arrays, notes, undecided = [], {}, [], []
    for name, one in data.sets.items():
        arrays[f"{name}/similarity"] = _upper(one.similarity)
        order, n = concordance.triplet_order(one.similarity), len(one.ids)
        triplets = n * (n - 1) * (n - 2) // 2
        left_out = triplets - concordance.untied_triplets(order, order)
        if left_out:
            undecided.append(f"{left_out:,} of {triplets:,} ({name})")
        if one.n_masked:
            notes.append(
                f"{name}: {one.n_masked:,} of {n * (n - 1) // 2:,} pairs are not known (NaN) "
                "and left out, in both halves of people's matrices and of the models'."
            )
        if one.people is None:
            continue
        arrays[f"{name}/person"] = np.array([f"person {i + 1}" for i in range(len(one.people))])
        if len(one.people) < noise_ceiling.FEWEST:
            notes.append(f"{one.name}: {len(one.people)} people are too few for a noise ceiling.")
            continue
        for metric, value in zip(CEILINGS, noise_ceiling.noise_ceiling(one.people), strict=True):
            scores.append(Score(name, metric, value))
    if undecided:
        notes.append(
            "Triplet alignment leaves out the triplets that people's judgments leave undecided: "
            f"{', '.join(undecided)}."
        )
    missing = [name for name in FINE if name not in data.sets]
    if "fine" in data.means and missing:
        notes.append(
            f"“fine” is the mean over {', '.join(data.means['fine'])}; the AligNet paper has "
            f"{', '.join(missing)} too."
        )
    return Answers(scores, arrays, notes)


def score(data: Data, model: Model, options: Options) -> Answers:
    """One model on all sets for which it has rows.

    Raises:
      Absent: there are no rows for any set.
      InputError: rows are bad, or similarities are all equal.
    """
    found: dict[str, Alignment] = {}
    absent: list[Absent] = []
    arrays: dict[str, np.ndarray] = {}
    for name, one in data.sets.items():
        try:
            rows = model.rows(one.name, one.ids, one.photographs)
        except Absent as reason:
            absent.append(reason)
            continue
        with naming(f"{model.path}, {one.name}"):
            found[name] = rsa.score(rows, data.judged[name])
    if not found:
        raise absent[0]

    notes = [str(reason).removeprefix(f"{model.path}: ") for reason in absent]
    scores = []
    for name, one in found.items():
        scores += [Score(name, metric, value) for metric, value in one.measured.items()]
        scores += _with_people(name, one, options)
        arrays[f"{name}/similarity"] = _upper(one.similarity)
        arrays |= {f"{name}/{metric}/samples": v for metric, v in one.samples.items()}
        arrays |= {f"{name}/{metric}/person": v for metric, v in one.people.items()}
        tied = ", ".join(f"{n:,} ({kernel})" for kernel, n in one.tied.items() if n)
        if tied:
            whose = f"{data.sets[name].name}: triplet alignment also leaves out those that"
            notes.append(f"{whose} the model ties: {tied}.")
    for name, parts in data.means.items():
        if set(parts) <= set(found):
            for metric, value, samples in _mean([found[part] for part in parts]):
                scores.append(Score(name, metric, value))
                if samples is not None:
                    arrays[f"{name}/{metric}/samples"] = samples
        else:
            lacking = [part for part in parts if part not in found]
            notes.append(f"“{name}” is not scored, as there are no rows for {', '.join(lacking)}.")
    return Answers(scores, arrays, notes)


def _with_people(name: str, one: Alignment, options: Options) -> list[Score]:
    """Agreement with single people, and how much they differ in it."""
    if one.one_person is None:
        return []
    spread = persons.spread(
        one.people[PAPER], one.variance, seed=options.seed, resamples=options.resamples
    )
    # The mean's interval there is over people alone.
    _, *spreads = persons.scores(name, ONE_PERSON, spread)
    return [Score(name, ONE_PERSON, one.one_person), *spreads]


def _mean(parts: Sequence[Alignment]) -> list[tuple[str, Measured, np.ndarray | None]]:
    """Means over sets of other photographs, whose errors are independent."""
    result = []
    for metric in parts[0].measured:
        found = [part.measured[metric] for part in parts]
        value, n = float(np.mean([one.value for one in found])), sum(one.n for one in found)
        if metric in parts[0].samples:
            samples = np.mean([part.samples[metric] for part in parts], axis=0)
            result.append((metric, intervals.recentred(value, samples, n), samples))
        else:
            half = np.linalg.norm([one.high - one.value for one in found]) / len(found)
            result.append((metric, Measured(value, value - half, value + half, n), None))
    return result


def _upper(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " m"]:
    return matrix[np.triu_indices(len(matrix), 1)].astype(np.float32)


def _question(
    title: str,
    headline: Sequence[tuple[str, str]],
    read: Callable[..., Sequence[JudgmentSet]],
    introduction: str,
) -> Question:
    shown = [Headline(name, PAPER, column) for name, column in headline]
    return Question(
        headline=lambda _: shown,
        load=functools.partial(load, read=read),
        people=people,
        score=score,
        section=functools.partial(judgments_page.section, title, introduction),
    )


QUESTIONS = {
    "peterson": _question(
        "Rated similarity: coarse and fine",
        [("coarse", "Peterson, coarse"), ("fine", "Peterson, fine")],
        judgments.load_peterson,
        "People rated how alike two photographs are, for all pairs of a set (Peterson et al. "
        "2016, 2018). The coarse set has things of many kinds; each fine set has things of one "
        "kind, such as animals, and “fine” is the mean of those sets.",
    ),
    "king": _question(
        "Arranged similarity: King et al.",
        [("mean", "King")],
        judgments.load_king,
        "People arranged photographs on a screen, like ones close together (King et al. 2019): two "
        "sets of photographs, and the mean of both.",
    ),
    "cichy": _question(
        "Arranged similarity: Cichy et al.",
        [("all", "Cichy")],
        judgments.load_cichy,
        "People arranged photographs on a screen, like ones close together (Cichy et al. 2019).",
    ),
    "kriegeskorte92": _question(
        "Arranged similarity: 92 photographs",
        [("all", "92 photographs")],
        judgments.load_kriegeskorte92,
        "People arranged the 92 photographs of Kriegeskorte et al. (2008) on a screen, like ones "
        "close together (Mur et al. 2013).",
    ),
}
