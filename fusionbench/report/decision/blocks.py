"""Blocks of the page that only this report has: a coloured table, and a small picture that belongs to one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from fusionbench.contract.blocks import Picture, Table

BASELINE, CONTROL, REFERENCE = "baseline", "control", "reference"
"""Kinds of rows that are told from the others: what they are held against, fitted controls, the constant prediction."""


@dataclass(frozen=True)
class Grid(Table):
    """A table of differences whose cells are coloured; what colours say is printed in the cells too.

    Args:
        groups: What stands above neighbouring columns, and how many these are; together all columns.
        shades: For each cell, from -4 (much worse) over 0 to 4 (much better); None: not coloured.
        kinds: For each row one of the kinds of this module; empty for an ordinary line.
    """

    groups: Sequence[tuple[str, int]] = ()
    shades: Sequence[Sequence[int | None]] = ()
    kinds: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse groups, shades and kinds that do not fit the table."""
        super().__post_init__()
        shape = [len(row) for row in self.rows]
        if [len(row) for row in self.shades] != shape or len(self.kinds) != len(shape):
            raise ValueError(f"table '{self.caption:.60}': shades or kinds do not fit its rows")
        if sum(n for _, n in self.groups) != len(self.columns):
            raise ValueError(f"table '{self.caption:.60}': groups do not fit its columns")

    @property
    def edges(self) -> set[int]:
        """Columns at which a group begins."""
        return set(accumulate(n for _, n in self.groups[:-1]))


@dataclass(frozen=True)
class LinePicture(Picture):
    """A small picture of one line, beside those of others: it goes away when the reader hides the line.

    It has no file of its own; a sheet of all of them has.

    Args:
        line: The name of the line, as tables have it.
    """

    line: str = ""


@dataclass(frozen=True)
class Sheet(Picture):
    """A picture for papers: a file beside the page, which shows the same in small pictures."""
