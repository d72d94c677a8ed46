"""One stage of training, epoch by epoch: its order, its steps, its buffers, its judgement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionbench.config.sections import LEAST_STEPS, TrainingSection
from fusionbench.contract.stages import Stage
from fusionbench.training.members import Course, Fit, Member, Report, Span, generator_of, planned_epochs, stage_batches
from fusionbench.training.pace import Pace
from fusionbench.training.population import Population
from fusionbench.training.recording.recorded import Programs
from fusionbench.training.stages.order import EpochOrder
from fusionbench.training.stages.renewal import recorded_sums, renew
from fusionbench.training.stages.step import TrainingStep
from fusionbench.training.stages.stopping import EarlyStopping, Verdict
from fusionbench.training.stages.tracing import Traces, Tracing, add_to
from fusionbench.training.stages.validation import Validation


class StageRun:
    """A population through one stage; afterwards ``stopping`` has each model's best state.

    Args:
        population: The models, as the stage before left them.
        members: What they were made of.
        stage: What is trained, for how long, and what selects the epoch.
        settings: The training section.
        metric: A metric of :data:`fusionbench.metrics.scores.METRICS`.
        programs: Where lists of operators are kept; None: steps run as the models say.
        span: How long it is; None: as it says, and no other stage resumes it.
    """

    def __init__(
        self,
        population: Population,
        members: Sequence[Member],
        stage: Stage,
        settings: TrainingSection,
        metric: str,
        programs: Programs | None = None,
        span: Span | None = None,
    ) -> None:
        self.population, self.stage, self.settings = population, stage, settings
        self.members = [m.in_stage(stage) for m in members]
        self.planned, stretch = span or Span(*[planned_epochs(stage, settings.epochs)] * 2)
        self.epochs_before = 0
        self.order = EpochOrder(self.members, stage, *stage_batches(members[0], stage, settings.batch_size))
        self.step = TrainingStep(population, members, stage, settings, programs)
        self.step.alike = self.order.alike
        self.step.pace = Pace(settings, population.size, stretch * self.order.steps)
        self.validation = Validation(population, members, stage, settings, metric)
        first = first_epoch(settings.least_steps, self.order.steps, stretch)
        self.stopping = EarlyStopping(population.snapshot(), settings.patience, self.validation.groups, first=first)
        self.losses = torch.full((population.size,), torch.nan)  # of each model's best epoch
        lists = programs if programs is not None and population.table.device.type == "cpu" else Programs(wanted=False)
        self._sums = recorded_sums(population, lists)
        self.tracing = Tracing(population, self.order, self.validation.held)

    def go_on_from(self, previous: StageRun) -> None:
        """Take over the optimiser, its pace, the patience and the best epochs of the stage that this one resumes."""
        self.epochs_before = previous.epochs_before + previous.planned
        self.step.optimiser, self.step.pace = previous.step.optimiser, previous.step.pace
        self.stopping.go_on_from(previous.stopping)
        self.losses = previous.losses

    def run(self, fits: Sequence[Fit], report: Report | None) -> None:
        """Train until the planned epochs are over or every member has stopped."""
        self.renew(0)
        for epoch in range(self.planned if any(self.stopping.running) else 0):
            self._epoch(epoch, fits)
            if report is not None:
                report(Course(epoch + 1, self.planned, self.stopping.best[:, 0].tolist()))
            if not any(self.stopping.running):
                break
        for fit, verdict, loss in zip(fits, self.stopping.verdicts(), self.losses.tolist(), strict=True):
            fit.loss = loss
            self._conclude(fit, verdict)

    def renew(self, completed: int) -> None:
        """Let the parts renew what they keep between epochs."""
        if not renew(self.population, self.members, completed, self.planned, self._sums):
            self.step.forget()
        modulation, noise = self.population.wants(completed, self.planned)
        self.step.wants(modulation=modulation, noise=noise)

    def _epoch(self, epoch: int, fits: Sequence[Fit]) -> None:
        number = self.epochs_before + epoch + 1
        running = self.step.running = self.stopping.running
        self.stopping.lose(self._train(epoch), number)
        traces = self.tracing.of_parts(epoch) if self.settings.traces else None
        self.renew(epoch + 1)
        if traces is not None:
            traces |= self.tracing.of_imputation()
        scores = self.validation.scores()
        self.stopping.judge(scores, number, {**self.population.parameters, **self.population.buffers})
        own = scores[:, 0].tolist()
        self.step.pace.judge(own)
        chosen = (self.stopping.best_epoch[:, 0] == number).cpu()
        self.losses = torch.where(chosen, self.validation.losses.cpu(), self.losses)
        for model, score in enumerate(own):
            if running[model]:
                self._note(fits[model], model, score, traces)

    def _train(self, epoch: int) -> Tensor:
        """Take every step of an epoch; return the sums of the losses, ``[models]``."""
        noise = self._generators("noise", epoch)
        # two draws of one purpose would move each other where one of them is left out
        shaking = self._generators("gradient noise", epoch) if self.population.draws_noise else noise
        total = torch.zeros(self.population.size, device=self.population.table.device)
        for batch in self.order.batches(epoch):
            total += self.step(batch, self.stopping.active, noise, shaking)
        return total

    def _generators(self, purpose: str, epoch: int) -> list[torch.Generator]:
        return [generator_of(purpose, m, epoch, self.stage) for m in self.members]

    def _note(self, fit: Fit, model: int, score: float, traces: Traces | None) -> None:
        if traces is not None:
            add_to(fit, traces, model)
        fit.epochs += 1
        fit.rows += self._rows_of_an_epoch(self.members[model])
        fit.history.append(score)
        if self._falls_behind(fit, self.members[model].floor):
            fit.pruned = True
            self.stopping.stop(model)

    def _falls_behind(self, fit: Fit, floor: Sequence[float]) -> bool:
        # what a stage per modality scores is not the prediction, and before the first epoch that counts nothing is judged
        if not floor or self.stage.select != "joint" or len(fit.history) < self.stopping.first:
            return False
        return max(fit.history) < floor[min(len(fit.history), len(floor)) - 1]

    def _rows_of_an_epoch(self, member: Member) -> int:
        summed = len(member.train) if self.population.template.keeps_statistics else 0
        return self.order.steps * self.order.batch_size + len(member.validation) + summed

    def _conclude(self, fit: Fit, verdict: Verdict) -> None:
        fit.score, fit.best_epoch = verdict.score, verdict.epoch
        if fit.failure is not None:  # of an earlier stage
            return
        if verdict.diverged_in:
            epoch = verdict.diverged_in
            fit.failure = f"diverged: the loss was not finite in epoch {epoch} of stage '{self.stage.name}'"
        elif verdict.unscored is not None:
            rows = self.validation.described(verdict.unscored)
            fit.failure = (
                f"no epoch could be scored: '{self.validation.metric}' on the {rows} is undefined (one class only?); use "
                "fewer folds, a larger splits.validation, or training.selection: loss"
            )


def first_epoch(least_steps: int | None, steps: int, stretch: int) -> int:
    """Return the first epoch that can be chosen, from 1.

    Args:
        least_steps: Of the optimiser; None: the usual number, but no more than half of the stretch, so that early stopping
            is left something to decide where an epoch has few steps.
        steps: Of an epoch.
        stretch: Epochs of the stages that resume each other.
    """
    if least_steps is None:
        return max(1, min(math.ceil(LEAST_STEPS / steps), stretch // 2))
    return min(stretch, max(1, math.ceil(least_steps / steps)))


def overrides_of(overrides: Mapping[str, Tensor], population: Population) -> dict[str, Tensor]:
    """Return values for buffers of the strategy as every model of a population takes them."""
    device = population.table.device
    return {f"fusion.{n}": v.to(device).expand(population.size, *v.shape) for n, v in overrides.items()}
