"""Students: the networks that are aligned, how they are fed and how they are read out.

    embed = students.load("siglip-b16", weights="webli_en_b16_224_63724782.npz")
    z = embed("photographs/")

`zoo` has the table of models, `vit` the network, `weights` what lies on disk.
"""

from alignet.students.inference import Embedder, embed
from alignet.students.preprocessing import normalise, resize
from alignet.students.student import Preprocessing, Student
from alignet.students.vit import Compute, Params, add_triplet_head, init, network
from alignet.students.weights import load_weights, save_weights

__all__ = [
    "Compute",
    "Embedder",
    "Params",
    "Preprocessing",
    "Student",
    "add_triplet_head",
    "embed",
    "init",
    "load_weights",
    "network",
    "normalise",
    "resize",
    "save_weights",
]
