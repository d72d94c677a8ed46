"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from fusionbench.contract.blocks import Table


def plain_lines(table: Table) -> Iterator[str]:
    """Yield the caption and the table in columns of equal width; words left, numbers right."""
    yield table.caption
    rows = [list(table.columns), *map(list, table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    left = len(table.columns) if table.words else table.heads
    for row in rows:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        yield "  ".join(cells).rstrip()
