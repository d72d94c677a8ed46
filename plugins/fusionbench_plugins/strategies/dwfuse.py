"""DWFuse: each modality's log-loss counts less where the others are already sure.

Paper: Wu et al. 2025, OmniFuse: A general modality fusion framework for multi-modality learning on
low-quality medical data, Information Fusion 117:102890, eqs. 9-14. Eq. 10 is the down-weighting factor of
Liu, Li, Xu, Natarajan 2018, arXiv:1805.11730, whose code settles what the text leaves open.

For each sample and each class c, over the M_b usable modalities::

    w_m,c = prod_{n != m} (1 - p_n,c) ^ (beta / (M_b - 1))         a constant for differentiation
    S_c   = sum_m w_m,c log p_m,c
    loss  = -mean S_y + alpha CE(o, y)                              o: the joint head
    prediction = softmax(S + alpha log softmax(o))

Binary and multi-label targets are two-class problems, one for each label. No label is needed to predict.

Differs: the leading minus of eqs. 12 and 13 is read as a slip (it would maximise the loss); without an
imputer that has latents, which the paper does not define, the joint head reads the masked concatenation; heads are as
deep as the benchmark makes every strategy's (the paper: "several fully connected layers"; ``model.head: mlp``, or option
``hidden``), since a deeper head is another question than down-weighting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, Trial, hookimpl
from fusionbench.heads import head, logits_of_states, start_head_at, unimodal_aux, unimodal_heads, unimodal_logits
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean, row_losses, state_log_probabilities, true_state

# floor of 1 - p: keeps log(1 - p) finite for a modality that is certain
FLOOR = 1e-6

WeightGradient = Literal["stop", "flow"]
Prediction = Literal["total", "scores", "joint", "mean"]
InferenceWeights = Literal["per_class", "max_conf"]
ExponentCount = Literal["shown", "all"]
JointInput = Literal["auto", "cra", "concat", "none"]


class DWFuse(FusionStrategy):
    """Down-weighted product of experts with a joint head beside it.

    Args:
        spec: Widths, outputs and target kind.
        alpha: Weight of the joint head, in the loss and in the prediction.
        beta: Strength of the down-weighting; 0 is the plain product of experts, 1 the 2018 code.
        weight_gradient: Of the down-weighting. ``stop``: the weights are constants; ``flow``: gradients pass through.
        predict: From what. ``total``: S + alpha log o; ``scores``: S; ``joint``: o; ``mean``: the mean probability.
        inference_weights: For the prediction only, the loss is per class. ``per_class``: each class has its own
            weight; ``max_conf``: one weight, from the other modalities' highest probability.
        exponent_count: Which modalities M of the exponent counts. ``shown``: those the row shows, or an imputer has
            filled; ``all``: every one.
        joint: What the joint head reads. ``auto``: latents where the imputer has any, else the concatenation; ``cra``:
            the imputer's latents; ``concat``: the masked concatenation; ``none``: there is no joint head.
        hidden: Units of one hidden layer in every head; 0: linear heads; None: the head of the benchmark.

    Shapes:
        Returns logits ``[batch, num_outputs]``.
        ``aux``: ``unimodal.<name>`` and ``joint``, logits ``[batch, num_outputs]``; ``scores``, ``S``, ``[batch,
        classes]`` or ``[batch, outputs, 2]``; ``weights``, ``w``, the same behind an axis of modalities.
    """

    title: ClassVar[str] = "DWFuse"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wu et al. 2025, OmniFuse, Information Fusion 117:102890",
        equations="9-14",
        link="https://arxiv.org/abs/1805.11730",
        code="none by the authors; of the factor: Liu et al. 2018, arXiv:1805.11730, with public code",
        differs="the sign of eqs. 12 and 13; M counts usable modalities; a joint head without latents; heads as deep as the "
        "benchmark says",
    )
    uses_presence: ClassVar[bool] = True
    alpha: Tensor
    beta: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        alpha: float = 0.1,
        beta: float = 0.5,
        weight_gradient: WeightGradient = "stop",
        predict: Prediction = "total",
        inference_weights: InferenceWeights = "per_class",
        exponent_count: ExponentCount = "shown",
        joint: JointInput = "auto",
        hidden: int | None = None,
    ) -> None:
        super().__init__(spec)
        if joint == "none" and predict == "joint":
            raise ValueError("predict='joint' needs a joint head; found joint='none'")
        if joint == "cra" and spec.latent_dim == 0:
            raise ValueError(
                "joint='cra' reads the imputer's latents and this imputer has none; use 'cra' or 'cra_cycle'"
            )
        self.hyper("alpha", alpha)
        self.hyper("beta", beta)
        self.weight_gradient = weight_gradient
        self.predict = predict
        self.inference_weights = inference_weights
        self.exponent_count = exponent_count
        self.joint_input = ("cra" if spec.latent_dim else "concat") if joint == "auto" else joint
        self.heads = unimodal_heads(spec, hidden=hidden)
        self.joint = self._joint_head(hidden)

    def start_at(self, logits: Tensor) -> None:
        """Begin at the prevalence, with every expert and the joint head."""
        super().start_at(logits)
        if self.joint is not None:
            start_head_at(self.joint, logits)

    def _joint_head(self, hidden: int | None) -> nn.Module | None:
        if self.joint_input == "none":
            return None
        width = self.spec.latent_dim if self.joint_input == "cra" else sum(self.spec.dims.values())
        return head(self.spec, width, hidden=hidden)

    def forward(self, batch: Batch) -> FusionOutput:
        """Score every class; labels play no part."""
        unimodal = {n: self.heads[n](batch.completed(n)) for n in batch.names}
        log_p = torch.stack([state_log_probabilities(z, self.spec.kind) for z in unimodal.values()])
        usable = batch.usable_mask().T.reshape(*log_p.shape[:2], *[1] * (log_p.ndim - 2))
        weights = self._weights(log_p, usable)
        scores = _weighted_sum(weights, log_p, usable)
        aux = {**unimodal_aux(unimodal), "scores": scores, "weights": weights}
        if self.joint is not None:
            aux["joint"] = self.joint(self._joint_features(batch))
        if self.inference_weights == "max_conf":
            scores = _weighted_sum(self._weights(log_p.amax(dim=-1, keepdim=True), usable), log_p, usable)
        return FusionOutput(self._prediction(scores, log_p, usable, aux), aux)

    def _weights(self, log_p: Tensor, usable: Tensor) -> Tensor:
        """Eq. 10 in log space, for every modality and state; meaningless where not usable."""
        doubt = torch.where(usable, (-torch.expm1(log_p)).clamp_min(FLOOR).log(), 0)
        counted = usable if self.exponent_count == "shown" else torch.ones_like(usable)
        exponent = self.beta / (counted.sum(dim=0) - 1).clamp_min(1)
        weights = torch.exp(exponent * (doubt.sum(dim=0) - doubt))
        return weights.detach() if self.weight_gradient == "stop" else weights

    def _joint_features(self, batch: Batch) -> Tensor:
        if self.joint_input == "concat":
            return torch.cat([batch.completed(n) for n in batch.names], dim=-1)
        assert batch.latents is not None, "spec.latent_dim promises latents"
        return batch.latents

    def _prediction(self, scores: Tensor, log_p: Tensor, usable: Tensor, aux: dict[str, Tensor]) -> Tensor:
        if self.predict == "joint":
            return aux["joint"]
        if self.predict == "mean":
            # finite, unlike -inf: a row without any modality must not give NaN gradients
            hidden = torch.finfo(log_p.dtype).min / 4
            # the number of usable modalities is the same for every state and drops out of the logits
            scores = torch.logsumexp(torch.where(usable, log_p, hidden), dim=0)
        elif self.predict == "total" and "joint" in aux:
            scores = scores + self.alpha * state_log_probabilities(aux["joint"], self.spec.kind)
        return logits_of_states(scores, self.spec.kind)

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Eqs. 12-14: the summed weighted unimodal losses, and alpha times the joint head's."""
        kind = self.spec.kind
        encoders = -true_state(output.aux["scores"], target, kind).mean()
        if "joint" not in output.aux:
            return encoders
        return encoders + self.alpha * row_losses(output.aux["joint"], target, kind).mean()

    def traces(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """Mean weight of every modality at the true state, over the rows where it is usable."""
        weights = [true_state(w, target, self.spec.kind).mean(dim=-1) for w in output.aux["weights"]]
        return {f"weight.{n}": masked_mean(w, batch.usable(n)) for n, w in zip(batch.names, weights, strict=True)}

    def modality_logits(self, output: FusionOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the logits of each modality's head."""
        return unimodal_logits(output.aux)

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Both weights, around the paper's alpha = .1 and beta = .5."""
        return {
            "alpha": trial.suggest_float("alpha", 0.01, 1.0, log=True),
            "beta": trial.suggest_float("beta", 0.0, 1.0),
        }


def _weighted_sum(weights: Tensor, log_p: Tensor, usable: Tensor) -> Tensor:
    """``S``: weighted sum of log-probabilities over usable modalities (the leading axis)."""
    return torch.where(usable, weights * log_p, 0).sum(dim=0)


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``dwfuse``."""
    register("dwfuse", DWFuse)
