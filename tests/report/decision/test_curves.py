"""Curves as differences, and raw ones."""

from __future__ import annotations

import pytest

from fusionbench.contract.blocks import Picture, Text
from fusionbench.plan.lines import Line, lines_of
from fusionbench.report.decision import curves
from fusionbench.report.decision.blocks import LinePicture, Sheet
from fusionbench.report.lines import ranked_board
from tests.report.decision.planted import planted, without


def near(line, _pattern, rate):
    return 0.01 * rate if line.strategy == "hiding" else -0.004


def test_every_line_but_the_baseline_has_a_small_picture_for_each_pattern(summary):
    section = curves.difference_curves(planted(summary, near))
    assert [part.title for part in section.parts] == ["Missing: random", "Missing: a"]
    others = [line for line in lines_of(ranked_board(summary)) if line[:2] != ("concat", "zero")]
    for part in section.parts:
        assert [p.line for p in part.blocks] == [summary.plan.called(line) for line in others]
        assert all(isinstance(p, LinePicture) for p in part.blocks)
    (sheet,) = [b for b in section.blocks if isinstance(b, Sheet)]
    assert sheet.pdf.startswith(b"%PDF")


def test_what_a_small_picture_shows_is_said_in_words(summary):
    section = curves.difference_curves(planted(summary, near))
    picture = next(p for p in section.parts[0].blocks if "hiding" in p.line)
    assert "from +0.000 at 0 to +0.005 at 45 percent missing" in picture.alt


def test_a_line_far_from_all_others_leaves_the_common_axis_and_is_named(summary):
    drawn = curves.Differences(planted(summary, near), Line("concat", "zero"))
    assert drawn.limit < 0.03
    far = planted(summary, lambda line, *at: -0.3 if line.strategy == "a only" else near(line, *at))
    drawn = curves.Differences(far, Line("concat", "zero"))
    assert drawn.limit < 0.06
    words = curves.difference_curves(far).blocks[0].words
    assert "Beyond it, at least in part:" in words
    assert "a only" in words


def test_bands_of_a_single_run_are_of_these_models_and_the_words_say_so(summary):
    found = planted(summary, near)
    table = found.tables.differences
    table[["difference_low", "difference_high"]] = float("nan")
    table["difference_low_these_models"], table["difference_high_these_models"] = -0.02, 0.02
    assert "of these trained models only" in curves.difference_curves(found).blocks[0].words
    points = curves.Differences(found, Line("concat", "zero")).points(Line("hiding", "zero"), "a")
    assert points["low"].tolist() == [-0.02, -0.02]


def test_with_one_rate_or_nothing_to_hold_against_there_are_no_differences_to_draw(summary):
    assert curves.difference_curves(without(summary)) is None
    assert curves.difference_curves(planted(summary, near, rates=(0.0,))) is None


def test_raw_curves_stand_line_by_line_with_the_baseline_in_grey(summary, undrawn):
    lines = lines_of(ranked_board(summary))
    found = list(curves.raw_pictures(planted(summary, near), lines, "raw"))
    assert len(found) == 2 * len(lines)
    assert {p.line for p in found} == {summary.plan.called(line) for line in lines}
    assert "in grey" in curves.raw_words(planted(summary, near))
    assert "in grey" not in curves.raw_words(without(summary))


@pytest.mark.parametrize("base", [True, False])
def test_the_range_of_all_lines_has_at_most_two_of_them_in_colour(summary, undrawn, monkeypatch, base):
    shown = []

    def noted(_points, lines, *_more):
        shown.append([name for name, _ in lines])
        return Picture("<svg/>", "", "", "curves", 1)

    monkeypatch.setattr(curves.multiples, "range_picture", noted)
    found = planted(summary, near) if base else without(summary)
    assert len(list(curves.range_pictures(found))) == 2
    first = summary.plan.called(lines_of(ranked_board(summary))[0])
    assert all(first in names for names in shown)
    assert all(len(names) == len(set(names)) <= 2 for names in shown)


def test_the_words_before_raw_curves_name_the_metric(summary):
    assert Text(curves.raw_words(summary)).words.startswith("AUROC over the share missing")
