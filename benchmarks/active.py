"""How many answers active asking needs, against random asking.

    python -m benchmarks.active --out=FOLDER  # a minute

Ten simulated populations of 60 objects in 6 dimensions that answer a third of random questions
otherwise than most would, as people do about THINGS. Both arms begin with the same 300 answers to
random questions and collect 200 a round, up to 3,900, with VICE fitted anew after each
(`theory.asking`). The target, set before these seeds were looked at: the held-out accuracy that
random asking has with all of its answers; at most 70 % of them are to be needed. The ratio is that
of each seed, with the 95 % t interval of its geometric mean. Prints a table and one JSON line, and
writes both arms' curves to FOLDER/active.npz.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from alignet.errors import InputError
from alignet.runtime import command_line, files
from evals.pages.table import table
from evals.statistics import intervals
from theory import asking

SEEDS = range(20, 30)  # 0 to 19 were used up by earlier versions; tuned on 100 to 109
TARGET = 0.7
LEVELS = (0.8, 0.85, 0.9)  # of the way from chance to the ceiling


def measure() -> tuple[asking.Curves, dict]:
    """Both arms on all seeds, and what is to be said of them."""
    begun = time.perf_counter()
    curves = asking.compare(asking.STUDY, SEEDS)
    seconds = time.perf_counter() - begun
    ratio = asking.ratio(curves.answers, curves.accuracy)
    levels = {
        f"ratio to {level:.0%} of the way": asking.ratio(
            curves.answers, curves.of_ceiling, np.full(len(SEEDS), level)
        ).as_dict()
        for level in LEVELS
    }
    return curves, {
        "benchmark": "active",
        "cores": os.cpu_count(),
        "seeds": list(SEEDS),
        **asking.STUDY._asdict(),
        "ceiling": intervals.mean(curves.ceiling).as_dict(),
        "ratio": ratio.as_dict(),
        "target": TARGET,
        "met": ratio.value <= TARGET,
        "met_by_interval": ratio.high <= TARGET,
        **levels,
        "ratio to the same alignment": asking.ratio(curves.answers, curves.alignment).as_dict(),
        "s": round(seconds, 1),
    }


def rows(curves: asking.Curves) -> list[dict]:
    """One a round."""
    return [
        {
            "answers": int(answers),
            **{
                f"{arm}, {name}": intervals.mean(values[a, :, point])
                for name, values in (("accuracy", curves.accuracy), ("1 − D_R", curves.alignment))
                for a, arm in enumerate(asking.ARMS)
            },
        }
        for point, answers in enumerate(curves.answers)
    ]


def main() -> int:
    """Runs the comparison; returns its exit status."""
    parser = command_line.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for active.npz")
    try:
        options = parser.parse_args()
        command_line.prepare(options.out)
    except InputError as error:
        print("error:", error, file=sys.stderr)
        return 2
    curves, result = measure()
    files.write_npz(options.out / "active.npz", **curves._asdict())
    print(table(rows(curves)))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
