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

from theory.active import information_gain, next_triplets
from theory.adversarial import (
    disagreements,
    expected_disagreement,
    expected_maximum,
    expected_minimum,
    hard_error,
)
from theory.channel import binary_entropy, capacity, orders, queries, queries_to_order
from theory.domain_shift import expected_sensitivity, sensitivity
from theory.few_shot import learn
from theory.game import picked_questions, random_questions
from theory.geometry import meet
from theory.representation import (
    from_margins,
    misalignment,
    questions,
    representation_space,
    stochastic_misalignment,
)

__all__ = [
    "binary_entropy",
    "capacity",
    "disagreements",
    "expected_disagreement",
    "expected_maximum",
    "expected_minimum",
    "expected_sensitivity",
    "from_margins",
    "hard_error",
    "information_gain",
    "learn",
    "meet",
    "misalignment",
    "next_triplets",
    "orders",
    "picked_questions",
    "queries",
    "queries_to_order",
    "questions",
    "random_questions",
    "representation_space",
    "sensitivity",
    "stochastic_misalignment",
]
