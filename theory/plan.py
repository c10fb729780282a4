"""How many odd-one-out answers to collect for a wanted alignment.

    python -m theory.plan --objects=1854 --dims=40 --noise=0.33

"Alignment" is triplet alignment, 1 − D_R (000, Definition 3.5): on what share of the questions "is
i nearer to j than to k?" the embedding learnt agrees with the one that people share. "Noise" is the
share of answers that differ from what most people would answer, from 0 to 2/3; with a ceiling on
accuracy of .67, as in THINGS, it is .33. Prints a row for each alignment: two bounds, answers to
random questions and to actively chosen ones, and the hours that people spend; a dash stands where
no number of answers led there in every simulation. With fewer answers than a bound, to random
questions or to any, coordinates cannot be as near the truth as they are at that alignment in the
simulation. --out=FOLDER also writes plan.json and a figure, as PDF and PNG. Takes a minute.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from alignet.errors import InputError
from alignet.runtime import command_line, files, stages
from alignet.runtime.command_line import Parser
from alignet.runtime.progress import progress
from evals.pages import figures
from evals.pages.table import table
from evals.statistics.intervals import Measured
from theory import asking, checks, claims, laplace, population, rate

ALIGNMENTS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SECONDS = 5.0  # that an answer takes
POPULATIONS = 5  # simulated at full size
SMALL = 48, 4  # objects and dimensions at which VICE is really fitted
ROUNDS = 10
FITTED = 6  # populations of that size
POOR = 2.0  # correction of Laplace's method beyond which the plan says so
REACHED = 0.9  # alignment for which they collect, by Laplace's method
# Outside of these the simulation takes the nearer one: people who nearly always agree have hardly
# any finite embedding, and those who hardly ever do have more to answer than there are questions.
NOISE = 0.1, 0.5
MOST = 10**8  # numbers in the matrices of information about all objects


class Fitted(NamedTuple):
    """What fits of VICE at a small size say.

    Attributes:
      alignment: what random asking led to with all answers, on average.
      correction: answers that VICE needed for it over those that Laplace's method expects.
      saving: answers that active asking needed for it over those of random asking.
    """

    alignment: Measured
    correction: Measured
    saving: Measured


class Row(NamedTuple):
    """Answers for one alignment.

    Attributes:
      alignment: wanted.
      error: of coordinates at that alignment, as of `laplace.Learnt`.
      bound: answers without which that error is out of reach, whatever is asked.
      bound_random: to random questions.
      random: answers to random questions; n is the number of simulated populations.
      active: answers to actively chosen ones.
    """

    alignment: float
    error: float
    bound: float
    bound_random: float
    random: Measured
    active: Measured


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    try:
        return run(parse(sys.argv[1:] if argv is None else argv))
    except (InputError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the options."""
    parser = Parser(
        prog="python -m theory.plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--objects", type=int, required=True, help="how many, at least 4")
    parser.add_argument("--dims", type=int, required=True, help="that people tell them apart by")
    parser.add_argument("--noise", type=float, required=True, help="from 0 to below 2/3")
    parser.add_argument("--alignment", type=float, help="between 1/2 and 1; by default several")
    parser.add_argument("--seed", type=command_line.whole, default=0, help="default: 0")
    parser.add_argument("--out", type=Path, help="folder for plan.json and the figure")
    options = parser.parse_args(argv)
    checks.at_least(options.objects, 4, "objects")
    checks.at_least(options.dims, 1, "dims")
    if options.objects * options.dims**2 > MOST:
        raise InputError(
            f"objects × dims² is {options.objects * options.dims**2:,}; expected at most {MOST:,}, "
            "as the information about each object is a matrix."
        )
    population.noise_level(options.noise)
    if options.alignment is not None and not 0.5 < options.alignment < 1:
        raise InputError(
            f"alignment is {options.alignment:g}; expected more than 1/2, which is chance, and "
            "less than 1."
        )
    return options


def run(options: argparse.Namespace) -> int:
    """Plans, prints, and writes what was asked for."""
    if options.out:
        command_line.prepare(options.out)
    begun = time.monotonic()
    size = options.objects, options.dims, options.noise
    fits = fitted(options.noise, options.seed)
    given = () if options.alignment is None else (options.alignment,)
    rows = plan(*size, sorted({*ALIGNMENTS, *given}), fits, options.seed)
    print(table([_cells(row) for row in rows if row.alignment in (given or ALIGNMENTS)]))
    print("\n" + assumptions(*size, fits))
    if options.out:
        settings = {name: getattr(options, name) for name in ("objects", "dims", "noise", "seed")}
        found = {"fits": fits._asdict(), "rows": [row._asdict() for row in rows]}
        figure = draw(rows, f"{options.objects:,} objects, d = {options.dims}")
        for kind in ("pdf", "png"):
            figures.save(figure, options.out / f"plan.{kind}")
        files.write_json(options.out / "plan.json", settings | claims.plain(found) | {
            "config_hash": stages.config_hash(settings),
            "seconds": round(time.monotonic() - begun, 1),
            "versions": stages.versions(),
        })  # fmt: skip
        print(f"Written: {options.out / 'plan.json'}")
    return 0


def plan(
    objects: int,
    dims: int,
    noise: float,
    alignments: Sequence[float],
    fits: Fitted,
    seed: int,
) -> list[Row]:
    """Answers for each alignment, by Laplace's method at full size, corrected by small fits.

    Args:
      objects, dims, noise: as of the command.
      alignments: wanted, between ½ and 1.
      fits: by which numbers of answers are corrected.
      seed: of the simulated populations.
    """
    needed, errors = np.empty((2, POPULATIONS, len(alignments)))
    bits = np.empty(POPULATIONS)
    for i in progress(range(POPULATIONS), desc="full size", unit="population"):
        rng = np.random.default_rng([seed, i])
        y = population.make(objects, dims, max(noise, NOISE[0]), rng)
        needed[i], errors[i] = laplace.needed(y, np.array(alignments), rng)
        asked = population.random_triplets(objects, population.CALIBRATION, rng)
        bits[i] = rate.carried(population.probabilities(y, asked))
    rows = []
    for alignment, each, error in zip(alignments, needed.T, errors.mean(axis=0), strict=True):
        random = _times(asking.geometric_mean(np.log(each)), fits.correction)
        bounds = (
            rate.bound(objects, dims, float(error), bits=most)
            for most in (math.log2(3), float(bits.mean()))
        )
        active = _times(random, fits.saving)
        rows.append(Row(alignment, float(error), *bounds, random, active))
    return rows


def fitted(noise: float, seed: int) -> Fitted:
    """Fits VICE to small populations that are as noisy, to random and to chosen answers.

    Args:
      noise: as of the command.
      seed: of the populations.
    """
    noise = float(np.clip(noise, *NOISE))
    seeds = [FITTED * seed + i for i in range(FITTED)]
    setting = asking.Setting(*SMALL, noise, 0, 0, 0)
    people = [asking.world(setting, one).y for one in seeds]
    expected = [
        laplace.needed(y, np.array([REACHED]), np.random.default_rng(one))[0][0]
        for y, one in zip(people, seeds, strict=True)
    ]
    # The median: now and then a population has objects that nothing tells apart.
    batch = math.ceil(np.median(expected) / (ROUNDS + 1))
    curves = asking.compare(setting._replace(first=batch, batch=batch, rounds=ROUNDS), seeds)
    rising = asking.rising(curves.alignment[0])
    return Fitted(
        asking.geometric_mean(np.log(rising[:, -1])),
        asking.beyond_laplace(curves, people, seeds),
        asking.ratio(curves.answers, curves.alignment),
    )


def assumptions(objects: int, dims: int, noise: float, fits: Fitted) -> str:
    """What the numbers rest on."""
    error, saving = fits.correction, fits.saving
    text = (
        f"Assumed: people share an embedding of {dims} sparse, non-negative dimensions and answer "
        f"with the softmax of its dot products; VICE is fitted to all answers; {SECONDS:g} seconds "
        f"an answer. At {objects:,} objects answers are counted by a quadratic approximation "
        f"(Laplace) around {POPULATIONS} simulated populations, times {_factor(error)}, "
        f"by which fits of VICE to {SMALL[0]} objects in "
        f"{SMALL[1]} dimensions, equally noisy, needed more; there, asking actively "
        f"took {_factor(saving)} times the answers to an "
        f"alignment of {fits.alignment.value:.2f} ({saving.n} populations). That both factors hold "
        "at other sizes and alignments is assumed, not known. The bounds are on the squared "
        "error that coordinates have in the simulation at that alignment, and not on the alignment."
    )
    if error.value > POOR:
        text += " At this noise the approximation is poor, and the plan a guess."
    simulated = float(np.clip(noise, *NOISE))
    if simulated != noise:
        text += f" The fits are of noise {simulated:g}, the nearest at which they can be made."
    if noise < NOISE[0]:
        text += (
            f" All else is of noise {NOISE[0]}: with less, fewer answers do, and bounds are lower."
        )
    return text


@matplotlib.rc_context(figures.STYLE)
def draw(rows: Sequence[Row], title: str) -> Figure:
    """Answers against alignment."""
    figure = Figure(figsize=(figures.WIDTH, 2.8), layout="constrained")
    axes = figure.subplots()
    x = [row.alignment for row in rows]
    for name, colour, marker in (("random", figures.BLUE, "o"), ("active", figures.ORANGE, "s")):
        value, low, high, _ = np.array([getattr(row, name) for row in rows]).T
        axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(x, value, color=colour, marker=marker, label=f"{name} questions")
    for bound, style in (("bound_random", "--"), ("bound", ":")):
        label = "bound, " + ("any questions" if bound == "bound" else "random questions")
        axes.plot(x, [getattr(row, bound) for row in rows], color=figures.BLACK, ls=style,
                  lw=1, label=label)  # fmt: skip
    axes.set(yscale="log", xlabel="alignment 1 − D_R", ylabel="answers", title=title)
    axes.set_xticks(x, [f"{one:g}" for one in x])
    axes.legend(loc="upper left")
    return figure


def _times(a: Measured, b: Measured) -> Measured:
    """The product, of which the logarithms' errors are independent; n is the smaller one."""
    if not (math.isfinite(a.value) and math.isfinite(b.value)):
        return Measured(math.inf, math.nan, math.nan, min(a.n, b.n))
    half = math.hypot(math.log(a.high / a.value), math.log(b.high / b.value))
    value = a.value * b.value
    return Measured(value, value * math.exp(-half), value * math.exp(half), min(a.n, b.n))


def _factor(measured: Measured) -> str:
    if not math.isfinite(measured.value):
        return "a number that could not be found"
    return f"{measured.value:.2f} [{measured.low:.2f}, {measured.high:.2f}]"


def _cells(row: Row) -> dict[str, str | float]:
    hours = [
        f"{one.value * SECONDS / 3600:,.0f}" if math.isfinite(one.value) else "–"
        for one in (row.random, row.active)
    ]
    return {
        "alignment": f"{row.alignment:g}",
        "bound, any": _answers(Measured(row.bound, math.nan, math.nan, 0)),
        "bound, random": _answers(Measured(row.bound_random, math.nan, math.nan, 0)),
        "random": _answers(row.random),
        "active": _answers(row.active),
        "hours, random": hours[0],
        "hours, active": hours[1],
    }


def _answers(measured: Measured) -> str:
    """Two significant digits, as no more are known."""
    value, low, high = (
        f"{float(f'{one:.2g}'):,.0f}" if math.isfinite(one) else "–" for one in measured[:3]
    )
    return f"{value} [{low}, {high}]" if math.isfinite(measured.low) else value


if __name__ == "__main__":
    sys.exit(main())
