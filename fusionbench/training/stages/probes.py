"""Replicas of a stage: how the losses of each head move over it, on the rows that it trains on and on others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.stages import SplitLosses, Stage
from fusionbench.training.members import Fit, Member, MemberRows, planned_epochs
from fusionbench.training.population import Population
from fusionbench.training.prediction import bounded
from fusionbench.training.recording.recorded import Programs
from fusionbench.training.stages.run import StageRun, overrides_of
from fusionbench.training.stages.validation import weighted_mean


def probe(
    population: Population,
    members: Sequence[Member],
    stage: Stage,
    settings: TrainingSection,
    metric: str,
    fits: Sequence[Fit],
    programs: Programs | None = None,
) -> dict[str, Tensor]:
    """Run a stage's replicas one after the other from the current parameters; return what ``finish`` makes of them."""
    state = population.snapshot()
    per_member: list[list[SplitLosses]] = [[] for _ in members]
    patient = settings.model_copy(update={"patience": planned_epochs(stage, settings.epochs) + 1, "traces": False})
    for replica in stage.replicas:
        population.restore(state)
        population.set_buffers(overrides_of(replica, population))
        run = StageRun(population, members, stage, patient, metric, programs)
        run.renew(0)  # or the first epoch's fill would pass for something learned
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
            for r, p in bounded(every.rows, every.present)
        ]
    losses = {n: torch.cat([p[n] for p in parts], dim=1) for n in parts[0]}
    heads = [n for n in losses if not n.endswith(".rows")]
    return {n: (losses[n], losses[f"{n}.rows"].to(losses[n].dtype) * every.counted) for n in heads}


def _split_losses(before: Sequence[_HeadRows], after: Sequence[_HeadRows]) -> list[SplitLosses]:
    """Mean losses of every member's heads on training and held-out rows, and how sure their changes are."""
    pairs = list(zip(before, after, strict=True))
    means = [{n: weighted_mean(*rows).tolist() for n, rows in split.items()} for pair in pairs for split in pair]
    errors = [_change_errors(*pair) for pair in pairs]
    size = len(next(iter(means[0].values())))
    return [SplitLosses(*({n: v[i] for n, v in split.items()} for split in (*means, *errors))) for i in range(size)]


def _change_errors(before: _HeadRows, after: _HeadRows) -> dict[str, list[float]]:
    """Standard error of each head's mean change, rows paired."""
    found = {}
    for name, (losses, weights) in after.items():
        change, count = losses.double() - before[name][0].double(), weights.double().sum(dim=1)
        variance = weighted_mean((change - weighted_mean(change, weights)[:, None]).square(), weights)
        found[name] = torch.where(count > 1, (variance / (count - 1)).sqrt(), torch.inf).tolist()
    return found
