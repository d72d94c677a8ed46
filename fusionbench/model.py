"""One model: trainable encoders, projections, an imputer, a fusion strategy, and its regularisers.

Parameters are named by what they belong to: ``encoder.<modality>.``, ``project.<modality>.``,
``imputer.``, ``fusion.``, ``regulariser.<i>.``. Stages, gradient hooks and the ledger select by these names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fusionbench.types import Batch, FusionOutput, FusionStrategy, Imputer, Regulariser, TrainingClock


class View(NamedTuple):
    """One batch as tensors only, so that it can be stacked over models.

    Args:
        encoded: Encoder outputs by modality, float ``[batch, dim]``.
        zero: Encoding of an all-zero input by modality, float ``[dim]``; empty when nobody asks.
        present: Bool ``[batch, modalities]``: what the model may see.
        available: Bool ``[batch, modalities]``: what training may know; wider than ``present`` where a
            corruption policy hides modalities on purpose.
    """

    encoded: dict[str, Tensor]
    zero: dict[str, Tensor]
    present: Tensor
    available: Tensor


class Learned(NamedTuple):
    """What one forward pass for training leaves: the loss, and what gradient hooks look at."""

    loss: Tensor
    output: FusionOutput
    batch: dict[str, Any]


@dataclass(frozen=True)
class _Part:
    prefix: str
    module: Any


class FusionModel(nn.Module):
    """Encoders to logits.

    Args:
        encoders: Trainable encoders by modality; frozen modalities arrive encoded.
        project: Maps each modality's encoding to its embedding.
        imputer: Fills absent embeddings.
        fusion: The strategy.
        regularisers: Additions to the training loss.
        columns: Positions of the model's modalities among the table's; None: all of them.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        project: Mapping[str, nn.Module],
        imputer: Imputer,
        fusion: FusionStrategy,
        regularisers: Sequence[Regulariser] = (),
        columns: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.columns = tuple(range(len(project))) if columns is None else tuple(columns)
        self.encoder = nn.ModuleDict(encoders)
        self.project = nn.ModuleDict(project)
        self.imputer: Imputer = imputer
        self.fusion: FusionStrategy = fusion
        self.regulariser = nn.ModuleList(regularisers)

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities it reads, in order."""
        return list(self.project)

    @property
    def regularisers(self) -> list[Regulariser]:
        """The additions to the training loss."""
        return list(self.regulariser)  # type: ignore[arg-type]

    @property
    def parts(self) -> list[_Part]:
        """Everything that may keep statistics, with the prefix of its buffers."""
        named = [_Part("imputer.", self.imputer), _Part("fusion.", self.fusion)]
        return named + [_Part(f"regulariser.{i}.", r) for i, r in enumerate(self.regularisers)]

    @property
    def stackable(self) -> bool:
        """Whether the part behind the encoders can run under the vectorising transform."""
        return all(p.module.stackable for p in self.parts)

    @property
    def uses_zero_input(self) -> bool:
        """Whether somebody reads the embedding of an all-zero input."""
        return bool(self.imputer.uses_zero_input or self.fusion.uses_zero_input)

    @property
    def keeps_statistics(self) -> bool:
        """Whether some part sums over the training rows after each epoch."""
        return any(_overrides(p.module, "statistics") for p in self.parts)

    @property
    def keeps_state(self) -> bool:
        """Whether some part updates its buffers after each epoch."""
        return any(_overrides(p.module, "update") for p in self.parts)

    @property
    def modulates(self) -> str | None:
        """``gradient`` or ``update`` when the strategy changes one of them, else None."""
        return self.fusion.modulates if _overrides(self.fusion, "modulate") else None

    def forward(self, method: str, *arguments: Any) -> Any:
        """Call a method by name: functional calls reach a module through ``forward`` only."""
        return getattr(self, method)(*arguments)

    def complete(self, view: View) -> Batch:
        """Project and impute."""
        names = self.modalities
        features = {n: self.project[n](view.encoded[n]) for n in names}
        batch = Batch(
            features=features,
            present={n: view.present[:, c] for n, c in zip(names, self.columns, strict=True)},
            available={n: view.available[:, c] for n, c in zip(names, self.columns, strict=True)},
            zero_input={n: self.project[n](z.unsqueeze(0)).squeeze(0) for n, z in view.zero.items()},
        )
        completed: Batch = self.imputer(batch)
        return completed

    def fuse(self, batch: Batch) -> FusionOutput:
        """Predict from a completed batch."""
        output = self.fusion(batch)
        return output if isinstance(output, FusionOutput) else FusionOutput(output)

    def learn(self, view: View, target: Tensor) -> Learned:
        """Return the training loss (scalar) with what it was made of."""
        batch = self.complete(view)
        output = self.fuse(batch)
        loss = self.imputer.loss(batch, self.fusion.loss(output, batch, target))
        for regulariser in self.regularisers:
            loss = loss + regulariser.loss(output, batch, target)
        return Learned(loss, output, _as_dict(batch))

    def predict(self, view: View) -> Tensor:
        """Return logits ``[batch, outputs]``."""
        return self.fuse(self.complete(view)).logits

    def predict_each(self, view: View) -> dict[str, Tensor]:
        """Return the logits of each modality's own head, for stages that select per modality."""
        batch = self.complete(view)
        return dict(self.fusion.modality_logits(self.fuse(batch), batch))

    def statistics(self, view: View, target: Tensor) -> dict[str, dict[str, Tensor]]:
        """Return each part's sums over one batch, by the part's prefix."""
        batch = self.complete(view)
        output = self.fuse(batch)

        def predict(other: Batch) -> FusionOutput:
            return self.fuse(self.imputer(other))

        return {
            p.prefix: dict(p.module.statistics(output, batch, target, predict))
            for p in self.parts
            if _overrides(p.module, "statistics")
        }

    def updates(self, statistics: dict[str, dict[str, Tensor]], completed: int, planned: int) -> dict[str, Tensor]:
        """Return new values of buffers, by full name."""
        clock = TrainingClock(completed, planned)
        return {
            f"{p.prefix}{name}": value
            for p in self.parts
            if _overrides(p.module, "update")
            for name, value in p.module.update(statistics.get(p.prefix, {}), clock).items()
        }

    def modulate(
        self,
        gradients: dict[str, Tensor],
        output: FusionOutput,
        batch: dict[str, Any],
        target: Tensor,
        noise: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Let the strategy change gradients or updates."""
        return dict(self.fusion.modulate(gradients, output, Batch(**batch), target, noise))

    def head_losses(self, view: View, target: Tensor) -> dict[str, Tensor]:
        """Return row losses of each head and the rows that count."""
        batch = self.complete(view)
        return dict(self.fusion.head_losses(self.fuse(batch), batch, target))


def _as_dict(batch: Batch) -> dict[str, Any]:
    fields = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    return {name: value for name, value in fields.items() if value is not None}


def _overrides(part: Any, method: str) -> bool:
    base = next(c for c in type(part).__mro__ if c.__module__ == "fusionbench.types" and method in vars(c))
    return getattr(type(part), method) is not vars(base)[method]


def projection(dim: int, width: int | None, kind: str) -> nn.Module:
    """Return the map from an encoding to an embedding: linear, or one hidden layer; identity without a width."""
    if width is None:
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(dim, width)
    return nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width))


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained numbers."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def seeded(generator_seed: int, build: Any) -> Any:
    """Build a module under its own seed, and leave torch's global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed)
        return build()
