"""Randomness as an input: modules whose draws come from the training loop.

A stacked run equals the same run alone only when both see the same random numbers. So nothing here
draws for itself: before each step the loop asks every :class:`NoiseSource` for a fresh value and puts
it in the module's ``noise`` buffer. Outside the loop the buffer is empty and the module is the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NoiseSource(nn.Module):
    """A module with a ``noise`` buffer that the loop fills before each training step."""

    noise: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("noise", torch.empty(0), persistent=False)

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Return the noise of one step for one run."""
        raise NotImplementedError


class Dropout(NoiseSource):
    """Inverted dropout on ``[batch, width]`` or, with one mask per row for all steps, ``[batch, steps, width]``.

    Args:
        width: Size of the last axis.
        p: Probability of zeroing an entry, 0 <= p < 1.
    """

    def __init__(self, width: int, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout probability must be in [0, 1), found {p}")
        self.width = width
        self.p = p

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Return ``[batch, width]``: 0 with probability p, else 1 / (1 - p)."""
        keep = torch.rand(batch_size, self.width, generator=generator) >= self.p
        return keep.float() / (1 - self.p)

    def forward(self, x: Tensor) -> Tensor:
        """Scale by the drawn mask; identity in evaluation mode or without a draw."""
        if not self.training or self.noise.numel() == 0:
            return x
        mask = self.noise if x.ndim == 2 else self.noise.unsqueeze(1)
        return x * mask.to(x.dtype)
