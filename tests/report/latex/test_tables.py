"""Tables for papers."""

from __future__ import annotations

import pytest

from fusionbench.report import Table
from fusionbench.report.latex.tables import Style, escaped, latex


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


BOARD = Table(
    "C. • could be the best in this column.",
    ["strategy", "area [95 %]", "gain", "rows", "share"],
    [["sum / zero", ".713 [.650, .775]", "+.020↑•", "1,234", "5 %"], ["x_y", "-", "-.010", "7", "10 %"]],
    name="t",
    best=frozenset({(0, 1), (0, 2)}),
)


def body(text):
    return [line.strip() for line in text.splitlines() if line.endswith(r"\\")]


def test_lines_have_the_names_of_readers_and_what_they_cite():
    style = Style({"sum / zero": "Sum"}, {"sum / zero": ["hu2018", "wu2025"]})
    rows = body(latex(BOARD, [], style))
    assert rows[1].startswith(r"Sum~\cite{hu2018,wu2025} & ")
    assert rows[2].startswith(r"x\_y & ")
    words = Table("C", ["setting", "value"], [["a", "sum / zero"]], words=True, name="w")
    assert body(latex(words, [], style))[1] == r"a & sum / zero \\"


def test_the_best_set_is_bold_and_the_caption_says_so():
    text = latex(BOARD, [])
    assert r"\textbf{.713 [.650, .775]} & \textbf{+.020$\uparrow$} & 1,234" in text
    assert r"\caption{C. Bold: could be the best in this column.}" in text
    assert r"\textbullet" not in text
    plain = Table("C.", ["a", "b"], [["x", "1"]], name="t", best=frozenset({(0, 1)}))
    assert r"\caption{C. Bold: could be the best.}" in latex(plain, [])


def test_siunitx_aligns_numbers_and_sets_intervals_apart():
    text = latex(BOARD, [], Style(siunitx=True))
    assert text.startswith("% needs \\usepackage{booktabs} and \\usepackage{siunitx} of version 3\n")
    kinds = r"lS[table-format=1.3]lS[table-format=+1.3, retain-explicit-plus]S[table-format=4.0]r"
    assert rf"\begin{{tabular}}{{{kinds}}}" in text
    heads, first, second = body(text)
    assert heads == r"strategy & {area} & {[95 \%]} & {gain} & {rows} & share \\"
    assert first == r"sum / zero & \bfseries 0.713 & {[0.650, 0.775]} & \bfseries +0.020{$\uparrow$} & 1234 & 5 \% \\"
    assert second == r"x\_y & {-} &  & -0.010 & 7 & 10 \% \\"


def test_without_siunitx_no_table_asks_for_it():
    assert "siunitx" not in latex(BOARD, [])
