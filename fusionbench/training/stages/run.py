"""One stage of training: its epochs, early stopping, best epochs and optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.stages import Stage
from fusionbench.metrics import scores as metrics
from fusionbench.missingness.corruption import draw_shown
from fusionbench.targets import TargetKind, probabilities, row_losses
from fusionbench.training import prediction
from fusionbench.training.devices import graphs
from fusionbench.training.devices.device import sent
from fusionbench.training.devices.graphs import RecordedStep, Step
from fusionbench.training.gradient_noise import GradientNoise
from fusionbench.training.imputation import TRACE, ErrorSums, error_sums
from fusionbench.training.members import (
    Course,
    Fit,
    Member,
    MemberRows,
    Report,
    generator_of,
    planned_epochs,
    stage_batches,
)
from fusionbench.training.model import Learned
from fusionbench.training.optimisers import AdamW, FusedAdamW, Optimiser, Sgd
from fusionbench.training.population import Population
from fusionbench.training.prediction import bounded


class StageRun:
    """Early stopping, best epochs and the optimiser of one stage."""

    def __init__(
        self, population: Population, members: Sequence[Member], stage: Stage, settings: TrainingSection, metric: str
    ) -> None:
        self.population, self.stage = population, stage
        self.members = [m.in_stage(stage) for m in members]
        # an epoch's order is drawn on the host and sent once
        self.on_host = [(m.train.cpu(), m.present.cpu()) for m in self.members]
        self.settings, self.metric = settings, metric
        self.planned = planned_epochs(stage, settings.epochs)
        self.batch_size, self.steps = stage_batches(members[0], stage, settings.batch_size)
        self.trained = [
            n for n, p in population.parameters.items() if p.requires_grad and not n.startswith(stage.frozen)
        ]
        self.groups = _selection_groups(population, stage)
        device, size = population.table.device, population.size
        self.best = torch.full((size, max(self.groups.values(), default=0) + 1), -torch.inf, device=device)
        self.best_epoch = torch.zeros(self.best.shape, dtype=torch.int64, device=device)
        self.best_state = population.snapshot()
        self.active = torch.ones(size, dtype=torch.bool, device=device)
        self.running = [True] * size  # who is active at the start of the epoch, known without asking the device
        self.diverged_in = torch.zeros(size, dtype=torch.int64, device=device)  # epoch, 0 = it did not
        recorder = graphs.recorder_for(device) if settings.graph else None
        self.optimiser = _optimiser(members, settings, population, recorded=recorder is not None)
        self.step: Step = self._step if recorder is None else RecordedStep(self._step, recorder)
        self.validation = MemberRows(members, [m.validation for m in members])
        noisy = population.template.modulates is not None and population.template.fusion.gradient_noise
        self.imputes = len(population.template.modalities) > 1  # until the first pass has shown whether it does
        self.epochs_before = 0
        self.gradient_noise = GradientNoise({n: population.parameters[n] for n in self.trained} if noisy else {})

    def go_on_from(self, previous: StageRun) -> None:
        """Take over the optimiser, the patience and the best epochs of the stage that this one resumes."""
        self.epochs_before = previous.epochs_before + previous.planned
        self.optimiser, self.active, self.diverged_in = previous.optimiser, previous.active, previous.diverged_in
        self.best, self.best_epoch, self.best_state = previous.best, previous.best_epoch, previous.best_state

    def run(self, fits: list[Fit], report: Report | None) -> None:
        """Train until the planned epochs are over or every member has stopped."""
        self.update_state(0)
        for epoch in range(self.planned if bool(self.active.any()) else 0):
            running = self.running = self.active.tolist()
            losses = self._epoch(epoch)
            traces = self._traces(epoch) if self.settings.traces else None
            lost = self.active & ~torch.isfinite(losses)
            self.diverged_in = torch.where(lost, self.epochs_before + epoch + 1, self.diverged_in)
            self.update_state(epoch + 1)
            if traces is not None:
                traces |= self._imputation()
            self._select(self._validate(), self.epochs_before + epoch)
            for i, (fit, on, score) in enumerate(zip(fits, running, self.current[:, 0].tolist(), strict=True)):
                if on:
                    _add_to_traces(fit, traces, i)
                    fit.epochs += 1
                    fit.rows += self._rows_of_an_epoch(i)
                    fit.history.append(score)
                    self._prune(i, fit)
            if report is not None:
                report(Course(epoch + 1, self.planned, self.best[:, 0].tolist()))
            if not bool(self.active.any()):
                break
        self._conclude(fits)

    def _prune(self, member: int, fit: Fit) -> None:
        floor = self.members[member].floor
        if not floor or self.stage.select != "joint":  # what a stage per modality scores is not the prediction
            return
        if max(fit.history) < floor[min(len(fit.history), len(floor)) - 1]:
            fit.pruned = True
            self.active[member] = False

    def _rows_of_an_epoch(self, member: int) -> int:
        own = self.members[member]
        summed = len(own.train) if self.population.template.keeps_statistics else 0
        return self.steps * self.batch_size + len(own.validation) + summed

    def _epoch(self, epoch: int) -> Tensor:
        rows, present, shown = self._order(epoch)
        noise = [generator_of("noise", m, epoch, self.stage) for m in self.members]
        total = torch.zeros(self.population.size, device=rows.device)
        size = self.batch_size
        for step in range(self.steps):
            part = slice(step * size, (step + 1) * size)
            self.population.draw_noise(size, noise)
            self.gradient_noise.draw(noise)
            total += self.step(rows[:, part], present[:, part], shown[:, part], self.active)
        return total

    def _traces(self, epoch: int) -> dict[str, list[float]]:
        """Mean over the epoch's batches of what the parts want drawn, for each member; with the epoch's own buffers."""
        if not self.population.template.has_traces:
            return {}
        rows, present, shown = self._order(epoch)
        sums: dict[str, Tensor] = {}
        with self.population.evaluating():
            for step in range(self.steps):
                part = slice(step * self.batch_size, (step + 1) * self.batch_size)
                view = self.population.view(rows[:, part], shown[:, part], present[:, part])
                found = self.population.each("traces", view, self.population.table.target[rows[:, part]])
                sums = {n: sums.get(n, 0) + value.double() for n, value in found.items()}
        return {n: (total / self.steps).tolist() for n, total in sums.items()}

    def _imputation(self) -> dict[str, list[float]]:
        """Relative error of imputed embeddings on validation rows, each modality hidden in turn, for each member.

        The state is the one that the epoch is judged by: means and the like have been taken again.
        """
        if not self.imputes:
            return {}
        held, sums = self.validation, dict[str, ErrorSums]()
        with self.population.evaluating():
            for r, p, counted in bounded(held.rows, held.present, held.counted):
                for name, found in self.population.each("imagined", self.population.view(r, p)).items():
                    more = error_sums(found, counted)
                    sums[name] = sums[name].plus(more) if name in sums else more
        self.imputes = bool(sums)
        return {f"{TRACE}.{name}": found.relative_error().tolist() for name, found in sums.items()}

    def _order(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows ``[models, steps * batch]`` in this epoch's order, what they have, and what is shown of it."""
        rows, had, shown = [], [], []
        for m, (train, present) in zip(self.members, self.on_host, strict=True):
            order = torch.randperm(len(train), generator=generator_of("batch order", m, epoch, self.stage))
            rows.append(train[order[: self.steps * self.batch_size]])
            had.append(present[rows[-1]])
            policy, rate = m.corruption
            if policy == "none":
                shown.append(had[-1])
            else:
                shown.append(draw_shown(policy, rate, had[-1], generator_of("corruption", m, epoch, self.stage)))
        device = self.population.table.device
        return sent(torch.stack(rows), device), sent(torch.stack(had), device), sent(torch.stack(shown), device)

    def _step(self, rows: Tensor, present: Tensor, shown: Tensor, active: Tensor) -> Tensor:
        """Step every model that is active, once; return the losses, ``[models]``.

        It may be recorded (:mod:`fusionbench.training.devices.graphs`): what it reads beyond its arguments keeps its place in memory.
        """
        population = self.population
        target = population.table.target[rows]
        learned = population.learn(population.view(rows, shown, present), target)
        parameters = {n: population.parameters[n] for n in self.trained}
        found = torch.autograd.grad(learned.loss.sum(), list(parameters.values()), allow_unused=True)
        gradients = {n: g for n, g in zip(parameters, found, strict=True) if g is not None}
        with torch.no_grad():
            modulates = population.template.modulates
            if modulates == "gradient":
                gradients = self._modulate(gradients, learned, target)
            if isinstance(self.optimiser, FusedAdamW):
                self.optimiser.step(parameters, gradients, self.running)
                return learned.loss.detach()
            updates = self.optimiser.updates(parameters, gradients)
            if modulates == "update":
                updates = self._modulate(updates, learned, target)
            every = all(self.running) and not isinstance(self.step, RecordedStep)
            for name, update in updates.items():
                running = active.reshape(-1, *[1] * (update.ndim - 1))
                parameters[name].add_(update if every else torch.where(running, update, 0))
        return learned.loss.detach()

    def _modulate(self, gradients: dict[str, Tensor], learned: Learned, target: Tensor) -> dict[str, Tensor]:
        noise = self.gradient_noise.like(gradients)
        given = (gradients, learned.output, learned.batch, target, noise)
        changed: dict[str, Tensor] = self.population.each("modulate", *given)
        return changed

    # ------------------------------------------------------------ after an epoch

    def update_state(self, completed: int) -> None:
        """Sum statistics over the training rows, and let the parts renew their buffers."""
        template = self.population.template
        if not template.keeps_state:
            return
        with self.population.evaluating():
            sums = self._statistics() if template.keeps_statistics else {}
            values = self.population.each("updates", sums, static=(completed, self.planned))
        kept = self.population.set_buffers(values)
        if isinstance(self.step, RecordedStep) and not kept:
            self.step.forget()

    def _statistics(self) -> dict[str, dict[str, Tensor]]:
        """Sum over every training row exactly once, in chunks that do not depend on the other members.

        Chunks of differing length cannot be stacked and a plugin's sums know no padding: chunks of each length are
        summed in a pass of their own, in which members with chunks of another length do not count.
        """
        totals: dict[str, dict[str, Tensor]] = {}
        for start in range(0, max(len(m.train) for m in self.members), prediction.EVALUATION_ROWS):
            chunks = [m.train[start : start + prediction.EVALUATION_ROWS] for m in self.members]
            for length in sorted({len(c) for c in chunks} - {0}):
                has = [len(c) == length for c in chunks]
                filler = chunks[has.index(True)]
                rows = torch.stack([c if own else filler for c, own in zip(chunks, has, strict=True)])
                counts = torch.tensor(has, device=rows.device)
                totals = _add(totals, tree_map(partial(_where_member, counts), self._sums(rows)))
        return totals

    def _sums(self, rows: Tensor) -> dict[str, dict[str, Tensor]]:
        present = torch.stack([m.present[r] for m, r in zip(self.members, rows, strict=True)])
        view = self.population.view(rows, present)
        sums: dict[str, dict[str, Tensor]] = self.population.each(
            "statistics", view, self.population.table.target[rows]
        )
        return sums

    def _validate(self) -> Tensor:
        """Scores ``[models, groups]``: the prediction, then each modality's own head where stages ask for it."""
        rows, present, counted = self.validation.rows, self.validation.present, self.validation.counted
        table = self.population.table
        target = table.target[rows]
        logits = self._logits(rows, present)
        scores = [self._score(logits[n], target, self._counted(n, present, counted)) for n in self._judged()]
        return torch.stack(scores, dim=1)

    def _judged(self) -> list[str]:
        return ["joint", *(self.population.template.modalities if self.stage.select == "per_modality" else ())]

    def _counted(self, name: str, present: Tensor, counted: Tensor) -> Tensor:
        if name == "joint":
            return counted
        return counted & present[..., self.population.table.names.index(name)]

    def _logits(self, rows: Tensor, present: Tensor) -> dict[str, Tensor]:
        parts: list[dict[str, Tensor]] = []
        with self.population.evaluating():
            for r, p in bounded(rows, present):
                view = self.population.view(r, p)
                alone = self.population.each("predict_each", view) if len(self._judged()) > 1 else {}
                parts.append({**alone, "joint": self.population.predict(view)})
        return {name: torch.cat([p[name] for p in parts], dim=1) for name in self._judged()}

    def _score(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        kind = self.population.table.kind
        if self.settings.selection == "loss":
            return -_mean_losses(logits, target, counted, kind)  # NaN where no row counts
        # rounded as predictions are scored later, so that equal rows stay ties wherever a vector unit computes them
        found = probabilities(logits.double(), kind).float().double()
        found = metrics.score(self.metric, found, target, kind, counted.double()).float()
        return found if metrics.METRICS[self.metric].higher_is_better else -found

    def _select(self, scores: Tensor, epoch: int) -> None:
        self.current = scores
        self.active &= self.diverged_in == 0
        scores = torch.where(self.active[:, None], scores, -torch.inf)
        better = scores > self.best
        self.best = torch.where(better, scores, self.best)
        self.best_epoch = torch.where(better, epoch + 1, self.best_epoch)
        state: dict[str, Tensor] = {**self.population.parameters, **self.population.buffers}
        with torch.no_grad():
            for name, kept in self.best_state.items():
                chosen = better[:, self.groups.get(name, 0)].reshape(-1, *[1] * (kept.ndim - 1))
                self.best_state[name] = torch.where(chosen, state[name], kept)
        waited = epoch + 1 - self.best_epoch.max(dim=1).values
        self.active &= waited < self.settings.patience

    def _conclude(self, fits: list[Fit]) -> None:
        heads = ["", *(f" that have {n}" for n in self.population.template.modalities)]
        for fit, bad, scores, epochs in zip(
            fits, self.diverged_in.tolist(), self.best.tolist(), self.best_epoch.tolist(), strict=True
        ):
            fit.score, fit.best_epoch = scores[0], epochs[0]
            if fit.failure is not None:  # of an earlier stage
                continue
            if bad:
                fit.failure = f"diverged: the loss was not finite in epoch {bad} of stage '{self.stage.name}'"
            elif 0 in epochs:
                fit.failure = (
                    f"no epoch could be scored: '{self.metric}' on the validation rows{heads[epochs.index(0)]} is "
                    "undefined (one class only?); use fewer folds, a larger splits.validation, or "
                    "training.selection: loss"
                )


def overrides_of(overrides: Mapping[str, Tensor], population: Population) -> dict[str, Tensor]:
    """Return values for buffers of the strategy as every model of a population takes them."""
    device = population.table.device
    return {f"fusion.{n}": v.to(device).expand(population.size, *v.shape) for n, v in overrides.items()}


def _selection_groups(population: Population, stage: Stage) -> dict[str, int]:
    """Which validation score picks each tensor: 0 the prediction, m + 1 the head of modality m."""
    if stage.select == "joint":
        return {}
    own = {
        f"{part}.{n}.": i + 1 for i, n in enumerate(population.template.modalities) for part in ("encoder", "project")
    }
    return {
        name: next((group for prefix, group in own.items() if name.startswith(prefix)), 0)
        for name in (*population.parameters, *population.buffers)
    }


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


def _add_to_traces(fit: Fit, traces: Mapping[str, Sequence[float]] | None, member: int) -> None:
    if traces is None:
        return
    fit.traces = {} if fit.traces is None else fit.traces
    for name, values in traces.items():
        fit.traces.setdefault(name, []).append(values[member])


def _mean_losses(logits: Tensor, target: Tensor, counted: Tensor, kind: TargetKind) -> Tensor:
    flat = row_losses(logits.flatten(0, 1), target.flatten(0, 1), kind).reshape(counted.shape)
    return torch.where(counted.any(dim=1), weighted_mean(flat, counted), torch.nan).float()


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over rows in float64, so that padding does not change how it is rounded; 0 where nothing counts."""
    kept = torch.where(weights > 0, values.double() * weights, 0)
    return kept.sum(dim=1) / weights.double().sum(dim=1).clamp_min(1)


def _where_member(has: Tensor, sums: Tensor) -> Tensor:
    return torch.where(has.reshape(-1, *[1] * (sums.ndim - 1)), sums, 0)


def _add(totals: dict[str, dict[str, Tensor]], sums: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    if not totals:
        return sums
    return {k: {n: totals[k][n] + t for n, t in part.items()} for k, part in sums.items()}
