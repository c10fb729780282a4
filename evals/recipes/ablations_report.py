"""The report of `configs/ablations.py`: what matters in training, and for what?

Every arm's students are scored by the evals of `python -m evals`, a finished run each, and each
ablation is a comparison of such runs (`evals.comparison`). Then what paper 002 found (B.2.3) is
held against the numbers, each finding as a difference whose 95 % interval is above 0 or not.
"""

import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from alignet import ablations
from alignet.ablations import BASE, CLASS, DISTILLED, MAIN, RANDOM, Ablation
from alignet.runtime import files, stages
from evals import comparison, networks, runs, scoring
from evals.answers import PEOPLE
from evals.options import FewShot, Options
from evals.pages import fewshot_page, page, things_page
from evals.pages.table import table
from evals.report import DIFFERENCES, provenance
from evals.runs import Run
from evals.statistics import crossed, intervals, odd_one_out
from evals.statistics.intervals import Measured
from evals.statistics.odd_one_out import Sharing

TITLE = "What matters in AligNet: ablations on a toy world"
HEADINGS = {
    "capacity": "Students' capacity",
    "images": "Number of images",
    "triplets": "Number of triplets",
    "sampling": "How triplets are drawn",
    "teacher": "A teacher that was not aligned",
    "things": "Fine-tuning on people's choices",
}
HEAD = "ridge"
# Data folders within tests/, and what is asked there.
KNOWN, NEW = "", ablations.NEW_CATEGORIES
EVALS = {KNOWN: ("things", "fewshot"), NEW: ("things",)}
CHOICES = {KNOWN: "people's choices", NEW: "new categories"}
Weights = Mapping[tuple[str, str], int | float]  # of an arm and a size


class Scored(NamedTuple):
    """All students' runs, and what differences between them are made of.

    Attributes:
      runs: by data folder, then by arm.
      sharing: by data folder, which of its triplets have objects in common.
      shots: examples a class that findings about learning are about.
    """

    runs: Mapping[str, Mapping[str, Run]]
    sharing: Mapping[str, Sharing]
    shots: int

    def chosen(self, folder: str, weights: Weights) -> Measured:
        """A weighted sum of shares of people's choices; its interval is for other triplets."""
        total = 0.0
        for (arm, size), weight in weights.items():
            arrays = self.runs[folder][arm].answers["things"][size].arrays
            total = total + weight * arrays[f"all/{things_page.ACCURACY}/correct"]
        return odd_one_out.mean_over_triplets(total, self.sharing[folder])

    def learned(
        self, sets: Iterable[str], weights: Weights, *, shots: int | None = None
    ) -> Measured:
        """A weighted sum of accuracies, the mean over data sets.

        Its interval is for other examples and test images of these data sets, whose errors are
        independent; not for other data sets.
        """
        found, metric = [], fewshot_page.metric(HEAD, shots or self.shots)
        for name in sets:
            total = 0.0
            for (arm, size), weight in weights.items():
                arrays = self.runs[KNOWN][arm].answers["fewshot"][size].arrays
                total = total + weight * arrays[f"{name}/{metric}/draws"].astype(np.float64)
            found.append(crossed.mean(total).measured)
        return intervals.mean_of_independent(found)


class Finding(NamedTuple):
    """Something that the paper found, and the difference that is positive if it is so.

    Attributes:
      ablation: by name.
      paper: what it found.
      here: of few-shot accuracy on categories, or of people's choices.
      verdict: what `here` says of it.
      also: the same of what people do not judge by, or of objects of new categories.
    """

    ablation: str
    paper: str
    here: Measured
    verdict: str
    also: Measured


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
    sections.append(provenance(base, "scores of the base students, as of all others"))

    about = {
        "config": config.to_dict(),
        "config_hash": stages.config_hash(config),
        "seed": config.seed,
        "versions": stages.versions(),
        "artifacts": {
            f"{arm}/{size}": stages.file_hash(ablations.checkpoint(workdir, arm, size))
            for arm, done in scored.runs[KNOWN].items()
            for size in done.models
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    results = {
        "students": [_plain(row) for row in rows],
        "findings": [_plain(finding._asdict()) for finding in findings],
        "notes": notes,
    }
    for name in (DIFFERENCES, runs.RESULTS, "report.html"):
        files.remove_temporaries(workdir / name)
    columns = ("ablation", *comparison.DIFFERENCE_COLUMNS)
    runs.write_csv(workdir / DIFFERENCES, columns, differences)
    files.write_json(workdir / runs.RESULTS, results | about)
    page.write_page(workdir / "report.html", TITLE, sections)
    page.write_figures(workdir / "figures", sections)

    print(f"\n{TITLE}\n\n{table(rows, columns=_columns(rows))}\n")
    for finding in findings:
        print(f"{finding.verdict + ':':16} {finding.paper} {_points(finding.here)}")
    print(f"\nConfig {about['config_hash']}, seed {config.seed}; 95 % intervals in brackets.")
    print(f"Results: {workdir / runs.RESULTS}")
    print(f"Report:  {workdir / 'report.html'}", flush=True)
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


########################################## Findings ##########################################

SHOWN, OPPOSITE, UNCLEAR = "as in the paper", "the opposite", "not shown"
ALIKE, DIFFER = "none is shown", "a difference"  # where the paper found none


def _capacity(scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    first, last = ablation.sizes[0], ablation.sizes[-1]
    paper = "Aligned students learn better from one example than those they were made from."
    yield _learning("capacity", paper, scored, _evenly({MAIN: 1, BASE: -1}, ablation.sizes))
    if last != first:
        paper = f"Alignment adds more to larger students: to the {last} ones than to the {first}."
        weights = {(MAIN, last): 1, (BASE, last): -1, (MAIN, first): -1, (BASE, first): 1}
        yield _learning("capacity", paper, scored, weights)


def _growth(name: str, paper: str, scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    arms = {int(label): arm.name for label, arm in ablation.arms.items()}
    least, most = min(arms), max(arms)
    weights = _evenly({arms[most]: 1, arms[least]: -1}, ablation.sizes)
    yield _learning(name, f"{paper}: {most:,} against {least:,}.", scored, weights)
    few = max((n for n in arms if n <= most / 100), default=None)
    if few:
        paper = f"Most of what alignment adds is there with a hundredth of the {name}, {few:,}."
        weights = {arms[few]: 1, arms[most]: -0.5, BASE: -0.5}
        yield _learning(name, paper, scored, _evenly(weights, ablation.sizes))


def _sampling(scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    random, by_class = (ablation.arms[scheme].name for scheme in (RANDOM, CLASS))
    paper = "Triplets at the boundaries of clusters are better than random ones."
    weights = _evenly({MAIN: 1, random: -1}, ablation.sizes)
    yield _learning("sampling", paper, scored, weights)
    paper = "They are as good as triplets at the boundaries of classes."
    weights = _evenly({MAIN: 1, by_class: -1}, ablation.sizes)
    yield _learning("sampling", paper, scored, weights, alike=True)


def _teacher(scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    distilled = ablation.arms[DISTILLED].name
    weights = _evenly({MAIN: 1, distilled: -1}, ablation.sizes)
    paper = "Students choose more as people do if their teacher was aligned."
    yield _choosing("teacher", paper, scored, weights)
    paper = "They learn better from few examples, too."
    yield _learning("teacher", paper, scored, weights)
    paper = "Most of what they learn better than the base does not need the teacher's alignment."
    weights = _evenly({distilled: 1, MAIN: -0.5, BASE: -0.5}, ablation.sizes)
    yield _learning("teacher", paper, scored, weights)


def _things(scored: Scored, ablation: Ablation) -> Iterator[Finding]:
    sizes = ablation.sizes
    direct = [arm.name for arm in ablation.arms.values() if arm.name != MAIN]
    learned = {
        arm: scored.learned(ablations.CATEGORIES, _evenly({arm: 1}, sizes)).value
        for arm in (BASE, *direct)
    }
    chosen = {arm: scored.chosen(KNOWN, _evenly({arm: 1}, sizes)).value for arm in direct}
    paper = "Fine-tuning on people's choices, at its best, makes students learn worse than AligNet."
    weights = _evenly({MAIN: 1, max(direct, key=learned.get): -1}, sizes)
    yield _learning("things", paper, scored, weights)
    below = sum(learned[arm] < learned[BASE] for arm in direct)
    paper = f"It makes them learn worse than the base: here in {below} of {len(direct)} settings."
    weights = _evenly({BASE: 1} | dict.fromkeys(direct, -1 / len(direct)), sizes)
    yield _learning("things", paper, scored, weights)
    paper = "At its best it does not even make them choose as people do more than AligNet does."
    weights = _evenly({MAIN: 1, max(direct, key=chosen.get): -1}, sizes)
    yield _choosing("things", paper, scored, weights)


FINDINGS = {
    "capacity": _capacity,
    "images": functools.partial(_growth, "images", "More images help"),
    "triplets": functools.partial(_growth, "triplets", "More triplets help"),
    "sampling": _sampling,
    "teacher": _teacher,
    "things": _things,
}


def _evenly(weights: Mapping[str, int | float], sizes: Sequence[str]) -> Weights:
    """The same weights of all sizes of students, in the mean."""
    return {(arm, s): weight / len(sizes) for arm, weight in weights.items() for s in sizes}


def _learning(
    ablation: str, paper: str, scored: Scored, weights: Weights, *, alike: bool = False
) -> Finding:
    here = scored.learned(ablations.CATEGORIES, weights)
    also = scored.learned(ablations.SURFACE, weights)
    return Finding(ablation, paper, here, _verdict(here, alike), also)


def _choosing(ablation: str, paper: str, scored: Scored, weights: Weights) -> Finding:
    here, also = (scored.chosen(folder, weights) for folder in (KNOWN, NEW))
    return Finding(ablation, paper, here, _verdict(here, alike=False), also)


def _verdict(here: Measured, alike: bool) -> str:
    if not (here.low > 0 or here.high < 0):
        return ALIKE if alike else UNCLEAR
    if alike:
        return DIFFER
    return SHOWN if here.low > 0 else OPPOSITE


def _points(here: Measured) -> str:
    value, low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in here[:3])
    return f"{value} [{low}, {high}]"


def _summary(rows: Sequence[Mapping[str, Any]], findings: Sequence[Finding]) -> page.Section:
    verdicts = [finding.verdict for finding in findings]
    shown, opposite = (verdicts.count(verdict) for verdict in (SHOWN, OPPOSITE))
    told = [
        {
            "ablation": HEADINGS[finding.ablation],
            "what the paper found": finding.paper,
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
            f"Of {len(findings)} findings of paper 002 (B.2.3), {shown} are to be seen here, too, "
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
