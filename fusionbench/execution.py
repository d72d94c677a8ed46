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


Scores = Mapping[str, NDArray[np.float32]]
Score = Callable[[Sequence[Job], Population], Sequence[Scores]]


@dataclass(frozen=True)
class Trained:
    """A finished population: jobs, their fits, and what each was scored (nothing for a fit that failed)."""

    jobs: Sequence[Job]
    fits: Sequence[Fit]
    scores: Sequence[Scores]


def train_jobs(
    jobs: Sequence[Job], settings: TrainingSection, metric: str, stage: Stage, score: Score | None = None
) -> Iterator[Trained]:
    """Train jobs in populations and yield each as it finishes.

    Args:
        jobs: In any order; equal jobs give equal results however they are grouped.
        settings: The training section; ``population`` bounds how many are stacked.
        metric: Selects epochs.
        stage: Advanced by one for each job.
        score: What is made of the trained models while they are there; None: nothing.
    """
    for group in _groups(jobs, settings):
        waiting = [group]
        while waiting:
            part = waiting.pop(0)
            result = _train_part(part, settings, metric, stage, score)
            if result is None:  # halve, and try each half
                _release()
                middle = len(part) // 2
                waiting[:0] = [part[:middle], part[middle:]]
                continue
            stage.advance(len(part), part[0].label)
            yield result


def _train_part(
    part: Sequence[Job], settings: TrainingSection, metric: str, stage: Stage, score: Score | None
) -> Trained | None:
    def report(epoch: int, best: float) -> None:
        stage.advance(0, f"{part[0].label}: {len(part)} models, epoch {epoch}, best {metric} {best:.3f}")

    try:
        population, fits = train([j.member for j in part], settings, metric, report)
        scores = [] if score is None else score(part, population)
    except Exception as problem:  # noqa: BLE001 - whatever a plugin raises fails its own cells only
        return None if len(part) > 1 else Trained(part, [Fit(failure=reason_of(problem))], [{}])
    return Trained(part, fits, scores)


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


def reason_of(problem: BaseException) -> str:
    """Return what a plugin raised and where, in one line."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno})" if trace else ""
    first_line = str(problem).strip().split("\n", 1)[0]
    return f"{type(problem).__name__}: {first_line}{place}"
