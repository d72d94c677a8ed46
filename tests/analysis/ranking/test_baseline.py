"""Which line the others are held against."""

from __future__ import annotations

import pytest

from fusionbench.analysis.ranking.baseline import baseline_of
from fusionbench.missingness.conditions import COMPLETE, condition_label
from fusionbench.plan.lines import Line, model_of
from tests.builders import make_benchmark, make_run

NAMES = ["a", "b"]


def chosen(run, wanted=None, where="test", without=(), reads=None):
    """The baseline among the lines of a run."""
    lines = [Line(a.title, a.imputer_name) for a in run.resolved.arms]
    if where == "grid":
        lines = list(dict.fromkeys(model_of(f, f.scored[0], where).line for f in run.plan.fits))
    ranked = [line for line in lines if line not in without]
    return baseline_of(wanted, run.plan.fits, ranked, where, reads or {}, NAMES)


def test_the_plain_strategy_is_it_wherever_it_stands(tmp_path):
    run = make_run(tmp_path, strategies=["sum", "concat", "logistic_regression"])
    assert chosen(run) == Line("concat", "zero")


def test_without_a_plain_one_the_first_that_is_trained_and_reads_everything(tmp_path):
    run = make_run(
        tmp_path, strategies=["logistic_regression", {"name": "unimodal", "modality": "a"}, "se_gate", "sum"]
    )
    reads = {("unimodal", "zero"): ("a",)}
    assert chosen(run, reads=reads) == Line("se_gate", "zero")
    assert chosen(run, reads=reads, without=[Line("se_gate", "zero")]) == Line("sum", "zero")
    assert (
        chosen(run, reads=reads, without=[Line("se_gate", "zero"), Line("sum", "zero")]).strategy
        == "logistic_regression"
    )


def test_a_file_may_name_it_with_or_without_imputer(tmp_path):
    run = make_run(tmp_path, strategies=["concat", "sum"], imputers=["zero", "mean"])
    assert chosen(run, "sum") == Line("sum", "zero")
    assert chosen(run, "sum / mean") == Line("sum", "mean")
    assert chosen(run, "sum / mean", without=[Line("sum", "mean")]) is None


def test_in_a_grid_it_is_what_was_trained_with_everything(tmp_path):
    run = make_run(tmp_path, strategies=["concat"], missingness={"rates": [0.5, 0], "where": "grid"})
    assert chosen(run, where="grid").variant == condition_label(COMPLETE)


def test_a_name_that_no_strategy_has_is_refused_with_a_hint():
    with pytest.raises(ValueError, match=r"evaluation.baseline: no strategy of this file is called 'summ'.*'sum'"):
        make_benchmark(strategies=["concat", "sum"], evaluation={"baseline": "summ"})
    made = make_benchmark(
        strategies=["concat", {"name": "sum", "label": "added"}], evaluation={"baseline": "added / zero"}
    )
    assert made.evaluation.baseline == "added / zero"


def test_nothing_compared_has_no_baseline(tmp_path):
    run = make_run(tmp_path, strategies=["concat"])
    assert chosen(run, without=[Line("concat", "zero")]) is None
