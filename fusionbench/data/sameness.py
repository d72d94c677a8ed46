"""Inputs that are all alike, and encoders that make one embedding of different inputs: nothing can be learnt from either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fusionbench.errors import DataError, PluginError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fusionbench.contract.data import Dataset, Modality
    from fusionbench.progress import Progress

_ROWS: Final = 256
"""Rows that are compared at once; nearly always the first of them say that rows differ."""
_ROUNDING: Final = 1e-6
_CALLED: Final = {"image": "pictures", "text": "texts", "series": "series"}


def alike(values: NDArray[Any] | Sequence[str], rows: NDArray[np.intp]) -> bool:
    """Whether all of these rows, two at least, hold the same."""
    if len(rows) < 2:
        return False
    first = values[rows[0]]
    if not isinstance(values, np.ndarray):
        return all(values[row] == first for row in rows)
    for begin in range(1, len(rows), _ROWS):
        found = values[rows[begin : begin + _ROWS]]
        if not np.array_equal(found, np.broadcast_to(first, found.shape), equal_nan=found.dtype.kind == "f"):
            return False
    return True


def _near(embeddings: NDArray[Any], rows: NDArray[np.intp]) -> bool:
    """Whether all of these rows, two at least, hold the same but for rounding: batches are added up in another order."""
    if len(rows) < 2:
        return False
    first = embeddings[rows[0]]
    allowed = _ROUNDING * np.abs(first).max(initial=0.0)
    blocks = (rows[begin : begin + _ROWS] for begin in range(1, len(rows), _ROWS))
    return all(bool((np.abs(embeddings[block] - first) <= allowed).all()) for block in blocks)


def said_of(name: str, modality: Modality, available: NDArray[np.bool_]) -> str:
    """Say that every row of a modality holds the same picture, text or series; empty where they differ.

    Args:
        name: Of the modality.
        modality: Its content.
        available: Bool ``[rows]``, which rows have it.
    """
    rows = np.flatnonzero(available)
    called = _CALLED.get(modality.kind)
    if called is None or not alike(modality.values, rows):
        return ""
    first = modality.values[rows[0]]
    how = "black" if modality.kind == "image" and not np.any(np.asarray(first)) else "equal"
    return (
        f"modality {name}: all {len(rows):,} {called} are {how}, so nothing can be learnt from them; look at the files that "
        "they are made of, or leave the modality out"
    )


def alike_lines(dataset: Dataset) -> list[str]:
    """Return a line for each modality whose rows are all alike; pictures are a ``problem:`` that stops a run."""
    found = []
    for column, (name, modality) in enumerate(dataset.modalities.items()):
        if said := said_of(name, modality, dataset.available[:, column]):
            found.append(f"{'problem' if modality.kind == 'image' else 'warning'}: {said}")
    return found


def check_inputs(dataset: Dataset, progress: Progress) -> None:
    """Refuse a data set whose pictures are all black or equal; of texts and series that are, a note is left.

    Raises:
        DataError: Its pictures are.
    """
    lines = alike_lines(dataset)
    for line in lines:
        if line.startswith("warning: "):
            progress.note(line)
    if problems := [line.removeprefix("problem: ") for line in lines if line.startswith("problem: ")]:
        raise DataError("\n".join(problems))


def check_embeddings(
    name: str, encoder: str, modality: Modality, embeddings: NDArray[Any], available: NDArray[np.bool_]
) -> None:
    """Refuse an encoder that made one embedding of all rows, though they differ.

    Raises:
        PluginError: It did.
    """
    rows = np.flatnonzero(available)
    if _near(embeddings, rows) and not alike(modality.values, rows):
        raise PluginError(
            f"modality {name}: encoder '{encoder}' made the same embedding of all {len(rows):,} rows, though they differ: it "
            "reads nothing of them. Look at its options, its weights and its tokeniser."
        )
