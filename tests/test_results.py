"""The name under which observers import the result store."""

from __future__ import annotations

from fusionbench import results
from fusionbench.store.results import Store


def test_the_store_that_observers_import_is_the_one_that_runs_write_to():
    assert results.Store is Store
    assert results.__all__ == ["Store"]


def test_an_observer_reads_under_this_name_what_a_run_has_stored(tmp_path):
    Store(tmp_path).save_maps("k", {"a": [1, 2]})
    assert results.Store(tmp_path).maps("k") == {"a": [1, 2]}
    assert results.Store(tmp_path).maps("other") is None
