"""Models × evals → answers."""

import functools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignet.errors import Absent, InputError
from alignet.runtime import files, stages
from alignet.runtime.progress import progress
from evals import (
    answers,
    between_models,
    breeds,
    fewshot,
    hierarchy,
    judgments,
    levels,
    ood,
    projection,
    runs,
    things,
    things_photographs,
    uncertainty,
)
from evals.answers import HUMAN, PEOPLE, Answers
from evals.models import Model
from evals.options import Options
from evals.runs import Run

QUESTIONS = {
    "things": things.QUESTION,
    "things_photographs": things_photographs.QUESTION,
    "uncertainty": uncertainty.QUESTION,
    "levels": levels.QUESTION,
    **judgments.QUESTIONS,
    "between_models": between_models.QUESTION,
    "fewshot": fewshot.QUESTION,
    # Before breeds, whose photographs are some of these.
    "ood": ood.QUESTION,
    "breeds": breeds.QUESTION,
    "hierarchy": hierarchy.QUESTION,
    "projection": projection.QUESTION,
}


def check_names(option: str, names: Sequence[str], *, families: Sequence[str] = ()) -> None:
    """Raises InputError if an option of a recipe names what is no eval and none of the families."""
    known = (*QUESTIONS, *families)
    for name in names:
        if name not in known:
            raise InputError(f"{option}: {name!r} is unknown; expected some of {', '.join(known)}.")


def run(
    models: Sequence[Model],
    data_dir: Path,
    options: Options,
    *,
    evals: Sequence[str] | None = None,
) -> Run:
    """Asks every question of every model.

    Args:
      models: whose rows are scored; their names are all different.
      data_dir: people's judgments, photographs.
      options: of the evals.
      evals: which, by name, or HUMAN or VISION for all of a family whose data are there; None for
        HUMAN: the others may take hours.

    Returns:
      The answers, and what they were made with; notes say what was left out.

    Raises:
      InputError: bad data; data or rows that an eval asked for by name lacks; or nothing could be
        measured at all.
    """
    start = time.perf_counter()
    called = [model.name for model in models]
    if options.before and options.before not in called:
        raise InputError(f"no model is called {options.before!r}; there are {', '.join(called)}.")
    asked = evals or (HUMAN,)
    named = {name for name in asked if name in QUESTIONS}
    families = {name: [k for k, one in QUESTIONS.items() if one.family == name] for name in asked}
    names = list(dict.fromkeys(k for name in asked for k in families[name] or [name]))
    by_eval: dict[str, dict[str, Answers]] = {}
    skipped: list[tuple[str, str, str]] = []
    inputs: dict[str, str] = {}
    with progress(total=len(names) * len(models), desc="evals", unit=" eval") as bar:
        for name in names:
            bar.set_postfix_str(name)
            try:
                data = QUESTIONS[name].load(data_dir, options)
            except Absent as reason:
                if name in named:
                    raise
                skipped.append((name, PEOPLE, str(reason)))
                bar.update(len(models))
                continue
            # Several evals read the same files.
            inputs |= {str(p): stages.file_hash(p) for p in data.files if str(p) not in inputs}
            own = {str(path): inputs[str(path)] for path in data.files}
            own |= getattr(data, "fingerprints", {})
            inputs |= own
            ask = functools.partial(_ask, name, data, options=options, inputs=own)
            found = _score(name, ask, models, skipped, bar, named=name in named)
            if found:
                by_eval[name] = {PEOPLE: QUESTIONS[name].people(data, options)} | found
    if not by_eval:
        name, _, reason = skipped[0]
        raise InputError(
            f"{models[0].path}: nothing could be measured; {name}: {reason.rstrip('.')}; name the "
            "eval that you want with --evals to see what it lacks."
        )
    for model in models:
        inputs |= model.hashes
    settings = _plain(options._replace(cache=None))  # what is kept there changes no number
    about = {
        "settings": settings,
        "config_hash": stages.config_hash([settings, names, sorted(inputs.values())]),
        "seed": options.seed,
        "inputs": inputs,
        "skipped": skipped,
        "versions": stages.versions(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(time.perf_counter() - start, 3),
    }
    return Run(called, by_eval, about)


def _score(
    name: str,
    ask: Callable[[Model], Answers],
    models: Sequence[Model],
    skipped: list[tuple[str, str, str]],
    bar: Any,
    *,
    named: bool,
) -> dict[str, Answers]:
    found = {}
    for model in models:
        try:
            found[model.name] = ask(model)
        except Absent as reason:
            if named:
                raise
            # The same of many models is one note.
            text = str(reason).removeprefix(f"{model.path}: ")
            skipped.append((name, model.name, text))
        bar.update()
    return found


def _ask(
    name: str, data: Any, model: Model, *, options: Options, inputs: Mapping[str, str]
) -> Answers:
    """One model's answers; those that may have taken hours are kept until the run is finished."""
    question = QUESTIONS[name]
    if options.cache is None or question.family == HUMAN:
        return question.score(data, model, options)
    settings = _plain(options._replace(cache=None))
    key = stages.config_hash([settings, inputs, model.hashes])
    path = runs.answers_path(options.cache, name, model.name)
    path = path.with_name(f"{path.stem}-{key}{path.suffix}")
    if path.is_file():
        return answers.load(path)
    found = question.score(data, model, options)
    with files.atomic_path(path) as temporary:
        answers.save(temporary, found)
    return found


def finished(cache: Path) -> None:
    """Removes the answers that were kept for a run that had not come to its end."""
    shutil.rmtree(cache / "answers", ignore_errors=True)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {key: _plain(item) for key, item in value._asdict().items()}
    return str(value) if isinstance(value, Path) else value
