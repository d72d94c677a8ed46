"""Tables as CSV that no spreadsheet runs."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from fusionbench.analysis.sheets import as_csv


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-x", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x")'])
def test_names_that_begin_a_formula_are_text(cell):
    frame = pd.DataFrame({"strategy": [cell, "concat"], "score": [-0.5, 1.0]})
    found = pd.read_csv(io.StringIO(as_csv(frame)))
    assert found["strategy"].tolist() == [f"'{cell}", "concat"]
    assert found["score"].tolist() == [-0.5, 1.0]


def test_headers_are_names_too():
    assert as_csv(pd.DataFrame({"=a": [1]})).splitlines()[0] == "'=a"


def test_escape_sequences_are_shown_as_text():
    assert as_csv(pd.DataFrame({"s": ["\x1b[31mred"]})).splitlines()[1] == r"\x1b[31mred"


@pytest.mark.parametrize("cell", ["-", "+", "-0.5", "+3", "-inf", "a=b", "", None])
def test_what_begins_no_formula_is_written_as_it_is(cell):
    frame = pd.DataFrame({"s": [cell, "x"], "n": [1, 2]})
    assert as_csv(frame) == frame.to_csv(index=False)
