"""Gradient-Blending: losses are weighted by how well each head generalises against how fast it overfits.

Paper: Wang, Tran, Feiszli 2020, What Makes Training Multi-Modal Classification Networks Hard?, CVPR.

Every modality has a head of its own beside the joint one, and ``loss = sum_k w_k L_k``. Each head is first trained
alone (with the encoders below it); from its losses on training and held-out rows, before and after::

    G_k = held_before - held_after                                        generalisation gained
    O_k = (held_after - train_after) - (held_before - train_before)       overfitting gained
    w_k = (G_k / O_k^2) / sum_j (G_j / O_j^2)

``offline`` does this once and starts again from the initial parameters; ``online`` before each super-epoch, from
the current ones. A probe of head k is the same network with the one-hot weights e_k, so that all probes are
replicas of one stage. ``offline`` costs M + 1 further trainings of ``estimate_epochs``, ``online`` M + 2 times a
training; the ledger shows it. ``online`` trains in one go: each super-epoch resumes the one before it, with its
optimiser, patience and best epoch; only the weights change.

O is a difference of means over few held-out rows. Where its sampling error exceeds it, 1 / O_k^2 is noise, and a head
gets nearly all the weight by chance. The variance of an estimate of O^2 from n rows is at least the variance of O, so
that ``overfitting="floored"`` takes the larger of the two: no head is credited with less overfitting than its
hold-out could show. The paper's rule stays the default. Buffer ``overfitting_ratio`` is |O_k| over its standard error;
below 2 or so, the weight of head k says little: hold out more rows, or use the floor.

A head whose weight was estimated at nearly 0 is not trained, and where that is the joint head, nothing predicts. From a
hold-out of a few dozen rows this happens by chance. So weights are drawn to equal ones by ``shrink``:
``(1 - shrink) w_k + shrink / (M + 1)``.

Differs: the paper does not say what happens where G is negative (here 0), or O is zero (a floor); rows that lack
a modality do not count for its head; held-out rows are taken from the training rows of the fold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, Stage, Trial, hookimpl
from fusionbench.heads import unimodal_aux, unimodal_heads, unimodal_logits, unimodal_losses
from fusionbench.hookspecs import Register
from fusionbench.targets import row_losses
from fusionbench.types import SplitLosses
from fusionbench_plugins.strategies.concat import Concat

NegativeGain = Literal["clip", "abs"]
Overfitting = Literal["measured", "floored"]
SMALLEST_SQUARED_OVERFITTING = 1e-8


class GBlend(FusionStrategy):
    """Unimodal heads and a joint concat head under one weighted loss.

    Args:
        spec: Widths, outputs and target kind.
        mode: Where the weights come from. ``offline``: estimated once, from the initial parameters; ``online``:
            estimated anew before each super-epoch; ``fixed``: given as option weights.
        weights: Weight of each head, modalities in order and the joint head last; scaled to sum to one.
        estimate_epochs: Length of the offline probes: a number of epochs, or a share of the benchmark's.
        super_epochs: Into how many super-epochs ``online`` divides the training (the paper's are 10 epochs long).
        holdout: Share of the training rows that the probes do not see.
        negative_gain: What a head that got worse is worth. ``clip``: weight 0; ``abs``: third-party code, which
            rewards it.
        overfitting: What O is. ``measured``: the paper's difference of means; ``floored``: at least its own standard
            error over the rows.
        shrink: How far estimated weights are drawn to equal ones, 0 to 1; 0: the paper's, which may leave a head untrained.
        predict: From which heads. ``joint``: the joint head; ``average``: the mean logits of the usable modalities'
            heads and the joint one.

    Shapes:
        Returns logits ``[batch, num_outputs]``; ``aux`` holds ``unimodal.<name>`` and ``joint``.
        Buffers ``head_weights`` and ``overfitting_ratio``: float ``[modalities + 1]``, the joint head last; ratios are
        zeros before anything was estimated.
    """

    uses_presence: ClassVar[bool] = True  # with predict="average"
    title: ClassVar[str] = "G-Blend"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wang, Tran, Feiszli 2020, What Makes Training Multi-Modal Classification Networks Hard?, CVPR",
        equations="the optimal blend in closed form, offline and online weight estimation",
        link="https://arxiv.org/abs/1905.12681",
        code="https://github.com/facebookresearch/VMZ (Apache-2.0; fixed weights only)",
        differs="negative gains are clipped and squared overfitting has a floor of 1e-8, both unspecified there; weights are "
        "drawn to equal ones by a tenth; missing rows "
        "left out; held-out rows from the training rows; probes of 0.4 of the epochs instead of a full training",
    )
    head_weights: Tensor
    overfitting_ratio: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        mode: Literal["offline", "online", "fixed"] = "offline",
        weights: Sequence[float] | None = None,
        estimate_epochs: float = 0.4,
        super_epochs: int = 4,
        holdout: float = 0.1,
        negative_gain: NegativeGain = "clip",
        predict: Literal["joint", "average"] = "joint",
        overfitting: Overfitting = "measured",
        shrink: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if (mode == "fixed") != (weights is not None):
            raise ValueError(f"weights belong to mode='fixed', and it needs them; found mode={mode!r}")
        if super_epochs < 1 or not 0 < holdout < 1:
            raise ValueError(f"need super_epochs >= 1 and 0 < holdout < 1; found {super_epochs} and {holdout}")
        self.mode, self.estimate_epochs, self.super_epochs = mode, estimate_epochs, super_epochs
        self.holdout, self.negative_gain, self.predict = holdout, negative_gain, predict
        if not 0 <= shrink <= 1:
            raise ValueError(f"shrink must be 0 to 1, found {shrink}")
        self.overfitting, self.shrink = overfitting, shrink
        self.heads = unimodal_heads(spec)
        self.joint = Concat(spec)
        heads = len(spec.names) + 1
        self.register_buffer("head_weights", _normalised([1.0] * heads if weights is None else weights, heads))
        self.register_buffer("overfitting_ratio", torch.zeros(heads))

    def start_at(self, logits: Tensor) -> None:
        """Begin at the prevalence, with every head."""
        super().start_at(logits)
        self.joint.start_at(logits)

    def forward(self, batch: Batch) -> FusionOutput:
        """Predict with every head."""
        unimodal = {n: head(batch.completed(n)) for n, head in self.heads.items()}
        joint: Tensor = self.joint(batch).logits
        aux = {**unimodal_aux(unimodal), "joint": joint}
        if self.predict == "joint":
            return FusionOutput(joint, aux)
        usable = torch.stack([batch.usable(n) for n in unimodal]).unsqueeze(-1)
        votes = torch.where(usable, torch.stack(list(unimodal.values())), 0)
        return FusionOutput((votes.sum(dim=0) + joint) / (usable.sum(dim=0) + 1), aux)

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the weighted sum of all heads' losses."""
        losses = list(unimodal_losses(unimodal_logits(output.aux), batch, target, self.spec.kind).values())
        losses.append(row_losses(output.aux["joint"], target, self.spec.kind).mean())
        return self.head_weights @ torch.stack(losses)

    def traces(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """The weight of every head, and how many standard errors its overfitting was estimated at."""
        heads = (*self.spec.names, "joint")
        weights = {f"head weight.{n}": w for n, w in zip(heads, self.head_weights, strict=True)}
        ratios = {f"overfitting ratio.{n}": r for n, r in zip(heads, self.overfitting_ratio, strict=True)}
        return weights if self.mode == "fixed" else weights | ratios

    def head_losses(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """Return the row losses of every head; a modality's head counts where the modality is usable."""
        losses: dict[str, Tensor] = {}
        for name, logits in {**unimodal_logits(output.aux), "joint": output.aux["joint"]}.items():
            losses[name] = row_losses(logits, target, self.spec.kind)
            counted = torch.ones_like(target.reshape(len(target), -1)[:, 0]) if name == "joint" else batch.usable(name)
            losses[f"{name}.rows"] = counted.to(logits.dtype)
        return losses

    def modality_logits(self, output: FusionOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Return the logits of each modality's head."""
        return unimodal_logits(output.aux)

    def stages(self) -> Sequence[Stage]:
        """Probes and training; a stage of replicas leaves the parameters as they were when it began."""
        if self.mode == "fixed":
            return (Stage("train"),)
        if self.mode == "offline":
            return (self._probes("estimate", self.estimate_epochs), Stage("train"))
        share = 1 / self.super_epochs
        pairs = [
            (self._probes(f"probe {i}", share), Stage(f"train {i}", share, resumes=i > 0))
            for i in range(self.super_epochs)
        ]
        return tuple(stage for pair in pairs for stage in pair)

    def _probes(self, name: str, epochs: float) -> Stage:
        one_hot = torch.eye(len(self.head_weights))
        replicas = tuple({"head_weights": row} for row in one_hot)
        return Stage(name, epochs, replicas=replicas, holdout=self.holdout, finish=self._weights_from)

    def _weights_from(self, probes: Sequence[SplitLosses]) -> Mapping[str, Tensor]:
        """Turn the losses of probe k at head k into weights."""
        found = list(zip((*self.spec.names, "joint"), probes, strict=True))
        losses = list(zip(*([float(split[head]) for split in probe[:4]] for head, probe in found), strict=True))
        errors = [math.hypot(p.train_error.get(h, 0.0), p.holdout_error.get(h, 0.0)) for h, p in found]
        floored = errors if self.overfitting == "floored" else None
        weights = blend_weights(*losses, negative_gain=self.negative_gain, errors=floored, shrink=self.shrink)
        ratios = [abs(o) / e if e > 0 else 0.0 for o, e in zip(overfitting(*losses), errors, strict=True)]
        known = torch.tensor(ratios).nan_to_num(0.0, 0.0, 0.0)  # a probe that diverged, or one row
        return {"head_weights": torch.tensor(weights), "overfitting_ratio": known}

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Which heads predict; the weights are estimated, not searched."""
        return {"predict": trial.suggest_categorical("predict", ["joint", "average"])}


def blend_weights(
    train_before: Sequence[float],
    train_after: Sequence[float],
    held_before: Sequence[float],
    held_after: Sequence[float],
    *,
    negative_gain: NegativeGain = "clip",
    errors: Sequence[float] | None = None,
    shrink: float = 0.0,
) -> list[float]:
    """Return the weights that minimise the expected squared overfitting-to-generalisation ratio.

    Args:
        train_before: Mean loss of each head on training rows before its probe.
        train_after: The same after it.
        held_before: Mean loss of each head on held-out rows before its probe.
        held_after: The same after it.
        negative_gain: What to do with a head whose held-out loss grew.
        errors: Standard errors of the overfitting of each head, below which it is not counted; None: no such floor.
        shrink: How far the weights are drawn to equal ones, 0 to 1.

    Returns:
        One weight for each head, summing to one; equal ones where no head gained anything. A probe that
        diverged gained nothing.
    """
    grown = overfitting(train_before, train_after, held_before, held_after)
    merits = []
    for hb, ha, o, e in zip(
        held_before, held_after, grown, [0.0] * len(grown) if errors is None else errors, strict=True
    ):
        gain = abs(hb - ha) if negative_gain == "abs" else max(hb - ha, 0.0)
        merit = gain / max(o**2, e**2, SMALLEST_SQUARED_OVERFITTING)
        merits.append(merit if math.isfinite(merit) else 0.0)
    total, equal = sum(merits), 1 / len(merits)
    return [(1 - shrink) * m / total + shrink * equal for m in merits] if total > 0 else [equal] * len(merits)


def overfitting(
    train_before: Sequence[float],
    train_after: Sequence[float],
    held_before: Sequence[float],
    held_after: Sequence[float],
) -> list[float]:
    """Return by how much the gap between held-out and training loss grew, for each head."""
    losses = zip(train_before, train_after, held_before, held_after, strict=True)
    return [(ha - ta) - (hb - tb) for tb, ta, hb, ha in losses]


def _normalised(weights: Sequence[float], heads: int) -> Tensor:
    if len(weights) != heads or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(
            f"weights must be {heads} numbers >= 0, not all 0 (modalities in order, the joint head last); "
            f"found {list(weights)}"
        )
    values = torch.tensor([float(w) for w in weights])
    return values / values.sum()


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``g_blend``."""
    register("g_blend", GBlend)
