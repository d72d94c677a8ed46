"""Rows of the event tables."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench_plugins.tasks.mimic.synthetic.events import Events, format_numbers


@pytest.mark.parametrize(
    ("numbers", "decimals", "wanted"),
    [
        ([80.4, 99.6, 0.0], 0, ["80", "100", "0"]),
        ([7.4, 7.36, 7.0, -0.25], 2, ["7.4", "7.36", "7", "-0.25"]),
        ([100.0, 120.0], 1, ["100", "120"]),
        ([], 1, []),
    ],
)
def test_numbers_have_at_most_so_many_decimals_and_no_zeros_at_the_end(numbers, decimals, wanted):
    assert format_numbers(np.array(numbers), decimals).to_pylist() == wanted


def test_rows_are_sorted_by_stay_time_and_item_with_what_belongs_to_them():
    events = Events()
    events.add_numbers(7, np.array([1, 0]), np.array([60, 60]), np.array([1.0, 2.0]))
    events.add_text(5, np.array([0, 0]), np.array([60, 30]), np.array([1, 0]), ("a", "b"))
    found = events.sorted()
    assert len(found) == 4
    rows = zip(found.stay.tolist(), found.seconds.tolist(), found.itemid.tolist(), found.value.to_pylist(), strict=True)
    assert list(rows) == [(0, 30, 5, "a"), (0, 60, 5, "b"), (0, 60, 7, "2"), (1, 60, 7, "1")]


def test_a_text_has_no_number_and_a_word_has_its_score():
    events = Events()
    events.add_text(5, np.array([0]), np.array([0]), np.array([0]), ("a",))
    events.add_words(6, np.array([0]), np.array([0]), np.array([1]), ((1, "None"), (4, "Spontaneously")))
    found = events.sorted()
    assert found.value.to_pylist() == ["a", "Spontaneously"]
    assert found.number.to_pylist() == [None, "4"]
