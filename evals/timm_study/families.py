"""What goes with alignment in a model's making: pairs, rows of sizes, and clusters (000, 4.1).

A pair is of one design and differs in one thing above all: learning from a larger network, data
seen before ImageNet-1k, batch normalisation, pruning. The effect is the mean difference over pairs.
In a row are networks of one kind and growing size, for which some are made for larger images, too;
its trend is told by Kendall's correlation with the place in the row, its p exact in short ones.
A cluster is a kind of network, told by how its members rank among all models.

Which pairs and rows are clean enough to count is ours: the paper lists only what it concluded.
Pruned networks, and mobilenetv3_large_100_miil, were trained by another recipe than their partners.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from evals.statistics.intervals import Measured
from evals.timm_study.groups import mean
from evals.timm_study.models import Listed

DISTILLATION = "distillation"
IN21K = "ImageNet-21k before ImageNet-1k"
BATCH_NORM = "batch normalisation (VGG)"
PRUNING = "pruning (EfficientNet)"
# What is taken off a name to get the name of its partner. Pairs of which the partner does not exist
# (xcit_…_384_dist) or was itself pretrained or distilled otherwise do not count.
SUFFIXES = {
    DISTILLATION: r"_dist(?=$)|_distilled(?=_)",
    IN21K: r"_in22ft1k$|_in21ft1k$|(?<=mobilenetv3_large_100)_miil$",
    BATCH_NORM: r"(?<=^vgg\d\d)_bn$",
    PRUNING: r"(?<=^efficientnet_..)_pruned$",
}
SIZES = {
    "ResNet (torchvision)": [f"tv_resnet{n}" for n in (34, 50, 101, 152)],
    "ResNet (gluon, v1b)": [f"gluon_resnet{n}_v1b" for n in (18, 34, 50, 101, 152)],
    "ResNet-D (timm)": [f"resnet{n}d" for n in (18, 26, 34, 50, 101, 152, 200)],
    "ResNet-RS": [f"resnetrs{n}" for n in (50, 101, 152, 200, 270, 350, 420)],
    # The larger two saw ImageNet-21k first; the paper counts them as sizes.
    "Swin, 224 px": [
        f"swin_{size}_patch4_window7_224" for size in ("tiny", "small", "base", "large")
    ],
    "DeiT, 224 px": [f"deit_{size}_patch16_224" for size in ("tiny", "small", "base")],
    "XCiT p16, 224 px": [
        f"xcit_{size}_p16_224"
        for size in (
            "nano_12",
            "tiny_12",
            "tiny_24",
            "small_12",
            "small_24",
            "medium_24",
            "large_24",
        )
    ],
    "RegNetX": [f"regnetx_{n:03}" for n in (2, 4, 6, 8, 16, 32, 40, 64, 80, 120, 160, 320)],
    "RegNetY": [f"regnety_{n:03}" for n in (2, 4, 6, 8, 16, 32, 40, 64, 80, 120, 160, 320)],
    "VGG": [f"vgg{n}" for n in (11, 13, 16, 19)],
    "DenseNet": [f"densenet{n}" for n in (121, 169, 201)],
    "EfficientNet (TensorFlow)": [f"tf_efficientnet_b{n}" for n in range(8)],
}
CLUSTERS = {
    "MobileNet": r"(tf_)?mobilenet",
    "NFNet": r"(dm_|eca_)?nfnet",
    "BEiT": r"beit",
}


class Effect(NamedTuple):
    """Attributes:
    name: of the effect.
    difference: mean over pairs; n is their number.
    higher: in how many of them the value is higher.
    p: of Student's test of the differences; NaN of fewer than two.
    pairs: the names, without and with.
    """

    name: str
    difference: Measured
    higher: int
    p: float
    pairs: tuple[tuple[str, str], ...]


class Trend(NamedTuple):
    """Attributes:
    name: of the row.
    tau: Kendall's correlation of the value with the place in the row; NaN if all values are equal.
    p: two-sided.
    change: the last value less the first.
    models: those known, in order.
    """

    name: str
    tau: float
    p: float
    change: float
    models: tuple[str, ...]


class Cluster(NamedTuple):
    """Attributes:
    name: of the cluster.
    rank: mean over its members of the share of models that are lower, half of it if equal.
    low, middle, high: how many members are in each third of all models.
    models: those known.
    """

    name: str
    rank: Measured
    low: int
    middle: int
    high: int
    models: tuple[str, ...]


def pairs(models: Sequence[Listed]) -> dict[str, list[tuple[str, str]]]:
    """By effect, the names of the models without and with it."""
    names = {model.name for model in models}
    found = {effect: [] for effect in SUFFIXES}
    for model in models:
        for effect, suffix in SUFFIXES.items():
            partner = re.sub(suffix, "", model.name)
            if partner != model.name and partner in names:
                found[effect].append((partner, model.name))
    return found


def effects(models: Sequence[Listed], value: pd.Series) -> list[Effect]:
    """The effects of which at least one pair is known.

    Args:
      models: of the study.
      value: by name, NaN where it is not known.
    """
    found = []
    for name, every in pairs(models).items():
        known = [pair for pair in every if value.reindex(pair).notna().all()]
        if not known:
            continue
        without, with_it = (value[list(side)].to_numpy() for side in zip(*known, strict=True))
        difference = with_it - without
        spread = len(known) > 1 and np.ptp(difference) > 0
        p = float(scipy.stats.ttest_1samp(difference, 0).pvalue) if spread else np.nan
        higher = int((difference > 0).sum())
        found.append(Effect(name, mean(difference), higher, p, tuple(known)))
    return found


def trends(value: pd.Series) -> list[Trend]:
    """The rows of sizes of which at least three members are known."""
    found = []
    for name, row in SIZES.items():
        known = value.reindex(row).dropna()
        if len(known) < 3:
            continue
        tau, p = map(float, scipy.stats.kendalltau(np.arange(len(known)), known))
        change = float(known.iloc[-1] - known.iloc[0])
        found.append(Trend(name, tau, p, change, tuple(known.index)))
    return found


def clusters(value: pd.Series) -> list[Cluster]:
    """The clusters of which a member is known."""
    known = value.dropna()
    ranks = (known.rank() - 0.5) / len(known) if len(known) else known
    found = []
    for name, pattern in CLUSTERS.items():
        own = ranks[[bool(re.match(pattern, model)) for model in ranks.index]]
        if not len(own):
            continue
        third = np.bincount(np.minimum((own.to_numpy() * 3).astype(int), 2), minlength=3)
        found.append(Cluster(name, mean(own.to_numpy()), *third.tolist(), tuple(own.index)))
    return found
