"""TMC: each modality gives evidence, evidence is combined by Dempster's rule.

Paper: Han, Zhang, Fu, Zhou 2021, Trusted Multi-View Classification, ICLR.
Differs: absent modalities give no evidence, which is the neutral element of the rule; a binary target has two
states, a multi-label one has two per label; the rule is evaluated in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, TargetKind, TrainingClock, hookimpl
from fusionbench.heads import logits_of_states, one_hot_states, unimodal_heads
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean


def combine(evidence: Tensor) -> Tensor:
    """Combine opinions by the reduced Dempster rule.

    With belief e / S, uncertainty C / S and S = sum of (e + 1), the rule's normaliser cancels when the result is
    turned back into evidence: ``1 + e / C = prod_m (1 + e_m / C)``. So it needs no division by a small
    ``1 - conflict``, and the order of the modalities does not matter.

    Args:
        evidence: Float ``[modalities, ..., states]``, 0 or more; all zero = no opinion.

    Returns:
        ``[..., states]``.
    """
    states = evidence.shape[-1]
    return states * torch.expm1(torch.log1p(evidence / states).sum(dim=0))


def evidential_loss(evidence: Tensor, one_hot: Tensor, kl_weight: Tensor) -> Tensor:
    """Expected cross-entropy under the Dirichlet, plus a pull of the wrong states' evidence to zero.

    Args:
        evidence: Float ``[..., states]``.
        one_hot: 0/1 ``[..., states]``, 1 = the true state.
        kl_weight: 0-dim weight of the divergence.

    Returns:
        ``[...]``.
    """
    alpha = evidence + 1
    y = one_hot.to(alpha.dtype)
    cross_entropy = (y * (torch.digamma(alpha.sum(-1, keepdim=True)) - torch.digamma(alpha))).sum(-1)
    return cross_entropy + kl_weight * divergence_from_uniform(y + (1 - y) * alpha)


def divergence_from_uniform(alpha: Tensor) -> Tensor:
    """``KL(Dir(alpha) || Dir(1))`` over the last axis."""
    total = alpha.sum(-1)
    normaliser = torch.lgamma(total) - math.lgamma(alpha.shape[-1]) - torch.lgamma(alpha).sum(-1)
    return normaliser + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total).unsqueeze(-1))).sum(-1)


class TMC(FusionStrategy):
    """``1 + e / C = prod_m (1 + e_m / C)``, ``e_m = softplus(W_m u_m + b_m)``, prediction ``(e + 1) / S``.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        annealing: Over what the divergence's weight rises from 0 to 1: above 1 a number of epochs (the official
            code: 50), up to 1 a share of the planned epochs.

    Attributes:
        kl_weight: 0-dim buffer, the weight of the divergence in the current epoch.

    Shapes:
        Returns the log expected probabilities as logits ``[batch, num_outputs]``; ``aux["evidence"]`` is
        ``[modalities, batch, ..., states]``, ``aux["unimodal.<name>"]`` each modality's own prediction as logits.
    """

    uses_presence: ClassVar[bool] = True
    title: ClassVar[str] = "TMC"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Han, Zhang, Fu, Zhou 2021, Trusted Multi-View Classification, ICLR",
        equations="Eqs. 2-8; definition 3.2 in closed form",
        link="https://openreview.net/forum?id=OOsR8BzCnl5",
        code="https://github.com/hanmenghan/TMC (no licence found in it); only its numbers are used, as test vectors",
        differs="absent modalities give zero evidence and no loss; binary and multi-label targets",
    )
    annealing: Tensor
    kl_weight: Tensor

    def __init__(self, spec: FusionSpec, annealing: float = 50.0) -> None:
        super().__init__(spec)
        if annealing <= 0:
            raise ValueError(f"annealing must be positive, found {annealing}")
        self.states = spec.num_outputs if spec.kind is TargetKind.MULTICLASS else 2
        outputs = spec.num_outputs if spec.kind is TargetKind.MULTICLASS else 2 * spec.num_outputs
        self.heads = unimodal_heads(spec, outputs)
        self.hyper("annealing", annealing)
        self.register_buffer("kl_weight", torch.tensor(0.0))

    def start_at(self, logits: Tensor) -> None:
        """Begin without an opinion: evidence is what has been seen, and a prevalence is none of it."""

    def forward(self, batch: Batch) -> FusionOutput:
        """Collect evidence and combine it."""
        evidence = torch.stack([self._evidence(batch, name) for name in self.spec.names])
        aux = {f"unimodal.{name}": self._logits(e) for name, e in zip(self.spec.names, evidence, strict=True)}
        return FusionOutput(self._logits(combine(evidence)), {"evidence": evidence, **aux})

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the loss of the combination plus that of each modality over the rows where it is usable."""
        evidence = output.aux["evidence"]
        one_hot = one_hot_states(target, self.spec.num_outputs, self.spec.kind)
        views = evidential_loss(evidence, one_hot, self.kl_weight).reshape(*evidence.shape[:2], -1).mean(-1)
        joint = evidential_loss(combine(evidence), one_hot, self.kl_weight).mean()
        losses = [masked_mean(view, batch.usable(n)) for n, view in zip(self.spec.names, views, strict=True)]
        return joint + torch.stack(losses).sum()

    def update(self, statistics: Mapping[str, Tensor], clock: TrainingClock) -> Mapping[str, Tensor]:
        """Raise the divergence's weight for the epoch that comes next."""
        epochs = torch.where(self.annealing <= 1, self.annealing * clock.planned, self.annealing)
        return {"kl_weight": ((clock.completed + 1) / epochs).clamp(max=1)}

    def _evidence(self, batch: Batch, name: str) -> Tensor:
        """``[batch, classes]`` or ``[batch, outputs, 2]``, zero where the modality is not usable."""
        z: Tensor = self.heads[name](batch.completed(name))
        if self.spec.kind is not TargetKind.MULTICLASS:
            z = z.reshape(len(z), -1, 2)
        shown = batch.usable(name).reshape(-1, *[1] * (z.ndim - 1))
        return torch.where(shown, functional.softplus(z), 0)

    def _logits(self, evidence: Tensor) -> Tensor:
        return logits_of_states(torch.log1p(evidence), self.spec.kind)


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``tmc``."""
    register("tmc", TMC)
