"""The theory of alignment and few-shot learning: formulas, and the simulations that test them.

By the papers' definitions and results (000 and 001 are two versions of Sucholutsky and Griffiths):

- `representation`: Definitions 3.1 to 3.6, Lemma A.4: representation spaces and misalignment.
- `channel`: Proposition 3.8, Theorem 3.9: capacity, and how many answers must be given.
- `game`, `geometry`, on `decoder` and `counting`: the communication game, played.
- `students`, `few_shot`: few-shot learning at a dialled alignment.
- `domain_shift`: Definition A.1, Corollary A.2. `adversarial`: Definition A.3, Theorem A.5.
- `labels`, `labels_answers`, `labels_learning`: every kind of answer as triplets and as bits.

For experimenters, and ours: `active` picks questions, `plan` says how many to ask, on `population`,
`asking`, `laplace` and `rate`. `plots` draws all of it: `python -m theory --out=plots`.
"""

import importlib

# Each is imported when it is asked for: processes that draw need one or two of them.
HOME = {
    "active": ("information_gain", "next_triplets"),
    "adversarial": (
        *("disagreements", "expected_disagreement", "expected_maximum", "expected_minimum"),
        "hard_error",
    ),
    "channel": ("binary_entropy", "capacity", "orders", "queries", "queries_to_order"),
    "domain_shift": ("expected_sensitivity", "sensitivity"),
    "few_shot": ("learn",),
    "game": (*("AMBIGUOUS", "INFORMATIVE", "RANDOM", "picked_questions", "random_questions"),),
    "geometry": ("FLIPS", "NOISE", "SCALING", "meet", "meet_and_pick"),
    "labels": ("label", "odd_one_out", "ranking", "rating", "said", "triplet"),
    "labels_answers": ("information", "log_likelihoods"),
    "representation": (
        *("from_margins", "misalignment", "questions", "representation_space"),
        "stochastic_misalignment",
    ),
    "students": ("clustered", "from_embedding", "mixed", "squeezed", "turned"),
}
FROM = {name: module for module, names in HOME.items() for name in names}
__all__ = sorted(FROM)


def __getattr__(name: str) -> object:
    if name not in FROM:
        raise AttributeError(f"module 'theory' has no attribute {name!r}")
    return getattr(importlib.import_module(f"theory.{FROM[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
