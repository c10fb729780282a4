"""Students: the networks that are aligned, how they are fed and how they are read out.

    embed = students.load("siglip-b16", weights="webli_en_b16_224_63724782.npz")
    z = embed("photographs/")

`zoo` is the table of models, `vit` their network. `weight_files` reads what lies on disk, `loading`
fits it to a row of the table, `weights` writes it.
"""

from alignet.students.inference import Embedder, embed
from alignet.students.loading import compare, load
from alignet.students.preprocessing import normalise, resize
from alignet.students.student import Preprocessing, Student
from alignet.students.vit import Compute, Params, add_triplet_head, init, network
from alignet.students.weights import Diff, load_weights, save_safetensors, save_weights

__all__ = [
    "Compute",
    "Diff",
    "Embedder",
    "Params",
    "Preprocessing",
    "Student",
    "add_triplet_head",
    "compare",
    "embed",
    "init",
    "load",
    "load_weights",
    "network",
    "normalise",
    "resize",
    "save_safetensors",
    "save_weights",
]
