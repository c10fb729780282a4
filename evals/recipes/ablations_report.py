"""The report of `configs/ablations.py`: what matters in training, and for what?

Every arm's students are scored by the evals of `python -m evals`, a finished run each, and each
ablation is a comparison of such runs (`evals.comparison`). Then what paper 002 found (B.2.3) is
held against the numbers, each finding as a difference whose 95 % interval is above 0 or not.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from alignet.recipes import ablations
from alignet.recipes.ablations import BASE, MAIN, Ablation
from alignet.runtime import files, stages
from evals import comparison, networks, report, runs, scoring
from evals.answers import PEOPLE
from evals.options import FewShot, Options
from evals.pages import page
from evals.pages.table import table
from evals.recipes import provenance
from evals.recipes.ablations_findings import (
    CHOICES,
    EVALS,
    FINDINGS,
    HEAD,
    KNOWN,
    OPPOSITE,
    SHOWN,
    Finding,
    Scored,
)
from evals.runs import Run
from evals.statistics import odd_one_out
from evals.statistics.intervals import Measured

TITLE = "What matters in AligNet: ablations on a toy world"
HEADINGS = {
    "capacity": "Students' capacity",
    "images": "Number of images",
    "triplets": "Number of triplets",
    "sampling": "How triplets are drawn",
    "teacher": "A teacher that was not aligned",
    "things": "Fine-tuning on people's choices",
    "dense": "All triplets within a batch",
}


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> int:
    """Scores the students in `workdir`, compares the arms, and writes and prints what was found.

    Returns:
      Exit status, always 0: it is no failure if a toy world does not show what the paper found.
    """
    workdir = Path(workdir)
    plan = ablations.plan(config, n_images=config.toy.n_pool)
    scored = score(config, plan, workdir)
    rows = _rows(scored, plan, config.tests.shots)
    findings = [
        finding for name, ablation in plan.items() for finding in FINDINGS[name](scored, ablation)
    ]
    sections, differences, notes = [_summary(rows, findings)], [], {}
    for name, ablation in plan.items():
        found = comparison.compare(_labelled(scored, name, ablation), scoring.QUESTIONS)
        sections += [s._replace(heading=f"{HEADINGS[name]}: {s.heading}") for s in found.sections]
        differences += [(name, *row) for row in found.differences]
        notes[name] = list(found.notes)
    base = scored.runs[KNOWN][BASE]
    sections.append(report.provenance(base, "scores of the base students, as of all others"))

    artifacts = {
        f"{arm}/{size}": ablations.checkpoint(workdir, arm, size)
        for arm, done in scored.runs[KNOWN].items()
        for size in done.models
    }
    about = provenance.of(config, artifacts)
    results = {
        "students": [_plain(row) for row in rows],
        "findings": [_plain(finding._asdict()) for finding in findings],
        "notes": notes,
    }
    for name in (report.DIFFERENCES, runs.RESULTS, "report.html"):
        files.remove_temporaries(workdir / name)
    columns = ("ablation", *comparison.DIFFERENCE_COLUMNS)
    runs.write_csv(workdir / report.DIFFERENCES, columns, differences)
    files.write_json(workdir / runs.RESULTS, results | about)
    page.write_page(workdir / "report.html", TITLE, sections)
    page.write_figures(workdir / "figures", sections)

    print(f"\n{TITLE}\n\n{table(rows, columns=_columns(rows))}\n")
    for finding in findings:
        print(f"{finding.verdict + ':':16} {finding.paper} {_points(finding.here)}")
    print(f"\n{provenance.closing(about, workdir)}", flush=True)
    return 0


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.as_dict() if isinstance(v, Measured) else v for k, v in row.items()}


########################################## Scores ##########################################


def score(config: ml_collections.ConfigDict, plan: Mapping[str, Ablation], workdir: Path) -> Scored:
    """Scores every arm's students; runs that are up to date are read."""
    sizes: dict[str, dict[str, None]] = {BASE: {}}
    for ablation in plan.values():
        for arm in (BASE, *(arm.name for arm in ablation.arms.values())):
            sizes.setdefault(arm, {}).update(dict.fromkeys(ablation.sizes))
    found = {
        folder: {arm: _run(config, workdir, folder, arm, list(sizes[arm])) for arm in sizes}
        for folder in EVALS
    }
    sharing = {}
    for folder, by_arm in found.items():
        people = by_arm[BASE].answers["things"][PEOPLE]
        sharing[folder] = odd_one_out.prepare(people.arrays["all/triplets"])
    return Scored(found, sharing, min(config.tests.shots))


def _run(
    config: ml_collections.ConfigDict, workdir: Path, folder: str, arm: str, sizes: Sequence[str]
) -> Run:
    tests = workdir / "tests" / folder
    sets = sorted(f"fewshot/{path.name}" for path in (tests / "fewshot").glob("*.npz"))
    options = Options(
        seed=config.seed,
        tau=config.distill.tau_student,
        fewshot=FewShot(tuple(sets), tuple(config.tests.shots), config.tests.draws, (HEAD,)),
    )
    students = {size: ablations.checkpoint(workdir, arm, size) for size in sizes}

    def step(out: Path, scratch: Path) -> None:
        models = [networks.from_checkpoint(path, cache=scratch) for path in students.values()]
        runs.write(out, scoring.run(models, tests, options, evals=EVALS[folder]))

    settings = [options.seed, options.tau, options.fewshot]
    out = workdir / "evals" / folder / arm
    return runs.load(stages.run(out, step, config=settings, inputs=students | {"tests": tests}))


def _labelled(scored: Scored, name: str, ablation: Ablation) -> dict[str, Run]:
    """The runs of an ablation's comparison, with its sizes only."""
    arms = {BASE: BASE} | {label: arm.name for label, arm in ablation.arms.items()}
    return {label: _only(scored.runs[KNOWN][arm], ablation.sizes) for label, arm in arms.items()}


def _only(run: Run, sizes: Sequence[str]) -> Run:
    answers = {
        name: {model: by_model[model] for model in (PEOPLE, *sizes)}
        for name, by_model in run.answers.items()
    }
    return run._replace(models=list(sizes), answers=answers)


def _rows(
    scored: Scored, plan: Mapping[str, Ablation], shots: Sequence[int]
) -> list[dict[str, Any]]:
    """One a student."""
    titles = {BASE: BASE, MAIN: MAIN}
    for name, ablation in plan.items():
        for label, arm in ablation.arms.items():
            titles.setdefault(arm.name, f"{name}: {label}")
    kinds = {"categories": ablations.CATEGORIES, "surface": ablations.SURFACE}
    return [
        {"trained as": title, "size": size}
        | {CHOICES[folder]: scored.chosen(folder, {(arm, size): 1}) for folder in EVALS}
        | {
            f"{n}-shot, {kind}": scored.learned(sets, {(arm, size): 1}, shots=n)
            for n in sorted(shots)
            for kind, sets in kinds.items()
        }
        for arm, title in titles.items()
        for size in scored.runs[KNOWN][arm].models
    ]


def _points(here: Measured) -> str:
    value, low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in here[:3])
    return f"{value} [{low}, {high}]"


def _summary(rows: Sequence[Mapping[str, Any]], findings: Sequence[Finding]) -> page.Section:
    verdicts = [finding.verdict for finding in findings if finding.ablation != "dense"]
    shown, opposite = (verdicts.count(verdict) for verdict in (SHOWN, OPPOSITE))
    told = [
        {
            "ablation": HEADINGS[finding.ablation],
            "what the paper found, or we expected": finding.paper,
            "here": _points(finding.here),
            "so": finding.verdict,
            "also": _points(finding.also),
        }
        for finding in findings
    ]
    return page.Section(
        "What was found",
        [
            "Students are trained as the main one (aligned) is, but for one thing, and scored on "
            "people's choices that nothing was fitted to, and on learning from a few labelled "
            "pictures. The world is small and drawn: what comes out says whether an effect is at "
            "work in it, not how large it is elsewhere.",
            f"Of {len(verdicts)} findings of paper 002 (B.2.3), {shown} are to be seen here, too, "
            f"and of {opposite} the opposite.",
            page.Table(
                told,
                "Differences in points with 95 % intervals, not corrected for their number. Of "
                "learning: 1-shot accuracy, here on categories, as most data sets of the paper "
                "have them, and also on colour, texture and background, which people in this "
                "world hardly judge by. Of people's choices: here of new ones between the same "
                "objects, also of those between objects of categories that nobody was shown. The "
                "best fine-tuning is the best on these very tests, which favours it.",
            ),
            page.Table(
                rows,
                "All students: shares of people's choices (guessing: 0.3333), and few-shot "
                "accuracies, means over data sets of the two kinds. Intervals of these are for "
                "other examples and images, not for other data sets.",
                _columns(rows),
            ),
        ],
    )


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of the table: not those for more examples a class, for which there is no room."""
    return list(rows[0])[:6]
