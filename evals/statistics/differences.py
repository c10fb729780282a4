"""Is one model more human than another, or could chance have made the difference?

Two models that answer the same questions are compared answer by answer, which says far more than
their two intervals do. Where many pairs of models are compared, Holm's correction keeps the
probability that any of them is called different by mistake at 5 %.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

from alignet.errors import InputError
from evals.answers import PEOPLE, Answers
from evals.statistics import crossed, intervals, odd_one_out
from evals.statistics.intervals import Measured

ALPHA = 0.05
MCNEMAR, PAIRED_Z, BOOTSTRAP = "exact McNemar and paired z", "paired z", "paired bootstrap"
CROSSED = "paired t over draws and images"
TESTS = {"correct": MCNEMAR, "credit": PAIRED_Z, "draws": CROSSED, "samples": BOOTSTRAP}


class Difference(NamedTuple):
    """Two models on one metric, of which more is better.

    Attributes:
      subset, metric: what was measured.
      first, second: the models' names.
      difference: first − second, with its own 95 % interval, not corrected for other pairs.
      p: probability, were the two alike, of a difference at least this large; two-sided.
      p_holm: p corrected for all pairs compared on this metric.
      test: where p comes from.
    """

    subset: str
    metric: str
    first: str
    second: str
    difference: Measured
    p: float
    p_holm: float
    test: str

    @property
    def better(self) -> str | None:
        """The better model's name, if a difference is shown at α = .05 after Holm's correction."""
        if self.p_holm > ALPHA or self.difference.value == 0:
            return None
        return self.first if self.difference.value > 0 else self.second


def run(
    answers: Mapping[str, Answers],
    *,
    metrics: Sequence[tuple[str, str]],
    baseline: str | None = None,
) -> list[Difference]:
    """Compares models pair by pair.

    Accuracies ("…/correct") are compared by two tests and the larger p is taken: the exact McNemar
    test asks whether the difference would hold for new answers to questions about these very
    objects, the z test whether it would for new objects too, since it allows for triplets that
    share some. Shares of credit ("…/credit") have the z test alone. Accuracies after several draws
    of examples ("…/draws") have a t test that holds for other draws and other images. Everything
    else ("…/samples") is compared in resamples that the models share; there p comes from the
    standard deviation of the differences, as counting resamples could give no p below
    2/(resamples + 1), which Holm's correction over many pairs would never let pass.

    Args:
      answers: to one eval, by model; people's are under PEOPLE.
      metrics: subset and metric; models that lack one, or have it without the arrays that a test
        needs, are not compared on it. More must be better.
      baseline: compares every other model with this one; by default all pairs are compared.

    Returns:
      By metric, then by pair in the order of the models.

    Raises:
      InputError: two models' answers are not to the same items, or no model is the baseline.
    """
    models = [name for name in answers if name != PEOPLE]
    if baseline is not None and baseline not in models:
        raise InputError(f"no model is called {baseline!r}; there are {', '.join(models)}.")
    pairs = list(itertools.combinations(models, 2))
    if baseline is not None:
        pairs = [(name, baseline) for name in models if name != baseline]
    result = []
    for subset, metric in metrics:
        compare = _Pairs(answers, subset, metric)
        found = [one for pair in pairs if (one := compare(*pair)) is not None]
        corrected = holm(np.array([one.p for one in found], np.float64))
        result += [o._replace(p_holm=float(p)) for o, p in zip(found, corrected, strict=True)]
    return result


def mcnemar(first: Bool[np.ndarray, " m"], second: Bool[np.ndarray, " m"]) -> float:
    """The exact two-sided p of McNemar's test that two are right equally often.

    Args:
      first: whether the first one's answer to each question was right.
      second: likewise, of the same questions.
    """
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    if wins + losses == 0:
        return 1.0
    return float(scipy.stats.binomtest(wins, wins + losses, 0.5).pvalue)


def holm(p: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Corrects p-values for their number (Holm 1979)."""
    order = np.argsort(p)
    steps = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def p_text(p: float) -> str:
    """A p-value as it is printed: never as 0.

    >>> p_text(0.0316), p_text(1e-9)
    ('p = .032', 'p < .001')
    """
    if p < 0.001:
        return "p < .001"
    return "p = 1" if p >= 0.9995 else f"p = {p:.3f}".replace("0.", ".")


class _Pairs:
    """Compares pairs of models on one metric."""

    def __init__(self, answers: Mapping[str, Answers], subset: str, metric: str):
        self.answers, self.subset, self.metric = answers, subset, metric
        people = answers.get(PEOPLE)
        self.triplets = people.arrays.get(f"{subset}/triplets") if people else None
        self.sharing = None

    def __call__(self, first: str, second: str) -> Difference | None:
        for kind, test in TESTS.items():
            a, b = (self._array(name, kind) for name in (first, second))
            if a is None or b is None:
                continue
            if a.shape != b.shape:
                raise InputError(
                    f"{self.subset}, {self.metric}: {first} has {_size(a)} {kind} and {second} "
                    f"{_size(b)}; the two runs did not score the same items with the same settings."
                )
            if test == BOOTSTRAP:
                compared = self._by_samples(first, second, a - b)
                if compared is None:
                    return None
                difference, p = compared
            elif test == CROSSED:
                difference, p = crossed.mean(a.astype(np.float64) - b)
            else:
                difference, p = self._by_answers(a.astype(np.float64) - b)
                p = max(p, mcnemar(a, b)) if test == MCNEMAR else p
            return Difference(self.subset, self.metric, first, second, difference, p, p, test)
        return None

    def _array(self, model: str, kind: str) -> np.ndarray | None:
        return self.answers[model].arrays.get(f"{self.subset}/{self.metric}/{kind}")

    def _by_answers(self, differences: np.ndarray) -> tuple[Measured, float]:
        if self.triplets is None:
            measured = intervals.mean(differences)
        elif len(self.triplets) != len(differences):
            raise InputError(
                f"{self.subset}, {self.metric}: {len(differences)} answers to "
                f"{len(self.triplets)} triplets; the runs did not score the same items."
            )
        else:
            self.sharing = self.sharing or odd_one_out.prepare(self.triplets)
            measured = odd_one_out.mean_over_triplets(differences, self.sharing)
        error = (measured.high - measured.value) / 1.96
        return measured, _two_sided(measured.value, error, measured.n)

    def _by_samples(
        self, first: str, second: str, differences: np.ndarray
    ) -> tuple[Measured, float] | None:
        ends = [self.answers[name].find(self.subset, self.metric) for name in (first, second)]
        known = differences[np.isfinite(differences)]
        if None in ends or len(known) < 2:
            return None
        value = ends[0].value - ends[1].value
        if not np.isfinite(value):
            return None
        # Resampling lowers correlations, high ones more: without that bias, as for single models.
        known = known - known.mean() + value
        measured = intervals.percentile(value, known, min(ends[0].n, ends[1].n))
        return measured, _two_sided(value, float(known.std(ddof=1)), measured.n)


def _size(array: np.ndarray) -> str:
    return " × ".join(map(str, array.shape))


def _two_sided(value: float, error: float, n: int) -> float:
    if value == 0:
        return 1.0
    # Without an error all n differ alike; few may do so by chance.
    p = 2 * scipy.stats.norm.sf(abs(value) / error) if error > 0 else 2 * 0.5**n
    return float(min(p, 1))
