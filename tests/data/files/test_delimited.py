"""Delimited text, strictly: each way in which lines and header disagree is said with its line."""

from __future__ import annotations

import csv

import pytest

from fusionbench.data.files.delimited import read_delimited, records, separator_problem, shown
from fusionbench.errors import DataError


def rows(text: str) -> list[list[str]]:
    return read_delimited(text.encode(), "t.csv").rows


def refused(text: str | bytes) -> str:
    with pytest.raises(DataError) as caught:
        read_delimited(text if isinstance(text, bytes) else text.encode(), "t.csv")
    assert "secret" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n\n"])
def test_lines_end_in_any_way_and_a_byte_order_mark_is_no_cell(end, mark, last):
    found = read_delimited((mark + "a,b\n1,2\n3,".replace("\n", end) + last.replace("\n", end)).encode(), "t.csv")
    assert (found.header, found.rows, found.blank) == (("a", "b"), [["1", "2"], ["3", ""]], ())


def test_quoted_cells_hold_commas_quotes_and_ends_of_lines():
    assert rows('a,b\n"x,y","say ""no"""\n"two\nlines",\n') == [["x,y", 'say "no"'], ["two\nlines", ""]]


def test_a_cell_may_be_longer_than_pythons_module_allows_and_its_limit_is_as_before():
    before = csv.field_size_limit()
    long = "x" * (before + 10)
    assert rows(f"a,b\n{long},1\n") == [[long, "1"]]
    assert csv.field_size_limit() == before


def test_an_empty_cell_in_quotes_is_a_row_and_a_blank_line_between_rows_is_counted():
    found = read_delimited(b'a\n1\n""\n\n2\n\n', "t.csv")
    assert (found.rows, found.blank) == ([["1"], [""], ["2"]], (4,))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3: has 3 cells and the header has 2"),
        ("a,b\n1\n", "line 2: has 1 cells and the header has 2"),
        ('a,b\n"1\n2",3\n4\n', "line 4: has 1 cells"),
        ("a,b\n1,2,3\n4,5,6\n", "(and 1 other lines have another number than the header)"),
        ("a,b\n1,2,\n", "end with a comma and the header does not"),
        ("a,b\n1,5,2,5\n", "decimal commas?"),
        ("a,b\n0,1,2\n", "does the header lack a name"),
        ("a,b\n1;2\n", "separated by another letter than a comma"),
        ("a,b\n1,2\n  \n3,4,secret\n", "line 4: has 3 cells"),
    ],
)
def test_lines_with_more_or_fewer_cells_than_the_header_are_refused_with_the_first(text, why):
    assert why in refused(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a;b\n1;2\n", "separated by ';';"),
        ("a;b\n1,5;2,5\n", "separated by ';' and numbers have decimal commas"),
        ("a\tb\n1\t2\n", "separated by tabs"),
        ("a|b\n1|2\n", "separated by '|'"),
        ("sep=;\na;b\n1;2\n", "separated by ';'"),
        ("id;dose, mg;flag\n1;2,5;0\n", "separated by ';'"),
        ("a;b\n", "separated by ';'"),
        ('"a";"b"\n1;2\n', "line 1: cells are separated by ';'"),
        ('"";"a";"b"\n"1";0,5;2\n', "line 1: cells are separated by ';'"),
        ('"a"\t"b"\n1\t2\n', "line 1: cells are separated by tabs"),
    ],
)
def test_other_separators_are_named(text, why):
    assert why in refused(text)


@pytest.mark.parametrize("text", ["TP53|7157,A1BG|1\n1,2\n", "a,b\nx;y,1\n", "one\n1\n", "a b,c\n1 2,3\n"])
def test_names_and_cells_with_such_letters_are_no_separators(text):
    assert len(rows(text)) == 1


def test_a_series_of_other_readers_is_asked_the_same():
    assert "tabs" in separator_problem(["Hours\tHeart Rate"], ["0\t80"])
    assert separator_problem(["Hours", "Heart Rate"], ["0", "80"]) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b,a\n1,2,3\n", "1 names of columns occur more than once: a"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ('a,b\n1,"secret\n2,3\n', "line 2: a quoted cell that begins here does not end"),
        ('a,b\n"1"secret,2\n', "line 2: a quoted cell"),
        (b"a,b\n1,\xff\n", "line 2: not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), "it may be UTF-16"),
        (b"PK\x03\x04rest", "a zip file (an Excel sheet is one)"),
        (b"\x1f\x8bxx", "compressed with gzip"),
        (b"PAR1....", "Parquet; give it the ending .parquet"),
    ],
)
def test_what_is_no_table_is_refused_by_what_it_is(text, why):
    assert why in refused(text)


def test_columns_without_a_name_are_called_by_their_place():
    assert read_delimited(b",a, \n0,1,2\n", "t.csv").header == ("Unnamed: 0", "a", "Unnamed: 2")


def test_records_carry_the_line_they_begin_in():
    assert records(b'1,"a\nb"\n\n2\n', "t") == [(1, ["1", "a\nb"]), (3, []), (4, ["2"])]


def test_names_are_shown_the_first_five_and_without_what_steers_a_terminal():
    assert shown(["a", "\x1b[1m"]) == r"a, \x1b[1m"
    assert shown(list("abcdefg")) == "a, b, c, d, e and 2 more"
