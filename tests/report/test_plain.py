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
