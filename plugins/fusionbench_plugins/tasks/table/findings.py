"""What there is to know about a table before training on it: ``fusionbench data check``.

Lines hold counts and names of columns, never a value of a row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench import TargetKind
from fusionbench.contract.data import UNNAMED_BELOW
from fusionbench_plugins.tasks.table.blocks import Block
from fusionbench_plugins.tasks.table.content import Content
from fusionbench_plugins.tasks.table.leaks import suspicions

FEW_ROWS = 20
"""A class with fewer rows in a part makes every number about it a guess."""

SPREAD_RATIO = 1e3
"""Columns whose spreads differ by more than this need standardising (the table task asks for it)."""


def findings(content: Content) -> list[str]:
    """Return one line for each finding; those a person should act on begin with ``warning:``."""
    parts = _parts(content)
    return [
        *(f"warning: {note}" for note in content.notes),
        *_sizes(content, parts),
        *_presence(content, parts),
        *_classes(content, parts),
        *(line for i, b in enumerate(content.blocks.values()) for line in _columns(b, content.available[:, i], parts)),
        *_repeats(content, parts),
        *_suspicions(content),
    ]


def _parts(content: Content) -> dict[str, NDArray[np.bool_]]:
    """Bool ``[rows]`` by part: the split, else the folds, else everything."""
    if content.split is not None:
        return {p: content.split == p for p in ("train", "validation", "test") if (content.split == p).any()}
    if content.folds is not None:
        return {f"fold {f}": content.folds == f for f in np.unique(content.folds)}
    return {"all": np.ones(len(content.available), dtype=np.bool_)}


def _sizes(content: Content, parts: dict[str, NDArray[np.bool_]]) -> Iterator[str]:
    patients = f" of {len(np.unique(content.groups))} patients" if content.grouped else ""
    sizes = ", ".join(f"{int(rows.sum())} {name}" for name, rows in parts.items())
    yield f"{len(content.available)} rows{patients}: {sizes}"
    if not content.grouped:
        yield "no column of patients is named ('group'): every row counts as a patient of its own"
    folds = [] if content.folds is None else np.unique(content.folds).tolist()
    if content.split is None and folds != list(range(len(folds))):
        yield "warning: folds are not numbered 0, 1, 2, ... without a gap, as splits.source: task needs them"
    if content.split is not None and "validation" not in parts:
        yield "no validation part: splits.validation of the training rows is taken for it"


def _presence(content: Content, parts: dict[str, NDArray[np.bool_]]) -> Iterator[str]:
    for i, (name, block) in enumerate(content.blocks.items()):
        has = content.available[:, i]
        shares = ", ".join(f"{int(has[rows].sum())} of {int(rows.sum())} {part}" for part, rows in parts.items())
        yield f"modality {name}: {block.values.shape[1]} columns; present in {shares}"
        empty = [part for part, rows in parts.items() if not has[rows].any()]
        if empty:
            yield f"warning: modality {name} is absent from every row of {' and '.join(empty)}"
        unread = int((~has & ~block.silent).sum())
        if unread:
            yield f"warning: modality {name} holds values in {unread} rows that are marked absent; they are not read"


def _classes(content: Content, parts: dict[str, NDArray[np.bool_]]) -> Iterator[str]:
    target = content.target
    multilabel = target.kind is TargetKind.MULTILABEL
    columns = target.values if multilabel else target.values[:, None] == _states(content)
    hidden = 0
    for name, column in zip(_state_names(content), columns.T, strict=True):
        if target.kind is TargetKind.MULTICLASS and column.sum() < UNNAMED_BELOW:
            hidden += 1
            continue
        counts = {part: int(column[rows].sum()) for part, rows in parts.items()}
        yield f"{'label' if multilabel else 'class'} {name}: " + ", ".join(f"{n} {part}" for part, n in counts.items())
        few = [part for part, n in counts.items() if n < FEW_ROWS]
        if few:
            yield f"warning: {name} has fewer than {FEW_ROWS} rows in {' and '.join(few)}"
    if hidden:
        yield f"warning: {hidden} classes have fewer than {UNNAMED_BELOW} rows each and are not named here"


def _states(content: Content) -> NDArray[np.int64]:
    return np.arange(2 if content.target.kind is TargetKind.BINARY else len(content.target.outputs))


def _state_names(content: Content) -> tuple[str, ...]:
    outputs = content.target.outputs
    return (f"{outputs[0]} = 0", f"{outputs[0]} = 1") if content.target.kind is TargetKind.BINARY else outputs


def _suspicions(content: Content) -> Iterator[str]:
    for i, block in enumerate(content.blocks.values()):
        yield from (f"warning: {line}" for line in suspicions(block, content.available[:, i], content.target))


def _columns(block: Block, has: NDArray[np.bool_], parts: dict[str, NDArray[np.bool_]]) -> Iterator[str]:
    """Scale of the columns, and constant ones, over the rows that standardising is fitted on."""
    rows = has & parts.get("train", np.ones_like(has))
    if not rows.any():
        return
    values = block.values[rows].astype(np.float64)
    spread = values.std(axis=0)
    # equal values: a spread says nothing without the unit, and that of equal values need not be 0 when it is computed
    alike = np.ptp(values, axis=0) == 0
    constant = np.flatnonzero(alike)
    if len(constant):
        yield f"warning: modality {block.name}: {len(constant)} constant columns in training rows ({block.called(constant)})"
    varied = spread[~alike]
    if len(varied) == 0:
        return
    yield (
        f"modality {block.name}: values from {values.min():.3g} to {values.max():.3g}, "
        f"column spreads from {varied.min():.3g} to {varied.max():.3g}"
    )
    if varied.max() / varied.min() > SPREAD_RATIO:
        yield f"warning: modality {block.name}: column spreads differ {varied.max() / varied.min():.0f}-fold; look at units"


def _repeats(content: Content, parts: dict[str, NDArray[np.bool_]]) -> Iterator[str]:
    """Rows that are equal in all they have: copies, perhaps across parts of the split."""
    whole = np.concatenate([content.available, *(content.values(name) for name in content.blocks)], axis=1)
    copies = pd.util.hash_pandas_object(pd.DataFrame(whole), index=False).to_numpy()
    repeated = int(pd.Series(copies).duplicated().sum())
    if repeated:
        place = np.argmax(np.stack(list(parts.values())), axis=0)
        across = int((pd.Series(place).groupby(copies).nunique() > 1).sum())
        yield f"warning: {repeated} rows repeat another row in every value; {across} such sets lie in more than one part"
    for i, name in enumerate(content.blocks):
        rows = content.values(name)[content.available[:, i]]
        same = len(rows) - len(np.unique(rows, axis=0))
        if same and same != repeated:
            yield f"modality {name}: {same} present rows repeat another row's values"
