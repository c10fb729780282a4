"""Do settings differ over all data sets and models at once? A repeated-measures ANOVA.

Paper 002, B.2.3: data sets are the subjects, the model and the method of fine-tuning the conditions
in which each was measured. By pingouin, with what the test assumes checked.
"""

import warnings
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from alignet.errors import InputError

LEAST = 3  # data sets; below, there is next to nothing to test on


class Effect(NamedTuple):
    """A row of the ANOVA's table.

    Attributes:
      source: "model", "method" or "model × method".
      f, df1, df2: the statistic and its degrees of freedom.
      p: assuming sphericity, i.e. that the differences of any two conditions vary alike.
      epsilon: Greenhouse and Geisser's measure of sphericity, 1 where it holds.
      p_corrected: p with the degrees of freedom times epsilon.
      p_sphericity: of Mauchly's test; NaN where there is none, or too few data sets. It has little
        power with few of them, so that the corrected p is the one to read.
      eta: generalised η², the share of variance.
    """

    source: str
    f: float
    df1: int
    df2: int
    p: float
    epsilon: float
    p_corrected: float
    p_sphericity: float
    eta: float


class Anova(NamedTuple):
    """Attributes:
    effects: of the method; of the model and of both together, if there are several models.
    p_normality: smallest p of Shapiro and Wilk's test that the differences of two methods, averaged
      over models, are normal over the data sets; corrected by Holm for the number of pairs.
    n: data sets.
    """

    effects: list[Effect]
    p_normality: float
    n: int


def repeated_measures(accuracy: Float[np.ndarray, "d m k"]) -> Anova:
    """Tests whether accuracy depends on the method.

    Args:
      accuracy: of d data sets, m models (at least one) and k methods (at least two).

    Raises:
      InputError: there are too few data sets, or nothing varies that could be tested.
    """
    d, m, k = accuracy.shape
    if d < LEAST or k < 2:
        raise InputError(
            f"an ANOVA of {d} data sets and {k} methods; expected at least {LEAST} and 2."
        )
    # Of a method's mean over models; what is left of it when the data sets' own levels are gone.
    means = accuracy.mean(axis=1)
    means = means - means.mean(axis=1, keepdims=True)
    if np.ptp(means - means.mean(axis=0)) < 1e-12:
        raise InputError("the methods differ by the same amount on every data set; nothing varies.")
    import pandas as pd

    with warnings.catch_warnings():  # pandas 3 warns of how pingouin uses it
        warnings.simplefilter("ignore")
        import pingouin

        data, model, method = np.indices(accuracy.shape).reshape(3, -1)
        frame = pd.DataFrame(
            {"data": data, "model": model, "method": method, "accuracy": accuracy.ravel()}
        )
        within = ["model", "method"] if m > 1 else "method"
        found = pingouin.rm_anova(
            frame, dv="accuracy", within=within, subject="data", correction=True, detailed=True
        )
    if m > 1:
        effects = [
            _effect(row, int(row["ddof1"]), int(row["ddof2"])) for row in found.to_dict("records")
        ]
    else:
        row, error = found.to_dict("records")
        effects = [_effect(row, int(row["DF"]), int(error["DF"]))]
    return Anova(effects, _normality(means), d)


def _effect(row: dict, df1: int, df2: int) -> Effect:
    p = float(row["p_unc"])
    # Of two conditions there is one difference, and nothing to correct.
    corrected, sphericity = row.get("p_GG_corr", p), row.get("p_spher", np.nan)
    return Effect(
        source=row["Source"].replace("*", "×"),
        f=float(row["F"]),
        df1=df1,
        df2=df2,
        p=p,
        epsilon=float(row["eps"]),
        p_corrected=p if np.isnan(corrected) else float(corrected),
        # With fewer data sets than differences it would be of rounding errors.
        p_sphericity=float(sphericity) if df1 > 1 and df2 >= df1**2 else np.nan,
        eta=float(row["ng2"]),
    )


def _normality(means: Float[np.ndarray, "d k"]) -> float:
    pairs = [means[:, i] - means[:, j] for i in range(means.shape[1]) for j in range(i)]
    found = [scipy.stats.shapiro(pair).pvalue for pair in pairs if np.ptp(pair) > 0]
    return float(min(1.0, len(found) * min(found)))
