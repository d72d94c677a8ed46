"""Tables for the terminal."""

from __future__ import annotations

from fusionbench.report import Table
from fusionbench.report.plain import plain_lines


def test_plain_tables_have_columns_of_equal_width():
    assert list(plain_lines(Table("C", ["name", "n"], [["a", "10"], ["long name", "1"]]))) == [
        "C",
        "name        n",
        "a          10",
        "long name   1",
    ]


def test_words_are_set_left_and_no_line_ends_in_blanks():
    table = Table("C", ["part", "version"], [["torch", "2"], ["a", "10.1"]], words=True)
    assert list(plain_lines(table)) == ["C", "part   version", "torch  2", "a      10.1"]


def test_as_many_columns_are_set_left_as_name_a_row():
    table = Table("C", ["line", "of", "n"], [["a", "b", "1"], ["aa", "bb", "100"]], heads=2)
    assert list(plain_lines(table))[1:] == ["line  of    n", "a     b     1", "aa    bb  100"]


def test_a_table_without_rows_has_its_heading():
    assert list(plain_lines(Table("Nothing.", ["a", "b"], []))) == ["Nothing.", "a  b"]
