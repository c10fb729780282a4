"""What can be chosen of the evals; `python -m evals --help` says it in words."""

from pathlib import Path
from typing import NamedTuple

from alignet.data.levels import Filters

HEADS = ("ridge", "logistic", "linear", "mlp")


class FewShot(NamedTuple):
    """Attributes:
    data: names or paths of data sets; none for those of the paper that are on disk.
    shots: labelled examples a class.
    draws: of the examples; numbers are means over them.
    heads: read-outs that learn from them: ridge regression, logistic regression, or with dropout
      a linear layer or a network of two.
    """

    data: tuple[str, ...] = ()
    shots: tuple[int, ...] = (1, 10)  # paper 002, B.2.1
    draws: int = 5  # ours
    heads: tuple[str, ...] = ("ridge",)


class Options(NamedTuple):
    """Attributes:
    similarity: of triplets' pairs, "dot" or "cosine".
    tau: temperature at which a model's answers become probabilities; it divides.
    seed: of the bootstrap.
    resamples: of the bootstrap.
    mask_missing: leave out pairs that people's matrices do not know (NaN) instead of refusing.
    human_uncertainty: p* or people's uncertainty of the THINGS triplets, if known from elsewhere.
    levels: what to keep of the Levels study.
    imagenet: a folder with train/ and val/; "" for data_dir/imagenet, or else that of tfds.
    fewshot: which data sets, how many examples, and what learns from them.
    triplets: an AligNet dataset whose triplets' relations in WordNet are counted.
    before: the model that the others are compared with, where a change is what is measured.
    cache: folder for what is slow to make again (labels of data sets, fitted read-outs); None to
      keep nothing.
    """

    similarity: str = "dot"
    tau: float = 1.0
    seed: int = 0
    resamples: int = 1000
    mask_missing: bool = False
    human_uncertainty: Path | None = None
    levels: Filters = Filters()
    imagenet: str = ""
    fewshot: FewShot = FewShot()
    triplets: Path | None = None
    before: str | None = None
    cache: Path | None = None
