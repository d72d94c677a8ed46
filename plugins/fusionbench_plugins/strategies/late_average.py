"""Late average: each modality predicts by itself, the usable predictions are averaged.

Paper: the decision-level baseline; averaged logits as in the code of Vaezi Joze et al. 2020 (MMTM).
Differs: the average runs over usable modalities only. The MedFuse code searches one weight for each class and
forgets to multiply the image term by 1 - w; here ``weights="fitted"`` searches one weight for each modality, on the
simplex: the heads are trained once on a part of the training rows, and the weights with the least loss of the
averaged prediction on the others are kept for the training proper. It costs ``estimate_epochs`` more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, Stage, hookimpl
from fusionbench.heads import logits_of_states, unimodal_aux, unimodal_heads, unimodal_logits, unimodal_losses
from fusionbench.hookspecs import Register
from fusionbench.targets import row_losses, state_log_probabilities
from fusionbench.types import SplitLosses

MOST_CANDIDATES = 100
# a row whose only modality has no weight is still predicted from it
SMALLEST_WEIGHT = 1e-6


class LateAverage(FusionStrategy):
    """Mean of the unimodal logits (or probabilities) over the usable modalities.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        average: What is averaged. ``logit``: the logits, as in the MMTM code; ``probability``: the predicted probabilities.
        weights: How much each modality counts. ``equal``: alike; ``fitted``: as on held-out training rows; see the module.
        estimate_epochs: For fitted weights, epochs before they are read off: a number, or a share of the benchmark's.
        holdout: For fitted weights, the share of the training rows that they are read off.

    Attributes:
        modality_weights: Float ``[modalities]``, their mean is 1; ones before anything was fitted.

    Shapes:
        Returns logits ``[batch, num_outputs]``; ``aux["unimodal.<name>"]`` holds each head's logits, which mean
        nothing in rows where the modality is not usable.
    """

    uses_presence: ClassVar[bool] = True
    title: ClassVar[str] = "Late average"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Baseline; logit averaging as in Vaezi Joze et al. 2020, MMTM: Multimodal Transfer Module for CNN "
        "Fusion, CVPR",
        equations="z = sum_m s_m w_m z_m / sum_m s_m w_m (p for z: probability); L = sum_m mean over usable rows of L_m",
        link="https://arxiv.org/abs/1911.08670",
        code="https://github.com/haamoon/mmtm (MIT; read, not copied)",
        differs="averages over usable modalities; weights, if any, by modality and from held-out training rows",
    )
    modality_weights: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        average: Literal["logit", "probability"] = "logit",
        weights: Literal["equal", "fitted"] = "equal",
        estimate_epochs: float = 0.4,
        holdout: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if not 0 < holdout < 1 or estimate_epochs <= 0:
            raise ValueError(f"need 0 < holdout < 1 and estimate_epochs > 0, found {holdout} and {estimate_epochs}")
        self.average, self.weights = average, weights
        self.estimate_epochs, self.holdout = estimate_epochs, holdout
        self.heads = unimodal_heads(spec)
        self.register_buffer("modality_weights", torch.ones(len(spec.names)))

    def forward(self, batch: Batch) -> FusionOutput:
        """Predict from each modality and average."""
        unimodal = {name: head(batch.completed(name)) for name, head in self.heads.items()}
        return FusionOutput(self._average(unimodal, batch, self.modality_weights), unimodal_aux(unimodal))

    def _average(self, unimodal: Mapping[str, Tensor], batch: Batch, weights: Tensor) -> Tensor:
        """Logits of the average over usable modalities, ``[batch, outputs]``."""
        votes = torch.stack(list(unimodal.values()))
        usable = torch.stack([batch.usable(name) for name in unimodal]).unsqueeze(-1)
        mean = self._mean_probability if self.average == "probability" else _mean
        return mean(votes, usable, weights.reshape(-1, 1, 1))

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the sum of the unimodal losses, each over the rows where its modality is usable."""
        losses = unimodal_losses(unimodal_logits(output.aux), batch, target, self.spec.kind)
        return torch.stack(list(losses.values())).sum()

    def modality_logits(self, output: FusionOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Return each head's logits."""
        return unimodal_logits(output.aux)

    def head_losses(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """Return the row losses of the prediction, and of what it would be under each candidate for the weights."""
        losses = dict(super().head_losses(output, batch, target))
        if self.weights == "equal":
            return losses
        unimodal = unimodal_logits(output.aux)
        for i, candidate in enumerate(candidates(len(self.spec.names))):
            weights = self.modality_weights.new_tensor(candidate)
            losses[f"candidate {i}"] = row_losses(self._average(unimodal, batch, weights), target, self.spec.kind)
            losses[f"candidate {i}.rows"] = losses["joint.rows"]
        return losses

    def stages(self) -> Sequence[Stage]:
        """Training; before it, for fitted weights, a stretch on a part of the rows that leaves nothing but them."""
        if self.weights == "equal":
            return (Stage("train"),)
        estimate = Stage("estimate", self.estimate_epochs, replicas=({},), holdout=self.holdout, finish=self._fitted)
        return (estimate, Stage("train"))

    def _fitted(self, probes: Sequence[SplitLosses]) -> Mapping[str, Tensor]:
        """The candidate with the least held-out loss; the first one, equal weights, on ties."""
        (probe,) = probes
        every = list(candidates(len(self.spec.names)))
        found = [float(probe.holdout_after[f"candidate {i}"]) for i in range(len(every))]
        best = min(range(len(every)), key=lambda i: found[i] if math.isfinite(found[i]) else math.inf)
        return {"modality_weights": torch.tensor(every[best])}

    def _mean_probability(self, votes: Tensor, usable: Tensor, weights: Tensor) -> Tensor:
        """Logits of the mean probability, ``[batch, outputs]``, summed in log space so that none saturates.

        The total weight of the usable modalities is the same for every state of a row, so it drops out of the logits.
        """
        states = torch.stack([state_log_probabilities(vote, self.spec.kind) for vote in votes])
        shown = usable.reshape(*usable.shape[:2], *[1] * (states.ndim - 2))
        states = states + weights.reshape(-1, *[1] * (states.ndim - 1)).log()
        # finite, unlike -inf: a row without any modality must not give NaN gradients
        hidden = torch.finfo(states.dtype).min / 4
        return logits_of_states(torch.logsumexp(states.masked_fill(~shown, hidden), dim=0), self.spec.kind)


def _mean(votes: Tensor, usable: Tensor, weights: Tensor) -> Tensor:
    """Mean of ``votes`` ``[modalities, batch, outputs]`` over the usable ones; zero where there is none."""
    total = torch.where(usable, weights, 0).sum(dim=0)
    return torch.where(usable, weights * votes, 0).sum(dim=0) / torch.where(total > 0, total, 1)


def candidates(modalities: int) -> Iterator[list[float]]:
    """Yield weights to choose from, their mean 1: equal ones, then a grid on the simplex as fine as is affordable."""
    yield [1.0] * modalities
    steps = max(n for n in range(1, 11) if n == 1 or math.comb(n + modalities - 1, n) <= MOST_CANDIDATES)
    for parts in _sums_to(steps, modalities):
        weights = [max(part / steps, SMALLEST_WEIGHT) for part in parts]
        yield [modalities * w / sum(weights) for w in weights]


def _sums_to(total: int, parts: int) -> Iterator[list[int]]:
    """Yield every list of ``parts`` whole numbers, 0 or more, that add up to ``total``."""
    if parts == 1:
        yield [total]
        return
    for first in range(total + 1):
        yield from ([first, *rest] for rest in _sums_to(total - first, parts - 1))


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``late_average``."""
    register("late_average", LateAverage)
