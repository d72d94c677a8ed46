"""Which folds, seeds and lines are compared when cells are missing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = tuple[int, ...]


class Selection(NamedTuple):
    """What is compared, and who left before.

    Args:
        folds: Positions of the folds that are compared, rising.
        seeds: Positions of the seeds.
        lines: Positions of the lines.
        empty_folds: Folds in which no line has any value.
        empty_lines: Lines without any value.
        gaps: Lines that left because too few seeds were complete with them, in the order in which they left.
    """

    folds: Indices
    seeds: Indices
    lines: Indices
    empty_folds: Indices
    empty_lines: Indices
    gaps: Indices


def compared_cells(present: NDArray[np.bool_]) -> Selection:
    """Choose the largest table without gaps by a rule that looks at nothing but what is there.

    Seeds are kept in which every line has every fold. Where that would leave less than half of the seeds, the line with
    most missing cells leaves (of equals the last), until it does not.

    Args:
        present: Bool ``[folds, seeds, lines]``, True = the line has a value there.

    Returns:
        What is left; nothing is left of a table without any value.
    """
    present = np.asarray(present, dtype=np.bool_)
    all_folds, all_seeds, all_lines = present.shape
    folds = [k for k in range(all_folds) if present[k].any()]
    lines = [m for m in range(all_lines) if present[:, :, m].any()]
    gaps: list[int] = []
    seeds: list[int] = []
    while lines and folds:
        there = present[np.ix_(folds, range(all_seeds), lines)]
        complete = there.all(axis=(0, 2))
        if 2 * complete.sum() >= all_seeds:
            seeds = np.flatnonzero(complete).tolist()
            break
        missing = (~there).sum(axis=(0, 1))
        gaps.append(lines.pop(int(np.flatnonzero(missing == missing.max())[-1])))
    if not lines or not folds:
        folds, lines, seeds = [], [], []
    return Selection(
        tuple(folds),
        tuple(seeds),
        tuple(lines),
        tuple(k for k in range(all_folds) if not present[k].any()),
        tuple(m for m in range(all_lines) if not present[:, :, m].any()),
        tuple(gaps),
    )
