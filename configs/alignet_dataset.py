r"""The AligNet dataset: embed pictures, align the teacher (UD), cluster, draw 10 million triplets.

    python main.py --config=configs/alignet_dataset.py --config.teacher=siglip-so400m-14 \
        --config.weights=webli_en_so400m_384_58765454.npz --config.images=imagenet2012 \
        --config.people.data_dir=/path/to/data --workdir=runs/alignet_dataset

Paper 002, Sections 4.1 and A.1.2. Writes runs/alignet_dataset/ud/cluster-boundary/, whose
alignet_train.npz and alignet_valid.npz are in the layout of the released files and are what
configs/distill_siglip_b16.py takes. The paper's ablations (B.2.3): --config.transform=untransformed
for the teacher without alignment; --config.sampling.scheme=class-boundary or random.
Hardware: embedding wants chips (1.28 million pictures of 384 px by a So400m/14 are 1.7 exaFLOP),
all other steps two cores, 4 GB of memory and 12 GB of disk. Cut off, the same command goes on.
"""

import ml_collections

from configs import things


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.recipe = "alignet_dataset"
    config.teacher = "siglip-so400m-14"  # paper 4.1: a row of alignet/students/zoo.py
    config.weights = ""  # its weights
    # A tfds dataset (its train split, or tfds:NAME:SPLIT), a folder, or an .npz of pictures.
    config.images = "imagenet2012"
    config.data_dir = ""  # of tfds; "" for its default
    config.dtype = "float32"  # of the teacher's activations
    config.batch_per_device = 0  # 0 for 8 on a CPU and 64 on a chip
    config.shard_size = 4096  # pictures; embedded again after an interruption at most

    config.transform = "ud"  # or untransformed
    config.ud_file = ""  # a UD transform of this teacher; "" fits one, as configs/things.py does
    config.people = things.get_config()
    # The teacher's embeddings of the objects; "" embeds data_dir/things/images.
    config.people.embeddings = ""

    config.clusters = ml_collections.ConfigDict()
    config.clusters.ks = (500,)  # paper 4.1; several: the elbow of them is taken
    config.clusters.restarts = 3  # ours
    config.clusters.seed = 0

    config.sampling = ml_collections.ConfigDict()
    config.sampling.scheme = "cluster-boundary"  # paper; or class-boundary, within-class, random
    config.sampling.n_triplets = 10_000_000  # paper 4.1
    config.sampling.n_validation = 10_000  # released data
    config.sampling.by_size = False  # every cluster as likely: ours; or in proportion to its images
    config.sampling.seed = 0
    config.three_classes = False  # random triplets: of any images (A.1.2), or of three classes
    return config
