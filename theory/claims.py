"""What the papers claim, and what was found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evals.statistics.intervals import Measured

HOLDS = "holds"
BOUND = "holds as a bound only"
ASSUMED = "holds under a stated assumption"
NOT_AS_PRINTED = "does not hold as printed"
REFUTED = "does not hold"  # of what nobody has printed
UNDECIDED = "not decided by this run"
VERDICTS = (HOLDS, BOUND, ASSUMED, NOT_AS_PRINTED, REFUTED, UNDECIDED)


class Claim(NamedTuple):
    """One claim of the theory.

    Attributes:
      source: paper and place: "000, Theorem 3.9"; "ours" for what the papers do not say.
      statement: what is claimed, in one sentence.
      verdict: one of `VERDICTS`, computed from the numbers.
      found: what was found, in a sentence or two.
      numbers: behind it, by name: numbers, `Measured`, arrays, or mappings of them.
      assumption: under which it holds; "" where there is none.
    """

    source: str
    statement: str
    verdict: str
    found: str
    numbers: Mapping[str, Any]
    assumption: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict() | {"numbers": plain(self.numbers)}


def plain(value: Any) -> Any:
    """Numbers for JSON: a `Measured` is its value, interval and n; what is not finite is null."""
    if isinstance(value, Measured):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def counted(claims: Sequence[Claim]) -> str:
    """How many claims got which verdict."""
    counts = Counter(claim.verdict for claim in claims)
    return "; ".join(f"{verdict}: {counts[verdict]}" for verdict in VERDICTS if counts[verdict])
