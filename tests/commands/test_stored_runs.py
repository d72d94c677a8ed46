"""Runs that were kept: found by folder, and two of them judged together."""

from __future__ import annotations

import pytest

from fusionbench.commands.stored_runs import Pairing, find_run
from fusionbench.errors import DataError
from fusionbench.plan.lines import Line
from fusionbench.plugins.catalogue import Plugins
from tests.front import TOY, fusionbench, toy_benchmark, write_yaml

CHANGES = {
    "task": {"name": "toy", "rows": 240},
    "training": {"epochs": 3, "batch_size": 32},
    "splits": {"folds": 2, "seeds": [0, 1]},
    "observers": ["html"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that differ in their epochs."""
    folder = tmp_path_factory.mktemp("stored")
    for name, epochs in (("a", 3), ("b", 9)):
        changes = CHANGES | {"training": {"epochs": epochs, "batch_size": 32}, "strategies": ["concat", "sum"]}
        found = fusionbench("run", write_yaml(folder / f"{name}.yaml", toy_benchmark(**changes)), "-p", TOY,
                            "--workspace", folder / name, "--quiet")  # fmt: skip
        assert found.code == 0, found.err
    return find_run(folder / "a"), find_run(folder / "b")


def test_differences_are_those_of_the_areas(runs):
    pairing = Pairing(*runs, Plugins([TOY]))
    lines = [Line("concat", "zero"), Line("sum", "zero")]
    assert [pairing.why_not(line) for line in lines] == ["", ""]
    found, said = pairing.differences(lines)
    assert said == []
    for line in lines:
        areas = [run.board[line]["area"] for run in runs]
        assert found[line].value == pytest.approx(areas[1] - areas[0], abs=1e-9)
        assert found[line].low <= found[line].value <= found[line].high
        assert found[line].p_adjusted >= found[line].p - 0.01


def test_a_run_and_itself_are_the_same(runs):
    found, _ = Pairing(runs[0], runs[0], Plugins([TOY])).differences([Line("concat", "zero")])
    difference = found["concat", "zero", ""]
    assert (difference.value, difference.low, difference.high, difference.p_these_models) == (0, 0, 0, 1)


def test_nothing_is_compared_of_no_line(runs):
    assert Pairing(*runs, Plugins([TOY])).differences([]) == ({}, [])


def test_the_prevalence_is_no_line_of_a_run(runs):
    assert [line.strategy for line in runs[0].board] == sorted(
        ("concat", "sum"), key=lambda name: -runs[0].board[name, "zero", ""]["area"]
    )


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="neither a workspace nor a report folder"):
        find_run(tmp_path)
