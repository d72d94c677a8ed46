"""How far what an imputer of embeddings makes of a hidden modality is from the true embedding, in sums over rows.

    relative error = sum |filled - true|^2 / sum |true - mean of true|^2

0 is perfect; 1 is what filling in the mean embedding of these very rows would give; more is worse than that. The cosine of the
two is not taken: a filling that knows nothing of a row, the mean, has a high one wherever embeddings share a direction.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fusionbench.training.model import Imagined

TRACE = "imputer.relative error"
"""What the loop calls this error in traces, followed by a point and the modality."""

_ROUNDING = 1e-13


class ErrorSums(NamedTuple):
    """Sums over the rows of one modality that count, float64.

    Args:
        error: Squared distances between filled and true embedding, ``[models]``.
        rows: How many, ``[models]``.
        total: True embeddings, ``[models, dim]``.
        square: Their squared lengths, ``[models]``.
    """

    error: Tensor
    rows: Tensor
    total: Tensor
    square: Tensor

    def plus(self, more: ErrorSums) -> ErrorSums:
        """Return the sums over both."""
        return ErrorSums(*(a + b for a, b in zip(self, more, strict=True)))

    def relative_error(self) -> Tensor:
        """Return the relative error ``[models]``; NaN where no two true embeddings differ."""
        spread = self.square - self.total.square().sum(dim=-1) / self.rows.clamp_min(1)
        # a difference of two sums: of equal embeddings, rounding is left
        return torch.where(spread > _ROUNDING * self.square, self.error / spread, torch.nan)


def error_sums(found: Imagined, counted: Tensor) -> ErrorSums:
    """Add up rows.

    Args:
        found: Of stacked models: ``[models, n, dim]``, and rows ``[models, n]``.
        counted: Bool ``[models, n]``; False for padding.
    """
    rows = found.rows & counted
    true, filled = (torch.where(rows[..., None], t, 0).double() for t in (found.true, found.filled))
    return ErrorSums(
        error=(filled - true).square().sum(dim=(1, 2)),
        rows=rows.double().sum(dim=1),
        total=true.sum(dim=1),
        square=true.square().sum(dim=(1, 2)),
    )
