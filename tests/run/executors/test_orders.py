"""A place must be like the one that a run was started in, or nothing is trained there."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionbench.errors import ConfigError
from fusionbench.run.executors.orders import check_alike, core_source, facts_of
from tests.builders import make_run
from tests.front import TOY


def test_versions_and_sources_are_what_must_be_alike(tmp_path):
    run = make_run(tmp_path, strategies=["concat", {"name": "sum", "regularisers": ["tla"]}])
    facts = facts_of(run.resolved)
    assert {"fusionbench", "torch", "numpy", "optuna", "Python"} < facts.keys()
    assert core_source() in facts["fusionbench"]
    named = [name for name in facts if "'" in name]
    assert [n.split("'")[1] for n in named] == ["identity", "concat", "zero", "sum", "tla", "mcar"]
    assert all(facts[name].startswith("source ") for name in named)


def test_a_changed_plugin_is_another_fact(tmp_path):
    facts = []
    for text in ("", "# changed\n"):
        plugin = tmp_path / "mine.py"
        plugin.write_text(Path(TOY).read_text(encoding="utf-8").replace('"toy"', '"mine"') + text, encoding="utf-8")
        run = make_run(tmp_path / "runs", plugins=[str(plugin)], task={"name": "toy", "rows": 120})
        facts.append(facts_of(run.resolved))
    assert facts[0] == facts[1]  # the task itself prepares nothing on a worker


def test_what_differs_is_said_all_at_once_with_both_sides():
    wanted = {"torch": "2.14.1", "numpy": "2.4", "fusion strategy 'mine' of file mine.py": "source aaa"}
    here = {"torch": "2.13.0", "numpy": "2.4", "Python": "3.12"}
    with pytest.raises(ConfigError) as problem:
        check_alike(wanted, here, "the worker on node7")
    said = str(problem.value)
    assert "torch: 2.14.1 where the run was started, 2.13.0 on the worker on node7" in said
    assert "'mine' of file mine.py: source aaa where the run was started, not there on the worker on node7" in said
    assert "Python: not there where the run was started, 3.12 on the worker on node7" in said
    assert "numpy" not in said
    assert "install the same versions" in said


def test_what_is_alike_is_nothing_to_say():
    check_alike({"torch": "2"}, {"torch": "2"}, "here")
