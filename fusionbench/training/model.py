"""One model: trainable encoders, projections, an imputer, a fusion strategy, and its regularisers.

Parameters are named by what they belong to: ``encoder.<modality>.``, ``project.<modality>.``,
``imputer.``, ``fusion.``, ``regulariser.<i>.``. Stages, gradient hooks and the ledger select by these names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from fusionbench.contract.batch import Batch, FusionOutput
from fusionbench.contract.isolation import owner_of
from fusionbench.contract.learners import FittedStrategy, FusionStrategy, Imputer, Learner, Regulariser
from fusionbench.contract.stages import TrainingClock
from fusionbench.errors import PluginError
from fusionbench.training.devices.precision import guard_recurrent_layers


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


class Wants(NamedTuple):
    """Whether a strategy changes gradients or updates in an epoch, and reads noise for it; 0-dim bool."""

    modulation: Tensor
    noise: Tensor


class Imagined(NamedTuple):
    """One modality's embeddings, and what takes their place when the modality is hidden from every row.

    Args:
        true: Float ``[batch, dim]``.
        filled: Float ``[batch, dim]``.
        rows: Bool ``[batch]``, True = the row has the modality and another one: the two can be compared.
    """

    true: Tensor
    filled: Tensor
    rows: Tensor


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
        precision: Of the matrix products of encoders, projections, imputer and strategy. What they return is float32
            in either case, and so are losses, gradients of parameters, statistics and buffers. A recurrent layer that has
            no kernel for bfloat16 on the device computes in float32.
        encoder_rows: Most rows that an encoder reads at once where it cannot be stacked
            (:mod:`fusionbench.training.devices.chunks`); None: any number.
        drop: Dropout of each modality's embedding; None: nothing is dropped.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        project: Mapping[str, nn.Module],
        imputer: Imputer,
        fusion: FusionStrategy,
        regularisers: Sequence[Regulariser] = (),
        columns: Sequence[int] | None = None,
        precision: Literal["float32", "bfloat16"] = "float32",
        encoder_rows: int | None = None,
        drop: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.precision = precision
        self.encoder_rows = encoder_rows
        self.columns = tuple(range(len(project))) if columns is None else tuple(columns)
        self.encoder = nn.ModuleDict(encoders)
        self.project = nn.ModuleDict(project)
        self.drop = nn.ModuleDict(drop or {})
        self.imputer: Imputer = imputer
        self.fusion: FusionStrategy = fusion
        self.regulariser = nn.ModuleList(regularisers)
        guard_recurrent_layers(self)

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
        return any(overrides(p.module, "statistics") for p in self.parts)

    @property
    def keeps_state(self) -> bool:
        """Whether some part updates its buffers after each epoch."""
        return any(overrides(p.module, "update") for p in self.parts)

    @property
    def has_traces(self) -> bool:
        """Whether some part has something to draw over epochs."""
        return any(overrides(p.module, "traces") for p in self.parts)

    @property
    def modulates(self) -> str | None:
        """``auto``, ``gradient`` or ``update`` when the strategy changes one of them, else None."""
        return self.fusion.modulates if overrides(self.fusion, "modulate") else None

    def forward(self, method: str, *arguments: Any) -> Any:
        """Call a method by name: functional calls reach a module through ``forward`` only."""
        return getattr(self, method)(*arguments)

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Matrix products inside the block are made in the model's precision."""
        if self.precision == "float32":
            return nullcontext()
        # a cached cast of a weight would outlive the transform that it was made under
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)

    def widened(self, tree: Any) -> Any:
        """Turn every bfloat16 tensor of a tree into float32, where the model computes in bfloat16."""
        if self.precision == "float32":
            return tree
        return tree_map(lambda t: t.float() if isinstance(t, Tensor) and t.dtype == torch.bfloat16 else t, tree)

    def embed(self, view: View) -> Batch:
        """Project; nothing is imputed."""
        names = self.modalities
        with self.autocast(view.present.device):
            features = {n: self.project[n](view.encoded[n]) for n in names}
            features |= {n: drop(features[n]) for n, drop in self.drop.items()}
            zero_input = {n: self.project[n](z.unsqueeze(0)).squeeze(0) for n, z in view.zero.items()}
        return Batch(
            features=self.widened(features),
            present={n: view.present[:, c] for n, c in zip(names, self.columns, strict=True)},
            available={n: view.available[:, c] for n, c in zip(names, self.columns, strict=True)},
            zero_input=self.widened(zero_input),
        )

    def complete(self, view: View) -> Batch:
        """Project and impute."""
        return self.impute(self.embed(view))

    def impute(self, batch: Batch) -> Batch:
        """Fill absent embeddings."""
        with self.autocast(_device(batch)):
            completed = self.imputer(batch)
        _expect_features(self.imputer, completed, batch)
        return Batch(**self.widened(_as_dict(completed)))

    def fuse(self, batch: Batch) -> FusionOutput:
        """Predict from a completed batch."""
        with self.autocast(_device(batch)):
            output = self.fusion(batch)
        output = output if isinstance(output, FusionOutput) else FusionOutput(output)
        # a wrong shape would be broadcast against the target and give some number
        rows = len(next(iter(batch.present.values())))
        _expect_shape(self.fusion, "logits", output.logits, (rows, self.fusion.spec.num_outputs))
        return FusionOutput(self.widened(output.logits), self.widened(dict(output.aux)))

    def learn(self, view: View, target: Tensor) -> Learned:
        """Return the training loss (scalar) with what it was made of."""
        batch = self.complete(view)
        output = self.fuse(batch)
        loss = self.imputer.loss(batch, self.fusion.loss(output, batch, target))
        for regulariser in self.regularisers:
            loss = loss + regulariser.loss(output, batch, target)
            _expect_shape(regulariser, "a loss", loss, ())
        _expect_shape(self.fusion, "a loss", loss, ())
        return Learned(loss, output, _as_dict(batch))

    def predict(self, view: View) -> Tensor:
        """Return logits ``[batch, outputs]``."""
        return self.fuse(self.complete(view)).logits

    def predict_each(self, view: View) -> dict[str, Tensor]:
        """Return the logits of each modality's own head, for stages that select per modality."""
        batch = self.complete(view)
        return dict(self.fusion.modality_logits(self.fuse(batch), batch))

    def fitting_inputs(self, view: View) -> Tensor:
        """Return what a fitted strategy learns from, ``[batch, num_features]``."""
        assert isinstance(self.fusion, FittedStrategy)
        return self.fusion.inputs(self.complete(view))

    def statistics(self, view: View, target: Tensor) -> dict[str, dict[str, Tensor]]:
        """Return each part's sums over one batch, by the part's prefix."""
        batch = self.complete(view)
        output = self.fuse(batch)

        def predict(other: Batch) -> FusionOutput:
            return self.fuse(self.impute(other))

        return {
            p.prefix: dict(p.module.statistics(output, batch, target, predict))
            for p in self.parts
            if overrides(p.module, "statistics")
        }

    def traces(self, view: View, target: Tensor) -> dict[str, Tensor]:
        """Return what every part wants drawn, 0-dim by name; all names but the strategy's begin with the part's."""
        batch = self.complete(view)
        output = self.fuse(batch)
        return {
            f"{'' if p.module is self.fusion else p.prefix}{name}": value
            for p in self.parts
            for name, value in p.module.traces(output, batch, target).items()
        }

    def embeddings(self, view: View) -> dict[str, Tensor]:
        """Return the embedding of each modality, ``[batch, dim]``, before anything is imputed."""
        return dict(self.embed(view).features)

    def imagined(self, view: View) -> dict[str, Imagined]:
        """Hide each modality in turn, as at test time, and return what the imputer makes of it; nothing where it fills none."""
        batch = self.embed(view)
        found = {}
        for name, had in batch.present.items():
            present = {**batch.present, name: torch.zeros_like(had)}
            completed = self.impute(replace(batch, present=present, available=present))
            if name in completed.imputed:
                others = torch.stack([p for n, p in batch.present.items() if n != name] or [present[name]])
                found[name] = Imagined(batch.features[name], completed.features[name], had & others.any(dim=0))
        return found

    def updates(self, statistics: dict[str, dict[str, Tensor]], completed: int, planned: int) -> dict[str, Tensor]:
        """Return new values of buffers, by full name."""
        clock = TrainingClock(completed, planned)
        return {
            f"{p.prefix}{name}": value
            for p in self.parts
            if overrides(p.module, "update")
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

    def wants(self, completed: int, planned: int) -> Wants:
        """Return what the strategy wants in the coming epoch."""
        clock, fusion = TrainingClock(completed, planned), self.fusion
        return Wants(*(torch.as_tensor(w).bool() for w in (fusion.wants_modulation(clock), fusion.wants_noise(clock))))

    def head_losses(self, view: View, target: Tensor) -> dict[str, Tensor]:
        """Return row losses of each head and the rows that count."""
        batch = self.complete(view)
        return dict(self.fusion.head_losses(self.fuse(batch), batch, target))


def _device(batch: Batch) -> torch.device:
    return next(iter(batch.present.values())).device


def _expect_shape(part: Any, what: str, found: Any, wanted: tuple[int, ...]) -> None:
    """Refuse what a plugin returned in another shape.

    Raises:
        PluginError: It names the plugin, what was expected, and what came.
    """
    if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise PluginError(f"{owner_of(part)}: {what} of shape {list(wanted)} expected, found {shape}")


def _expect_features(imputer: Imputer, completed: Any, batch: Batch) -> None:
    """Refuse what an imputer returned with other modalities, or in other shapes.

    Raises:
        PluginError: It names the plugin, what was expected, and what came.
    """
    if not isinstance(completed, Batch) or completed.names != batch.names:
        found = completed.names if isinstance(completed, Batch) else type(completed).__name__
        raise PluginError(f"{owner_of(imputer)}: a Batch of {', '.join(batch.names)} expected, found {found}")
    for name, features in batch.features.items():
        _expect_shape(imputer, f"features of {name}", completed.features[name], tuple(features.shape))


def _as_dict(batch: Batch) -> dict[str, Any]:
    fields = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    return {name: value for name, value in fields.items() if value is not None}


_BASES = (FusionStrategy, Imputer, Regulariser, Learner)  # of the contract: what they do is the default


def overrides(part: Any, method: str) -> bool:
    """Whether the class of a part does something else in a method than the contract does."""
    base = next(c for c in type(part).__mro__ if c in _BASES and method in vars(c))
    return getattr(type(part), method) is not vars(base)[method]


def projection(dim: int, width: int | None, depth: int) -> nn.Module:
    """Return the map from an encoding to an embedding: linear, or with hidden layers; identity without a width."""
    if width is None:
        return nn.Identity()
    hidden = [layer for _ in range(depth) for layer in (nn.ReLU(), nn.Linear(width, width))]
    first = nn.Linear(dim, width)
    return nn.Sequential(first, *hidden) if hidden else first


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained numbers."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def seeded(generator_seed: int, build: Any) -> Any:
    """Build a module under its own seed, and leave torch's global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        # models are built on the CPU; torch.manual_seed would also keep a call for CUDA, and the stack, each time
        torch.default_generator.manual_seed(generator_seed)
        return build()
