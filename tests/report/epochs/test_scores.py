"""The section with validation scores by epoch: a line for each strategy, a table with its best epoch."""

from __future__ import annotations

from dataclasses import replace

from fusionbench.analysis.epochs import mean_scores
from fusionbench.analysis.words import number
from fusionbench.contract.blocks import Picture, Table
from fusionbench.report.epochs.scores import TITLE, scores_by_epoch


def test_every_trained_line_has_a_course(summary):
    section = scores_by_epoch(summary)
    (table,) = [b for b in section.blocks if isinstance(b, Table)]
    pictures = [b for b in section.blocks if isinstance(b, Picture)]
    trained = {(r["strategy"], r["imputer"]) for _, r in summary.scores.iterrows()}
    assert section.title == TITLE
    assert len(table.rows) == len(trained) > 2
    row = next(r for r in table.rows if r[0] == "Concat / mean")
    course = mean_scores(summary.scores, "concat", "mean")["score"]
    assert row[1:5] == [number(course.iloc[0]), number(course.iloc[-1]), number(course.max()), str(course.idxmax())]
    assert f"from {course.iloc[0]:.3f} to {course.iloc[-1]:.3f}" in "".join(p.alt for p in pictures)
    assert all(f'id="{p.name}-arm0"' in p.svg for p in pictures)


def test_best_epochs_are_those_that_were_kept(finished):
    run, summary = finished
    for fit in summary.plan.fits:
        result = run.store.load(fit.key)
        if result.epochs and fit.arm.strategy.registration.name != "medfuse":
            assert len(result.history) == result.epochs
            assert max(result.history) == result.score == result.history[result.best_epoch - 1]


def test_a_run_of_which_no_score_is_known_has_no_section(summary):
    assert scores_by_epoch(replace(summary, scores=summary.scores.iloc[:0])) is None
