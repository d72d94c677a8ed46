"""Training many models: group what can be stacked, train each group as a population, survive what fails.

When a population raises in training or scoring (out of memory, a plugin's error) it is halved, down to single
models; only the single models that still raise fail, each with its reason.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fusionbench.capacity import population_size
from fusionbench.config import TrainingSection
from fusionbench.device import peak_memory
from fusionbench.isolation import contained, reason_of
from fusionbench.population import Population
from fusionbench.progress import Stage
from fusionbench.training import Fit, Member, assemble, train


@dataclass(frozen=True)
class Job:
    """A member to train and who asked for it.

    Args:
        member: What to train.
        signature: Jobs with equal signatures and batches can be stacked.
        label: For messages, without anything about rows.
        owner: Handed back with the result.
    """

    member: Member
    signature: str
    label: str
    owner: Any


Scores = Mapping[str, NDArray[np.float32]]
Score = Callable[[Sequence[Job], Population], Sequence[Scores]]
Restore = Callable[[Sequence[Job], Population], Sequence[Fit]]


@dataclass(frozen=True)
class Trained:
    """A finished population: jobs, their fits, and what each was scored (nothing for a fit that failed)."""

    jobs: Sequence[Job]
    fits: Sequence[Fit]
    scores: Sequence[Scores]


def train_jobs(
    jobs: Sequence[Job],
    settings: TrainingSection,
    metric: str,
    stage: Stage,
    score: Score | None = None,
    restore: Restore | None = None,
) -> Iterator[Trained]:
    """Train jobs in populations and yield each as it finishes.

    Args:
        jobs: In any order; equal jobs give equal results however they are grouped.
        settings: The training section; ``population`` bounds how many are stacked.
        metric: Selects epochs.
        stage: Advanced by one for each job.
        score: What is made of the trained models while they are there; None: nothing.
        restore: Gives a new population the weights of models that were trained before, instead of training them.
    """
    for group in groups(jobs, settings, metric):
        waiting = [group]
        while waiting:
            part = waiting.pop(0)
            result = _train_part(part, settings, metric, stage, score, restore)
            if result is None:  # halve, and try each half
                _release()
                middle = len(part) // 2
                waiting[:0] = [part[:middle], part[middle:]]
                continue
            stage.advance(len(part), part[0].label)
            yield result


def _train_part(
    part: Sequence[Job],
    settings: TrainingSection,
    metric: str,
    stage: Stage,
    score: Score | None,
    restore: Restore | None,
) -> Trained | None:
    def report(epoch: int, best: float) -> None:
        stage.advance(0, f"{part[0].label}: {len(part)} models, epoch {epoch}, best {metric} {best:.3f}")

    members = [j.member for j in part]
    try:
        with contained(part[0].label):
            if restore is None:
                with peak_memory(members[0].table.device) as memory:
                    population, fits = train(members, settings, metric, report)
                for fit in fits:
                    fit.memory = memory.megabytes
            else:
                population = assemble(members)
                fits = list(restore(part, population))
            scores = [] if score is None else score(part, population)
    except Exception as problem:  # noqa: BLE001 - whatever a plugin raises fails its own cells only
        return None if len(part) > 1 else Trained(part, [Fit(failure=reason_of(problem))], [{}])
    return Trained(part, fits, scores)


def groups(jobs: Sequence[Job], settings: TrainingSection, metric: str) -> Iterator[list[Job]]:
    """Divide jobs into populations: what can be stacked together, as many as are allowed, or as memory holds."""
    alike: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        member = job.member
        key = (job.signature, id(member.table), member.batches(settings.batch_size), member.corruption.policy)
        alike.setdefault(key, []).append(job)
    for group in alike.values():
        size = settings.population or _size(group, settings, metric)
        yield from (group[i : i + size] for i in range(0, len(group), size))


def _size(group: Sequence[Job], settings: TrainingSection, metric: str) -> int:
    try:
        with contained(group[0].label):
            return population_size([j.member for j in group], settings, metric)
    except Exception:  # noqa: BLE001 - it will be raised again when single models are trained, and fail its own cells only
        _release()
        return 1


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
