"""Marks: below the constant prediction, behind a fitted control."""

from __future__ import annotations

import pandas as pd
import pytest

from fusionbench.analysis.ranking.comparisons import comparison_table
from fusionbench.analysis.ranking.marks import mark_notes, with_marks
from fusionbench.plan.lines import Line
from fusionbench.statistics.verdict import verdict_of
from tests.statistics.test_components import board

LINES = [Line(name, "zero") for name in ("far", "near", "logistic", "low")]


@pytest.fixture(scope="module")
def judged():
    """Four lines: one far above the control, one beside it, the control, one below the prevalence."""
    theta, patients = board(lines=4)
    theta[:, :, 0] += 0.1
    theta[:, :, 3] -= 0.35
    pairs = comparison_table(LINES, verdict_of(theta, patients, draws=200), 1)
    value = theta.mean(axis=(0, 1))
    rows = [
        dict(zip(("strategy", "imputer", "trained_at"), line, strict=True)) | {"area": v}
        for line, v in zip(LINES, value, strict=True)
    ]
    rows.append({"strategy": "prevalence", "imputer": "", "trained_at": "", "area": 0.5})
    frame = pd.DataFrame(rows).assign(skill=[0.2, 0.1, 0.1, 0.05, 0.0])
    return frame.sort_values("area", ascending=False, ignore_index=True), pairs


def marked(judged, controls, **changes):
    found = with_marks(judged[0].assign(**changes), judged[1], controls, "skill", higher_is_better=True)
    return found.set_index("strategy")


def test_lines_no_better_than_the_constant_prediction_are_marked(judged):
    found = marked(judged, [])
    assert found["below_prevalence"].to_dict() == {
        "far": False, "near": False, "logistic": False, "prevalence": False, "low": True,
    }  # fmt: skip


def test_a_brier_skill_below_zero_is_a_mark_too(judged):
    assert marked(judged, [], skill=-0.1)["below_prevalence"].sum() == 4


def test_only_lines_shown_to_be_better_beat_the_control(judged):
    found = marked(judged, [LINES[2]])
    assert found["beats_control"].to_dict() == {
        "far": "yes",
        "near": "no",
        "logistic": "",
        "prevalence": "",
        "low": "no",
    }


def test_without_a_control_nobody_is_held_against_one(judged):
    assert set(marked(judged, [])["beats_control"]) == {""}


def test_marks_are_said(judged):
    frame = with_marks(judged[0], judged[1], [LINES[2]], "skill", higher_is_better=True)
    assert mark_notes(frame, [LINES[2]], lambda line: line.label) == [
        "No better than the constant prevalence: low / zero.",
        "Not shown to be better than logistic / zero, a fitted control: near / zero, low / zero.",
    ]
    fine = frame.assign(below_prevalence=False, beats_control="")
    assert mark_notes(fine, [], lambda line: line.label) == []
