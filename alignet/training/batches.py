"""Batches of triplets with their images: a function of the step, made in processes ahead of time.

The order of the triplets and what a batch holds depend on the seed and the step alone. So the step
is all that a checkpoint has to keep of the input, and a resumed run sees the same batches.
"""

import functools
import operator
import signal
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import grain
import numpy as np
from absl import flags
from jaxtyping import Int
from PIL import Image

from alignet.data.images import Source, decode
from alignet.data.mapped import portable, reopened
from alignet.errors import InputError

Batch = dict[str, np.ndarray]


@runtime_checkable
class Triplets(Protocol):
    """What is distilled: `alignet.data.alignet_triplets.AligNetTriplets` or anything like it."""

    indices: Any  # int [n, 3], rows of the images
    similarities: Any  # float [n, 3], the teacher's, in the order (ij, ik, jk)


class Batches:
    """Loads the batch of a step, or of its share for one process.

    Args:
        images: uint8 [n, h, w, 3], perhaps a memory map; or pictures that are decoded when needed.
        triplets: image indices and the teacher's similarities; may be memory maps.
        fit: brings a picture of a source to the student's size, uint8 [h, w, 3].
        teacher_z: the teacher's embeddings of the images, for the triplets within a batch; or None.
        batch_size: triplets a step, over all processes.
        part, parts: which of how many equal parts of every batch.
        accumulate: pieces in which a batch is learnt from; a part has its share of each, so that
            a piece is the same triplets in however many parts.
        seed: of the order of the triplets; None for their own order, once, in which the last batch
            is filled up with the last triplet, of weight 0.
    """

    def __init__(
        self,
        images: np.ndarray | Source,
        triplets: Triplets,
        *,
        fit: Callable[[Image.Image], np.ndarray] | None,
        teacher_z: np.ndarray | None,
        batch_size: int,
        seed: int | None,
        part: int = 0,
        parts: int = 1,
        accumulate: int = 1,
    ):
        self.images, self.fit, self.teacher_z = images, fit, teacher_z
        self.indices, self.similarities = triplets.indices, triplets.similarities
        self.batch_size, self.seed = batch_size, seed
        self.part, self.parts, self.accumulate = part, parts, accumulate

    def __len__(self) -> int:
        """Steps in which every triplet has come once."""
        return -(-len(self.indices) // self.batch_size)

    def __call__(self, step: int) -> Batch:
        """The batch after `step` steps.

        Returns:
            "images" uint8 [b, 3, h, w, 3], "teacher" float32 [b, 3], "weight" float32 [b]; with a
            teacher's embeddings also "index" int32 [b, 3] and "teacher_z" float32 [b, 3, p].

        Raises:
            InputError: a picture cannot be read.
        """
        n, size = len(self.indices), self.batch_size
        rows = np.arange(step * size, (step + 1) * size)
        weight = np.ones(size, np.float32)
        if self.seed is not None:
            rows = batch_rows(self.seed, step, n=n, batch_size=size)
        else:
            rows, weight = np.minimum(rows, n - 1), (rows < n).astype(np.float32)
        cut = (self.accumulate, self.parts, -1)
        rows, weight = (x.reshape(cut)[:, self.part].reshape(-1) for x in (rows, weight))
        index = np.asarray(self.indices[rows])
        # Each image once, in ascending order: that is how disks are read fastest.
        distinct, place = np.unique(index, return_inverse=True)
        place = place.reshape(index.shape)
        batch = {
            "images": self._pixels(distinct)[place],
            "teacher": np.asarray(self.similarities[rows], np.float32),
            "weight": weight,
        }
        if self.teacher_z is not None:
            batch["index"] = index.astype(np.int32)
            batch["teacher_z"] = np.asarray(self.teacher_z[distinct], np.float32)[place]
        return batch

    def _pixels(self, rows: Int[np.ndarray, "u"]) -> np.ndarray:
        if not isinstance(self.images, Source):
            return np.asarray(self.images[rows])
        pictures = []
        for row in rows.tolist():
            name, encoded = self.images.read(row)
            try:
                pictures.append(self.fit(decode(encoded)[0]))
            except Exception as error:  # Pillow's decoders raise nearly anything on a corrupt file
                raise InputError(
                    f"{self.images.name}: {name} cannot be read as a picture ({error}); expected "
                    "pictures that the teacher could read, too."
                ) from None
        return np.stack(pictures)

    # Worker processes open memory maps again: pickled, they would be copied whole.
    def __getstate__(self) -> dict[str, Any]:
        return {name: portable(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, reopened(value))


def stream(batches: Callable[[int], Batch], steps: range, *, workers: int) -> Iterator[Batch]:
    """Yields the batches of steps in order, made ahead of time.

    Args:
        batches: makes one; sent to the workers.
        steps: which.
        workers: processes that make them; 0 for a thread of this process, enough where images are
            decoded already.

    Raises:
        InputError: what `batches` raised.
    """
    if not steps:
        return
    if not flags.FLAGS.is_parsed():
        # grain asks absl, which knows only after a command line was parsed: not in a notebook.
        flags.FLAGS.mark_as_parsed()
    dataset = grain.MapDataset.source(steps).map(functools.partial(_try, batches))
    dataset = dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
    if workers:
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
        dataset = dataset.mp_prefetch(options, worker_init_fn=_ignore_sigterm)
    iterator = iter(dataset)
    try:
        for batch in iterator:
            if isinstance(batch, str):
                raise InputError(batch)
            yield batch
    finally:
        iterator.close()


def batch_rows(seed: int, step: int, *, n: int, batch_size: int) -> Int[np.ndarray, "b"]:
    """Chooses the triplets of a step, a function of seed and step alone.

    The steps read one long stream of epochs, each a permutation of all triplets: every triplet is
    seen equally often, no remainder is dropped, and a resumed run needs no more than its step.

    Args:
        seed: of the whole stream.
        step: number of steps done before this one.
        n: number of triplets.
        batch_size: triplets a step.

    Returns:
        Indices of triplets.
    """
    epochs, offsets = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), n)
    parts = [
        _permutation(seed, e, n)[offsets[epochs == e]] for e in range(epochs[0], epochs[-1] + 1)
    ]
    return np.concatenate(parts)


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, n: int) -> Int[np.ndarray, "n"]:
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(n)


def _ignore_sigterm(*_: int) -> None:
    # Schedulers send it to all processes, of which this one's parent has a checkpoint to write.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _try(batches: Callable[[int], Batch], step: int) -> Batch | str:
    # What a worker raises arrives as a RuntimeError with its traceback.
    try:
        return batches(operator.index(step))
    except InputError as error:
        return str(error)
