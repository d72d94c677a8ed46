"""Missing completely at random: every cell has the same chance, whatever the row looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fusionbench import Missingness, MissingnessContext, hookimpl
from fusionbench.hookspecs import Register

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CompletelyAtRandom(Missingness):
    """Independent uniform thresholds (MCAR in Rubin 1976)."""

    blind: ClassVar[bool] = True

    def thresholds(self, context: MissingnessContext, generator: np.random.Generator) -> NDArray[np.float64]:
        """Draw ``[rows, modalities]``."""
        return generator.random(context.available.shape)


@hookimpl
def register_missingness(register: Register) -> None:
    """Register ``mcar``."""
    register("mcar", CompletelyAtRandom)
