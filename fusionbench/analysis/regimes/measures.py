"""Dominance, redundancy and synergy of modalities, from what every subset of them can predict.

The information of a subset S is ``v(S) = z |z|`` with ``z = Phi^-1(AUROC(S))``. On this scale what modalities say adds up
where they are independent given the label and their evidence is normal (v is then half of the squared distance d' of signal
detection). AUROC itself does not add up: two independent modalities of .84 make .92, which would look like redundancy. With
the Shapley values p_m of v and M modalities::

    share       p_m / v(all), where p_m is above 0
    dominance   (M largest share - 1) / (M - 1)                       0: all bring the same; 1: one brings everything
    redundancy  sum of v(m) - p_m where above 0 / ((M - 1) v(all))    1: each modality alone says what all say
    synergy     sum of p_m - v(m) where above 0 / v(all)              1: no modality alone says anything

Of two modalities redundancy less synergy is ``(v(A) + v(B) - v(AB)) / v(AB)``: where both are there they cancel, and only what is
left of one can be measured.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fusionbench.metrics.statistics import shapley_weights

Floats = NDArray[np.float64]

_EDGE = 1e-6  # an AUROC of 1 on few rows is no infinite information


class Interplay(NamedTuple):
    """What modalities say alone and to each other; leading axes are those of the AUROCs.

    Args:
        whole: ``[...]``, v of all modalities.
        alone: ``[..., modalities]``, v of each.
        brought: ``[..., modalities]``, Shapley values of v, which add up to ``whole``.
        dominance: ``[...]``, 0 to 1.
        redundancy: ``[...]``, 0 or more.
        synergy: ``[...]``, 0 or more.
    """

    whole: Floats
    alone: Floats
    brought: Floats
    dominance: Floats
    redundancy: Floats
    synergy: Floats

    @property
    def place(self) -> Floats:
        """The three coordinates of the map, ``[..., 3]``."""
        return np.stack([self.dominance, self.redundancy, self.synergy], axis=-1)


def information(auroc: Floats) -> Floats:
    """Return v of an AUROC; 0 at .5, below 0 where rows are ranked the wrong way round."""
    z = ndtri(np.clip(np.asarray(auroc, dtype=np.float64), _EDGE, 1 - _EDGE))
    found: Floats = z * np.abs(z)
    return found


def interplay(auroc: Floats) -> Interplay:
    """Measure how modalities share what they say.

    Args:
        auroc: ``[..., 2 ** modalities - 1]``: of every subset but the empty one, bit m of position + 1 for modality m.
            At least two modalities.
    """
    known = information(auroc)
    count = (known.shape[-1] + 1).bit_length() - 1
    if count < 2 or known.shape[-1] != 2**count - 1:
        raise ValueError(f"need the AUROC of every subset of two or more modalities, found {known.shape[-1]} numbers")
    v = np.concatenate([np.zeros((*known.shape[:-1], 1)), known], axis=-1)
    whole, alone = v[..., -1], v[..., 2 ** np.arange(count)]
    brought = v @ shapley_weights(count).T
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = brought.clip(min=0) / brought.clip(min=0).sum(axis=-1, keepdims=True)
        dominance = (count * shares.max(axis=-1) - 1) / (count - 1)
        redundancy = (alone - brought).clip(min=0).sum(axis=-1) / ((count - 1) * whole)
        synergy = (brought - alone).clip(min=0).sum(axis=-1) / whole
    measured = whole > 0
    return Interplay(
        whole,
        alone,
        brought,
        *(np.where(measured, one, np.nan) for one in (dominance, redundancy, synergy)),
    )
