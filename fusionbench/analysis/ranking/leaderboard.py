"""The leaderboard: areas under the curves with intervals and groups, ends of the curves, the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from fusionbench.analysis.cells import SIGNIFICANCE, Evaluation, with_intervals
from fusionbench.analysis.ranking.board import NOBODY, Board
from fusionbench.analysis.ranking.scores import ScoreTable
from fusionbench.metrics.registry import METRICS
from fusionbench.missingness.subsets import NOTHING
from fusionbench.plan.lines import Line, Model, model_of
from fusionbench.statistics.verdict import Verdict, verdict_of

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.store.results import FitResult


class Judged(NamedTuple):
    """The ranked score of every line that is compared, and what the rule says of it.

    Args:
        lines: In the order of the verdict.
        verdict: Areas with higher always better; None: nothing is compared.
        sign: 1 where a higher metric is better, else -1.
        prevalence: The same score of the share of each label among training rows; None: it has none.
    """

    lines: Sequence[Line]
    verdict: Verdict | None
    sign: int
    prevalence: float | None
    dropped: int = 0
    """Resamples of patients that had no value for some line."""


def judged(board: Board, table: ScoreTable | None) -> Judged:
    """Judge the mean heights of the lines' curves."""
    study = board.study
    areas = board.areas(table) if table is not None else {}
    if table is None or not areas:
        return Judged((), None, 1, None)
    settings = study.evaluation
    verdict = verdict_of(
        *table.scores_of(list(areas.values())),
        unit=METRICS[study.metric].higher_is_better,
        confidence=settings.confidence,
        equivalence=settings.equivalence,
        level=SIGNIFICANCE,
    )
    position = table.position[Model(NOBODY, NOTHING)]
    constant = float(np.mean([f.values[:, position].mean() for f in table.folds]))
    return Judged(tuple(areas), verdict, table.sign, table.sign * constant, table.dropped)


def _judgement(found: Judged, line: Line) -> dict[str, Any]:
    """What the rule says of one line; NaN and group 0 where it is not compared."""
    nothing = dict.fromkeys(
        ("area", "area_low", "area_high", "area_low_these_models", "area_high_these_models"), np.nan
    )
    if found.verdict is None or line not in found.lines:
        return {**nothing, "group": 0, "p_best": np.nan, "unstable": False}
    i, groups, singles = found.lines.index(line), found.verdict.groups, found.verdict.singles
    low, high = sorted(found.sign * singles.interval[i])
    these_low, these_high = sorted(found.sign * singles.interval_these_models[i])
    return {
        "area": found.sign * singles.value[i],
        "area_low": low,
        "area_high": high,
        "area_low_these_models": these_low,
        "area_high_these_models": these_high,
        "group": int(groups.group[i]) if groups is not None else 0,
        "p_best": float(groups.p_best[i]) if groups is not None else np.nan,
        "unstable": i in found.verdict.components.unstable,
    }


def controls_of(planned: Sequence[FitJob], where: str) -> list[Line]:
    """Lines of plain methods that every other is held against."""
    found = [
        model_of(f, f.scored[0], where).line
        for f in planned
        if getattr(f.arm.strategy.registration.target, "control", False)
    ]
    return list(dict.fromkeys(found))


def leaderboard_table(
    found: Judged,
    board: Board,
    curves: pd.DataFrame,
    results: Sequence[tuple[FitJob, FitResult]],
    planned: Sequence[FitJob],
) -> pd.DataFrame:
    """Return one row for each line, the best first: its area, the ends of its curves, what it cost; and the prevalence's."""
    study, left = board.study, board.compared.left
    records = [
        {
            "strategy": line.strategy,
            "imputer": line.imputer,
            "trained_at": line.variant,
            **_judgement(found, line),
            "left": left.get(line, ""),
            **_ends(curves, line, study),
            **_ledger(line, results, planned, study),
        }
        for line in board.compared.lines
    ]
    if found.prevalence is not None:
        records.append(_prevalence(found.prevalence, records[0], curves, study))
    frame = pd.DataFrame(records)
    ascending = not METRICS[study.metric].higher_is_better
    frame = frame.sort_values("area", ascending=ascending, na_position="last", kind="stable", ignore_index=True)
    trained = frame["strategy"] != NOBODY.strategy
    frame.insert(0, "rank", np.where(trained, trained.cumsum(), 0))
    return frame


def _prevalence(area: float, like: Mapping[str, Any], curves: pd.DataFrame, study: Evaluation) -> dict[str, Any]:
    """The row of the constant prediction: scores, and a ledger of nothing."""
    nothing = {name: type(value)() for name, value in like.items()}
    ends = _ends(curves, NOBODY, study)
    judged = {**_judgement(Judged((), None, 1, None), NOBODY), "area": area, "area_low": area, "area_high": area}
    return {**nothing, **judged, "strategy": NOBODY.strategy, **ends}


def _ends(curves: pd.DataFrame, line: Line, study: Evaluation) -> dict[str, float]:
    """The metric at the lowest and the highest rate, means over patterns; regret over all points."""
    found = curves[line.rows_of(curves)]
    low, high = (found[found["rate"] == r] for r in (study.rates[0], study.rates[-1]))
    names = [n for n in with_intervals(study.metric, study.dataset.kind) if n in found]
    ends = {f"{n}@{study.rates[0]:g}": float(low[n].mean()) for n in names}
    ends[f"{study.metric}@{study.rates[-1]:g}"] = float(high[study.metric].mean()) if len(high) else np.nan
    if "regret" in found:
        ends["regret"] = float(found["regret"].mean())
    return ends


def _ledger(
    line: Line,
    results: Sequence[tuple[FitJob, FitResult]],
    planned: Sequence[FitJob],
    study: Evaluation,
) -> dict[str, Any]:
    """What the line cost: models done of those planned, trials, epochs, seconds, parameters."""

    def mine(job: FitJob) -> bool:
        return model_of(job, job.scored[0], study.where).line == line

    done = [r for f, r in results if mine(f)]
    spent = [study.tuning.get(key, (0, 0.0)) for key in {f.study for f in planned if mine(f)}]
    return {
        "models": len(done),
        "models_planned": sum(map(mine, planned)),
        "trials": study.trials,
        "epochs": int(sum(r.epochs for r in done)),
        "epochs_allowed": int(sum(r.epochs_allowed for r in done)),
        "tuning_epochs": sum(epochs for epochs, _ in spent),
        "rows": int(sum(r.rows for r in done)),
        "parameters": max((r.parameters for r in done), default=0),
        "seconds": float(sum(r.seconds for r in done)),
        "tuning_seconds": sum(seconds for _, seconds in spent),
        "memory_mb": max((r.memory for r in done), default=0.0),
    }
