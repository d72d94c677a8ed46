"""Which cells of a run are compared, and what the statistical rule says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fusionbench.analysis.cells import Evaluation, Scored
from fusionbench.analysis.ranking.scores import PredictedFold, ScoredFold, ScoreTable, scored_fold
from fusionbench.config.sections import CEILING, PREVALENCE
from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.resampling import labels_of
from fusionbench.metrics.statistics import area_weights
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.missingness.subsets import NOTHING, is_subset, prevalence_of
from fusionbench.plan.lines import Line, Model, model_of
from fusionbench.seeding import numpy_generator
from fusionbench.statistics.selection import Selection, compared_cells

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob

BEST = Line(CEILING, "")
"""The best possible prediction."""
NOBODY = Line(PREVALENCE, "")
"""The share of each label among training rows: what is predicted of rows that show nothing."""

Place = tuple[int, int]
"""Fold and seed."""


@dataclass(frozen=True)
class Compared:
    """What is compared, by name.

    Args:
        lines: All lines of the plan, in its order.
        folds: Numbers of all folds.
        seeds: All seeds.
        selection: Positions of what is compared among them, and who left.
    """

    lines: tuple[Line, ...]
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    selection: Selection

    @property
    def ranked(self) -> list[Line]:
        """Lines that are compared."""
        return [self.lines[m] for m in self.selection.lines]

    @property
    def used_folds(self) -> list[int]:
        """Numbers of the folds that are compared."""
        return [self.folds[k] for k in self.selection.folds]

    @property
    def used_seeds(self) -> list[int]:
        """Seeds that are compared."""
        return [self.seeds[s] for s in self.selection.seeds]

    @property
    def left(self) -> dict[Line, str]:
        """Lines that are not compared, with the reason."""
        reasons = {self.lines[m]: "no model is there" for m in self.selection.empty_lines}
        return reasons | {
            self.lines[m]: "models are missing in more than half of the seeds" for m in self.selection.gaps
        }


def compared(scored: Sequence[Scored], planned: Sequence[FitJob], study: Evaluation) -> Compared:
    """Choose the folds, seeds and lines that have every point of their curves."""
    lines = list(dict.fromkeys(model_of(f, f.scored[0], study.where).line for f in planned))
    folds, seeds = sorted({f.fold for f in planned}), sorted({f.seed for f in planned})
    wanted = set(curve_weights(study.patterns, study.rates))
    found: dict[tuple[int, int, Line], set[Condition]] = {}
    for s in scored:
        found.setdefault((s.job.fold, s.job.seed, s.model.line), set()).add(s.model.point)
    shape = (len(folds), len(seeds), len(lines))
    present = np.zeros(shape, dtype=np.bool_)
    for k, fold in enumerate(folds):
        ranks = _has_value(study, fold, scored)
        for i, seed in enumerate(seeds):
            for m, line in enumerate(lines):
                present[k, i, m] = ranks and wanted <= found.get((fold, seed, line), set())
    return Compared(tuple(lines), tuple(folds), tuple(seeds), compared_cells(present))


def _has_value(study: Evaluation, fold: int, scored: Sequence[Scored]) -> bool:
    """Whether the metric that ranks can have a value on the test rows of a fold."""
    if not METRICS[study.metric].ranks:
        return True
    opened = next((s.result.study for s in scored if s.job.fold == fold), None)
    if opened is None:
        return True  # nothing is there anyway
    target = study.dataset.target[study.folds[fold].test.open(opened)]
    labels = labels_of(target, study.dataset.kind, len(study.dataset.outputs))
    return bool((labels.any(axis=0) & ~labels.all(axis=0)).any())


def curve_weights(patterns: Sequence[str], rates: Sequence[float]) -> dict[Condition, float]:
    """Return what each point of a benchmark weighs in the mean height of a line's curves; they add up to 1."""
    weights = area_weights(rates) if len(rates) > 1 else np.ones(1)
    found: dict[Condition, float] = {}
    for pattern in patterns:
        for rate, weight in zip(rates, weights, strict=True):
            point = COMPLETE if rate == 0 else Condition(pattern, rate)
            found[point] = found.get(point, 0.0) + float(weight) / len(patterns)
    return found


class Board:
    """The predictions of a run as tables of scores.

    Args:
        scored: Every cell that is stored.
        planned: Everything that was to be trained.
        study: Data, folds, settings.
    """

    def __init__(self, scored: Sequence[Scored], planned: Sequence[FitJob], study: Evaluation) -> None:
        self.study, self.compared = study, compared(scored, planned, study)
        self._by_place: dict[Place, dict[Model, Scored]] = {}
        for s in scored:
            self._by_place.setdefault((s.job.fold, s.job.seed), {})[s.model] = s
        self.models = self._complete(scored)
        points = list(dict.fromkeys(m.point for m in self.models))
        ceilings = [Model(BEST, p) for p in points] if study.dataset.ceiling is not None else []
        self._added = [*ceilings, Model(NOBODY, NOTHING)] if self.models else []

    def _complete(self, scored: Sequence[Scored]) -> list[Model]:
        """Models that are there in every fold and seed that is compared, in the order of the plan."""
        places = [(k, s) for k in self.compared.used_folds for s in self.compared.used_seeds]
        order = {line: i for i, line in enumerate(self.compared.lines)}
        models = sorted(dict.fromkeys(s.model for s in scored), key=lambda m: order[m.line])
        return [m for m in models if places and all(m in self._by_place.get(p, {}) for p in places)]

    def scores(self, metric: str) -> ScoreTable:
        """Score every model, the best possible prediction and the prevalence by a metric."""
        models = [*self.models, *self._added]
        folds = [self._fold(fold, models, metric) for fold in self.compared.used_folds]
        return ScoreTable(metric, models, folds)

    def _fold(self, fold: int, models: Sequence[Model], metric: str) -> ScoredFold:
        study, seeds = self.study, self.compared.used_seeds
        places = [self._by_place[fold, seed] for seed in seeds]
        rows = study.folds[fold].test.open(next(iter(places[0].values())).result.study)
        prevalence = prevalence_of(study.dataset, study.folds[fold].development.train)

        def predicted(seed: int, model: int) -> NDArray[np.float64]:
            line, point = models[model]
            if line == BEST:
                return self._ceiling(point, seeds[seed], fold, rows)
            if line == NOBODY:
                return np.broadcast_to(prevalence, (len(rows), len(prevalence)))
            return places[seed][models[model]].probabilities

        given = PredictedFold(predicted, study.dataset.target[rows], study.dataset.groups[rows])
        generator = numpy_generator("resampled patients", metric=metric, fold=fold)
        return scored_fold(
            given, len(models), len(seeds), metric, study.dataset.kind, study.evaluation.resamples, generator
        )

    def _ceiling(self, point: Condition, seed: int, fold: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        dataset = self.study.dataset
        assert dataset.ceiling is not None
        seen = COMPLETE if self.study.where == "train" and not is_subset(point) else point
        present = self.study.seen(seen, seed, fold)
        code = present[rows] @ (1 << np.arange(present.shape[1]))
        best: NDArray[np.float64] = dataset.ceiling[rows, code].astype(np.float64)[:, None]
        return best

    def areas(self, table: ScoreTable) -> dict[Line, Mapping[int, float]]:
        """Return, for each line that is compared, what the mean height of its curves is made of."""
        position, weights = table.position, curve_weights(self.study.patterns, self.study.rates)
        return {
            line: {position[Model(line, point)]: weight for point, weight in weights.items()}
            for line in self.compared.ranked
            if all(Model(line, point) in position for point in weights)
        }
