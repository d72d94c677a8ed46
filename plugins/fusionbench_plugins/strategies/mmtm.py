"""MMTM fusion: a joint squeeze, one excitation per modality, gated embeddings side by side.

Paper: Vaezi Joze et al. 2020, MMTM: Multimodal Transfer Module for CNN Fusion, CVPR.
Differs: one module on the pooled embeddings instead of several between convolution stages; one joint head and
one loss instead of a head per branch whose logits are averaged; plain sigmoid gates, as in the official code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionSpec, FusionStrategy, Provenance, Trial, hookimpl
from fusionbench.heads import head
from fusionbench.hookspecs import Register


class TransferModule(nn.Module):
    """Gate each modality's channels by a joint code of all modalities.

    Args:
        channels: Number of channels by modality.
        reduction: The joint code has int(2 * total channels / reduction) units, at least one.

    Shapes:
        Takes and returns ``[batch, channels, ...]`` by modality; further axes (space, time) are averaged in
        the squeeze and share their channel's gate.
    """

    def __init__(self, channels: Mapping[str, int], reduction: int) -> None:
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be 1 or more, found {reduction}")
        total = sum(channels.values())
        hidden = max(1, 2 * total // reduction)
        self.squeeze = nn.Linear(total, hidden)
        self.excite = nn.ModuleDict({name: nn.Linear(hidden, width) for name, width in channels.items()})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the gated features."""
        pooled = [features[name].reshape(*features[name].shape[:2], -1).mean(-1) for name in self.excite]
        code = torch.relu(self.squeeze(torch.cat(pooled, dim=-1)))
        gates = {name: torch.sigmoid(layer(code)) for name, layer in self.excite.items()}
        return {name: _broadcast(gate, features[name]) * features[name] for name, gate in gates.items()}


def _broadcast(gate: Tensor, like: Tensor) -> Tensor:
    """Append axes of length one to ``gate`` until it has as many as ``like``."""
    return gate.reshape(*gate.shape, *[1] * (like.ndim - gate.ndim))


class MMTM(FusionStrategy):
    """``z = W [g_1 * u_1; ...; g_M * u_M] + b`` with ``g_m = sigmoid(E_m relu(S [u_1; ...; u_M]))``.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        reduction: The joint code has int(2 * total width / reduction) units, at least one.

    Shapes:
        Returns logits ``[batch, num_outputs]``.
    """

    title: ClassVar[str] = "MMTM"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Vaezi Joze, Shaban, Iuzzolino, Koishida 2020, MMTM: Multimodal Transfer Module for CNN Fusion, CVPR",
        equations="Eqs. 1-4",
        link="https://arxiv.org/abs/1911.08670",
        code="https://github.com/haamoon/mmtm (MIT); only its numbers are used, as test vectors",
        differs="one module on pooled embeddings; any number of modalities; one joint head; no factor 2 on the gates",
    )

    def __init__(self, spec: FusionSpec, reduction: int = 4) -> None:
        super().__init__(spec)
        self.transfer = TransferModule(spec.dims, reduction)
        self.head = head(spec, sum(spec.dims.values()))

    def forward(self, batch: Batch) -> Tensor:
        """Gate and classify."""
        gated = self.transfer({name: batch.completed(name) for name in self.spec.names})
        logits: Tensor = self.head(torch.cat(list(gated.values()), dim=-1))
        return logits

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Search the bottleneck around the paper's choice."""
        return {"reduction": trial.suggest_categorical("reduction", [2, 4, 8])}


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``mmtm``."""
    register("mmtm", MMTM)
