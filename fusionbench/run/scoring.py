"""Scoring trained models: logits of test and validation rows under every condition, and what trials are compared by.

Logits are stored as the model gives them. They are calibrated when tables are made (:mod:`fusionbench.analysis.cells`), on
the validation rows that are stored beside the test rows, shown as the same condition shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.scores import score
from fusionbench.missingness.conditions import Condition
from fusionbench.missingness.subsets import is_subset, prevalence_of, subset_mask
from fusionbench.plan.jobs import FitJob, conditions
from fusionbench.plan.parts import Arm
from fusionbench.run.execution import Scores
from fusionbench.run.rows import ModelRows
from fusionbench.run.tuning import Asked, Winner
from fusionbench.store.results import PREDICTED
from fusionbench.training.members import padded
from fusionbench.training.population import Population
from fusionbench.training.prediction import as_probabilities, predict_conditions


class Scoring:
    """Predictions of the members of a population.

    Args:
        rows: The rows of the run.
        metric: What trials are compared by.
    """

    def __init__(self, rows: ModelRows, metric: str) -> None:
        self._rows, self._metric = rows, metric
        self._dataset, self._folds, self._device = rows.used, rows.folds, rows.device

    # ---------------------------------------------------------------- test rows, and validation rows shown alike

    def logits(
        self, owners: Sequence[FitJob], population: Population, winners: Mapping[str, Winner]
    ) -> Sequence[Scores]:
        """Logits of test rows and of validation rows, and what the rows show, for each member of a population.

        Args:
            owners: Who asked for each member.
            population: The trained models; models whose inputs are completed beforehand share one table.
            winners: Sealed studies by key; their digests open the test rows.

        Returns:
            For each member what :class:`fusionbench.store.results.FitResult` holds of each condition.
        """
        owners = [replace(o, arm=o.arm.tuned(winners[o.study].own)) for o in owners]
        tests = [self._folds[o.fold].test.open(winners[o.study].digest) for o in owners]
        own = [
            np.concatenate([t, self._folds[o.fold].development.validation]) for t, o in zip(tests, owners, strict=True)
        ]
        # the k-th condition of each member: trained and scored at one rate, each has its own
        most = max(len(o.scored) for o in owners)
        scored = list(zip(*(o.scored + o.scored[-1:] * (most - len(o.scored)) for o in owners), strict=True))
        rows, _ = padded([torch.as_tensor(r, device=self._device) for r in own])
        if self._rows.blueprint.input_imputer(owners[0].arm) is None:
            predicted = predict_conditions(population, rows, self._present(owners, rows, scored)).cpu()
        else:  # every condition has rows of its own
            parts = [self._predict_completed(population, owners, rows, cs) for cs in scored]
            predicted = torch.cat(parts).cpu()
        found = []
        for i, (owner, own_rows, test) in enumerate(zip(owners, own, tests, strict=True)):
            kept: dict[str, dict[str, NDArray[Any]]] = {what: {} for what in PREDICTED}
            for k, (label, condition) in enumerate(zip(owner.labels, owner.scored, strict=True)):
                shown = self._shown(population, condition, owner.seed, owner.fold, owner.arm)[own_rows]
                given = np.where(shown[:, None] > 0, predicted[k, i, : len(own_rows)].numpy(), np.float32(0))
                kept["logits"][label], kept["validation"][label] = map(_within_range, np.split(given, [len(test)]))
                kept["shown"][label], kept["validation_shown"][label] = np.split(shown, [len(test)])
            found.append(kept)
        return found

    def _shown(self, population: Population, condition: Condition, seed: int, fold: int, arm: Arm) -> NDArray[np.int32]:
        """Int32 ``[rows]``: the subset of modalities that a condition shows of what the models read; 0: nothing."""
        mask = self._rows.shown(condition, seed, fold, arm, used=True).cpu().numpy()
        if is_subset(condition):  # rows that have nothing of it are given whole, and what is said of them is not used
            mask = mask & subset_mask(self._dataset.available, list(self._dataset.modalities), condition)
        bits = np.zeros(mask.shape[1], dtype=np.int32)
        for column in population.template.columns:
            bits[column] = 1 << column
        return np.asarray(mask @ bits, dtype=np.int32)

    def _present(self, owners: Sequence[FitJob], tests: Tensor, scored: Sequence[Sequence[Condition]]) -> Tensor:
        """Bool ``[conditions, models, n, modalities]``."""
        masks = [
            torch.stack(
                [
                    self._rows.given(o.arm, o.fold, o.seed, o.condition, c, used=True)[1][r]
                    for o, r, c in zip(owners, tests, cs, strict=True)
                ]
            )
            for cs in scored
        ]
        return torch.stack(masks)

    def _predict_completed(
        self, population: Population, owners: Sequence[FitJob], tests: Tensor, scored: Sequence[Condition]
    ) -> Tensor:
        first = owners[0]  # members of a population share a table: one fold, one seed, one imputer
        population.table, _ = self._rows.given(first.arm, first.fold, first.seed, first.condition, scored[0], used=True)
        return predict_conditions(population, tests, self._present(owners, tests, [scored]))

    # ---------------------------------------------------------------- validation rows

    def compare(self, asked: Sequence[Asked], population: Population) -> list[float]:
        """Mean validation score of each trial over all conditions; higher is better."""
        benchmark = self._rows.blueprint.benchmark
        seed = benchmark.splits.seeds[0]
        arms = [(a.study.arm.tuned(a.suggested["own"]), a.study, a.split) for a in asked]
        rows, counted = padded([self._rows.development(arm, s.fold, seed, s.condition, k)[1] for arm, s, k in arms])
        trained = [self._rows.trained_on(s.fold, k) for _, s, k in arms]
        shares = [torch.as_tensor(prevalence_of(self._dataset, r), device=self._device) for r in trained]
        prevalence = torch.stack(shares)
        scores = []
        for c in conditions(benchmark):
            found = [self._rows.given(arm, s.fold, seed, s.condition, c, k, used=True) for arm, s, k in arms]
            population.table = found[0][0]  # members of a population share it
            present = torch.stack([p[r] for (_, p), r in zip(found, rows, strict=True)])
            logits = predict_conditions(population, rows, present[None])[0]
            # a row that shows a model nothing is predicted as such test rows are; nothing is calibrated on the rows it is
            # compared on
            shows = torch.stack(
                [
                    torch.as_tensor(self._shown(population, c, seed, s.fold, a) > 0, device=self._device)[r]
                    for (a, s, _), r in zip(arms, rows, strict=True)
                ]
            )
            predicted = torch.where(shows[..., None], as_probabilities(logits, self._dataset.kind), prevalence[:, None])
            target = population.table.target[rows]
            scores.append(score(self._metric, predicted, target, self._dataset.kind, counted.double()))
        mean: list[float] = torch.stack(scores).mean(dim=0).tolist()
        return mean if METRICS[self._metric].higher_is_better else [-v for v in mean]


def _within_range(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Infinite logits, of a probability of 0 or 1, as the next number beyond the finite ones; NaN stays."""
    infinite = np.isinf(logits)
    if not infinite.any():
        return np.ascontiguousarray(logits)
    bound = 1 + np.abs(logits[np.isfinite(logits)]).max(initial=0)
    return np.where(infinite, np.copysign(bound, logits), logits).astype(np.float32)
