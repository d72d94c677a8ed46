"""Attention fusion: a transformer over one token per modality and a class token.

Paper: Vaswani et al. 2017, Attention Is All You Need, NeurIPS; class token as in Dosovitskiy et al. 2021 (ViT).
Differs: keys of absent modalities are masked out; the class token is always present, so no row is empty.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionSpec, FusionStrategy, Provenance, Trial, hookimpl
from fusionbench.heads import head
from fusionbench.hookspecs import Register


class Layer(nn.Module):
    """One pre-norm transformer layer: ``x += attention(norm(x))``, then ``x += mlp(norm(x))``.

    Scaled dot products with an explicit mask, since the built-in module cannot be stacked over runs.

    Args:
        width: Width of a token.
        heads: Number of heads; divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, keys: Tensor) -> Tensor:
        """Return the new tokens, ``[batch, tokens, width]``.

        Args:
            tokens: Float ``[batch, tokens, width]``.
            keys: Bool ``[batch, tokens]``, True = may be attended to; one True in every row.
        """
        tokens = tokens + self._attend(self.attention_norm(tokens), keys)
        mixed: Tensor = tokens + self.mlp(tokens)
        return mixed

    def _attend(self, tokens: Tensor, keys: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        split = self.queries_keys_values(tokens).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each [batch, heads, tokens, width / heads]
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(~keys[:, None, None, :], -torch.inf).softmax(dim=-1)
        mixed: Tensor = self.attention_out((weights @ v).transpose(1, 2).reshape(batch, length, width))
        return mixed


class Attention(FusionStrategy):
    """Logits from the class token of a small pre-norm transformer over the usable embeddings.

    Args:
        spec: Widths, outputs and target kind; needs one common width.
        layers: Number of transformer layers.
        heads: Attention heads; must divide the common width.

    Shapes:
        Returns logits ``[batch, num_outputs]``.
    """

    uses_presence: ClassVar[bool] = True
    title: ClassVar[str] = "Attention"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Vaswani et al. 2017, Attention Is All You Need, NeurIPS",
        equations="Eq. 1, pre-norm, with a class token",
        link="https://arxiv.org/abs/1706.03762",
        code="none of this use",
        differs="one token per modality with a learned embedding of its own; absent ones are masked; inner width 2D",
    )

    def __init__(self, spec: FusionSpec, layers: int = 1, heads: int = 4) -> None:
        super().__init__(spec)
        if layers < 1:
            raise ValueError(f"layers must be 1 or more, found {layers}")
        if heads < 1 or spec.width % heads:
            raise ValueError(f"heads must divide the common width {spec.width}, found {heads}")
        self.class_token = nn.Parameter(torch.empty(spec.width).normal_(std=0.02))
        self.embedding = nn.ParameterDict({n: torch.empty(d).normal_(std=0.02) for n, d in spec.dims.items()})
        self.layers = nn.ModuleList(Layer(spec.width, heads) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(spec.width), head(spec, spec.width))

    def forward(self, batch: Batch) -> Tensor:
        """Attend and classify the class token."""
        usable = [batch.usable(name) for name in self.spec.names]
        tokens = [batch.completed(name) + self.embedding[name] for name in self.spec.names]
        stacked = torch.stack([self.class_token.expand_as(tokens[0]), *tokens], dim=1)
        keys = torch.stack([torch.ones_like(usable[0]), *usable], dim=1)
        for layer in self.layers:
            stacked = layer(stacked, keys)
        logits: Tensor = self.head(stacked[:, 0])
        return logits

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Search the depth."""
        return {"layers": trial.suggest_int("layers", 1, 2)}


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``attention``."""
    register("attention", Attention)
