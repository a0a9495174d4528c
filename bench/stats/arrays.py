"""Types and the small numerical tools that every statistic shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PROBIT_CLIP = (0.02, 0.995)


def t_quantile(probability: float, df: FloatArray) -> FloatArray:
    """Quantile of Student's t, elementwise in the degrees of freedom."""
    return np.asarray(special.stdtrit(df, probability), dtype=np.float64)


def t_two_sided(statistic: FloatArray, df: FloatArray) -> FloatArray:
    """Two-sided p-value of a t statistic, elementwise."""
    return np.asarray(2.0 * special.stdtr(df, -np.abs(statistic)), dtype=np.float64)


def probit(share: FloatArray) -> FloatArray:
    """Probit of a share, clipped to [0.02, 0.995] first so that 0 and 1 stay finite."""
    return np.asarray(special.ndtri(np.clip(share, *PROBIT_CLIP)), dtype=np.float64)
