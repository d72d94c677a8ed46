"""MMANet's margin-aware distillation: rows should resemble each other as a teacher with every modality sees it.

Paper: Wei, Luo, Luo 2023, MMANet: Margin-Aware Distillation and Modality-Aware Regularization for Incomplete Multimodal
Learning, CVPR. The paper's other half is the built-in regulariser ``tla``. ``Provenance.differs`` says what is different.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionOutput, FusionSpec, Provenance, Regulariser, Trial, hookimpl
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean, row_losses, state_log_probabilities
from fusionbench.types import CorruptionPolicy


class MarginAwareDistillation(Regulariser):
    """``weight * sum_i h_i mean_j (S_ij - T_ij)^2`` over rows that the teacher sees whole.

    S and T hold row-normalised inner products of the rows' outputs, of the strategy and of the teacher; h_i is the
    teacher's entropy for row i, normalised over the batch.

    Args:
        spec: Widths, outputs and target kind.
        weight: Weight of the distillation.
        hidden: Hidden units of the teacher.
        corruption: Hiding policy in training; without any, the teacher sees no more than the strategy.
    """

    provenance = Provenance(
        paper="Wei, Luo, Luo 2023, MMANet, CVPR",
        link="https://arxiv.org/abs/2304.08028",
        code="https://github.com/shicaiwei123/MMANet-CVPR2023; not used",
        differs="the teacher is trained beside the strategy, on its embeddings: a regulariser has no stage of its own "
        "to train one first, and no encoders; outputs are compared, since strategies do not show the features before "
        "their head; rows that lack a modality take no part",
    )
    weight: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        weight: float = 30.0,
        hidden: int = 64,
        corruption: CorruptionPolicy = "uniform_subset",
    ) -> None:
        super().__init__(spec)
        self.corruption = corruption
        self.hyper("weight", weight)
        width = sum(spec.dims.values())
        self.teacher = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, spec.num_outputs))

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Train the teacher, and pull the strategy towards it."""
        features, whole = self.everything(batch)
        taught = self.teacher(features)
        own = masked_mean(row_losses(taught, target, self.spec.kind), whole)
        return own + self.weight * self.distillation(output.logits, taught.detach(), whole)

    def everything(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """All true embeddings side by side, gradient-stopped, and the rows ``[batch]`` where none is missing."""
        known = {n: batch.available[n] & (batch.present[n] | ~batch.usable(n)) for n in self.spec.names}
        # what an imputer has filled is no longer the truth
        values = [torch.where(rows[:, None], batch.features[n].detach(), 0) for n, rows in known.items()]
        return torch.cat(values, dim=-1), torch.stack(list(known.values())).all(dim=0)

    def distillation(self, student: Tensor, teacher: Tensor, whole: Tensor) -> Tensor:
        """Mean squared difference of similarities, rows weighted by the teacher's uncertainty; 0 without rows."""
        differences = (similarities(student, whole) - similarities(teacher, whole)).square()
        rows = torch.where(whole, differences, 0).sum(dim=-1) / whole.sum().clamp_min(1)
        uncertain = torch.where(whole, entropy(teacher, self.spec), 0)
        return (rows * uncertain).sum() / uncertain.sum().clamp_min(torch.finfo(teacher.dtype).tiny)

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """The weight, around the paper's 30."""
        return {"weight": trial.suggest_float("weight", 1.0, 100.0, log=True)}


def similarities(outputs: Tensor, rows: Tensor) -> Tensor:
    """Inner products ``[batch, batch]`` between the given rows, each line divided by its length; zero elsewhere."""
    kept = torch.where(rows[:, None], outputs, 0)
    products = kept @ kept.T
    length = products.square().sum(dim=-1, keepdim=True)
    # the square root of an exact zero has no gradient
    return torch.where(length > 0, products * torch.where(length > 0, length, 1).rsqrt(), 0)


def entropy(logits: Tensor, spec: FusionSpec) -> Tensor:
    """Entropy of each row's prediction, ``[batch]``, averaged over labels."""
    log_p = state_log_probabilities(logits, spec.kind)
    states = -(log_p.exp() * log_p).sum(dim=-1)
    return states.reshape(len(states), -1).mean(dim=-1)


@hookimpl
def register_regularisers(register: Register) -> None:
    """Register ``mmanet``."""
    register("mmanet", MarginAwareDistillation)
