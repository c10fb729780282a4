"""timm networks → embeddings: what their classifiers are fed, a file a model and set of pictures.

    OUT/<model>/<set>.npz     `ids`, `embeddings`, `about`; of labelled pictures `labels`, `classes`
    OUT/<model>/failed.txt    why some of a model's files are missing
    OUT/<model>/claimed.json  which process is making them; gone when it is done

Processes on any machines that share the folder may work on it at once: each takes models that are
not claimed. Claims only spare work: where two make the same, files are atomic and equal.
"""

import contextlib
import hashlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from alignet.data.embeddings import LARGEST, differences
from alignet.data.fewshot_sets import FEWSHOT, open_fewshot
from alignet.data.images import Source, decode, first_repeated, open_source, some
from alignet.data.judgments import load_peterson
from alignet.data.labelled import open_labelled
from alignet.data.mapped import map_npz
from alignet.errors import Absent, InputError
from alignet.runtime import files
from alignet.runtime.progress import progress

FAILED, CLAIMED = "failed.txt", "claimed.json"
SUFFIXES = (".safetensors", ".pth", ".pt")
HOLDS, UNSIGNED = 600, 10  # seconds that an untouched claim holds: more than a batch takes. Ours
INSTALL = "builds that fit: `pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31`"


class ImageSet(NamedTuple):
    """Pictures, with ids in their order; of labelled ones, places among the names of classes."""

    name: str  # "peterson/animals", "cifar100/test": what files of embeddings are called
    ids: np.ndarray
    source: Source
    labels: Int[np.ndarray, "n"] | None
    classes: Sequence[str] | None


class Wanted(NamedTuple):
    """A model: the study's name for it, and timm's NAME.TAG; None if timm has it no more."""

    name: str
    timm_name: str | None


class Outcome(NamedTuple):
    """Names of models; of those that are not there, with the reason or the process at work."""

    done: list[str]
    skipped: list[str]
    failed: list[tuple[str, str]]
    elsewhere: list[tuple[str, str]]


class _Job(NamedTuple):
    sets: Sequence[ImageSet]
    out: Path
    weights: Path | None
    batch: int
    device: str
    bar: Any


class _Failed(Exception):
    """Why a model cannot be exported; others can."""


def image_sets(names: Sequence[str], data_dir: Path) -> list[ImageSet]:
    """Opens sets of pictures without reading the pictures.

    Args:
      names: "peterson", its sets that have photographs (it says which have none); a name of
        `FEWSHOT`, its test split; or what `open_fewshot` takes, of two parts the one to classify.
      data_dir: the data folder.

    Raises:
      InputError: one is not there, is malformed or lacks pictures, or two are called the same.
    """
    sets: list[ImageSet] = []
    for name in names:
        if name == "peterson":
            sets += _peterson(data_dir)
            continue
        if name in FEWSHOT:
            called, _, split = FEWSHOT[name]
            one = open_labelled(f"tfds:{called}:{split}")
        else:
            _, pool, test = open_fewshot(name, data_dir=data_dir)
            one = pool if test is None else test
        if one.source is None:
            raise InputError(f"{name}: has labels and no pictures; expected pictures to embed.")
        sets.append(ImageSet(one.name, one.ids, one.source, one.labels, one.classes))
    repeated = first_repeated(one.name for one in sets)
    if repeated is not None:
        raise InputError(f"{repeated}: two sets of pictures are called so; expected other names.")
    return sets


def _peterson(data_dir: Path) -> list[ImageSet]:
    found, lacking = [], []
    for one in load_peterson(data_dir):
        ids = one.ids.tolist()
        try:
            source = open_source(one.photographs)
            place = {source.read(place)[0]: place for place in range(source.n)}
            if not place.keys() >= {*ids}:
                raise Absent(f"{one.photographs}: {differences(place, ids)}.")
            photographs = some(source, [place[name] for name in ids])
            found.append(ImageSet(one.name, one.ids, photographs, None, None))
        except InputError as reason:
            lacking.append(f"{one.name} is left out: {reason}")
    if not found:
        raise Absent(lacking[0])
    sys.stderr.writelines(f"{reason}\n" for reason in lacking)
    return found


def export(
    wanted: Sequence[Wanted],
    sets: Sequence[ImageSet],
    out: Path,
    *,
    weights: Path | None = None,
    batch: int = 32,
    device: str = "cpu",
) -> Outcome:
    """Embeds pictures with timm's networks, in float32; goes on where it, or another, was cut off.

    A model is left alone if its files are of these pictures, labels and timm's name for it, and of
    equal weights. That there are other weights of that name is noticed when a file is missing.
    What other processes are making is not waited for.

    Args:
      wanted, sets: the models and the pictures.
      out: gets a folder a model.
      weights: a folder of NAME.TAG.safetensors, .pth or .pt; None to let timm download them.
      batch: pictures at a time, on which the last bits may depend.
      device: "cpu" or "cuda".

    Raises:
      InputError: an argument is wrong, a picture cannot be read, or timm cannot be imported.
    """
    names = [one.name for one in wanted]
    wrong = first_repeated(names) or next((n for n in names if Path(n).name != n), None)
    if wrong:
        raise InputError(f"{wrong!r} comes twice or names no folder; expected names of models.")
    if weights is not None and not weights.is_dir():
        raise InputError(f"{weights}: no such folder; expected one of weights.")
    if batch < 1:
        raise InputError(f"a batch of {batch}: expected 1 picture or more.")
    outcome = Outcome([], [], [], [])
    left: dict[Wanted, int] = {}
    for one in progress(wanted, desc="files there", unit=" model"):
        if one.timm_name is None:
            outcome.failed.append((one.name, "timm has this network no more."))
        elif n := sum(image_set.source.n for image_set in _missing(out / one.name, one, sets)):
            left[one] = n
        else:
            outcome.skipped.append(one.name)
            (out / one.name / FAILED).unlink(missing_ok=True)
            if not _holder(out / one.name / CLAIMED):
                (out / one.name / CLAIMED).unlink(missing_ok=True)
    if left:
        _import(device)
        with progress(total=sum(left.values()), desc="export", unit=" image") as bar:
            job, before = _Job(sets, out, weights, batch, device, bar), {}
            # Again while something was done: what others have claimed may be left by then.
            while left and left != before:
                before = left
                left = {one: n for one, n in left.items() if not _one(one, n, job, outcome)}
    for one in left:
        holder = _holder(out / one.name / CLAIMED) or "another process, until just now"
        outcome.elsewhere.append((one.name, f"by {holder}."))
    return outcome


def report(outcome: Outcome) -> str:
    """How many models became what; and why those are not there that are not."""
    kinds = ("exported", "already there", "failed", "being exported")
    width = max((len(name) for name, _ in [*outcome.failed, *outcome.elsewhere]), default=0)
    lines = []
    for kind, models in zip(kinds, outcome, strict=True):
        lines.append(f"{kind:<{len(kinds[-1])}}  {len(models):>4}")
        lines += [f"  {m[0]:<{width}}  {m[1]}" for m in models if not isinstance(m, str)]
    return "\n".join(lines)


def _import(device: str) -> None:
    try:
        import timm.data  # noqa: F401
        import torch
    # A RuntimeError: the compiled part of torchvision is for another torch.
    except (ImportError, RuntimeError) as e:
        raise InputError(f"cannot import timm ({shorten(str(e), 99)}); needs {INSTALL}.") from None
    logger = logging.getLogger("timm.models._builder")
    logger.setLevel(logging.INFO)
    logger.addFilter(_refuse_missing)
    if device != "cpu" and not (device == "cuda" and torch.cuda.is_available()):
        raise InputError(f"the device is {device}; expected cpu, or cuda where torch finds a GPU.")


def _refuse_missing(record: logging.LogRecord) -> bool:
    # Of some networks, timm says no more of a file that is of another: parameters stay random.
    if record.getMessage().startswith("Missing keys"):
        raise ValueError(record.getMessage())
    return record.levelno > logging.INFO


def _one(one: Wanted, planned: int, job: _Job, outcome: Outcome) -> bool:
    """Makes what is missing of a model, unless another process has claimed it."""
    folder, before = job.out / one.name, job.bar.n
    job.bar.set_postfix_str(one.name, refresh=False)
    with _claim(folder / CLAIMED) as ours:
        if not ours:
            return False
        files.remove_temporaries(folder / FAILED)
        try:
            made = _make(one, folder, job)
            (folder / FAILED).unlink(missing_ok=True)
            (outcome.done if made else outcome.skipped).append(one.name)
        except _Failed as reason:
            with files.atomic_path(folder / FAILED) as temporary:
                temporary.write_text(f"{reason}\n", encoding="utf-8")
            outcome.failed.append((one.name, str(reason)))
            job.bar.write(f"{one.name}: {reason}", file=sys.stderr)
    # Another process may have made some meanwhile; or some were made again.
    job.bar.total += job.bar.n - before - planned
    return True


def _make(one: Wanted, folder: Path, job: _Job) -> bool:
    if not _missing(folder, one, job.sets):
        return False
    model, transform, about = _load(one, job)
    for image_set in job.sets:
        path = folder / f"{image_set.name}.npz"
        if _made_with(path, one, image_set) != about["weights_sha256"]:
            files.remove_temporaries(path)
            rows = _embed(model, transform, image_set, job, folder / CLAIMED)
            files.write_npz(path, embeddings=rows, **_known(image_set), about=json.dumps(about))
    return True


def _load(one: Wanted, job: _Job) -> tuple[Any, Any, dict[str, Any]]:
    """The network, what makes its input of a picture, and what there is to say about both."""
    import timm
    import torch

    if not timm.models.is_model_pretrained(one.timm_name):
        raise _Failed(f"timm {timm.__version__} has no weights called {one.timm_name}.")
    known = timm.get_pretrained_cfg(one.timm_name)
    name = f"{known.architecture}.{known.tag}" if known.tag else known.architecture
    where, overlay = "what timm downloads", None
    if job.weights is not None:
        found = (job.weights / f"{name}{suffix}" for suffix in SUFFIXES)
        where = next((str(path) for path in found if path.is_file()), None)
        if where is None:
            raise _Failed(f"{job.weights}: has no {name} with {', '.join(SUFFIXES)}.")
        overlay = {"file": where}
    try:
        # timm reads a file as it reads what it downloads, which may be in the form of other codes.
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    except Exception as error:  # of many types: of the hub, pickle, safetensors, PyTorch and timm
        raise _Failed(
            f"{where}: cannot be loaded as {name} ({shorten(str(error), 200).rstrip('.')})."
        ) from None
    state, found = model.state_dict(), hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].contiguous()
        found.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    about = {"model": one.name, "timm_name": name, "timm": timm.__version__}
    about |= {"torch": torch.__version__, "weights_sha256": found.hexdigest()}
    return model.to(job.device), transform, about | {"preprocessing": config}


def _embed(
    model: Any, transform: Any, image_set: ImageSet, job: _Job, claim: Path
) -> Float[np.ndarray, "n p"]:
    import torch

    blocks = []
    for pixels in _batches(image_set, transform, job.batch):
        # On a GPU, convolutions would be of 10 bits' precision otherwise.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        try:
            with exact, torch.inference_mode():
                features = model.forward_features(torch.stack(pixels).to(job.device))
                z = model.forward_head(features, pre_logits=True).float().cpu().numpy()
            if z.ndim != 2:
                raise ValueError(f"its features are of shape {list(z.shape)}")
            if not (np.abs(z) < LARGEST).all():
                raise ValueError("its features are not finite")
        except Exception as error:  # a network may raise anything
            raise _Failed(f"cannot embed {image_set.name}: {shorten(str(error), 200)}.") from None
        blocks.append(z)
        job.bar.update(len(z))
        with contextlib.suppress(FileNotFoundError):  # another process has taken over
            os.utime(claim)
    return np.concatenate(blocks)


def _batches(image_set: ImageSet, transform: Any, batch: int) -> Iterator[list[Any]]:
    """The pictures as a network takes them; the next batch is made meanwhile."""

    def make(place: int) -> Any:
        name, encoded = image_set.source.read(place)
        try:
            picture, _ = decode(encoded)
        except Exception as error:  # Pillow's decoders raise nearly anything on a corrupt file
            raise InputError(f"{image_set.name}: {name} is no whole picture ({error}).") from None
        return transform(picture)

    every = range(image_set.source.n)
    first, *others = (every[start : start + batch] for start in every[::batch])
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        following = pool.map(make, first)
        for places in (*others, ()):
            made, following = [*following], pool.map(make, places)
            yield made


def _known(image_set: ImageSet) -> dict[str, np.ndarray]:
    """What a file has beside embeddings."""
    known = {"ids": image_set.ids}
    if image_set.labels is not None:
        known |= {"labels": image_set.labels, "classes": np.array(image_set.classes, np.str_)}
    return known


def _missing(folder: Path, one: Wanted, sets: Sequence[ImageSet]) -> list[ImageSet]:
    """The sets that are to be made: all of them, if those there are of different weights."""
    found = [_made_with(folder / f"{one_set.name}.npz", one, one_set) for one_set in sets]
    differ = len({*found} - {None}) > 1
    return [image_set for image_set, made in zip(sets, found, strict=True) if differ or not made]


def _made_with(path: Path, one: Wanted, image_set: ImageSet) -> str | None:
    """The hash of the weights, of a file that fits; None of any other, or if there is none."""
    known = _known(image_set)
    try:
        text, matrix, *arrays = map_npz(path, ["about", "embeddings", *known], expected="")
        about = json.loads(str(text))
        fits = matrix.dtype == np.float32 and matrix.ndim == 2 and len(matrix) == len(image_set.ids)
        fits &= all(map(np.array_equal, arrays, known.values())) and about["model"] == one.name
        fits &= one.timm_name in (about["timm_name"], about["timm_name"].partition(".")[0])
        return about["weights_sha256"] if fits else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


@contextlib.contextmanager
def _claim(path: Path) -> Iterator[bool]:
    """Claims a model; False if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Just this: what an earlier process of the same number has left is this one's.
    mine = {"host": socket.gethostname(), "process": os.getpid()}
    for _ in range(2):
        with contextlib.suppress(FileExistsError), open(path, "x", encoding="utf-8") as file:
            json.dump(mine, file)
        if files.read_json(path) == mine or _holder(path):
            break
        path.unlink(missing_ok=True)
    try:
        yield files.read_json(path) == mine
    finally:
        if files.read_json(path) == mine:
            path.unlink(missing_ok=True)


def _holder(path: Path) -> str | None:
    """Whose claim it is; None if there is none, or it is of a process that is no more."""
    claim = files.read_json(path)
    host, process = claim.get("host"), claim.get("process")
    try:
        if time.time() - path.stat().st_mtime > (HOLDS if process else UNSIGNED):
            return None
        if host == socket.gethostname():
            with contextlib.suppress(PermissionError):  # it runs, for another user
                os.kill(process, 0)
    except (OSError, TypeError, OverflowError):
        return None
    return f"process {process or 'unknown'} on {host or 'an unknown machine'}"
