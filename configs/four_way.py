r"""Any student in four settings: does AligNet help, and is it the alignment that helps?

    python main.py --config=configs/four_way.py --config.model=siglip-b16 \
        --config.weights=siglip_b16_224.npz --config.images=tfds:imagenet2012:train \
        --config.triplets=DATASET/ud/cluster-boundary/alignet_train.npz \
        --config.untransformed=DATASET/untransformed/cluster-boundary/alignet_train.npz \
        --config.people.data_dir=/path/to/data --workdir=runs/siglip_b16_four_ways

The student as it is, distilled from the teacher without alignment, transformed by UD alone, and
distilled from the aligned teacher, by the official recipe (configs/distill_siglip_b16.py); then all
evals whose data are there, and a comparison in the layout of Tables 1 to 3 of paper 002. On THINGS,
to whose choices it is fitted, UD is scored by folds of the objects instead. DATASET is
a folder of configs/alignet_dataset.py, run twice, the second time with
--config.transform=untransformed.
Hardware: that of two runs of configs/distill_siglip_b16.py. Cut off, the same command goes on. On a
pod it ends with the students; the same command on one host, without --distributed, scores them.
"""

import ml_collections

from configs import distill_siglip_b16, things


def get_config() -> ml_collections.ConfigDict:
    config = distill_siglip_b16.get_config()
    config.recipe = "four_way"
    config.untransformed = ""  # the AligNet dataset of the teacher without alignment
    # This teacher's temperature. Where its similarities are of another size than those of the
    # aligned one, so are its answers' doubts: configs/photographs.py has such a case.
    config.tau_untransformed = 1.0  # paper 4.1
    # UD of the student, as configs/alignet_dataset.py does it for the teacher.
    config.ud_file = ""
    config.people = things.get_config()
    config.people.embeddings = ""
    # What ends it: of `python -m evals`, by name or by kind ("human", "vision"). Data for these are
    # in people.data_dir.
    config.compared = ("human",)
    config.eval_seed = 0  # of the bootstrap
    return config
