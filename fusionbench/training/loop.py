"""The one training loop. It trains a population; a single model is a population of one.

The loop owns data order, hiding, noise, the optimiser, early stopping, stages and statistics. Methods
are additions to it (see :mod:`fusionbench.contract`); it knows none of them by name.

Every random draw is made on the CPU by a generator keyed with the member's fold, seed and epoch, so a
member's course does not depend on which others are trained beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch import Tensor

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.learners import FittedStrategy
from fusionbench.contract.stages import Stage
from fusionbench.training.fitted import fit_population
from fusionbench.training.members import Fit, Member, Report, allowed_epochs, spans
from fusionbench.training.model import count_parameters
from fusionbench.training.population import Population
from fusionbench.training.prediction import assemble
from fusionbench.training.recording.recorded import Programs
from fusionbench.training.stages.probes import probe
from fusionbench.training.stages.run import StageRun, overrides_of


def train(
    members: Sequence[Member],
    settings: TrainingSection,
    metric: str,
    report: Report | None = None,
    programs: Programs | None = None,
) -> tuple[Population, list[Fit]]:
    """Train members together and leave each at its best epoch.

    Args:
        members: They must share table, architecture, shapes, and :meth:`Member.batches`.
        settings: Epochs, batch size, optimiser, patience.
        metric: A metric of :data:`fusionbench.metrics.scores.METRICS`.
        report: Called after each epoch.
        programs: Lists of operators that other populations of the same architecture have left; None: there are none.
    """
    programs = Programs(wanted=settings.record) if programs is None else programs
    start = time.perf_counter()
    population = assemble(members)
    if isinstance(population.template.fusion, FittedStrategy):
        fit = fit_population(population, members, settings, metric, report)
        fit.seconds = time.perf_counter() - start
        return population, [fit]
    stages = population.template.fusion.stages()
    allowed = allowed_epochs(stages, settings.epochs)
    fits = [Fit(parameters=count_parameters(population.template), allowed=allowed) for _ in members]
    initial = population.snapshot()
    later: dict[str, Tensor] = {}
    previous: StageRun | None = None
    lengths = spans(stages, settings.epochs)
    planned = [0 if s.replicas else span.planned for s, span in zip(stages, lengths, strict=True)]
    for number, stage in enumerate(stages, 1):
        population.set_buffers(overrides_of(stage.overrides, population) | later)
        if stage.replicas:
            later |= probe(population, members, stage, settings, metric, fits, programs)
        else:
            run = StageRun(population, members, stage, settings, metric, programs, lengths[number - 1])
            if stage.resumes and previous is not None:
                run.go_on_from(previous)
            run.run(fits, None if report is None else _in_all(report, sum(planned[: number - 1]), sum(planned)))
            previous = run
            if not next((s.resumes for s in stages[number:] if not s.replicas), False):
                population.restore(run.stopping.best_state)
        _inherit(population, stage, initial)
    for fit in fits:
        fit.seconds = (time.perf_counter() - start) / len(members)
    return population, fits


def _in_all(report: Report, before: int, planned: int) -> Report:
    """Tell of a stage as a part of all stages."""
    return lambda course: report(course._replace(epochs=before + course.epochs, planned=planned))


def _inherit(population: Population, stage: Stage, initial: dict[str, Tensor]) -> None:
    if stage.keep is None:
        return
    population.restore(initial, [n for n in population.parameters if not n.startswith(stage.keep)])
