"""Training many models: group what can be stacked, train each group as a population, survive what fails.

When a population raises (out of memory, a plugin's error) it is halved, down to single models; only the
single models that still raise fail, each with its reason.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fusionbench.config import TrainingSection
from fusionbench.population import Population
from fusionbench.progress import Stage
from fusionbench.training import Fit, Member, train

DEFAULT_POPULATION = 16


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


@dataclass(frozen=True)
class Trained:
    """A finished population: jobs, their fits, and the models (None when training failed)."""

    jobs: Sequence[Job]
    fits: Sequence[Fit]
    population: Population | None


def train_jobs(jobs: Sequence[Job], settings: TrainingSection, metric: str, stage: Stage) -> Iterator[Trained]:
    """Train jobs in populations and yield each as it finishes.

    Args:
        jobs: In any order; equal jobs give equal results however they are grouped.
        settings: The training section; ``population`` bounds how many are stacked.
        metric: Selects epochs.
        stage: Advanced by one for each job.
    """
    for group in _groups(jobs, settings):
        waiting = [group]
        while waiting:
            part = waiting.pop(0)
            result = _train_part(part, settings, metric, stage)
            if result is None:  # halve, and try each half
                middle = len(part) // 2
                waiting[:0] = [part[:middle], part[middle:]]
                continue
            stage.advance(len(part), part[0].label)
            yield result


def _train_part(part: Sequence[Job], settings: TrainingSection, metric: str, stage: Stage) -> Trained | None:
    def report(epoch: int, best: float) -> None:
        stage.advance(0, f"{part[0].label}: {len(part)} models, epoch {epoch}, best {metric} {best:.3f}")

    try:
        population, fits = train([j.member for j in part], settings, metric, report)
    except Exception as problem:  # noqa: BLE001 - whatever a plugin raises fails its own cells only
        if len(part) > 1:
            _release()
            return None
        return Trained(part, [Fit(failure=_reason(problem))], None)
    return Trained(part, fits, population)


def _groups(jobs: Sequence[Job], settings: TrainingSection) -> list[list[Job]]:
    groups: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        member = job.member
        key = (job.signature, id(member.table), member.batches(settings.batch_size), member.corruption.policy)
        groups.setdefault(key, []).append(job)
    size = settings.population or DEFAULT_POPULATION
    return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _reason(problem: BaseException) -> str:
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno})" if trace else ""
    first_line = str(problem).strip().split("\n", 1)[0]
    return f"{type(problem).__name__}: {first_line}{place}"
