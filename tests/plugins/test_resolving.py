"""Every name of a benchmark, looked up and loaded."""

from __future__ import annotations

from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from tests.front import TOY
from tests.plugins.test_names import named, where


def test_resolving_makes_one_arm_for_each_strategy_and_imputer(tmp_path):
    benchmark = named(tmp_path, imputers=["zero", "mean"], strategies=["concat", {"name": "sum", "imputers": ["zero"]}])
    resolved = resolve(benchmark, Plugins([TOY]), where)
    assert [a.label for a in resolved.arms] == ["concat / zero", "concat / mean", "sum / zero"]
    assert resolved.arms[2].imputer.where == "strategies.1.imputers.0"
    assert resolved.task.where == "task"
