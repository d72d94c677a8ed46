"""SE-Gate fusion: squeeze the embeddings, let a bottleneck gate them, classify.

Paper: Hu et al. 2018, Squeeze-and-Excitation Networks, CVPR; named as a multimodal baseline by Wang et al. 2020
(Gradient-Blending) and Wu et al. 2025 (OmniFuse), neither of which gives a formula.
Differs: embeddings are already pooled, so the squeeze over space is the identity (``channel``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, Trial, hookimpl
from fusionbench.heads import head
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean


class SEGate(FusionStrategy):
    """``z = W (g * c) + b`` with ``g = sigmoid(W2 relu(W1 squeeze + b1) + b2)`` and c the concatenation.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        granularity: What has a gate. ``channel``: each channel of each embedding, the squeeze is the concatenation
            itself; ``modality``: each modality, the squeeze is each embedding's mean.
        reduction: The bottleneck has (total width / reduction) units, at least one; ``channel`` only.

    Shapes:
        Returns logits ``[batch, num_outputs]``.
    """

    title: ClassVar[str] = "SE-Gate"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Hu, Shen, Sun 2018, Squeeze-and-Excitation Networks, CVPR",
        equations="Eqs. 2-4, on pooled embeddings",
        link="https://arxiv.org/abs/1709.01507",
        code="none of this use",
        differs="gates a concatenation of modalities; reduction 4 instead of 16, since the vectors are short",
    )

    def __init__(
        self, spec: FusionSpec, granularity: Literal["channel", "modality"] = "channel", reduction: int = 4
    ) -> None:
        super().__init__(spec)
        if reduction < 1:
            raise ValueError(f"reduction must be 1 or more, found {reduction}")
        self.granularity = granularity
        total = sum(spec.dims.values())
        squeezed = total if granularity == "channel" else len(spec.names)
        hidden = max(1, total // reduction) if granularity == "channel" else squeezed
        self.excitation = nn.Sequential(
            nn.Linear(squeezed, hidden), nn.ReLU(), nn.Linear(hidden, squeezed), nn.Sigmoid()
        )
        self.head = head(spec, total)

    def gated(self, batch: Batch) -> Tensor:
        """Return the gated concatenation, ``[batch, total width]``."""
        # no need to zero the gate of an absent modality: it multiplies exact zeros
        return torch.cat([gate * batch.completed(name) for name, gate in self.gates(batch).items()], dim=-1)

    def gates(self, batch: Batch) -> dict[str, Tensor]:
        """Return the gates of each modality, ``[batch, its width]``, or ``[batch, 1]`` with one gate per modality."""
        blocks = [batch.completed(name) for name in self.spec.names]
        if self.granularity == "channel":
            found = self.excitation(torch.cat(blocks, dim=-1)).split(list(self.spec.dims.values()), dim=-1)
        else:
            found = self.excitation(torch.stack([block.mean(dim=-1) for block in blocks], dim=-1)).split(1, dim=-1)
        return dict(zip(self.spec.names, found, strict=True))

    def traces(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """Mean gate of every modality, over the rows where it is usable."""
        return {f"gate.{n}": masked_mean(g.mean(dim=-1), batch.usable(n)) for n, g in self.gates(batch).items()}

    def forward(self, batch: Batch) -> Tensor:
        """Gate and classify."""
        logits: Tensor = self.head(self.gated(batch))
        return logits

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Search the reductions that the squeeze-and-excitation paper compares, and 4."""
        return {"reduction": trial.suggest_categorical("reduction", [2, 4, 8, 16, 32])}


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``se_gate``."""
    register("se_gate", SEGate)
