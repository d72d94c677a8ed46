"""What a run found, in Python."""

from __future__ import annotations

import pandas as pd
import pytest

import fusionbench
from fusionbench.errors import ConfigError


def test_every_table_has_the_columns_of_its_file(ran):
    results, workspace = ran
    for name in (
        "leaderboard",
        "curves",
        "cells",
        "differences",
        "comparisons",
        "subsets",
        "modalities",
        "calibration",
        "ledger",
    ):
        table = getattr(results, name)
        on_disk = pd.read_csv(workspace / "reports" / "mine" / f"{name}.csv")
        assert len(table) == len(on_disk)
        assert list(on_disk) == list(table), name
        assert table["synthetic"].all(), name


def test_a_table_that_is_changed_changes_nothing(ran):
    results, _ = ran
    changed = results.curves
    changed["auroc"] = 0
    assert (results.curves["auroc"] > 0).any()


def test_what_is_loaded_is_what_was_returned(ran):
    results, workspace = ran
    loaded = fusionbench.load(workspace)
    for name in ("leaderboard", "curves", "cells", "differences", "subsets", "modalities", "design"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(results, name), check_dtype=False)
    assert loaded.answer == results.answer
    assert loaded.notes == results.notes
    assert loaded.workspace == workspace


def test_the_best_are_those_that_could_be_it_in_order(ran):
    results, _ = ran
    overall = results.best()
    assert set(overall["strategy"]) <= {"concat", "sum", "plain"}
    assert overall["value"].is_monotonic_decreasing
    at = results.best(rate=0.3, pattern="b")
    assert set(at["pattern"]) == {"b"}
    assert at["value"].is_monotonic_decreasing
    curve = results.curves[(results.curves["pattern"] == "b") & (results.curves["rate"] == 0.3)].set_index("strategy")
    assert at["value"].tolist() == [curve.loc[s, "auroc"] for s in at["strategy"]]
    with pytest.raises(ConfigError, match=r"rate: 0.5 was not run; this benchmark has 0, 0.3"):
        results.best(rate=0.5)
    with pytest.raises(ConfigError, match="pattern: 'x' was not run; this benchmark has random, b"):
        results.best(rate=0.3, pattern="x")
    with pytest.raises(ConfigError, match="pattern: 'x' was not run"):
        results.plot(pattern="x")


def test_it_says_in_text_what_it_is(ran):
    results, _ = ran
    said = repr(results)
    assert "<Results of mine: 4 lines, auroc>" in said
    assert "SYNTHETIC DATA" in said
    assert results.answer[0] in said
    assert results.report().name == "report.html"
    assert dir(results).count("leaderboard") == 1
