"""The AligNet dataset: a teacher's view of pictures, aligned with people → clusters → triplets.

Every file of a variant lies in a folder that says which it is: whose answers (aligned by UD, or
untransformed) on triplets drawn how.

    WORKDIR/MODEL_PICTURES.npz                          the teacher's embeddings of the pictures
    WORKDIR/human/                                      VICE, p*, UD: what people choose
    WORKDIR/ud/embeddings.npz, clusters.npz             after UD
    WORKDIR/ud/cluster-boundary/alignet_train.npz       10 million triplets, and
    WORKDIR/ud/cluster-boundary/alignet_valid.npz       others
"""

from pathlib import Path

import jax
import ml_collections
import numpy as np

from alignet import embed, sampling, student_side, students
from alignet.data.embeddings import load_embeddings
from alignet.data.images import open_source, spelled_out
from alignet.data.labelled import Labelled, open_labelled
from alignet.errors import InputError
from alignet.recipes import ud
from alignet.runtime import files, stages

UD, UNTRANSFORMED, HUMAN = "ud", "untransformed", "human"  # folders


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> None:
    """Makes what is missing or out of date in `workdir`; see configs/alignet_dataset.py.

    Raises:
      InputError: what was given is wrong; the artifacts made before stay.
    """
    ############################## What is asked for ##############################
    if config.transform not in (UD, UNTRANSFORMED):
        raise InputError(f"config.transform is {config.transform!r}; expected ud or untransformed.")
    if config.sampling.scheme not in sampling.SCHEMES:
        raise InputError(
            f"config.sampling.scheme is {config.sampling.scheme!r}; expected one of "
            f"{', '.join(sampling.SCHEMES)}."
        )
    workdir = Path(workdir)
    images = spelled_out(config.images)
    source = open_source(images, data_dir=config.data_dir)
    compute = students.Compute(config.dtype)
    teacher = students.load(config.teacher, config.weights, compute=compute)
    fits_ud = config.transform == UD and not config.ud_file
    if fits_ud:
        ud.check_people(config.people)
    scheme, n_validation = config.sampling.scheme, config.sampling.n_validation
    by_class = scheme != "cluster-boundary" and (scheme != "random" or config.three_classes)
    labelled = None
    # What the other processes do not read.
    if jax.process_index() == 0:
        if config.transform == UD and config.ud_file:
            ud.check_width(config.ud_file, teacher)
        if by_class:
            cache = workdir / "cache"
            labelled = open_labelled(images, cache=cache, data_dir=config.data_dir)
    settings = embed.every_picture(config.shard_size, config.batch_per_device)

    ############################## The teacher's view: every process ##############################
    # The objects first: they are few, and what is wrong with them is known before all is embedded.
    objects = None
    if fits_ud:
        objects = ud.embed_objects(config.people, workdir / HUMAN, teacher, settings)
    embeddings = workdir / f"{config.teacher}_{source.name}.npz"
    embed.make(embeddings, teacher, source, **settings)
    if jax.process_index() > 0:
        return

    ############################## Aligned, or as it is ##############################
    folder = workdir / config.transform
    if config.transform == UD:
        fitted = Path(config.ud_file)
        if fits_ud:
            fitted = ud.fit(config.people, workdir / HUMAN, objects)
        rows = student_side.align_embeddings(folder, "embeddings", embeddings=embeddings, ud=fitted)
    else:
        rows = student_side.standardise(folder, "embeddings", embeddings=embeddings)

    ############################## Triplets ##############################
    labels = None
    if scheme == "cluster-boundary":
        labels = student_side.cluster(config.clusters, folder, "clusters", embeddings=rows)
    elif labelled:
        labels = _classes(labelled, workdir, embeddings)
    for name, validation in (("alignet_train", False), ("alignet_valid", True)):
        if validation and not n_validation:
            # One of an earlier run is not of this training set.
            for stale in (f"{name}.npz", f"{name}.npz.manifest.json"):
                (folder / scheme / stale).unlink(missing_ok=True)
            continue
        student_side.draw_triplets(
            config.sampling,
            folder / scheme,
            name,
            embeddings=rows,
            labels=labels,
            validation=validation,
        )
    print(
        f"{folder / scheme}: {config.sampling.n_triplets:,} triplets in alignet_train.npz, "
        f"{n_validation:,} in alignet_valid.npz, of {source.n:,} pictures."
    )


def _classes(labelled: Labelled, workdir: Path, embeddings: Path) -> Path:
    """The class of every picture, as a data set or the folders say."""

    def step(out: Path, _: Path) -> None:
        ids = load_embeddings(embeddings).ids
        if len(labelled.ids) != len(ids):
            raise InputError(
                f"{labelled.name}: has classes of {len(labelled.ids)} pictures and {embeddings} "
                f"has {len(ids)}; expected the same ones."
            )
        differ = np.flatnonzero(labelled.ids != ids)
        if len(differ):
            row = differ[0]
            raise InputError(
                f"{labelled.name}: has the class of {labelled.ids[row]} in row {row} and "
                f"{embeddings} has {ids[row]} there; expected the same pictures in one order."
            )
        files.write_npz(out, labels=labelled.labels)

    inputs = {"embeddings": embeddings}
    config = {"labels": labelled.fingerprint}
    return stages.run(workdir / "classes.npz", step, config=config, inputs=inputs)
