"""Tables for papers: LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence

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


def latex(table: Table, ribbons: Sequence[str]) -> str:
    r"""Return a table environment; it needs ``\usepackage{booktabs}``.

    Args:
        table: What to set.
        ribbons: What every output must say of its numbers; they become part of the caption.
    """
    left = len(table.columns) if table.words else table.heads
    columns = "l" * left + "r" * (len(table.columns) - left)
    caption = " ".join([*(f"{r}." for r in ribbons), table.caption])
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            rf"  \caption{{{escaped(caption)}}}",
            rf"  \label{{tab:{table.name}}}",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            _row(table.columns),
            r"    \midrule",
            *map(_row, table.rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    # braces keep a cell that begins with [ from being read as an option of the line before
    return "    " + " & ".join(f"{{{escaped(c)}}}" if c.startswith("[") else escaped(c) for c in cells) + r" \\"


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it stands."""
    return "".join(_SPECIAL.get(c, c) for c in text)
