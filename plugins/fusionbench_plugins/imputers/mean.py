"""Mean filling: an absent modality becomes its mean embedding over the training rows.

Common practice. The mean of the embedding moves while the encoder
trains, so it is taken again after every epoch. Means within classes would need labels and are not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from fusionbench import Batch, FusionOutput, FusionSpec, Imputer, Provenance, TrainingClock, hookimpl
from fusionbench.hookspecs import Register
from fusionbench.types import Predict


class Mean(Imputer):
    """Fills absent rows with the mean over the training rows where the modality is present.

    A modality that no training row has is filled with zeros.

    Args:
        spec: Widths, outputs and target kind.

    Shapes:
        Buffers ``mean_<modality>``: float ``[dim]``, zeros until the first pass over the training rows.
    """

    provenance: ClassVar[Provenance | None] = Provenance(
        paper="common practice",
        equations="u_m = mean of u_m over training rows that have m",
        differs="refreshed after every epoch, because the encoders move",
    )

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__(spec)
        for name, dim in spec.dims.items():
            self.register_buffer(f"mean_{name}", torch.zeros(dim))

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with every absent row filled."""
        return batch.filled({name: getattr(self, f"mean_{name}") for name in batch.names})

    def statistics(self, output: FusionOutput, batch: Batch, target: Tensor, predict: Predict) -> Mapping[str, Tensor]:
        """Sums ``[dim]`` and counts ``[]`` over the rows where each modality is present."""
        sums = {f"sum_{name}": batch.observed(name).sum(dim=0) for name in batch.names}
        counts = {f"count_{name}": batch.present[name].sum() for name in batch.names}
        return {**sums, **counts}

    def update(self, statistics: Mapping[str, Tensor], clock: TrainingClock) -> Mapping[str, Tensor]:
        """Turn sums and counts into means."""
        names = self.spec.names
        return {f"mean_{n}": statistics[f"sum_{n}"] / statistics[f"count_{n}"].clamp_min(1) for n in names}


@hookimpl
def register_imputers(register: Register) -> None:
    """Register ``mean``."""
    register("mean", Mean)
