"""Patterns and rates: what they mean, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.errors import ConfigError
from fusionbench.missingness.conditions import Condition, Pattern
from fusionbench.missingness.masks import present_mask
from tests.missingness.test_masks import NAMES, context, masks


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_rates_outside_are_refused(rate):
    with pytest.raises(ValueError, match="rate must be in"):
        present_mask(np.ones((2, 2), bool), np.zeros((2, 2)), rate)
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        Condition("random", rate)


def test_natural_hides_nothing_and_has_no_other_rate():
    ctx = context(held=0.6)
    assert (masks("natural", rates=(0.0,), ctx=ctx)[0] == ctx.available).all()
    with pytest.raises(ConfigError, match="only rate is 0"):
        Condition("natural", 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cxt", "did you mean 'cxr'"),
        ("ehr+ehr", "twice"),
        ("ehr+cxr+note", "every modality at once"),
        ("", "no modality named ''"),
        ("cxr+random", "no modality named 'random'"),
    ],
)
def test_patterns_that_mean_nothing_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        Pattern.parse(text, NAMES)


def test_a_modality_called_like_a_pattern_is_refused():
    with pytest.raises(ConfigError, match="rename it"):
        Pattern.parse("all", ("all", "cxr"))


def test_patterns_are_named_in_modality_order():
    assert str(Pattern.parse("note+ehr", NAMES)) == "ehr+note"
    assert [str(Pattern.parse(word, NAMES)) for word in ("random", "all", "cxr")] == ["random", "all", "cxr"]
