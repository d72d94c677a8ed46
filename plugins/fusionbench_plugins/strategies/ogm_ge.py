"""OGM-GE: the modality that leads is slowed, and noise restores what slowing takes from generalisation.

Paper: Peng, Wei, Deng, Wang, Hu 2022, Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR.

After each backward pass, with the unimodal logits z_m of the batch::

    score_m = mean over rows that show m of the probability of the true class under z_m
    rho_m   = score_m / mean of the other modalities' scores
    k_m     = 1 - tanh(alpha rho_m) where rho_m > 1, else 1
    g       = k_m g + sigma eps          eps ~ N(0, 1), sigma: spread of the entries of the unscaled g

Differs: more than two modalities (the paper has two; ``rule``); rows that lack a modality do not count for it;
the noise is the isotropic one of the official code, the paper derives it from the covariance of the gradient;
on exact ties nobody is slowed (the code slows one of the two).

Under Adam a constant k_m is divided out again, and mostly the noise remains: there ``apply`` scales what the optimiser
would do instead. The optimiser belongs to the benchmark, and is the same for every strategy.
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
    TrainingClock,
    Trial,
    hookimpl,
)
from fusionbench.errors import PluginError
from fusionbench.heads import start_head_at, unimodal_aux, unimodal_heads, unimodal_logits
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean, row_losses, state_log_probabilities
from fusionbench_plugins.strategies._imbalance import (
    SMALLEST_SCORE,
    Fusion,
    ScoreLabels,
    additive_fusion,
    check_score_labels,
    true_class_score,
    within,
)

Rule = Literal["others_mean", "mean_of_ratios", "min"]
Tensors = Literal["matrices", "all", "conv"]
ScoreSource = Literal["slice", "only_m", "probe"]

LEAST_DIMENSIONS: Mapping[str, int] = {"all": 0, "matrices": 2, "conv": 4}


class OgmGe(FusionStrategy):
    """Concat or sum fusion whose encoder gradients are modulated.

    Args:
        spec: Widths, outputs and target kind.
        alpha: Strength of the modulation. The code uses .1 (VGGSound) and .8 (CREMA-D).
        noise: Add the generalisation enhancement (GE); False is OGM.
        variant: Whose reading. ``paper``: all matrices are modulated; ``official``: only convolution kernels, as in the
            code.
        modulate: Which tensors of encoders and projections. ``matrices``: those of two dimensions or more; ``all``:
            every one; ``conv``: those of four dimensions or more; None: what the variant says.
        start: Share of the epochs before modulation begins; both ends are included.
        end: Share of the epochs after which it ends.
        rule: Whom a modality is compared with when there are more than two. ``others_mean``: the mean of the others'
            scores; ``mean_of_ratios``: each other in turn, averaged; ``min``: the weakest.
        fusion: What is modulated. ``concat``: one linear head on all embeddings; ``sum``: added unimodal logits.
        score_source: Where unimodal logits come from. ``slice``: the additive share of the head; ``only_m``: a forward
            pass that shows one modality alone; ``probe``: a linear head for each modality, trained beside the fusion on
            embeddings that its gradient does not reach; None: slice where logits add up (a linear head, or fusion sum),
            else only_m.
        score_labels: Which labels of a multi-label target make the score. ``all``: every one; ``positive``: only those
            that are 1.
        apply: What is changed. ``auto``: the update under an adaptive optimiser, else the gradient; ``gradient``: the
            gradient, which an adaptive optimiser refuses; ``update``: what the optimiser would do.

    Shapes:
        Returns logits ``[batch, num_outputs]``; ``aux["unimodal.<name>"]`` holds the unimodal logits.
        Buffer ``modulating``: 1 in epochs that modulate, else 0.
    """

    uses_presence: ClassVar[bool] = True  # with fusion="sum"
    title: ClassVar[str] = "OGM-GE"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Peng, Wei, Deng, Wang, Hu 2022, Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR",
        equations="discrepancy ratio, modulation coefficient, generalisation enhancement",
        link="https://arxiv.org/abs/2203.15332",
        code="https://github.com/GeWu-Lab/OGM-GE_CVPR2022 (MIT; its numbers are test vectors, nothing copied)",
        differs="M modalities; missing rows left out; matrices instead of convolutions; isotropic noise as in the code; under "
        "an adaptive optimiser the update is scaled",
    )
    alpha: Tensor
    start: Tensor
    end: Tensor
    modulating: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        alpha: float = 0.1,
        noise: bool = True,
        variant: Literal["paper", "official"] = "paper",
        modulate: Tensors | None = None,
        start: float = 0.0,
        end: float = 0.5,
        rule: Rule = "others_mean",
        fusion: Fusion = "concat",
        score_source: ScoreSource | None = None,
        score_labels: ScoreLabels = "all",
        apply: Literal["auto", "gradient", "update"] = "auto",
    ) -> None:
        super().__init__(spec)
        check_score_labels(score_labels, spec)
        self.hyper("alpha", alpha)
        self.hyper("start", start)
        self.hyper("end", end)
        self.tensors = modulate or {"paper": "matrices", "official": "conv"}[variant]
        adds_up = fusion == "sum" or spec.head.depth == 0
        if score_source == "slice" and not adds_up:
            raise ValueError(
                "score_source='slice' needs logits that add up over modalities, and a head with hidden layers has none; "
                "use only_m, probe, fusion='sum' or model.head: linear"
            )
        self.rule, self.score_labels = rule, score_labels
        self.score_source = score_source or ("slice" if adds_up else "only_m")
        self.gradient_noise = noise
        self.modulates = apply
        self.fusion = additive_fusion(fusion, spec)
        self.probes = unimodal_heads(spec, hidden=0) if score_source == "probe" else None
        self.register_buffer("modulating", torch.tensor(float(start <= 0)))

    def start_at(self, logits: Tensor) -> None:
        """Begin at the prevalence, probes too."""
        self.fusion.start_at(logits)
        if self.probes is not None:
            for probe in self.probes.values():
                start_head_at(probe, logits)

    def forward(self, batch: Batch) -> FusionOutput:
        """Fuse; in training, leave unimodal logits for :meth:`modulate`."""
        output: FusionOutput = self.fusion(batch)
        return self._scored_alone(output, batch) if self.training or self.probes is not None else output

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the task loss, and that of the probes, which trains nothing but them."""
        task = super().loss(output, batch, target)
        if self.probes is None:
            return task
        logits = unimodal_logits(output.aux)
        losses = [masked_mean(row_losses(logits[n], target, self.spec.kind), batch.present[n]) for n in batch.names]
        return task + torch.stack(losses).sum()

    def _scored_alone(self, output: FusionOutput, batch: Batch) -> FusionOutput:
        """The output with the unimodal logits that scores are made of, where the head's shares are not meant."""
        if self.score_source == "slice":
            return output
        if self.probes is not None:
            probed = {n: self.probes[n](batch.completed(n).detach()) for n in batch.names}
            return output._replace(aux=unimodal_aux(probed))
        alone = {n: self.fusion(batch.only(n)).logits.detach() for n in batch.names}
        return output._replace(aux=unimodal_aux(alone))

    def modulate(
        self,
        gradients: Mapping[str, Tensor],
        output: FusionOutput,
        batch: Batch,
        target: Tensor,
        noise: Mapping[str, Tensor],
    ) -> Mapping[str, Tensor]:
        """Scale the gradients of each modality's encoder and projection, and add noise.

        Raises:
            PluginError: No tensor of any encoder or projection is to be modulated: nothing would happen.
        """
        owners = {n: m for n in gradients if (m := self._owner(n, gradients[n])) is not None}
        if not owners:
            raise PluginError(
                f"ogm_ge: no trained tensor of an encoder or a projection is to be modulated ({self.tensors!r}); "
                "train encoders, set model.width, or choose modulate: matrices or all"
            )
        k = self._k(output, batch, target)
        changed = {n: self._changed(gradients[n], k[m], noise.get(n)) for n, m in owners.items()}
        return {**gradients, **changed}

    def traces(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """``k`` of every modality."""
        k = self._k(self._scored_alone(output, batch), batch, target)
        return {f"k.{n}": value for n, value in k.items()}

    def _k(self, output: FusionOutput, batch: Batch, target: Tensor) -> dict[str, Tensor]:
        scores, counted = self._scores(output, batch, target)
        return dict(zip(batch.names, self.coefficients(scores, counted), strict=True))

    def _owner(self, name: str, gradient: Tensor) -> str | None:
        """The modality whose tensor this is, if it is to be modulated."""
        part, _, rest = name.partition(".")
        wanted = part in ("encoder", "project") and gradient.ndim >= LEAST_DIMENSIONS[self.tensors]
        return next((m for m in self.spec.names if wanted and rest.startswith(f"{m}.")), None)

    def _changed(self, gradient: Tensor, k: Tensor, unit_noise: Tensor | None) -> Tensor:
        scaled = k * gradient
        if unit_noise is None:
            return scaled
        return torch.addcmul(scaled, self.modulating * (_spread(gradient) + 1e-8), unit_noise)

    def _scores(self, output: FusionOutput, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor]:
        """Score ``[modalities]`` of each modality, and whether it has one."""
        logits, kind = unimodal_logits(output.aux), self.spec.kind
        pairs = [
            true_class_score(
                state_log_probabilities(logits[n], kind), batch.present[n], target, kind, self.score_labels
            )
            for n in batch.names
        ]
        return torch.stack([s for s, _ in pairs]), torch.stack([c for _, c in pairs])

    def coefficients(self, scores: Tensor, counted: Tensor) -> Tensor:
        """Return ``k``, ``[modalities]``; 1 where nothing is to be slowed.

        Args:
            scores: Float ``[modalities]``.
            counted: Bool ``[modalities]``, True = the batch shows the modality.
        """
        others = counted & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        number = others.sum(dim=1).clamp_min(1)
        floored = scores.clamp_min(SMALLEST_SCORE)
        if self.rule == "others_mean":
            rho = scores / (torch.where(others, scores, 0).sum(dim=1) / number).clamp_min(SMALLEST_SCORE)
        elif self.rule == "mean_of_ratios":
            rho = torch.where(others, scores.unsqueeze(1) / floored, 0).sum(dim=1) / number
        else:
            rho = scores / torch.where(counted, floored, torch.inf).amin()
        slowed = (rho > 1) & counted & others.any(dim=1) & (self.modulating > 0)
        return torch.where(slowed, 1 - torch.tanh(self.alpha * rho), 1)

    def update(self, statistics: Mapping[str, Tensor], clock: TrainingClock) -> Mapping[str, Tensor]:
        """Say whether the coming epoch modulates."""
        return {"modulating": within(clock, self.start, self.end)}

    def wants_modulation(self, clock: TrainingClock) -> Tensor:
        """Whether the coming epoch lies between ``start`` and ``end``."""
        return within(clock, self.start, self.end) > 0

    def wants_noise(self, clock: TrainingClock) -> bool | Tensor:
        """In the epochs that modulate, with generalisation enhancement."""
        return self.gradient_noise and self.wants_modulation(clock)

    def modality_logits(self, output: FusionOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Return the unimodal logits."""
        return unimodal_logits(output.aux)

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """The paper's range of alpha."""
        return {"alpha": trial.suggest_categorical("alpha", [0.1, 0.3, 0.5, 0.8])}


def _spread(gradient: Tensor) -> Tensor:
    """Standard deviation of the entries; 0 for a single one.

    From sums, so that nothing as large as the gradient is written: stacked, a twentieth of the time of ``Tensor.std``. What that
    costs in digits matters where the mean is a thousand times the spread, and no gradient is like that.
    """
    entries = gradient.flatten()
    number = len(entries)
    if number == 1:
        return torch.zeros_like(entries[0])
    squares: Tensor = torch.linalg.vector_norm(entries).square() - number * entries.mean().square()
    return (squares.clamp_min(0) / (number - 1)).sqrt()


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``ogm_ge``."""
    register("ogm_ge", OgmGe)
