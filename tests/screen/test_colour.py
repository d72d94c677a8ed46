"""Colour on a terminal only, around words that stay as they are."""

from __future__ import annotations

import re
import sys

import pytest

from fusionbench.screen import colour

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def bare(lines):
    """Lines without colour."""
    return [ESCAPES.sub("", line) for line in lines]


LINES = {
    colour.findings: [
        "ok    torch     2.14",
        "WRONG disk      full",
        "                to do: make room",
        "note  gpu       none",
    ],
    colour.comparison: [
        "A: runs/a",
        "what changed:",
        "  seed: 0 -> 1",
        "concat / zero  .8  .9  +.1  yes",
        "sum / zero  no",
        "x",
    ],
    colour.description: ["fusion strategy sum  (core 1)", "", "Options:", "  none", "  like:"],
}


@pytest.mark.parametrize("painter", LINES)
def test_words_stay_as_they_are(painter):
    found = list(painter(LINES[painter]))
    assert bare(found) == LINES[painter]
    assert any(ESCAPES.search(line) for line in found)


def test_what_is_wrong_is_red_and_what_holds_is_green():
    ok, wrong, remedy, _ = colour.findings(LINES[colour.findings])
    assert ok.startswith("\x1b[32mok\x1b[0m")
    assert wrong.startswith("\x1b[1;31mWRONG\x1b[0m")
    assert remedy.startswith("\x1b[33m")
    assert list(colour.comparison(["a  yes", "b  no"])) == ["a \x1b[32m yes\x1b[0m", "b \x1b[2m no\x1b[0m"]


def test_a_listing_is_cut_at_the_screen_and_failures_are_red():
    lines = [
        "strategies    sum                  core 1                   Sum: adds",
        "broken        x                    y: no module",
    ]
    found = list(colour.listing(lines, width=50))
    assert bare(found)[0] == lines[0][:49] + "…"
    assert found[1].startswith("\x1b[1;31m")
    assert bare(colour.listing(lines, width=200)) == lines


@pytest.mark.parametrize(
    ("terminal", "environment", "wanted"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_whose_owner_did_not_refuse_it(monkeypatch, terminal, environment, wanted):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert colour.is_coloured() is wanted
