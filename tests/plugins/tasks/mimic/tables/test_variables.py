"""The table of variables: the published columns and items, and a table that agrees with itself."""

from __future__ import annotations

import csv
import itertools
import json

import numpy as np
import pytest

from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS, CONTINUOUS, GCS_PARTS, NAMES, VARIABLES
from tests.plugins.tasks.mimic.tables.test_extract import ORACLE
from tests.shared import shared_folder


def test_columns_are_the_published_ones():
    expected = json.loads(shared_folder(*ORACLE, "columns.json").read_text(encoding="utf-8"))
    assert list(COLUMNS) == expected
    normaliser = json.loads(shared_folder(*ORACLE, "normalizer_ihm_1h.json").read_text(encoding="utf-8"))
    assert np.flatnonzero(CONTINUOUS).tolist() == normaliser["normalised_columns"]


def test_item_table_agrees_with_the_reference_table():
    ours = {}
    for variable in VARIABLES:
        for item in variable.items:
            limits = variable.limits
            ranges = (limits.reject_low, limits.low, limits.high, limits.reject_high) if limits else None
            ours[item.itemid] = (variable.name, item.table, item.peer, item.sound, ranges)
    with shared_folder("data", "mimic_variables.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "mimic-iv"]
    names = ("outlier_low", "valid_low", "valid_high", "outlier_high")
    for row in rows:
        table = "chart" if row["table"] == "icu/chartevents" else "lab"
        ranges = tuple(float(row[name]) for name in names) if row["kind"] == "continuous" else None
        expected = (row["variable"], table, row["in_medfuse"] == "1", row["recommended"] == "1", ranges)
        assert ours.pop(int(row["itemid"])) == expected
    assert not ours


def test_value_columns_come_first_in_the_order_of_the_variables_and_masks_last():
    assert len(COLUMNS) == len(set(COLUMNS)) == 76
    assert COLUMNS[-17:] == tuple(f"mask->{v.published}" for v in VARIABLES)
    position = 0
    for variable in VARIABLES:
        block = COLUMNS[position : position + variable.width]
        assert all(name.partition("->")[0] == variable.published for name in block)
        assert CONTINUOUS[position : position + variable.width] == (not variable.columns,) * variable.width
        position += variable.width
    assert position == 59
    assert [v.published for v in VARIABLES] == sorted(v.published for v in VARIABLES)


@pytest.mark.parametrize("variable", VARIABLES, ids=NAMES)
def test_a_normal_value_is_one_that_the_variable_can_have(variable):
    if variable.limits is None:
        assert variable.normal in variable.columns
    else:
        low, high = variable.limits.low, variable.limits.high
        assert variable.limits.reject_low <= low <= variable.normal <= high <= variable.limits.reject_high


@pytest.mark.parametrize("variable", [v for v in VARIABLES if v.columns], ids=lambda v: v.name)
def test_every_column_of_a_categorical_variable_means_one_thing(variable):
    texts = [text for c in variable.categories for text in (c.column, *c.spellings)]
    assert len(texts) == len(set(texts))
    assert set(variable.columns) <= set(texts)
    assert {c.column for c in variable.categories} <= set(variable.columns)


def test_no_item_is_charted_for_two_variables_and_scores_of_the_parts_make_every_total():
    items = [item.itemid for variable in VARIABLES for item in variable.items]
    assert len(items) == len(set(items))
    parts = [{c.score for c in VARIABLES[NAMES.index(name)].categories} for name in GCS_PARTS]
    totals = {sum(scores) for scores in itertools.product(*parts)}
    assert totals == {c.score for c in VARIABLES[NAMES.index("gcs_total")].categories} == set(range(3, 16))
