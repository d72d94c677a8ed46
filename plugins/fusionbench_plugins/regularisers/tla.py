"""TLA: find the combination of modalities that predicts worst, and train on it again.

Paper: Wu et al. 2025, OmniFuse, Information Fusion 117:102890, eqs. 15-17; its source is the modality-aware
regularisation of Wei, Luo, Luo 2023, MMANet (CVPR).

After each epoch, over the training rows::

    dist(c) = mean over rows that have all of combination c of D(prediction with only c shown, y)
    lazy    = argmax_c dist(c)
    L_TLA   = weight * mean over rows of the batch that are shown exactly ``lazy`` of CE

Combinations are integers, ``sum_m shown_m 2^m``. Mining runs 2^M - 1 predictions over the training rows.

Differs: means instead of sums in eq. 15, which would favour frequent combinations (equal without missingness);
D is not defined in the paper: ``distance`` offers three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionOutput, FusionSpec, Provenance, Regulariser, TrainingClock, Trial, hookimpl
from fusionbench.heads import one_hot_states
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean, row_losses, state_log_probabilities, true_state
from fusionbench.types import CorruptionPolicy, Predict

# MMANet sums over its epochs 2 to 4 (counted from 0), then keeps what it found
ACCUMULATED_EPOCHS = (3, 5)
NONE_YET = -1


class Tla(Regulariser):
    """An extra loss on the rows that are shown exactly a lazy combination; zero in the first epoch.

    Args:
        spec: Widths, outputs and target kind.
        weight: Weight of the loss (lambda_3 of the paper).
        distance: How badly a row is predicted. ``ce``: cross-entropy; ``one_minus_p``: 1 minus the probability of the
            true state; ``brier``: squared error of the probabilities.
        top: How many combinations count as lazy.
        mine: When. ``every_epoch``: after each epoch anew; ``accumulate``: sum the distances of three early epochs, then
            stay (MMANet).
        head: Whose loss. ``fused``: the prediction's; ``auxiliary``: that of a linear classifier beside it (MMANet).
        reduction: Over which rows. ``masked_mean``: those that match; ``batch_mean``: all, others counting 0 (MMANet).
        max_absent: Mine only combinations that lack at most this many modalities; None: all.
        corruption: Hiding policy in training; without any, hardly a row shows a lazy combination.

    Shapes:
        Buffer ``lazy_id``: int64 ``[top]``, -1 before the first mining.
    """

    title: ClassVar[str] = "TLA"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wu et al. 2025, OmniFuse, Information Fusion 117:102890; Wei, Luo, Luo 2023, MMANet, CVPR",
        equations="OmniFuse 15-17",
        link="https://arxiv.org/abs/2304.08028",
        code="https://github.com/shicaiwei123/MMANet-CVPR2023 (MIT; read, not copied; it mines on the test loader)",
        differs="means over rows that naturally have the combination; mined on training rows",
    )
    weight: Tensor
    lazy_id: Tensor
    distance_sums: Tensor
    distance_counts: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        weight: float = 0.5,
        distance: Literal["ce", "one_minus_p", "brier"] = "ce",
        top: int = 1,
        mine: Literal["every_epoch", "accumulate"] = "every_epoch",
        head: Literal["fused", "auxiliary"] = "fused",
        reduction: Literal["masked_mean", "batch_mean"] = "masked_mean",
        max_absent: int | None = None,
        corruption: CorruptionPolicy = "uniform_subset",
    ) -> None:
        super().__init__(spec)
        self.combinations = combinations(len(spec.names), max_absent)
        if not 1 <= top <= len(self.combinations):
            raise ValueError(f"top must be 1 to {len(self.combinations)} (the combinations to mine), found {top}")
        self.distance, self.mine, self.reduction, self.top = distance, mine, reduction, top
        self.corruption = corruption
        self.hyper("weight", weight)
        self.register_buffer("lazy_id", torch.full((top,), NONE_YET))
        self.register_buffer("distance_sums", torch.zeros(len(self.combinations)))
        self.register_buffer("distance_counts", torch.zeros(len(self.combinations)))
        self.auxiliary = nn.Linear(sum(spec.dims.values()), spec.num_outputs) if head == "auxiliary" else None

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Eqs. 16 and 17."""
        logits = output.logits
        if self.auxiliary is not None:
            logits = self.auxiliary(torch.cat([batch.completed(n) for n in self.spec.names], dim=-1))
        losses = row_losses(logits, target, self.spec.kind)
        matches = (shown_id(batch, self.spec.names).unsqueeze(-1) == self.lazy_id).any(dim=-1)
        if self.reduction == "batch_mean":
            return self.weight * torch.where(matches, losses, 0).mean()
        return self.weight * masked_mean(losses, matches)

    def traces(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """Share of the lazy combinations that hold a modality; 0 before the first mining."""
        mined = self.lazy_id != NONE_YET
        return {
            f"lazy.{n}": masked_mean((self.lazy_id >> m & 1).to(self.weight.dtype), mined)
            for m, n in enumerate(self.spec.names)
        }

    def statistics(self, output: FusionOutput, batch: Batch, target: Tensor, predict: Predict) -> Mapping[str, Tensor]:
        """Sums of distances and counts ``[combinations]``, over rows that have all of a combination."""
        sums, counts = [], []
        for code in self.combinations:
            members = [n for m, n in enumerate(self.spec.names) if code >> m & 1]
            has_all = torch.stack([batch.present[n] for n in members]).all(dim=0)
            view = replace(batch.only(*members), latents=None)
            distance = self._distance(predict(view).logits, target)
            sums.append(torch.where(has_all, distance, 0).sum())
            counts.append(has_all.sum().to(distance.dtype))
        return {"sums": torch.stack(sums), "counts": torch.stack(counts)}

    def update(self, statistics: Mapping[str, Tensor], clock: TrainingClock) -> Mapping[str, Tensor]:
        """Eq. 15: name the laziest combinations; nothing before the first epoch is over."""
        if clock.completed == 0:
            return {}
        sums, counts = statistics["sums"], statistics["counts"]
        if self.mine == "every_epoch":
            return {"lazy_id": self._laziest(sums, counts)}
        first, last = ACCUMULATED_EPOCHS
        last = min(last, max(clock.planned - 1, 1))
        if not min(first, last) <= clock.completed <= last:
            return {}
        sums, counts = self.distance_sums + sums, self.distance_counts + counts
        found = {"lazy_id": self._laziest(sums, counts)} if clock.completed == last else {}
        return {"distance_sums": sums, "distance_counts": counts, **found}

    def _laziest(self, sums: Tensor, counts: Tensor) -> Tensor:
        means = torch.where(counts > 0, sums / counts.clamp_min(1), -torch.inf)
        # a stable sort, not topk or argmax: on ties the first combination counts, on every device
        order = torch.sort(means, descending=True, stable=True).indices[: self.top]
        codes = torch.tensor(self.combinations, device=order.device)[order]
        return torch.where(means[order] > -torch.inf, codes, NONE_YET)

    def _distance(self, logits: Tensor, target: Tensor) -> Tensor:
        """``[batch]``, averaged over labels."""
        kind = self.spec.kind
        if self.distance == "ce":
            return row_losses(logits, target, kind)
        p = state_log_probabilities(logits, kind).exp()
        if self.distance == "one_minus_p":
            return 1 - true_state(p, target, kind).mean(dim=-1)
        errors = (p - one_hot_states(target, self.spec.num_outputs, kind)).square().sum(dim=-1)
        return errors.reshape(len(errors), -1).mean(dim=-1)

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """The weight, around the paper's .5."""
        return {"weight": trial.suggest_float("weight", 0.05, 2.0, log=True)}


def combinations(modalities: int, max_absent: int | None = None) -> tuple[int, ...]:
    """Return the non-empty combinations as integers, bit m for modality m, in ascending order."""
    least = 1 if max_absent is None else max(1, modalities - max_absent)
    return tuple(c for c in range(1, 2**modalities) if c.bit_count() >= least)


def shown_id(batch: Batch, names: tuple[str, ...]) -> Tensor:
    """Int64 ``[batch]``: the combination each row is shown, whatever an imputer has filled."""
    return torch.stack([batch.present[n].long() << m for m, n in enumerate(names)]).sum(dim=0)


@hookimpl
def register_regularisers(register: Register) -> None:
    """Register ``tla``."""
    register("tla", Tla)
