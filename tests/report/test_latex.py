"""Tables for papers."""

from __future__ import annotations

from fusionbench.report import Table
from fusionbench.report.latex import escaped, latex


def test_latex_is_escaped_and_begins_no_row_with_a_bracket():
    table = Table("50 % & more", ["a_b", "c"], [["[1, 2]", "$3"], ["<x>", "#"]], name="t")
    text = latex(table, ["MARK"])
    assert r"\caption{MARK. 50 \% \& more}" in text
    assert r"a\_b & c \\" in text
    assert r"{[1, 2]} & \$3 \\" in text
    assert r"\begin{tabular}{lr}" in text
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert escaped("\\{}") == r"\textbackslash{}\{\}"
