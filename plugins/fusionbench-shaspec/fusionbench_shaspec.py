"""ShaSpec: what modalities share stands in for those that are absent.

Paper: Wang et al. 2023, Multi-Modal Learning with Missing Modality via Shared-Specific Feature Modelling, CVPR.
``Provenance.differs`` says what is different.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, Trial, hookimpl
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean, row_losses


class ShaSpec(FusionStrategy):
    """``f_m = r_m + P [r_m; s_m]`` with r_m shared and s_m specific; the mean of the others' r where m is absent.

    Args:
        spec: Widths, outputs and target kind; needs one common width.
        hidden: Width of shared and specific features.
        alignment: Weight of the L1 distance between the shared features of a row.
        domain: Weight of the classification of specific features by modality.

    Shapes:
        Returns logits ``[batch, num_outputs]``.
    """

    uses_presence = True
    provenance = Provenance(
        paper="Wang, Chen, Ma, Avery, Hull, Carneiro 2023, Shared-Specific Feature Modelling, CVPR",
        link="https://arxiv.org/abs/2307.14126",
        code="https://github.com/billhhh/ShaSpec; not used",
        differs="works on embeddings, where the paper's shared encoder reads raw inputs of one shape; absence row by "
        "row, where the code hides the same modalities for a whole batch; alignment over all pairs that a row has, "
        "where the code takes consecutive ones, so that the order of modalities decides nothing",
    )
    alignment: Tensor
    domain: Tensor

    def __init__(self, spec: FusionSpec, hidden: int = 64, alignment: float = 0.1, domain: float = 0.02) -> None:
        super().__init__(spec)
        self.hyper("alignment", alignment)
        self.hyper("domain", domain)
        self.shared = nn.Linear(spec.width, hidden)
        self.specific = nn.ModuleDict({n: nn.Linear(spec.width, hidden) for n in spec.names})
        self.project = nn.Linear(2 * hidden, hidden)
        # one layer for each modality, added up or side by side: the order of modalities decides nothing
        self.domains = nn.ModuleDict({n: nn.Linear(hidden, 1) for n in spec.names})
        self.heads = nn.ModuleDict({n: nn.Linear(hidden, spec.num_outputs) for n in spec.names})

    def forward(self, batch: Batch) -> FusionOutput:
        """Fuse, row by row."""
        usable = batch.usable_mask().T[..., None]  # [M, B, 1]
        shared = torch.stack([torch.relu(self.shared(batch.completed(n))) for n in self.spec.names])
        specific = torch.stack([torch.relu(self.specific[n](batch.completed(n))) for n in self.spec.names])
        stand_in = torch.where(usable, shared, 0).sum(dim=0) / usable.sum(dim=0).clamp_min(1)
        fused = torch.where(usable, shared + self.project(torch.cat([shared, specific], dim=-1)), stand_in)
        logits = torch.stack([h(f) for h, f in zip(self.heads.values(), fused, strict=True)]).sum(dim=0)
        return FusionOutput(logits, {"shared": shared, "specific": specific, "usable": usable[..., 0]})

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Task loss, alignment of what is shared, and recognition of what is specific."""
        aux = output.aux
        task = row_losses(output.logits, target, self.spec.kind).mean()
        alignment = self.alignment * alignment_loss(aux["shared"], aux["usable"])
        return task + alignment + self.domain * self.domain_loss(aux["specific"], aux["usable"])

    def domain_loss(self, specific: Tensor, usable: Tensor) -> Tensor:
        """Cross-entropy of naming the modality of a specific feature, over features that are there."""
        logits = torch.cat([layer(specific) for layer in self.domains.values()], dim=-1)  # [M, B, M]
        truth = torch.arange(len(specific), device=specific.device)[:, None].expand(usable.shape)
        losses = cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
        return masked_mean(losses, usable.flatten())

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Search both weights around the paper's."""
        return {
            "alignment": trial.suggest_float("alignment", 0.01, 1.0, log=True),
            "domain": trial.suggest_float("domain", 0.002, 0.2, log=True),
        }


def alignment_loss(shared: Tensor, usable: Tensor) -> Tensor:
    """Mean over pairs of modalities of the mean L1 distance over rows that have both; zero where no row has.

    Args:
        shared: Float ``[modalities, batch, hidden]``.
        usable: Bool ``[modalities, batch]``.
    """
    pairs = list(combinations(range(len(shared)), 2))
    distances = [masked_mean((shared[i] - shared[j]).abs().mean(dim=-1), usable[i] & usable[j]) for i, j in pairs]
    return torch.stack(distances).mean() if distances else shared.new_zeros(())


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``shaspec``."""
    register("shaspec", ShaSpec)
