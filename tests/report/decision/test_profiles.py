"""Line by line."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fusionbench.contract.blocks import Text
from fusionbench.plan.lines import lines_of
from fusionbench.report.decision import profiles
from fusionbench.report.decision.blocks import LinePicture
from fusionbench.report.lines import ranked_board


def test_every_complete_line_has_a_part_with_its_result_its_options_its_plugins_and_its_curves(summary, undrawn):
    found = profiles.profiles(summary)
    lines = lines_of(ranked_board(summary))
    assert [part.title for part in found.parts] == [summary.plan.called(line) for line in lines]
    for part in found.parts:
        (told,) = [b for b in part.blocks if isinstance(b, Text)]
        assert "Mean AUROC over all curves" in told.points[0]
        assert told.points[1].startswith("Winning options: ")
        assert "learning_rate" in told.points[1]
        assert any(p.startswith("Strategy ") and "All of it: fusionbench show " in p for p in told.points)
        assert any(p.startswith("Imputer ") for p in told.points)
        assert len([b for b in part.blocks if isinstance(b, LinePicture)]) == 2


def test_without_a_complete_line_there_is_nothing_to_tell(summary):
    board = summary.tables.leaderboard.assign(area=float("nan"))
    assert profiles.profiles(replace(summary, tables=replace(summary.tables, leaderboard=board))) is None


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.1, 0.3], "0.1 to 0.3"),
        ([2, 2], "2"),
        (["a", "b", "a"], "a, b"),
        ([True, False], "True, False"),
        ([1, "x"], "1, x"),
    ],
)
def test_what_won_is_told_from_the_lowest_to_the_highest(values, wanted):
    assert profiles._span(values) == wanted


def test_a_plugin_without_docstring_or_source_is_named_all_the_same():
    class Bare:
        pass

    found = SimpleNamespace(kind="strategies", name="mine", distribution="plug.py", version="", target=Bare)
    Bare.__doc__ = None
    assert profiles._plugin(SimpleNamespace(registration=found)) == (
        "Strategy mine (plug.py). All of it: fusionbench show mine"
    )
