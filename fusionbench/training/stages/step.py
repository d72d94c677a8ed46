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
from fusionbench.training.optimisers import AdamW, FusedAdamW, Optimiser, Sgd, Tensors
from fusionbench.training.pace import Pace, clip_factors, of_models
from fusionbench.training.population import Population
from fusionbench.training.recording.recorded import Programs
from fusionbench.training.stages.differentiation import Change, Differentiation
from fusionbench.training.stages.order import EpochRows

Generators = Sequence[torch.Generator]


class TrainingStep:
    """Steps a population, as it is or recorded.

    On CUDA the whole step is recorded as a graph, where the settings say so; on a CPU what is differentiated is recorded
    as a list of operators, unless the programs say no.

    Args:
        population: What is trained.
        members: With the rates of each.
        stage: What of it stays as it is.
        settings: Optimiser, and whether steps are recorded.
        programs: Where lists of operators are kept; None: none are made.
    """

    def __init__(
        self,
        population: Population,
        members: Sequence[Member],
        stage: Stage,
        settings: TrainingSection,
        programs: Programs | None = None,
    ) -> None:
        self._population = population
        trained = {n: p for n, p in population.parameters.items() if p.requires_grad and not n.startswith(stage.frozen)}
        device = population.table.device
        lists = programs if programs is not None and device.type == "cpu" else Programs(wanted=False)
        self._differentiate = Differentiation(population, list(trained), lists)
        recorder = graphs.recorder_for(device) if settings.graph else None
        self.optimiser = _optimiser(members, settings, population, recorded=recorder is not None)
        self._step: StepCall = self.take if recorder is None else RecordedStep(self.take, recorder)
        self._changes_updates = changes_updates(population.template.modulates, settings)
        noisy = population.template.modulates is not None and population.template.fusion.gradient_noise
        self._gradient_noise = GradientNoise(trained if noisy else {})
        self.alike = False
        """Whether every model sees the same rows in every step."""
        self.pace = Pace(settings, population.size, steps=0)
        """Factors of the learning rates; a stage that knows its length puts its own in place."""
        self._longest = settings.clip
        self.running = [True] * population.size
        """Who is active, known without asking the device."""
        self._modulating, self._noisy = population.template.modulates is not None, noisy

    def __call__(self, batch: EpochRows, active: Tensor, noise: Generators, shaking: Generators = ()) -> Tensor:
        """Step every model that is active, once; return the losses, ``[models]``, valid until the next step.

        Args:
            batch: The rows of the step.
            active: Bool ``[models]``, as ``running``.
            noise: Where each model's draws come from.
            shaking: Where the noise of its gradients comes from; empty: from the same.
        """
        if self.pace.varies:
            self.optimiser.pace(self.pace.factors())
            self.pace.advance()
        self._population.draw_noise(batch.rows.shape[1], noise)
        if self._noisy:
            self._gradient_noise.draw(shaking or noise)
        return self._step(*batch, active)

    def wants(self, *, modulation: bool, noise: bool) -> None:
        """Say what the strategies of the population want until it is said again.

        Args:
            modulation: To change gradients, or updates.
            noise: To read noise for that.
        """
        if self._modulating != modulation:
            self.forget()
        if self._noisy and not noise:
            self._gradient_noise.rest()
        self._modulating, self._noisy = modulation, modulation and noise

    def forget(self) -> None:
        """Something that a recorded step reads has taken another place in memory, or another decision was taken."""
        if isinstance(self._step, RecordedStep):
            self._step.forget()

    def take(self, rows: Tensor, present: Tensor, shown: Tensor, active: Tensor) -> Tensor:
        """Do the step; what it reads beyond its arguments keeps its place in memory, so that it can be recorded."""
        batch, noise = EpochRows(rows, present, shown), self._gradient_noise.like(self._population.parameters)
        fused = self.optimiser if isinstance(self.optimiser, FusedAdamW) else None
        into = None if fused is None else fused.gradients
        found = self._differentiate(batch, noise, self._change, into, alike=self.alike)
        with torch.no_grad():
            if fused is not None:
                for name, gradient in found.gradients.items():
                    if gradient is not fused.gradients[name]:
                        fused.gradients[name].copy_(gradient)
                self._clip({n: fused.gradients[n] for n in found.gradients}, fused.gradients)
                fused.step(list(found.gradients), self.running)
                return found.losses
            parameters = {n: self._population.parameters[n] for n in found.gradients}
            assert not isinstance(self.optimiser, FusedAdamW)
            updates = self.optimiser.updates(parameters, self._clip(found.gradients))
            if self._change == "later":
                updates = found.modulate(updates)
            every = all(self.running) and not isinstance(self._step, RecordedStep)
            for name, update in updates.items():
                running = active.reshape(-1, *[1] * (update.ndim - 1))
                parameters[name].add_(update if every else torch.where(running, update, 0))
        return found.losses

    def _clip(self, gradients: Tensors, into: Tensors | None = None) -> Tensors:
        """Shorten what is too long, for each model by itself; what a strategy made of gradients is clipped with them."""
        if self._longest is None or not gradients:
            return gradients
        factors = clip_factors(gradients, self._longest)
        kept: Tensors = {} if into is None else into
        return {n: torch.mul(g, of_models(factors, g), out=kept.get(n)) for n, g in gradients.items()}

    @property
    def _change(self) -> Change:
        if not self._modulating:
            return "none"
        return "later" if self._changes_updates else "gradients"


def changes_updates(modulates: str | None, settings: TrainingSection) -> bool:
    """Whether a strategy changes what the optimiser would do, and not gradients: where it says so, or leaves it to the optimiser.

    An adaptive optimiser divides a gradient by its own usual size, so that a factor which hardly changes is divided out again.
    """
    return modulates == "update" or (modulates == "auto" and settings.adaptive)


def _optimiser(
    members: Sequence[Member], settings: TrainingSection, population: Population, recorded: bool
) -> FusedAdamW | Optimiser:
    rates, decays = [m.learning_rate for m in members], [m.weight_decay for m in members]
    device = population.table.device
    later = changes_updates(population.template.modulates, settings)
    fits = device.type == "cpu" and not later and not recorded
    if settings.optimiser == "adamw" and fits:
        return FusedAdamW(population.packed, rates, decays)
    # in float64, so that a rate and what a schedule makes of it are rounded once, to the type of the parameter
    rate, decay = (torch.tensor(own, dtype=torch.float64, device=device) for own in (rates, decays))
    return AdamW(rate, decay) if settings.optimiser == "adamw" else Sgd(rate, decay, settings.momentum)
