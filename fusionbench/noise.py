"""Randomness as an input: modules whose draws come from the training loop.

A stacked run equals the same run alone only when both see the same random numbers. So nothing here
draws for itself: before each step the loop asks every :class:`NoiseSource` for a fresh value and puts
it in the module's ``noise`` buffer. Outside the loop the buffer is empty and the module is the identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fusionbench.training.threads import pool


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


class GradientNoise:
    """Standard normal noise shaped like gradients, for a population; its tensors keep their place.

    Args:
        parameters: By name, ``[models, ...]``; empty: nobody wants noise.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        # drawn in float32 on the CPU, whatever the device and the precision: the numbers are the same everywhere
        cuda = next((p.device for p in parameters.values() if p.device.type == "cuda"), None)
        self._drawn = {n: torch.empty(p.shape, pin_memory=cuda is not None) for n, p in parameters.items()}
        self._cuda, self._copied = cuda, None if cuda is None else torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._noise = {n: self._drawn[n].to(p.device) for n, p in parameters.items()}  # on a CPU, the same tensors

    def draw(self, generators: Sequence[torch.Generator]) -> None:
        """Draw the noise of one step, each model's from its own generator."""

        def fill(model: int) -> None:
            for drawn in self._drawn.values():
                drawn[model].normal_(generator=generators[model])

        if not self._drawn:
            return
        if self._copied is not None:
            self._copied.synchronize()  # the numbers of the step before are on the device
        # a generator fills its numbers in one thread; models do not wait for each other
        list(pool(torch.get_num_threads()).map(fill, range(len(generators))))
        for name, noise in self._noise.items():
            if noise is not self._drawn[name]:
                noise.copy_(self._drawn[name], non_blocking=True)
        if self._copied is not None:
            self._copied.record(torch.cuda.current_stream(self._cuda))

    def like(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the noise of these gradients, in their precision; valid until the next draw."""
        return {n: self._noise[n].to(g.dtype) for n, g in gradients.items()} if self._noise else {}
