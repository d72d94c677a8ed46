"""The sections about a run."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from packaging.requirements import Requirement

from fusionbench import FunnelStep
from fusionbench.analysis.words import number
from fusionbench.report import Table, Text, about
from tests.builders import make_run, toy_dataset


def test_what_failed_is_listed_with_its_reason_and_an_interruption_is_said(summary):
    found = about.failures(replace(summary, failures=[("lmf / zero, fold 0", "diverged")], interrupted=True))
    (table,) = [b for b in found.blocks if isinstance(b, Table)]
    assert table.rows == [["lmf / zero, fold 0", "diverged"]]
    assert [b.words for b in found.blocks if isinstance(b, Text)] == [
        "The run was interrupted; the same command goes on where it stopped."
    ]


def test_folders_and_servers_of_this_machine_are_not_on_the_page(tmp_path):
    run = make_run(
        tmp_path,
        toy_dataset(),
        tracking={"uri": "http://user:secret@server"},
        encoders={"a": "identity", "b": "identity", "c": "identity"},
    )
    plan = replace(run.plan, benchmark=run.benchmark.model_copy(update={"task": run.benchmark.task.model_copy()}))
    plan.benchmark.task.__pydantic_extra__["root"] = "/data/of/somebody/mimic-iv"
    text = about.configuration(plan)
    assert "root: '.../mimic-iv'" in text
    assert "secret" not in text
    assert "somebody" not in text


def test_the_protocol_says_what_was_done(summary):
    (protocol,) = about.protocol(summary).blocks
    points = " ".join(protocol.points)
    assert "200 rows of 100 patients or groups; modalities a, b and c." in points
    assert "2 folds by patient, 1 seed each" in points
    assert "patterns random and a at 0 % and 50 %, mechanism mcar." in points
    assert "Budget: 2 trials for each line and fold over learning rate" in points
    assert "with 100 resamples" in points
    assert "pairs and groups come from one rule" in points


def test_the_budget_says_on_how_many_inner_folds_trials_are_compared(summary):
    plan = summary.plan
    studies = [replace(s, inner=2 + s.fold) for s in plan.studies]
    (protocol,) = about.protocol(replace(summary, plan=replace(plan, studies=studies))).blocks
    (budget,) = [p for p in protocol.points if p.startswith("Budget:")]
    assert "each compared over 2 to 3 inner folds of the development rows; at most" in budget
    (protocol,) = about.protocol(summary).blocks
    assert not any("inner folds" in p for p in protocol.points)


def test_without_tuning_the_budget_says_so(summary):
    benchmark = summary.plan.benchmark
    plain = benchmark.model_copy(update={"tuning": benchmark.tuning.model_copy(update={"trials": 0}), "question": ""})
    (protocol,) = about.protocol(replace(summary, plan=replace(summary.plan, benchmark=plain))).blocks
    assert [p for p in protocol.points if p.startswith("Budget:")] == [
        "Budget: no tuning, every line with its defaults; at most 2 epochs."
    ]


def test_the_cohort_counts_what_rows_have_and_how_many_have_the_label(summary):
    data = summary.plan.dataset
    have, predicted = [b for b in about.cohort(summary).blocks if isinstance(b, Table)]
    assert [[row[0], int(row[2])] for row in have.rows] == [
        [name, int(data.available[:, i].sum())] for i, name in enumerate("abc")
    ]
    assert predicted.rows == [["y", str(data.target.sum()), f"{data.target.sum() / 2:.3g} %"]]


def test_the_funnel_is_shown_as_shares_of_its_largest_step(summary):
    funnel = (FunnelStep("all stays", 400), FunnelStep("of adults", 100, "age of 18 or more"))
    found = replace(summary, plan=replace(summary.plan, dataset=replace(summary.plan.dataset, funnel=funnel)))
    assert about.cohort(found).blocks[0].rows == [
        ["all stays", "-", "400", "100 %"],
        ["of adults", "age of 18 or more", "100", "25 %"],
    ]


def test_classes_are_counted_one_by_one(summary):
    target = np.arange(200) % 4
    data = replace(summary.plan.dataset, kind="multiclass", target=target, outputs=("r", "g", "b", "k"))
    found = replace(summary, plan=replace(summary.plan, dataset=data), notes=[])
    assert about.cohort(found).blocks[-1].rows == [[name, "50", "25 %"] for name in "rgbk"]


class Stored:
    """A result store that holds some models with a study of two finished trials."""

    def __init__(self, holds):
        self.holds = holds

    def load(self, key):
        return SimpleNamespace(options={"learning_rate": 0.00123456, "batch_size": 32}) if self.holds(key) else None

    def scored(self, key):
        return {"everything"} if self.holds(key) else set()

    def sealed_study(self, key):
        trials = [{"score": 0.7}, {"score": None}, {"score": 0.8}]
        return {"trials": trials, "winner": {"number": 2}}


def test_what_won_is_listed_with_the_scores_of_its_study(summary):
    first = summary.plan.fits[0]
    (row,) = about.hyperparameters(summary.plan, Stored(lambda key: key == first.key)).rows
    assert row == [
        "concat / zero", "0", "0", "complete@0", "3", "2", number(0.8), ".700 to .800", "batch_size 32, learning_rate 0.00123"
    ]  # fmt: skip
    assert about.hyperparameters(summary.plan, Stored(lambda _: False)) is None


def test_lines_with_gaps_are_counted_and_complete_ones_are_not_mentioned(summary):
    class OneMissing(Stored):
        def scored(self, key):
            return {label for fit in summary.plan.fits for label in fit.labels} if self.holds(key) else set()

    gone = summary.plan.fits[0]
    assert about.missing(summary.plan, OneMissing(lambda key: key != gone.key)) == [
        f"{gone.arm.label}: 1 model of 2 missing"
    ]
    assert about.missing(summary.plan, OneMissing(lambda _: True)) == []


def test_every_part_of_a_run_is_identified_by_its_role(summary):
    found = about.identities(summary.plan)
    assert {"task", "strategy concat", "strategy unimodal", "imputer zero", "imputer mean"} <= set(found)
    assert all(part["name"] for part in found.values())


def test_versions_are_those_of_what_runs_here():
    found = about.environment()
    assert found["numpy"] == np.__version__
    assert {"fusionbench", "protocol", "python", "system", "torch", "mlflow"} <= set(found)
    assert not {"pytest", "ruff"} & set(found)  # nothing that only its development needs


@pytest.mark.parametrize(
    ("name", "wanted"), [("no-such-distribution-of-anybody", "not installed"), ("numpy", np.__version__)]
)
def test_a_package_that_is_not_there_is_said_to_be_missing(name, wanted, monkeypatch):
    monkeypatch.setattr(about, "required", lambda: [Requirement(name)])
    assert about.environment()[name] == wanted
