"""The batches on which plugins are examined: small, seeded, and awkward on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fusionbench.contract.batch import Batch, FusionSpec
from fusionbench.seeding import torch_generator
from fusionbench.targets import TargetKind

NAMES = ("ehr", "cxr", "report", "ecg")
WIDTH = 8  # divisible by the usual numbers of attention heads
ROWS = 12
LATENT_DIM = 5
OUTPUTS = {TargetKind.BINARY: 1, TargetKind.MULTICLASS: 5, TargetKind.MULTILABEL: 6}
PATTERNS = ("complete", "random", "single")


@dataclass(frozen=True)
class Case:
    """One batch with everything that belongs to it. Guests may bring their own.

    Args:
        name: What is special about it; appears in messages.
        spec: What plugins are built for.
        batch: Features, float64; rows that are not available hold finite random numbers.
        target: Labels, as the spec's kind says.
    """

    name: str
    spec: FusionSpec
    batch: Batch
    target: Tensor

    def copy(self) -> Case:
        """Return the case with tensors of its own."""
        return replace(self, batch=map_tensors(self.batch, torch.clone), target=self.target.clone())

    def rows(self, index: Sequence[int]) -> Case:
        """Return the case with the rows at ``index``, in that order."""
        keep = torch.tensor(index)
        return replace(self, batch=map_rows(self.batch, lambda t: t[keep]), target=self.target[keep])

    def with_batch(self, **changes: Any) -> Case:
        """Return the case with other fields in its batch."""
        return replace(self, batch=replace(self.batch, **changes))


def map_rows(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Return the batch with every tensor that has one entry per row changed."""

    def each(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: change(tensor) for name, tensor in tensors.items()}

    return replace(
        batch,
        features=each(batch.features),
        present=each(batch.present),
        available=each(batch.available),
        imputed=each(batch.imputed),
        latents=None if batch.latents is None else change(batch.latents),
    )


def map_tensors(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Return the batch with every tensor changed."""
    return replace(map_rows(batch, change), zero_input={name: change(t) for name, t in batch.zero_input.items()})


def cast(batch: Batch, dtype: torch.dtype) -> Batch:
    """Return the batch with its floating point tensors in ``dtype``."""
    return map_tensors(batch, lambda t: t.to(dtype) if t.is_floating_point() else t)


def fill(batch: Batch, rows: Mapping[str, Tensor], value: float) -> Batch:
    """Return the batch with ``value`` as the content of the rows marked True, by modality."""
    filled = {n: f.masked_fill(rows[n].reshape(-1, *[1] * (f.ndim - 1)), value) for n, f in batch.features.items()}
    return replace(batch, features=filled)


def make_case(
    modalities: int | Sequence[str], kind: TargetKind, pattern: str, *, width: int = WIDTH, rows: int = ROWS
) -> Case:
    """Return one seeded case.

    Args:
        modalities: How many, or their names in order.
        kind: What is predicted.
        pattern: ``complete``: all present. ``random``: about half is absent, and a third of what is available is
            hidden. ``single``: each row has one modality. No row is ever empty.
        width: Width of every embedding.
        rows: Number of rows.
    """
    names = NAMES[:modalities] if isinstance(modalities, int) else tuple(modalities)
    generator = torch_generator("conformance case", modalities=len(names), kind=kind.value, pattern=pattern, rows=rows)
    latent_dim = LATENT_DIM if len(names) % 2 else 0  # some imputers leave a code of the sample, some do not
    spec = FusionSpec(dict.fromkeys(names, width), OUTPUTS[kind], kind, latent_dim=latent_dim)
    available, present = _masks(pattern, rows, len(names), generator)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    batch = Batch(
        features={name: draw(rows, width) for name in names},
        present=dict(zip(names, present.T.contiguous(), strict=True)),
        available=dict(zip(names, available.T.contiguous(), strict=True)),
        zero_input={name: draw(width) for name in names},
        latents=draw(rows, latent_dim) if latent_dim else None,
    )
    return Case(f"{len(names)} modalities, {kind.value}, {pattern}", spec, batch, make_target(spec, rows, generator))


def make_target(spec: FusionSpec, rows: int, generator: torch.Generator) -> Tensor:
    """Return labels; every class or label state appears where there are rows enough."""
    if spec.kind is TargetKind.MULTILABEL:
        return (torch.rand(rows, spec.num_outputs, generator=generator) < 0.5).long()
    classes = max(2, spec.num_outputs)
    return torch.randperm(rows, generator=generator) % classes


def default_cases() -> tuple[Case, ...]:
    """One to four modalities, three kinds of target, three patterns."""
    return tuple(make_case(m, kind, pattern) for m in range(1, 5) for kind in TargetKind for pattern in PATTERNS)


def _masks(pattern: str, rows: int, modalities: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What is available and what of it is shown, bool ``[rows, modalities]`` each, no row empty."""
    if pattern == "complete":
        return torch.ones(rows, modalities, dtype=torch.bool), torch.ones(rows, modalities, dtype=torch.bool)
    # each row keeps one modality for sure; taken in turn, so that every one is kept alone by some row
    sure = torch.arange(modalities) == (torch.arange(rows) % modalities).unsqueeze(1)
    if pattern == "single":
        return sure, sure.clone()
    if pattern != "random":
        raise ValueError(f"pattern must be one of {', '.join(PATTERNS)}, found {pattern!r}")
    available = sure | (torch.rand(rows, modalities, generator=generator) < 0.5)
    shown = sure | (available & (torch.rand(rows, modalities, generator=generator) < 2 / 3))
    return available, shown
