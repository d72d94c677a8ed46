"""DrFuse: shared and distinct parts of every modality, and attention over them for each label.

Paper: Yao et al. 2024, DrFuse: Learning Disentangled Representation for Clinical Multi-Modal Fusion with Missing
Modality and Modal Inconsistency, AAAI. ``Provenance.differs`` says what is different.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, logsigmoid, relu

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, TargetKind, hookimpl
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean, state_log_probabilities, true_state


def shared_mean(parts: Tensor, usable: Tensor) -> Tensor:
    """Logit of the mean sigmoid over usable modalities; zero where there is none. ``[M, B, D], [M, B] -> [B, D]``."""
    rows = (usable | ~usable.any(dim=0))[..., None]  # a row without any would be a logarithm of zero
    yes = torch.where(rows, logsigmoid(parts), -torch.inf).logsumexp(dim=0)  # log space: one part alone comes back
    no = torch.where(rows, logsigmoid(-parts), -torch.inf).logsumexp(dim=0)
    return torch.where(usable.any(dim=0)[:, None], yes - no, 0)


def divergence(parts: Tensor, usable: Tensor, one_sided: bool = False) -> Tensor:
    """Jensen-Shannon divergence of Bernoulli(sigmoid(parts)), summed over D: mean over rows with two or more."""
    mean, counted = shared_mean(parts, usable), usable.sum(dim=0)
    terms = logsigmoid(parts).exp() * (logsigmoid(parts) - logsigmoid(mean))
    if not one_sided:
        terms = terms + logsigmoid(-parts).exp() * (logsigmoid(-parts) - logsigmoid(-mean))
    rows = torch.where(usable, terms.sum(dim=-1), 0).sum(dim=0) / counted.clamp_min(1)
    return masked_mean(rows, counted > 1)


def ranking_loss(attention: Tensor, losses: Tensor, there: Tensor) -> Tensor:
    """Mean over pairs and labels of ``relu(-sign(loss_j - loss_i) (a_i - a_j))``, ``[parts, B, labels]``."""
    i, j = torch.triu_indices(len(attention), len(attention), offset=1, device=attention.device)
    both = there[i] & there[j]
    wrong = relu(-torch.sign(losses[j] - losses[i]) * (attention[i] - attention[j])).mean(dim=-1)
    return (torch.where(both, wrong, 0).sum(dim=-1) / both.sum(dim=-1).clamp_min(1)).mean()


class DrFuse(FusionStrategy):
    """Logits from attention over each modality's distinct part and one shared part, with heads on every part.

    Args:
        spec: Widths, outputs and target kind.
        hidden: Width of the parts.
        alignment: Weight of the divergence between shared parts.
        distinctness: Weight of |cos(shared, distinct)|.
        ranking: Weight of the loss that ranks attention by the parts' own losses.
        one_sided: Count the terms of state 1 only in the divergence, as the authors' code does.
    """

    uses_presence = True
    provenance = Provenance(
        paper="Yao, Yin, Cheung, Liu, Qin 2024, DrFuse, AAAI",
        link="https://arxiv.org/abs/2403.06197",
        code="https://github.com/dorothy-yao/drfuse; only its numbers are used, as test vectors",
        differs="both parts are linear maps of one embedding, where the paper has two encoders of each raw input; any "
        "number of modalities; rows without a pair do not enter the divergence, as they do in the code; no dropout",
    )
    alignment: Tensor
    distinctness: Tensor
    ranking: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        hidden: int = 64,
        alignment: float = 1.0,
        distinctness: float = 1.0,
        ranking: float = 1.0,
        one_sided: bool = False,
    ) -> None:
        super().__init__(spec)
        self.one_sided = one_sided
        for name, value in (("alignment", alignment), ("distinctness", distinctness), ("ranking", ranking)):
            self.hyper(name, value)
        self.labels = spec.num_outputs if spec.kind is TargetKind.MULTILABEL else 1
        self.shared, self.distinct, self.query = (
            nn.ModuleDict({n: nn.Linear(d, hidden) for n, d in spec.dims.items()}) for _ in range(3)
        )
        self.key, self.value = nn.Linear(hidden, self.labels * hidden), nn.Linear(hidden, hidden)
        self.heads = nn.ModuleDict({n: nn.Linear(hidden, spec.num_outputs) for n in spec.names})
        self.shared_head, self.head = (nn.Linear(hidden, spec.num_outputs) for _ in range(2))

    def forward(self, batch: Batch) -> FusionOutput:
        """Attend to the parts that are there; the shared one always is."""
        usable, maps = batch.usable_mask().T, (self.shared, self.distinct, self.query)
        shared, distinct, query = (torch.stack([m[n](batch.completed(n)) for n in self.spec.names]) for m in maps)
        parts = torch.cat([distinct, shared_mean(shared, usable)[None]])
        there = torch.cat([usable, torch.ones_like(usable[:1])])
        asked = torch.where(usable[..., None], query, 0).sum(dim=0) / usable.sum(dim=0).clamp_min(1)[:, None]
        keys = self.key(parts).unflatten(-1, (self.labels, -1))
        scores = (keys * asked[:, None]).sum(dim=-1) * asked.shape[-1] ** -0.5
        attention = scores.masked_fill(~there[..., None], -torch.inf).softmax(dim=0)
        mixed = torch.einsum("cbl,cbd->bld", attention, self.value(parts))
        logits = (mixed * self.head.weight).sum(dim=-1) + self.head.bias  # each label reads its own mixture
        heads = torch.stack([h(p) for h, p in zip((*self.heads.values(), self.shared_head), parts, strict=True)])
        aux = {"shared": shared, "distinct": distinct, "there": there, "attention": attention, "heads": heads}
        return FusionOutput(logits, aux | {f"unimodal.{n}": z for n, z in zip(self.spec.names, heads, strict=False)})

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Task loss of the prediction and of every head, and the three weighted terms."""
        aux, kind, usable = output.aux, self.spec.kind, output.aux["there"][:-1]
        losses = [-true_state(state_log_probabilities(z, kind), target, kind) for z in (output.logits, *aux["heads"])]
        heads = sum(masked_mean(r.mean(dim=-1), t) for r, t in zip(losses[1:], aux["there"], strict=True))
        cosines = masked_mean(cosine_similarity(aux["shared"], aux["distinct"], dim=-1).abs(), usable)
        aligned = self.alignment * divergence(aux["shared"], usable, self.one_sided)
        ranked = self.ranking * ranking_loss(aux["attention"], torch.stack(losses[1:]).detach(), aux["there"])
        return losses[0].mean() + heads + aligned + self.distinctness * cosines + ranked


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``drfuse``."""
    register("drfuse", DrFuse)
