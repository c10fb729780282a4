"""How findings of the ablations come of scores."""

import numpy as np
import pytest

from alignet.recipes import ablations
from alignet.recipes.ablations import CATEGORIES, SURFACE
from configs import ablations as recipe
from evals.answers import Answers
from evals.recipes import ablations_findings
from evals.runs import Run
from evals.statistics import crossed, odd_one_out


def _config(**changes):
    config = recipe.get_config()
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


CHOICES = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]] * 50)
M = 200  # choices, and test images


class _Scores:
    """Made scores, by arm and size: shares of right answers, alike for all data sets of a kind."""

    def __init__(self):
        self.runs = {"": {}, "new_categories": {}}
        self.rng = np.random.default_rng(0)

    def add(self, arm, *sizes, categories=0.3, surface=0.3, right=0.5, new=0.5):
        for size in sizes or ("medium",):
            arrays = {
                f"{name}/accuracy, ridge, 1-shot/draws": self._answers(share, (3, M))
                for kind, share in ((CATEGORIES, categories), (SURFACE, surface))
                for name in kind
            }
            for by_arm, share in zip(self.runs.values(), (right, new), strict=True):
                run = by_arm.setdefault(arm, Run([], {"things": {}, "fewshot": {}}, {}))
                chosen = {"all/accuracy/correct": self._answers(share, M) == 1}
                run.answers["things"][size] = Answers([], chosen, [])
                run.answers["fewshot"][size] = Answers([], arrays, [])

    def _answers(self, share, shape):
        """As many right ones, but different ones each time."""
        right = (np.arange(M) < round(share * M)) * np.ones(shape)
        return self.rng.permuted(right, axis=-1).astype(np.float16)

    def scored(self):
        sharing = dict.fromkeys(self.runs, odd_one_out.prepare(CHOICES))
        return ablations_findings.Scored(self.runs, sharing, 1)

    def findings(self, name, **changes):
        ablation = ablations.plan(_config(**changes), n_images=3000)[name]
        return list(ablations_findings.FINDINGS[name](self.scored(), ablation))


def test_a_finding_is_a_difference_of_means_over_data_sets_and_sizes():
    scores = _Scores()
    scores.add("base", "small", "large", categories=0.2, surface=0.6)
    scores.add("aligned", "small", categories=0.4, surface=0.5)
    scores.add("aligned", "large", categories=0.5, surface=0.5)
    gains, larger = scores.findings("capacity", **{"sizes.capacity": ("small", "large")})
    assert gains.here.value == pytest.approx(0.25) and gains.also.value == pytest.approx(-0.1)
    assert larger.here.value == pytest.approx(0.1) and larger.also.value == pytest.approx(0)
    assert [gains.verdict, larger.verdict] == ["as in the paper"] * 2


def test_the_interval_of_a_difference_is_that_of_its_data_sets_together():
    scores = _Scores()
    scores.add("base", categories=0.3)
    scores.add("aligned", categories=0.35)
    found = scores.scored().learned(CATEGORIES, {("aligned", "medium"): 1, ("base", "medium"): -1})
    name = "{}/accuracy, ridge, 1-shot/draws"
    by_arm = [scores.runs[""][arm].answers["fewshot"]["medium"] for arm in ("aligned", "base")]
    single = []
    for one in CATEGORIES:
        a, b = (arrays.arrays[name.format(one)].astype(float) for arrays in by_arm)
        single.append(crossed.mean(a - b).measured)
    errors = np.array([(one.high - one.low) / 2 for one in single])
    assert found.value == pytest.approx(np.mean([one.value for one in single]))
    assert found.high - found.value == pytest.approx(np.sqrt((errors**2).sum()) / len(errors))
    assert found.n == M * len(CATEGORIES)


@pytest.mark.parametrize(
    ("few", "most", "verdicts"),
    [
        (0.2, 0.6, ["as in the paper", "the opposite"]),
        (0.6, 0.3, ["the opposite", "as in the paper"]),
        (0.2, 0.2, ["not shown", "not shown"]),
    ],
)
def test_what_the_paper_did_not_find_is_said(few, most, verdicts):
    scores = _Scores()
    for arm in ("base", "images/100", "images/300", "images/1000"):
        scores.add(arm, categories=0.2)
    scores.add("images/30", categories=few)
    scores.add("aligned", categories=most)
    more, hundredth = scores.findings("images")
    assert [more.verdict, hundredth.verdict] == verdicts
    assert more.paper.endswith("3,000 against 30.") and hundredth.paper.endswith("images, 30.")
    assert hundredth.here.value == pytest.approx(few - (most + 0.2) / 2)


@pytest.mark.parametrize(("share", "verdict"), [(0.3, "a difference"), (0.7, "none is shown")])
def test_schemes_are_alike_unless_they_are_shown_to_differ(share, verdict):
    scores, sizes = _Scores(), ("small", "medium", "large")
    scores.add("aligned", *sizes, categories=0.7)
    scores.add("sampling/random", *sizes, categories=0.3)
    scores.add("sampling/class", *sizes, categories=share)
    random, by_class = scores.findings("sampling")
    assert (random.verdict, by_class.verdict) == ("as in the paper", verdict)


def test_people_s_choices_are_compared_with_the_best_setting():
    scores, arms = _Scores(), _direct()
    scores.add("base", categories=0.3)
    scores.add("aligned", categories=0.4, right=0.6, new=0.7)
    for number, arm in enumerate(arms):
        scores.add(arm, categories=0.2 + 0.1 * number, right=0.95 if number == 2 else 0.4, new=0.5)
    worse, takes, chosen = scores.findings("things")
    assert worse.here.value == pytest.approx(0.4 - 0.5) and worse.verdict == "the opposite"
    assert takes.here.value == pytest.approx(0.3 - 0.35) and "in 1 of 4 settings" in takes.paper
    assert chosen.here.value == pytest.approx(0.6 - 0.95) and chosen.verdict == "the opposite"
    assert chosen.also.value == pytest.approx(0.7 - 0.5) and chosen.also.low > 0


def _direct():
    plan = ablations.plan(_config(), n_images=3000)
    return [arm.name for arm in plan["things"].arms.values() if arm.name != "aligned"]


@pytest.mark.parametrize(("share", "verdict"), [(0.9, "shown"), (0.2, "the opposite")])
def test_what_is_ours_is_not_the_papers(share, verdict):
    scores = _Scores()
    for n in ("30", "100", "300", "1000"):
        scores.add(f"images/{n}", right=0.5, new=0.5)
        scores.add(f"dense/{n}-dense", right=share, new=0.5)
    scores.add("aligned", right=0.5)
    scores.add("dense/3000-dense", right=share)
    found = scores.findings("dense")
    assert [finding.verdict for finding in found] == [verdict] * 5
    assert found[3].paper == "Of 1,000 images, all triplets within a batch teach more (ours)."
    assert found[3].here.value == pytest.approx(share - 0.5)
