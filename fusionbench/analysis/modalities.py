"""What each modality is worth: its Shapley value, and how lazy joint training left it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fusionbench.analysis.ranking.board import NOBODY
from fusionbench.analysis.ranking.scores import ScoreTable
from fusionbench.metrics.statistics import shapley_weights, subsets_of
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.missingness.subsets import NOTHING, ONLY, subset_condition
from fusionbench.plan.lines import Line, Model

Intervals = Callable[[Sequence[Mapping[int, float]], int], list[tuple[float, float, float]]]

Alone = Mapping[str, Model]
"""By modality, where it has one: the line that was trained on it alone, and the condition it is read at."""


def subset_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of a table of curves that are about subsets, with the subset as a column of its own."""
    found = frame.loc[np.array([p.startswith(ONLY) for p in frame["pattern"]], dtype=np.bool_)]
    subset = [p.removeprefix(ONLY) for p in found["pattern"]]
    return found.drop(columns=["pattern", "rate"]).assign(subset=subset).reset_index(drop=True)


def modality_table(
    reads: Mapping[Line, Sequence[str]],
    table: ScoreTable,
    names: Sequence[str],
    alone: Alone,
    intervals: Intervals,
) -> pd.DataFrame:
    """Shapley value and laziness drop of each modality for each line, with intervals.

    Args:
        reads: Which lines, in order, each with the modalities that it looks at; those without every subset are left out.
        table: The metric of every line under every subset; the prevalence is there under nothing.
        names: Modality names.
        alone: Lines trained on one modality.
        intervals: From sums of scores (weights by position, signs turned where a lower metric is better) and a sign to values
            with intervals.

    Returns:
        One row for each line and modality: ``shapley``, ``only`` (the line, shown this modality only), ``alone`` (the line
        trained on it only), ``laziness`` = alone - only (OmniFuse's modality laziness: above 0, joint training left it worse
        than it can be; signs are turned where a lower metric is better), each with interval where it is an estimate of a
        difference.
    """
    position = table.position
    keys = [
        (COMPLETE if len(s) == len(names) else NOTHING if not s else subset_condition(s, names))
        for s in subsets_of(names)
    ]
    places = {line: [position.get(Model(NOBODY if c == NOTHING else line, c)) for c in keys] for line in reads}
    whole = {line: [p for p in found if p is not None] for line, found in places.items() if None not in found}
    records: dict[tuple[Line, str], dict[str, Any]] = {
        (line, name): {**line._asdict(), "modality": name} for line in whole for name in names
    }
    for m, name in enumerate(names):
        weights = shapley_weights(len(names))[m].tolist()
        found = intervals([dict(zip(p, weights, strict=True)) for p in whole.values()], table.sign)
        for line, value in zip(whole, found, strict=True):
            # predictions with and without what is never read are the same to the last bit
            records[line, name] |= _named("shapley", value if name in reads[line] else (0.0, 0.0, 0.0))
        references = {line: _reference(line, name, reads, alone, position) for line in whole}
        lazy = {line: reference for line, reference in references.items() if reference is not None}
        drops = intervals([{lazy[line]: 1.0, whole[line][1 << m]: -1.0} for line in lazy], 1)
        drop = dict(zip(lazy, drops, strict=True))
        for line in whole:
            at, reference = records[line, name], lazy.get(line)
            at["only"] = _value(table, whole[line][1 << m])
            at["alone"] = np.nan if reference is None else _value(table, reference)
            at |= _named("laziness", drop.get(line, (np.nan, np.nan, np.nan)))
    return pd.DataFrame(list(records.values()), columns=MODALITY_COLUMNS)


def _reference(
    line: Line, name: str, reads: Mapping[Line, Sequence[str]], alone: Alone, position: Mapping[Model, int]
) -> int | None:
    """Where the line stands that was trained on one modality alone, for a line that reads it among others."""
    joint = name in reads[line] and len(reads[line]) > 1
    return position.get(alone[name]) if joint and name in alone else None


def _value(table: ScoreTable, model: int) -> float:
    return table.sign * float(np.mean([f.values[:, model].mean() for f in table.folds]))


MODALITY_COLUMNS = [*Line._fields, "modality", "shapley", "shapley_low", "shapley_high"]
MODALITY_COLUMNS += ["only", "alone", "laziness", "laziness_low", "laziness_high"]


def _named(name: str, interval: Sequence[float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(float, interval), strict=True))
