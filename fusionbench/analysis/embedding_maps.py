"""Where imputed embeddings lie beside the true ones: counts on a coarse grid, and no row.

The axes are the first two principal components of the true embeddings, each in standard deviations of theirs; the grid reaches
three of these from their mean. The components themselves are not kept, and a cell that fewer than five rows share is not
told from an empty one. What lies in such cells or outside is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.records import MAP_CELLS, MAP_LINE, MAP_NUMBERS, Maps

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob

FEWEST = 5
"""Rows that a cell must hold to be shown."""

LEAST_ROWS = 20
"""Rows that a map must have."""

REACH = 3.0
"""Standard deviations of the true embeddings from their mean to the edge of the grid."""

FORMAT = 1


@dataclass(frozen=True)
class EmbeddingMap:
    """One modality of one model, test rows that have it and another one.

    Args:
        rows: How many.
        true: Rows of each cell, ``[cells, cells]``, first axis the first component; 0 where there are fewer than five.
        filled: The same of what the imputer made of them with the modality hidden.
        hidden_true: True embeddings in no cell that is shown.
        hidden_filled: Imputed ones in no cell that is shown.
        explained: Share of the variance of the true embeddings that the two components hold, 0 to 1.
        error: Relative error (:mod:`fusionbench.training.imputation`).
        distance: Between the means of imputed and true embeddings, over all components, in spreads of the true ones.
        spread: Of the imputed embeddings, as a share of that of the true ones; 0 where every row gets the same.
    """

    rows: int
    true: Sequence[Sequence[int]]
    filled: Sequence[Sequence[int]]
    hidden_true: int
    hidden_filled: int
    explained: float
    error: float
    distance: float
    spread: float


def map_embeddings(true: NDArray[np.floating], filled: NDArray[np.floating]) -> EmbeddingMap | None:
    """Return the map of rows, or None where there are too few of them, or their embeddings are all alike or not finite.

    Args:
        true: ``[n, dim]``.
        filled: ``[n, dim]``, the same rows.
    """
    true, filled = true.astype(np.float64), filled.astype(np.float64)
    if len(true) < LEAST_ROWS or not (np.isfinite(true).all() and np.isfinite(filled).all()):
        return None
    mean = true.mean(axis=0)
    _, sizes, directions = np.linalg.svd(true - mean, full_matrices=False)
    variance = sizes**2 / len(true)
    total = float(variance.sum())
    if total <= np.finfo(np.float32).eps ** 2 * float((true**2).mean()):
        return None
    axes = _two_axes(directions, np.sqrt(variance))
    shown = [_counts((values - mean) @ axes, round(np.sqrt(len(true)) / 2)) for values in (true, filled)]
    return EmbeddingMap(
        rows=len(true),
        true=shown[0].tolist(),
        filled=shown[1].tolist(),
        hidden_true=len(true) - int(shown[0].sum()),
        hidden_filled=len(true) - int(shown[1].sum()),
        explained=float(variance[:2].sum()) / total,
        error=float(((filled - true) ** 2).sum(axis=1).mean()) / total,
        distance=float(np.linalg.norm(filled.mean(axis=0) - mean) / np.sqrt(total)),
        spread=float(np.sqrt(filled.var(axis=0).sum() / total)),
    )


def _two_axes(directions: NDArray[np.float64], spreads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``[dim, 2]``: projection on two components, in their standard deviations; a component without spread is left out."""
    axes = np.zeros((directions.shape[1], 2))
    for i in range(min(2, len(spreads))):
        if spreads[i] > 1e-6 * spreads[0]:
            sign = np.sign(directions[i][np.abs(directions[i]).argmax()])  # either sign would do; one must be chosen
            axes[:, i] = sign * directions[i] / spreads[i]
    return axes


def _counts(points: NDArray[np.float64], cells: int) -> NDArray[np.int64]:
    """Return rows by cell, with 0 where they are few."""
    edges = np.linspace(-REACH, REACH, min(max(cells, 6), 16) + 1)
    counted = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges))[0].astype(np.int64)
    return np.where(counted < FEWEST, 0, counted)


# --------------------------------------------------------------------------------------------
# of a run


def mapped_fits(fits: Sequence[FitJob]) -> frozenset[str]:
    """Return the keys of the models that are mapped: of each arm the first fold, seed and training condition."""
    first: dict[str, str] = {}
    for fit in fits:
        first.setdefault(fit.arm.label, fit.key)
    return frozenset(first.values())


def maps_as_json(maps: Mapping[str, EmbeddingMap]) -> dict[str, Any]:
    """Return the maps of one model, by modality, as plain data."""
    return {"format": FORMAT, "maps": {name: asdict(found) for name, found in maps.items()}}


def maps_from_json(content: Mapping[str, Any] | None) -> dict[str, EmbeddingMap] | None:
    """Return what :func:`maps_as_json` was given; None where nothing is there, or it is of another version."""
    if content is None or content.get("format") != FORMAT:
        return None
    return {name: EmbeddingMap(**found) for name, found in content["maps"].items()}


def map_tables(found: Iterable[tuple[FitJob, Mapping[str, EmbeddingMap]]]) -> Maps:
    """Lay out the maps of a run."""
    numbers, cells = [], []
    for fit, maps in found:
        for modality, one in maps.items():
            line = {"strategy": fit.arm.title, "imputer": fit.arm.imputer_name, "modality": modality}
            numbers.append({**line, **{n: getattr(one, n) for n in MAP_NUMBERS}})
            for which, counts in (("true", one.true), ("imputed", one.filled)):
                cells += [{**line, "which": which, **cell} for cell in _cells(np.asarray(counts))]
    return Maps(
        pd.DataFrame(numbers, columns=[*MAP_LINE, *MAP_NUMBERS]),
        pd.DataFrame(cells, columns=[*MAP_LINE, *MAP_CELLS]),
    )


def _cells(counts: NDArray[np.int64]) -> list[dict[str, float]]:
    width = 2 * REACH / len(counts)
    return [
        {
            "first": (i + 0.5) * width - REACH,
            "second": (j + 0.5) * width - REACH,
            "width": width,
            "rows": int(counts[i, j]),
        }
        for i, j in np.argwhere(counts)
    ]
