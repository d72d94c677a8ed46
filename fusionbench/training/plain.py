"""What a fitted strategy reads where the others train an encoder: the input itself, as far as it is a row of numbers.

Without it, no control could stand beside strategies whose encoders are trained. A vector is read as it is; of a series the
mean over its valid steps and its last one. Pictures and texts have no such form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusionbench.contract.batch import InputSpec
from fusionbench.contract.learners import Encoder


def plain_width(spec: InputSpec, encoder: Encoder) -> int:
    """Return how many numbers :class:`PlainInput` makes of a row; 0 where it cannot read what the encoder reads."""
    if type(encoder).prepare is not Encoder.prepare:
        return 0  # it reads something of its own making
    return {"vector": 1, "series": 2}.get(spec.kind, 0) * (spec.shape[-1] if spec.shape else 0)


class PlainInput(Encoder):
    """Vectors as they are; of series the mean over the valid steps, and the last of them. Nothing is learned.

    Args:
        spec: A vector or series modality.

    Shapes:
        Reads float ``[batch, width]`` or ``[batch, steps, channels]``; returns ``[batch, width]`` or ``[batch, 2 channels]``.
    """

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.series = spec.kind == "series"
        self.output_dim = spec.shape[-1] * (2 if self.series else 1)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Read; every row has at least one valid step."""
        if not self.series:
            return inputs
        batch, steps, channels = inputs.shape
        if lengths is None:
            lengths = torch.full((batch,), steps, device=inputs.device)
        valid = (torch.arange(steps, device=inputs.device) < lengths[:, None])[..., None]
        mean = torch.where(valid, inputs, 0).sum(dim=1) / lengths[:, None].to(inputs.dtype)
        last = inputs.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, channels))[:, 0]
        return torch.cat([mean, last], dim=1)
