"""Validation scores by epoch: every model of every line, and the mean while all of a line are trained."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fusionbench.analysis.epochs import mean_scores, score_table
from fusionbench.missingness.conditions import COMPLETE


def fitted(history, fold=0, title="concat", epochs=None):
    job = SimpleNamespace(arm=SimpleNamespace(title=title, imputer_name="zero"), condition=COMPLETE, fold=fold, seed=0)
    return job, SimpleNamespace(history=history, epochs=len(history or ()) if epochs is None else epochs)


RESULTS = [
    fitted([0.5, 0.6, 0.7]),
    fitted([0.7, 0.8], fold=1),
    fitted(None, title="stored before"),
    fitted([0.9], title="fitted at once", epochs=0),
    fitted([0.1], title="sum"),
]


def test_every_epoch_of_every_model_is_a_row():
    found = score_table(RESULTS)
    assert found[["strategy", "fold", "epoch", "score", "models"]].to_numpy().tolist() == [
        ["concat", 0, 1, 0.5, 2],
        ["concat", 0, 2, 0.6, 2],
        ["concat", 0, 3, 0.7, 1],
        ["concat", 1, 1, 0.7, 2],
        ["concat", 1, 2, 0.8, 2],
        ["sum", 0, 1, 0.1, 1],
    ]
    assert len(score_table([])) == 0


def test_the_mean_ends_where_the_first_model_stops():
    course = mean_scores(score_table(RESULTS), "concat", "zero")
    assert course["score"].tolist() == pytest.approx([0.6, 0.7])
    assert (course["low"].tolist(), course["high"].tolist()) == ([0.5, 0.6], [0.7, 0.8])
    assert course["models"].tolist() == [2, 2]
    assert len(mean_scores(score_table(RESULTS), "nobody", "zero")) == 0
