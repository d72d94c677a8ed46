"""The sections that hold results."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from fusionbench.analysis.words import arm_name, interval, number
from fusionbench.report import Picture, Table, results
from tests.builders import make_run, toy_dataset


def test_the_verdict_counts_who_could_be_the_best(summary):
    board = summary.tables.leaderboard

    def said(groups):
        tables = replace(summary.tables, leaderboard=board.assign(group=[*groups, 0]))
        return results.verdict(replace(summary, tables=tables))

    assert board["strategy"].iloc[-1] == "prevalence"
    assert "No line was shown to be worse than the best" in said([1, 1, 1, 1])
    assert "It is the only line that could be the best if everything were trained again; 3 lines were" in said(
        [1, 2, 2, 3]
    )
    assert "2 lines could be the best if everything were trained again (group 1); 2 lines were" in said([1, 1, 2, 2])
    assert "3 lines could be the best if everything were trained again (group 1); 1 line was" in said([1, 1, 1, 2])
    assert "could be" not in said([0, 0, 0, 0])


def test_the_verdict_says_what_the_run_did_not_see(summary):
    def said(**changes):
        design = summary.tables.design.assign(**changes)
        return results.verdict(replace(summary, tables=replace(summary.tables, design=design)))

    assert "One seed: the chance of training is seen only through the folds" in said()
    assert "shows a difference of .020 between two lines" in said(smallest_detectable=0.02)
    assert "shows a difference" not in said(smallest_detectable=float("nan"))
    assert "Unstable over seeds, with a variance of their own (marked *): lmf / zero." in said(
        unstable_lines="lmf / zero"
    )
    assert "Not compared: lmf / zero: no model is there." in said(left_out="lmf / zero: no model is there")


def test_with_one_missing_rate_there_is_no_curve_to_draw(tmp_path, undrawn):
    one = {"patterns": ["natural"], "rates": [0]}
    run = make_run(tmp_path, toy_dataset(), tuning={"trials": 0}, missingness=one)
    found = results.curves(run.execute())
    assert [b for b in found.every() if isinstance(b, Picture)] == []
    assert found.blocks[0].words == "There is one missing rate, 0 %, and so no curve."
    assert len([b for b in found.every() if isinstance(b, Table)]) == 2


def test_in_a_grid_every_training_condition_meets_every_test_condition(tmp_path, undrawn):
    run = make_run(tmp_path, toy_dataset(), missingness={"rates": [0, 0.5], "where": "grid"}, strategies=["concat"])
    summary = run.execute()
    (table,) = [b for b in results.grid(summary).blocks if isinstance(b, Table)]
    assert table.columns == ["trained at", "complete@0", "random@0.5"]
    assert [row[0] for row in table.rows] == ["complete@0", "random@0.5"]
    cells = summary.tables.cells
    mine = cells[(cells["trained_at"] == "random@0.5") & (cells["pattern"] == "complete")]["auroc"]
    assert table.rows[1][1] == number(mine.mean())


def test_sections_are_those_that_the_run_has_data_for_and_none_without_a_complete_line(summary, undrawn):
    assert [s.title for s in results.result_sections(summary)] == [
        "Differences as more is missing",
        "Quality against cost",
        "Leaderboard",
        "Degradation curves",
        "Modality subsets",
        "Ablation",
        "What each modality is worth",
        "Where these data lie on the map of regimes",
        "Calibration",
        "Pairs",
        "Tuning",
        "Validation score over epochs",
        "Line by line",
    ]
    one_by_one = [
        s.title for s in results.result_sections(summary) for _ in results.result_sections(summary, [s.title])
    ]
    assert one_by_one == [s.title for s in results.result_sections(summary)]  # asked for by its title, each is found
    assert list(results.result_sections(summary, ["nothing"])) == []
    board = summary.tables.leaderboard.assign(area=float("nan"))
    assert list(results.result_sections(replace(summary, tables=replace(summary.tables, leaderboard=board)))) == []


def test_the_verdict_names_the_best_line_with_its_interval(summary):
    best = summary.tables.leaderboard.iloc[0]
    assert results.verdict(summary).startswith(
        f"The highest line is {best['strategy']} / {best['imputer']}: mean AUROC over all curves {interval(best, 'area')}."
    )
    brier = replace(summary, plan=replace(summary.plan, dataset=replace(summary.plan.dataset, metric="brier")))
    assert results.verdict(brier).startswith("The lowest line is ")


def test_a_line_that_is_alone_is_compared_with_nobody(summary):
    design = summary.tables.design.assign(not_seen="", lines=1, smallest_detectable=float("nan"))
    tables = replace(summary.tables, leaderboard=summary.tables.leaderboard.iloc[:1], design=design)
    said = results.verdict(replace(summary, tables=tables))
    assert said.count(". ") == 0
    assert "differ" not in said


def test_a_line_with_gaps_says_how_many_of_its_models_are_there(summary, undrawn):
    board = summary.tables.leaderboard.copy()
    board.loc[board.index[0], ["models", "area", "group"]] = [1, float("nan"), 0]
    table = results.leaderboard(replace(summary, tables=replace(summary.tables, leaderboard=board))).blocks[1]
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert cells["group"] == "-"
    assert "incomplete: 1 of 2 models" in cells.values()


def test_the_numbers_of_a_curve_stand_by_missing_rate_and_those_really_hidden_below(summary, undrawn):
    (part,) = results.curves(summary).parts
    curves, (random, alone, achieved) = summary.tables.curves, part.blocks
    for pattern, table in (("random", random), ("a", alone)):
        assert table.columns == ["strategy / imputer", "0 %", "50 %"]
        mine = curves[curves["pattern"] == pattern].set_index(["strategy", "imputer", "rate"])
        lines = dict.fromkeys((s, i) for s, i, _ in mine.index)
        wanted = {arm_name(*line): [interval(mine.loc[(*line, r)], "auroc") for r in (0, 0.5)] for line in lines}
        assert {row[0]: list(row[1:]) for row in table.rows} == wanted
    assert achieved.columns == ["pattern", "nominal", "a", "b", "c", "all cells", "rows that lose any"]
    rows = {(row[0], row[1]): row[2:] for row in achieved.rows}
    assert rows["complete", "0 %"] == ["0 %"] * 5
    assert rows["a", "50 %"][1:3] == ["0 %"] * 2


def test_without_repetitions_there_is_no_picture_of_a_ranking(summary, undrawn):
    board = summary.tables.leaderboard
    once = replace(summary, tables=replace(summary.tables, leaderboard=board.assign(group=0)))
    drawn = [b.name for b in results.leaderboard(once).blocks if isinstance(b, Picture)]
    assert drawn == []
    assert [b.name for b in results.leaderboard(summary).blocks if isinstance(b, Picture)] != drawn


def test_there_is_no_grid_where_models_are_trained_once(summary):
    assert results.grid(summary) is None


def board(**lines):
    rows = [
        {"strategy": n, "imputer": "zero", "variant": "", "models": m, "trials": 4, "epochs_allowed": e}
        for n, (m, e) in lines.items()
    ]
    return pd.DataFrame(rows)


def test_the_sentence_on_the_budget_is_made_of_the_ledgers_numbers():
    same = results.budget(board(concat=(2, 50), sum=(2, 50)))
    assert same.startswith("Every line had the same number of trials and the same limit of epochs, 25 for a model.")
    other = results.budget(board(concat=(2, 50), sum=(1, 25), medfuse=(2, 76), g_blend=(2, 130), gone=(0, 0)))
    assert (
        "a limit of epochs for a model of 25, but 38 for medfuse / zero; 65 for g_blend / zero, whose stages" in other
    )
    apart = results.budget(pd.concat([board(concat=(1, 5)).assign(trials=3), board(sum=(1, 5))]))
    assert apart.startswith("Lines had different numbers of trials and the same limit")
