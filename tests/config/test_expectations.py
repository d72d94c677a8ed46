"""What is expected of a run: what a file may say, and what is said of mistakes."""

from __future__ import annotations

import pytest

from tests.config.toy_file import GOOD, load, one

BEGIN = GOOD + "expect:\n  - "


@pytest.mark.parametrize(
    ("text", "form", "at"),
    [
        ("{says: a, better: concat, than: sum}", "better", None),
        ("{says: a, better: [concat / zero], than: [sum], at: area}", "better", None),
        ("{says: a, best: [concat, sum], at: {pattern: random, rate: 0.5}}", "best", ("random", 0.5)),
        ("{says: a, not_best: [concat, sum], need: any}", "not_best", None),
        ("{says: a, tied: [concat, sum]}", "tied", None),
    ],
)
def test_what_a_file_may_expect(tmp_path, text, form, at):
    (found,) = load(tmp_path, BEGIN + text).expect
    assert found.form == form
    assert (found.at and (found.at.pattern, found.at.rate)) == at


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{better: concat, than: sum}", "'says' is missing"),
        ("{says: a}", "expects one thing: one of better, best, not_best, tied"),
        ("{says: a, best: concat, tied: [concat, sum]}", "found best and tied"),
        ("{says: a, better: concat}", "'better' and 'than' go together"),
        ("{says: a, best: concat, than: sum}", "'better' and 'than' go together"),
        ("{says: a, tied: concat}", "'tied' names two strategies or more"),
        ("{says: a, best: concat, need: any}", "'need: any' has no meaning with 'best'"),
        ("{says: a, best: concta}", "no strategy of this benchmark is called 'concta'; did you mean 'concat'?"),
        ("{says: a, best: concat / mean}", "no strategy of this benchmark is called 'concat / mean'"),
        ("{says: a, best: concat, at: {pattern: a, rate: 0.5}}", "expect[0].at.pattern: no pattern 'a'"),
        ("{says: a, best: concat, at: {pattern: random, rate: 0.4}}", "expect[0].at.rate: no rate 0.4"),
        ("{says: a, best: concat, at: somewhere}", "expect[0].at: expected a mapping"),
        ('{says: "a\\e[2J", best: concat}', "a label is one line of text without control characters"),
    ],
)
def test_mistakes_are_said_with_their_line(tmp_path, text, problem):
    found = one(tmp_path, BEGIN + text)
    assert found.startswith("b.yaml:13: expect[0]")
    assert problem in found
