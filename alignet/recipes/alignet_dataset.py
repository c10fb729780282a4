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

from alignet import embed, human_side, sampling, student_side, students
from alignet.data.embeddings import Embeddings, load_embeddings, save_embeddings
from alignet.data.human import object_ids
from alignet.data.images import open_source, some, spelled_out
from alignet.data.labelled import open_labelled
from alignet.errors import InputError
from alignet.runtime import files, stages
from alignet.students import inference

UD, UNTRANSFORMED = "ud", "untransformed"
# How THINGS calls the photograph of an object that people saw.
SPELLINGS = ("{0}", "{0}_01b", "{0}/{0}_01b")


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
    settings = {
        "batch_per_device": config.batch_per_device or inference.default_batch(),
        "shard_size": config.shard_size,
        "unreadable": "fail",
        "not_rgb": "convert",
    }

    ############################## The teacher's view: every process ##############################
    embeddings = workdir / f"{config.teacher}_{source.name}.npz"
    embed.make(embeddings, teacher, source, **settings)
    objects = None
    if config.transform == UD and not config.ud_file:
        objects = _objects(config, workdir, teacher, settings)
    if jax.process_index() > 0:
        return

    ############################## Aligned, or as it is ##############################
    folder = workdir / config.transform
    if config.transform == UD:
        ud = Path(config.ud_file) if config.ud_file else _fit(config, workdir, objects)
        rows = student_side.align_embeddings(folder, "embeddings", embeddings=embeddings, ud=ud)
    else:
        rows = student_side.standardise(folder, "embeddings", embeddings=embeddings)

    ############################## Triplets ##############################
    scheme = config.sampling.scheme
    if scheme == "cluster-boundary":
        labels = student_side.cluster(config.clusters, folder, "clusters", embeddings=rows)
    elif scheme == "random" and not config.three_classes:
        labels = None
    else:
        labels = _classes(config, workdir, images, embeddings)
    n_validation = config.sampling.n_validation
    for name, validation in (("alignet_train", False), ("alignet_valid", True)):
        if validation and not n_validation:
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


def _objects(
    config: ml_collections.ConfigDict, workdir: Path, teacher: students.Embedder, settings: dict
) -> Path:
    """The teacher's embeddings of the objects that people chose between."""
    data_dir = human_side.data_dir(config.people)
    if config.people.embeddings:
        return data_dir / config.people.embeddings
    ids = object_ids(data_dir)
    if ids is None:
        raise InputError(
            f"{data_dir / 'things'}: objects have no names; expected unique_id.txt and sortindex."
        )
    source = open_source(data_dir / "things" / "images")
    place = {source.read(place)[0]: place for place in range(source.n)}
    called = [[s.format(name) for s in SPELLINGS if s.format(name) in place] for name in ids]
    absent = [name for name, found in zip(ids.tolist(), called, strict=True) if not found]
    if absent:
        raise InputError(
            f"{data_dir / 'things' / 'images'}: has no photograph of {len(absent)} of the "
            f"{len(ids)} objects, the first {absent[0]}; expected one of each."
        )
    found = workdir / "human" / "photographs.npz"
    shown = some(source, [place[names[0]] for names in called])
    embed.make(found, teacher, shown, **settings)
    if jax.process_index() > 0:
        return found

    def step(out: Path, _: Path) -> None:
        save_embeddings(out, Embeddings(ids, np.asarray(load_embeddings(found).matrix)))

    settings = {"objects": ids.tolist()}
    inputs = {"photographs": found}
    return stages.run(workdir / "human" / "objects.npz", step, config=settings, inputs=inputs)


def _fit(config: ml_collections.ConfigDict, workdir: Path, objects: Path) -> Path:
    """VICE and UD, fitted to people's choices."""
    people, folder = config.people, workdir / "human"
    data_dir = human_side.data_dir(people)
    n_objects = len(human_side.object_embeddings(objects, data_dir=data_dir).matrix)
    human_side.split(people, folder, triplets=data_dir / people.triplets, n_objects=n_objects)
    human_side.posterior(people, folder, n_objects=n_objects)
    p_star = folder / "p_star.npy"
    human_side.align(people, folder, "ud", objects, targets=p_star, data_dir=data_dir)
    return folder / "ud.npz"


def _classes(
    config: ml_collections.ConfigDict, workdir: Path, images: str, embeddings: Path
) -> Path:
    """The class of every picture, as a data set or the folders say."""

    def step(out: Path, _: Path) -> None:
        labelled = open_labelled(images, cache=workdir / "cache")
        ids = load_embeddings(embeddings).ids
        if len(labelled.ids) != len(ids):
            raise InputError(
                f"{images}: has classes of {len(labelled.ids)} pictures and {embeddings} has "
                f"{len(ids)}; expected the same ones."
            )
        files.write_npz(out, labels=labelled.labels)

    inputs = {"embeddings": embeddings}
    return stages.run(workdir / "classes.npz", step, config={"images": images}, inputs=inputs)
