"""The words that give plugins and assignments again, for the command that comes next."""

from __future__ import annotations

from fusionbench.cli.options import given_words


def test_every_option_is_given_again_with_its_value():
    assert given_words(["a.py", "b"], ["x=1"], ["guest"]) == [
        "-p",
        "a.py",
        "-p",
        "b",
        "--no-plugin",
        "guest",
        "--set",
        "x=1",
    ]
    assert given_words(None, None) == []
