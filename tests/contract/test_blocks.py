"""Blocks of a report: tables that are whole, anchors, and what observers may add."""

from __future__ import annotations

import pytest

from fusionbench.contract.blocks import Legend, Listing, Picture, Section, Table, Text, sections_of
from fusionbench.errors import PluginError


def test_sections_of_several_observers_are_put_together():
    one, two = Section("One", []), Section("Two", [])
    assert sections_of([[one], (two,)]) == [one, two]


def test_a_table_with_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"2 columns, and rows of \[3\] cells"):
        Table("Wrong.", ["a", "b"], [["1", "2"], ["1", "2", "3"]])


def test_blocks_of_parts_are_found_in_order():
    a, b, c = Text("a"), Listing("b", "text"), Legend([("<svg/>", "c")])
    assert Section("S", [a], [Section("P", [b, c])]).every() == [a, b, c]
    assert Picture("<svg/>", "alt", "caption", "name").pdf == b""


@pytest.mark.parametrize(
    ("title", "anchor"), [("What failed", "what-failed"), ("  A/B: 50 % ", "a-b-50"), ("Naïve", "na-ve"), ("—", "")]
)
def test_an_anchor_holds_letters_and_digits_with_dashes_between(title, anchor):
    assert Section(title, []).anchor == anchor


@pytest.mark.parametrize("added", ["text", None, [Text("no section")], Section("One", []), [Section("One", []), 5]])
def test_what_is_no_list_of_sections_is_the_fault_of_an_observer(added):
    with pytest.raises(PluginError, match=r"an observer returned \w+; accepted: a list of fusionbench.report.Section"):
        sections_of([[Section("Good", [])], added])


def test_titles_that_lead_to_one_anchor_are_refused_whoever_gave_them():
    with pytest.raises(PluginError, match="fusionbench_report_sections: A  b, A b: titles must differ"):
        sections_of([[Section("A b", []), Section("C", [])], [Section("A  b", [])]])


def test_nobody_adds_anything():
    assert sections_of([]) == sections_of([[], ()]) == []
