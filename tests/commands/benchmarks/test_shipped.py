"""fusionbench benchmarks."""

from __future__ import annotations

import pytest

from fusionbench.commands.benchmarks.shipped import benchmark_lines, needs_of, question_of
from fusionbench.config.shipped import file_of, shipped_files
from fusionbench.errors import ConfigError
from tests.front import fusionbench


def test_each_has_a_paragraph_that_asks_something():
    lines = list(benchmark_lines(None, 200))
    names = [line for line in lines if not line.startswith(" ")]
    assert names == [file.name for file in shipped_files()]
    assert len(lines) >= 2 * len(names), "every benchmark says what it asks"


def test_what_it_needs_is_said():
    assert needs_of(file_of("mimic_ihm")) == "(Without MIMIC_ROOT: a made-up cohort.)"
    assert needs_of(file_of("mimic_strategies")) == "(Without MIMIC_ROOT: a made-up cohort.)"
    assert needs_of(file_of("breast_tcga")) == "(Needs BREAST_TCGA_ROOT: the folder of its data.)"
    assert needs_of(file_of("oracle_xor")) == ""
    assert question_of(file_of("oracle_xor")).endswith("?")


def test_one_is_shown_with_its_file_and_what_comes_next():
    outcome = fusionbench("benchmarks", "oracle_xor")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"file: {file_of('oracle_xor')}" in outcome.out
    assert outcome.out.endswith("next: fusionbench run oracle_xor --dry-run\n")
    assert "did you mean 'oracle_xor'" in fusionbench("benchmarks", "oracle_xo").err
    with pytest.raises(ConfigError):
        list(benchmark_lines("nothing"))


def test_a_name_is_run(tmp_path):
    settings = [
        "task.rows=120",
        "splits.folds=2",
        "splits.seeds=[0]",
        "training.epochs=1",
        "tuning.trials=0",
        "strategies=[concat]",
        "observers=[]",
        "imputers=[zero]",
        "expect=[]",
        "evaluation.baseline=null",
    ]
    words = [word for setting in settings for word in ("--set", setting)]
    outcome = fusionbench("run", "oracle_xor", "--workspace", tmp_path, "--quiet", *words)
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 models trained" in outcome.out
