"""The table of variables: the published columns and items, and a table that agrees with itself."""

from __future__ import annotations

import csv
import json

import numpy as np

from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS, CONTINUOUS, VARIABLES
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
