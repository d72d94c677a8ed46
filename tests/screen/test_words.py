"""Counts and times as a screen shows them."""

from __future__ import annotations

import pytest

from fusionbench.screen.words import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (3.4, "3 s"), (119, "119 s"), (150, "2.5 min"), (1800, "30 min"), (7200, "2.0 h")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
