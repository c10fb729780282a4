"""Ablations of AligNet on a toy world: what matters, and for what?

    python main.py --config=configs/ablations.py --workdir=runs/ablations

Needs no data. Paper 002, B.2.3 (Figures 14 to 17) at toy size: students of several sizes, fewer
images and triplets, other triplets, a teacher that was not aligned, and fine-tuning on people's own
choices; each scored on choices of people that nothing was fitted to, and on few-shot learning.
Hardware: a CPU, 2 cores. Time, and what to expect: RESULTS.md.
"""

import ml_collections

from configs import demo


def get_config() -> ml_collections.ConfigDict:
    config = demo.get_config()
    config.recipe = "ablations"
    # Which, in order; fewer take less time.
    config.ablations = ("capacity", "images", "triplets", "sampling", "teacher", "things", "dense")

    # Students to choose from, pretrained alike; paper: ViT-S, -B and -L. The sizes: ours.
    base = config.base
    del config.base
    config.students = ml_collections.ConfigDict()
    for name, variant in (("small", "mu/16"), ("medium", "mu/8"), ("large", "nano/8")):
        config.students[name] = ml_collections.ConfigDict(base.to_dict() | {"variant": variant})
    every, one = ("small", "medium", "large"), ("medium",)
    config.sizes = ml_collections.ConfigDict(  # which of them each ablation trains; ours
        {
            "capacity": every,
            "images": one,
            "triplets": one,
            "sampling": every,
            "teacher": every,
            "things": one,
            "dense": one,  # the option of ours, distill.dense
        }
    )

    # Paper: over 3 and 4 orders of magnitude. All images and all of sampling.n_triplets come last.
    config.n_images = (30, 100, 300, 1000)  # ours
    config.n_triplets = (2, 20, 200, 2000)  # ours
    # Fine-tuning on people's own choices; paper: "different hyperparameter settings".
    config.direct = ml_collections.ConfigDict()
    config.direct.peak_lr = (6e-4, 6e-3)  # ours
    config.direct.pull = (0.3, 3.0)  # ours

    # As in configs/demo.py, in fewer steps, as there are many students. Ours.
    config.distill.steps, config.distill.warmup_steps = 600, 50

    config.tests = ml_collections.ConfigDict()
    config.tests.seed = 0  # of the labelled pictures
    config.tests.n_images = 720  # in each of the few-shot data sets; ours
    config.tests.shots = (1, 10)  # paper B.2.1
    config.tests.draws = 10  # of the examples; ours
    return config
