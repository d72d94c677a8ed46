"""Concat fusion: lay the embeddings side by side and classify.

Paper: the baseline of every paper compared here; the linear head is that of the OGM-GE, PMR and MedFuse code.
Differs: absent modalities are exact zeros after the encoder, not encodings of zero inputs.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, hookimpl
from fusionbench.heads import head, unimodal_aux
from fusionbench.hookspecs import Register


class Concat(FusionStrategy):
    """``z = W [u_1; ...; u_M] + b``, or a small network on the same vector.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        head_hidden: Units of one hidden layer in the head; 0: a linear head; None: the head of the benchmark.
        mask_indicator: Append one 0/1 column per modality that says who is usable.

    Shapes:
        Returns logits ``[batch, num_outputs]``. With a linear head ``aux["unimodal.<name>"]`` holds each
        modality's additive share ``W_m u_m + b / M``; the shares add up to the logits.
    """

    uses_presence: ClassVar[bool] = True  # with mask_indicator
    title: ClassVar[str] = "Concat"
    plain: ClassVar[bool] = True
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Baseline; linear head as in Peng et al. 2022, Balanced Multimodal Learning via On-the-fly Gradient "
        "Modulation, CVPR",
        equations="z = W [u_1; ...; u_M] + b; z_m = W_m u_m + b / M",
        link="https://arxiv.org/abs/2203.15332",
        code="https://github.com/GeWu-Lab/OGM-GE_CVPR2022 (MIT; the head is a few lines of it, nothing copied)",
        differs="absent modalities are zero vectors; a hidden layer and presence columns are offered",
    )

    def __init__(self, spec: FusionSpec, head_hidden: int | None = None, mask_indicator: bool = False) -> None:
        super().__init__(spec)
        self.mask_indicator = mask_indicator
        extra = len(spec.names) if mask_indicator else 0
        self.head = head(spec, sum(spec.dims.values()) + extra, hidden=head_hidden)

    def forward(self, batch: Batch) -> FusionOutput:
        """Concatenate and classify."""
        blocks = [batch.completed(name) for name in self.spec.names]
        if self.mask_indicator:
            blocks += [batch.usable(name).unsqueeze(-1).to(blocks[0].dtype) for name in self.spec.names]
        logits: Tensor = self.head(torch.cat(blocks, dim=-1))
        return FusionOutput(logits, unimodal_aux(self._shares(blocks)))

    def _shares(self, blocks: list[Tensor]) -> dict[str, Tensor]:
        """Additive shares of a linear head; block i and its presence column belong to modality i modulo M."""
        if not isinstance(self.head, nn.Linear):
            return {}
        weights = torch.split(self.head.weight, [block.shape[-1] for block in blocks], dim=1)
        products = [block @ weight.T for block, weight in zip(blocks, weights, strict=True)]
        names = self.spec.names
        bias = self.head.bias / len(names)
        return {name: sum(products[i :: len(names)], start=bias) for i, name in enumerate(names)}


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``concat``."""
    register("concat", Concat)
