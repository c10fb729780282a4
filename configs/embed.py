"""A network of the table over a folder of pictures, an `.npz`, or a tfds dataset → embeddings.

    python main.py --config=configs/embed.py --config.model=dinov2-b14 \
        --config.weights=model.safetensors --config.images=/path/to/imagenet/val

Writes runs/embed/dinov2-b14_val.npz (`ids` and `embeddings`, float32, for `python -m evals
--embeddings` and every step that takes embeddings; memory-mapped when read) and beside it
dinov2-b14_val.pictures.json, which lists the pictures that could not be read and those that were
not RGB. Another layer or image size is another file; for other weights, other
pictures in a folder of the same name, or other settings take another `--workdir`.

Hardware: a CPU, or any number of chips: every device of every process takes its share, and the
bits do not depend on how many there are. For several processes start the same command in each with
JAX_COORDINATOR_ADDRESS=HOST:PORT set and a `--workdir` that the first can write; Slurm, Open MPI
and TPU pods tell JAX the rest. Time: a ViT-B/16 embeds about 4 images/s on two CPU cores.
Cut off at any moment, the same command goes on from the last finished shard.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.recipe = "embed"
    config.model = ""  # a row of alignet/students/zoo.py
    config.weights = ""  # its weights: .npz, .safetensors, or a folder of them
    # A folder, searched with those inside it; an .npz with ids and pixels; or tfds:NAME:SPLIT, as
    # in tfds:imagenet_v2/matched-frequency:test, prepared with file_format array_record.
    config.images = ""
    config.data_dir = ""  # of tfds; "" for its default
    config.image_size = 0  # in pixels; 0 for the model's
    config.layer = -1  # a block, from 0, whose residual stream is read; -1 for the model's read-out
    config.dtype = "float32"  # of the activations; or bfloat16, faster on chips
    config.scan = False  # one compiled block in a loop: compiles faster, runs a little slower
    config.backend = "alignet"  # or big_vision, where that can be imported
    config.batch_per_device = 0  # 0 for 8 on a CPU and 64 on a chip
    # Images; embedded again after an interruption at most. On many chips, a multiple of
    # batch_per_device times their number keeps all of them busy.
    config.shard_size = 128
    # Listed either way. With fail, all others are embedded all the same and the command fails at
    # the end; the same command with skip then has nothing left to do.
    config.unreadable = "fail"  # damaged, too large, or one pixel wide; or skip
    config.not_rgb = "convert"  # as the models' own codes do; or skip, fail
    return config
