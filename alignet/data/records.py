"""Splits of the data sets that tfds has prepared, read without TensorFlow."""

import functools
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from alignet.errors import Absent, InputError

TFDS = "tfds:"


class Records(NamedTuple):
    """The records of a split, each of which is read when it is asked for, from any thread.

    Attributes:
      name: of the data set in tfds, with the config and the version if they were named.
      split: "test", "train[:1000]".
      n: how many there are.
      read: the id and the features of the record at a place from 0 to n − 1, pictures as the bytes
        of their files. The id is the feature `file_name`, or "SPLIT/0" and so on.
      classes: names of the values of the feature `label`; None if there is no such class label.
      fingerprint: of the files' names, sizes and times of change, not of what they hold.
    """

    name: str
    split: str
    n: int
    read: Callable[[int], tuple[str, Mapping[str, Any]]]
    classes: tuple[str, ...] | None
    fingerprint: str


def open_records(where: str, *, data_dir: str = "") -> Records:
    """Opens a split of a data set of pictures.

    Args:
      where: "tfds:NAME:SPLIT", prepared with file_format "array_record".
      data_dir: where tfds has its data sets; "" for `TFDS_DATA_DIR` or else its own default.

    Raises:
      Absent: the data set is not prepared.
      InputError: there is no such data set or split, or it has no pictures.
    """
    # The name may end with a version, as in mnist:3.0.1:test[:50%]; a split begins with a letter.
    parts = re.fullmatch(TFDS + r"(.+?(?::[\d.]+)?):([A-Za-z].*)", where)
    if not parts:
        raise InputError(f"{where}: names no split; expected {TFDS}NAME:SPLIT.")
    name, split = parts.groups()
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"{where}: tfds cannot be imported ({error}); expected what requirements.txt lists."
        ) from None
    command = f"`tfds build {name} --file_format=array_record`"
    # Of tfds's many types; the first line says it, what it lists below is longer than a screen.
    try:
        # What tfds took from the environment when it was imported may have changed.
        builder = tfds.builder(name, data_dir=data_dir or os.environ.get("TFDS_DATA_DIR") or None)
        features, splits = builder.info.features, builder.info.splits
        pictures = [key for key, kind in features.items() if isinstance(kind, tfds.features.Image)]
        decoders = {key: tfds.decode.SkipDecoding() for key in pictures}
        records = builder.as_data_source(split=split, decoders=decoders) if splits else ()
        files = splits[split].file_instructions if splits else ()
        fingerprint = hashlib.sha256("".join(map(_state, files)).encode()).hexdigest()
    except Exception as error:
        raise InputError(
            f"{where}: cannot be opened ({str(error).split(chr(10))[0]}); expected a data set "
            f"prepared by {command}."
        ) from None
    if not splits:
        raise Absent(
            f"{where}: not prepared in {builder.data_dir}; expected it there, by {command} in an "
            "environment that has TensorFlow, or TFDS_DATA_DIR to be the folder that has it."
        )
    if "image" not in pictures:
        raise InputError(f"{where}: has the features {', '.join(features)}; expected an `image`.")

    read = functools.partial(_read, where, split, records)
    label = dict(features.items()).get("label")
    classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else None
    return Records(name, split, len(records), read, classes, fingerprint)


# Not a closure: it is sent to other processes, too.
def _read(where: str, split: str, records: Any, place: int) -> tuple[str, Mapping[str, Any]]:
    try:
        record = records[place]
    except Exception as error:  # array_record's own types
        raise InputError(f"{where}: record {place} cannot be read ({error}).") from None
    return record.get("file_name", f"{split}/{place}".encode()).decode(), record


def _state(file: Any) -> str:
    status = os.stat(file.filename)
    name = os.path.basename(file.filename)
    return f"{status.st_size} {status.st_mtime_ns} {name} {file.skip} {file.take}\n"
