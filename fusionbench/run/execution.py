"""Training many models: group what can be stacked, train each group as a population, survive what fails.

When a population raises in training or scoring (out of memory, a plugin's error) it is halved, down to single
models; only the single models that still raise fail, each with its reason. Where memory ran out, later populations of
the same signature start at the size that is tried next.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.isolation import contained, reason_of
from fusionbench.metrics.registry import METRICS
from fusionbench.progress import Best, ProgressStage
from fusionbench.run.capacity import Sizes, population_size
from fusionbench.training.devices.device import freed_memory_kept, peak_memory
from fusionbench.training.loop import train
from fusionbench.training.members import Course, Fit, Member
from fusionbench.training.population import Population
from fusionbench.training.prediction import assemble


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


class _Problem(Enum):
    """Why several models could not be trained together."""

    MEMORY = auto()
    OTHER = auto()


def train_jobs(
    jobs: Sequence[Job],
    settings: TrainingSection,
    metric: str,
    stage: ProgressStage,
    score: Score | None = None,
    restore: Restore | None = None,
    sizes: Sizes | None = None,
) -> Iterator[Trained]:
    """Train jobs in populations and yield each as it finishes.

    Args:
        jobs: In any order; equal jobs give equal results however they are grouped.
        settings: The training section; ``population`` bounds how many are stacked.
        metric: Selects epochs.
        stage: Advanced by one for each job.
        score: What is made of the trained models while they are there; None: nothing.
        restore: Gives a new population the weights of models that were trained before, instead of training them.
        sizes: What is known of the sizes that fit; learns where memory runs out. None: nothing, and only for these jobs.
    """
    sizes = Sizes() if sizes is None else sizes
    for group in groups(jobs, settings, metric):
        waiting: list[Sequence[Job]] = [group]
        while waiting:
            part, *rest = sizes.parts(waiting[0][0].signature, waiting[0])
            waiting[:1] = rest
            result = _train_part(part, settings, metric, stage, score, restore)
            if not isinstance(result, Trained):  # halve, and try each half
                _release()
                if result is _Problem.MEMORY:
                    sizes.too_large(part[0].signature, len(part))
                middle = len(part) // 2
                waiting[:0] = [part] if result is _Problem.MEMORY else [part[:middle], part[middle:]]
                continue
            stage.advance(len(part), part[0].label)
            yield result


def _train_part(
    part: Sequence[Job],
    settings: TrainingSection,
    metric: str,
    stage: ProgressStage,
    score: Score | None,
    restore: Restore | None,
) -> Trained | _Problem:

    def report(course: Course) -> None:
        # scoring comes after the last epoch, so that not all is done with it
        stage.working(
            len(part), course.epochs / (course.planned + 1), _note(part, course), _best(part, course, measure)
        )

    measure = "loss" if settings.selection == "loss" else metric
    members = [j.member for j in part]
    try:
        with contained(part[0].label, watched="methods") as guard:
            if restore is None:
                device = members[0].table.device
                with freed_memory_kept(device), peak_memory(device) as memory:
                    population, fits = train(members, settings, metric, report)
                for fit in fits:
                    fit.memory = memory.megabytes
            else:
                population = assemble(members)
                fits = list(restore(part, population))
            guard.put_back()  # what is stored in scoring is not to suffer from the training
            scores: Sequence[Scores] = [] if score is None else score(part, population)
    except Exception as problem:  # noqa: BLE001 - whatever a plugin raises fails its own cells only
        if len(part) > 1:  # without what was raised: its traceback would keep the population in memory
            return _Problem.MEMORY if isinstance(problem, torch.OutOfMemoryError) else _Problem.OTHER
        return Trained(part, [Fit(failure=reason_of(problem))], [{}])
    return Trained(part, fits, scores)


def _note(part: Sequence[Job], course: Course) -> str:
    together = f" and {len(part) - 1} more" if len(part) > 1 else ""
    return f"{part[0].label}{together}: epoch {course.epochs} of {course.planned} at most"


def _best(part: Sequence[Job], course: Course, measure: str) -> Best | None:
    """The member with the best validation score; None where no epoch could be scored."""
    leader = int(np.argmax(course.scores))
    score = course.scores[leader]
    higher = measure != "loss" and METRICS[measure].higher_is_better
    # scores are such that higher is better, also where the measure is not
    return Best(part[leader].label, measure, score if higher else -score, higher) if np.isfinite(score) else None


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
            size = population_size([j.member for j in group], settings, metric)
    except Exception:  # noqa: BLE001 - it will be raised again when single models are trained, and fail its own cells only
        _release()
        return 1
    return size


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
