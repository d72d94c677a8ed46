"""The sections about modalities."""

from __future__ import annotations

from dataclasses import replace

from fusionbench.analysis.words import interval
from fusionbench.report import Picture, Table, modalities
from fusionbench.report.lines import ranked_arms
from tests.builders import make_run, toy_dataset


def test_models_trained_on_some_modalities_stand_by_strategy_and_set(tmp_path, undrawn):
    pairs = [{"name": n, "modalities": m} for m in (["a", "b"], ["a", "c"]) for n in ("concat", "sum")]
    alone = {"name": "unimodal", "modality": "a", "label": "a only"}
    hiding = {"name": "concat", "label": "hiding", "corruption": {"policy": "bernoulli", "rate": 0.3}}
    run = make_run(
        tmp_path,
        toy_dataset(),
        strategies=[alone, *pairs, "concat", hiding],
        tuning={"trials": 0},
        missingness={"patterns": ["natural"], "rates": [0]},
    )
    summary = run.execute()
    trained, shown = [b for b in modalities.subsets(summary).blocks if isinstance(b, Table)]
    assert list(trained.columns) == ["strategy / imputer", "a", "a+b", "a+c", "a+b+c"]
    dashes = [[cell == "-" for cell in row[1:]] for row in trained.rows]
    assert [row[0] for row in trained.rows] == ["unimodal / zero", "concat / zero", "sum / zero"]
    assert dashes == [[False, True, True, True], [True, False, False, False], [True, False, False, True]]
    board = summary.tables.leaderboard.set_index("strategy")
    assert trained.rows[1][3] == interval(board.loc["concat on a+c"], "area")
    blind = {row[0]: row[1:] for row in shown.rows}["a only / zero"]
    columns = list(shown.columns)[1:]
    assert [c for c, cell in zip(columns, blind, strict=True) if cell == "-"] == ["b", "c", "b+c"]


def test_what_a_line_cannot_read_is_a_dash_and_everything_shown_is_the_complete_value(summary):
    (table,) = [b for b in modalities.subsets(summary).blocks if isinstance(b, Table)]
    assert list(table.columns) == ["strategy / imputer", "a", "b", "c", "a+b", "a+c", "b+c", "a+b+c"]
    row = next(row for row in table.rows if row[0] == "a only / zero")
    assert [cell == "-" for cell in row[1:]] == [False, True, True, False, False, True, False]
    curves = summary.tables.curves
    complete = curves[(curves["strategy"] == "a only") & (curves["rate"] == 0)].iloc[0]
    assert row[-1] == interval(complete, "auroc")
    assert table.caption.endswith("-: the line reads none of them.")


def test_subsets_that_were_not_scored_have_no_table(summary):
    tables = replace(summary.tables, subsets=summary.tables.subsets.iloc[:0])
    assert modalities.subsets(replace(summary, tables=tables)) is None


def test_shapley_values_stand_in_the_order_of_the_leaderboard_with_those_of_the_table(summary, undrawn):
    table = modalities.modalities(summary).blocks[-1]
    order = [f"{s} / {i}" for s, i in ranked_arms(summary)]
    assert list(dict.fromkeys(row[0] for row in table.rows)) == [
        name for name in order if name in {r[0] for r in table.rows}
    ]
    found = summary.tables.modalities.set_index(["strategy", "imputer", "modality"])
    for row in table.rows:
        strategy, imputer = row[0].split(" / ")
        assert row[2] == interval(found.loc[strategy, imputer, row[1]], "shapley")


def test_laziness_is_drawn_where_a_modality_was_trained_alone(summary, undrawn):
    names = [b.name for b in modalities.modalities(summary).blocks if isinstance(b, Picture)]
    assert names == ["shapley", "laziness"]
    unknown = summary.tables.modalities.assign(laziness=float("nan"))
    without = replace(summary, tables=replace(summary.tables, modalities=unknown))
    assert [b.name for b in modalities.modalities(without).blocks if isinstance(b, Picture)] == ["shapley"]


def test_lines_without_an_area_have_no_values_of_modalities(summary):
    board = summary.tables.leaderboard.assign(area=float("nan"))
    assert modalities.modalities(replace(summary, tables=replace(summary.tables, leaderboard=board))) is None
