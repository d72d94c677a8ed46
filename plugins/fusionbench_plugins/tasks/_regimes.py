"""How much information each part of a planted regime holds: who says what, and how far apart its means lie.

Information is counted as Bhattacharyya distance, ``-ln sum sqrt(P(x | 0) P(x | 1))``, because it adds up over parts that are
independent given the label, and two problems of equal distance are about equally hard. A normal variable with means
``a`` and ``-a`` and variance 1 holds ``a ** 2 / 2``. With the dials i (imbalance), r (redundancy), s (synergy) and a strength a
the whole, ``a ** 2 / 2``, is shared out::

    together   s                          only both modalities tell it: an exclusive or of one sign in each
    shared     (1 - s) r                  both show the same number, noise included
    first      (1 - s) (1 - r) (1 + i)/2  of the first modality alone
    second     (1 - s) (1 - r) (1 - i)/2  of the second alone

so that the dials change who says it and not how much is said: the best possible AUROC stays within .005 of ``Phi(sqrt(2) a)``.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

_NODES = 61  # the integrand is smooth: twice as many change the eighth digit at strength 1, the fourth at 3


class Shares(NamedTuple):
    """Shares of the whole information, which add up to 1."""

    together: float
    shared: float
    first: float
    second: float


def shares_of(imbalance: float, redundancy: float, synergy: float) -> Shares:
    """Share out the information; all dials lie between 0 and 1."""
    own = (1 - synergy) * (1 - redundancy)
    return Shares(synergy, (1 - synergy) * redundancy, own * (1 + imbalance) / 2, own * (1 - imbalance) / 2)


def distance_of_signs(separation: float) -> float:
    """Bhattacharyya distance of two labels that differ in the product of two fair signs.

    Args:
        separation: Each sign is seen times this number plus standard normal noise. Then P(product is -1 | both) is
            ``(1 - t) / 2`` with ``t`` the product of two hyperbolic tangents, and the distance is ``-ln E sqrt(1 - t ** 2)``.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    squared = np.tanh(separation * (separation + nodes)) ** 2
    return -math.log(float(weights @ np.sqrt(1 - np.outer(squared, squared)) @ weights))


@cache
def separation_of(information: float) -> float:
    """Return the separation of two signs whose product holds so much information."""
    if information == 0:
        return 0.0
    high = 1.0
    while distance_of_signs(high) < information:
        high *= 2
    found: float = brentq(lambda s: distance_of_signs(s) - information, 0.0, high)
    return found
