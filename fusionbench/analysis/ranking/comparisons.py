"""Every pair of lines, by the rule that decides the leaderboard: if they were trained again, and of these trained models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.plan.lines import Line
from fusionbench.statistics.verdict import Verdict

LINE = ["strategy", "imputer", "trained_at"]
OTHER = [f"other_{name}" for name in LINE]
COLUMNS = [*LINE, *OTHER, "difference", "low", "high", "se", "df", "p", "p_adjusted", "better", "equivalent", "worse"]
COLUMNS += ["se_these_models", "p_these_models"]


def comparison_table(lines: Sequence[Line], verdict: Verdict | None, sign: int) -> pd.DataFrame:
    """Return one row for each pair of lines, the higher line of the leaderboard first.

    Args:
        lines: In the order of the verdict.
        verdict: What the rule says; None: nothing is compared.
        sign: 1 where a higher metric is better, else -1: differences are in the metric's own direction.

    Returns:
        ``difference`` is first minus other, with ``low``, ``high``, ``se``, ``df``, ``p`` (of this pair alone) and ``p_adjusted``
        (for all pairs, max-t), all *if trained again*; ``better``, ``equivalent`` and ``worse`` are the probabilities that the
        first is better than the other by more than the region of practical equivalence, within it, or worse; ``se_these_models``
        and ``p_these_models`` take the trained models as given. NaN where a design cannot tell.
    """
    if verdict is None or len(lines) < 2:
        return pd.DataFrame(columns=COLUMNS)
    pairs, order = verdict.pairs, np.argsort(-verdict.components.value, kind="stable")
    place = np.argsort(order, kind="stable")
    turned = place[pairs.first] > place[pairs.second]
    first = np.where(turned, pairs.second, pairs.first)
    second = np.where(turned, pairs.first, pairs.second)
    direction = np.where(turned, -1, 1)
    low, high = (np.where(turned, -b, a) for a, b in ((pairs.low, pairs.high), (pairs.high, pairs.low)))
    low, high = (low, high) if sign > 0 else (-high, -low)
    again = verdict.groups is not None  # one run says nothing of other trainings
    adjusted = verdict.p_max_t if verdict.p_max_t is not None else np.full(len(first), np.nan)
    frame = pd.DataFrame(
        {
            **_named(LINE, lines, first),
            **_named(OTHER, lines, second),
            "difference": sign * direction * pairs.difference,
            "low": low,
            "high": high,
            "se": pairs.se,
            "df": pairs.df,
            "p": pairs.p if again else np.nan,
            "p_adjusted": adjusted,
            "better": np.where(turned, pairs.rope[:, 2], pairs.rope[:, 0]),
            "equivalent": pairs.rope[:, 1],
            "worse": np.where(turned, pairs.rope[:, 0], pairs.rope[:, 2]),
            "se_these_models": pairs.se_these_models,
            "p_these_models": pairs.p_these_models,
        }
    )
    frame = frame.assign(_first=place[first], _second=place[second])
    return frame.sort_values(["_first", "_second"], ignore_index=True).drop(columns=["_first", "_second"])


def _named(columns: Sequence[str], lines: Sequence[Line], which: NDArray[np.intp]) -> dict[str, list[str]]:
    return {column: [lines[i][field] for i in which] for field, column in enumerate(columns)}


class Difference(NamedTuple):
    """One line minus another.

    Args:
        value: In the metric's own direction.
        low: Lower end of the interval.
        high: Upper end.
        better: The same with higher always better.
        p: If trained again, of this pair alone; NaN where one run is all there is.
        p_adjusted: For all pairs.
        p_these_models: Of these trained models.
    """

    value: float
    low: float
    high: float
    better: float
    p: float
    p_adjusted: float
    p_these_models: float


def difference_between(found: pd.DataFrame, line: Line, other: Line) -> Difference | None:
    """Look a pair up in a table of pairs, whichever of the two stands first; None where they are not compared."""
    for first, second, sign in ((line, other, 1), (other, line, -1)):
        mine = np.ones(len(found), dtype=np.bool_)
        for columns, names in ((LINE, first), (OTHER, second)):
            for column, name in zip(columns, names, strict=True):
                mine &= (found[column] == name).to_numpy(dtype=np.bool_)
        if mine.any():
            row = found[mine].iloc[0]
            low, high = sorted((sign * row["low"], sign * row["high"]))
            value, better = sign * row["difference"], sign * abs(row["difference"])  # the better of a pair stands first
            return Difference(value, low, high, better, row["p"], row["p_adjusted"], row["p_these_models"])
    return None
