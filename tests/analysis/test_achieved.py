"""What was really hidden: beside every nominal rate."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.missingness.conditions import Condition
from fusionbench.tracking.curves import curves_of
from tests.builders import run_toy

SETTINGS = {"patterns": ["random", "one", "a:1+b:0.5"], "rates": [0, 0.4, 0.8]}


@pytest.mark.parametrize("where", ["test", "train"])
def test_curves_and_cells_say_what_was_really_hidden(tmp_path, where):
    run, summary = run_toy(tmp_path, missingness={**SETTINGS, "where": where}, strategies=["sum"])
    available = run.dataset.available
    for _, row in summary.tables.curves.iterrows():
        found = []
        for fold in run.folds.values():
            rows = fold.development.train if where == "train" else fold.test.open("digest")
            if row["rate"]:
                present = run.rows.mask(Condition(row["pattern"], row["rate"]), 0, fold.index)[rows]
                found.append((available[rows] & ~present).sum() / available[rows].sum())
        assert row["achieved"] == pytest.approx(np.mean(found) if found else 0)
        assert row["achieved"] <= row["rate"] + 0.05
    cells = summary.tables.cells
    if where == "test":
        one = cells[cells["pattern"] == "one"]
        assert (one["rows_touched"] > one["achieved"]).all()
        assert one["rows_touched"].tolist() == pytest.approx(one["rate"].tolist(), abs=0.15)
    else:
        assert (cells["achieved"] == 0).all()


def test_the_step_of_mlflow_is_what_was_hidden_and_the_nominal_rate_is_beside_it(tmp_path):
    _, summary = run_toy(tmp_path, missingness=SETTINGS, strategies=["sum"])
    curve = next(c for c in curves_of(summary) if c.params["pattern"] == "random")
    mine = summary.tables.curves.query("pattern == 'random' and strategy == 'sum'")
    steps = [round(100 * a) for a in mine["achieved"]]
    assert [(v, s) for n, v, s in curve.points if n == "nominal percent"] == [
        (pytest.approx(100 * r), s) for r, s in zip(mine["rate"], steps, strict=True)
    ]
    assert [s for n, _, s in curve.points if n == "curves/auroc"] == steps
    assert not any(n == "curves/achieved" for n, _, _ in curve.points)
