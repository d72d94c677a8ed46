"""Where a data set lies on the map of regimes, and how certain that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fusionbench.analysis.regimes.charted import PLACE, RegimeMap
from fusionbench.analysis.regimes.measures import Interplay, interplay
from fusionbench.seeding import numpy_generator

Floats = NDArray[np.float64]

DRAWS: Final = 4000
LEAST: Final = 0.1
"""Information below which shares of it mean nothing: an AUROC of .62."""


@dataclass(frozen=True)
class Measured:
    """How the modalities of a run share what they say.

    Args:
        found: From means over folds.
        low: Of dominance, redundancy and synergy, ``[3]``; NaN with one fold.
        high: The same.
        draws: Float ``[draws, 3]``: places that the scatter over folds allows; one row, the found place, with one fold.
    """

    found: Interplay
    low: Floats
    high: Floats
    draws: Floats

    @property
    def says_enough(self) -> bool:
        """Whether there is enough information to share out."""
        return bool(self.found.whole >= LEAST)


def measured(auroc: Floats, confidence: float) -> Measured:
    """Measure the place of a run with its uncertainty.

    The mean over folds is taken to scatter as a multivariate t variable with the covariance of the folds and one degree of
    freedom less than there are; subsets are scored on the same rows, so that what they share cancels.

    Args:
        auroc: ``[folds, 2 ** modalities - 1]``, see :func:`interplay`.
        confidence: Of the intervals.
    """
    found, folds = interplay(auroc.mean(axis=0)), len(auroc)
    if folds < 2:
        nothing = np.full(len(PLACE), np.nan)
        return Measured(found, nothing, nothing, found.place[None])
    generator = numpy_generator("regimes")
    spread = (auroc - auroc.mean(axis=0)) / np.sqrt(folds * (folds - 1))
    normal = generator.normal(size=(DRAWS, folds)) @ spread
    scale = np.sqrt(generator.chisquare(folds - 1, size=(DRAWS, 1)) / (folds - 1))
    drawn = interplay(auroc.mean(axis=0) + normal / scale).place
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Measured(found, low, high, drawn)


@dataclass(frozen=True)
class Placement:
    """Where a data set lies on a map.

    Args:
        nearest: Positions of regimes, the nearest first; those that are the nearest in one of twenty draws at least.
        share: In which share of the draws each of them is the nearest.
        distance: Of the found place to the nearest regime.
        inside: Whether that is within the reach of the map.
        possible: Float ``[rates, lines]``: in which share of the draws a line could be the best in the nearest regime.
    """

    nearest: Sequence[int]
    share: Sequence[float]
    distance: float
    inside: bool
    possible: Floats


def placed(found: Measured, charted: RegimeMap) -> Placement:
    """Find the regimes that are nearest to a data set."""
    counts = np.zeros(len(charted.regimes))
    for place in found.draws:
        counts[np.linalg.norm(charted.places - place, axis=1).argmin()] += 1
    share = counts / counts.sum()
    apart = np.linalg.norm(charted.places - found.found.place, axis=1)
    likely = [int(i) for i in np.argsort(apart, kind="stable") if share[i] >= 0.05 or i == apart.argmin()]
    return Placement(
        likely,
        [float(share[i]) for i in likely],
        float(apart.min()),
        bool(apart.min() <= charted.reach),
        np.einsum("r,rjk->jk", share, charted.possible),
    )
