"""Columns as numbers, and as single precision: what would become another number is refused by name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from fusionbench.data.files.numbers import numeric, single
from fusionbench.errors import DataError


def table(cells, dtype=None):
    return pd.DataFrame({"x": pd.Series(cells, dtype=dtype)})


def refused(call) -> str:
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        (["1", "-2.5", "+.5e3", " 7 ", None], "str"),
        ([1, 2], "int16"),
        ([True, False], "bool"),
        ([1.5, None], "Float64"),
        ([True, None], "boolean"),
        ([True, None], "object"),
        ([Decimal("1.5"), None], "object"),
        (["1", "2"], "category"),
        ([1, 2], "category"),
        ([None, None], "str"),
    ],
)
def test_numbers_are_read_however_they_are_kept(cells, dtype):
    found = numeric(table(cells, dtype), "t")["x"].to_numpy(dtype=np.float64, na_value=np.nan)
    wanted = [np.nan if c is None else float(c) for c in cells]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("cells", "dtype", "why"),
    [
        (["1", "x"], "str", "text where a number should be: x"),
        (["1", "NA"], "str", "text where a number should be"),
        (["0x1F"], "str", "text where a number should be"),
        (["1_000"], "str", "text where a number should be"),
        (["١٢"], "str", "text where a number should be"),
        (["1+2j"], "str", "text where a number should be"),
        (["1e"], "str", "text where a number should be"),
        (["9" * 5000], "str", "text where a number should be"),
        (["0,5", "1,25"], "str", "decimal commas: x"),
        (["0,5", "1"], "str", "decimal commas: x"),
        (["True", "false"], "str", "true and false as text: x"),
        (["2020-01-01", "2020-02-01 10:00"], "str", "dates or times: x"),
        (pd.to_datetime(["2020-01-01", None]), None, "dates or times: x"),
        (pd.to_datetime(["2020-01-01"]).tz_localize("UTC"), None, "dates or times: x"),
        ([dt.date(2020, 1, 1)], "object", "dates or times: x"),
        ([dt.time(10)], "object", "dates or times: x"),
        (pd.to_timedelta(["1h", None]), None, "durations: x"),
        ([dt.timedelta(1)], "object", "durations: x"),
        ([1j], "complex", "complex values: x"),
        ([b"1"], "object", "bytes values: x"),
        ([[1], [2]], "object", "list or mixed values: x"),
        ([{"a": 1}], "object", "list or mixed values: x"),
        (["a", "b"], "category", "text where a number should be: x"),
    ],
)
def test_what_is_no_number_is_refused_by_what_it_is(cells, dtype, why):
    assert why in refused(lambda: numeric(table(cells, dtype), "t.csv"))


def test_all_columns_are_named_at_once_by_kind():
    frame = pd.DataFrame({"a": ["x"], "b": ["0,5"], "c": ["y"]}, dtype="str")
    said = refused(lambda: numeric(frame, "t.csv")).splitlines()
    assert said[0].startswith("t.csv: columns with text where a number should be: a, c;")
    assert said[1].startswith("t.csv: columns with decimal commas: b;")


def test_a_column_name_with_braces_is_a_name():
    assert ": {a}" in refused(lambda: numeric(pd.DataFrame({"{a}": ["x"]}, dtype="str"), "t"))


# ---------------------------------------------------------------- single precision


@pytest.mark.parametrize("unit", [1, 1e-9, 1e-30, 1e30])
def test_units_do_not_matter(unit):
    values = np.random.default_rng(0).normal(size=(50, 2)) * unit
    np.testing.assert_array_equal(single(values, (), "t"), values.astype(np.float32))


@pytest.mark.parametrize(
    "column",
    [
        np.full(5, 1e9 + 1),
        0.3 + np.array([0, 0, 1, 0, 1]) * 5e-17,
        1.6e9 + 1e6 * np.arange(5),
        np.array([np.nan, np.inf, 1, 2, 3]),
    ],
)
def test_constants_rounding_and_coarse_steps_are_no_loss(column):
    np.testing.assert_array_equal(single(column[:, None], (), "t")[:, 0], column.astype(np.float32))


@pytest.mark.parametrize(
    "column",
    [
        1e9 + np.arange(5),
        1.6e15 + 1e6 * np.arange(5),
        1 + 1e-9 * np.arange(5),
        1e-45 * np.array([1, 1.7, 2.2, 2.9, 3.6]),
    ],
)
def test_differences_that_rounding_would_take_away_are_refused(column):
    values = np.stack([np.arange(5), column], axis=1)
    assert "t: columns with differences that single precision would round away beside their size: b" in refused(
        lambda: single(values, ("a", "b"), "t")
    )
    assert "round away" in refused(lambda: single(pd.DataFrame({"a": values[:, 1]}), ("a",), "t"))


def test_large_whole_numbers_are_looked_at_too():
    assert "round away" in refused(lambda: single(10**12 + np.arange(6).reshape(6, 1), (), "t"))


def test_numbers_out_of_range_are_refused_and_infinities_are_left_to_the_reader():
    assert "numbers beyond 3.4e38: 1" in refused(lambda: single(np.array([[1, 1e39], [2, 1]]), (), "t"))
    assert np.isinf(single(np.array([[1, np.inf], [2, 1]]), (), "t")[0, 1])
