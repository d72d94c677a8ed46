"""The sections about modalities."""

from __future__ import annotations

from dataclasses import replace

from fusionbench.analysis.words import interval
from fusionbench.report import Table, modalities, published
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


def test_published_values_stand_beside_ours_on_patients_only(finished):
    run, summary = finished
    data = summary.plan.dataset
    named = dict(zip(published.MODALITIES, data.modalities.values(), strict=True))
    task = run.benchmark.task.model_copy(update={"name": "mimic_ihm"})
    plan = replace(
        summary.plan,
        dataset=replace(data, modalities=named, synthetic=False),
        benchmark=run.benchmark.model_copy(update={"task": task}),
    )
    real = replace(summary, plan=plan)
    (table,) = [b for b in [modalities._published(real)] if b is not None]
    assert [(row[0], row[1], row[3]) for row in table.rows] == [
        (name, "ehr+cxr+report", ".811") for name in ("concat / zero", "concat / mean")
    ]
    assert published.SOURCE in table.caption
    synthetic = replace(summary, plan=replace(plan, dataset=replace(plan.dataset, synthetic=True)))
    assert modalities._published(synthetic) is None
