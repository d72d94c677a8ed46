"""Numbers and names as a reader sees them."""

from __future__ import annotations

from fusionbench.report.words import interval, listed, number, p_value, signed


def test_numbers_are_short_and_nothing_is_a_dash():
    assert [number(v) for v in (0.8434, 1.0, -0.02, float("nan"), None)] == [".843", "1.000", "-.020", "-", "-"]
    assert [signed(v) for v in (0.02, -0.004, 0.0)] == ["+.020", "-.004", "+.000"]
    assert [p_value(v) for v in (0.0001, 0.04)] == ["< .001", ".040"]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert interval({"area": 0.5, "area_low": 0.4, "area_high": 0.6}, "area") == ".500 [.400, .600]"
