"""Published values: those of the paper, and where they stand."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fusionbench.plugins.catalogue import Plugins
from fusionbench.report import published


def test_published_values_are_those_of_the_table():
    assert published.published("dwfuse", "ehr+cxr+report") == 0.859
    assert published.published("g_blend", "cxr+report") == 0.738
    assert published.published("unimodal", "ehr") == 0.828
    assert published.published("unimodal", "cxr") is None
    assert published.published("tmc", "ehr+cxr") is None
    assert published.published("concat", "cxr") is None


def test_why_published_values_do_not_stand_on_the_page_is_said_where_somebody_would_look_for_them(finished):
    run, summary = finished

    def said(task, **data):
        benchmark = run.benchmark.model_copy(update={"task": run.benchmark.task.model_copy(update={"name": task})})
        dataset = replace(summary.plan.dataset, **data)
        return published.why_not(replace(summary.plan, benchmark=benchmark, dataset=dataset))

    names = dict(zip(("ehr", "cxr", "report"), summary.plan.dataset.modalities.values(), strict=True))
    assert said("mimic_ihm", modalities=names, synthetic=False) is None  # they do stand there
    assert said("toy", synthetic=False) is None
    assert "This cohort is synthetic" in said("mimic_ihm", modalities=names, synthetic=True)
    other = said("mimic_phenotyping", modalities=names, synthetic=False, metric="auprc")
    assert other.startswith("Other data: ")
    assert not re.search(r"\.8\d\d", other)


@pytest.mark.parametrize("modalities", ["ehr+cxr+report", "ehr+cxr", "ehr+report", "cxr+report"])
def test_the_method_of_the_paper_is_the_best_of_its_table(modalities):
    names = Plugins().names("strategies")
    values = {name: published.published(name, modalities) for name in names}
    given = {name: value for name, value in values.items() if value is not None}
    assert max(given, key=given.get) == "dwfuse"
    assert len(given) == 8


def test_values_apply_to_patients_with_the_same_modalities_in_the_same_order_and_the_same_metric_only():
    def applies(task="mimic_ihm", names=published.MODALITIES, metric="auroc", synthetic=False):
        data = SimpleNamespace(metric=metric, modalities=dict.fromkeys(names), synthetic=synthetic)
        benchmark = SimpleNamespace(task=SimpleNamespace(name=task))
        return published.applies(SimpleNamespace(dataset=data, benchmark=benchmark))

    assert applies()
    assert not applies(task="mimic_phenotyping")
    assert not applies(names=("ehr", "cxr"))
    assert not applies(metric="auprc")
    assert not applies(synthetic=True)
