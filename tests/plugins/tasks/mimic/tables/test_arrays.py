"""Events to steps: where a step ends, what fills it, and what lights which column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionbench_plugins.tasks.mimic.tables import arrays
from fusionbench_plugins.tasks.mimic.tables.arrays import step_counts
from fusionbench_plugins.tasks.mimic.tables.database import Resources
from fusionbench_plugins.tasks.mimic.tables.rules import RULE_SETS, SOUND
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS, GCS_PARTS, NAMES, VARIABLES
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


def test_series_of_hand_made_events(tmp_path):
    """A rate in the first step of one row, in the second of another one that is shorter."""
    rate, rows = NAMES.index("heart_rate"), [0, 0, 1]
    events = pd.DataFrame(
        {"row": rows, "variable": [rate] * 3, "hours": [0.5, 2.0, 3.0], "rank": [0] * 3, "number": [60.0, 70.0, 90.0]}
    )
    events.to_parquet(tmp_path / "events.parquet")
    facts = arrays.write_series(
        tmp_path / "events.parquet", np.array([6.0, 4.0]), SOUND, 2, None, tmp_path, Resources("500MB", 1)
    )
    series, column = np.load(tmp_path / arrays.SERIES), COLUMNS.index("Heart Rate")
    assert series[..., column].tolist() == [[70, 70, 70], [86, 90, 0]]  # 86 before the first; nothing after the end
    assert series[..., COLUMNS.index("mask->Heart Rate")].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert np.load(tmp_path / arrays.LENGTHS).tolist() == [3, 2]
    assert facts["measured"]["heart_rate"] == pytest.approx(2 / 5)
    assert (facts["cut"], facts["longest"], facts["ragged"]) == (0, 3, True)


def test_rows_taken_in_blocks_give_the_same_as_all_at_once(monkeypatch):
    binned = {
        "row": np.array([0, 0, 2, 3]),
        "bin": np.array([-1, 1, 0, 9]),  # before admission; after the end of its row
        "variable": np.array([8, 8, 2, 2]),
        "number": np.array([60.0, 61.0, 0.4, 0.5]),
    }
    lengths = np.array([2, 1, 2, 1])
    ((rows, values, before),) = arrays._chunks(binned, lengths)
    assert (rows, before[0, 8], values[0, 1, 8], values[2, 0, 2]) == (slice(0, 4), 60, 61, 0.4)
    assert np.isfinite(values).sum() + np.isfinite(before).sum() == 3
    monkeypatch.setattr(arrays, "_CELLS", 4)  # two rows of two steps
    parts = list(arrays._chunks(binned, lengths))
    assert [part[0] for part in parts] == [slice(0, 2), slice(2, 4)]
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), values)


@pytest.mark.parametrize("rules", RULE_SETS.values(), ids=RULE_SETS)
def test_one_column_of_each_categorical_variable_is_lit(rules):
    generator = np.random.default_rng(0)
    widths = np.array([v.width for v in VARIABLES])
    values = np.floor(generator.random((3, 5, len(VARIABLES))) * widths)
    values[generator.random(values.shape) < 0.6] = np.nan
    start = arrays.start_values(np.full((3, len(VARIABLES)), np.nan), rules)
    encoded = arrays.encode(values, start, rules)
    assert encoded.shape == (3, 5, len(COLUMNS))
    position = 0
    for variable in VARIABLES:
        if variable.columns:
            assert (encoded[..., position : position + variable.width].sum(axis=-1) == 1).all(), variable.name
        position += variable.width
    masks = encoded[..., -len(VARIABLES) :]
    total = NAMES.index("gcs_total")
    expected = ~np.isnan(values)
    if rules.gcs_total:
        expected[..., total] = expected[..., [NAMES.index(name) for name in GCS_PARTS]].all(axis=-1)
    np.testing.assert_array_equal(masks, expected)
