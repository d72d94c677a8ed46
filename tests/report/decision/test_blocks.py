"""Blocks that only the report has."""

from __future__ import annotations

import pytest

from fusionbench.report.decision.blocks import BASELINE, Grid, LinePicture


def grid(**changes):
    given = {
        "groups": [("", 1), ("overall", 1), ("missing: a", 2)],
        "shades": [[None, None, None, None], [None, 2, 0, -1]],
        "kinds": [BASELINE, ""],
    }
    rows = [["one", ".8", ".7", ".6"], ["two", "+.01", ".000", "-.004"]]
    return Grid("A caption.", ["line", "mean", "20 %", "40 %"], rows, **(given | changes))


def test_a_group_begins_where_the_one_before_ends():
    assert grid().edges == {1, 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shades": [[None] * 4]}, "shades or kinds do not fit"),
        ({"shades": [[None] * 4, [None] * 3]}, "shades or kinds do not fit"),
        ({"kinds": [""]}, "shades or kinds do not fit"),
        ({"groups": [("", 1)]}, "groups do not fit"),
    ],
)
def test_what_does_not_fit_the_table_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        grid(**changes)


def test_a_small_picture_knows_its_line():
    assert LinePicture("<svg/>", "alt", "caption", "name", line="one").line == "one"
