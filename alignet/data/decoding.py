"""Batches of pictures, decoded in threads ahead of whoever uses them."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from alignet.data.images import Source, decode
from alignet.errors import InputError

TAG_BYTES = 1024


class Batch(NamedTuple):
    """Some pictures of a source; rows beyond those asked for are zero.

    Attributes:
      places: of the whole batch in the source.
      pixels: of the rows that were asked for.
      tags: who they are, for `read_tag`; arrays, so that they can go where the pixels go.
    """

    places: range
    pixels: UInt8[np.ndarray, "b s s 3"]
    tags: UInt8[np.ndarray, "b t"]


class Tag(NamedTuple):
    """A picture's id; why it could not be decoded, or ""; what it was if not RGB, or ""."""

    id: str
    unreadable: str
    not_rgb: str


def decode_ahead(
    source: Source,
    resize: Callable[[Image.Image], np.ndarray],
    batches: Sequence[range],
    *,
    rows: slice,
    size: int,
) -> Iterator[Batch]:
    """Decodes batch after batch; the next one meanwhile, so that two are in memory.

    Args:
      source: the pictures.
      resize: brings an RGB picture to uint8 [size, size, 3].
      batches: places in the source.
      rows: which rows of every batch to decode; of a shorter batch, those it has.
      size: side of the images, in pixels.

    Yields:
      The batches, all of the same shape.

    Raises:
      InputError: an id is too long, or the source cannot be read.
    """

    def decode_one(place: int, pixels: np.ndarray, tag: np.ndarray) -> None:
        name, encoded = source.read(place)
        unreadable = not_rgb = ""
        try:
            picture, not_rgb = decode(encoded)
            pixels[:] = resize(picture)
        except Exception as error:  # Pillow's decoders raise nearly anything on a corrupt file
            unreadable = (str(error) or type(error).__name__)[:200]
        text = json.dumps(Tag(name, unreadable, not_rgb), ensure_ascii=False).encode()
        if len(text) > TAG_BYTES:
            raise InputError(
                f"{source.name}: the id {name!r} has {len(name)} characters; expected no more than "
                f"about {TAG_BYTES // 2}."
            )
        tag[: len(text)] = np.frombuffer(text, np.uint8)

    def start(places: range) -> tuple[Batch, list[Future]]:
        pixels = np.zeros((rows.stop - rows.start, size, size, 3), np.uint8)
        tags = np.zeros((len(pixels), TAG_BYTES), np.uint8)
        jobs = [
            pool.submit(decode_one, place, pixels[row], tags[row])
            for row, place in enumerate(places[rows])
        ]
        return Batch(places, pixels, tags), jobs

    pool = ThreadPoolExecutor(thread_name_prefix="decode")
    try:
        following = iter(batches)
        ahead = [start(places) for places in islice(following, 1)]
        while ahead:
            batch, jobs = ahead.pop()
            for job in jobs:
                job.result()
            ahead = [start(places) for places in islice(following, 1)]
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def read_tag(tag: UInt8[np.ndarray, "t"]) -> Tag:
    """A row of `Batch.tags`."""
    return Tag(*json.loads(tag.tobytes().rstrip(b"\0")))
