"""Sum fusion: add the embeddings, or add each modality's logits.

Paper: ``embedding`` is the baseline of Wu et al. 2025 (OmniFuse); ``logit`` that of the OGM-GE and PMR code.
Differs: modalities that are absent are left out of the sum instead of being encoded from zeros.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, hookimpl
from fusionbench.hookspecs import Register


class Sum(FusionStrategy):
    """``z = W sum_m s_m u_m + b`` (embedding) or ``z = sum_m s_m (W_m u_m + b_m)`` (logit).

    Args:
        spec: Widths, outputs and target kind; ``embedding`` needs one common width.
        variant: What is added.
        rescale: Multiply by modalities / usable modalities, so that the scale does not fall with absence.

    Shapes:
        Returns logits ``[batch, num_outputs]``; ``aux["unimodal.<name>"]`` holds each modality's summand.
    """

    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wu et al. 2025, OmniFuse, Information Fusion 117:102890 (baseline 'Sum')",
        equations="z = W sum_m u_m + b",
        differs="absent modalities are left out of the sum; rescaling is offered",
    )

    def __init__(
        self, spec: FusionSpec, variant: Literal["embedding", "logit"] = "embedding", rescale: bool = False
    ) -> None:
        super().__init__(spec)
        if variant not in ("embedding", "logit"):
            raise ValueError(f"variant must be 'embedding' or 'logit', found {variant!r}")
        self.variant = variant
        self.rescale = rescale
        shared = variant == "embedding"
        self.head = nn.Linear(spec.width, spec.num_outputs) if shared else None
        self.heads = (
            None if shared else nn.ModuleDict({n: nn.Linear(d, spec.num_outputs) for n, d in spec.dims.items()})
        )

    def forward(self, batch: Batch) -> FusionOutput:
        """Add what is usable."""
        usable = batch.usable_mask()
        scale = usable.shape[1] / usable.sum(dim=1, keepdim=True).clamp_min(1) if self.rescale else 1.0
        if self.head is not None:
            unimodal = {n: batch.completed(n) @ self.head.weight.T for n in batch.names}
            return FusionOutput(
                self.head(scale * torch.stack([batch.completed(n) for n in batch.names]).sum(0)),
                {f"unimodal.{n}": z + self.head.bias / len(unimodal) for n, z in unimodal.items()},
            )
        assert self.heads is not None
        summands = {n: torch.where(batch.usable(n)[:, None], self.heads[n](batch.completed(n)), 0) for n in batch.names}
        logits: Tensor = scale * torch.stack(list(summands.values())).sum(dim=0)
        return FusionOutput(logits, {f"unimodal.{n}": z for n, z in summands.items()})


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``sum``."""
    register("sum", Sum)
