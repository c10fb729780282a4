"""The report of `configs/things.py`: do VICE and UD predict people's choices?"""

from pathlib import Path

import ml_collections
import numpy as np

from alignet import cross_validation, human_side
from alignet import triplets as kernels
from evals.pages import chain_figures, page
from evals.recipes import human_scores
from evals.recipes.findings import Findings
from evals.statistics import intervals
from evals.statistics.odd_one_out import CEILING, CHANCE

TITLE = "From people's odd-one-out choices to an aligned representation"
NAMES = {
    "original": "original embeddings",
    "ud_hard": "UD, hard targets (choices)",
    "ud_soft": "UD, soft targets (p* of our VICE)",
    "ud_published": "UD, soft targets (published VICE means)",
}


def build(config: ml_collections.ConfigDict, workdir: Path) -> Findings:
    """Scores the artifacts of the human side."""
    data_dir = human_side.data_dir(config)
    x = human_side.object_embeddings(data_dir / config.embeddings, data_dir=data_dir).matrix
    x = np.asarray(x, np.float64)
    vice_scores = human_scores.score_vice(config, workdir)
    held_out = human_scores.held_out_objects(config, workdir, len(x))

    folds, s = {}, {}
    original = kernels.similarity_matrix(x)
    s["original"] = kernels.gather_similarities(original, held_out.triplets)
    for name in NAMES:
        path = workdir / f"{name}.npz"
        if name != "original" and path.is_file():
            folds[name] = cross_validation.load_cross_validation(path)
            s[name] = human_scores.ud_similarities(folds[name], x, held_out)
    everywhere = {name: human_scores.accuracy(part) for name, part in s.items()}
    unseen = {name: human_scores.accuracy(part[held_out.unseen]) for name, part in s.items()}

    def cross_entropy(name: str) -> float | None:
        return None if name == "original" else float(kernels.cross_entropy(s[name]).mean())

    rows = [
        {
            "representation": NAMES[name],
            "accuracy, held-out objects": everywhere[name],
            "n": everywhere[name].n,
            "and held-out choices": unseen[name],
            "n ": unseen[name].n,
            "cross-entropy": cross_entropy(name),
            "λ": float(folds[name].lambdas[folds[name].best]) if name in folds else None,
        }
        for name in s
    ]
    right = {name: kernels.correct(part).astype(np.float64) for name, part in s.items()}
    soft_minus_hard = intervals.mean(right["ud_soft"] - right["ud_hard"])
    accuracy = vice_scores.heldout_accuracy
    results = {
        "vice": {
            "heldout_accuracy": accuracy,
            "heldout_cross_entropy": vice_scores.heldout_cross_entropy,
            "ece": vice_scores.calibration.ece,
            "single_component_accuracy": [one.as_dict() for one in vice_scores.single],
            "dimensions": vice_scores.dimensions,
        },
        "odd_one_out": everywhere,
        "odd_one_out_unseen_choices": unseen,
        "soft_minus_hard": soft_minus_hard,
        "lambda": {name: row["λ"] for name, row in zip(s, rows, strict=True) if row["λ"]},
    }
    notes = [
        f"VICE: {accuracy.value:.4f} [{accuracy.low:.4f}, {accuracy.high:.4f}] of {accuracy.n:,} "
        f"held-out choices; single fits {min(vice_scores.single).value:.4f} to "
        f"{max(vice_scores.single).value:.4f}; ECE {vice_scores.calibration.ece.value:.3f}.",
        f"Soft minus hard on the same triplets: {soft_minus_hard.value:+.4f} "
        f"[{soft_minus_hard.low:+.4f}, {soft_minus_hard.high:+.4f}].",
        f"Chance is {CHANCE:.4f}; the published ceiling of THINGS is {CEILING:.4f}.",
        "Each fold of objects is scored by a transform that never saw its objects' embeddings, at "
        "the λ best on the other folds.",
    ]
    dots = chain_figures.accuracy_dots(
        {
            "held-out objects": {NAMES[name]: value for name, value in everywhere.items()},
            "and held-out choices": {NAMES[name]: value for name, value in unseen.items()},
        },
        chance=CHANCE,
        ceilings={"held-out objects": CEILING, "and held-out choices": CEILING},
    )
    gain = everywhere["ud_soft"].value - everywhere["original"].value
    ud = page.Section(
        "The aligned representation: uncertainty distillation",
        [
            f"On objects that the transform never saw, UD with soft targets answers "
            f"{everywhere['ud_soft'].value:.1%} of {everywhere['ud_soft'].n:,} triplets as people "
            f"did, {100 * gain:+.1f} points from the original embeddings "
            f"({everywhere['original'].value:.1%}); soft targets are worth "
            f"{100 * soft_minus_hard.value:+.1f} points over hard ones on the same triplets (95 % "
            f"interval {100 * soft_minus_hard.low:+.1f} to {100 * soft_minus_hard.high:+.1f}).",
            page.Table(
                rows,
                f"Odd-one-out accuracy with 95 % intervals, on {everywhere['original'].n:,} and "
                f"{unseen['original'].n:,} triplets. “And held-out choices” leaves out the "
                "choices that VICE was fitted to; λ is that of the final transform.",
                ("representation", *list(rows[0])[1:4:2], "λ"),
            ),
            page.Picture(
                dots,
                "The same numbers. Dashed: guessing; the ceiling is the published consistency of "
                "THINGS' participants with each other.",
            ),
            human_scores.lambda_picture(
                {name.removeprefix("ud_"): cv for name, cv in folds.items()},
                "Accuracy on held-out objects against the strength λ of the regulariser, for soft "
                "targets (p* of our VICE), hard ones (the choices) and p* of the published means; "
                "95 % intervals. Ringed: the λ with the smallest held-out cross-entropy, taken for "
                "the final transform.",
                untransformed=everywhere["original"],
            ),
        ],
    )
    return Findings(
        TITLE, results, rows, notes, [ud, human_scores.vice_section(vice_scores, workdir)], {}
    )
