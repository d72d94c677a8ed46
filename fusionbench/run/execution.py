"""Training many models: group what can be stacked, train the groups side by side as populations, survive what fails.

When a population raises in training or scoring (out of memory, a plugin's error), or ends its process, it is halved, down
to single models; only the single models that still do fail, each with its reason. Where memory ran out, later populations
of the same signature start at the size that is tried next.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
import torch

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.isolation import contained, reason_of
from fusionbench.metrics.registry import METRICS
from fusionbench.progress import Best, ProgressStage
from fusionbench.run.capacity import Sizes, counted_bytes, population_size
from fusionbench.run.crew import Lost, crew_for, workers_for
from fusionbench.training.devices.device import freed_memory_kept, peak_memory
from fusionbench.training.loop import train
from fusionbench.training.members import Course, Fit, Member
from fusionbench.training.population import Population
from fusionbench.training.prediction import assemble
from fusionbench.training.recording.recorded import Programs


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


Scores = Mapping[str, Any]
"""What was computed of one trained model; nothing here looks into it."""
Score = Callable[[Sequence[Job], Population], Sequence[Scores]]
Restore = Callable[[Sequence[Job], Population], Sequence[Fit]]


@dataclass(frozen=True)
class Trained:
    """A finished population.

    Args:
        jobs: What it was made of.
        fits: How each went.
        scores: What each was scored; nothing for a fit that failed.
    """

    jobs: Sequence[Job]
    fits: Sequence[Fit]
    scores: Sequence[Scores]


class _Problem(Enum):
    """Why several models could not be trained together."""

    MEMORY = auto()
    OTHER = auto()


@dataclass(frozen=True)
class _Part:
    """Neighbours of a group: what is trained as one population."""

    group: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class _Done(NamedTuple):
    """What came of a part, and why steps of it were not recorded."""

    fits: Sequence[Fit]
    scores: Sequence[Scores]
    reasons: Mapping[str, str] = {}


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
        jobs: In any order; equal jobs give equal results however they are grouped, and however many are trained at a time.
        settings: The training section; ``population`` bounds how many are stacked, ``workers`` how many populations are
            trained side by side.
        metric: Selects epochs.
        stage: Advanced by one for each job.
        score: What is made of the trained models while they are there; None: nothing. It may run in a fork of this
            process: what it returns comes back, and what it writes to files; what it notes in memory does not.
        restore: Gives a new population the weights of models that were trained before, instead of training them.
        sizes: What is known of the sizes that fit; learns where memory runs out. None: nothing, and only for these jobs.
    """
    sizes = Sizes() if sizes is None else sizes
    if not jobs:
        return
    device = jobs[0].member.table.device
    workers = workers_for(device, settings.workers)
    every = list(groups(jobs, settings, metric))
    if workers > 1:  # the largest first, or the last one would be waited for alone
        every = sorted(_for_workers(every, workers), key=_weight, reverse=True)
    waiting = _Waiting(every, sizes)
    programs: dict[str, Programs] = {}

    def do(part: _Part, tell: Callable[[Course], None]) -> _Done | _Problem:
        chosen = every[part.group][part.start : part.stop]
        known = programs.setdefault(chosen[0].signature, Programs(wanted=settings.record))
        return _train_part(chosen, settings, metric, tell, score, restore, known)

    watch = _Watch(stage, every, settings, metric)
    crew = crew_for(device, len(waiting.parts), settings.workers)
    for part, result in crew.work(waiting.parts, do, watch.told):
        chosen = every[part.group][part.start : part.stop]
        watch.forget(part)
        came = _lost(chosen, result) if isinstance(result, Lost) else result
        if not isinstance(came, _Done):
            _release()
            waiting.halve(part, memory=came is _Problem.MEMORY)
            continue
        for what, reason in came.reasons.items():
            sizes.say_once(f"{_arm_of(chosen[0])}: {what} is not recorded and runs as it is, slower: it {reason}")
        stage.advance(len(part), chosen[0].label)
        yield Trained(chosen, came.fits, came.scores)


class _Waiting:
    """Parts of groups that are to be trained; none larger than is known to fit."""

    def __init__(self, every: Sequence[Sequence[Job]], sizes: Sizes) -> None:
        self._every, self._sizes = every, sizes
        self.parts: deque[_Part] = deque()
        for number, group in enumerate(every):
            self.parts.extend(self._fitting(_Part(number, 0, len(group))))

    def halve(self, part: _Part, *, memory: bool) -> None:
        """Put a part that could not be trained back, in smaller ones; where memory ran out, cut the others as well."""
        if not memory:
            middle = part.start + len(part) // 2
            self.parts.extendleft((replace(part, start=middle), replace(part, stop=middle)))
            return
        self._sizes.too_large(self._every[part.group][0].signature, len(part))
        cut = [p for whole in (part, *self.parts) for p in self._fitting(whole)]
        self.parts.clear()
        self.parts.extend(cut)

    def _fitting(self, part: _Part) -> list[_Part]:
        signature = self._every[part.group][0].signature
        return [
            _Part(part.group, numbers[0], numbers[-1] + 1)
            for numbers in self._sizes.parts(signature, range(part.start, part.stop))
        ]


class _Watch:
    """Shows how far the populations are that are trained at a time."""

    def __init__(
        self, stage: ProgressStage, every: Sequence[Sequence[Job]], settings: TrainingSection, metric: str
    ) -> None:
        self._stage, self._every = stage, every
        self._measure = "loss" if settings.selection == "loss" else metric
        self._courses: dict[_Part, Course] = {}

    def told(self, part: _Part, course: Course) -> None:
        """Hear how far a population is."""
        self._courses[part] = course
        chosen = self._every[part.group][part.start : part.stop]
        models = sum(map(len, self._courses))
        # scoring comes after the last epoch, so that not all is done with it
        share = sum(len(p) / models * (c.epochs / (c.planned + 1)) for p, c in self._courses.items())
        self._stage.working(models, share, _note(chosen, course), _best(chosen, course, self._measure))

    def forget(self, part: _Part) -> None:
        """One is done, or is to be tried in smaller parts."""
        self._courses.pop(part, None)


def _arm_of(job: Job) -> str:
    return job.label.partition(",")[0]


def _for_workers(every: list[list[Job]], workers: int) -> list[list[Job]]:
    """Divide the largest groups until there is one for each worker; a model's numbers do not depend on its company."""
    while len(every) < workers and max(map(len, every)) > 1:
        largest = max(range(len(every)), key=lambda i: len(every[i]))
        middle = (len(every[largest]) + 1) // 2
        every[largest : largest + 1] = [every[largest][:middle], every[largest][middle:]]
    return every


def _weight(group: Sequence[Job]) -> int:
    """How much there is to compute in a group, as far as its parameters say."""
    try:
        with contained(group[0].label):
            return len(group) * counted_bytes(group[0].member)
    except Exception:  # noqa: BLE001 - it will be raised again when its models are trained, and fail them only
        return 0


def _lost(part: Sequence[Job], lost: Lost) -> _Done | _Problem:
    """What it means that the process of a part ended: killed, it may have been for its memory."""
    if len(part) > 1:
        return _Problem.MEMORY if "SIGKILL" in lost.reason else _Problem.OTHER
    return _Done([Fit(failure=f"its process ended while it was trained: {lost.reason}")], [{}])


def _train_part(
    part: Sequence[Job],
    settings: TrainingSection,
    metric: str,
    tell: Callable[[Course], None],
    score: Score | None,
    restore: Restore | None,
    programs: Programs,
) -> _Done | _Problem:
    members = [j.member for j in part]
    try:
        with contained(part[0].label, watched="methods") as guard:
            if restore is None:
                device = members[0].table.device
                with freed_memory_kept(device), peak_memory(device) as memory:
                    population, fits = train(members, settings, metric, tell, programs)
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
        return _Done([Fit(failure=reason_of(problem))], [{}])
    return _Done(fits, scores, dict(programs.reasons))


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
        size = 1 if group[0].member.alone else settings.population or _size(group, settings, metric)
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
