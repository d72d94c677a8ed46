"""What tuning gained: trials and their best so far, lines with the defaults, and validation against test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.analysis.cells import Evaluation, Scored, scored_cells
from fusionbench.analysis.ranking.board import curve_weights
from fusionbench.metrics.registry import METRICS
from fusionbench.missingness.conditions import condition_label
from fusionbench.missingness.subsets import is_subset
from fusionbench.plan.lines import Line, Model, line_of, model_of

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob, StudyJob
    from fusionbench.store.results import Store

TRIAL_COLUMNS: Final = (
    "strategy", "imputer", "trained_at", "fold", "trial", "score", "best_so_far", "epochs", "failed", "options",
)  # fmt: skip
"""``score`` and ``best_so_far`` are what trials were compared by; higher is better."""


def trial_rows(studies: Sequence[StudyJob], store: Store) -> list[dict[str, Any]]:
    """Return every trial of every sealed study, in the order of the plan.

    Args:
        studies: Of the plan.
        store: Where they are sealed.
    """
    found = []
    for study in studies:
        content = store.sealed_study(study.key)
        best = -np.inf
        for trial in content["trials"] if content is not None else ():
            score = trial["score"]
            best = best if score is None else max(best, score)
            found.append(
                {
                    "strategy": study.arm.title,
                    "imputer": study.arm.imputer_name,
                    "trained_at": condition_label(study.condition),
                    "fold": study.fold,
                    "trial": trial["number"],
                    "score": score,
                    "best_so_far": float(best) if np.isfinite(best) else None,
                    "epochs": trial["epochs"],
                    "failed": trial["failure"] is not None,
                    "options": json.dumps({**trial["params"], **trial["own"]}, sort_keys=True),
                }
            )
    return found


def trial_table(study: Evaluation) -> pd.DataFrame:
    """Return the trials as a table."""
    frame = pd.DataFrame(list(study.trial_rows), columns=list(TRIAL_COLUMNS))
    numbers = {"score": np.float64, "best_so_far": np.float64, "fold": np.int64, "trial": np.int64, "epochs": np.int64}
    return frame.astype({**numbers, "failed": bool})


def course_of(trials: pd.DataFrame, strategy: str, imputer: str) -> pd.Series:
    """Return the best score so far by number of the trial: means over the studies of a line that have one by then."""
    mine = trials[(trials["strategy"] == strategy) & (trials["imputer"] == imputer)]
    return mine.groupby("trial")["best_so_far"].mean().dropna()


def with_tuning(board: pd.DataFrame, scored: Sequence[Scored], study: Evaluation) -> pd.DataFrame:
    """Return the leaderboard with what the lines are with the defaults, what tuning gained, and validation against test.

    ``untuned`` is the area of models with the defaults; ``gain`` how much better the tuned ones are, over the same folds
    and seeds; ``validation_minus_test`` the score that selected the epoch less that of test rows under the same condition
    (higher: validation promised too much). What cannot be said is NaN.
    """
    lines = [line_of(row) for _, row in board.iterrows()]
    gaps = _gaps(scored, study)
    found = board.assign(validation_minus_test=[gaps.get(line, np.nan) for line in lines])
    if not study.trials or not study.untuned:
        return found
    plain = [s for f, r in study.untuned for s in scored_cells(f, r, study)]
    before, after = _areas(plain, study), _areas(scored, study)
    sign = 1 if METRICS[study.metric].higher_is_better else -1
    spent = [[r for f, r in study.untuned if _line(f, study) == line] for line in lines]
    return found.assign(
        untuned=[before.get(line, np.nan) for line in lines],
        gain=[sign * (after.get(line, np.nan) - before.get(line, np.nan)) for line in lines],
        untuned_epochs=[sum(r.epochs for r in results) for results in spent],
        untuned_seconds=[float(sum(r.seconds for r in results)) for results in spent],
    )


def _line(fit: FitJob, study: Evaluation) -> Line:
    return model_of(fit, fit.scored[0], study.where).line


def _areas(scored: Sequence[Scored], study: Evaluation) -> dict[Line, float]:
    """Areas of lines that have every point, fold and seed that any line has: means of scores, weighted as curves are."""
    values: dict[Model, dict[tuple[int, int], float]] = {}
    for s in scored:
        if not is_subset(s.condition):
            values.setdefault(s.model, {})[s.job.fold, s.job.seed] = _score(s, study)
    whole = max((len(v) for v in values.values()), default=0)
    weights = curve_weights(study.patterns, study.rates)
    found = {}
    for line in dict.fromkeys(m.line for m in values):
        if all(len(values.get(Model(line, point), ())) == whole for point in weights):
            heights = {point: np.mean(list(values[Model(line, point)].values())) for point in weights}
            found[line] = float(sum(weight * heights[point] for point, weight in weights.items()))
    return found


def _gaps(scored: Sequence[Scored], study: Evaluation) -> Mapping[Line, float]:
    """Validation minus test, where models are tested under the condition that they were validated under."""
    if not study.by_metric:  # epochs were selected by the loss
        return {}
    sign = 1 if METRICS[study.metric].higher_is_better else -1
    gaps: dict[Line, list[float]] = {}
    for s in scored:
        if s.condition == s.job.condition:
            gaps.setdefault(s.model.line, []).append(s.result.score - sign * _score(s, study, as_validated=True))
    return {line: float(np.mean(found)) for line, found in gaps.items()}


def _score(s: Scored, study: Evaluation, *, as_validated: bool = False) -> float:
    """The metric over test rows; as validated: over those that show an arm anything, as its validation rows do."""
    import torch

    from fusionbench.metrics.scores import score

    rows = study.folds[s.job.fold].test.open(s.result.study)
    counted: NDArray[np.bool_] = np.ones(len(rows), dtype=np.bool_)
    if as_validated and s.job.arm.modalities is not None:
        columns = np.isin(study.names, s.job.arm.modalities)
        counted &= (study.mask(s.condition, s.job.seed, s.job.fold)[rows] & columns).any(axis=1)
    dataset = study.dataset
    target = torch.as_tensor(dataset.target[rows])
    # the validation score is of what the model says, before anything is fitted on these rows
    said = s.raw if as_validated else s.probabilities
    return float(score(study.metric, torch.as_tensor(said), target, dataset.kind, torch.as_tensor(counted)))
