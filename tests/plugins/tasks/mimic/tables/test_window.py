"""Which hours of a stay are read."""

from __future__ import annotations

import pytest

from fusionbench_plugins.tasks.mimic.tables.window import Window


@pytest.mark.parametrize(
    ("window", "least", "end", "said"),
    [
        (Window(), 48.0, "48.0", "first 48 h"),
        (Window(12.5), 12.5, "12.5", "first 12.5 h"),
        (Window(48.0, full=False), 0.0, "least(los * 24, 48.0)", "first 48 h"),
        (Window(None), 0.0, "los * 24", "whole stay"),
        (Window(None, full=False), 0.0, "los * 24", "whole stay"),
    ],
)
def test_a_window_says_who_is_long_enough_and_where_reading_ends(window, least, end, said):
    assert (window.least_hours, window.end("los"), str(window)) == (least, end, said)


def test_the_end_is_what_a_database_computes():
    import duckdb

    query = f"select {Window(48.0, full=False).end('los')} from (values (1.5), (3.0)) as stays(los)"
    with duckdb.connect() as database:
        assert [float(end) for (end,) in database.execute(query).fetchall()] == [36.0, 48.0]
