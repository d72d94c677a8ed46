"""ActionMAE: a small masked autoencoder over modality tokens predicts the embeddings that are absent.

Paper: Woo et al. 2023, Towards Good Practices for Missing Modality Robust Action Recognition, AAAI.
``Provenance.differs`` says what is different.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionSpec, Imputer, Provenance, Trial, hookimpl
from fusionbench.hookspecs import Register
from fusionbench.targets import masked_mean
from fusionbench.types import CorruptionPolicy

TRUTH, PREDICTED = "actionmae.truth.", "actionmae.predicted."  # kept for the loss, by modality


class Block(nn.Module):
    """One pre-norm transformer layer whose attention leaves out masked tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, keys: Tensor) -> Tensor:
        """``[batch, tokens, width]``; ``keys`` bool ``[batch, tokens]``, True = may be attended to."""
        # each [batch, heads, tokens, width / heads]
        q, k, v = self.qkv(self.before(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~keys[:, None, None], -torch.inf)
        tokens = tokens + self.out((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        return tokens + self.mlp(tokens)  # type: ignore[no-any-return]


class ActionMae(Imputer):
    """Encoder over what is shown and memory tokens; a decoder puts predictions where nothing is.

    Args:
        spec: Widths, outputs and target kind; needs one common width.
        memory: Number of memory tokens.
        heads: Attention heads; must divide the common width.
        weight: Weight of the reconstruction.
        corruption: Hiding policy in training; without any there is nothing to reconstruct.
    """

    provenance = Provenance(
        paper="Woo, Lee, Park, Nugroho, Kim 2023, Towards Good Practices for Missing Modality Robust Action Recognition, AAAI",
        link="https://arxiv.org/abs/2211.13916",
        code="https://github.com/sangminwoo/ActionMAE; not used",
        differs="one token for each modality; one layer on either side; the strategy fuses what is completed, where "
        "the paper averages tokens; hidden tokens are the loop's corruption policy, row by row",
    )
    weight: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        memory: int = 10,
        heads: int = 4,
        weight: float = 1.0,
        corruption: CorruptionPolicy = "uniform_subset",
    ) -> None:
        super().__init__(spec)
        if heads < 1 or spec.width % heads:
            raise ValueError(f"heads must divide the common width {spec.width}, found {heads}")
        if memory < 1:
            raise ValueError(f"memory must be 1 or more, so that no row is empty; found {memory}")
        self.corruption = corruption
        self.hyper("weight", weight)
        self.memory, self.mask = (nn.Parameter(0.02 * torch.randn(n, spec.width)) for n in (memory, 1))
        self.place = nn.ParameterDict({n: 0.02 * torch.randn(d) for n, d in spec.dims.items()})
        self.encode, self.decode = Block(spec.width, heads), Block(spec.width, heads)
        self.predict = nn.Sequential(nn.LayerNorm(spec.width), nn.Linear(spec.width, spec.width))

    def forward(self, batch: Batch) -> Batch:
        """Fill absent embeddings; keep the truth and the predictions for :meth:`loss`."""
        names = self.spec.names
        shown = torch.stack([batch.present[n] for n in names], dim=1)
        place = torch.stack([self.place[n] for n in names])
        tokens = torch.stack([batch.observed(n) for n in names], dim=1) + place
        memory = self.memory.expand(len(tokens), *self.memory.shape)
        everywhere = torch.ones_like(shown[:, :1]).expand(-1, memory.shape[1])
        coded = self.encode(torch.cat([tokens, memory], dim=1), torch.cat([shown, everywhere], dim=1))
        coded, memory = coded[:, : len(names)], coded[:, len(names) :]
        coded = torch.where(shown[..., None], coded, self.mask + place)
        decoded = self.decode(torch.cat([coded, memory], dim=1), torch.cat([torch.ones_like(shown), everywhere], dim=1))
        predicted = dict(zip(names, self.predict(decoded[:, : len(names)]).unbind(dim=1), strict=True))
        kept = {f"{TRUTH}{n}": batch.features[n] for n in names} | {f"{PREDICTED}{n}": p for n, p in predicted.items()}
        return replace(batch.filled(predicted), extras={**batch.extras, **kept})

    def loss(self, completed: Batch, task_loss: Tensor) -> Tensor:
        """Add the squared error on standardised targets, over tokens hidden on purpose; zero where none is."""
        errors, hidden = [], []
        for name in self.spec.names:
            rows = completed.available[name] & ~completed.present[name]
            truth = torch.where(rows[:, None], completed.extras[f"{TRUTH}{name}"].detach(), 0)
            target = nn.functional.layer_norm(truth, truth.shape[1:], eps=1e-6)
            errors.append((completed.extras[f"{PREDICTED}{name}"] - target).square().mean(dim=-1))
            hidden.append(rows)
        return task_loss + self.weight * masked_mean(torch.cat(errors), torch.cat(hidden))

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Search the weight."""
        return {"weight": trial.suggest_float("weight", 0.1, 10.0, log=True)}


@hookimpl
def register_imputers(register: Register) -> None:
    """Register ``actionmae``."""
    register("actionmae", ActionMae)
