"""The AUROC of every subset of the modalities, fold by fold: what the best line of a run makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.analysis.ranking.board import BEST
from fusionbench.analysis.ranking.scores import ScoreTable
from fusionbench.metrics.statistics import subsets_of
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.missingness.subsets import subset_condition
from fusionbench.plan.lines import Line, Model

COLUMNS = ["subset", "fold", *Line._fields, "auroc", "ceiling"]


def reading_table(table: ScoreTable, reads: Mapping[Line, Sequence[str]], names: Sequence[str]) -> pd.DataFrame:
    """Return what can be read from every subset: of the line that makes the most of it, over all folds.

    Args:
        table: AUROC of every line under every subset.
        reads: The lines, each with the modalities that it looks at: a subset is read by those that look at all of it.
        names: Modality names.

    Returns:
        One row for each subset (in the order of ``Dataset.ceiling``, without the empty one) and fold, means over seeds;
        ``ceiling`` is the best possible prediction's, NaN where that is not known. No rows where a subset was not scored, no
        line looks at all of it, or there is one modality.
    """
    values = np.stack([fold.values.mean(axis=0) for fold in table.folds]) if table.folds else np.empty((0, 0))
    records: list[dict[str, Any]] = []
    for subset in subsets_of(names)[1:] if len(names) > 1 else ():
        point = COMPLETE if len(subset) == len(names) else subset_condition(subset, names)
        found = [i for i, m in enumerate(table.models) if m.point == point and subset <= set(reads.get(m.line, ()))]
        if not found or np.isnan(values[:, found]).any():
            return pd.DataFrame(columns=COLUMNS)
        best = found[int(np.argmax(values[:, found].mean(axis=0)))]
        records += _rows("+".join(n for n in names if n in subset), best, point, values, table)
    return pd.DataFrame(records, columns=COLUMNS)


def _rows(
    subset: str, model: int, point: Condition, values: NDArray[np.float64], table: ScoreTable
) -> list[dict[str, Any]]:
    line, best = table.models[model].line, table.position.get(Model(BEST, point))
    return [
        {
            "subset": subset,
            "fold": fold,
            **line._asdict(),
            "auroc": float(mine[model]),
            "ceiling": np.nan if best is None else float(mine[best]),
        }
        for fold, mine in enumerate(values)
    ]


def by_fold(readings: pd.DataFrame, column: str = "auroc") -> NDArray[np.float64]:
    """Return a column as an array, ``[folds, subsets]``."""
    subsets = list(dict.fromkeys(readings["subset"]))
    found: NDArray[np.float64] = readings.pivot_table(index="fold", columns="subset", values=column, dropna=False)[
        subsets
    ].to_numpy(dtype=np.float64)
    return found
