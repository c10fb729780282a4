"""The study as a page: what was claimed and what was found, then tables and figures in order."""

from collections.abc import Sequence
from typing import Any

from evals.pages.page import Section, Table
from evals.timm_study import claims as judging
from evals.timm_study import report_accuracy, report_learning
from evals.timm_study.alignment import METRICS
from evals.timm_study.claims import (
    CONTRADICTED,
    DIFFERS,
    HOLDS,
    NOT_SHOWN,
    UNKNOWN,
    Claim,
    Tables,
)
from evals.timm_study.families import CLUSTERS
from evals.timm_study.study import Study
from evals.timm_study.tables import IMAGENET


def sections(study: Study, found: Tables, claims: Sequence[Claim]) -> list[Section]:
    """The page."""
    parts = [
        _summary(study, claims),
        _claims(claims),
        report_accuracy.accuracy(study, found),
    ]
    aligned = study.table[list(METRICS)].notna().any().any()
    if aligned:
        parts += [
            report_accuracy.agreement(study, found),
            report_accuracy.extremes(study, found),
            report_accuracy.robustness(study, found),
        ]
    if study.labelled:
        parts.append(report_learning.learning(study, found))
    if aligned:
        parts += [report_learning.shapes(study, found), report_learning.left_out(study, found)]
    notes = study.notes or ["Nothing."]
    parts += [
        _families(study, found),
        Section("What is missing, and what was done otherwise", notes),
    ]
    return [part for part in parts if part.blocks]


def _summary(study: Study, claims: Sequence[Claim]) -> Section:
    verdicts = (HOLDS, CONTRADICTED, NOT_SHOWN, DIFFERS, UNKNOWN)
    counts = {verdict: sum(c.verdict == verdict for c in claims) for verdict in verdicts}
    blocks: list[Any] = [
        f"{len(study.models)} models, {study.embedded} of them with embeddings; "
        f"{int(study.table[IMAGENET].notna().sum())} with timm's accuracy on ImageNet. Alignment "
        "is "
        + (
            f"the mean over {len(study.sets)} sets of photographs "
            f"({', '.join(name.removeprefix('peterson/') for name in study.sets)})."
            if study.sets
            else "not known."
        ),
        f"Of {len(claims)} claims of paper 000 (Sucholutsky and Griffiths, “Alignment with human "
        f"representations supports robust few-shot learning”), {counts[HOLDS]} hold here, "
        f"{counts[CONTRADICTED]} are contradicted, {counts[NOT_SHOWN]} are not shown either way, "
        f"{counts[DIFFERS]} printed numbers differ, and for {counts[UNKNOWN]} there are no data.",
    ]
    # The worse comes first.
    blocks += [
        f"Contradicted: {claim.claim}: {claim.found} (n = {claim.n})."
        for claim in claims
        if claim.verdict == CONTRADICTED
    ]
    dependent = [c for c in claims if c.verdict == HOLDS and c.by_families == NOT_SHOWN]
    if dependent:
        blocks.append(
            f"{len(dependent)} claims hold only if every model counts as independent of all "
            "others: when whole families of models are resampled, their intervals include 0."
        )
    return Section("", blocks)


def _claims(claims: Sequence[Claim]) -> Section:
    known = [claim for claim in claims if claim.verdict != UNKNOWN]
    blocks: list[Any] = [
        "A claim of a sign holds if the 95 % interval of its number lies on that side of 0; a U "
        "is claimed only where the two-lines test finds one, of which the two slopes are shown; a "
        "printed number holds if it lies in the interval. What the paper concludes from means or "
        "by counting is judged by these alone. “By families” is the verdict by the bootstrap of "
        "whole families of models, which are alike (where there are twelve or more); the last "
        "column names the families without which the verdict would be another."
    ]
    for about in dict.fromkeys(claim.about for claim in known):
        rows = [
            {
                "claim": claim.claim,
                "paper": claim.paper or None,
                "this run": claim.found,
                "n": claim.n,
                "verdict": claim.verdict,
                "by families": claim.by_families or None,
                "but without": claim.without or None,
            }
            for claim in known
            if claim.about == about
        ]
        columns = [c for c in rows[0] if any(row[c] is not None for row in rows)]
        blocks.append(Table(rows, f"Claims on {about}.", columns))
    if len(known) < len(claims):
        without = len(claims) - len(known)
        blocks.append(f"For {without} claims there are no data; claims.csv lists them, too.")
    return Section("Claim by claim", blocks)


def _families(study: Study, found: Tables) -> Section:
    blocks: list[Any] = []
    if found.effects:
        rows = [
            {k: v for k, v in row.items() if k != "pairs"} | {"p": judging.p(row["p"])}
            for row in found.effects
        ]
        caption = (
            "What a difference in a model's making goes with: mean over pairs of networks of one "
            "design. Some differ in training recipe and image size, too, and those of one family "
            "are not independent. “Higher in” counts pairs; families.csv names them."
        )
        blocks.append(Table(rows, caption))
    if found.trends:
        rows = [
            {k: v for k, v in row.items() if k != "models"} | {"p": judging.p(row["p"])}
            for row in found.trends
        ]
        blocks.append(Table(rows, "Rows of networks of one kind and growing size."))
    if found.clusters:
        caption = (
            f"Where the {', '.join(CLUSTERS)} lie among all models: mean share of models below "
            "them, and how many of them are in each third."
        )
        blocks.append(Table(list(found.clusters), caption))
    return Section("Depth, distillation, pretraining and the rest", blocks)


########################################## Parts ###########################################


def verdicts(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """The claims of which there are data, as rows for the terminal."""
    return [
        {"claim": c.claim, "paper": c.paper or None, "this run": c.found, "verdict": c.verdict}
        for c in claims
        if c.verdict != UNKNOWN
    ]
