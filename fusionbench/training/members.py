"""What is trained, and how it went: members of a population, their rows and batches, their fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from fusionbench.contract.stages import Stage
from fusionbench.data.table import RowTable
from fusionbench.missingness.corruption import Corruption
from fusionbench.seeding import numpy_generator, torch_generator
from fusionbench.training.model import FusionModel


class Course(NamedTuple):
    """How far a population is, after an epoch.

    Args:
        epochs: Epochs done; stages before this one count as long as planned.
        planned: Epochs of all stages, if no member stops early.
        scores: By member, the best validation score so far; higher is better, -inf: none.
    """

    epochs: int
    planned: int
    scores: Sequence[float]


Report = Callable[[Course], None]


@dataclass(frozen=True)
class Member:
    """One model to train.

    Args:
        build: Makes the model, seeded by ``seed``.
        table: The rows; members that are stacked share it.
        fold: Number of the fold; with ``seed`` it keys every random draw.
        seed: Number of the repetition.
        train: Int64 ``[n]``, training rows.
        validation: Int64 ``[m]``, rows that select the epoch.
        present: Bool ``[rows, modalities]``: who is present in training and validation.
        learning_rate: Step size.
        weight_decay: As the optimiser defines it.
        corruption: Hiding policy and its rate.
        alone: Whether it is never stacked with others.
        floor: By epoch, from the first: a best validation score below this stops the training; empty: nothing does.
    """

    build: Callable[[], FusionModel]
    table: RowTable
    fold: int
    seed: int
    train: Tensor
    validation: Tensor
    present: Tensor
    learning_rate: float
    weight_decay: float
    corruption: Corruption = field(default_factory=Corruption)
    floor: tuple[float, ...] = ()
    alone: bool = False

    def batches(self, batch_size: int) -> tuple[int, int]:
        """Batch size and batches of an epoch; members that agree can be stacked."""
        size = min(batch_size, len(self.train))
        return size, len(self.train) // size

    def in_stage(self, stage: Stage) -> Member:
        """Return the member as a stage trains it: with a stratified share of its training rows set aside."""
        return replace(self, train=_kept_rows(self, stage.holdout)) if stage.holdout else self


@dataclass
class Fit:
    """How one member's training went.

    Args:
        score: Validation score of the chosen epoch (higher is better).
        loss: Mean loss of the prediction on validation rows in that epoch; NaN where there is none.
        best_epoch: Epoch of that score, from 1, within its stage and those that it resumes; 0 for what is fitted at once.
        epochs: Epochs until early stopping, over all stages and their replicas.
        allowed: The limits of all stages and their replicas together; ``epochs`` is never above it.
        parameters: Numbers trained.
        seconds: Wall time of the population divided by its members.
        rows: Rows passed through the model: in training, in validation, and for statistics over the training rows.
        memory: Peak memory in megabytes while its population was trained
            (:func:`fusionbench.training.devices.device.peak_memory`).
        history: Validation score of every epoch.
        traces: By name, one value for every epoch, as :meth:`fusionbench.FusionStrategy.traces` gives them, and how far
            imputed embeddings are from true ones (:mod:`fusionbench.training.imputation`); None where nobody asked.
        pruned: True when it stopped below :attr:`Member.floor`.
        failure: Why the member is unusable, or None.
    """

    score: float = float("nan")
    loss: float = float("nan")
    best_epoch: int = 0
    epochs: int = 0
    allowed: int = 0
    parameters: int = 0
    seconds: float = 0.0
    rows: int = 0
    memory: float = 0.0
    history: list[float] = field(default_factory=list)
    traces: dict[str, list[float]] | None = None
    pruned: bool = False
    failure: str | None = None


def generator_of(purpose: str, member: Member, epoch: int, stage: Stage) -> torch.Generator:
    """Return the generator of a member's draws for a purpose in an epoch of a stage."""
    return torch_generator(purpose, fold=member.fold, seed=member.seed, epoch=epoch, stage=stage.name)


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Make the rows of each member equally long: int64 ``[models, n]``, and bool, True = counts."""
    longest = max(len(r) for r in rows)
    filled = torch.stack([torch.cat([r, r[:1].expand(longest - len(r))]) for r in rows])
    counted = torch.stack([torch.arange(longest, device=r.device) < len(r) for r in rows])
    return filled, counted


class MemberRows:
    """Rows of differing number for each member, padded: ``rows``, ``present`` and ``counted`` ``[models, n]``."""

    def __init__(self, members: Sequence[Member], rows: Sequence[Tensor]) -> None:
        self.rows, self.counted = padded(rows)
        self.present = torch.stack([m.present[r] for m, r in zip(members, self.rows, strict=True)])


class Span(NamedTuple):
    """How long a stage is.

    Args:
        planned: Its epochs.
        stretch: Those of the stages that resume each other, this one among them.
    """

    planned: int
    stretch: int


def planned_epochs(stage: Stage, epochs: int) -> int:
    """Epochs of a stage: a whole number is taken as it is, a share is of the benchmark's epochs."""
    return stage.epochs if isinstance(stage.epochs, int) else max(1, round(stage.epochs * epochs))


def spans(stages: Sequence[Stage], epochs: int) -> list[Span]:
    """Return how long each stage is; shares of stages that resume each other are rounded so that they add up."""
    planned = [planned_epochs(s, epochs) for s in stages]
    stretches: list[list[int]] = []
    for number, stage in enumerate(stages):
        if stage.replicas:
            continue
        if stage.resumes and stretches:
            stretches[-1].append(number)
        else:
            stretches.append([number])
    for stretch in stretches:
        share, done = 0.0, 0
        for number in stretch if all(isinstance(stages[n].epochs, float) for n in stretch) else ():
            share += stages[number].epochs
            planned[number] = max(1, round(share * epochs) - done)
            done += planned[number]
    lengths = {n: sum(planned[m] for m in stretch) for stretch in stretches for n in stretch}
    return [Span(own, lengths.get(n, own)) for n, own in enumerate(planned)]


def allowed_epochs(stages: Sequence[Stage], epochs: int) -> int:
    """Return the limit of all stages together, each replica counted: what a model may use at most."""
    found = zip(stages, spans(stages, epochs), strict=True)
    return sum(span.planned * max(1, len(stage.replicas)) for stage, span in found)


def last_stretch(stages: Sequence[Stage], epochs: int) -> int:
    """Return the epochs of the stretch that ends in the prediction; the limit of every strategy is about these."""
    trained = [span for stage, span in zip(stages, spans(stages, epochs), strict=True) if not stage.replicas]
    return trained[-1].stretch if trained else 0


def stage_batches(member: Member, stage: Stage, batch_size: int) -> tuple[int, int]:
    """Batch size and batches of a stage's epoch; equal for members that agree in :meth:`Member.batches`."""
    size, steps = member.batches(batch_size)
    if not stage.holdout:
        return size, steps
    every = _holdout_every(stage.holdout)
    rows = size * steps * (every - 1) // every  # as many as every such member keeps
    return min(size, rows), rows // min(size, rows)


def _kept_rows(member: Member, holdout: float) -> Tensor:
    """Training rows without a stratified share of them: every 1/share-th row of each stratum, in random order."""
    generator = numpy_generator("holdout", fold=member.fold, seed=member.seed)
    target = member.table.target[member.train].cpu().numpy()
    strata = target if target.ndim == 1 else target.sum(axis=1)
    order = generator.permutation(len(strata))
    sorted_rows = order[strata[order].argsort(kind="stable")]
    kept = torch.ones(len(strata), dtype=torch.bool)
    kept[torch.as_tensor(sorted_rows[:: _holdout_every(holdout)].copy())] = False
    return member.train[kept.to(member.train.device)]


def _holdout_every(share: float) -> int:
    return max(2, round(1 / share))
