"""Small pictures on common axes, and quality against cost."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from fusionbench.report.charts import drawing, multiples

NAN = float("nan")


def points(*differences):
    table = pd.DataFrame({"achieved": [0.2 * i for i in range(len(differences))], "difference": differences})
    return table.assign(low=table["difference"] - 0.01, high=table["difference"] + 0.01)


def words_of(svg):
    return "".join(ET.fromstring(svg).itertext())


def panel(table, limit=0.05):
    return multiples.difference_panel(table, limit, "difference-1-1", "one, missing: a", "concat", 0.005)


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.02, "+.02"), (-0.1, "-.1"), (0.0, "0"), (0.0004, "0"), (-1.0, "-1"), (0.125, "+.125")]
)
def test_ticks_have_a_sign_and_no_zero_before_the_point(value, wanted):
    assert multiples.signed_tick(value) == wanted


def test_the_farthest_line_decides_about_the_axis_unless_it_lies_far_beyond_the_middle():
    assert multiples.shared_limits([0.01, 0.012, 0.014], 0.001) == pytest.approx(multiples.ROOM * 0.014)
    assert multiples.shared_limits([0.01, 0.012, 0.3], 0.001) == pytest.approx(multiples.ROOM * multiples.FAR * 0.012)
    assert multiples.shared_limits([0.0, NAN], 0.01) == pytest.approx(multiples.ROOM * 0.01)
    assert multiples.shared_limits([], 0.01) == 0.01


def test_equal_small_pictures_are_equal_bytes_and_name_nothing_that_is_not_pointed_to():
    (one, words), (other, _) = panel(points(0.0, 0.02)), panel(points(0.0, 0.02))
    assert one == other
    assert "from +0.000 at 0 to +0.020 at 20 percent" in words
    assert set(re.findall(r' id="([^"]+)"', one)) == set(re.findall(r'(?:href="#|url\(#)([^")]+)', one))


def test_a_small_picture_is_small_because_a_page_has_many():
    assert len(panel(points(0.0, 0.01, 0.02, 0.01, 0.0))[0]) < 8_000


def test_a_picture_whose_line_left_says_where_it_is():
    assert "-.200 to -.300" in words_of(panel(points(-0.2, -0.3))[0])
    assert "to" not in words_of(panel(points(0.0, -0.3))[0])


def test_raw_pictures_draw_the_baseline_and_the_ceiling_where_they_are_known():
    line = pd.DataFrame({"achieved": [0.0, 0.3], "auroc": [0.8, 0.7]})
    line = line.assign(auroc_low=line["auroc"] - 0.02, auroc_high=line["auroc"] + 0.02)
    plain, words = multiples.raw_panel(line, None, "auroc", (0.6, 0.9), "raw-1-1", "one, missing: a")
    assert words == "one, missing: a: from 0.800 to 0.700 at 30 percent missing."
    both, _ = multiples.raw_panel(line.assign(ceiling=0.85), line, "auroc", (0.6, 0.9), "raw-1-1", "one")
    assert drawing.GREY not in plain
    assert drawing.GREY in both


def test_a_sheet_has_a_row_for_each_line_and_a_column_for_each_pattern():
    rows = [("one", [points(0.0, 0.1), None]), ("two", [points(0.0, 0.1), points(0.0, -0.1)])]
    found = multiples.sheet(rows, ["a", "b"], 0.2, "concat", "A MARK", "A caption.")
    said = words_of(found.svg)
    assert len(re.findall(r'id="[^"]*-axes_\d+"', found.svg)) == 4
    assert all(word in said for word in ("one", "two", "missing: a", "missing: b", "A MARK"))


def test_the_range_of_all_lines_may_leave_the_picture_of_a_few():
    table = pd.DataFrame({"achieved": [0.0, 0.3], "low": [0.5, 0.4], "high": [0.82, 0.75], "ceiling": [0.9, 0.8]})
    own = pd.DataFrame(
        {"achieved": [0.0, 0.3], "auroc": [0.8, 0.7], "auroc_low": [0.78, 0.68], "auroc_high": [0.82, 0.72]}
    )
    found = multiples.range_picture(table, [("one", own)], "a", "auroc", "AUROC", "curves-1", "A MARK")
    assert "0.5" not in words_of(found.svg)
    assert found.alt == "AUROC as a goes missing: one from 0.800 to 0.700. All numbers are in the tables below."
    assert 'id="curves-1-ceiling"' in found.svg
    assert 'id="curves-1-arm0"' in found.svg


def test_quality_against_cost_names_the_best_of_both_and_the_baseline():
    worth = [
        multiples.Worth(n, c, d, d - 0.01, d + 0.01)
        for n, c, d in (("base", 1, 0.0), ("cheap", 0.5, 0.01), ("dear", 9, -0.01))
    ]
    found = multiples.cost_picture(worth, worth[1:2], "AUROC", "base", "A caption.", "A MARK")
    said = words_of(found.svg)
    assert "cheap" in said
    assert "base, the baseline" in said
    assert "dear" not in said
    assert "dear -0.010 at 9.0 times" in found.alt
