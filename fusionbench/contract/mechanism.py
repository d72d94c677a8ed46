"""Which rows lose a modality first: what a missingness mechanism is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusionbench.contract.options import Configured

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class MissingnessContext:
    """What a mechanism may look at. Row order is the dataset's.

    Args:
        available: Bool ``[rows, modalities]``.
        names: Modality names, in column order.
        target: Labels, for mechanisms that are not at random (MNAR).
        summaries: Float ``[rows, modalities]``: one standardised number for each observed modality
            (its first principal component), for mechanisms at random (MAR); 0 where not available.
    """

    available: NDArray[np.bool_]
    names: tuple[str, ...]
    target: NDArray[np.int64]
    summaries: NDArray[np.float64] | None = None


class Missingness(Configured, ABC):
    """Decides in which order rows lose a modality.

    The core turns thresholds into masks: a modality is hidden at a rate when its threshold is below it.
    Masks are therefore nested (hidden at .2 implies hidden at .4), and are the same for every strategy.

    Attributes:
        uses_summaries: True when it reads ``MissingnessContext.summaries``.
    """

    uses_summaries: ClassVar[bool] = False

    @abstractmethod
    def thresholds(self, context: MissingnessContext, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return ``[rows, modalities]`` in [0, 1): the rate at which each cell begins to be hidden.

        Over rows, each column should be close to uniform, so that a rate means the share hidden.
        """
