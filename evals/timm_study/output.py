"""What the study leaves in its folder: CSVs, figures, one report."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignet.runtime import files, stages
from evals import runs
from evals.pages import page
from evals.pages import provenance as made_with
from evals.pages.table import table
from evals.statistics.intervals import Measured
from evals.timm_study import claims as judging
from evals.timm_study import report, tables
from evals.timm_study.alignment import METRICS
from evals.timm_study.claims import Claim, Tables
from evals.timm_study.study import Options, Study

TITLE = "Alignment with people and what it goes with"
REPORT, FIGURES, RESULTS = "report.html", "figures", "results.json"
FILES = (
    *("models.csv", "alignment.csv", "fewshot.csv", "claims.csv", "groups.csv", "shapes.csv"),
    *("correlations.csv", "with_imagenet.csv", "intercorrelations.csv", "without_families.csv"),
    *("families.csv", "sizes.csv", "clusters.csv", RESULTS, REPORT),
)


def measure(study: Study, *, resamples: int, seed: int) -> Tables:
    """All numbers over models."""
    drawn = {"resamples": resamples, "seed": seed}
    table_, family = study.table, study.families
    known = [
        p
        for p in (*tables.RESULTS, tables.GAIN)
        if p.column in table_ and table_[p.column].notna().any()
    ]
    learned = study.learning()
    everything = [*known, *learned]
    # Without accuracies nothing is to be had given them; without alignment nothing against it.
    top1 = [tables.TOP1] if table_[tables.IMAGENET].notna().any() else []
    aligned = [p for p in (*everything, *top1)] if study.sets else []
    shapes = tables.shapes(table_, aligned, study.conditions)
    if top1:
        gain = [p for p in known if p is tables.GAIN]
        shapes += tables.shapes(table_, gain, study.conditions, against=[tables.IMAGENET])
    values = [tables.Property(metric, judging.NAMES[metric]) for metric in METRICS]
    values += study.learning(averages=True)
    effects, trends, clusters = tables.family_rows(table_, study.models, values)
    return Tables(
        tables.intercorrelations(table_, family, **drawn) if study.sets else [],
        tables.with_imagenet(table_, everything, family, **drawn) if top1 else [],
        tables.all_correlations(table_, aligned, study.conditions, family, **drawn),
        shapes,
        tables.group_means(table_, everything) if study.sets else [],
        (tables.imagenet_without_families(table_, everything, family) if top1 else [])
        + tables.without_families(
            table_,
            aligned,
            study.conditions[study.given],
            study.given,
            family,
            tested=study.headline,
        ),
        effects,
        trends,
        clusters,
    )


def write(out: Path, study: Study, found: Tables, options: Options) -> str:
    """Writes everything.

    Returns:
      The text for the terminal.
    """
    claims = judging.judge(found, study.table, study.given, study.average)
    # First away with it and last written: where it is, the other files are of the same run.
    (out / RESULTS).unlink(missing_ok=True)
    _write_models(out, study)
    _rows(out / "claims.csv", [claim._asdict() for claim in claims])
    for name, rows in (
        ("intercorrelations", found.intercorrelations),
        ("with_imagenet", found.with_imagenet),
        ("correlations", found.correlations),
        ("shapes", found.shapes),
        ("groups", found.groups),
        ("without_families", found.without),
        ("families", found.effects),
        ("sizes", found.trends),
        ("clusters", found.clusters),
    ):
        _rows(out / f"{name}.csv", rows)
    about = _about(options, study)
    sections = [*report.sections(study, found, claims), _provenance(about)]
    page.write_page(out / REPORT, TITLE, sections)
    page.write_figures(out / FIGURES, sections)
    files.write_json(
        out / RESULTS,
        about
        | {
            "n_models": len(study.models),
            "n_embedded": study.embedded,
            "sets": list(study.sets),
            "labelled": list(study.labelled),
            "given": study.given,
            "claims": [claim._asdict() for claim in claims],
            "notes": study.notes,
        },
    )
    return _text(claims, study, about)


def clear(out: Path) -> None:
    """Removes what a process that was killed had begun to write."""
    for name in FILES:
        files.remove_temporaries(out / name)


def _text(claims: Sequence[Claim], study: Study, about: Mapping[str, Any]) -> str:
    rows = report.verdicts(claims)
    counts: dict[str, int] = {}
    for claim in claims:
        counts[claim.verdict] = counts.get(claim.verdict, 0) + 1
    counted = "; ".join(f"{verdict}: {n}" for verdict, n in counts.items())
    return "\n".join(
        [
            *([table(rows), ""] if rows else []),
            f"{len(study.models)} models, {study.embedded} with embeddings. Claims of the paper: "
            f"{counted}.",
            *study.notes,
            f"95 % intervals in brackets; seed {about['seed']}, settings {about['config_hash']}.",
        ]
    )


def _write_models(out: Path, study: Study) -> None:
    rows = []
    for model in study.models:
        values = study.table.loc[model.name]
        rows.append(
            {"model": model.name, "timm": model.timm, "family": model.family}
            | {"pretraining": model.pretraining, "distilled": model.distilled}
            | {column: _plain(value) for column, value in values.items()}
        )
    _rows(out / "models.csv", rows)
    _rows(
        out / "alignment.csv",
        [
            {"model": name, "set": one, "metric": metric, "alignment": value}
            for name, by_set in study.aligned.items()
            for one, by_metric in by_set.items()
            for metric, value in by_metric.items()
        ],
    )
    _rows(
        out / "fewshot.csv",
        [
            {"model": name, **_parts(column), "accuracy": value}
            for column, values in study.learned.items()
            for name, value in values.items()
            if "-shot" in column
        ],
    )


def _parts(column: str) -> dict[str, str]:
    name, head, shots = column.split(", ")
    return {"data set": name, "head": head, "shots": shots.removesuffix("-shot")}


def _rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV; a measured number has three columns, its value and the ends of its interval."""
    flat = []
    for row in rows:
        one: dict[str, Any] = {}
        for key, value in row.items():
            if isinstance(value, Measured):
                one |= {key: _plain(value.value), f"{key} low": _plain(value.low)}
                one |= {f"{key} high": _plain(value.high)}
                one.setdefault("n", value.n)
            elif key != "column":
                one[key] = _plain(value)
        flat.append(one)
    columns = list(dict.fromkeys(key for row in flat for key in row)) or ["nothing"]
    runs.write_csv(path, columns, [tuple(row.get(column) for column in columns) for row in flat])


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _about(options: Options, study: Study) -> dict[str, Any]:
    settings = {
        "models": options.models,
        "similarity": options.similarity,
        "covariates": list(options.covariates),
        "fewshot": {
            k: list(v) if isinstance(v, tuple) else v for k, v in options.fewshot._asdict().items()
        },
        "seed": options.seed,
        "resamples": options.resamples,
    }
    return {
        "settings": settings,
        "config_hash": stages.config_hash(settings),
        "seed": options.seed,
        "given": {
            name: str(getattr(options, name) or "")
            for name in ("embeddings", "human", "timm_results")
        },
        "files": {str(path): stages.file_hash(path) for path in study.files},
        "versions": stages.versions(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _provenance(about: Mapping[str, Any]) -> page.Section:
    shown = [
        ("settings", about["config_hash"]),
        *((name, str(value)) for name, value in about["settings"].items()),
        *((name, value) for name, value in about["given"].items() if value),
    ]
    return made_with.section(shown, about, about["files"])
