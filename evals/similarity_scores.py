"""`--evals=rsa`: does one model find the same pairs of objects alike as people do?"""

import argparse
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from evals import figures, human_figures, kriegeskorte, page, rsa
from evals.findings import Findings
from evals.intervals import Measured
from evals.sources import Source, naming

RATINGS = (
    "In each figure: people's similarities, objects in an order that puts together what people "
    "find alike; the model's in the same order; and the one against the other, darker where there "
    "are more pairs, with the model's mean in eighths of people's. Colours and axes are ranks "
    "among all pairs. ρ is Spearman's correlation over the pairs, for the Pearson kernel, with its "
    "95 % interval over objects."
)


def score(source: Source, options: argparse.Namespace) -> Findings:
    """Correlates similarities with people's: the sets of Peterson et al., and the 92 photographs.

    Returns:
      The findings; a set whose data or rows are absent is skipped with a note.
    """
    rated = _rated(source, options)
    arranged = _arranged(source, options)
    results = {
        "rsa": rated.results | arranged.results,
        "rsa_skipped": rated.skipped | arranged.skipped,
    }
    skipped = [f"rsa: {name} skipped: {why}." for name, why in results["rsa_skipped"].items()]
    blocks = [RATINGS, *rated.blocks, *arranged.blocks]
    return Findings(
        "rsa",
        results,
        rated.rows + arranged.rows,
        skipped + arranged.notes,
        [page.Section("Similarity", blocks)] if len(blocks) > 1 else [],
        {},
    )


class _Part(NamedTuple):
    """Findings on some sets, still in pieces; `skipped` has the reason by the set's name."""

    results: dict[str, Any]
    skipped: dict[str, str]
    rows: list[dict[str, Any]]
    notes: list[str]
    blocks: list[str | page.Picture]


def _rated(source: Source, options: argparse.Namespace) -> _Part:
    part = _Part({}, {}, [], [], [])
    folder = options.data_dir / "peterson"
    if not folder.is_dir():
        part.skipped["peterson"] = f"there is no {folder}"
        return part
    for human in rsa.load_peterson(options.data_dir):
        embeddings = source.rows(human.ids, human.photographs)
        if isinstance(embeddings, str):
            part.skipped[human.name] = embeddings
        else:
            _correlate(source, options, part, human.name, embeddings, human.similarity)
    for name in ("similarity.npz", "filenames.json"):
        source.record(folder / name)
    return part


def _arranged(source: Source, options: argparse.Namespace) -> _Part:
    part = _Part({}, {}, [], [], [])
    path, name = options.data_dir / kriegeskorte.FILE, kriegeskorte.NAME
    if not path.is_file():
        part.skipped[name] = f"there is no {path}"
        return part
    people = kriegeskorte.load(options.data_dir)
    source.record(path)
    embeddings = source.rows(people.ids, people.photographs)
    if isinstance(embeddings, str):
        part.skipped[name] = embeddings
        return part
    mean = -people.dissimilarity.mean(axis=0)
    _correlate(source, options, part, name, embeddings, mean)
    one = kriegeskorte.with_single_people(rsa.rsm(embeddings), people.dissimilarity)
    part.rows.append(_row(f"{name}, Spearman with one person (pearson kernel)", one))
    ceiling = kriegeskorte.noise_ceiling(people.dissimilarity)
    part.results[name] |= {"single_people": one.as_dict(), "noise_ceiling": ceiling._asdict()}
    bounds = f"{ceiling.lower:.4f} to {ceiling.upper:.4f}"
    part.notes.append(f"rsa: {name}: the noise ceiling with one person is {bounds}.")
    part.blocks.append(
        f"{one.n} people arranged the photographs of {name}; the figure has their mean. With one "
        f"person, on average, the model correlates at ρ = {one.value:.4f} (95 % interval over "
        f"people {one.low:.4f} to {one.high:.4f}). The noise ceiling of that number is {bounds}: "
        "what the mean of the other people reaches, and the mean of all."
    )
    return part


def _correlate(
    source: Source,
    options: argparse.Namespace,
    part: _Part,
    name: str,
    embeddings: Float[np.ndarray, "n p"],
    people: Float[np.ndarray, "n n"],
) -> None:
    """Adds one set to the findings."""
    with naming(f"{source.path}, {name}"):
        found = rsa.run(embeddings, people, seed=options.seed)
    part.results[name] = {kernel: value.as_dict() for kernel, value in found._asdict().items()}
    for kernel, value in found._asdict().items():
        part.rows.append(_row(f"{name}, Spearman ({kernel} kernel)", value))
    rho = found.pearson
    figure = human_figures.similarity_with_people(people, rsa.rsm(embeddings), rho, name=name)
    part.blocks.append(
        page.Picture(
            figures.svg(figure),
            f"{source.name} and people on {name}, {len(people)} photographs: "
            f"ρ = {rho.value:.4f} [{rho.low:.4f}, {rho.high:.4f}].",
        )
    )


def _row(measure: str, value: Measured) -> dict[str, Any]:
    return {"eval": "rsa", "measure": measure, "value": value, "n": value.n}
