"""The last step alone: weights and an AligNet dataset → an aligned student, with evals on the way.

For runs of days on many machines: the run's folder is its own, and nothing but a `force` in the
configuration lets another run go on in it.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import ml_collections
import numpy as np

from alignet import students
from alignet.data.embeddings import load_embeddings
from alignet.data.images import Source, open_source, spelled_out
from alignet.data.located import load_located
from alignet.data.records import TFDS
from alignet.distill import Evaluate, distill
from alignet.errors import InputError
from alignet.runtime.work_folder import is_remote
from alignet.training.checks import looked_at

WANTED = {
    "weights": "the student's weights, as in --config.weights=siglip_b16_224.npz",
    "triplets": "an AligNet dataset, as in --config.triplets=alignet_train.npz",
    "images": "the pictures that the triplets are of, as in --config.images=imagenet/train",
}


def run(
    config: ml_collections.ConfigDict,
    workdir: str | Path,
    *,
    make_evaluate: Callable[..., Evaluate],
) -> None:
    """Distils `config.triplets` into `config.weights`; see configs/distill_siglip_b16.py.

    Args:
      config: the recipe.
      workdir: folder of the run.
      make_evaluate: makes what is measured at checkpoints of config.evals, the student, the data's
        folder and a cache's; `evals.recipes.distillation.scorer`.

    Raises:
      InputError: what was given is wrong, or as `distill` does.
      Preempted: as `distill` does.
    """
    check_given(config)
    student, params, _ = students.load(
        config.model, config.weights, image_size=config.image_size or None
    )
    if config.distill.read_out == "triplet_head":
        key = jax.random.key(config.distill.seed)
        student, params = students.add_triplet_head(student, params, key, width=config.triplet_head)
        params = jax.device_get(params)
    images = spelled_out(config.images)
    source = open_source(images, data_dir=config.data_dir)
    triplets, validation = (
        load_located(path, source, images=images, max_missing=config.max_missing) if path else None
        for path in (config.triplets, config.validation)
    )
    evaluate = None
    if config.evals:
        evaluate = make_evaluate(
            config.evals,
            student=student,
            data_dir=Path(config.evals_data_dir),
            cache=None if is_remote(workdir) else Path(workdir) / "cache",
        )
    distill(
        config.distill,
        student=student,
        params=params,
        images=source,
        triplets=triplets,
        validation=validation,
        teacher_z=_teacher(config.teacher, source, images) if config.distill.dense else None,
        workdir=workdir,
        evaluate=evaluate,
    )
    if jax.process_index() == 0:
        score = f"python -m evals --checkpoint={workdir} --data_dir=DATA --out=OUT"
        if is_remote(workdir):
            score = "copy student.npz here, then python -m evals --checkpoint=student.npz …"
        print(
            f"{workdir}/student.npz: the trained student; curves in {workdir}, for "
            f"`tensorboard --logdir={workdir}`.\nIs it more human? {score}"
        )


def check_given(config: ml_collections.ConfigDict) -> None:
    """Raises InputError if a file that has no default is not named."""
    for name, expected in WANTED.items():
        if not config[name]:
            raise InputError(f"config.{name} is empty; expected {expected}.")


def _teacher(path: str, source: Source, images: str) -> np.ndarray:
    if not path:
        raise InputError(
            "config.teacher is empty and distill.dense is on; expected the teacher's embeddings "
            "of the pictures, which configs/alignet_dataset.py makes."
        )
    found = load_embeddings(path)
    places = range(source.n)
    if images.startswith(TFDS):  # names are in the records, a million of which are not read
        places = looked_at(source.n)
    if (
        found.ids is None
        or len(found.ids) != source.n
        or any(source.read(place)[0] != found.ids[place] for place in places)
    ):
        raise InputError(
            f"{path}: its ids are not those of {images}, in their order; expected embeddings of "
            "these pictures."
        )
    return found.matrix
