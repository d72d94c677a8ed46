"""Progress: which of two models is the better one, and who shows nothing."""

from __future__ import annotations

import pytest

from fusionbench.progress import Best, SilentProgress


def best(value, measure="auroc", higher=True):
    return Best("concat / mean, fold 0, seed 0", measure, value, higher)


def test_any_model_is_better_than_none():
    assert best(0.1).beats(None)


@pytest.mark.parametrize(("value", "other", "higher", "wins"), [
    (0.8, 0.7, True, True),
    (0.7, 0.8, True, False),
    (0.7, 0.8, False, True),
    (0.8, 0.7, False, False),
    (0.7, 0.7, True, False),
    (0.7, 0.7, False, False),
])  # fmt: skip
def test_of_two_by_one_measure_the_better_wins_and_equals_do_not(value, other, higher, wins):
    assert best(value, higher=higher).beats(best(other, higher=higher)) is wins


def test_another_measure_is_not_compared_with():
    assert best(0.1).beats(best(0.9, "brier", higher=False))


def test_silent_progress_shows_nothing_and_remembers_the_notes(capsys):
    progress = SilentProgress()
    with progress.stage("encoding", 3, "rows") as stage:
        stage.skip(1)
        stage.working(2, 0.5, "half", best(0.7))
        stage.advance()
        stage.advance(2, note="done")
    progress.note("first")
    progress.note("second")
    assert progress.notes == ["first", "second"]
    assert capsys.readouterr() == ("", "")


def test_notes_of_one_are_not_those_of_another():
    SilentProgress().note("gone")
    assert SilentProgress().notes == []


def test_what_is_raised_inside_a_silent_stage_is_passed_on():
    with pytest.raises(ZeroDivisionError), SilentProgress().stage("encoding"):
        raise ZeroDivisionError
