"""People's odd-one-out choices (THINGS) → VICE → UD → a table of held-out accuracies.

    python main.py --config=configs/things.py --config.data_dir=/path/to/data --workdir=runs/things

Reads data_dir/things/triplets.txt and data_dir/things/vgg16_features_rank200.npy (or the files
that `triplets` and `embeddings` name). Paper 002, Sections 4.1 and A.1.1.
Hardware: a CPU, 2 cores. Time, and the numbers to expect: RESULTS.md.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.seed = 0  # of the split
    config.data_dir = ""
    config.triplets = "things/triplets.txt"
    config.embeddings = "things/vgg16_features_rank200.npy"
    # Published VICE means: UD is fitted to p* from these too, where the file exists ("" to skip).
    config.published_concepts = "things/vice_embedding.npy"
    config.held_out_share = 0.1  # of the choices, for scores only

    config.vice = ml_collections.ConfigDict()
    config.vice.seed = 0
    config.vice.n_seeds = 12  # ours: components of the posterior
    config.vice.init_dim = 50  # ours; VICE code: 100 for 30 times the choices
    config.vice.init_scale = 1.0  # ours
    config.vice.spike = 0.25  # VICE code
    config.vice.slab = 1.0  # VICE code
    config.vice.pi = 0.6  # VICE code, README
    config.vice.lr = 0.02  # ours; VICE code: 1e-3 with batches of 128
    config.vice.batch_size = 4096  # ours
    config.vice.burn_in = 1500  # steps before convergence is looked for; ours
    config.vice.window = 500  # steps over which the number of dimensions stands still; ours
    config.vice.tolerance = 0.1  # share of the dimensions that may come and go meanwhile; ours
    config.vice.max_steps = 4000  # ours
    config.vice.cooldown_steps = 1000  # learning rate to 0 after convergence; ours
    config.vice.check_every = 100  # steps; also of the resumable state
    config.vice.fdr_alpha = 0.05  # VICE code
    config.vice.min_objects = 5  # VICE code
    config.p_star = ml_collections.ConfigDict({"n_samples": 50, "seed": 0})  # paper A.1.1

    config.ud = ml_collections.ConfigDict()
    config.ud.seed = 0  # of the folds, and of SGD
    config.ud.n_folds = 3  # gLocal code: 3 or 4
    config.ud.lambdas = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # ours; the paper prints no value
    config.ud.solver = "lbfgs"  # ours, full batch; "sgd" is the paper's
    config.ud.max_iterations = 500
    config.ud.ftol = 1e-5  # relative fall of the loss at which L-BFGS stops
    config.ud.gtol = 1e-6
    config.ud.sgd = ml_collections.ConfigDict()
    config.ud.sgd.lr = 1e-3  # gLocal code
    config.ud.sgd.momentum = 0.9  # gLocal code
    config.ud.sgd.grad_clip = 1.0  # gLocal code
    config.ud.sgd.batch_size = 256  # gLocal code
    config.ud.sgd.max_epochs = 100  # gLocal code
    config.ud.sgd.min_epochs = 20  # gLocal code
    config.ud.sgd.patience = 15  # gLocal code
    config.ud.sgd.min_delta = 1e-4  # gLocal code
    return config
