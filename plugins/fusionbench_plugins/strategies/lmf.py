"""LMF: the outer product of all embeddings, contracted with a weight tensor of low rank.

Paper: Liu, Z. et al. 2018, Efficient Low-rank Multimodal Fusion with Modality-Specific Factors, ACL.
Differs: any number of modalities; the factor of an absent one is 1, which leaves it out of the product; the
weights of the constant start at 1, so that training begins close to a sum of the modalities.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionSpec, FusionStrategy, Provenance, Trial, hookimpl
from fusionbench.hookspecs import Register


class LMF(FusionStrategy):
    """``z = sum_r w_r prod_m ([1; u_m] F_m,r) + b``.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        rank: Number of terms.
        absent: What stands in for an absent modality. ``identity``: a factor of 1; ``constant``: what a zero embedding
            gives, the row of its factor that belongs to the constant.

    Shapes:
        Returns logits ``[batch, num_outputs]``.
    """

    uses_presence: ClassVar[bool] = True
    title: ClassVar[str] = "LMF"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency 2018, Efficient Low-rank Multimodal Fusion with "
        "Modality-Specific Factors, ACL",
        equations="Eqs. 5-8",
        link="https://arxiv.org/abs/1806.00064",
        code="https://github.com/Justin1904/Low-rank-Multimodal-Fusion (MIT); not used",
        differs="absent modalities leave the product; fuses straight into the logits; the constant's weights start at 1",
    )
    owns_depth: ClassVar[str | None] = "the product of low-rank factors is the logits; no head stands behind it"

    def __init__(self, spec: FusionSpec, rank: int = 4, absent: Literal["identity", "constant"] = "identity") -> None:
        super().__init__(spec)
        if rank < 1:
            raise ValueError(f"rank must be 1 or more, found {rank}")
        self.absent = absent
        # [rank, 1 + width, outputs]; row 0 belongs to the constant
        self.factors = nn.ParameterDict({n: _factor_of(rank, d, spec.num_outputs) for n, d in spec.dims.items()})
        self.rank_weights = nn.Parameter(torch.randn(rank) * (2 / (rank + 1)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(spec.num_outputs))

    def start_at(self, logits: Tensor) -> None:
        """Begin at the prevalence: the factors of embeddings that are zero are 1, so that the ranks add up to their weights."""
        self.bias.copy_(logits - self.rank_weights.sum())

    def forward(self, batch: Batch) -> Tensor:
        """Multiply the modalities' factors, then add up the ranks."""
        # a chain of products: the gradient of Tensor.prod looks for zeros, which breaks stacking
        product = functools.reduce(torch.mul, [self._factor(batch, name) for name in self.spec.names])
        logits: Tensor = (self.rank_weights[:, None, None] * product).sum(dim=0) + self.bias
        return logits

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Search the ranks of the paper's grid."""
        return {"rank": trial.suggest_categorical("rank", [1, 4, 8, 16])}

    def _factor(self, batch: Batch, name: str) -> Tensor:
        """``[1; u] F_r`` for every rank: ``[rank, batch, outputs]``."""
        constant, weights = self.factors[name][:, :1], self.factors[name][:, 1:]
        factor: Tensor = constant + batch.completed(name) @ weights
        if self.absent == "constant":
            return factor
        shown: Tensor = torch.where(batch.usable(name)[:, None], factor, 1.0)
        return shown


def _factor_of(rank: int, width: int, num_outputs: int) -> Tensor:
    """One matrix per rank, ``[rank, 1 + width, outputs]``: Xavier-normal below a row of ones."""
    weights = torch.randn(rank, width, num_outputs) * (2 / (width + num_outputs)) ** 0.5
    # with a small constant row every product starts near zero, and no factor hears from the loss
    return torch.cat([torch.ones(rank, 1, num_outputs), weights], dim=1)


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``lmf``."""
    register("lmf", LMF)
