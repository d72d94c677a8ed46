"""Sum fusion: add the embeddings, or add each modality's logits.

Paper: ``embedding`` is the baseline of Wu et al. 2025 (OmniFuse); ``logit`` that of the OGM-GE and PMR code.
Differs: modalities that are absent are left out of the sum instead of being encoded from zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, hookimpl
from fusionbench.heads import head, unimodal_aux, unimodal_heads
from fusionbench.hookspecs import Register


class Sum(FusionStrategy):
    """``z = W sum_m s_m u_m + b`` (embedding) or ``z = sum_m s_m (W_m u_m + b_m)`` (logit).

    Args:
        spec: Widths, outputs and target kind; ``embedding`` needs one common width.
        variant: What is added. ``embedding``: the embeddings, under one shared head; ``logit``: each modality's logits,
            from a head of its own.
        rescale: Multiply by modalities / usable modalities, so that the scale does not fall with absence.

    Shapes:
        Returns logits ``[batch, num_outputs]``; ``aux["unimodal.<name>"]`` holds each modality's summand;
        ``embedding`` has summands where the head is linear.
    """

    uses_presence: ClassVar[bool] = True  # each modality's bias (logit) or the scale (rescale) goes with it
    title: ClassVar[str] = "Sum"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wu et al. 2025, OmniFuse, Information Fusion 117:102890 (baseline 'Sum')",
        equations="z = W sum_m u_m + b (embedding); z = sum_m (W_m u_m + b_m) (logit, Peng et al. 2022)",
        link="https://arxiv.org/abs/2203.15332",
        code="https://github.com/GeWu-Lab/OGM-GE_CVPR2022 (MIT; of variant logit; nothing copied)",
        differs="absent modalities are left out of the sum; rescaling is offered",
    )

    def __init__(
        self, spec: FusionSpec, variant: Literal["embedding", "logit"] = "embedding", rescale: bool = False
    ) -> None:
        super().__init__(spec)
        self.variant = variant
        self.rescale = rescale
        shared = variant == "embedding"
        self.head = head(spec, spec.width) if shared else None
        self.heads = None if shared else unimodal_heads(spec)

    def forward(self, batch: Batch) -> FusionOutput:
        """Add what is usable."""
        names = self.spec.names
        if self.head is not None:
            logits = self.head(self._total({n: batch.completed(n) for n in names}, batch))
            if not isinstance(self.head, nn.Linear):  # nothing adds up to its logits
                return FusionOutput(logits)
            share = self.head.bias / len(names)
            unimodal = {n: batch.completed(n) @ self.head.weight.T + share for n in names}
            return FusionOutput(logits, unimodal_aux(unimodal))
        assert self.heads is not None
        summands = {n: torch.where(batch.usable(n)[:, None], self.heads[n](batch.completed(n)), 0) for n in names}
        return FusionOutput(self._total(summands, batch), unimodal_aux(summands))

    def start_at(self, logits: Tensor) -> None:
        """Begin at the prevalence; logits that are added up take a share of it each."""
        super().start_at(logits if self.heads is None else logits / len(self.spec.names))

    def _total(self, summands: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Add up tensors ``[batch, ...]`` by modality, and rescale if asked to."""
        total = torch.stack(list(summands.values())).sum(dim=0)
        if not self.rescale:
            return total
        return total * len(summands) / batch.usable_mask().sum(dim=1, keepdim=True).clamp_min(1)


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``sum``."""
    register("sum", Sum)
