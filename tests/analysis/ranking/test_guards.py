"""Warnings: each says what weakens a run, and a sound run gets none."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from fusionbench.analysis.ranking.guards import doubts_of, guard_notes
from tests.builders import make_benchmark

SOUND = {"folds": 5, "seeds": 3, "lines": 3, "smallest_detectable": 0.01, "unstable_lines": ""}


def said(fits=((10, 20),) * 8, batches=30, areas=(0.9, 0.85, 0.8), benchmark=None, controls=(), **design):
    """The warnings of a run: best epoch and epochs of each model, steps of an epoch, areas, and its design."""
    results = [(None, SimpleNamespace(best_epoch=b, epochs=e)) for b, e in fits]
    lines = [
        {
            "strategy": f"s{i}",
            "imputer": "zero",
            "trained_at": "",
            "area": a,
            "below_prevalence": False,
            "beats_control": "",
        }
        for i, a in enumerate(areas)
    ]
    lines.append({**lines[0], "strategy": "prevalence", "imputer": "", "area": 0.5})
    given = benchmark or make_benchmark(tuning={"trials": 3}, evaluation={"resamples": 1000})
    design_row = pd.DataFrame([SOUND | design])
    each = [batches] * len(results)
    return guard_notes(results, pd.DataFrame(lines), design_row, given, each, list(controls), lambda line: line.label)


def test_a_sound_run_is_not_warned_of():
    assert said() == []


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"fits": [(20, 20)] * 3 + [(10, 20)] * 5}, "37.5 % of the models were best in their last epoch"),
        ({"fits": [(1, 20)] * 3 + [(10, 20)] * 5}, "37.5 % of the models were best in their first epoch"),
        ({"batches": 8}, "Half of the models were chosen after 80 optimiser steps or fewer"),
        ({"folds": 3, "seeds": 1}, "3 folds x 1 seed are few repetitions to rank 3 lines"),
        ({"smallest_detectable": 0.2}, "No power for the differences at hand: the lines lie within .100 of each other"),
        ({"benchmark": make_benchmark(evaluation={"resamples": 1000})}, "Nothing was tuned"),
        (
            {"benchmark": make_benchmark(tuning={"trials": 2}, evaluation={"resamples": 200})},
            "200 resamples of patients are few",
        ),
    ],
)
def test_each_weakness_is_named(changes, begins):
    notes = said(**changes)
    assert [n for n in notes if n.startswith(begins)], notes


def test_fitted_lines_have_no_epochs_to_be_warned_of():
    assert said(fits=[(0, 0)] * 4) == []


def test_two_lines_are_no_ranking():
    assert said(areas=(0.9, 0.8), folds=3, seeds=1, lines=2) == []


def test_what_makes_an_answer_provisional_is_said_in_parts_of_a_sentence():
    def doubts(fits, batches=50, trials=3):
        results = [(None, SimpleNamespace(best_epoch=best, epochs=epochs)) for best, epochs in fits]
        given = make_benchmark(tuning={"trials": trials}, strategies=["concat", "sum"])
        return doubts_of(results, given, [batches] * len(results))

    assert doubts([(10, 20)] * 8) == ()
    assert doubts([(20, 20)] * 3 + [(10, 20)] * 5) == ("many models were best in their last epoch",)
    assert doubts([(1, 20)] * 3 + [(10, 20)] * 5) == ("many models were best in their first epoch",)
    assert doubts([(10, 20)] * 8, batches=2) == ("models were trained for few steps",)
    assert doubts([(10, 20)] * 8, trials=0) == ("nothing was tuned",)
    assert doubts([(0, 0)] * 8) == ()  # fitted, not trained
