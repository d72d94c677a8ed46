"""Is the leader better? The tests of the field, side by side, over folds and seeds.

The leaderboard's tie groups come from the bootstrap over patients, which takes the trained models as given. The tests
here look at the spread over repetitions (folds x seeds) instead. ``docs/statistics.md`` says how often each is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.metrics.statistics import area_weights, corrected_resampled_t, friedman, holm, paired_t, wilcoxon
from fusionbench.plan.lines import Line, lines_of

TESTS = ("corrected_t", "paired_t", "wilcoxon")
LINE = ["strategy", "imputer", "trained_at"]


def point_weights(patterns: Sequence[str], rates: Sequence[float]) -> dict[tuple[str, float], float]:
    """Return what each point of a benchmark weighs in the mean height of a line's curves; they add up to 1."""
    weights = area_weights(rates) if len(rates) > 1 else np.ones(1)
    weight: dict[tuple[str, float], float] = {}
    for pattern in patterns:
        for rate, w in zip(rates, weights, strict=True):
            point = ("complete", 0.0) if rate == 0 else (pattern, rate)
            weight[point] = weight.get(point, 0.0) + w / len(patterns)
    return weight


def repetition_areas(cells: pd.DataFrame, metric: str, patterns: Sequence[str], rates: Sequence[float]) -> pd.DataFrame:
    """Mean height of a line's curves in each repetition.

    Args:
        cells: One row for each cell, with ``strategy``, ``imputer``, ``variant``, ``point_pattern``, ``point_rate``,
            ``fold``, ``seed`` and the metric; the point is where the cell lies on its line's curve.
        metric: A column.
        patterns: Patterns of the benchmark.
        rates: Rates of the benchmark, rising.

    Returns:
        Float, one row for each repetition (index ``fold``, ``seed``), one column for each line; NaN where a cell lacks.
    """
    weight = point_weights(patterns, rates)
    axes = [*Line._fields, "point_pattern", "point_rate"]
    wide = cells.set_index(["fold", "seed", *axes])[metric].unstack(axes)
    areas = {}
    for line in lines_of(cells):
        columns = [(*line, *point) for point in weight]
        if all(c in wide.columns for c in columns):
            areas[line] = wide[columns].to_numpy() @ np.array(list(weight.values()))
    return pd.DataFrame(areas, index=wide.index)


def comparison_table(
    areas: pd.DataFrame, order: Sequence[Line], n_train: float, n_test: float, higher_is_better: bool
) -> pd.DataFrame:
    """Compare every arm with the leader.

    Args:
        areas: As :func:`repetition_areas` returns it.
        order: Lines from best to worst, as the leaderboard has them.
        n_train: Training rows of a repetition.
        n_test: Test rows of a repetition.
        higher_is_better: The metric's direction.

    Returns:
        One row for each line that has every repetition: ``mean_rank`` over repetitions, the mean ``difference``
        leader - line with its ``spread`` (standard deviation), and for each test p as computed (``p_<test>``) and
        after Holm's correction over the table (``holm_<test>``). ``friedman_p`` and ``critical_difference``
        (Nemenyi) are the same in every row. Empty with fewer than two repetitions or lines.
    """
    lines = [line for line in order if line in areas.columns and not areas[line].isna().any()]
    if len(lines) < 2 or len(areas) < 2:
        return pd.DataFrame(columns=_COLUMNS)
    values: NDArray[np.float64] = areas[lines].to_numpy()
    ranks = friedman(values, higher_is_better=higher_is_better)
    leader = values[:, 0]
    records: list[dict[str, Any]] = []
    for i, line in enumerate(lines):
        difference = leader - values[:, i]
        record = dict(zip(LINE, line, strict=True)) | {
            "mean_rank": float(ranks.mean_ranks[i]),
            "difference": float(difference.mean()),
            "spread": float(difference.std(ddof=1)),
        }
        records.append(record | (_p_values(leader, values[:, i], n_train, n_test) if i else {}))
    frame = pd.DataFrame(records, columns=_COLUMNS)
    for test in TESTS:
        frame[f"holm_{test}"] = holm(frame[f"p_{test}"].to_numpy(dtype=np.float64))
    return frame.assign(friedman_p=ranks.p_value, critical_difference=ranks.critical_difference)


def _p_values(
    leader: NDArray[np.float64], other: NDArray[np.float64], n_train: float, n_test: float
) -> dict[str, float]:
    return {
        "p_corrected_t": corrected_resampled_t(leader, other, n_train, n_test).p_value,
        "p_paired_t": paired_t(leader, other).p_value,
        "p_wilcoxon": wilcoxon(leader, other).p_value,
    }


_COLUMNS = [*LINE, "mean_rank", "difference", "spread"]
_COLUMNS += [f"{prefix}_{test}" for prefix in ("p", "holm") for test in TESTS] + ["friedman_p", "critical_difference"]
