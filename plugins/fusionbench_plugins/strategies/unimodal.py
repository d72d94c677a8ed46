"""Unimodal baseline: predict from one modality and leave the others alone.

Paper: the baseline that every fusion has to beat.
Differs: rows without the modality do not train it and are given the training prevalence when they are scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, TrainingClock, hookimpl
from fusionbench.heads import head, logits_of_states, one_hot_states
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean, row_losses
from fusionbench.types import Predict


class Unimodal(FusionStrategy):
    """``z = W u + b`` of one modality; the training prevalence where it is not usable.

    Args:
        spec: Widths, outputs and target kind.
        modality: The modality that is read.

    Attributes:
        prior: Float ``[num_outputs]``: logits of the training prevalence; zero before the first statistics.

    Shapes:
        Returns logits ``[batch, num_outputs]``; ``aux["unimodal.<modality>"]`` holds the head's logits.
    """

    uses_presence: ClassVar[bool] = True
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Baseline; one encoder and one head",
        equations="z = W u + b",
        differs="rows without the modality are left out of the loss and predicted by the training prevalence",
    )
    prior: Tensor

    def __init__(self, spec: FusionSpec, modality: str) -> None:
        super().__init__(spec)
        if modality not in spec.dims:
            raise ValueError(f"modality must be one of {', '.join(spec.names)}, found {modality!r}")
        self.modality = modality
        self.reads = (modality,)
        self.head = head(spec, spec.dims[modality])
        self.register_buffer("prior", torch.zeros(spec.num_outputs))

    def forward(self, batch: Batch) -> FusionOutput:
        """Predict from the one modality."""
        logits: Tensor = self.head(batch.completed(self.modality))
        prediction = torch.where(batch.usable(self.modality).unsqueeze(-1), logits, self.prior)
        return FusionOutput(prediction, {f"unimodal.{self.modality}": logits})

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the mean task loss over the rows where the modality is usable."""
        return masked_mean(row_losses(output.logits, target, self.spec.kind), batch.usable(self.modality))

    def head_losses(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """Return the one head's row losses; rows without the modality do not count."""
        losses = row_losses(output.logits, target, self.spec.kind)
        return {"joint": losses, "joint.rows": batch.usable(self.modality).to(losses.dtype)}

    def modality_logits(self, output: FusionOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Return the head's logits."""
        return {self.modality: output.aux[f"unimodal.{self.modality}"]}

    def statistics(self, output: FusionOutput, batch: Batch, target: Tensor, predict: Predict) -> Mapping[str, Tensor]:
        """Count the rows in each state: ``[classes]``, else ``[outputs, 2]``."""
        states = one_hot_states(target, self.spec.num_outputs, self.spec.kind)
        return {"states": states.sum(dim=0).to(self.prior.dtype)}

    def update(self, statistics: Mapping[str, Tensor], clock: TrainingClock) -> Mapping[str, Tensor]:
        """Turn counts into the logits of the prevalence; a state never seen counts as half a row."""
        return {"prior": logits_of_states(statistics["states"].clamp_min(0.5).log(), self.spec.kind)}


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``unimodal``."""
    register("unimodal", Unimodal)
