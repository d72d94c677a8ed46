"""Tables as CSV that no spreadsheet runs."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from fusionbench.analysis.sheets import Marks, as_csv, as_parquet, flat_names, sheet


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


def test_names_are_flat_and_stay_apart():
    names = ["auroc@0", "auroc@0.3", "auroc@0.125", "auroc.raw", "hidden.a b", "hidden.a-b", "area_low"]
    assert flat_names(names) == [
        "auroc_at_0",
        "auroc_at_30",
        "auroc_at_12_5",
        "auroc_raw",
        "hidden_a_b",
        "hidden_a_b_2",
        "area_low",
    ]


def test_the_marks_are_the_last_columns_also_of_an_empty_table():
    assert list(sheet(pd.DataFrame({"a@0": [1]}), Marks(True, False)).iloc[0]) == [1, True, False]
    empty = sheet(pd.DataFrame(columns=["a"]), Marks(False, True))
    assert list(empty) == ["a", "synthetic", "random_weights"]
    assert len(empty) == 0
    again = sheet(sheet(pd.DataFrame({"a": [1]}), Marks(True, True)), Marks(False, False))
    assert list(again.iloc[0]) == [1, False, False]


def test_parquet_keeps_kinds_and_makes_text_of_what_is_mixed():
    frame = pd.DataFrame({"n": [1.5, None], "w": ["=x", None], "m": [1, "a"], "o": [{"k": 1}, None]})
    found = pd.read_parquet(io.BytesIO(as_parquet(frame)))
    assert found["n"].iloc[0] == 1.5
    assert found["w"].iloc[0] == "=x"
    assert found["w"].isna().tolist() == [False, True]
    assert found["m"].tolist() == ["1", "a"]
    assert found["o"].iloc[0] == '{"k": 1}'
    assert found["o"].isna().tolist() == [False, True]
    assert as_parquet(frame) == as_parquet(frame)
