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
    """What a mechanism may look at: the rows of one part of a fold (training, validation or test), in the dataset's order.

    Each part is drawn for itself, so that nothing of test rows decides who is missing in training, and every part reaches
    its rate. A mechanism that is ``blind`` is asked once for all rows.

    Args:
        available: Bool ``[rows, modalities]``.
        names: Modality names, in column order.
        target: Labels of these rows, for mechanisms that are not at random (MNAR); empty where all rows are drawn at once.
        summaries: Float ``[rows, modalities]``: one number for each observed modality, its first principal component, for
            mechanisms at random (MAR); 0 where not available. Fitted on, and standardised with, training rows of the fold.
        fold: Number of the fold; None where folds share the draw.
    """

    available: NDArray[np.bool_]
    names: tuple[str, ...]
    target: NDArray[np.int64]
    summaries: NDArray[np.float64] | None = None
    fold: int | None = None


class Missingness(Configured, ABC):
    """Decides in which order rows lose a modality.

    The core turns thresholds into masks: a modality is hidden at a rate when its threshold is below it.
    Masks are therefore nested (hidden at .2 implies hidden at .4), and are the same for every strategy.

    Attributes:
        uses_summaries: True when it reads ``MissingnessContext.summaries``.
        blind: True when it looks at nothing of a row: it is then asked once for all rows, and folds share the masks. It is
            shown how many rows there are, and neither what they have nor their labels.
    """

    uses_summaries: ClassVar[bool] = False
    blind: ClassVar[bool] = False

    @abstractmethod
    def thresholds(self, context: MissingnessContext, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return ``[rows, modalities]`` in [0, 1): the rate at which each cell begins to be hidden.

        Over rows, each column should be close to uniform, so that a rate means the share hidden. A part of a fold may have
        few rows, and one label only.
        """
