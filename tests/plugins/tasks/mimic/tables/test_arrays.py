"""Events to steps: where a step ends, what fills it, and what lights which column."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionbench_plugins.tasks.mimic.tables import arrays
from fusionbench_plugins.tasks.mimic.tables.arrays import step_counts
from fusionbench_plugins.tasks.mimic.tables.database import Resources
from fusionbench_plugins.tasks.mimic.tables.rules import SOUND
from tests.mimic_tree import prepare, small_tree
from tests.plugins.tasks.mimic.tables.test_extract import column


def test_value_before_admission_is_not_measured_and_gives_way(tmp_path):
    tree = small_tree()
    tree.chart(0, -0.5, 226512, 70)
    tree.chart(0, 5, 224639, 72)
    dataset = prepare(tmp_path, tree)
    assert column(dataset, "Weight")[0].tolist() == [70] * 2 + [72] * 22
    assert column(dataset, "mask->Weight")[0].tolist() == [0, 0, 1] + [0] * 21


def test_measured_and_imputed_normal_light_the_same_column(tmp_path):
    tree = small_tree()
    tree.chart(0, 47, 220739, "Spontaneously", 4)
    spelling = "Glascow coma scale eye opening->{}".format
    sound, medfuse = prepare(tmp_path, tree), prepare(tmp_path, tree, rules="medfuse")
    assert (column(sound, spelling("Spontaneously"))[0] == 1).all()
    assert column(medfuse, spelling("4 Spontaneously"))[0].tolist() == [1] * 23 + [0]


def test_total_is_the_sum_of_the_parts(tmp_path):
    tree = small_tree()
    for itemid, text in ((220739, "to pain "), (223900, "No Response-ETT"), (223901, "Localizes Pain")):
        tree.chart(0, 1, itemid, text)
    dataset = prepare(tmp_path, tree)
    assert (column(dataset, "Glascow coma scale total->8")[0] == 1).all()
    assert (column(dataset, "Glascow coma scale total->15")[1] == 1).all()
    assert column(dataset, "mask->Glascow coma scale total")[0].tolist() == [1] + [0] * 23


def test_steps_are_closed_on_the_right(tmp_path):
    tree = small_tree()
    second = 1 / 3600
    for hours, rate in ((0, 60), (2, 62), (2 + second, 63), (48, 64), (48 + second, 65)):
        tree.chart(0, hours, 220045, rate)
    rate = column(prepare(tmp_path, tree), "Heart Rate")[0]
    assert rate.tolist() == [62] + [63] * 22 + [64]


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=8), st.floats(-5, 5))
@settings(max_examples=50, deadline=None)
def test_fill_equals_a_loop(values, start):
    expected, last = [], start
    for value in values:
        last = last if value is None else value
        expected.append(last)
    table = np.array([np.nan if v is None else v for v in values])[None, :, None]
    assert arrays.fill_forward(table, np.array([[start]]))[0, :, 0].tolist() == expected


def test_event_after_the_window_is_refused(tmp_path):
    import pandas as pd

    events = tmp_path / "events.parquet"
    pd.DataFrame({"row": [0], "variable": [8], "hours": [48.5], "rank": [0], "number": [80.0]}).to_parquet(events)
    with pytest.raises(arrays.DataError, match="1 events lie after the end of what may be read"):
        arrays.write_series(events, np.array([48.0]), SOUND, 2, None, tmp_path, Resources("1GB", 1))


@pytest.mark.parametrize(
    ("hours", "step", "count"), [(48, 2, 24), (48.5, 2, 25), (0.1, 1, 1), (0, 1, 1), (47.99, 1, 48)]
)
def test_steps_cover_the_stay(hours, step, count):
    assert step_counts(np.array([float(hours)]), step).tolist() == [count]
