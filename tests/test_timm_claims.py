"""Claims are judged by intervals, and the report says the worse first."""

import numpy as np
import pandas as pd
import pytest

from evals.pages import study_figures
from evals.pages.figures import svg
from evals.pages.study_figures import Cloud, Curves
from evals.statistics.intervals import Measured
from evals.timm_study import claims, families, models, tables
from evals.timm_study.claims import CONTRADICTED, HOLDS, NOT_SHOWN, UNKNOWN


@pytest.mark.parametrize(
    ("ends", "sign", "expected"),
    [
        ((0.1, 0.3), 1, HOLDS),
        ((-0.3, -0.1), 1, CONTRADICTED),
        ((-0.1, 0.3), 1, NOT_SHOWN),
        ((-0.3, -0.1), -1, HOLDS),
        ((0.1, 0.3), -1, CONTRADICTED),
        ((np.nan, np.nan), 1, UNKNOWN),
    ],
)
def test_verdicts_follow_from_intervals(ends, sign, expected):
    assert claims.verdict(Measured(float(np.mean(ends)), *ends, 9), sign) == expected


def test_p_is_never_zero():
    assert [claims.p(x) for x in (0.0, 1e-9, 0.0421, 1.0, np.nan)] == [
        "<.001",
        "<.001",
        ".042",
        "1.000",
        "–",
    ]


@pytest.mark.parametrize("name", ["cifar100", "cifar100/test", "cifar100_test"])
def test_one_shot_learning_is_found_whatever_the_set_is_called(name):
    assert tables.is_one_shot(f"{name}, logistic, 1-shot", "cifar100")
    assert not tables.is_one_shot(f"{name}, linear, 1-shot", "cifar100")
    assert not tables.is_one_shot(f"{name}, logistic, 10-shot", "cifar100")
    assert not tables.is_one_shot(f"{name}, logistic, 1-shot", "mnist")


def test_fashion_mnist_is_not_mnist():
    assert tables.is_one_shot("fashion_mnist/test, logistic, 1-shot", "fashion_mnist")
    assert not tables.is_one_shot("fashion_mnist/test, logistic, 1-shot", "mnist")


GIVEN = "ImageNet top-1"


def world(n=45, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    table = pd.DataFrame(
        {m: x + 0.1 * rng.normal(size=n) for m in ("pearson", "spearman", "triplet")},
        index=[f"m{i:02}" for i in range(n)],
    )
    table["imagenet top1"] = rng.uniform(60, 80, size=n)
    table["sketch top1"] = x**2 + 0.2 * rng.normal(size=n)
    table["a top1"] = -(x**2) + 0.2 * rng.normal(size=n)
    return table, [f"family {i % 15:02}" for i in range(n)]


def judged(table, family):
    covariates = table[["imagenet top1"]].to_numpy()
    conditions = {"": covariates[:, :0], GIVEN: covariates}
    properties = [p for p in tables.RESULTS if p.column in table]
    drawn = {"resamples": 100, "seed": 0}
    found = claims.Tables(
        tables.intercorrelations(table, family, **drawn),
        tables.with_imagenet(table, properties, family, **drawn),
        tables.all_correlations(table, properties, conditions, family, **drawn),
        tables.shapes(table, properties, conditions),
        tables.group_means(table, properties),
        tables.without_families(
            table, properties, covariates, GIVEN, family, tested=properties[1:]
        ),
        [],
        [],
        [],
    )
    return found, claims.judge(found, table.assign(**{"real gain": np.nan}), GIVEN, "")


def test_a_bend_upwards_holds_and_one_downwards_is_contradicted():
    found, judgement = judged(*world())
    by_claim = {claim.claim: claim for claim in judgement}
    up = by_claim[f"ImageNet-Sketch top-1 rises with z² of Pearson alignment, given {GIVEN}"]
    down = by_claim[f"ImageNet-A top-1 rises with z² of Pearson alignment, given {GIVEN}"]
    u = by_claim[f"ImageNet-Sketch top-1 is a U over Pearson alignment, given {GIVEN}"]
    assert u.verdict == HOLDS and u.without == "none"
    assert (
        up.verdict == up.by_families == HOLDS and up.without == "none" and up.paper == "r = 0.191"
    )
    assert down.verdict == CONTRADICTED
    absent = by_claim[f"ImageNet-R top-1 rises with z² of Pearson alignment, given {GIVEN}"]
    assert absent.verdict == UNKNOWN
    shapes = {(r["property"], r["metric"], r["given"]): r["shape"] for r in found.shapes}
    assert shapes["ImageNet-Sketch top-1", "pearson", GIVEN] == "U"
    assert shapes["ImageNet-A top-1", "pearson", ""] == "inverted U"


def test_a_claim_that_hangs_on_one_family_names_it():
    table, family = world(seed=1)
    rng = np.random.default_rng(1)
    table["sketch top1"] = rng.normal(size=len(table))
    odd = np.array(family) == "family 03"
    table.loc[odd, ["pearson", "spearman", "triplet"]] += 6.0
    table.loc[odd, "sketch top1"] += 9.0
    _, judgement = judged(table, family)
    says = f"ImageNet-Sketch top-1 rises with z² of Pearson alignment, given {GIVEN}"
    (claim,) = [claim for claim in judgement if claim.claim == says]
    assert claim.verdict == HOLDS and "family 03" in claim.without


def test_every_row_states_its_n():
    table, family = world()
    table.loc["m03", "sketch top1"] = np.nan
    found, _ = judged(table, family)
    for rows in found:
        assert all("n" in row for row in rows)
    assert {r["n"] for r in found.correlations if r["property"] == "ImageNet-Sketch top-1"} == {44}


def test_figures_are_drawn_with_what_there_is():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=30), rng.normal(size=30)
    x[2] = np.nan
    grid = np.linspace(-1, 1, 5)
    panel = Cloud("Pearson", x, y, np.stack([grid, grid**2]), [np.array([[-1.0, 0], [1, 0]])])
    marked = {"BEiT": np.arange(30) < 3}
    assert "<svg" in svg(study_figures.clouds([panel] * 3, marked, xlabel="x", ylabel="y"))
    bare = Cloud("Pearson", x, y, None, [])
    assert "<svg" in svg(study_figures.clouds([bare], {}, xlabel="x", ylabel="y"))
    curve = {1: Measured(0.1, 0.0, 0.2, 9), 80: Measured(0.3, np.nan, np.nan, 1)}
    panels = [Curves("a", {"one": curve, "two": curve}), Curves("b", {"one": {}})]
    assert "<svg" in svg(study_figures.by_shots(panels, columns=2, ylabel="r", zero=True))
    rows = [
        ("a", 0.2, Measured(0.1, 0.0, 0.2, 9), {"f": 0.05}),
        ("b", np.nan, curve[1], {"g": 0.1}),
    ]
    assert "<svg" in svg(study_figures.left_out(rows, xlabel="r"))


def test_makings_are_judged_by_pairs_sizes_and_thirds():
    listed = models.table()
    table = pd.DataFrame(0.0, index=[row.name for row in listed], columns=["pearson", "x, mean"])
    rng = np.random.default_rng(0)
    table["pearson"] = rng.normal(size=491)
    table["x, mean"] = rng.normal(size=491)
    for place, name in enumerate(families.SIZES["ResNet-RS"]):
        table.loc[name, "x, mean"] = place
    for pair in families.pairs(listed)[families.DISTILLATION]:
        table.loc[pair[1], "pearson"] = table.loc[pair[0], "pearson"] + rng.uniform(1, 2)
    table.loc[table.index.str.startswith("beit"), ["pearson", "x, mean"]] = [-9.0, 9.0]
    values = [tables.Property("pearson", "Pearson"), tables.Property("x, mean", "x, mean")]
    rows = tables.family_rows(table, listed, values)
    found = claims.Tables([], [], [], [], [], [], *rows)
    empty = table.assign(**{"real gain": np.nan})
    by_claim = {c.claim: c for c in claims.judge(found, empty, GIVEN, "x, mean")}
    assert by_claim["distillation raises Pearson alignment"].verdict == HOLDS
    assert by_claim["distillation raises Pearson alignment"].n == 18
    assert by_claim["size raises learning on x, mean in ResNet-RS"].verdict == HOLDS
    assert by_claim["BEiTs are in the low third by Pearson alignment"].verdict == HOLDS
    assert by_claim["BEiTs are in the high third by learning on x, mean"].found == "4 of 4"
    assert not any("pruning" in claim and "learning" in claim for claim in by_claim)


def test_what_is_not_known_is_not_judged():
    nan = Measured(np.nan, np.nan, np.nan, 0)
    rows = [{"r": nan, "n": 0}] * 3
    assert claims._falling(rows).verdict == UNKNOWN


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((0.5, 0.3, 0.1), HOLDS), ((0.1, 0.3, 0.5), CONTRADICTED), ((0.12, 0.11, 0.1), NOT_SHOWN)],
)
def test_effects_that_fall_do_so_beyond_their_intervals(values, verdict):
    rows = [{"r": Measured(v, v - 0.05, v + 0.05, 9), "n": 9} for v in values]
    assert claims._falling(rows).verdict == verdict


def test_printed_numbers_hold_within_the_interval():
    row = {"r": Measured(0.8137, 0.78, 0.84, 491), "paper": 0.81}
    judged = [
        claims._of_number("", "", row | {"paper": printed}, [], digits=2, off=0.01).verdict
        for printed in (0.81, 0.845, 0.7, 0.95)
    ]
    assert judged == [HOLDS, HOLDS, claims.DIFFERS, claims.DIFFERS]


def test_few_families_have_no_interval_and_no_verdict_by_them():
    table, family = world()
    few = [f"family {int(name[-2:]) % 3}" for name in family]
    _, judgement = judged(table, few)
    assert {claim.by_families for claim in judgement} == {""}


def test_printed_numbers_that_hang_on_one_family_name_it():
    table, family = world()
    properties = [p for p in tables.RESULTS if p.column == "sketch top1"]
    odd = np.array(family) == "family 03"
    table["sketch top1"] = table["imagenet top1"] + np.where(odd, 60.0, 0.0)
    rows = tables.imagenet_without_families(table, properties, family)
    assert len(rows) == 15 and {row["n"] for row in rows} == {42}
    kept = np.flatnonzero(~odd)
    expected = np.corrcoef(table["imagenet top1"].iloc[kept], table["sketch top1"].iloc[kept])[0, 1]
    (own,) = [row for row in rows if row["without"] == "family 03"]
    assert own["r"] == pytest.approx(expected)
    row = {"r": Measured(0.3, 0.1, 0.5, 45), "paper": 0.35}
    claim = claims._of_number("", "", row, rows, digits=2, off=0.01)
    assert claim.verdict == HOLDS and claim.without == "family 03 (1.0000)"
