"""What a report is made of: sections of text, tables, pictures and listings, as plain data.

Nothing here knows HTML. Text is text: whatever it holds is escaped when the page is made. A picture is SVG, and is
the one thing that is put in the page as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fusionbench.errors import PluginError


@dataclass(frozen=True)
class Text:
    """A paragraph; ``points`` are listed below it."""

    words: str
    points: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        caption: What it shows, and how to read it.
        columns: Names of the columns.
        rows: Cells as text, one for each column.
        heads: How many columns from the left name the row; the others are set right, as numbers are.
        words: True: the cells are words, and are set left.
        name: File name of its LaTeX version, without ending; empty: there is none.
        folded: True: shown on demand.
        best: Row and column, counted from 0, of the cells that could be the best; in LaTeX they are bold.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    heads: int = 1
    words: bool = False
    name: str = ""
    folded: bool = False
    best: frozenset[tuple[int, int]] = frozenset()

    def __post_init__(self) -> None:
        wrong = sorted({len(row) for row in self.rows} - {len(self.columns)})
        if wrong:
            raise ValueError(f"table '{self.caption:.60}': {len(self.columns)} columns, and rows of {wrong} cells")


@dataclass(frozen=True)
class Picture:
    """A drawing.

    Args:
        svg: The drawing; no scripts, and nothing that is loaded from elsewhere.
        alt: What a reader who cannot see it must know.
        caption: What it shows, and how to read it.
        name: File name without ending, unique in a report.
        width: Inches it is meant to be wide; where there is room, pictures stand side by side.
        pdf: The same for LaTeX; empty: there is none.
    """

    svg: str
    alt: str
    caption: str
    name: str
    width: float = 4.6
    pdf: bytes = b""


@dataclass(frozen=True)
class Legend:
    """Which line is whose: swatches (SVG) with their labels, for the pictures that follow."""

    entries: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Listing:
    """Text to be read line by line, shown on demand."""

    caption: str
    text: str


Block = Text | Table | Picture | Legend | Listing


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it.

    Args:
        title: Unique in a report; the anchor is made from it.
        blocks: In order.
        parts: Sections inside this one.
    """

    title: str
    blocks: Sequence[Block]
    parts: Sequence[Section] = field(default=())

    @property
    def anchor(self) -> str:
        """What links to it name."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def every(self) -> list[Block]:
        """Return all blocks in order, those of the parts too."""
        return [*self.blocks, *(block for part in self.parts for block in part.every())]


def sections_of(added: Sequence[Any]) -> list[Section]:
    """Return what observers return from ``fusionbench_report_sections`` as one list.

    Raises:
        PluginError: One of them is not a list of sections, or two have one title.
    """
    found: list[Section] = []
    for returned in added:
        if not isinstance(returned, list | tuple) or not all(isinstance(s, Section) for s in returned):
            raise PluginError(
                "fusionbench_report_sections: an observer returned "
                f"{type(returned).__name__}; accepted: a list of fusionbench.report.Section"
            )
        found += returned
    anchors = [s.anchor for s in found]
    twice = sorted({s.title for s in found if anchors.count(s.anchor) > 1})
    if twice:
        raise PluginError(f"fusionbench_report_sections: {', '.join(twice)}: titles must differ; rename a section")
    return found
