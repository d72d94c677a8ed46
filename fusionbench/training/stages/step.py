"""One step of training: forward, backward, what the strategy does to gradients, the optimiser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.stages import Stage
from fusionbench.training.devices import graphs
from fusionbench.training.devices.graphs import RecordedStep, StepCall
from fusionbench.training.gradient_noise import GradientNoise
from fusionbench.training.members import Member
from fusionbench.training.model import Learned
from fusionbench.training.optimisers import AdamW, FusedAdamW, Optimiser, Sgd
from fusionbench.training.population import Population
from fusionbench.training.stages.order import EpochRows


class TrainingStep:
    """Steps a population, as it is or recorded.

    Args:
        population: What is trained.
        members: With the rates of each.
        stage: What of it stays as it is.
        settings: Optimiser, and whether steps are recorded.
    """

    def __init__(
        self, population: Population, members: Sequence[Member], stage: Stage, settings: TrainingSection
    ) -> None:
        self._population = population
        trained = {n: p for n, p in population.parameters.items() if p.requires_grad and not n.startswith(stage.frozen)}
        self._trained = list(trained)
        recorder = graphs.recorder_for(population.table.device) if settings.graph else None
        self.optimiser = _optimiser(members, settings, population, recorded=recorder is not None)
        self._step: StepCall = self.take if recorder is None else RecordedStep(self.take, recorder)
        noisy = population.template.modulates is not None and population.template.fusion.gradient_noise
        self._gradient_noise = GradientNoise(trained if noisy else {})
        self.running = [True] * population.size
        """Who is active, known without asking the device."""

    def __call__(self, batch: EpochRows, active: Tensor, noise: Sequence[torch.Generator]) -> Tensor:
        """Step every model that is active, once; return the losses, ``[models]``, valid until the next step.

        Args:
            batch: The rows of the step.
            active: Bool ``[models]``, as ``running``.
            noise: Where each model's draws come from.
        """
        self._population.draw_noise(batch.rows.shape[1], noise)
        self._gradient_noise.draw(noise)
        return self._step(*batch, active)

    def forget(self) -> None:
        """Something that a recorded step reads has taken another place in memory."""
        if isinstance(self._step, RecordedStep):
            self._step.forget()

    def take(self, rows: Tensor, present: Tensor, shown: Tensor, active: Tensor) -> Tensor:
        """Do the step; what it reads beyond its arguments keeps its place in memory, so that it can be recorded."""
        population = self._population
        target = population.table.target[rows]
        learned = population.learn(population.view(rows, shown, present), target)
        parameters = {n: population.parameters[n] for n in self._trained}
        found = torch.autograd.grad(learned.loss.sum(), list(parameters.values()), allow_unused=True)
        gradients = {n: g for n, g in zip(parameters, found, strict=True) if g is not None}
        with torch.no_grad():
            self._change(parameters, gradients, learned, target, active)
        return learned.loss.detach()

    def _change(
        self,
        parameters: dict[str, Tensor],
        gradients: dict[str, Tensor],
        learned: Learned,
        target: Tensor,
        active: Tensor,
    ) -> None:
        modulates = self._population.template.modulates
        if modulates == "gradient":
            gradients = self._modulate(gradients, learned, target)
        if isinstance(self.optimiser, FusedAdamW):
            self.optimiser.step(parameters, gradients, self.running)
            return
        updates = self.optimiser.updates(parameters, gradients)
        if modulates == "update":
            updates = self._modulate(updates, learned, target)
        every = all(self.running) and not isinstance(self._step, RecordedStep)
        for name, update in updates.items():
            running = active.reshape(-1, *[1] * (update.ndim - 1))
            parameters[name].add_(update if every else torch.where(running, update, 0))

    def _modulate(self, gradients: dict[str, Tensor], learned: Learned, target: Tensor) -> dict[str, Tensor]:
        noise = self._gradient_noise.like(gradients)
        given = (gradients, learned.output, learned.batch, target, noise)
        changed: dict[str, Tensor] = self._population.each("modulate", *given)
        return changed


def _optimiser(
    members: Sequence[Member], settings: TrainingSection, population: Population, recorded: bool
) -> FusedAdamW | Optimiser:
    rates, decays = [m.learning_rate for m in members], [m.weight_decay for m in members]
    device = population.table.device
    fits = device.type == "cpu" and population.template.modulates != "update" and not recorded
    if settings.optimiser == "adamw" and fits:
        return FusedAdamW(rates, decays)
    rate, decay = torch.tensor(rates, device=device), torch.tensor(decays, device=device)
    return AdamW(rate, decay) if settings.optimiser == "adamw" else Sgd(rate, decay, settings.momentum)
