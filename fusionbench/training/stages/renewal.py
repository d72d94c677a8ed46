"""What parts of a model keep between epochs: sums over the training rows, and the buffers made of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fusionbench.training import prediction
from fusionbench.training.members import Member
from fusionbench.training.population import Population
from fusionbench.training.recording.recorded import Programs, Recorded

Sums = dict[str, dict[str, Tensor]]


def recorded_sums(population: Population, programs: Programs) -> Recorded:
    """Return the pass over a chunk of rows as it can be recorded; what no sum needs is then not computed."""

    def summed(state: Any, inputs: Any) -> tuple[dict[str, Tensor], Any]:
        gathered, present, target = inputs
        with population.holding(*state), population.evaluating():
            view = population.encode(gathered, present, present)
            return {}, population.each("statistics", view, target)

    # encoders that run one by one are too much for a list
    return Recorded("the pass for statistics", summed, Programs(wanted=False) if population.apart else programs)


def renew(
    population: Population, members: Sequence[Member], completed: int, planned: int, sums: Recorded | None = None
) -> bool:
    """Sum statistics over the training rows, and let the parts renew their buffers.

    Args:
        population: The models.
        members: As the stage trains them.
        completed: Epochs done in this stage.
        planned: Epochs of this stage.
        sums: The pass over a chunk of rows (:func:`recorded_sums`); None: as the models say.

    Returns:
        Whether every buffer kept its place in memory.
    """
    template = population.template
    if not template.keeps_state:
        return True
    sums = recorded_sums(population, Programs(wanted=False)) if sums is None else sums
    with population.evaluating():
        found = _statistics(population, members, sums) if template.keeps_statistics else {}
        values = population.each("updates", found, static=(completed, planned))
    return population.set_buffers(values)


def _statistics(population: Population, members: Sequence[Member], sums: Recorded) -> Sums:
    """Sum over every training row exactly once, in chunks that do not depend on the other members.

    Chunks of differing length cannot be stacked and a plugin's sums know no padding: chunks of each length are
    summed in a pass of their own, in which members with chunks of another length do not count.
    """
    totals: Sums = {}
    for start in range(0, max(len(m.train) for m in members), prediction.EVALUATION_ROWS):
        chunks = [m.train[start : start + prediction.EVALUATION_ROWS] for m in members]
        for length in sorted({len(c) for c in chunks} - {0}):
            has = [len(c) == length for c in chunks]
            filler = chunks[has.index(True)]
            rows = torch.stack([c if own else filler for c, own in zip(chunks, has, strict=True)])
            counts = torch.tensor(has, device=rows.device)
            totals = _add(totals, tree_map(partial(_where_member, counts), _sums(population, members, rows, sums)))
    return totals


def _sums(population: Population, members: Sequence[Member], rows: Tensor, sums: Recorded) -> Sums:
    present = torch.stack([m.present[r] for m, r in zip(members, rows, strict=True)])
    alike = bool((rows == rows[:1]).all())
    inputs = (population.gather(rows, alike=alike), present, population.table.target[rows])
    found: Sums
    _, found = sums((population.parameters, population.buffers), inputs)
    return found


def _where_member(has: Tensor, sums: Tensor) -> Tensor:
    return torch.where(has.reshape(-1, *[1] * (sums.ndim - 1)), sums, 0)


def _add(totals: Sums, sums: Sums) -> Sums:
    if not totals:
        return sums
    return {k: {n: totals[k][n] + t for n, t in part.items()} for k, part in sums.items()}
