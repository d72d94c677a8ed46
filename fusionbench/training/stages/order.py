"""The order in which a stage shows rows to each model, and what it hides of them: by purpose, fold, seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fusionbench.contract.stages import Stage
from fusionbench.missingness.corruption import draw_shown
from fusionbench.training.devices.device import sent
from fusionbench.training.members import Member, generator_of


class EpochRows(NamedTuple):
    """Rows for every model.

    Args:
        rows: Int64 ``[models, n]``, positions in the table.
        present: Bool ``[models, n, modalities]``: what they have.
        shown: Bool, as ``present``: what the model may see of it.
    """

    rows: Tensor
    present: Tensor
    shown: Tensor


def _content(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()


class EpochOrder:
    """Draws the rows of an epoch; the same for a model whatever is trained beside it.

    Args:
        members: As the stage trains them.
        stage: Names the draws.
        batch_size: Rows of a step.
        steps: Steps of an epoch; rows beyond them are left out of that epoch.
    """

    def __init__(self, members: Sequence[Member], stage: Stage, batch_size: int, steps: int) -> None:
        self.members, self.stage = members, stage
        self.batch_size, self.steps = batch_size, steps
        self._device = members[0].table.device
        # drawn on the host and sent once; once for members that see the same, as the trials of a study do
        self._on_host = [(m.train.cpu(), m.present.cpu()) for m in members]
        first: dict[Any, int] = {}
        keys = [
            (m.fold, m.seed, m.corruption, *map(_content, own)) for m, own in zip(members, self._on_host, strict=True)
        ]
        self._same_as = [first.setdefault(key, i) for i, key in enumerate(keys)]

    def of(self, epoch: int) -> EpochRows:
        """Return all rows of an epoch, ``n = steps * batch_size``."""
        own = {i: self._drawn(self.members[i], *self._on_host[i], epoch) for i in set(self._same_as)}
        drawn = [own[i] for i in self._same_as]
        return EpochRows(*(sent(torch.stack(parts), self._device) for parts in zip(*drawn, strict=True)))

    def batches(self, epoch: int) -> Iterator[EpochRows]:
        """Yield the rows of each step of an epoch; tensors without gaps, so that every step's lie alike."""
        every = self.of(epoch)
        for start in range(0, self.steps * self.batch_size, self.batch_size):
            yield EpochRows(*(t[:, start : start + self.batch_size].contiguous() for t in every))

    @property
    def alike(self) -> bool:
        """Whether every member sees the same rows in the same order, and the same of them."""
        return len(set(self._same_as)) == 1

    def _drawn(self, member: Member, train: Tensor, present: Tensor, epoch: int) -> EpochRows:
        order = torch.randperm(len(train), generator=generator_of("batch order", member, epoch, self.stage))
        rows = train[order[: self.steps * self.batch_size]]
        had = present[rows]
        policy, rate = member.corruption
        if policy == "none":
            return EpochRows(rows, had, had)
        shown = draw_shown(policy, rate, had, generator_of("corruption", member, epoch, self.stage))
        return EpochRows(rows, had, shown)
