"""The sections about trained models beyond their score."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd

from fusionbench.report import Picture, models
from tests.builders import make_run, toy_dataset


def test_too_few_repetitions_for_ranks_are_said(summary):
    words = models.repetitions(summary).blocks[0].words
    found = summary.tables.comparisons
    beyond = replace(summary.tables, comparisons=found.assign(critical_difference=len(found)))
    within = replace(summary.tables, comparisons=found.assign(critical_difference=len(found) - 1))
    said = [models.repetitions(replace(summary, tables=t)).blocks[0].words for t in (beyond, within)]
    assert "are too few for ranks" in said[0]
    assert "are too few for ranks" not in said[1]
    assert re.search(r"rank alike: p (= \.\d{3}|= 1\.000|< \.001)\.", words)


def test_traces_are_drawn_where_a_strategy_recorded_them(summary):
    assert models.traces(summary) is None
    rows = [("concat", "zero", "", 0, 0, "beta", w, e, e / 10) for w in ("a", "z") for e in (1, 2, 3)]
    columns = ["strategy", "imputer", "trained_at", "fold", "seed", "what", "which", "epoch", "value"]
    found = models.traces(replace(summary, traces=pd.DataFrame(rows, columns=columns)))
    (picture,) = [b for b in found.blocks if isinstance(b, Picture)]
    assert re.findall(r'id="trace-1-arm(\d)"', picture.svg) == ["0", "1"]
    assert "beta over 3 epochs" in picture.alt


def test_a_regulariser_is_named_in_what_it_recorded(tmp_path, undrawn):
    lines = [{"name": "concat", "label": "lazy", "regularisers": ["tla"]}]
    training = {"epochs": 2, "batch_size": 32, "traces": True}
    run = make_run(tmp_path, toy_dataset(), strategies=lines, training=training, tuning={"trials": 0})
    summary = run.execute()
    assert set(summary.traces["what"]) == {"regulariser.0.lazy"}
    assert models._what(summary, ("lazy", "zero"), "regulariser.0.lazy") == "tla lazy"
