"""Scores of the human side of the chain: the VICE posterior, and UD on held-out objects."""

from pathlib import Path
from typing import NamedTuple

import ml_collections
import numpy as np
from jaxtyping import Bool, Float, Int

from alignet import cross_validation, human_side, vice
from alignet import triplets as kernels
from evals.pages import chain_figures, human_figures, page
from evals.statistics import calibration, intervals
from evals.statistics.intervals import Measured


class ViceScores(NamedTuple):
    """VICE on choices that it was not fitted to.

    Attributes:
      heldout_accuracy: of the mixture's p*, ties wrong.
      heldout_cross_entropy: of p*, nats.
      single: accuracy of each component's own p*.
      calibration: of the mixture's p*.
      dimensions: kept by each component.
    """

    heldout_accuracy: Measured
    heldout_cross_entropy: Measured
    single: list[Measured]
    calibration: calibration.Calibration
    dimensions: list[int]


def score_vice(config: ml_collections.ConfigDict, workdir: Path) -> ViceScores:
    """Scores the posterior on the choices put aside."""
    posterior = vice.load_posterior(workdir / "vice.npz").posterior
    held_out = human_side.load_split(workdir).held_out
    components = [
        vice.p_star(vice.Posterior(mu[None], sigma[None]), held_out, **config.p_star)
        for mu, sigma in zip(*posterior, strict=True)
    ]
    p = np.mean(components, axis=0)
    n = len(held_out)
    return ViceScores(
        heldout_accuracy=intervals.proportion(kernels.correct(p).sum(), n),
        heldout_cross_entropy=intervals.mean(-np.log(p[:, 0])),
        single=[intervals.proportion(kernels.correct(c).sum(), n) for c in components],
        calibration=calibration.run(p, seed=config.seed),
        dimensions=[int((mu != 0).any(axis=0).sum()) for mu in posterior.mu],
    )


def vice_section(scores: ViceScores, workdir: Path) -> page.Section:
    """What VICE found, with its training curves and its reliability diagram."""
    history = vice.load_posterior(workdir / "vice.npz").history
    seeds = len(history)
    longest = int(np.argmax(np.isfinite(history[:, :, 0]).sum(axis=1)))
    curves = chain_figures.training_curves(
        history[longest, :, 0],
        {"−ELBO": history[..., 1] + history[..., 2], "cross-entropy": history[..., 1]},
        history[..., 3],
    )
    accuracy, error = scores.heldout_accuracy, scores.calibration.ece
    best, worst = max(scores.single), min(scores.single)
    return page.Section(
        "People's choices: the VICE posterior",
        [
            f"p* of the mixture of {seeds} fits predicts {accuracy.value:.1%} of {accuracy.n:,} "
            f"held-out choices (95 % interval {accuracy.low:.1%} to {accuracy.high:.1%}); single "
            f"fits predict {worst.value:.1%} to {best.value:.1%} and keep "
            f"{min(scores.dimensions)} to {max(scores.dimensions)} dimensions. Guessing gives a "
            f"third. The expected calibration error of p* is {error.value:.3f}.",
            page.Picture(
                curves,
                f"The {seeds} fits. Left: the loss that is minimised and the part of it that is "
                "the choices' cross-entropy, per training choice. Right: the number of dimensions "
                "that the pruning rule keeps.",
            ),
            page.Picture(
                human_figures.reliability_diagram(scores.calibration.bins),
                "How often people give the answer that p* holds most probable, against that "
                "probability, on held-out choices. On the diagonal p* means what it says.",
            ),
        ],
    )


class HeldOut(NamedTuple):
    """Choices among objects that no step saw the embeddings of.

    Attributes:
      triplets: all choices whose three objects are in one fold, the odd one out last.
      fold: of each.
      unseen: which of them VICE was not fitted to either.
    """

    triplets: Int[np.ndarray, "n 3"]
    fold: Int[np.ndarray, "n"]
    unseen: Bool[np.ndarray, "n"]


def held_out_objects(config: ml_collections.ConfigDict, workdir: Path, n_objects: int) -> HeldOut:
    """Finds the choices that cross-validation scored."""
    train, unseen = human_side.load_split(workdir)
    triplets = np.concatenate([train, unseen])
    fold_of = cross_validation.object_folds(
        n_objects, n_folds=config.ud.n_folds, seed=config.ud.seed
    )
    folds = fold_of[triplets]
    inside = (folds == folds[:, :1]).all(axis=1)
    is_unseen = np.arange(len(triplets)) >= len(train)
    return HeldOut(triplets[inside], folds[inside, 0], is_unseen[inside])


def ud_similarities(
    folds: cross_validation.CrossValidation, x: Float[np.ndarray, "m p"], held_out: HeldOut
) -> Float[np.ndarray, "n 3"]:
    """Similarities of the held-out triplets, each by the transform that never saw its objects."""
    s = np.empty(held_out.triplets.shape)
    for fold in range(len(folds.chosen)):
        rows = held_out.fold == fold
        s[rows] = cross_validation.score_similarities(
            folds.transform(fold), x, held_out.triplets[rows]
        )
    return s


def accuracy(s: Float[np.ndarray, "n 3"]) -> Measured:
    """Odd-one-out accuracy against people's choices, ties wrong."""
    return intervals.proportion(kernels.correct(s).sum(), len(s))


def lambda_picture(
    folds: dict[str, cross_validation.CrossValidation],
    caption: str,
    *,
    untransformed: Measured | None = None,
) -> page.Picture:
    """The λ curves of several cross-validations, each with its final λ ringed."""
    curves = {
        name: {
            float(lam): intervals.proportion(correct.sum(), cv.n_held_out.sum())
            for lam, correct in zip(cv.lambdas, cv.correct, strict=True)
        }
        for name, cv in folds.items()
    }
    chosen = {name: float(cv.lambdas[cv.best]) for name, cv in folds.items()}
    figure = chain_figures.lambda_curve(curves, untransformed=untransformed, chosen=chosen)
    return page.Picture(figure, caption)
