"""Small networks of timm with random weights in files, and pictures for them to see."""

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from alignet.runtime import files
from evals.timm_study import export as exports
from evals.timm_study.export import Wanted, image_sets
from tests.torch_library import torch

ROOT = Path(__file__).resolve().parents[1]
# timm's own for tests: 160 pixels, 0.3 to 0.5 million parameters.
TINY = {
    "vit": "test_vit.r160_in1k",
    "resnet": "test_resnet.r160_in1k",
    "efficient": "test_efficientnet.r160_in1k",
}
ABOUT = {"model", "timm_name", "timm", "torch", "weights_sha256", "preprocessing"}
# With read-outs of many kinds: the class token; the mean, and nothing after it; a layer between the
# mean and the classifier; a classifier that is a convolution; a norm after the mean.
KINDS = [
    "test_vit.r160_in1k",
    "resnet18.a1_in1k",
    "mobilenetv3_small_050.lamb_in1k",
    "dla46x_c.in1k",
    "test_convnext.r160_in1k",
    "test_nfnet.r160_in1k",
    pytest.param("vgg11.tv_in1k", marks=pytest.mark.slow),  # 530 MB
]
WANTED = [Wanted(name, timm_name) for name, timm_name in TINY.items()]


def network(timm_name, seed=0):
    """One of which every parameter matters and no two pictures give the same."""
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(timm_name)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                gain = (3 / parameter[0].numel()) ** 0.5  # or activations fade, layer by layer
                parameter.copy_(gain * torch.randn_like(parameter))
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn_like(buffer))
    return model.eval()


def write_weights(folder, *timm_names, seed=0, suffix=".safetensors"):
    """A file a network, called NAME.TAG; of all of `TINY` unless told otherwise."""
    folder.mkdir(exist_ok=True)
    for timm_name in timm_names or TINY.values():
        state = network(timm_name, seed).state_dict()
        path = folder / f"{timm_name}{suffix}"
        if suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save(state, path)
    return folder


def write_labelled(path, *shape, n=5, k=3):
    """An `.npz` of noise on colours; grey if `shape` has two sides."""
    rng = np.random.default_rng(n)
    level = rng.integers(0, 200, (n, 1, 1, *shape[2:]))
    images = (level + rng.integers(0, 56, (n, *shape))).astype(np.uint8)
    classes = np.array([f"class {i}" for i in range(k)])
    ids = np.array([f"test/{i}" for i in range(n)])
    np.savez(path, images=images, labels=np.arange(n) % k, classes=classes, ids=ids)
    return path


def write_data(folder):
    """A data folder with two small labelled sets, one of them grey."""
    folder.mkdir(exist_ok=True)
    write_labelled(folder / "colours.npz", 30, 40, 3)
    write_labelled(folder / "digits.npz", 28, 28, n=6)
    return folder


def sets(data, names=("colours.npz", "digits.npz")):
    return image_sets(list(names), data)


def inputs(model, image_set):
    """What a network takes, by timm's own preprocessing."""
    import timm

    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    return torch.stack([transform(picture(image_set, i)) for i in range(image_set.source.n)])


def transform_by_hand(known):
    """What timm evaluates a network with, in terms of torchvision."""
    from torchvision import transforms

    _, side, _ = known.input_size
    resized = math.floor(side / known.crop_pct)
    return transforms.Compose(
        [
            transforms.Resize(resized, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(known.mean, known.std),
        ]
    )


def classified(model, z):
    """Logits by the last layer alone."""
    classifier = model.get_classifier()
    fed = z[..., None, None] if isinstance(classifier, torch.nn.Conv2d) else z
    return classifier(fed).flatten(1)


def picture(image_set, place):
    """As Pillow has it, without the project's code."""
    _, found = image_set.source.read(place)
    image = Image.fromarray(found) if isinstance(found, np.ndarray) else Image.open(found)
    return image.convert("RGB")


def watched(image_set, before):
    """The same set, of which `before` sees every place before it is read."""

    def read(place):
        before(place)
        return image_set.source.read(place)

    return image_set._replace(source=image_set.source._replace(read=read))


def contents(folder):
    """All files inside, hidden ones too, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


# --- other processes ---


def start(function, *paths, **options):
    """Calls a function of this module in a process of its own."""
    arguments = f"*{[str(path) for path in paths]}, **{options}"
    code = f"from tests import timm_case; timm_case.{function}({arguments})"
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def export_until(data, out, weights, *, where):
    """Exports, and is killed: at a place of a set, or while its second file is written."""

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    found = sets(Path(data))
    if where == "writing":
        whole, written = np.savez, []

        def savez(path, **arrays):
            written.append(path)
            whole(path, **arrays)
            if len(written) == 2:
                os.truncate(path, os.path.getsize(path) // 2)
                kill()

        files.np.savez = savez
    elif where == "done":
        exports.files.remove_temporaries = lambda path: kill() if "resnet" in str(path) else None
    else:
        number, at = where
        found[number] = watched(found[number], lambda place: kill() if place == at else None)
    exports.export(WANTED, found, Path(out), weights=Path(weights), batch=2)


def export_beside(data, out, weights, *, me, others):
    """Exports when all others have started, slowly; prints what this process made."""
    import timm.data  # noqa: F401 - so that they begin at the same time

    (Path(out) / me).touch()
    while not all((Path(out) / other).exists() for other in others):
        time.sleep(0.01)
    found = [watched(one, lambda place: time.sleep(0.1)) for one in sets(Path(data))]
    outcome = exports.export(WANTED, found, Path(out) / "out", weights=Path(weights), batch=2)
    print(outcome.done, outcome.failed, sep="\n")


# --- files and claims ---


def stored(path):
    """The arrays of a file, and what it says about itself."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    return arrays, json.loads(str(arrays["about"]))


def rewrite(**new):
    """What changes arrays of a file, or what it says about itself."""

    def change(path):
        arrays, about = stored(path)
        about |= {key: value for key, value in new.items() if key in about}
        arrays["about"] = json.dumps(about)
        np.savez(path, **arrays | {key: value for key, value in new.items() if key in arrays})

    return change


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def halve(path):
    os.truncate(path, path.stat().st_size // 2)


def put_nan(path):
    state = load_file(path)
    state["blocks.0.norm1.weight"][0] = torch.nan
    save_file(state, path)


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("evil",)


def write_bad_weights(folder, kind, timm_name):
    """Weights with which something is wrong."""
    folder.mkdir()
    if kind in ("nan", "damaged"):
        write_weights(folder, timm_name)
        (put_nan if kind == "nan" else halve)(folder / f"{timm_name}.safetensors")
    elif kind == "pickled":
        content = pickle.dumps(Evil(), protocol=2)  # PyTorch's
        (folder / f"{timm_name}.pt").write_bytes(content)
    elif kind in ("wrong", "lenient"):
        other = TINY["resnet" if kind == "wrong" else "vit"]
        torch.save(network(other).state_dict(), folder / f"{timm_name}.pth")
    return folder


BAD = [
    ("nan", "test_vit.r160_in1k", r"^cannot embed colours: its features are not finite\.$"),
    ("damaged", "test_vit.r160_in1k", r"r160_in1k\.safetensors: cannot be loaded as test_vit"),
    ("wrong", "test_vit.r160_in1k", r"r160_in1k\.pth: cannot .*Error\(s\) in loading state_dict"),
    # timm itself says nothing: it keeps the random parameters.
    ("lenient", "dla46x_c.in1k", r"dla46x_c\.in1k \(Missing keys"),
    ("missing", "test_vit.r160_in1k", r"bad: has no test_vit\.r160_in1k with \.safetensors, \.pth"),
    ("pickled", "test_resnet.r160_in1k", r"\.pt: cannot be loaded .* \(weights_only=True blocked"),
    ("tag", "test_vit.none", r"^timm [\d.]+ has no weights called test_vit\.none\.$"),
    ("network", "test_none.r160_in1k", r"has no weights called test_none\.r160_in1k"),
    ("deprecated", "tv_resnet50", r"has no weights called tv_resnet50"),
]
# Of `digits.npz`, of which one model has a file that is no longer what it should be.
CHANGES = [
    Path.unlink,
    flip,
    halve,
    lambda path: path.write_bytes(b""),
    rewrite(ids=np.array([f"{i}" for i in range(6)])),
    rewrite(labels=np.zeros(6, int)),
    rewrite(classes=np.array(["class 0", "class 1", "class 3"])),
    rewrite(timm_name="test_vit.other"),
    rewrite(model="other"),
    rewrite(weights_sha256="0"),
    rewrite(embeddings=np.zeros((6, 4))),
    rewrite(about=np.zeros(2)),
]


def claim(folder, host, process, age=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / exports.CLAIMED).write_text(json.dumps({"host": host, "process": process}))
    when = time.time() - age
    os.utime(folder / exports.CLAIMED, (when, when))


def dead():
    """The number of a process that was."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
