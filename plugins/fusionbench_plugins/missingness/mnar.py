"""Missing not at random: the outcome itself decides who loses a modality (the sickest have no time for an image).

The absence then carries information about the label, which strategies that look at presence may use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusionbench import Missingness, MissingnessContext, hookimpl
from fusionbench.errors import ConfigError
from fusionbench.hookspecs import Register
from fusionbench.missingness import thresholds_from


class NotAtRandom(Missingness):
    """Thresholds ranked by the label.

    Args:
        strength: -1 to 1. Positive: rows with the label lose modalities first; 0: as ``mcar``.
        label: Multi-class: the class that decides. Multi-label: the column that decides; None: the share of
            labels that a row has. Binary and None: label 1.
    """

    def __init__(self, strength: float = 0.8, label: int | None = None) -> None:
        if not -1 <= strength <= 1:
            raise ValueError(f"strength must be between -1 and 1, found {strength}")
        self.strength = strength
        self.label = label

    def thresholds(self, context: MissingnessContext, generator: np.random.Generator) -> NDArray[np.float64]:
        """Draw ``[rows, modalities]``."""
        driver = self._driver(context.target)
        columns = [thresholds_from(driver, held, self.strength, generator) for held in context.available.T]
        return np.stack(columns, axis=1)

    def _driver(self, target: NDArray[np.int64]) -> NDArray[np.float64]:
        """Float ``[rows]``: the number that decides."""
        if target.ndim == 1:
            decides = target == (1 if self.label is None else self.label)
        elif self.label is None:
            decides = target.mean(axis=1)
        elif 0 <= self.label < target.shape[1]:
            decides = target[:, self.label]
        else:
            raise ConfigError(
                f"missingness mnar: label must be a column from 0 to {target.shape[1] - 1}, found {self.label}"
            )
        return np.asarray(decides, dtype=np.float64)


@hookimpl
def register_missingness(register: Register) -> None:
    """Register ``mnar``."""
    register("mnar", NotAtRandom)
