"""The report of `configs/demo.py`: does the chain find the truth of the toy world?"""

from pathlib import Path
from typing import NamedTuple

import ml_collections
import numpy as np

from alignet import cross_validation, transform, vice
from alignet import triplets as kernels
from alignet.data.embeddings import load_embeddings
from alignet.data.human import load_triplets
from alignet.data.images import load_images
from alignet.data.toy import choice_probabilities
from evals.pages import chain_figures, page
from evals.recipes import human_scores
from evals.recipes.findings import Findings
from evals.statistics import intervals, rsa, uncertainty
from evals.statistics.intervals import Measured
from evals.statistics.odd_one_out import CHANCE

TITLE = "The AligNet chain on a toy world with known truth"
MODELS = {
    "base": "base student",
    "distilled": "distilled without alignment",
    "ud": "UD of the base student",
    "aligned": "aligned student (AligNet)",
    "teacher": "teacher",
    "teacher_ud": "aligned teacher (UD)",
}
TESTS = {
    "odd_one_out": ("test_triplets.txt", "new choices"),
    "odd_one_out_heldout_categories": ("heldout_triplets.txt", "held-out categories"),
}


class Truth(NamedTuple):
    """What only the toy world tells: people's concepts, and which categories nobody was shown."""

    concepts: np.ndarray
    heldout: np.ndarray
    leaf: np.ndarray
    superordinate: np.ndarray
    ceilings: dict[str, float]


def build(config: ml_collections.ConfigDict, workdir: Path) -> Findings:
    """Scores the artifacts of the toy chain against the truth."""
    things = workdir / "toy" / "world" / "things"
    truth = load_truth(workdir)
    z = representations(workdir)
    vice_scores = human_scores.score_vice(config, workdir)
    tests = {key: load_triplets(things / file) for key, (file, _) in TESTS.items()}
    gram = {name: kernels.similarity_matrix(x) for name, x in z.items()}
    s = {
        key: {name: kernels.gather_similarities(gram[name], triplets) for name in z}
        for key, triplets in tests.items()
    }
    accuracy = {
        key: {name: human_scores.accuracy(part) for name, part in by_model.items()}
        for key, by_model in s.items()
    }

    def spearman(x: np.ndarray, objects: np.ndarray) -> Measured:
        concepts = truth.concepts[objects]
        return rsa.run(x[objects], concepts @ concepts.T, seed=config.seed).pearson

    seen = ~truth.heldout
    to_truth = {name: spearman(x, seen) for name, x in z.items()}
    to_truth_heldout = {name: spearman(x, truth.heldout) for name, x in z.items()}
    recovered = vice_recovery(config, workdir, truth)
    unsure = people_uncertainty(config, truth, tests["odd_one_out"], s["odd_one_out"])

    rows = [
        {
            "representation": MODELS[name],
            "new choices": accuracy["odd_one_out"][name],
            "held-out categories": accuracy["odd_one_out_heldout_categories"][name],
            "ρ with the truth": to_truth[name],
            "ρ, held-out categories": to_truth_heldout[name],
            "ρ of uncertainty": unsure[name],
        }
        for name in z
    ]
    results = accuracy | {
        "noise_ceiling": truth.ceilings,
        "rsa_with_truth": to_truth,
        "rsa_with_truth_heldout_categories": to_truth_heldout,
        "uncertainty": unsure,
        "vice": {
            "heldout_accuracy": vice_scores.heldout_accuracy,
            "heldout_cross_entropy": vice_scores.heldout_cross_entropy,
            "ece": vice_scores.calibration.ece,
            "dimensions": vice_scores.dimensions,
            "rsa_with_truth": recovered,
        },
    }
    n = [len(triplets) for triplets in tests.values()]
    ceilings = list(truth.ceilings.values())
    best = vice_scores.heldout_accuracy
    notes = [
        f"Odd-one-out accuracy on {n[0]:,} new choices and on {n[1]:,} choices between objects of "
        "categories that no step was shown; ρ: Spearman with people's true similarities, and of "
        "the triplets' entropies with people's.",
        f"Chance is {CHANCE:.4f}; nobody can score above {ceilings[0]:.4f} and {ceilings[1]:.4f}, "
        "the exact noise ceilings.",
        f"VICE: {best.value:.4f} [{best.low:.4f}, {best.high:.4f}] of {best.n:,} held-out choices, "
        f"ρ with the truth {recovered.value:.4f}; ECE {vice_scores.calibration.ece.value:.3f}.",
    ]
    sections = [
        _world_section(config, workdir, truth, tests["odd_one_out"], s["odd_one_out"]),
        _table_section(rows, accuracy, truth),
        human_scores.vice_section(vice_scores, workdir),
        _steps_section(workdir),
        _similarity_section(workdir, truth, z),
    ]
    return Findings(TITLE, results, rows, notes, sections, checks(s, recovered, vice_scores, truth))


def load_truth(workdir: Path) -> Truth:
    """Reads truth.npz of the world."""
    with np.load(workdir / "toy" / "world" / "truth.npz", allow_pickle=False) as archive:
        ceilings = {
            "odd_one_out": float(archive["noise_ceiling"]),
            "odd_one_out_heldout_categories": float(archive["noise_ceiling_heldout"]),
        }
        return Truth(
            archive["concept_embedding"],
            archive["heldout"],
            archive["leaf"],
            archive["superordinate"],
            ceilings,
        )


def representations(workdir: Path) -> dict[str, np.ndarray]:
    """Embeddings of the toy THINGS by every model, float64."""
    base, distilled, aligned, teacher = (
        load_embeddings(workdir / f"{name}_things.npz").matrix.astype(np.float64)
        for name in ("base", "distilled", "aligned", "teacher")
    )
    ud = {
        name: transform.load_transform(workdir / f"ud_{name}.npz") for name in ("base", "teacher")
    }
    return {
        "base": base,
        "distilled": distilled,
        "ud": transform.apply_transform(ud["base"], base),
        "aligned": aligned,
        "teacher": teacher,
        "teacher_ud": transform.apply_transform(ud["teacher"], teacher),
    }


def vice_recovery(config: ml_collections.ConfigDict, workdir: Path, truth: Truth) -> Measured:
    """Spearman of VICE's expected similarities with people's true ones, objects people saw."""
    similarity = vice_similarity(workdir)[np.ix_(~truth.heldout, ~truth.heldout)]
    concepts = truth.concepts[~truth.heldout]
    upper = np.triu_indices(len(concepts), 1)
    return intervals.spearman(
        similarity[upper],
        (concepts @ concepts.T)[upper],
        n=len(concepts),
        draw=intervals.draw_objects(len(concepts)),
        seed=config.seed,
    )[0]


def vice_similarity(workdir: Path) -> np.ndarray:
    """Mean over the components of the similarities of their mean embeddings."""
    mu = np.maximum(vice.load_posterior(workdir / "vice.npz").posterior.mu.astype(np.float64), 0)
    return np.mean([y @ y.T for y in mu], axis=0)


def people_uncertainty(
    config: ml_collections.ConfigDict,
    truth: Truth,
    triplets: np.ndarray,
    s: dict[str, np.ndarray],
) -> dict[str, Measured]:
    """Spearman of the models' entropies with the true entropy of people's choices.

    Students are read at the temperature they are trained with, the others at 1.
    """
    people = uncertainty.entropy(choice_probabilities(truth.concepts, triplets))
    tau = {name: 1.0 for name in s}
    tau |= dict.fromkeys(("base", "distilled", "aligned"), float(config.distill.tau_student))
    return {
        name: uncertainty.run(part, people, taus=[tau[name]], seed=config.seed)[0].spearman
        for name, part in s.items()
    }


def checks(
    s: dict[str, dict[str, np.ndarray]],
    recovered: Measured,
    vice_scores: human_scores.ViceScores,
    truth: Truth,
) -> dict[str, bool]:
    """What must come out if every step works.

    One representation is above another if the 95 % interval of the difference of their accuracies,
    on the same triplets, is above zero.
    """
    found = {
        "VICE recovers people's concept space (ρ of similarities above 0.8)": recovered.low > 0.8,
        "VICE predicts held-out choices within 3 points of the noise ceiling": (
            vice_scores.heldout_accuracy.value > truth.ceilings["odd_one_out"] - 0.03
        ),
    }
    for key, (_, where) in TESTS.items():
        right = {name: kernels.correct(part).astype(np.float64) for name, part in s[key].items()}
        for better, worse in (
            ("teacher_ud", "teacher"),
            ("ud", "base"),
            ("distilled", "base"),
            ("aligned", "distilled"),
            ("aligned", "ud"),
        ):
            name = f"{MODELS[better]} above {MODELS[worse]}, {where}"
            found[name] = intervals.mean(right[better] - right[worse]).low > 0
    return found


def _world_section(
    config: ml_collections.ConfigDict,
    workdir: Path,
    truth: Truth,
    triplets: np.ndarray,
    s: dict[str, np.ndarray],
) -> page.Section:
    pixels = load_images(workdir / "toy" / "world" / "things" / "images.npz").pixels
    # One object of every category, then triplets that the base student and the aligned one answer
    # differently.
    _, shown = np.unique(truth.leaf, return_index=True)
    differ = kernels.odd_one_out(s["base"]) != kernels.odd_one_out(s["aligned"])
    asked = np.flatnonzero(differ)[:8]
    used = np.unique(triplets[asked])
    extra = np.setdiff1d(used, shown)
    grid = np.concatenate([shown, extra])
    position = {int(thing): row for row, thing in enumerate(grid)}
    renumbered = np.vectorize(position.__getitem__)(triplets[asked])
    order = np.random.default_rng(config.seed).permuted(
        np.tile(np.arange(3), (len(asked), 1)), axis=1
    )

    def at(odd: np.ndarray) -> np.ndarray:
        placed = np.argmax(order == odd[:, None], axis=1)
        return np.where(odd < 0, -1, placed)

    answers = {
        "people": at(np.full(len(asked), 2)),
        "base": at(kernels.odd_one_out(s["base"][asked])),
        "aligned": at(kernels.odd_one_out(s["aligned"][asked])),
    }
    sheet = chain_figures.contact_sheet(
        pixels[grid], np.take_along_axis(renumbered, order, axis=1), answers
    )
    return page.Section(
        "The world",
        [
            f"{config.toy.n_things} objects of {len(shown)} categories: shapes in a tree of three "
            "levels, in colours, textures and scenes that are drawn independently of it. Simulated "
            "people choose by a known concept embedding that is mostly about the tree; "
            f"{int(truth.heldout.sum())} objects are of categories that no step is shown.",
            page.Picture(
                sheet,
                "One object of every category, a row of twelve for each superordinate one, then "
                "the other objects of the triplets below. On these the base student and the "
                "aligned student differ; framed is the odd one out that each names.",
            ),
        ],
    )


def _table_section(
    rows: list[dict], accuracy: dict[str, dict[str, Measured]], truth: Truth
) -> page.Section:
    base, aligned = (accuracy["odd_one_out"][name].value for name in ("base", "aligned"))
    unseen = accuracy["odd_one_out_heldout_categories"]
    dots = chain_figures.accuracy_dots(
        {
            where: {MODELS[name]: value for name, value in accuracy[key].items()}
            for key, (_, where) in TESTS.items()
        },
        chance=CHANCE,
        ceilings={where: truth.ceilings[key] for key, (_, where) in TESTS.items()},
    )
    return page.Section(
        "What alignment did",
        [
            f"The aligned student answers {aligned:.1%} of new choices as people did, from "
            f"{base:.1%} before; on categories that no step was shown "
            f"{unseen['aligned'].value:.1%} from {unseen['base'].value:.1%}.",
            page.Table(
                rows,
                "Odd-one-out accuracy, 95 % intervals. UD was fitted on choices between the same "
                "objects as the new ones; no step saw anything of the held-out categories.",
                ("representation", "new choices", "held-out categories"),
            ),
            page.Table(
                rows,
                "Spearman correlations ρ: of similarities with people's true ones, and of the "
                "entropy of a triplet's answers with that of people's.",
                ("representation", *list(rows[0])[3:]),
            ),
            page.Picture(dots, "The accuracies, with chance and the exact noise ceilings."),
        ],
    )


def _steps_section(workdir: Path) -> page.Section:
    folds = {
        "teacher": cross_validation.load_cross_validation(workdir / "ud_teacher.npz"),
        "base student": cross_validation.load_cross_validation(workdir / "ud_base.npz"),
    }
    with np.load(workdir / "clusters_aligned.npz", allow_pickle=False) as archive:
        elbow = chain_figures.elbow_curve(
            archive["ks"], archive["inertia"], chosen=int(archive["chosen"])
        )
    return page.Section(
        "UD and the clusters",
        [
            human_scores.lambda_picture(
                folds,
                "Accuracy on held-out objects against the strength λ of the regulariser, targets "
                "p*; 95 % intervals. Ringed: the λ with the smallest held-out cross-entropy.",
            ),
            page.Picture(
                elbow,
                "k-means on the aligned teacher's embeddings of the image pool; the elbow decides "
                "how many clusters triplets are drawn from.",
            ),
        ],
    )


def _similarity_section(workdir: Path, truth: Truth, z: dict[str, np.ndarray]) -> page.Section:
    seen = np.flatnonzero(~truth.heldout)
    block = np.ix_(seen, seen)
    matrices = {
        "people (truth)": (truth.concepts @ truth.concepts.T)[block],
        "VICE": vice_similarity(workdir)[block],
        "base": rsa.rsm(z["base"][seen], kernel="pearson"),
        "aligned": rsa.rsm(z["aligned"][seen], kernel="pearson"),
    }
    # Sorted by leaf within the superordinate, named by the latter.
    names = np.array([f"category {number + 1}" for number in truth.superordinate[seen]])
    order = np.argsort(truth.leaf[seen], kind="stable")
    panels = chain_figures.similarity_panels(
        {name: matrix[np.ix_(order, order)] for name, matrix in matrices.items()}, names[order]
    )
    return page.Section(
        "Similarity structure",
        [
            page.Picture(
                panels,
                "Similarities of all pairs of objects, sorted by category. People's blocks within "
                "and between categories are absent from the base student and there in the aligned "
                "one.",
            )
        ],
    )
