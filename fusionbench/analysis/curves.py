"""Every model's metrics with intervals: points of degradation curves, subsets of the modalities, regrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from fusionbench.analysis.cells import Evaluation, with_intervals
from fusionbench.analysis.modalities import MODALITY_COLUMNS, modality_table, subset_table
from fusionbench.analysis.ranking.board import BEST, NOBODY, Board
from fusionbench.analysis.ranking.scores import ScoreTable
from fusionbench.analysis.regimes.readings import COLUMNS as READING_COLUMNS
from fusionbench.analysis.regimes.readings import reading_table
from fusionbench.metrics.registry import METRICS
from fusionbench.missingness.conditions import COMPLETE, Condition, condition_label
from fusionbench.missingness.subsets import NOTHING, is_subset
from fusionbench.plan.lines import Line, Model, lines_by_row, lines_of
from fusionbench.statistics.single import Singles, singles_of

if TYPE_CHECKING:
    from fusionbench.progress import ProgressStage

Values = dict[Model, tuple[float, float, float]]
"""A number of each model with its interval."""


class Curves(NamedTuple):
    """Numbers with intervals, and the scores that decide the leaderboard."""

    curves: pd.DataFrame
    subsets: pd.DataFrame
    modalities: pd.DataFrame
    readings: pd.DataFrame
    ranked: ScoreTable | None


def curve_tables(board: Board, stage: ProgressStage) -> Curves:
    """Every model's metrics with intervals."""
    study = board.study
    names = with_intervals(study.metric, study.dataset.kind)
    if not board.models:
        stage.skip(len(names))
        nothing = pd.DataFrame(columns=["strategy", "imputer", "variant", "pattern", "rate"])
        empty = pd.DataFrame(columns=MODALITY_COLUMNS), pd.DataFrame(columns=READING_COLUMNS)
        return Curves(nothing, subset_table(nothing), *empty, None)
    points = list(dict.fromkeys(m.point for m in board.models))
    models = [*board.models, *(Model(BEST, p) for p in points if study.dataset.ceiling is not None)]
    constants = [Model(NOBODY, p) for p in points]  # the same number everywhere
    frame = _frame([*models, *constants])
    ranked: ScoreTable | None = None
    readings = pd.DataFrame(columns=READING_COLUMNS)
    for name in names:
        stage.working(1, 0.0, name)
        table = board.scores(name)
        values = _values(table, [*models, Model(NOBODY, NOTHING)], study.evaluation.confidence)
        _add(frame, [*models, *(Model(NOBODY, NOTHING) for _ in constants)], name, values)
        ranked = table if name == study.metric else ranked
        readings = reading_table(table, _reads(board), study.names) if name == "auroc" else readings
        stage.advance(1)
    assert ranked is not None
    if study.dataset.ceiling is not None:
        frame = _with_regret(frame, [*models, *constants], ranked, study)
    on_curves = frame[~frame["pattern"].map(lambda p: is_subset(Condition(p, 0.0)))]
    curves = _spread_rate_zero(on_curves.reset_index(drop=True), study)
    return Curves(curves, subset_table(frame), _modalities(board, ranked), readings, ranked)


def _frame(models: Sequence[Model]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "strategy": [m.line.strategy for m in models],
            "imputer": [m.line.imputer for m in models],
            "variant": [m.line.variant for m in models],
            "pattern": [m.point.pattern for m in models],
            "rate": [m.point.rate for m in models],
        }
    )


def _add(frame: pd.DataFrame, models: Sequence[Model], name: str, values: Values) -> None:
    """Add a number and the ends of its interval as columns."""
    found = np.array([values[m] for m in models])
    for i, column in enumerate((name, f"{name}_low", f"{name}_high")):
        frame[column] = found[:, i]


def _values(table: ScoreTable, models: Sequence[Model], confidence: float) -> Values:
    """Every model's value; lines at one point share what the point's scores tell of the chance of training."""
    position, found = table.position, Values()
    by_point: dict[tuple[Condition, bool], list[Model]] = {}  # references have no training to share
    for m in models:
        by_point.setdefault((m.point, m.line in (BEST, NOBODY)), []).append(m)
    unit = METRICS[table.metric].higher_is_better
    for together in by_point.values():
        combinations = [{position[m]: 1.0} for m in together]
        found |= dict(zip(together, _intervals(table, combinations, confidence, unit=unit), strict=True))
    return found


def _intervals(
    table: ScoreTable, combinations: Sequence[Mapping[int, float]], confidence: float, *, unit: bool, sign: int = 0
) -> list[tuple[float, float, float]]:
    """Values of sums of scores with intervals, as the metric has them; NaN where a sum has no value."""
    sign = sign or table.sign
    defined = [c for c in combinations if table.defined(c)]
    found = iter(list[tuple[float, float, float]]())
    if defined:
        singles = singles_of(table.components(defined), unit=unit, confidence=confidence)
        found = iter([_turned(singles, i, sign) for i in range(len(defined))])
    return [next(found) if table.defined(c) else (np.nan, np.nan, np.nan) for c in combinations]


def _turned(singles: Singles, line: int, sign: int) -> tuple[float, float, float]:
    low, high = sorted(sign * singles.interval[line])
    return float(sign * singles.value[line]), float(low), float(high)


def _with_regret(frame: pd.DataFrame, models: Sequence[Model], table: ScoreTable, study: Evaluation) -> pd.DataFrame:
    """Add the ceiling at each point and how far below it a model is, with the interval of the difference."""
    position = table.position
    values = np.array([np.mean([f.values[:, i].mean() for f in table.folds]) for i in range(len(table.models))])
    ceiling = [table.sign * values[position[Model(BEST, m.point)]] for m in models]
    constant = position[Model(NOBODY, NOTHING)]
    regrets: Values = dict.fromkeys(models, (0.0, 0.0, 0.0))
    for point in dict.fromkeys(m.point for m in models):
        together = [m for m in models if m.point == point and m.line != BEST]
        best = position[Model(BEST, point)]
        sums = [{best: 1.0, position.get(m, constant): -1.0} for m in together]
        found = _intervals(table, sums, study.evaluation.confidence, unit=False, sign=1)
        regrets |= dict(zip(together, found, strict=True))
    _add(frame, models, "regret", regrets)
    frame.insert(list(frame.columns).index("regret"), "ceiling", ceiling)
    return frame


def _modalities(board: Board, table: ScoreTable) -> pd.DataFrame:
    study = board.study
    # in a grid the line that is read is the one that was trained with everything
    variant = condition_label(COMPLETE) if study.where == "grid" else ""
    alone: dict[str, Model] = {}
    for arm, read in study.reads.items():
        if len(read) == 1:  # the first of those that read nothing else
            alone.setdefault(read[0], Model(Line(*arm, variant), COMPLETE))

    def intervals(combinations: Sequence[Mapping[int, float]], sign: int) -> list[tuple[float, float, float]]:
        return _intervals(table, combinations, study.evaluation.confidence, unit=False, sign=sign)

    return modality_table(_reads(board), table, study.names, alone, intervals)


def _reads(board: Board) -> dict[Line, tuple[str, ...]]:
    """Every trained line with the modalities that it looks at."""
    study = board.study
    ours = [line for line in dict.fromkeys(m.line for m in board.models) if line != NOBODY]
    return {line: tuple(study.reads.get(line[:2], study.names)) for line in ours}


def _spread_rate_zero(frame: pd.DataFrame, study: Evaluation) -> pd.DataFrame:
    """Complete data are the first point of every pattern's curve."""
    complete = frame[frame["pattern"] == COMPLETE.pattern]
    starts = [complete.assign(pattern=pattern) for pattern in study.patterns]
    others = frame[frame["pattern"] != COMPLETE.pattern]
    whole = pd.concat([*starts, others], ignore_index=True)
    order = {pattern: i for i, pattern in enumerate(study.patterns)}
    places = {line: i for i, line in enumerate(lines_of(frame))}
    whole = whole.assign(_line=[places[line] for line in lines_by_row(whole)], _pattern=whole["pattern"].map(order))
    return whole.sort_values(["_line", "_pattern", "rate"], ignore_index=True).drop(columns=["_line", "_pattern"])
