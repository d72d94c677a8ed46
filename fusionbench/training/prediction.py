"""Members made into a population, and its predictions, in bounded parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fusionbench.targets import TargetKind, prevalence_logits, probabilities
from fusionbench.training.members import Member
from fusionbench.training.population import Population

EVALUATION_ROWS = 1024  # rows of one evaluation pass; bounds memory, changes no number


def assemble(members: Sequence[Member]) -> Population:
    """Build the members' models, untrained, as one population.

    Each begins at the prevalence of its own training rows: a model whose outputs begin at one half spends its first epochs on
    an intercept, and one that stops early never gets there.
    """
    models = [m.build() for m in members]
    for model, m in zip(models, members, strict=True):
        target = m.table.target[m.train].cpu()
        with torch.no_grad():
            model.fusion.start_at(prevalence_logits(target, m.table.kind, m.table.num_outputs))
    return Population(models, members[0].table, [m.train for m in members], [m.present for m in members])


def predict_conditions(population: Population, rows: Tensor, present: Tensor) -> Tensor:
    """Score rows under many conditions, encoding them once.

    Args:
        population: Trained models.
        rows: Int64 ``[models, n]``.
        present: Bool ``[conditions, models, n, modalities]``.

    Returns:
        Logits, float32 ``[conditions, models, n, outputs]``.
    """
    chunks = []
    with population.evaluating():
        for r, p in bounded(rows, present):
            view = population.view(r, p[0])
            views = [view._replace(present=shown, available=shown) for shown in p]
            chunks.append(torch.stack([population.predict(v) for v in views]))
    return torch.cat(chunks, dim=2).float()


def as_probabilities(logits: Tensor, kind: TargetKind) -> Tensor:
    """Return probabilities of logits ``[..., outputs]``, float64.

    A vector unit's sigmoid of single floats rounds the last rows of a tensor otherwise, and they are others in other company.
    """
    return probabilities(logits.double(), kind)


def bounded(rows: Tensor, present: Tensor, *more: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Bounded parts of rows ``[models, n]`` with who is present, ``[..., models, n, modalities]``, and more ``[models, n]``."""
    pieces = [torch.split(t, EVALUATION_ROWS, dim=1) for t in (rows, *more)]
    pieces.insert(1, torch.split(present, EVALUATION_ROWS, dim=-2))
    return zip(*pieces, strict=True)
