"""Missing at random: what is seen in another modality decides who loses this one.

Rubin 1976's condition holds exactly for patterns that leave the driving modality alone (a single modality
or a block); under ``random`` and ``all`` the driver may be hidden too, and the mechanism is MNAR in the strict sense.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fusionbench import Missingness, MissingnessContext, hookimpl
from fusionbench.errors import ConfigError, did_you_mean
from fusionbench.hookspecs import Register
from fusionbench.missingness import thresholds_from


class AtRandom(Missingness):
    """Thresholds ranked by the one-number summary of another modality.

    Args:
        strength: -1 to 1. Positive: rows with a large summary lose the modality first; 0: as ``mcar``.
        driver: The modality that decides. None: the first in order that is not the one decided upon, chosen
            row by row among those the row has. The driver's own thresholds follow this rule too.
    """

    uses_summaries: ClassVar[bool] = True

    def __init__(self, strength: float = 0.8, driver: str | None = None) -> None:
        if not -1 <= strength <= 1:
            raise ValueError(f"strength must be between -1 and 1, found {strength}")
        self.strength = strength
        self.driver = driver

    def thresholds(self, context: MissingnessContext, generator: np.random.Generator) -> NDArray[np.float64]:
        """Draw ``[rows, modalities]``; rows where no driver is available are in the middle, up to noise."""
        if context.summaries is None:
            raise ValueError("mar needs the summaries of the modalities, and this run has none")
        if self.driver is not None and self.driver not in context.names:
            raise ConfigError(
                f"missingness mar: no modality named '{self.driver}'{did_you_mean(self.driver, context.names)}; "
                f"driver must be one of {', '.join(context.names)}"
            )
        columns = [
            thresholds_from(self._driver_of(m, context), context.available[:, m], self.strength, generator)
            for m in range(len(context.names))
        ]
        return np.stack(columns, axis=1)

    def _driver_of(self, column: int, context: MissingnessContext) -> NDArray[np.float64]:
        """Float ``[rows]``: the summary that decides about ``column``; 0 (the mean) where there is none."""
        assert context.summaries is not None
        usable = context.available.copy()
        usable[:, column] = False
        if self.driver is not None and self.driver != context.names[column]:
            usable &= np.array(context.names) == self.driver
        chosen = context.summaries[np.arange(len(usable)), usable.argmax(axis=1)]
        return np.where(usable.any(axis=1), chosen, 0.0)


@hookimpl
def register_missingness(register: Register) -> None:
    """Register ``mar``."""
    register("mar", AtRandom)
