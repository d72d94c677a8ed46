"""PMR: the slow modality is pulled to its class prototypes, the fast one is kept uncertain for a while.

Paper: Fan, Xu, Wang, Wang, Guo 2023, PMR: Prototypical Modal Rebalance for Multimodal Learning, CVPR.

Prototypes are class means of each modality's embeddings over the training rows; the prototype classifier is
``p_m(k) = softmax_k(-|v_m - c_m,k|)``. With score_m its mean probability of the true class::

    beta_m  = clip(max_n score_n / score_m - 1, 0, 1)        gamma_m = clip(score_m / min_n score_n - 1, 0, 1)
    loss    = task + alpha sum_m beta_m PCE_m - mu sum_m gamma_m H_m
    c       = (1 - eps) class mean + eps c_old               after every epoch

PCE is the cross-entropy and H the entropy of p_m. Binary targets have two prototypes, multi-label two per label.
For two modalities this is the paper's clip(1/rho - 1) and clip(rho - 1).

Differs: any number of modalities; only rows that show a modality count for it; a class without rows keeps its
prototype, and is out of reach until it has one (the code divides by zero); prototypes come from all training
rows (the code: a tenth of them, or evaluation data); the square root has a floor, so that no gradient is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from fusionbench import (
    Batch,
    FusionOutput,
    FusionSpec,
    FusionStrategy,
    Provenance,
    TargetKind,
    TrainingClock,
    Trial,
    hookimpl,
)
from fusionbench.heads import one_hot_states, unimodal_logits
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean, true_state
from fusionbench.types import Predict
from fusionbench_plugins.strategies._imbalance import (
    SMALLEST_SCORE,
    Fusion,
    ScoreLabels,
    additive_fusion,
    check_score_labels,
    true_class_score,
    within,
)

# added to the distance of a class that has no prototype yet: its probability underflows to zero
OUT_OF_REACH = 1e4


class Pmr(FusionStrategy):
    """Concat or sum fusion with prototype losses beside the task loss.

    Args:
        spec: Widths, outputs and target kind.
        variant: Whose reading. ``paper``: clipped coefficients and the entropy term; ``official``: alpha for every
            modality but the strongest, no entropy term, and no averaging of prototypes after the first epoch.
        alpha: Weight of the prototype losses.
        eps: Weight of the old prototype.
        mu: Weight of the entropy of the stronger modalities.
        coefficients: Of the prototype losses. ``paper``: clipped; ``hard``: 1 for every modality but the strongest;
            None: what the variant says.
        entropy: Whether the entropy term is used; None: what the variant says.
        active_until: Share of the epochs with prototype losses (the code: epochs 0 to 100 of 150).
        entropy_until: Share of the epochs with the entropy term.
        fusion: What is balanced. ``concat``: one linear head on all embeddings; ``sum``: added unimodal logits.
        distance: To a prototype. ``euclidean``: as published; ``euclidean_over_sqrt_d``: divided by the root of the
            width, so that wide embeddings do not saturate.
        score_labels: Which labels of a multi-label target make the score. ``all``: every one; ``positive``: only those
            that are 1.

    Shapes:
        Returns logits ``[batch, num_outputs]``. Buffers by modality: ``prototypes_<name>``, float ``[labels,
        states, dim]``, and ``known_<name>``, bool ``[labels, states]``; labels is 1 unless multi-label.
    """

    uses_presence: ClassVar[bool] = True  # with fusion="sum"
    title: ClassVar[str] = "PMR"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Fan, Xu, Wang, Wang, Guo 2023, PMR: Prototypical Modal Rebalance for Multimodal Learning, CVPR",
        equations="prototypical cross-entropy and prototype-based entropy regularisation",
        link="https://arxiv.org/abs/2211.07089",
        code="https://github.com/fanyunfeng-bit/Modal-Imbalance-PMR (MIT; its numbers are test vectors, nothing copied)",
        differs="M modalities; missing rows left out; all training rows make prototypes; guards against 0/0",
    )
    alpha: Tensor
    eps: Tensor
    mu: Tensor
    active_until: Tensor
    entropy_until: Tensor
    accelerating: Tensor
    exploring: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        variant: Literal["paper", "official"] = "paper",
        alpha: float = 1.0,
        eps: float = 0.2,
        mu: float = 0.01,
        coefficients: Literal["paper", "hard"] | None = None,
        entropy: bool | None = None,
        active_until: float = 2 / 3,
        entropy_until: float = 0.1,
        fusion: Fusion = "concat",
        distance: Literal["euclidean", "euclidean_over_sqrt_d"] = "euclidean",
        score_labels: ScoreLabels = "all",
    ) -> None:
        super().__init__(spec)
        check_score_labels(score_labels, spec)
        for name, value in {"alpha": alpha, "eps": eps, "mu": mu}.items():
            self.hyper(name, value)
        self.hyper("active_until", active_until)
        self.hyper("entropy_until", entropy_until)
        official = variant == "official"
        self.hard = coefficients == "hard" or (coefficients is None and official)
        self.entropy = not official if entropy is None else entropy
        self.epochs_without_averaging = 1 if official else 0
        self.distance, self.score_labels = distance, score_labels
        self.fusion = additive_fusion(fusion, spec)
        self.register_buffer("accelerating", torch.ones(()))
        self.register_buffer("exploring", torch.ones(()))
        self._register_prototypes()

    def _register_prototypes(self) -> None:
        multiclass, outputs = self.spec.kind is TargetKind.MULTICLASS, self.spec.num_outputs
        shape = (1, outputs) if multiclass else (outputs, 2)
        for name, dim in self.spec.dims.items():
            self.register_buffer(f"prototypes_{name}", torch.zeros(*shape, dim))
            self.register_buffer(f"known_{name}", torch.zeros(shape, dtype=torch.bool))

    def start_at(self, logits: Tensor) -> None:
        """Begin at the prevalence."""
        self.fusion.start_at(logits)

    def forward(self, batch: Batch) -> FusionOutput:
        """Fuse; prototypes take no part in the prediction."""
        output: FusionOutput = self.fusion(batch)
        return output

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the task loss with both additions."""
        pce, entropy, beta, gamma = self._terms(batch, target)
        total = super().loss(output, batch, target) + self.alpha * (beta * pce).sum()
        if self.entropy:
            total = total - self.mu * (gamma * entropy).sum()
        return total

    def traces(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """``beta`` and ``gamma`` of every modality, 0 in epochs without the term."""
        _, _, beta, gamma = self._terms(batch, target)
        found = {"beta": beta, "gamma": gamma} if self.entropy else {"beta": beta}
        return {
            f"{what}.{n}": value for what, values in found.items() for n, value in zip(batch.names, values, strict=True)
        }

    def _terms(self, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cross-entropy, entropy, beta and gamma, ``[modalities]`` each; coefficients are 0 in epochs without a term."""
        terms = [self.prototype_terms(n, batch, target) for n in batch.names]
        pce, entropy, scores, counted = (torch.stack(t) for t in zip(*terms, strict=True))
        beta, gamma = self.coefficients(scores, counted)
        return pce, entropy, self.accelerating * beta, self.exploring * gamma

    def prototype_terms(self, name: str, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return cross-entropy, entropy and score of a modality's prototype classifier, and whether it has rows."""
        rows, kind = batch.present[name], self.spec.kind
        log_p = self.log_probabilities(name, batch.observed(name))
        pce = -true_state(log_p, target, kind).mean(dim=-1)
        entropy = -(log_p.exp() * log_p).sum(dim=-1).reshape(len(rows), -1).mean(dim=-1)
        score, counted = true_class_score(log_p, rows, target, kind, self.score_labels)
        return masked_mean(pce, rows), masked_mean(entropy, rows), score, counted

    def log_probabilities(self, name: str, embeddings: Tensor) -> Tensor:
        """Return log-probabilities of the prototype classifier, on the state axis of :mod:`fusionbench.targets`."""
        log_p = torch.log_softmax(-self.distances(name, embeddings), dim=-1)
        return log_p.squeeze(1) if self.spec.kind is TargetKind.MULTICLASS else log_p

    def distances(self, name: str, embeddings: Tensor) -> Tensor:
        """Return distances ``[batch, labels, states]`` to the prototypes; far where there is none."""
        prototypes, known = getattr(self, f"prototypes_{name}"), getattr(self, f"known_{name}")
        squared = (embeddings[:, None, None, :] - prototypes).square().sum(dim=-1)
        if self.distance == "euclidean_over_sqrt_d":
            squared = squared / embeddings.shape[-1]
        # the slope of the square root at zero is infinite, and a class of one row lies on its prototype
        return torch.where(known, (squared + 1e-12).sqrt(), OUT_OF_REACH)

    def coefficients(self, scores: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``beta`` and ``gamma``, ``[modalities]``; both 0 where the batch lacks the modality.

        Args:
            scores: Float ``[modalities]``.
            counted: Bool ``[modalities]``, True = the batch shows the modality.
        """
        floored = scores.clamp_min(SMALLEST_SCORE)
        best = torch.where(counted, floored, 0).amax()
        worst = torch.where(counted, floored, torch.inf).amin()
        beta = (floored < best).to(scores.dtype) if self.hard else (best / floored - 1).clamp(0, 1)
        gamma = (floored / worst - 1).clamp(0, 1)
        return torch.where(counted, beta, 0), torch.where(counted, gamma, 0)

    def statistics(self, output: FusionOutput, batch: Batch, target: Tensor, predict: Predict) -> Mapping[str, Tensor]:
        """Class sums ``[labels, states, dim]`` and counts ``[labels, states]`` over the rows that have a modality."""
        states = one_hot_states(target, self.spec.num_outputs, self.spec.kind)
        states = states.unsqueeze(1) if self.spec.kind is TargetKind.MULTICLASS else states
        found: dict[str, Tensor] = {}
        for name in batch.names:
            values = batch.observed(name)
            members = (states * batch.present[name][:, None, None]).to(values.dtype)
            found[f"sums_{name}"] = torch.einsum("bls,bd->lsd", members, values)
            found[f"counts_{name}"] = members.sum(dim=0)
        return found

    def update(self, statistics: Mapping[str, Tensor], clock: TrainingClock) -> Mapping[str, Tensor]:
        """Move the prototypes, and say which terms the coming epoch has."""
        values = {
            "accelerating": within(clock, torch.zeros_like(self.active_until), self.active_until),
            "exploring": within(clock, torch.zeros_like(self.entropy_until), self.entropy_until),
        }
        for name in self.spec.names:
            old, known = getattr(self, f"prototypes_{name}"), getattr(self, f"known_{name}")
            sums, counts = statistics[f"sums_{name}"], statistics[f"counts_{name}"]
            means = sums / counts.clamp_min(1).unsqueeze(-1)
            if clock.completed > self.epochs_without_averaging:
                means = torch.where(known.unsqueeze(-1), (1 - self.eps) * means + self.eps * old, means)
            values[f"prototypes_{name}"] = torch.where((counts > 0).unsqueeze(-1), means, old)
            values[f"known_{name}"] = known | (counts > 0)
        return values

    def modality_logits(self, output: FusionOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Return the unimodal logits."""
        return unimodal_logits(output.aux)

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """The weights of both additions; the code uses alpha = 1."""
        return {
            "alpha": trial.suggest_float("alpha", 0.1, 4.0, log=True),
            "mu": trial.suggest_float("mu", 1e-3, 0.1, log=True),
        }


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``pmr``."""
    register("pmr", Pmr)
