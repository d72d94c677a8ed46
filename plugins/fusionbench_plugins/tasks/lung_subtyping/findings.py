"""What there is to know about a lung cohort before training on it: ``fusionbench data check``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fusionbench.contract.data import UNNAMED_BELOW
from fusionbench_plugins.tasks.lung_subtyping.manifest import REPORT, Cohort

FEW_ROWS = 20
"""A class with fewer rows in a part makes every number about it a guess."""


def findings(cohort: Cohort) -> list[str]:
    """Return one line for each finding; those a person should act on begin with ``warning:``."""
    parts = _parts(cohort)
    return [
        *(f"warning: {note}" for note in cohort.notes),
        f"{len(cohort.groups)} rows of {len(np.unique(cohort.groups))} patients: {_counted(parts)}",
        *_presence(cohort, parts),
        *_classes(cohort, parts),
        *_lengths(cohort),
    ]


def _parts(cohort: Cohort) -> dict[str, NDArray[np.bool_]]:
    """Bool ``[rows]`` by part: the split, else the folds, else everything."""
    if cohort.split is not None:
        return {p: cohort.split == p for p in ("train", "validation", "test") if (cohort.split == p).any()}
    if cohort.folds is not None:
        return {f"fold {f}": cohort.folds == f for f in np.unique(cohort.folds)}
    return {"all": np.ones(len(cohort.groups), dtype=np.bool_)}


def _counted(parts: dict[str, NDArray[np.bool_]], among: NDArray[np.bool_] | None = None) -> str:
    return ", ".join(f"{int((r if among is None else r & among).sum())} {part}" for part, r in parts.items())


def _presence(cohort: Cohort, parts: dict[str, NDArray[np.bool_]]) -> Iterator[str]:
    for name, has in zip(cohort.names, cohort.available.T, strict=True):
        slices = "" if name == REPORT else f", {sum(map(len, cohort.slices[name]))} slices"
        yield f"modality {name}: {_counted(parts, has)}{slices}"
        empty = [part for part, rows in parts.items() if not has[rows].any()]
        if empty:
            yield f"warning: modality {name} is absent from every row of {' and '.join(empty)}"


def _classes(cohort: Cohort, parts: dict[str, NDArray[np.bool_]]) -> Iterator[str]:
    hidden = 0
    for number, name in enumerate(cohort.target.outputs):
        of_class = cohort.target.values == number
        if of_class.sum() < UNNAMED_BELOW:
            hidden += 1
            continue
        yield f"class {name}: {_counted(parts, of_class)}"
        few = [part for part, rows in parts.items() if (rows & of_class).sum() < FEW_ROWS]
        if few:
            yield f"warning: {name} has fewer than {FEW_ROWS} rows in {' and '.join(few)}"
    if hidden:
        yield f"warning: {hidden} classes have fewer than {UNNAMED_BELOW} rows each and are not named here"


def _lengths(cohort: Cohort) -> Iterator[str]:
    lengths = [len(text) for text in cohort.texts if text]
    if lengths:
        median, longest = np.median(lengths), max(lengths)
        yield f"modality {REPORT}: {median:g} characters in the median, {longest} at most; encoders cut at 'max_length'"
