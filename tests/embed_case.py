"""An embedding of seconds, run in the tests and, by `python -m tests.embed_case`, apart."""

import argparse
import os
import signal
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from alignet import embed, students
from alignet.data.images import open_source
from alignet.errors import InputError

N = 30
STUDENT = students.Student(variant="mu/8", image_size=16, pool="map")
SETTINGS = {
    "batch_per_device": 2,
    "shard_size": 8,
    "unreadable": "skip",
    "not_rgb": "convert",
}


def write_pictures(folder):
    """Thirty pictures of all shapes in folders: places 3 and 17 are damaged, 5 and 22 grey."""
    rng = np.random.default_rng(0)
    for i in range(N):
        path = folder / f"class{i // 10}" / f"picture{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (*rng.integers(5, 40, 2), 3), np.uint8)
        picture = Image.fromarray(pixels)
        (picture.convert("L") if i in (5, 22) else picture).save(path)
        if i in (3, 17):
            path.write_bytes(path.read_bytes()[:60])
    return folder


def embedder(student=STUDENT):
    return students.Embedder(student, jax.device_get(students.init(student, jax.random.key(1))))


def run(source, artifact, **settings):
    embed.make(artifact, embedder(), source, **SETTINGS | settings)
    return artifact


def deadly(source, kill_at):
    """Kills this process, without a chance to tidy up, when the picture at `kill_at` is read."""

    def read(place):
        if place == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return source.read(place)

    return source._replace(read=read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--kill_at", type=int)
    parser.add_argument("--port", type=int, help="of the first of two processes")
    parser.add_argument("--process", type=int)
    options = parser.parse_args()
    if options.port:
        jax.distributed.initialize(f"127.0.0.1:{options.port}", 2, options.process)
    pictures = open_source(options.folder)
    if options.kill_at is not None:
        pictures = deadly(pictures, options.kill_at)
    if options.port:
        # The picture is the second process's, and both have to stop.
        try:
            run(pictures, options.artifact, unreadable="fail")
        except InputError as error:
            print(f"stopped: {error}")
    run(pictures, options.artifact)
