"""From stored predictions to tables: arms with gaps, tables read back, and where data go missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusionbench.config.sections import REFERENCES
from fusionbench.report.lines import ranked_board
from tests.analysis.conftest import GRID
from tests.builders import make_run, run_toy

CONDITIONS = ["complete@0", "random@0.4", "random@0.8", "a@0.4", "a@0.8"]


# --------------------------------------------------------------------------------------------
# gaps, and tables that are kept


def test_an_arm_with_a_gap_has_no_interval_and_says_so(done, tmp_path):
    run, _ = done
    gap = make_run(run.workspace, **GRID)
    lost = gap.plan.fits[0]
    path = run.store.folder / "fits" / f"{lost.key}.safetensors"
    aside = path.rename(tmp_path / path.name)
    try:
        summary = gap.execute(limit=0)
    finally:
        aside.rename(path)
    board = summary.tables.leaderboard.set_index(["strategy", "imputer"])
    line = board.loc[lost.arm.title, lost.arm.imputer_name]
    assert (line["models"], line["models_planned"]) == (3, 4)
    assert len(summary.tables.cells) == 75
    design = summary.tables.design.iloc[0]
    assert (design["folds"], design["seeds"]) == (2, 1)  # the seed that is whole is compared, for every line alike
    assert design["left_out"] == f"1 seed ({lost.seed}): not every line has every fold there"
    cells = summary.tables.cells
    mine = cells[(cells["strategy"] == lost.arm.title) & (cells["imputer"] == lost.arm.imputer_name)]
    compared = mine[(mine["seed"] != lost.seed) & (mine["pattern"] == "complete")]["auroc"].mean()
    assert line["auroc@0"] == pytest.approx(compared, abs=1e-12)


def test_an_arm_with_gaps_in_every_seed_is_not_compared_and_says_so(done, tmp_path):
    run, _ = done
    gap = make_run(run.workspace, **GRID)
    first = gap.plan.fits[0]
    lost = [f for f in gap.plan.fits if f.arm.label == first.arm.label and f.fold == first.fold]
    aside = []
    for fit in lost:
        path = run.store.folder / "fits" / f"{fit.key}.safetensors"
        aside.append((path.rename(tmp_path / path.name), path))
    try:
        summary = gap.execute(limit=0)
    finally:
        for moved, path in aside:
            moved.rename(path)
    board = summary.tables.leaderboard.set_index(["strategy", "imputer"])
    line = board.loc[first.arm.title, first.arm.imputer_name]
    assert (line["models"], line["models_planned"], line["group"]) == (2, 4, 0)
    assert np.isnan(line[["area", "area_low", "area_high"]].astype(float)).all()
    assert line["left"] == "models are missing in more than half of the seeds"
    curves = summary.tables.curves
    assert (first.arm.title, first.arm.imputer_name) not in set(zip(curves["strategy"], curves["imputer"], strict=True))


@pytest.mark.parametrize("damage", [None, "cut", "gone"])
def test_tables_that_are_read_back_are_the_same_and_damaged_ones_are_made_again(done, damage):
    run, first = done
    folders = [f for f in (run.store.folder / "tables").iterdir() if f.suffix != ".damaged"]
    path = next(f for f in folders if len(pd.read_parquet(f / "cells.parquet")) == 80) / "curves.parquet"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    if damage == "gone":
        path.unlink()
    again = make_run(run.workspace, **GRID).execute().tables
    for name in ("cells", "curves", "leaderboard"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(first.tables, name), check_exact=True)
    pd.testing.assert_frame_equal(pd.read_parquet(path), first.tables.curves, check_exact=True)


# --------------------------------------------------------------------------------------------
# where data go missing


def trained(summary):
    """Curves of lines that were trained."""
    curves = summary.tables.curves
    return curves[~curves["strategy"].isin(REFERENCES)].reset_index(drop=True)


def run_where(tmp_path, where):
    _, summary = run_toy(
        tmp_path, strategies=["sum"], missingness={"patterns": ["random", "a"], "rates": [0, 0.4, 0.8], "where": where}
    )
    assert summary.failures == []
    cells = summary.tables.cells
    scored = cells["pattern"] + "@" + cells["rate"].map("{:g}".format)
    return summary, list(zip(cells["trained_at"], scored, cells["fold"], strict=True))


def test_missing_at_test_only_trains_once_and_scores_everywhere(tmp_path):
    summary, cells = run_where(tmp_path, "test")
    assert summary.trained == 2
    assert sorted(cells) == sorted(("complete@0", c, f) for c in CONDITIONS for f in (0, 1))
    assert trained(summary)["rate"].tolist() == [0, 0.4, 0.8] * 2


def test_missing_in_training_only_scores_complete_rows_along_the_training_rate(tmp_path):
    summary, cells = run_where(tmp_path, "train")
    assert summary.trained == 10
    assert sorted(cells) == sorted((c, "complete@0", f) for c in CONDITIONS for f in (0, 1))
    curves = trained(summary)
    assert curves["rate"].tolist() == [0, 0.4, 0.8] * 2
    means = summary.tables.cells.groupby("trained_at")["auroc"].mean()
    assert curves["auroc"].tolist() == pytest.approx(
        means[["complete@0", "random@0.4", "random@0.8", "complete@0", "a@0.4", "a@0.8"]].tolist()
    )


def test_missing_in_both_scores_each_model_where_it_was_trained(tmp_path):
    summary, cells = run_where(tmp_path, "both")
    assert summary.trained == 10
    assert sorted(cells) == sorted((c, c, f) for c in CONDITIONS for f in (0, 1))
    assert trained(summary)["rate"].tolist() == [0, 0.4, 0.8] * 2
    assert len(ranked_board(summary)) == 1


def test_the_grid_scores_every_model_everywhere_and_has_a_line_for_each(tmp_path):
    summary, cells = run_where(tmp_path, "grid")
    assert summary.trained == 10
    assert sorted(cells) == sorted((t, c, f) for t in CONDITIONS for c in CONDITIONS for f in (0, 1))
    assert set(ranked_board(summary)["trained_at"]) == set(CONDITIONS)
    curves = trained(summary)
    assert len(curves) == 5 * 6
    means = summary.tables.cells.groupby(["trained_at", "pattern", "rate"])["auroc"].mean()
    for _, row in curves.iterrows():
        assert row["auroc"] == pytest.approx(
            means[row["variant"], row["pattern"] if row["rate"] else "complete", row["rate"]]
        )


def test_the_diagonal_of_the_grid_is_missing_in_both(tmp_path):
    grid, both = run_where(tmp_path, "grid")[0], run_where(tmp_path, "both")[0]
    assert both.trained == 0  # the same models, and the same masks
    cells = grid.tables.cells
    diagonal = cells[cells["trained_at"] == cells["pattern"] + "@" + cells["rate"].map("{:g}".format)]
    pd.testing.assert_frame_equal(diagonal.reset_index(drop=True), both.tables.cells)


# --------------------------------------------------------------------------------------------
# one number for each row


def test_summaries_are_only_made_for_mechanisms_that_look_at_them(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "fusionbench.run.masks.first_component", lambda v, a, t: calls.append(len(v)) or np.zeros(len(v))
    )
    make_run(tmp_path, missingness={"patterns": ["random"], "rates": [0, 0.5], "mechanism": "mcar"})
    assert calls == []
    make_run(
        tmp_path,
        missingness={"patterns": ["random"], "rates": [0, 0.5], "mechanism": "mar"},
        splits={"folds": 2, "seeds": [0, 1]},
    )
    assert calls == [120] * 6  # once for each modality and fold, not for each seed
