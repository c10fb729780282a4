"""The whole chain on a toy world with known truth: the chain checks itself.

    python main.py --config=configs/demo.py --workdir=runs/demo

Needs no data. Paper 002, Sections 4.1 and A.1, at toy size; the table is shaped after its Tables
1 to 3. Hardware: a CPU, 2 cores. Time, and the numbers to expect: RESULTS.md.
"""

import ml_collections

from configs import distill_siglip_b16, things


def get_config() -> ml_collections.ConfigDict:
    human = things.get_config()
    config = ml_collections.ConfigDict()
    config.seed = 0  # of the split
    config.held_out_share = 0.1  # of the training choices, for VICE's own score

    # The world, and everything else below: ours.
    config.toy = ml_collections.ConfigDict()
    config.toy.seed = 0
    config.toy.image_size = 32
    config.toy.n_things = 288  # objects that people judge
    config.toy.n_pool = 3000  # images that triplets are drawn from
    config.toy.n_triplets = 30_000  # people's choices
    config.toy.n_test = 4000  # choices to score on, of either kind
    config.toy.heldout_share = 0.25  # of the categories

    config.teacher = ml_collections.ConfigDict()
    config.teacher.variant, config.teacher.pool = "nano/8", "gap"
    config.teacher.seed = 0
    config.teacher.n_images = 20_000
    config.teacher.batch_size = 64
    config.teacher.steps, config.teacher.warmup_steps = 1500, 100
    config.teacher.peak_lr = 4e-3
    config.teacher.factors = ml_collections.ConfigDict(
        {
            "texture": 1.0,
            "colour": 1.0,
            "background": 1.0,
            "slender": 1.0,
            "basic": 1.0,
            "superordinate": 1.0,
        }
    )
    config.base = ml_collections.ConfigDict()
    config.base.variant, config.base.pool = "mu/8", "gap"
    config.base.seed = 0
    config.base.n_images = 20_000
    config.base.batch_size = 64
    config.base.steps, config.base.warmup_steps = 400, 50
    config.base.peak_lr = 6e-3
    config.base.factors = ml_collections.ConfigDict(
        {"texture": 1.0, "colour": 1.0, "background": 1.0}
    )

    config.vice = human.vice
    config.vice.n_seeds = 3
    config.vice.init_dim = 30
    config.vice.burn_in, config.vice.window = 800, 300
    config.vice.max_steps, config.vice.cooldown_steps = 2000, 500
    config.vice.batch_size = 2048
    config.p_star = human.p_star
    config.ud = human.ud
    config.ud.lambdas = (0.3, 0.1, 0.03, 0.01)

    config.clusters = ml_collections.ConfigDict()
    config.clusters.ks = (4, 6, 9, 12, 18, 24, 36, 48)
    config.clusters.restarts = 3
    config.clusters.seed = 0
    config.sampling = ml_collections.ConfigDict({"n_triplets": 20_000, "seed": 0})

    config.distill = distill_siglip_b16.get_config().distill
    config.distill.batch_size = 64
    config.distill.steps, config.distill.warmup_steps = 1200, 100
    config.distill.peak_lr = 6e-3
    config.distill.tau_student = 30.0
    config.distill.pull = 0.3
    config.distill.dtype, config.distill.scan = "float32", False
    config.distill.workers = 0
    config.distill.checkpoint_every = 400
    return config
