"""How many models are stacked: as many as pay off, and as memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import torch

from fusionbench.config.sections import TrainingSection
from fusionbench.run.crew import workers_for
from fusionbench.training.devices.device import free_memory, peak_memory
from fusionbench.training.loop import train
from fusionbench.training.members import Member
from fusionbench.training.prediction import EVALUATION_ROWS

T = TypeVar("T")
ON_CPU: Final = 16
"""More models are hardly faster on a CPU: their parameters leave its caches (docs/performance.md)."""
ON_CUDA: Final = 256
SHARE: Final = 0.8
"""Of free memory; the rest is for what was not measured: scoring, fragments, other processes."""
COPIES: Final = 8
"""Tensors as large as a parameter while training: itself, gradient, two moments, two of the step, best, initial."""


def population_size(members: Sequence[Member], settings: TrainingSection, metric: str) -> int:
    """Return how many of these members, which can be stacked, are to be trained together.

    On CUDA two members are trained for a few steps, and their peak memory is compared with what is free. On a CPU the
    state of a model is counted, without activations.
    """
    device = members[0].table.device
    most = ON_CUDA if device.type == "cuda" else ON_CPU
    free = free_memory(device)
    free = None if free is None else free // workers_for(device, settings.workers)
    if free is None or len(members) == 1:
        return most
    needed = measured_bytes(members, settings, metric) if device.type == "cuda" else counted_bytes(members[0])
    return fitting(free, needed, most)


class Sizes:
    """The largest populations that are tried, by signature; one for a run, so that memory runs out once and not each round.

    Args:
        note: Shows a line, for what is said once in a run.
    """

    def __init__(self, note: Callable[[str], None] = lambda _: None) -> None:
        self._most: dict[str, int] = {}
        self._note, self._said = note, set[str]()

    def say_once(self, line: str) -> None:
        """Show a line unless it was shown before."""
        if line not in self._said:
            self._said.add(line)
            self._note(line)

    def parts(self, signature: str, jobs: Sequence[T]) -> list[Sequence[T]]:
        """Divide what can be stacked into parts that may fit."""
        most = self._most.get(signature, len(jobs))
        return [jobs[i : i + most] for i in range(0, len(jobs), most)]

    def too_large(self, signature: str, size: int) -> None:
        """Say that memory ran out with this many models, two or more; half as many are tried from now on."""
        self._most[signature] = (size + 1) // 2


def fitting(free: int, needed: int, most: int) -> int:
    """Return how many models fit: from 1 to ``most``.

    Args:
        free: Bytes that can still be allocated.
        needed: Bytes of one model in training.
        most: What pays off.
    """
    return max(1, min(most, int(SHARE * free) // max(1, needed)))


def counted_bytes(member: Member) -> int:
    """Return the bytes of one model's parameters and what training keeps beside them."""
    return COPIES * sum(p.numel() * p.element_size() for p in member.build().parameters())


def measured_bytes(members: Sequence[Member], settings: TrainingSection, metric: str) -> int:
    """Return the bytes that one model takes at its peak, from an epoch of two over some of their rows."""
    rows = max(settings.batch_size, EVALUATION_ROWS)
    pair = [replace(m, train=m.train[:rows]) for m in members[:2]]
    short = settings.model_copy(update={"epochs": 1, "traces": False})
    device = members[0].table.device
    before = torch.cuda.memory_allocated(device)
    with peak_memory(device) as peak:
        train(pair, short, metric)
    return int(peak.megabytes * 2**20 - before) // len(pair)
