"""Fitted strategies: all training rows at once, without gradients, beside the one loop and behind the same door.

Rows, masks, hiding on purpose, standardising and the score that selects are those of trained models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.isolation import owner_of
from fusionbench.contract.learners import FittedStrategy
from fusionbench.contract.stages import Stage
from fusionbench.errors import PluginError
from fusionbench.missingness.corruption import draw_shown
from fusionbench.seeding import seed_for
from fusionbench.training.members import Course, Fit, Member, Report, generator_of
from fusionbench.training.population import Population
from fusionbench.training.prediction import EVALUATION_ROWS
from fusionbench.training.stages.renewal import renew
from fusionbench.training.stages.validation import Validation

STAGE: Final = Stage("fit", epochs=1)
LARGEST_SEED: Final = 2**32  # numpy's generators of old take no larger one


def fit_population(
    population: Population, members: Sequence[Member], settings: TrainingSection, metric: str, report: Report | None
) -> Fit:
    """Fit the one model of a population, and score it on its validation rows.

    Args:
        population: Of one model, whose strategy is fitted.
        members: What it was made of.
        settings: By what it is scored.
        metric: A metric of :data:`fusionbench.metrics.scores.METRICS`.
        report: Called once.

    Raises:
        PluginError: The strategy returns what is no value of its buffers.
    """
    (member,) = members  # what is fitted may differ in shape from model to model
    strategy = population.template.fusion
    assert isinstance(strategy, FittedStrategy)
    renew(population, members, 0, 1)  # what imputers take from training rows
    features = _features(population, member)
    target = population.table.target[member.train].cpu()
    state = _fit(strategy, features, target, member)
    device = population.table.device
    population.set_buffers({f"fusion.{n}": t.to(device).unsqueeze(0) for n, t in state.items()})
    score = float(Validation(population, members, STAGE, settings, metric).scores()[0, 0])
    numbers = sum(t.numel() for t in state.values() if t.is_floating_point())
    fit = Fit(score=score, parameters=numbers, rows=len(member.train) + len(member.validation), history=[score])
    fit.traces = {} if settings.traces else None
    if math.isnan(score):
        fit.failure = (
            f"it could not be scored: '{metric}' on the validation rows is undefined (one class only?); use fewer folds, a "
            "larger splits.validation, or training.selection: loss"
        )
    if report is not None:
        report(Course(1, 1, [score]))
    return fit


def _features(population: Population, member: Member) -> Tensor:
    """Float64 ``[rows, num_features]`` on the CPU: every training row once, with what the policy hides of it hidden."""
    present = member.present[member.train]
    draws = generator_of("corruption", member, 0, STAGE)
    shown = draw_shown(member.corruption.policy, member.corruption.rate, present, draws)
    parts = []
    with population.evaluating():
        for rows, had, seen in zip(
            *(torch.split(t, EVALUATION_ROWS) for t in (member.train, present, shown)), strict=True
        ):
            view = population.view(rows[None], seen[None], had[None])
            parts.append(population.each("fitting_inputs", view)[0])
    return torch.cat(parts).cpu()


def _fit(strategy: FittedStrategy, features: Tensor, target: Tensor, member: Member) -> Mapping[str, Tensor]:
    """What was fitted, by name of the buffer.

    Raises:
        PluginError: It is no value of the strategy's buffers, or not finite.
    """
    from threadpoolctl import threadpool_limits

    seed = seed_for("fit", fold=member.fold, seed=member.seed) % LARGEST_SEED
    with torch.no_grad(), threadpool_limits(limits=1):  # sums of several threads are rounded in another order
        state = dict(strategy.fit(features, target, seed))
    own = dict(strategy.named_buffers())
    for name, value in state.items():
        if name not in own or not isinstance(value, Tensor):
            known = ", ".join(own) or "none"
            raise PluginError(
                f"{owner_of(strategy)}: fit() must return tensors by name of own buffers ({known}), found {name}"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise PluginError(f"{owner_of(strategy)}: fit() returned numbers in '{name}' that are not finite")
    return state
