"""How long a run will take at most: one epoch of each arm is timed, and multiplied."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.isolation import contained, reason_of
from fusionbench.errors import DataError, WorkspaceError
from fusionbench.plan.estimates import Estimate
from fusionbench.progress import ProgressStage
from fusionbench.run.execution import Job, groups
from fusionbench.training.loop import train

PROBE_EPOCHS = 2


@dataclass(frozen=True)
class Work:
    """What is to be done for one arm.

    Args:
        label: The arm.
        models: Models and trials to train.
        jobs: Makes the first of them.
    """

    label: str
    models: int
    jobs: Callable[[], Sequence[Job]]


def upper_bound(works: Sequence[Work], settings: TrainingSection, metric: str, stage: ProgressStage) -> Estimate:
    """Return how long training takes if no model stops early; scoring is not in it.

    Args:
        works: What is to be done, by arm.
        settings: The training section.
        metric: Selects epochs.
        stage: Advanced by one for each arm.
    """
    probe = settings.model_copy(update={"epochs": PROBE_EPOCHS, "patience": PROBE_EPOCHS + 1})
    total, failures = 0.0, {}
    for work in works:
        try:
            with contained(work.label):
                total += _seconds_of_a_model(work, probe, metric, settings.epochs) * work.models
        except (DataError, WorkspaceError):
            raise
        except Exception as problem:  # noqa: BLE001 - whatever a plugin raises fails its own arm only
            failures[work.label] = reason_of(problem)
        stage.advance(1, work.label)
    return Estimate(total, failures)


def sum_of(own: Estimate, others: Mapping[str, Estimate]) -> Estimate:
    """Add the estimates of other settings, by name."""
    failures = {f"{label}, under '{name}'": why for name, e in others.items() for label, why in e.failures.items()}
    return Estimate(own.seconds + sum(e.seconds for e in others.values()), {**own.failures, **failures})


def _seconds_of_a_model(work: Work, probe: TrainingSection, metric: str, epochs: int) -> float:
    """Time a few epochs of the first population, and give all epochs to each of its models; what is fitted has none."""
    group = next(groups(work.jobs(), probe, metric))
    start = time.perf_counter()
    train([j.member for j in group], probe, metric)
    seconds = (time.perf_counter() - start) / len(group)
    return seconds if group[0].member.alone else seconds / PROBE_EPOCHS * epochs
