"""Late average: each modality predicts by itself, the usable predictions are averaged.

Paper: the decision-level baseline; averaged logits as in the code of Vaezi Joze et al. 2020 (MMTM).
Differs: the average runs over usable modalities only. The per-class weight search of the MedFuse code is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, hookimpl
from fusionbench.heads import logits_of_states, unimodal_aux, unimodal_heads, unimodal_logits, unimodal_losses
from fusionbench.hookspecs import Register
from fusionbench.targets import state_log_probabilities


class LateAverage(FusionStrategy):
    """Mean of the unimodal probabilities (or logits) over the usable modalities.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        average: What is averaged: ``probability`` or ``logit``.

    Shapes:
        Returns logits ``[batch, num_outputs]``; ``aux["unimodal.<name>"]`` holds each head's logits, which mean
        nothing in rows where the modality is not usable.
    """

    uses_presence: ClassVar[bool] = True
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Baseline; logit averaging as in Vaezi Joze et al. 2020, MMTM: Multimodal Transfer Module for CNN "
        "Fusion, CVPR",
        equations="p = sum_m s_m p_m / sum_m s_m; L = sum_m mean over usable rows of L_m",
        differs="averages over usable modalities; no weights between modalities",
    )

    def __init__(self, spec: FusionSpec, average: Literal["probability", "logit"] = "probability") -> None:
        super().__init__(spec)
        if average not in ("probability", "logit"):
            raise ValueError(f"average must be 'probability' or 'logit', found {average!r}")
        self.average = average
        self.heads = unimodal_heads(spec)

    def forward(self, batch: Batch) -> FusionOutput:
        """Predict from each modality and average."""
        unimodal = {name: head(batch.completed(name)) for name, head in self.heads.items()}
        votes = torch.stack(list(unimodal.values()))
        usable = torch.stack([batch.usable(name) for name in unimodal]).unsqueeze(-1)
        mean = self._mean_probability if self.average == "probability" else _mean
        return FusionOutput(mean(votes, usable), unimodal_aux(unimodal))

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the sum of the unimodal losses, each over the rows where its modality is usable."""
        losses = unimodal_losses(unimodal_logits(output.aux), batch, target, self.spec.kind)
        return torch.stack(list(losses.values())).sum()

    def modality_logits(self, output: FusionOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Return each head's logits."""
        return unimodal_logits(output.aux)

    def _mean_probability(self, votes: Tensor, usable: Tensor) -> Tensor:
        """Logits of the mean probability, ``[batch, outputs]``, summed in log space so that none saturates.

        The number of usable modalities is the same for every state of a row, so it drops out of the logits.
        """
        states = torch.stack([state_log_probabilities(vote, self.spec.kind) for vote in votes])
        shown = usable.reshape(*usable.shape[:2], *[1] * (states.ndim - 2))
        # finite, unlike -inf: a row without any modality must not give NaN gradients
        hidden = torch.finfo(states.dtype).min / 4
        return logits_of_states(torch.logsumexp(states.masked_fill(~shown, hidden), dim=0), self.spec.kind)


def _mean(votes: Tensor, usable: Tensor) -> Tensor:
    """Mean of ``votes`` ``[modalities, batch, outputs]`` over the usable ones; zero where there is none."""
    return torch.where(usable, votes, 0).sum(dim=0) / usable.sum(dim=0).clamp_min(1)


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``late_average``."""
    register("late_average", LateAverage)
