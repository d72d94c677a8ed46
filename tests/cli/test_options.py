"""Options that several commands take mean the same in each."""

from __future__ import annotations

import pytest

from tests.front import fusionbench


@pytest.mark.parametrize("command", [("run",), ("reproduce",), ("report",), ("data", "prepare"), ("data", "check")])
def test_plugins_and_workspace_are_given_alike(command):
    said = fusionbench(*command, "--help").out
    assert all(option in said for option in ("--plugin", "--no-plugin", "--workspace", "FUSIONBENCH_WORKSPACE"))
