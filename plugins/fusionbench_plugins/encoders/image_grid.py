"""Mean brightness of an image on a coarse grid, and how much it varies. No weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionbench import Encoder, InputSpec, Provenance, hookimpl
from fusionbench.hookspecs import Register


class ImageGrid(Encoder):
    """Brightness of ``grid`` x ``grid`` cells, the contrast, and the mean step to the next pixel in x and y.

    Args:
        spec: An image modality, shape ``(height, width)``, each at least ``grid``.
        grid: Cells along each side.

    Shapes:
        Reads uint8 ``[batch, height, width]``, returns float ``[batch, grid * grid + 3]``; brightness 0 to 1.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image"})
    proposed_for: ClassVar[frozenset[str]] = frozenset({"image"})
    provenance: ClassVar[Provenance | None] = Provenance(paper="common practice: block averages of an image")

    def __init__(self, spec: InputSpec, grid: int = 8) -> None:
        super().__init__()
        height, width = spec.shape
        if not 1 <= grid <= min(height, width):
            raise ValueError(f"grid must be from 1 to the shorter side ({min(height, width)} pixels), found {grid}")
        self.grid = grid
        self.frozen = True
        self.output_dim = grid * grid + 3

    def extra_repr(self) -> str:
        """Settings that decide the output."""
        return f"grid={self.grid}"

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Average the pixels of each cell."""
        x = inputs.float() / 255
        cells = F.adaptive_avg_pool2d(x[:, None], self.grid).flatten(1)
        contrast = x.flatten(1).std(dim=1, correction=0)
        across = x.diff(dim=2).abs().mean(dim=(1, 2))
        down = x.diff(dim=1).abs().mean(dim=(1, 2))
        return torch.cat([cells, torch.stack([contrast, across, down], dim=1)], dim=1)


@hookimpl
def register_encoders(register: Register) -> None:
    """Register ``image_grid``."""
    register("image_grid", ImageGrid)
