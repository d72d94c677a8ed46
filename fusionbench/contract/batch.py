"""What a model sees of a batch, what it is built for, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from fusionbench.contract.data import InputKind
from fusionbench.targets import TargetKind


@dataclass(frozen=True)
class Batch:
    """Embeddings of one batch and what is known about who has what. Labels are never in it.

    Args:
        features: Float ``[batch, dim]`` by modality. Content is undefined, but finite, in rows that
            are neither present nor imputed: read it through :meth:`observed` or :meth:`completed`.
        present: Bool ``[batch]`` by modality, True = observed and shown to the model.
        available: Bool ``[batch]`` by modality, True = the record has it. Wider than ``present`` while
            training hides modalities on purpose; the difference is what an imputer may learn from.
        imputed: Bool ``[batch]`` by modality, True = an imputer has filled the row.
        zero_input: Float ``[dim]`` by modality: the embedding of an all-zero input.
        latents: Float ``[batch, width]``: the imputer's code of the sample, where it has one.
        lengths: Int64 ``[batch]`` by modality: valid steps of encoder inputs, where rows differ in them. For imputers of
            level ``input`` only; what lies behind the valid steps is undefined.
        extras: What an imputer needs again in its own ``loss``, by name; nobody else reads it.
    """

    features: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    available: Mapping[str, Tensor] = field(default_factory=dict)
    imputed: Mapping[str, Tensor] = field(default_factory=dict)
    zero_input: Mapping[str, Tensor] = field(default_factory=dict)
    latents: Tensor | None = None
    lengths: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names, in order."""
        return tuple(self.features)

    def usable(self, name: str) -> Tensor:
        """Bool ``[batch]``: present, or filled by an imputer."""
        if name in self.imputed:
            return self.present[name] | self.imputed[name]
        return self.present[name]

    def usable_mask(self) -> Tensor:
        """Bool ``[batch, modalities]``: :meth:`usable` of every modality, in order."""
        return torch.stack([self.usable(name) for name in self.features], dim=1)

    def observed(self, name: str) -> Tensor:
        """Features where present, exact zeros elsewhere."""
        return _select(self.present[name], self.features[name])

    def completed(self, name: str) -> Tensor:
        """Features where present or imputed, exact zeros elsewhere."""
        return _select(self.usable(name), self.features[name])

    def filled(self, fills: Mapping[str, Tensor]) -> Batch:
        """Return the batch with absent rows filled and marked imputed.

        Gradients reach a fill through filled rows only, and the features through present ones only.

        Args:
            fills: By modality, ``[dim]`` for every row alike, or ``[batch, dim]``. Rows that were imputed
                before count as absent and are filled anew.
        """
        rows = {n: _broadcast(self.present[n], self.features[n]) for n in fills}
        features = {n: torch.where(rows[n], self.features[n], fill) for n, fill in fills.items()}
        absent = {n: ~self.present[n] for n in fills}
        return replace(self, features={**self.features, **features}, imputed={**self.imputed, **absent})

    def only(self, *names: str) -> Batch:
        """Return the batch with every modality but ``names`` marked absent and nothing imputed."""
        hidden = {n: p if n in names else torch.zeros_like(p) for n, p in self.present.items()}
        # what an imputer made of the whole row would tell about what is hidden now
        return replace(self, present=hidden, imputed={}, latents=None, extras={})


def _select(rows: Tensor, values: Tensor) -> Tensor:
    # NaN * 0 is NaN: absent rows are selected away, not multiplied
    return torch.where(_broadcast(rows, values), values, 0)


def _broadcast(rows: Tensor, values: Tensor) -> Tensor:
    return rows.reshape(-1, *[1] * (values.ndim - 1))


class FusionOutput(NamedTuple):
    """What a strategy may return instead of bare logits.

    Args:
        logits: Float ``[batch, outputs]``: the prediction (logits, or log class scores).
        aux: Tensors that ``loss``, ``modulate`` or ``statistics`` need, by name.
    """

    logits: Tensor
    aux: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class HeadSpec:
    """The head that a benchmark gives every strategy (``model.head``); :func:`fusionbench.heads.head` builds it.

    Args:
        depth: Hidden layers of rectified units; 0: one linear map.
        width: Units of each; None: as many as the widest embedding.
    """

    depth: int = 0
    width: int | None = None


@dataclass(frozen=True)
class FusionSpec:
    """What an imputer or a strategy is built for.

    Args:
        dims: Width of each modality's embedding, by name, in modality order.
        num_outputs: Number of logits (1 for binary).
        kind: What the target means.
        latent_dim: Width of ``Batch.latents``; 0 where the imputer has none.
        head: How deep heads are that turn embeddings into logits; one setting for every strategy whose head is free.
    """

    dims: Mapping[str, int]
    num_outputs: int
    kind: TargetKind
    latent_dim: int = 0
    head: HeadSpec = field(default_factory=HeadSpec)

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names, in order."""
        return tuple(self.dims)

    @property
    def width(self) -> int:
        """The common width; raises ValueError when the modalities differ."""
        widths = set(self.dims.values())
        if len(widths) != 1:
            raise ValueError(f"modalities must share one width, found {dict(self.dims)}; set model.width")
        return widths.pop()


@dataclass(frozen=True)
class InputSpec:
    """What an encoder is built for.

    Args:
        kind: The modality's kind.
        shape: Shape of one row; empty for text.
        standardise: By column of the last axis, True = a measurement that is standardised with training rows,
            False = an indicator; empty where the modality does not say.
    """

    kind: InputKind
    shape: tuple[int, ...] = ()
    standardise: tuple[bool, ...] = ()
