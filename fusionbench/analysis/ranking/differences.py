"""How far each line lies from the baseline at every point of its curves, and on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from fusionbench.analysis.cells import SIGNIFICANCE
from fusionbench.analysis.ranking.board import Board, curve_weights
from fusionbench.analysis.ranking.leaderboard import Judged
from fusionbench.analysis.ranking.scores import ScoreTable
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.plan.lines import Line, Model
from fusionbench.statistics.contrasts import Contrasts, contrast_of, contrasts_of

if TYPE_CHECKING:
    from fusionbench.progress import ProgressStage

AREA: Final = "area"
"""The pattern of rows about the mean height of the curves; their rate is NaN."""
POINT: Final = ["strategy", "imputer", "variant", "pattern", "rate", "achieved"]
NUMBERS: Final = ["difference", "difference_low", "difference_high"]
NUMBERS_THESE: Final = ["difference_low_these_models", "difference_high_these_models"]
COLUMNS: Final = [
    *POINT,
    *NUMBERS,
    *NUMBERS_THESE,
    "p",
    "p_adjusted",
    "p_these_models",
    "shown",
    "possible_best",
    "p_best",
]
BETTER, WORSE = "better", "worse"


def points_of(board: Board) -> list[Condition]:
    """Return the points of a board's curves, each once; complete data are the first point of every pattern's."""
    return list(curve_weights(board.study.patterns, board.study.rates))


def difference_table(
    board: Board,
    table: ScoreTable | None,
    found: Judged,
    baseline: Line | None,
    achieved: Mapping[tuple[str, float], float],
    stage: ProgressStage,
) -> pd.DataFrame:
    """Return one row for each line and point, and one for each line's area.

    Args:
        board: What is compared.
        table: Its scores by the metric that ranks; None: there are none.
        found: What the rule says of the areas.
        baseline: What lines are held against; None: nothing is.
        achieved: By pattern and rate, what is really hidden.
        stage: Advanced once.

    Returns:
        ``difference`` is line minus baseline in the metric's own direction, with its interval *if trained again* and *of these
        models*, for this line at this point alone. ``p_adjusted`` is corrected for all lines at all points; in rows of the area
        for all pairs of lines. ``shown`` is ``better`` or ``worse`` where that is below .05. ``possible_best``: the line could
        be the best at this point (``p_best`` > .05), if trained again. NaN and False where a design cannot tell.
    """
    if baseline is None or table is None or found.verdict is None or baseline not in found.lines:
        stage.advance(1)
        return pd.DataFrame(columns=COLUMNS)
    lines = list(found.lines)
    rows = _of_areas(found, lines.index(baseline), lines, board.study.evaluation.confidence)
    points = [p for p in points_of(board) if _defined(table, lines, p)]
    if points:
        contrasts = _contrasts(board, table, lines, points, lines.index(baseline))
        for pattern in board.study.patterns:
            for i, point in enumerate(points):
                if point.pattern == pattern or point == COMPLETE:
                    place = (pattern, point.rate, achieved.get((pattern, point.rate), np.nan))
                    rows += _rows(lines, place, {n: getattr(contrasts, n)[i] for n in _FIELDS}, table.sign)
    stage.advance(1)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    order = {line: i for i, line in enumerate(lines)}
    places = [order[Line(*names)] for names in zip(*(frame[c] for c in POINT[:3]), strict=True)]
    return frame.assign(_line=places).sort_values("_line", kind="stable", ignore_index=True).drop(columns="_line")


_FIELDS = list(Contrasts.__dataclass_fields__)


def _defined(table: ScoreTable, lines: Sequence[Line], point: Condition) -> bool:
    position = table.position
    models = [Model(line, point) for line in lines]
    return all(m in position and table.defined({position[m]: 1.0}) for m in models)


def _contrasts(
    board: Board, table: ScoreTable, lines: Sequence[Line], points: Sequence[Condition], baseline: int
) -> Contrasts:
    position, settings = table.position, board.study.evaluation
    which = np.array([[position[Model(line, point)] for line in lines] for point in points])
    return contrasts_of(
        np.stack([f.values[:, which] for f in table.folds]),
        [f.influence[:, which] for f in table.folds],
        sum(f.df for f in table.folds),
        baseline,
        confidence=settings.confidence,
        equivalence=settings.equivalence,
        level=SIGNIFICANCE,
    )


def _of_areas(found: Judged, baseline: int, lines: Sequence[Line], confidence: float) -> list[dict[str, Any]]:
    """Rows of the area, with the leaderboard's own verdict."""
    verdict = found.verdict
    assert verdict is not None
    fields = contrast_of(verdict, baseline, confidence)
    adjusted = np.full(len(lines), np.nan)
    if verdict.p_max_t is not None:
        adjusted[baseline] = 1.0
        for pair, (first, second) in enumerate(zip(verdict.pairs.first, verdict.pairs.second, strict=True)):
            if baseline in (first, second):
                adjusted[second if first == baseline else first] = verdict.p_max_t[pair]
    return _rows(lines, (AREA, np.nan, np.nan), {**fields, "p_adjusted": adjusted}, found.sign)


def _rows(
    lines: Sequence[Line], place: tuple[str, float, float], fields: Mapping[str, Any], sign: int
) -> list[dict[str, Any]]:
    names = dict(zip(POINT[3:], place, strict=True))
    return [
        {
            **dict(zip(POINT[:3], line, strict=True)),
            **names,
            **_numbers({name: float(values[i]) for name, values in fields.items()}, sign),
        }
        for i, line in enumerate(lines)
    ]


def _numbers(of: Mapping[str, float], sign: int) -> dict[str, Any]:
    low, high = sorted((sign * of["low"], sign * of["high"]))
    these_low, these_high = sorted((sign * of["low_these_models"], sign * of["high_these_models"]))
    holds = of["p_adjusted"] < SIGNIFICANCE
    return {
        "difference": sign * of["difference"] + 0.0,  # no -0.0
        "difference_low": low,
        "difference_high": high,
        "difference_low_these_models": these_low,
        "difference_high_these_models": these_high,
        "p": of["p"],
        "p_adjusted": of["p_adjusted"],
        "p_these_models": of["p_these_models"],
        "shown": "" if not holds else BETTER if of["difference"] > 0 else WORSE,
        "possible_best": of["p_best"] > SIGNIFICANCE,
        "p_best": of["p_best"],
    }
