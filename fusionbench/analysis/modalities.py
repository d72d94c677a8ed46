"""What each modality is worth: its Shapley value, and how lazy joint training left it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.statistics import shapley_weights, subsets_of
from fusionbench.missingness.conditions import Condition
from fusionbench.missingness.subsets import NOTHING, ONLY, subset_condition
from fusionbench.plan.lines import Line, Model

if TYPE_CHECKING:
    from fusionbench.metrics.intervals import Bootstrap

Lines = Mapping[Model, int]
"""Position of a line under a condition among the lines of a bootstrap."""

Alone = Mapping[str, Model]
"""By modality, where it has one: the line that was trained on it alone, and the condition it is read at."""

NEVER_READ = (0.0, 0.0, 0.0)
"""The Shapley value of a modality that a line never reads: its predictions with it and without are the same to the last bit."""

NOBODY = Line("", "")
"""The line of what is predicted of rows that show nothing."""


def subset_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of a table of curves that are about subsets, with the subset as a column of its own."""
    found = frame.loc[np.array([p.startswith(ONLY) for p in frame["pattern"]], dtype=np.bool_)]
    subset = [p.removeprefix(ONLY) for p in found["pattern"]]
    return found.drop(columns=["pattern", "rate"]).assign(subset=subset).reset_index(drop=True)


def modality_table(
    reads: Mapping[Line, Sequence[str]],
    lines: Lines,
    resampled: Bootstrap,
    names: Sequence[str],
    whole: Condition,
    alone: Alone,
    metric: str,
    confidence: float,
) -> pd.DataFrame:
    """Shapley value and laziness drop of each modality for each line, with intervals.

    Args:
        reads: Which lines, in order, each with the modalities that it looks at; those without every subset are left out.
        lines: Where each line's numbers are; :data:`NOTHING` is there under :data:`NOBODY`.
        resampled: The metric of every line.
        names: Modality names.
        whole: The condition under which everything is shown.
        alone: Lines trained on one modality.
        metric: Its name.
        confidence: Of the intervals.

    Returns:
        One row for each line and modality: ``shapley``, ``only`` (the line, shown this modality only), ``alone`` (the line
        trained on it only), ``laziness`` = alone - only (OmniFuse's modality laziness: above 0, joint training left it worse
        than it can be; signs are turned where a lower metric is better), each with interval where it is an estimate of a
        difference.
    """
    keys = [
        (whole if len(s) == len(names) else NOTHING if not s else subset_condition(s, names)) for s in subsets_of(names)
    ]
    records: list[dict[str, Any]] = []
    for line, read in reads.items():
        places = [lines.get(Model(NOBODY if c == NOTHING else line, c)) for c in keys]
        if any(p is None for p in places):
            continue
        values = _shapley(resampled, [p for p in places if p is not None], confidence)
        for m, name in enumerate(names):
            shown_alone = places[1 << m]
            assert shown_alone is not None
            joint = name in read and len(read) > 1
            shapley = values[m] if name in read else NEVER_READ
            reference = lines.get(alone[name]) if joint and name in alone else None
            records.append(
                line._asdict()
                | {
                    "modality": name,
                    **_named("shapley", shapley),
                    "only": float(resampled.point[shown_alone]),
                }
                | _laziness(resampled, reference, shown_alone, metric, confidence)
            )
    return pd.DataFrame(records, columns=MODALITY_COLUMNS)


MODALITY_COLUMNS = [*Line._fields, "modality", "shapley", "shapley_low", "shapley_high"]
MODALITY_COLUMNS += ["only", "alone", "laziness", "laziness_low", "laziness_high"]


def _shapley(resampled: Bootstrap, places: Sequence[int], confidence: float) -> list[Any]:
    own = shapley_weights(len(places).bit_length() - 1)
    weights = np.zeros((len(own), len(resampled.point)))
    weights[:, list(places)] = own
    return list(resampled.contrast(weights).intervals(confidence))


def _laziness(resampled: Bootstrap, alone: int | None, only: int, metric: str, confidence: float) -> dict[str, float]:
    if alone is None:  # nobody was trained on this modality alone
        return {"alone": np.nan, **_named("laziness", (np.nan, np.nan, np.nan))}
    sign = 1 if METRICS[metric].higher_is_better else -1
    weights = np.zeros((1, len(resampled.point)))
    weights[0, alone] += sign
    weights[0, only] -= sign
    drop = resampled.contrast(weights).intervals(confidence)[0]
    return {"alone": float(resampled.point[alone]), **_named("laziness", drop)}


def _named(name: str, interval: Sequence[float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(float, interval), strict=True))
