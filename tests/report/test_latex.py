"""Tables for papers."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("special", list("\\&%$#_{}~^<>•"))
def test_no_special_character_is_left_to_be_read_as_a_command(special):
    found = escaped(f"a{special}b")
    assert found != f"a{special}b"
    assert found.startswith("a\\")
    assert found.endswith("b")


def test_the_marks_of_the_decision_table_are_commands():
    assert escaped("+.020↑•") == r"+.020$\uparrow$\textbullet{}"
    assert escaped("-.020↓") == r"-.020$\downarrow$"


def test_plain_text_is_left_as_it_is():
    assert escaped("Fläche [0.1, 0.2], p = .05") == "Fläche [0.1, 0.2], p = .05"


def test_words_are_set_left_and_the_label_is_the_name_of_the_file():
    text = latex(Table("C", ["a", "b"], [["x", "y"]], words=True, name="cohort"), [])
    assert r"\begin{tabular}{ll}" in text
    assert r"\label{tab:cohort}" in text
    assert r"\caption{C}" in text
