"""Imputers of encoder inputs: fitted on training rows, applied to all rows before a model sees them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fusionbench.contract.batch import Batch, FusionSpec
from fusionbench.contract.learners import Imputer
from fusionbench.data.table import RowTable, in_single


class Completed(Imputer):
    """Stands in a model whose rows were completed before: returns the batch as it is."""

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__(spec)

    def forward(self, batch: Batch) -> Batch:
        """Return the batch."""
        return batch


def fit_imputer(table: RowTable, imputer: Imputer, train: Tensor, present: Tensor) -> Imputer:
    """Fit an imputer of level ``input``, and return it.

    Args:
        table: The rows.
        imputer: Not fitted yet.
        train: Int64 ``[n]``, the rows it may learn from.
        present: Bool ``[rows, modalities]``: what training may see of them.
    """
    with torch.no_grad():
        imputer.fit(_batch(table, train, present))
    return imputer


def complete_table(table: RowTable, imputer: Imputer, present: Tensor) -> tuple[RowTable, Tensor]:
    """Fill absent inputs of every row.

    Args:
        table: The rows.
        imputer: Fitted.
        present: Bool ``[rows, modalities]``: what is shown of each row.

    Returns:
        The table with filled values (none of them in float16) and the lengths of filled rows, and bool
        ``[rows, modalities]``: present or filled.
    """
    with torch.no_grad():
        filled = imputer(_batch(table, torch.arange(len(table.target), device=table.device), present))
    # what was shown is what it was: means and spreads are taken over true rows only
    completed = replace(table, values=dict(filled.features), lengths=dict(filled.lengths), available=present)
    return completed, filled.usable_mask()


def _batch(table: RowTable, rows: Tensor, present: Tensor) -> Batch:
    shown = {n: present[rows, i] for i, n in enumerate(table.names)}
    return Batch(
        features={n: in_single(v[rows]) for n, v in table.values.items()},
        present=shown,
        available=shown,
        lengths={n: steps[rows] for n, steps in table.lengths.items()},
    )
