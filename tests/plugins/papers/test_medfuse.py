"""MedFuse's published values are second hand, and say so; the paper's parts have their files."""

from __future__ import annotations

import pytest

from fusionbench.analysis.published import read_values
from fusionbench.config.reading import load_benchmark
from fusionbench_plugins.papers.medfuse import MedFuse

# task, metric, label: value, from the summary
QUOTED = {
    ("mortality, paired", "auroc", "MedFuse (optimal)"): 0.865,
    ("mortality, paired", "auprc", "MedFuse (optimal)"): 0.594,
    ("mortality, paired", "auroc", "Unified"): 0.835,
    ("mortality, paired", "auprc", "Unified"): 0.495,
    ("mortality, partially paired", "auroc", "MedFuse (optimal)"): 0.874,
    ("mortality, partially paired", "auprc", "MedFuse (optimal)"): 0.567,
}


def test_its_values_are_those_that_are_quoted_and_second_hand():
    values = read_values(MedFuse.published)
    assert {(v.table, v.metric, v.row): v.value for v in values} == QUOTED
    assert {v.hand for v in values} == {"second"}
    assert {v.modalities for v in values} == {"ehr+cxr"}


def test_every_part_has_a_file():
    assert [f for part in MedFuse.parts for f in part.files if not (MedFuse.folder / f).is_file()] == []


@pytest.mark.parametrize(
    ("file", "cohort", "table"),
    [
        ("mortality_paired", ["ehr", "cxr"], "mortality, paired"),
        ("mortality_partial", "partial", "mortality, partially paired"),
    ],
)
def test_values_are_about_the_line_of_their_own_cohort_and_no_other(file, cohort, table):
    benchmark = load_benchmark(MedFuse.folder / "medfuse" / f"{file}.yaml", environ={})
    assert benchmark.task.options["cohort"] == cohort
    labels = {s.label for s in benchmark.strategies}
    values = [v for v in read_values(MedFuse.published) if v.label.startswith("MedFuse")]
    assert {v.table for v in values if v.label in labels} == {table}
    assert {v.strategy for v in values} == {""}  # a run of another file, with a plain medfuse, is about neither
