r"""AligNet: a pretrained student and the AligNet dataset → an aligned student, curves and evals.

    python main.py --config=configs/distill_siglip_b16.py --config.weights=siglip_b16_224.npz \
        --config.triplets=alignet_train.npz --config.images=tfds:imagenet2012:train \
        --workdir=runs/siglip_b16

Paper 002, Sections 4.1 and A.1.3; what it leaves open is taken from the official code. Any student
of alignet/students/zoo.py takes this recipe by --config.model; the released triplets and those of
configs/alignet_dataset.py are read alike. README.md has the commands for a node of GPUs and for a
TPU pod. Killed or preempted, the same command goes on from the last checkpoint.

Hardware: any number of devices that divides the batch of 512 triplets. A ViT-B/16 at 224 px needs
about 12 GB for parameters, optimizer and 64 triplets a device in bfloat16; where memory is short,
--config.distill.fsdp=0 shards what belongs to the parameters, --config.distill.accumulate=4 cuts
the batch, --config.distill.remat=True recomputes activations.
"""

import ml_collections
from ml_collections import config_dict


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.recipe = "distill"
    config.model = "siglip-b16"  # a row of alignet/students/zoo.py
    config.weights = ""  # its weights
    config.image_size = 0  # in pixels; 0 for the model's
    config.triplets = ""  # an AligNet dataset
    config.validation = ""  # another, on which the loss is measured; "" for none
    # The pictures that the triplets index: as in configs/embed.py.
    config.images = "tfds:imagenet2012:train"
    config.data_dir = ""  # of tfds; "" for its default
    # Of the triplets' images, how many may be missing from `images`: their triplets are left out.
    config.max_missing = 0.0
    config.teacher = ""  # the teacher's embeddings of the pictures, if distill.dense
    # Of `python -m evals`, whenever a checkpoint is written; as in ("things", "peterson").
    config.evals = ()
    config.evals_data_dir = "data"
    config.triplet_head = 1024  # width of a head put on for read_out="triplet_head"; official code

    config.distill = ml_collections.ConfigDict()
    config.distill.seed = 42  # official code
    config.distill.batch_size = 512  # triplets; official code
    config.distill.steps = 100_000  # official code: 5.12 epochs of 10 million
    config.distill.warmup_steps = 5_000  # official code
    config.distill.peak_lr = 3e-5  # official code
    config.distill.loss = "kl"  # paper eq. 5; official code: jsd
    config.distill.tau_teacher = 1.0  # paper 4.1
    config.distill.tau_student = 100.0  # paper 4.1
    config.distill.dense = False  # ours: also all triplets within a batch
    config.distill.pull = 1.0  # official code
    config.distill.grad_clip = config_dict.placeholder(float)  # none; official code
    config.distill.accumulate = 1
    config.distill.ema = config_dict.placeholder(float)  # none; official code
    config.distill.read_out = "pre_logits"  # paper; official code: triplet_head
    config.distill.dtype = "bfloat16"  # of activations; parameters are float32; ours
    config.distill.scan = True  # one compiled block in a loop; ours
    config.distill.remat = False
    config.distill.fsdp = 1  # devices that share a copy of the parameters; 0 for all
    config.distill.workers = 16  # processes that decode pictures, on every host; ours
    config.distill.checkpoint_every = 10_000  # official code
    config.distill.log_every = 100  # ours
    config.distill.keep = 2  # newest checkpoints, besides the best; ours
    config.distill.force = False  # go on from a checkpoint of another configuration
    return config
