"""How long a forward pass takes, against big_vision's module and Hugging Face's in torch.

    python -m benchmarks.forward                 # SigLIP B/16, batches of 8: two minutes on 2 cores
    python -m benchmarks.forward --batch=32 --repeats=3

Prints one JSON line. All run in one process on the same cores, by turns, so that what else the
machine does touches all of them; the ratios are of medians. An alternative that is not installed
is left out and said to be: torch and transformers are in tests/requirements.txt, big_vision is a
clone on PYTHONPATH.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from alignet import students
from alignet.errors import InputError
from alignet.students import layouts, student, zoo

Forward = Callable[[], np.ndarray]


def compiled(
    spec: student.Student, params: students.Params, images: np.ndarray, compute: students.Compute
) -> tuple[Forward, dict[str, float]]:
    """A compiled forward pass; the time to compile it and the memory it needs on top."""
    net = students.network(spec, compute)
    params = jax.device_put(layouts.to_scan(params) if compute.scan else params)
    images = jax.device_put(images)
    start = time.perf_counter()
    forward = jax.jit(lambda p, x: net.apply({"params": p}, x)["pre_logits"])
    program = forward.lower(params, images).compile()
    cost = {
        "compile_s": round(time.perf_counter() - start, 2),
        "temporary_mb": round(program.memory_analysis().temp_size_in_bytes / 2**20, 1),
    }
    return lambda: np.asarray(program(params, images)), cost


def hugging_face(spec: student.Student, images: np.ndarray) -> Forward:
    """transformers' SigLIP of the same size, in torch; its weights are its own random ones."""
    import torch

    # transformers imports torchvision where it finds one; its compiled operators may be missing.
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import transformers

    sizes = student.sizes(spec)
    config = transformers.SiglipVisionConfig(
        image_size=spec.image_size,
        patch_size=sizes.patch_size,
        hidden_size=sizes.width,
        intermediate_size=sizes.mlp_dim,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.num_heads,
    )
    model = transformers.SiglipVisionModel(config).eval()
    x = torch.tensor(images).permute(0, 3, 1, 2).contiguous()

    def forward() -> np.ndarray:
        with torch.inference_mode():
            return model(pixel_values=x).pooler_output.numpy()

    return forward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="siglip-b16", help="a SigLIP of the table of models")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()

    spec = zoo.find(options.model).student
    params = students.init(spec, jax.random.key(0))
    side = spec.image_size
    images = np.random.default_rng(0).uniform(-1, 1, (options.batch, side, side, 3))
    images = images.astype(np.float32)

    forwards, costs, absent = {}, {}, {}
    for name, compute in {
        "alignet": students.Compute(),
        "alignet_scan": students.Compute(scan=True),
        "alignet_bfloat16": students.Compute(dtype="bfloat16"),
        "big_vision": students.Compute(backend="big_vision"),
    }.items():
        try:
            forwards[name], costs[name] = compiled(spec, params, images, compute)
        except InputError as error:
            absent[name] = str(error)
    try:
        forwards["hugging_face_torch"] = hugging_face(spec, images)
    except ImportError as error:
        absent["hugging_face_torch"] = str(error)

    seconds = {name: [] for name in forwards}
    for forward in forwards.values():
        forward()
    for turn in range(options.repeats):
        for name, forward in forwards.items():
            start = time.perf_counter()
            forward()
            seconds[name].append(time.perf_counter() - start)
        print(f"turn {turn + 1} of {options.repeats}", file=sys.stderr, flush=True)
    median = {name: float(np.median(times)) for name, times in seconds.items()}
    print(
        json.dumps(
            {
                "model": options.model,
                "batch": options.batch,
                "median_s": {name: round(value, 4) for name, value in median.items()},
                "ratio_of_alignet": {
                    name: round(median["alignet"] / value, 3) for name, value in median.items()
                },
                "images_a_second": round(options.batch / median["alignet"], 2),
                "cost": costs,
                "parameters_mb": round(
                    sum(leaf.nbytes for leaf in jax.tree.leaves(params)) / 2**20, 1
                ),
                "absent": absent,
            }
        )
    )


if __name__ == "__main__":
    main()
