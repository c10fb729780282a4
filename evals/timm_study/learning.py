"""How well every model learns from a few examples of each class (paper 000, section 4).

Of a set's labelled pictures n of every class are examples, and the rest is classified; see
`evals.fewshot`. All models learn from the same examples.

A job is one model on one set. Jobs run in several processes, each on one core: the numbers are then
the same however many there are, and two threads need 1.4 times the CPU time of one, for most of
a job is a loop of small steps. What a job found lies in cache/MODEL/SET.json, with a hash of all
that it depends on, so that a study that was cut off goes on where it was.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from threadpoolctl import threadpool_limits

import alignet
from alignet.data.embeddings import few
from alignet.data.images import first_repeated
from alignet.data.labelled import Labelled
from alignet.data.mapped import map_npz
from alignet.errors import InputError
from alignet.runtime import files
from alignet.runtime.progress import progress
from alignet.runtime.workers import end_with_parent
from evals import fewshot, models
from evals.options import FewShot, Options
from evals.pages.fewshot_page import metric
from evals.statistics.intervals import Measured
from evals.timm_study import labels

SHOWN = 10  # notes on single models in the report: ours


class Job(NamedTuple):
    """Attributes:
    model: its name.
    set: that of the labelled set.
    file: with the rows.
    kept: where the answers lie.
    key: hash of what they depend on.
    shape: of the rows; what was compiled for one job serves others of this shape.
    work: about how long it takes, in no unit.
    """

    model: str
    set: str
    file: Path
    kept: Path
    key: str
    shape: tuple[str, int]
    work: int


########################################## Accuracies ##########################################


def accuracies(
    paths: Mapping[str, Path],
    sets: Sequence[Labelled],
    chosen: FewShot,
    *,
    seed: int,
    cache: Path,
    processes: int,
) -> tuple[dict[tuple[str, str], dict[tuple[str, int], Measured]], list[str]]:
    """What models classify correctly of every set; jobs that were done before are not done again.

    Args:
      paths: models by name: a folder with SET.npz, or an `.npz` whose ids begin with SET/.
      sets: labels, whose order does not matter; the models' ids are these.
      chosen: examples, draws and read-outs.
      seed: of draws and read-outs.
      cache: a folder for what is finished.
      processes: at a time, one core each.

    Returns:
      By model and set, for those that have rows: shares by read-out and number of examples. And
      sentences on what is missing or doubtful.

    Raises:
      InputError: rows or labels are bad, or a process was killed. What was finished is kept.
    """
    sets = [labels.in_order(one) for one in sets]
    if (repeated := first_repeated(one.name for one in sets)) is not None:
        raise InputError(
            f"{repeated}: two sets of labels are called so; expected one: if embeddings have these "
            "labels, none need be given."
        )
    options = Options(fewshot=chosen._replace(data=()), seed=seed)
    # Here, too few images are found out before anything lasts long.
    tasks = {one.name: fewshot.task(one.name, one, None, options) for one in sets}
    jobs, notes = [], []
    for one in sets:
        found = {name: _rows_of(path, one.name) for name, path in paths.items()}
        absent = [name for name, file in found.items() if file is None]
        if absent:
            notes.append(
                f"{len(absent)} of {len(paths)} models have no embeddings of {one.name}: "
                f"{few(absent, 4)}."
            )
        digest = one.digest
        for name, file in found.items():
            if file is not None:
                jobs.append(_job(name, one, digest, file, options, cache))
    answers = {job: files.read_json(job.kept) for job in jobs}
    missing = [job for job in jobs if answers[job].get("key") != job.key]
    if missing:
        if len(missing) < len(jobs):
            done = len(jobs) - len(missing)
            print(f"few-shot: {done} of {len(jobs)} are done already", file=sys.stderr, flush=True)
        answers |= _run(missing, tasks, options, processes)
    remarks = [f"{job.model}: {note}" for job in jobs for note in answers[job]["notes"]]
    if len(remarks) > SHOWN:
        more = f"{len(remarks) - SHOWN:,} more such notes are in {cache}."
        remarks = [*remarks[:SHOWN], more]
    result = {
        (job.model, job.set): {
            (head, n): Measured(*measured) for head, n, measured in answers[job]["shares"]
        }
        for job in jobs
    }
    return result, notes + remarks


def _rows_of(path: Path, name: str) -> Path | None:
    """The file with a model's rows of a set."""
    if path.is_dir():
        file = path / f"{name}.npz"
        return file if file.is_file() else None
    # Ids without the set's name may be those of any set.
    [ids] = map_npz(path, ["ids"], expected=labels.EXPECTED)
    return path if np.char.startswith(np.asarray(ids, np.str_), f"{name}/").any() else None


def _job(
    model: str, labelled: Labelled, digest: str, file: Path, options: Options, cache: Path
) -> Job:
    status = file.stat()
    depends = [
        alignet.__version__,
        (status.st_size, status.st_mtime_ns),
        (labelled.name, digest),
        options.fewshot,
        options.seed,
    ]
    key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
    size = labels.sizes(file).get("embeddings", 0)
    kept = cache / model / f"{labelled.name}.json"
    shape, work = (labelled.name, size), size * len(labelled.classes)
    return Job(model, labelled.name, file, kept, key, shape, work)


########################################## Processes ##########################################


def _run(
    jobs: Sequence[Job], tasks: Mapping[str, fewshot.Task], options: Options, processes: int
) -> dict[Job, dict]:
    """What the jobs found, which is written as they end."""
    # Large ones first: no process has to do one when the others are done.
    waiting = sorted(jobs, key=lambda job: (-job.work, job.set, job.model))
    answers: dict[Job, dict] = {}
    doing: dict[Connection, Job] = {}
    bar = progress(total=len(jobs), desc="few-shot", unit=" job")
    with bar, _workers(min(processes, len(jobs)), tasks, options) as workers:
        idle = [*workers]
        while idle or doing:
            for worker in idle:
                before = doing.pop(worker, None)
                if waiting:
                    job = _next(waiting, before, doing.values())
                    waiting.remove(job)
                    doing[worker] = job
                    # If it is dead, that is found out below.
                    with contextlib.suppress(OSError):
                        worker.send(job)
            idle = wait([*doing]) if doing else []
            for worker in idle:
                job = doing[worker]
                answers[job] = _received(worker, workers[worker], job)
                files.remove_temporaries(job.kept)
                files.write_json(job.kept, answers[job])
                bar.set_postfix_str(f"{job.model}, {job.set}", refresh=False)
                bar.update()
    return answers


def _next(waiting: Sequence[Job], before: Job | None, doing: Collection[Job]) -> Job:
    """The largest job of the same shape as the one before, or else of one that no other has.

    To compile for a shape takes seconds, and several processes that are at jobs in order of size
    would all do it.
    """
    own, others = before and before.shape, {job.shape for job in doing}
    return min(waiting, key=lambda job: (job.shape != own, job.shape in others))


def _received(worker: Connection, process: BaseProcess, job: Job) -> dict:
    """What a process found.

    Raises:
      InputError: it found that something is wrong, or it died.
    """
    try:
        found = worker.recv()
    except (EOFError, OSError):
        process.join()
        code = process.exitcode or 0
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with {code}"
        raise InputError(
            f"{job.file}: the process that was learning from it {how}; expected it to finish. What "
            "is finished is kept; if memory was short, go on with fewer processes."
        ) from None
    if isinstance(found, str):
        raise InputError(found)
    shares, notes = found
    return {"key": job.key, "shares": shares, "notes": notes}


@contextlib.contextmanager
def _workers(
    number: int, tasks: Mapping[str, fewshot.Task], options: Options
) -> Iterator[dict[Connection, BaseProcess]]:
    """Processes that learn, by the pipe to each; they end with the block."""
    # A process that is forked when JAX has threads may hang.
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(number):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, tasks, options), daemon=True)
            process.start()
            there.close()
            workers[here] = process
        yield workers
    finally:
        for worker, process in workers.items():
            process.kill()
            process.join()
            worker.close()


def _work(parent: Connection, tasks: Mapping[str, fewshot.Task], options: Options) -> None:
    """Answers every job with shares and notes, or with what is wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    end_with_parent()
    os.environ["PJRT_NPROC"] = "1"  # threads of XLA, which reads this when it first computes
    if "JAX_PLATFORMS" not in os.environ:
        # The processes would fight for a GPU's memory.
        jax.config.update("jax_platforms", "cpu")
    shape = None
    with threadpool_limits(1), contextlib.suppress(EOFError):
        while True:
            job = parent.recv()
            if job.shape != shape:
                # What was compiled, for every shape, would fill the memory.
                jax.clear_caches()
                shape = job.shape
            try:
                parent.send(_learn(tasks[job.set], job.file, options))
            except InputError as error:
                parent.send(str(error))


def _learn(
    task: fewshot.Task, file: Path, options: Options
) -> tuple[list[tuple[str, int, Measured]], list[str]]:
    [model] = models.from_embeddings(file)
    answers = fewshot.score(fewshot.Data([task], (), {}), model, options)
    shares = [
        (head, n, answers.find(task.name, metric(head, n)))
        for head in options.fewshot.heads
        for n in options.fewshot.shots
    ]
    return shares, list(answers.notes)
