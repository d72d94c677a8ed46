"""What became of an expectation: held, failed or not shown, by the tables' own verdict."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fusionbench.analysis.expectations import expected_of
from fusionbench.analysis.ranking import comparisons
from fusionbench.analysis.ranking.differences import COLUMNS
from fusionbench.config.expectations import Expectation
from fusionbench.plan.lines import Line

LINES = [Line(name, "zero") for name in ("best", "middle", "worst")]
BASE = Line("middle", "zero")


def tables(*, p=0.01, groups=(1, 2, 2), shown=("better", "", "worse"), possible=(True, False, False)):
    """Three lines in their order, every pair apart with the same p; at one point, each against the one in the middle."""
    pairs = [(a, b) for i, a in enumerate(LINES) for b in LINES[i + 1 :]]
    blank = dict.fromkeys(comparisons.COLUMNS, np.nan)
    compared = [
        {
            **blank,
            **dict(zip(comparisons.LINE, a, strict=True)),
            **dict(zip(comparisons.OTHER, b, strict=True)),
            "difference": 0.02,
            "low": 0.01,
            "high": 0.03,
            "p_adjusted": p,
        }
        for a, b in pairs
    ]
    board = [
        {"strategy": a.strategy, "imputer": a.imputer, "trained_at": "", "group": g}
        for a, g in zip(LINES, groups, strict=True)
    ]
    point = [
        {
            **dict.fromkeys(COLUMNS, np.nan),
            "strategy": a.strategy,
            "imputer": a.imputer,
            "variant": "",
            "pattern": "random",
            "rate": 0.5,
            "difference": d,
            "difference_low": d - 0.01,
            "difference_high": d + 0.01,
            "p_adjusted": p,
            "shown": s,
            "possible_best": b,
        }
        for a, d, s, b in zip(LINES, (0.02, 0.0, -0.02), shown, possible, strict=True)
    ]
    return SimpleNamespace(
        leaderboard=pd.DataFrame(board),
        comparisons=pd.DataFrame(compared),
        differences=pd.DataFrame(point, columns=COLUMNS),
    )


def verdict(found, **asked):
    (expected,) = expected_of([Expectation(says="a", **asked)], found, BASE)
    return expected


AT = {"pattern": "random", "rate": 0.5}


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"better": "best", "than": ["middle", "worst"]}, "held"),
        ({"better": "worst", "than": "best"}, "failed"),
        ({"better": ["best", "worst"], "than": "middle"}, "failed"),
        ({"better": ["best", "worst"], "than": "middle", "need": "any"}, "held"),
        ({"better": ["worst"], "than": "middle", "need": "any"}, "failed"),
        ({"better": "best / zero", "than": "middle", "at": AT}, "held"),
        ({"better": "middle", "than": "worst", "at": AT}, "held"),
        ({"better": "middle", "than": "best", "at": AT}, "failed"),
        ({"best": ["best", "middle"]}, "held"),
        ({"best": "middle"}, "failed"),
        ({"best": "best", "at": AT}, "held"),
        ({"not_best": ["middle", "worst"]}, "held"),
        ({"not_best": "best"}, "failed"),
        ({"not_best": ["best", "middle"]}, "failed"),
        ({"not_best": ["best", "middle"], "need": "any"}, "held"),
        ({"tied": ["best", "middle"]}, "failed"),
    ],
)
def test_where_differences_are_shown(asked, wanted):
    assert verdict(tables(), **asked).verdict == wanted


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"better": "best", "than": "middle"}, "not shown"),
        ({"better": "worst", "than": "best"}, "not shown"),
        ({"better": "best", "than": "middle", "at": AT}, "not shown"),
        ({"best": "best"}, "not shown"),
        ({"best": ["best", "middle", "worst"]}, "held"),
        ({"not_best": "worst"}, "not shown"),
        ({"tied": ["best", "middle", "worst"]}, "held"),
    ],
)
def test_where_nothing_is_shown(asked, wanted):
    found = tables(p=0.4, groups=(1, 1, 1), shown=("", "", ""), possible=(True, True, True))
    assert verdict(found, **asked).verdict == wanted


def test_of_two_lines_one_may_be_out_and_the_other_not():
    found = tables(groups=(1, 1, 2))
    assert verdict(found, not_best=["best", "worst"]).verdict == "not shown"
    assert verdict(found, best="best").verdict == "not shown"


def test_a_run_that_cannot_tell_shows_nothing():
    found = tables(p=np.nan, groups=(0, 0, 0), shown=("", "", ""), possible=(False, False, False))
    for asked in (
        {"better": "best", "than": "middle"},
        {"best": "best"},
        {"not_best": "worst"},
        {"tied": ["best", "worst"]},
    ):
        assert verdict(found, **asked).verdict == "not shown"
    assert "one run only" in verdict(found, better="best", than="middle").numbers[0]


def test_the_numbers_are_said_in_the_direction_that_was_expected():
    assert verdict(tables(), better="worst", than="best").numbers == ("worst minus best: -.020 [-.030, -.010], p .010",)
    (at,) = verdict(tables(), better="middle", than="best", at=AT).numbers
    assert at == "middle minus best at random 0.5: -.020 [-.030, -.010], p .010"


def test_at_a_point_two_lines_beside_the_baseline_are_not_compared():
    found = verdict(tables(), better="best", than="worst", at=AT)
    assert found.verdict == "not shown"
    assert "compared with the baseline only" in found.numbers[0]
    assert verdict(tables(), tied=["best", "worst"], at=AT).verdict == "not shown"
