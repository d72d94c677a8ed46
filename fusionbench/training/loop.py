"""The one training loop. It trains a population; a single model is a population of one.

The loop owns data order, hiding, noise, the optimiser, early stopping, stages and statistics. Methods
are additions to it (see :mod:`fusionbench.types`); it knows none of them by name.

Every random draw is made on the CPU by a generator keyed with the member's fold, seed and epoch, so a
member's course does not depend on which others are trained beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.stages import SplitLosses, Stage
from fusionbench.metrics import scores as metrics
from fusionbench.missingness.corruption import draw_shown
from fusionbench.targets import TargetKind, probabilities, row_losses
from fusionbench.training import graphs
from fusionbench.training.device import sent
from fusionbench.training.gradient_noise import GradientNoise
from fusionbench.training.graphs import RecordedStep, Step
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
from fusionbench.training.model import Learned, count_parameters
from fusionbench.training.optimisers import AdamW, FusedAdamW, Optimiser, Sgd
from fusionbench.training.population import Population

EVALUATION_ROWS = 1024  # rows of one evaluation pass; bounds memory, changes no number


def train(
    members: Sequence[Member], settings: TrainingSection, metric: str, report: Report | None = None
) -> tuple[Population, list[Fit]]:
    """Train members together and leave each at its best epoch.

    Args:
        members: They must share table, architecture, shapes, and :meth:`Member.batches`.
        settings: Epochs, batch size, optimiser, patience.
        metric: A metric of :data:`fusionbench.metrics.scores.METRICS`.
        report: Called after each epoch.
    """
    start = time.perf_counter()
    population = assemble(members)
    fits = [Fit(parameters=count_parameters(population.template)) for _ in members]
    initial = population.snapshot()
    later: dict[str, Tensor] = {}
    previous: _StageRun | None = None
    stages = population.template.fusion.stages()
    planned = [0 if s.replicas else planned_epochs(s, settings.epochs) for s in stages]
    for number, stage in enumerate(stages, 1):
        population.set_buffers(_overrides(stage.overrides, population) | later)
        if stage.replicas:
            later |= _probe(population, members, stage, settings, metric, fits)
        else:
            run = _StageRun(population, members, stage, settings, metric)
            if stage.resumes and previous is not None:
                run.go_on_from(previous)
            run.run(fits, None if report is None else _in_all(report, sum(planned[: number - 1]), sum(planned)))
            previous = run
            if not next((s.resumes for s in stages[number:] if not s.replicas), False):
                population.restore(run.best_state)
        _inherit(population, stage, initial)
    for fit in fits:
        fit.seconds = (time.perf_counter() - start) / len(members)
    return population, fits


def _in_all(report: Report, before: int, planned: int) -> Report:
    """Tell of a stage as a part of all stages."""
    return lambda course: report(course._replace(epochs=before + course.epochs, planned=planned))


def assemble(members: Sequence[Member]) -> Population:
    """Build the members' models, untrained, as one population."""
    models = [m.build() for m in members]
    return Population(models, members[0].table, [m.train for m in members], [m.present for m in members])


def predict_conditions(population: Population, rows: Tensor, present: Tensor) -> Tensor:
    """Score rows under many conditions, encoding them once.

    Args:
        population: Trained models.
        rows: Int64 ``[models, n]``.
        present: Bool ``[conditions, models, n, modalities]``.

    Returns:
        Probabilities, float32 ``[conditions, models, n, outputs]``.
    """
    chunks = []
    with population.evaluating():
        for r, p in _chunks(rows, present):
            view = population.view(r, p[0])
            views = [view._replace(present=shown, available=shown) for shown in p]
            chunks.append(torch.stack([population.predict(v) for v in views]))
    # float64: a vector unit's sigmoid rounds the last rows of a tensor otherwise, and they are others in other company
    return probabilities(torch.cat(chunks, dim=2).double(), population.table.kind).float()


# --------------------------------------------------------------------------------------------
# one stage


class _StageRun:
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

    def go_on_from(self, previous: _StageRun) -> None:
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
            for r, p, counted in _chunks(held.rows, held.present, held.counted):
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

        It may be recorded (:mod:`fusionbench.training.graphs`): what it reads beyond its arguments keeps its place in memory.
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
        for start in range(0, max(len(m.train) for m in self.members), EVALUATION_ROWS):
            chunks = [m.train[start : start + EVALUATION_ROWS] for m in self.members]
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
            for r, p in _chunks(rows, present):
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


# --------------------------------------------------------------------------------------------
# stages


def _probe(
    population: Population,
    members: Sequence[Member],
    stage: Stage,
    settings: TrainingSection,
    metric: str,
    fits: Sequence[Fit],
) -> dict[str, Tensor]:
    """Run a stage's replicas one after the other from the current parameters; return what ``finish`` makes of them."""
    state = population.snapshot()
    per_member: list[list[SplitLosses]] = [[] for _ in members]
    patient = settings.model_copy(update={"patience": planned_epochs(stage, settings.epochs) + 1, "traces": False})
    for replica in stage.replicas:
        population.restore(state)
        population.set_buffers(_overrides(replica, population))
        run = _StageRun(population, members, stage, patient, metric)
        run.update_state(0)  # or the first epoch's fill would pass for something learned
        splits = _splits(members, run.members)
        before = [_head_rows(population, members, rows) for rows in splits]
        # no early stopping and no best epoch: what is estimated is how losses move over the whole stretch
        spent = [Fit() for _ in members]
        run.run(spent, None)
        after = [_head_rows(population, members, rows) for rows in splits]
        for fit, more in zip(fits, spent, strict=True):
            fit.epochs += more.epochs
            fit.rows += more.rows
        for losses, found in zip(per_member, _split_losses(before, after), strict=True):
            losses.append(found)
    population.restore(state)
    if stage.finish is None:
        return {}
    made = [stage.finish(losses) for losses in per_member]
    return {f"fusion.{n}": torch.stack([m[n] for m in made]).to(population.table.device) for n in made[0]}


def _splits(members: Sequence[Member], kept: Sequence[Member]) -> tuple[list[Tensor], list[Tensor]]:
    """The rows that a stage trains on, and those that it holds out (validation rows where it holds out none)."""
    held = [
        m.train[~torch.isin(m.train, k.train)] if len(k.train) < len(m.train) else k.validation
        for m, k in zip(members, kept, strict=True)
    ]
    return [k.train for k in kept], held


_HeadRows = dict[str, tuple[Tensor, Tensor]]  # by head: row losses and the weight of each row, ``[models, n]``


def _head_rows(population: Population, members: Sequence[Member], rows: Sequence[Tensor]) -> _HeadRows:
    every = MemberRows(members, rows)
    with population.evaluating():
        parts = [
            population.each("head_losses", population.view(r, p), population.table.target[r])
            for r, p in _chunks(every.rows, every.present)
        ]
    losses = {n: torch.cat([p[n] for p in parts], dim=1) for n in parts[0]}
    heads = [n for n in losses if not n.endswith(".rows")]
    return {n: (losses[n], losses[f"{n}.rows"].to(losses[n].dtype) * every.counted) for n in heads}


def _split_losses(before: Sequence[_HeadRows], after: Sequence[_HeadRows]) -> list[SplitLosses]:
    """Mean losses of every member's heads on training and held-out rows, and how sure their changes are."""
    pairs = list(zip(before, after, strict=True))
    means = [{n: _weighted(*rows).tolist() for n, rows in split.items()} for pair in pairs for split in pair]
    errors = [_change_errors(*pair) for pair in pairs]
    size = len(next(iter(means[0].values())))
    return [SplitLosses(*({n: v[i] for n, v in split.items()} for split in (*means, *errors))) for i in range(size)]


def _change_errors(before: _HeadRows, after: _HeadRows) -> dict[str, list[float]]:
    """Standard error of each head's mean change, rows paired."""
    found = {}
    for name, (losses, weights) in after.items():
        change, count = losses.double() - before[name][0].double(), weights.double().sum(dim=1)
        variance = _weighted((change - _weighted(change, weights)[:, None]).square(), weights)
        found[name] = torch.where(count > 1, (variance / (count - 1)).sqrt(), torch.inf).tolist()
    return found


def _inherit(population: Population, stage: Stage, initial: dict[str, Tensor]) -> None:
    if stage.keep is None:
        return
    population.restore(initial, [n for n in population.parameters if not n.startswith(stage.keep)])


def _overrides(overrides: Mapping[str, Tensor], population: Population) -> dict[str, Tensor]:
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


# --------------------------------------------------------------------------------------------
# small things


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
    return torch.where(counted.any(dim=1), _weighted(flat, counted), torch.nan).float()


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over rows in float64, so that padding does not change how it is rounded; 0 where nothing counts."""
    kept = torch.where(weights > 0, values.double() * weights, 0)
    return kept.sum(dim=1) / weights.double().sum(dim=1).clamp_min(1)


def _chunks(rows: Tensor, present: Tensor, *more: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Bounded parts of rows ``[models, n]`` with who is present, ``[..., models, n, modalities]``, and more ``[models, n]``."""
    pieces = [torch.split(t, EVALUATION_ROWS, dim=1) for t in (rows, *more)]
    pieces.insert(1, torch.split(present, EVALUATION_ROWS, dim=-2))
    return zip(*pieces, strict=True)


def _where_member(has: Tensor, sums: Tensor) -> Tensor:
    return torch.where(has.reshape(-1, *[1] * (sums.ndim - 1)), sums, 0)


def _add(totals: dict[str, dict[str, Tensor]], sums: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    if not totals:
        return sums
    return {k: {n: totals[k][n] + t for n, t in part.items()} for k, part in sums.items()}
