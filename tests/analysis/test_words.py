"""Numbers and names as a reader sees them."""

from __future__ import annotations

import pytest

from fusionbench.analysis.words import arm_name, interval, listed, metric_name, number, seconds, whole

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, ".500"), (-0.25, "-.250"), (1.0, "1.000"), (10.5, "10.500"), (100.25, "100.250"), (NAN, "-"), (None, "-")],
)
def test_numbers_lose_only_a_leading_zero(value, shown):
    assert number(value) == shown


def test_an_interval_stands_behind_its_value_and_nothing_has_none():
    assert interval({"x": 0.5, "x_low": 0.25, "x_high": 1.0}, "x") == ".500 [.250, 1.000]"
    assert interval({"x": NAN, "x_low": NAN, "x_high": NAN}, "x") == "-"


def test_counts_and_seconds():
    assert [whole(v) for v in (3, 12345.6)] == ["3", "12,346"]
    assert [seconds(v) for v in (1.234, 1234.5)] == ["1.2", "1,234"]


def test_names():
    assert [arm_name("concat", "mean"), arm_name("sum", "zero", "a@0.5")] == [
        "concat / mean",
        "sum / zero (trained at a@0.5)",
    ]
    assert [metric_name(n) for n in ("auroc", "macro_f1", "loss")] == ["AUROC", "macro F1", "loss"]
    assert [listed(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
