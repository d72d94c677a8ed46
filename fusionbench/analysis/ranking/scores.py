"""From predictions of test rows to scores with what each patient contributes: what the statistical rule is fed with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench.metrics.registry import METRICS, Ranking, Sums, mean
from fusionbench.metrics.resampling import labels_of, resampled_values
from fusionbench.statistics.components import Components, PatientCovariance, components
from fusionbench.statistics.influence import (
    Influence,
    Patients,
    auroc_influence,
    drawn_counts,
    mean_influence,
    resampled_influence,
    smaller_class,
    strata_of,
    strata_of_classes,
)
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    from fusionbench.plan.lines import Model

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PredictedFold:
    """The test rows of a fold and everything that was predicted of them.

    Args:
        probabilities: From the position of a seed and of a model to float64 ``[rows, outputs]``.
        target: Int64 ``[rows]`` or ``[rows, labels]``.
        groups: ``[rows]``: rows of one patient share a number.
    """

    probabilities: Callable[[int, int], NDArray[np.floating[Any]]]
    target: NDArray[np.int64]
    groups: NDArray[np.int64]


class ScoredFold(NamedTuple):
    """Scores of one fold; higher is better.

    Args:
        values: Float64 ``[seeds, models]``; NaN where there is none.
        influence: Float64 ``[seeds, models, patients]`` (or resamples).
        df: Degrees of freedom that the fold adds.
        dropped: Resamples that were left out.
    """

    values: Floats
    influence: Floats
    df: float
    dropped: int


@dataclass(frozen=True)
class ScoreTable:
    """A metric of many models in every fold and seed.

    Args:
        metric: Its name.
        models: A line and a point of its curve each.
        folds: Their scores, signs turned where a lower metric is better.
    """

    metric: str
    models: Sequence[Model]
    folds: Sequence[ScoredFold]

    @property
    def position(self) -> dict[Model, int]:
        """Where each model stands."""
        return {m: i for i, m in enumerate(self.models)}

    @property
    def sign(self) -> int:
        """1 where higher values of the metric are better, else -1."""
        return 1 if METRICS[self.metric].higher_is_better else -1

    @property
    def dropped(self) -> int:
        """Resamples that were left out, over all folds."""
        return sum(f.dropped for f in self.folds)

    def scores_of(self, combinations: Sequence[Mapping[int, float]]) -> tuple[Floats, PatientCovariance]:
        """Weighted sums of models' scores: float64 ``[folds, seeds, sums]``, and what patients add.

        Args:
            combinations: For each line, weights by position of a model; the sums are compared with each other. Where scores are
                signs turned (:attr:`sign`), so are the sums.
        """
        theta = np.stack([_combined(f.values, combinations) for f in self.folds])
        influence = [_combined(f.influence, combinations) for f in self.folds]
        return theta, PatientCovariance.of_influence(influence, sum(f.df for f in self.folds))

    def components(self, combinations: Sequence[Mapping[int, float]]) -> Components:
        """Take the scatter of weighted sums apart; arguments as in :meth:`scores_of`."""
        return components(*self.scores_of(combinations))

    def defined(self, combination: Mapping[int, float]) -> bool:
        """Whether a sum has a value in every fold and seed."""
        return not any(np.isnan(f.values[:, list(combination)]).any() for f in self.folds)


def _combined(table: Floats, combinations: Sequence[Mapping[int, float]]) -> Floats:
    """Weighted sums along the second axis."""
    if all(list(c.values()) == [1.0] for c in combinations):
        return table[:, [next(iter(c)) for c in combinations]]
    sums = [np.einsum("m,sm...->s...", np.array(list(c.values())), table[:, list(c)]) for c in combinations]
    return np.stack(sums, axis=1)


# --------------------------------------------------------------------------------------------
# one fold


def scored_fold(
    fold: PredictedFold,
    models: int,
    seeds: int,
    metric: str,
    kind: TargetKind,
    resamples: int,
    generator: np.random.Generator,
) -> ScoredFold:
    """Score every model of a fold.

    Args:
        fold: Its rows and predictions.
        models: How many.
        seeds: How many.
        metric: A name in :data:`fusionbench.metrics.registry.METRICS`.
        kind: Of the target.
        resamples: How many, where a metric has no influence values.
        generator: Draws them: the same for every seed and model.
    """
    how, patients = METRICS[metric].how, Patients(fold.groups)
    outputs = fold.probabilities(0, 0).shape[1]
    positive = labels_of(fold.target, kind, outputs)
    df = smaller_class(positive, patients)
    if isinstance(how, Ranking) and metric == "auroc":
        found = _ranked(fold, models, seeds, positive, patients)
    elif isinstance(how, Sums) and how.conclude is mean:
        found = _mean(fold, models, seeds, how, kind, patients)
        df = float(patients.count - 1)
    else:
        return _resampled(fold, models, seeds, metric, kind, resamples, generator, df)
    sign = 1 if METRICS[metric].higher_is_better else -1
    return ScoredFold(sign * found.values, sign * found.patients, df, 0)


def _ranked(fold: PredictedFold, models: int, seeds: int, positive: NDArray[np.bool_], patients: Patients) -> Influence:
    """AUROC, mean over the labels (or classes against the rest) that have both classes here."""
    used = [c for c in range(positive.shape[1]) if positive[:, c].any() and not positive[:, c].all()]
    values = np.full((seeds, models), np.nan)
    influence = np.zeros((seeds, models, patients.count))
    for s in range(seeds if used else 0):
        columns = np.stack([fold.probabilities(s, m)[:, used].T for m in range(models)])
        found = [auroc_influence(columns[:, i], positive[:, c], patients) for i, c in enumerate(used)]
        values[s] = sum(f.values for f in found) / len(used)
        influence[s] = sum(f.patients for f in found) / len(used)
    return Influence(values, influence)


def _mean(fold: PredictedFold, models: int, seeds: int, how: Sums, kind: TargetKind, patients: Patients) -> Influence:
    """A mean over rows; of several labels the mean over all of them."""
    import torch

    target = torch.tensor(fold.target)
    labels = how.labels
    rows = np.empty((seeds, models, len(fold.target)))
    for s in range(seeds):
        for m in range(models):
            p = torch.tensor(np.asarray(fold.probabilities(s, m)))
            if kind is TargetKind.MULTICLASS:
                rows[s, m] = how.classes(p, target)[0].numpy()
                continue
            assert labels is not None
            columns = labels(p.T, target.reshape(len(p), -1).T)
            rows[s, m] = columns.squeeze(-2).mean(dim=0).numpy()
    return mean_influence(rows, patients)


def _resampled(
    fold: PredictedFold,
    models: int,
    seeds: int,
    metric: str,
    kind: TargetKind,
    resamples: int,
    generator: np.random.Generator,
    df: float,
) -> ScoredFold:
    """A metric of which only resamples tell how certain it is."""
    patients = Patients(fold.groups)
    classes = kind is TargetKind.MULTICLASS
    strata = strata_of_classes(fold.target, patients) if classes else strata_of(fold.target == 1, patients)
    counts = drawn_counts(strata, patients, resamples, generator)
    scores = [fold.probabilities(s, m) for s in range(seeds) for m in range(models)]
    whole = np.ones((len(fold.target), 1), dtype=np.uint16)
    values = resampled_values(metric, scores, fold.target, whole, kind)[:, 0]
    found, dropped = resampled_influence(values, resampled_values(metric, scores, fold.target, counts, kind))
    sign = 1 if METRICS[metric].higher_is_better else -1
    return ScoredFold(
        sign * found.values.reshape(seeds, models),
        sign * found.patients.reshape(seeds, models, -1),
        df,
        dropped,
    )
