"""Summary statistics of a series: level, range, end and trend of every channel. No weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from fusionbench import Encoder, InputSpec, Provenance, hookimpl
from fusionbench.hookspecs import Register


class SeriesSummary(Encoder):
    """Mean of every channel; minimum, maximum, last value and slope of those that are measurements.

    The mean of a 0/1 channel is a share: of steps in a category, or of steps at which something was measured. The other
    four say nothing more about it, so ``measurements`` keeps the embedding narrow where most channels are of that kind.

    Args:
        spec: A series modality, shape ``(steps, channels)``.
        measurements: Positions of the channels that are measurements. None: those that the modality marks to be
            standardised; all where it does not say.

    Shapes:
        Reads float ``[batch, steps, channels]``, returns float ``[batch, channels + 4 * measurements]``: all means,
        then minima, maxima, last values, and least-squares slopes per step (0 for a single step).
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"series"})
    provenance: ClassVar[Provenance | None] = Provenance(paper="common practice: summary statistics of a series")
    measurements: Tensor

    def __init__(self, spec: InputSpec, measurements: Sequence[int] | None = None) -> None:
        super().__init__()
        _, channels = spec.shape
        if measurements is None:
            marked = spec.standardise or (True,) * channels
            measurements = [c for c in range(channels) if marked[c]]
        chosen = [int(c) for c in measurements]
        unknown = [c for c in chosen if not 0 <= c < channels]
        if unknown:
            raise ValueError(f"measurements must be channels from 0 to {channels - 1}, found {unknown}")
        self.register_buffer("measurements", torch.tensor(chosen, dtype=torch.int64))
        self.frozen = True
        self.output_dim = channels + 4 * len(chosen)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Summarise the valid steps; every row has at least one."""
        batch, steps, _ = inputs.shape
        if lengths is None:
            lengths = torch.full((batch,), steps, device=inputs.device)
        time = torch.arange(steps, device=inputs.device)
        valid = (time < lengths[:, None])[..., None]
        count = lengths[:, None].to(inputs.dtype)
        mean = torch.where(valid, inputs, 0).sum(dim=1) / count
        x = inputs[..., self.measurements]
        low = torch.where(valid, x, torch.inf).amin(dim=1)
        high = torch.where(valid, x, -torch.inf).amax(dim=1)
        last = x.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, x.shape[2])).squeeze(1)
        since = torch.where(valid, time[None, :, None] - (count[..., None] - 1) / 2, 0)
        # centred values: vitals are far from 0, and their trends are small
        centred = torch.where(valid, x - mean[:, None, self.measurements], 0)
        slope = (since * centred).sum(dim=1) / since.square().sum(dim=1).clamp(min=1e-6)
        return torch.cat([mean, low, high, last, slope], dim=1)


@hookimpl
def register_encoders(register: Register) -> None:
    """Register ``series_summary``."""
    register("series_summary", SeriesSummary)
