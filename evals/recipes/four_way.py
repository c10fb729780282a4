"""A student in the paper's four settings, and how they compare (002, Tables 1 to 3).

Every artifact lies where the command that makes it alone would expect it:

    WORKDIR/original/student.npz            the student as it is
    WORKDIR/distillation/, alignet/         runs of configs/distill_siglip_b16.py: student.npz
    WORKDIR/human/ud.npz                    UD alone
    WORKDIR/evals/SETTING/                  what `python -m evals` finds of each
    WORKDIR/report.html, results.json, …    what `python -m evals compare` makes of them
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import ml_collections

from alignet import cross_validation, embed, human_side, students
from alignet import triplets as kernels
from alignet.errors import InputError
from alignet.recipes import distillation, ud
from alignet.runtime import stages
from evals import networks, output, scoring
from evals.answers import HUMAN, VISION
from evals.models import Model
from evals.options import Options
from evals.recipes import distillation as with_evals
from evals.recipes import human_scores
from evals.runs import Run

DATA = "config.people.data_dir"
# Evals of people's choices between the THINGS objects.
CHOICES = ("things", "things_photographs", "uncertainty")
# As in the paper, by folder.
LABELS = {
    "original": "original",
    "distillation": "distillation",
    "ud": "UD",
    "alignet": "AligNet",
}


def run(config: ml_collections.ConfigDict, workdir: str | Path) -> None:
    """Makes and compares what is missing or out of date in `workdir`; see configs/four_way.py.

    Raises:
      InputError: what was given is wrong; what was made before stays.
      Preempted: SIGTERM came while a student was trained.
    """
    workdir = Path(workdir)
    data_dir = human_side.data_dir(config.people, DATA)
    _check(config)
    original, transform = _as_it_is(config, workdir)
    trained = {
        "distillation": (config.untransformed, config.tau_untransformed),
        "alignet": (config.triplets, config.distill.tau_teacher),
    }
    for name, (triplets, tau_teacher) in trained.items():
        own = ml_collections.ConfigDict(config.to_dict())
        own.triplets, own.distill.tau_teacher = triplets, tau_teacher
        with_evals.run(own, workdir / name)
    if jax.process_count() > 1:
        if jax.process_index() == 0:
            print(f"{workdir}: trained; the same command on one host, alone, scores the students.")
        return

    ############################## Scores ##############################
    cache = workdir / "evals" / "embeddings"
    settings = {
        "original": (original, None),
        "distillation": (workdir / "distillation" / "student.npz", None),
        "ud": (original, transform),
        "alignet": (workdir / "alignet" / "student.npz", None),
    }
    finished = {}
    for name, (weights, ud_file) in settings.items():
        model = networks.from_checkpoint(weights, cache=cache / name, transform=ud_file)
        found = _score(config, workdir / "evals" / name, LABELS[name], model, data_dir)
        if name == "ud":
            unseen = {key: own for key, own in found.answers.items() if key not in CHOICES}
            found = found._replace(answers=unseen)
        if found.answers:
            finished[LABELS[name]] = found
    output.clear(workdir)
    text = output.write_comparison(workdir, finished, remarks=_remarks(config, workdir, finished))
    print(text, output.places(workdir), sep="\n", flush=True)


def _check(config: ml_collections.ConfigDict) -> None:
    # Now, not after days of training.
    distillation.check_given(config)
    if not config.untransformed:
        raise InputError(
            "config.untransformed is empty; expected the dataset of the teacher without alignment, "
            "which configs/alignet_dataset.py makes with --config.transform=untransformed."
        )
    for name, given in {
        "distill.dense": config.distill.dense,
        "validation": config.validation,
    }.items():
        if given:
            raise InputError(
                f"config.{name} is {given}, which is of one teacher, and there are two here; "
                "expected none of it: train with configs/distill_siglip_b16.py."
            )
    if not Path(config.untransformed).is_file():
        raise InputError(f"{config.untransformed}: no such file; expected an AligNet dataset.")
    scoring.check_names("config.compared", config.compared, families=(HUMAN, VISION))


def _as_it_is(config: ml_collections.ConfigDict, workdir: Path) -> tuple[Path, Path | None]:
    """The student's weights in our layout, and its UD; None in all processes but the first."""
    image_size = config.image_size or None
    network = students.load(config.model, config.weights, image_size=image_size)
    objects, human = None, workdir / "human"
    if config.ud_file:
        ud.check_width(config.ud_file, network)
    else:
        ud.check_people(config.people)
        settings = embed.every_picture(shard_size=4096)
        objects = ud.embed_objects(config.people, human, network, settings)
    original = workdir / "original" / "student.npz"
    if jax.process_index() > 0:
        return original, None
    stages.run(
        original,
        lambda out, _: students.save_weights(out, *network[:2]),
        config={"model": config.model, "image_size": config.image_size},
        inputs={"weights": Path(config.weights)},
    )
    fitted = Path(config.ud_file) if config.ud_file else ud.fit(config.people, human, objects)
    return original, fitted


def _remarks(
    config: ml_collections.ConfigDict, workdir: Path, finished: Mapping[str, Run]
) -> list[str]:
    """What UD was fitted to tells nothing about it, and something else does."""
    if not any(name in run.answers for run in finished.values() for name in CHOICES):
        return []
    remark = (
        "UD is fitted to people's choices between the THINGS objects, and not compared on them. "
        "AligNet's student has not seen them, but its teacher may have been aligned by the same."
    )
    if config.ud_file:
        return [remark]
    people, human = config.people, workdir / "human"
    objects = ud.embedded_objects(people, human)
    x = human_side.object_embeddings(objects, data_dir=human_side.data_dir(people, DATA)).matrix
    unseen = human_scores.held_out_objects(people, human, len(x))
    folds = cross_validation.load_cross_validation(human / "ud.npz")
    before = kernels.gather_similarities(kernels.similarity_matrix(x), unseen.triplets)
    original, fitted = (
        "{:.1%} [{:.1%}, {:.1%}]".format(*human_scores.accuracy(s)[:3])
        for s in (before, human_scores.ud_similarities(folds, x, unseen))
    )
    return [
        f"{remark} Of the {len(unseen.triplets):,} choices between objects of one fold, the "
        f"student as it is makes {original}, and UD fitted without that fold {fitted}."
    ]


def _score(
    config: ml_collections.ConfigDict, folder: Path, label: str, model: Model, data_dir: Path
) -> Run:
    """What `python -m evals` finds and writes; embeddings made before are not made again."""
    output.clear(folder)
    options = Options(seed=config.eval_seed, cache=folder / "cache")
    found = scoring.run([model], data_dir, options, evals=tuple(config.compared))
    output.write_run(folder, found, called=f"{config.model} ({label})")
    scoring.finished(folder / "cache")
    return found
