"""Numbers and names as a reader sees them."""

from __future__ import annotations

import pytest

from fusionbench.analysis.words import (
    arm_name,
    counted,
    hidden_words,
    interval,
    listed,
    metric_name,
    number,
    p_value,
    percent,
    seconds,
    signed,
    whole,
)

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


def test_numbers_are_short_and_nothing_is_a_dash():
    assert [number(v) for v in (0.8434, 1.0, -0.02, float("nan"), None)] == [".843", "1.000", "-.020", "-", "-"]
    assert [signed(v) for v in (0.02, -0.004, 0.0)] == ["+.020", "-.004", "+.000"]
    assert [p_value(v) for v in (0.0001, 0.04)] == ["< .001", ".040"]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert interval({"area": 0.5, "area_low": 0.4, "area_high": 0.6}, "area") == ".500 [.400, .600]"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (number(12.3456), "12.346"),
        (number(-0.5, 1), "-.5"),
        (number(10.02), "10.020"),
        (signed(float("nan")), "-"),
        (signed(1.5), "+1.500"),
        (p_value(0.0005), ".001"),
        (p_value(1.0), "1.000"),
        (whole(1234567.6), "1,234,568"),
        (seconds(99.94), "99.9"),
        (seconds(1234.5), "1,234"),
        (percent(0.5), "50 %"),
        (percent(0.12345), "12.3 %"),
        (percent(0.004), "0.4 %"),
        (percent(1), "100 %"),
        (counted(1, "fold"), "1 fold"),
        (counted(0, "fold"), "0 folds"),
        (counted(1200, "study", "studies"), "1,200 studies"),
        (listed(["a", "b"]), "a and b"),
        (arm_name("concat", "mean"), "concat / mean"),
        (arm_name("concat", "mean", "random@0.5"), "concat / mean (trained at random@0.5)"),
        (metric_name("macro_f1"), "macro F1"),
        (metric_name("auroc"), "AUROC"),
        (metric_name("of_a_guest"), "of_a_guest"),
    ],
)
def test_a_value_is_written_as_a_reader_expects_it(found, wanted):
    assert found == wanted


def test_an_interval_without_a_value_is_a_dash():
    nothing = float("nan")
    assert interval({"area": nothing, "area_low": nothing, "area_high": nothing}, "area") == "-"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("random", "80 % of each modality hidden"),
        ("one", "one modality hidden in 80 % of the rows"),
        ("all", "some modalities hidden in 80 % of the rows"),
        ("cxr", "80 % of cxr hidden"),
        ("cxr+report", "80 % of cxr and report hidden"),
        ("cxr:1+report:0.5", "up to 80 % of cxr and report hidden"),
    ],
)
def test_patterns_are_said_in_words(pattern, said):
    assert hidden_words(pattern, 0.8) == said
