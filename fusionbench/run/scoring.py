"""Scoring trained models: probabilities of test rows under every condition, and what trials are compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.scores import score
from fusionbench.missingness.conditions import Condition
from fusionbench.missingness.subsets import prevalence_of, with_prevalence
from fusionbench.plan.jobs import FitJob, conditions
from fusionbench.run.execution import Scores
from fusionbench.run.rows import ModelRows
from fusionbench.run.tuning import Asked, Winner
from fusionbench.training.members import padded
from fusionbench.training.population import Population
from fusionbench.training.prediction import predict_conditions


class Scoring:
    """Predictions of the members of a population.

    Args:
        rows: The rows of the run.
        metric: What trials are compared by.
    """

    def __init__(self, rows: ModelRows, metric: str) -> None:
        self._rows, self._metric = rows, metric
        self._dataset, self._folds, self._device = rows.dataset, rows.folds, rows.device

    # ---------------------------------------------------------------- test rows

    def probabilities(
        self, owners: Sequence[FitJob], population: Population, winners: Mapping[str, Winner]
    ) -> Sequence[Scores]:
        """Probabilities of the test rows by condition label, for each member of a population.

        Args:
            owners: Who asked for each member.
            population: The trained models; models whose inputs are completed beforehand share one table.
            winners: Sealed studies by key; their digests open the test rows.
        """
        owners = [replace(o, arm=o.arm.tuned(winners[o.study].own)) for o in owners]
        rows = [self._folds[o.fold].test.open(winners[o.study].digest) for o in owners]
        # the k-th condition of each member: trained and scored at one rate, each has its own
        most = max(len(o.scored) for o in owners)
        scored = list(zip(*(o.scored + o.scored[-1:] * (most - len(o.scored)) for o in owners), strict=True))
        tests, _ = padded([torch.as_tensor(r, device=self._device) for r in rows])
        if self._rows.blueprint.input_imputer(owners[0].arm) is None:
            predicted = predict_conditions(population, tests, self._present(owners, tests, scored)).cpu()
        else:  # every condition has rows of its own
            parts = [self._predict_completed(population, owners, tests, cs) for cs in scored]
            predicted = torch.cat(parts).cpu()
        return [
            {
                label: self._or_prevalence(owner, condition, own, predicted[k, i, : len(own)].numpy())
                for k, (label, condition) in enumerate(zip(owner.labels, owner.scored, strict=True))
            }
            for i, (owner, own) in enumerate(zip(owners, rows, strict=True))
        ]

    def _or_prevalence(
        self, owner: FitJob, condition: Condition, rows: NDArray[np.int64], predicted: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The predictions; the training prevalence for rows that have nothing of what the arm may see."""
        if owner.arm.modalities is None:
            return predicted
        seen = self._rows.shown(condition, owner.seed, owner.fold, owner.arm).cpu().numpy()[rows]
        return with_prevalence(predicted, seen, prevalence_of(self._dataset, self._folds[owner.fold].development.train))

    def _present(self, owners: Sequence[FitJob], tests: Tensor, scored: Sequence[Sequence[Condition]]) -> Tensor:
        """Bool ``[conditions, models, n, modalities]``."""
        masks = [
            torch.stack(
                [
                    self._rows.given(o.arm, o.fold, o.seed, o.condition, c)[1][r]
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
        population.table, _ = self._rows.given(first.arm, first.fold, first.seed, first.condition, scored[0])
        return predict_conditions(population, tests, self._present(owners, tests, [scored]))

    # ---------------------------------------------------------------- validation rows

    def compare(self, asked: Sequence[Asked], population: Population) -> list[float]:
        """Mean validation score of each trial over all conditions; higher is better."""
        benchmark = self._rows.blueprint.benchmark
        seed = benchmark.splits.seeds[0]
        arms = [(s.arm.tuned(suggested["own"]), s) for s, suggested in asked]
        rows, counted = padded([self._rows.development(arm, s.fold, seed, s.condition)[1] for arm, s in arms])
        trained = [self._folds[s.fold].development.train for _, s in arms]
        prevalence = torch.as_tensor(np.stack([prevalence_of(self._dataset, r) for r in trained]), device=self._device)
        scores = []
        for c in conditions(benchmark):
            found = [self._rows.given(arm, s.fold, seed, s.condition, c) for arm, s in arms]
            population.table = found[0][0]  # members of a population share it
            present = torch.stack([p[r] for (_, p), r in zip(found, rows, strict=True)])
            predicted = predict_conditions(population, rows, present[None])[0]
            # a row that has nothing of what its arm may see is predicted as test rows are
            sees = torch.stack(
                [self._rows.shown(c, seed, s.fold, a)[r].any(dim=1) for (a, s), r in zip(arms, rows, strict=True)]
            )
            predicted = torch.where(sees[..., None], predicted, prevalence[:, None])
            target = population.table.target[rows]
            scores.append(score(self._metric, predicted.double(), target, self._dataset.kind, counted.double()))
        mean: list[float] = torch.stack(scores).mean(dim=0).tolist()
        return mean if METRICS[self._metric].higher_is_better else [-v for v in mean]
