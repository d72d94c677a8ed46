"""Tables for papers: LaTeX with booktabs, and with siunitx where that is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fusionbench.contract.blocks import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "•": r"\textbullet{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}
_DOT = "•"
"""What marks the best on the page; in LaTeX they are bold instead."""
_NUMBER = r"[+-]?\d{0,3}(?:,\d{3})*(?:\.\d+)?"
_CELL = re.compile(rf"(?P<number>{_NUMBER})(?: (?P<interval>\[{_NUMBER}, {_NUMBER}\]))?(?P<marks>[*!↑↓]*)")
_NOTHING = ("", "-")


@dataclass(frozen=True)
class Style:
    """How tables are set.

    Args:
        names: By what the page calls a line (its label, ``sum / zero``), what readers call it (``Sum / zero``).
        keys: By the same, the keys that are cited beside it.
        siunitx: True: columns of numbers are aligned at their points by siunitx (version 3).
    """

    names: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    siunitx: bool = False


class _Column(NamedTuple):
    """One column as it is set: its kind, its title, and its cells."""

    kind: str
    title: str
    cells: Sequence[str]


def latex(table: Table, ribbons: Sequence[str], style: Style | None = None) -> str:
    r"""Return a table environment; it needs ``\usepackage{booktabs}``, and says so.

    Args:
        table: What to set; its best cells are bold.
        ribbons: What every output must say of its numbers; they become part of the caption.
        style: Names of lines, what they cite, how numbers are set; None: names as they stand, numbers set right.
    """
    style = style or Style()
    columns = [part for number in range(len(table.columns)) for part in _set(table, number, style)]
    caption = " ".join([*(f"{r}." for r in ribbons), _caption(table)])
    needs = r"\usepackage{booktabs}"
    if any(c.kind.startswith("S") for c in columns):
        needs += r" and \usepackage{siunitx} of version 3"
    rows = zip(*(c.cells for c in columns), strict=True) if table.rows else ()
    return "\n".join(
        [
            f"% needs {needs}",
            r"\begin{table}",
            rf"  \caption{{{escaped(caption)}}}",
            rf"  \label{{tab:{table.name}}}",
            rf"  \begin{{tabular}}{{{''.join(c.kind for c in columns)}}}",
            r"    \toprule",
            _row([c.title for c in columns]),
            r"    \midrule",
            *map(_row, rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _caption(table: Table) -> str:
    """The caption, with bold instead of the page's dot."""
    if not table.best:
        return table.caption
    said = table.caption.replace(f"{_DOT} could be", "Bold: could be")
    return said if said != table.caption else f"{said} Bold: could be the best."


def _set(table: Table, number: int, style: Style) -> list[_Column]:
    """One column of a table as one or two columns of LaTeX."""
    title, cells = table.columns[number], [row[number] for row in table.rows]
    best = [(row, number) in table.best for row in range(len(cells))]
    left = len(table.columns) if table.words else table.heads
    if number < left:
        own = style if number < table.heads else Style()  # names of lines stand at the left, and nowhere else
        named = [_bold(_named(cell, own), bold) for cell, bold in zip(cells, best, strict=True)]
        return [_Column("l", escaped(title), named)]
    shown = [cell.replace(_DOT, "") if table.best else cell for cell in cells]
    found = [_CELL.fullmatch(cell) for cell in shown]
    numbers = [m for m in found if m is not None and re.search(r"\d", m["number"])]
    if style.siunitx and numbers and all(m in numbers or c in _NOTHING for m, c in zip(found, shown, strict=True)):
        return _aligned(title, found, best)
    return [_Column("r", escaped(title), [_bold(_kept(c), b) for c, b in zip(shown, best, strict=True)])]


def _aligned(title: str, found: Sequence[re.Match[str] | None], best: Sequence[bool]) -> list[_Column]:
    """Numbers in a column of siunitx, their intervals in one of their own."""
    known = [m if m is not None and re.search(r"\d", m["number"]) else None for m in found]
    numbers = [_whole(m["number"]) for m in known if m is not None]
    before = max(len(n.lstrip("+-").partition(".")[0]) for n in numbers)
    behind = max(len(n.partition(".")[2]) for n in numbers)
    sign = "+" if any(n.startswith("+") for n in numbers) else "-" if any(n.startswith("-") for n in numbers) else ""
    options = [f"table-format={sign}{before}.{behind}", *(["retain-explicit-plus"] if sign == "+" else [])]
    cells = [_aligned_cell(m, bold) for m, bold in zip(known, best, strict=True)]
    name, bracket, rest = title.partition(" [")
    with_intervals = any(m is not None and m["interval"] for m in known)
    heading = name if with_intervals and bracket else title
    columns = [_Column(f"S[{', '.join(options)}]", f"{{{escaped(heading)}}}", cells)]
    if with_intervals:
        ends = ["" if m is None or not m["interval"] else f"{{{_interval(m['interval'])}}}" for m in known]
        columns.append(_Column("l", f"{{{escaped(f'[{rest}')}}}" if bracket else "", ends))
    return columns


def _aligned_cell(found: re.Match[str] | None, bold: bool) -> str:
    if found is None:
        return "{-}"
    marks = f"{{{escaped(found['marks'])}}}" if found["marks"] else ""
    cell = _whole(found["number"]) + marks
    return rf"\bfseries {cell}" if bold else cell


def _whole(number: str) -> str:
    """A number as siunitx reads it: with its zero, and without what sets thousands apart."""
    return re.sub(r"^([+-]?)\.", r"\g<1>0.", number.replace(",", ""))


def _interval(text: str) -> str:
    return f"[{', '.join(_whole(end) for end in text.strip('[]').split(', '))}]"


def _named(cell: str, style: Style) -> str:
    """The name of a line as readers know it, with what it cites; any other cell as it stands."""
    name = style.names.get(cell, cell)
    keys = style.keys.get(cell, ())
    return f"{_kept(name)}~\\cite{{{','.join(keys)}}}" if keys else _kept(name)


def _bold(cell: str, bold: bool) -> str:
    return rf"\textbf{{{cell}}}" if bold else cell


def _row(cells: Sequence[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"


def _kept(cell: str) -> str:
    # braces keep a cell that begins with [ from being read as an option of the line before
    return f"{{{escaped(cell)}}}" if cell.startswith("[") else escaped(cell)


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it stands."""
    return "".join(_SPECIAL.get(c, c) for c in text)
