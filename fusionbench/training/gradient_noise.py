"""Noise for strategies that add some to gradients: drawn ahead, in threads, from the loop's generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionbench.training.devices.threads import pool


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
        threads, models = torch.get_num_threads(), range(len(generators))
        # a generator fills its numbers in one thread; models do not wait for each other
        list(map(fill, models) if threads == 1 else pool(threads).map(fill, models))
        self._send()

    def rest(self) -> None:
        """Give zeros until the next draw."""
        for drawn in self._drawn.values():
            drawn.zero_()
        self._send()

    def _send(self) -> None:
        for name, noise in self._noise.items():
            if noise is not self._drawn[name]:
                noise.copy_(self._drawn[name], non_blocking=True)
        if self._copied is not None:
            self._copied.record(torch.cuda.current_stream(self._cuda))

    def like(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the noise of these gradients, in their precision; valid until the next draw."""
        return {n: self._noise[n].to(g.dtype) for n, g in gradients.items() if n in self._noise}
