"""The hooks and their page say the same, argument by argument, and the page's examples are a working plugin."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from fusionbench import hookspecs
from fusionbench.contract.kinds import KINDS
from fusionbench.plugins.catalogue import Plugins
from tests.front import fusionbench, write_yaml

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "hooks.md").read_text(encoding="utf-8")
SPECS = {name: value for name, value in vars(hookspecs).items() if hasattr(value, "fusionbench_spec")}


def headings():
    return [(name, [a for a in arguments.split(", ") if a]) for name, arguments in re.findall(r"^### `(\w+)\((.*)\)`$", PAGE, re.MULTILINE)]  # fmt: skip


def example(tmp_path):
    """Put the blocks of the page together; the class of the observer comes before what registers it."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "page.py"
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def test_every_hook_is_on_the_page_with_exactly_its_arguments():
    assert headings() == [(name, list(inspect.signature(spec).parameters)) for name, spec in SPECS.items()]


def test_every_hook_has_a_docstring_that_says_when_it_is_called():
    assert [name for name, spec in SPECS.items() if "Called " not in (spec.__doc__ or "")] == []


def test_every_kind_has_its_hook_and_every_other_hook_follows_a_run():
    assert {n for n in SPECS if n.startswith("register_")} == set(KINDS.values())
    assert {n for n in SPECS if not n.startswith("register_")} == {n for n in SPECS if n.startswith("fusionbench_")}


def test_every_hook_has_an_example_in_its_own_section():
    sections = re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
    assert [s.split("(")[0] for s in sections if f"def {s.split('(')[0].strip('`')}(" not in s] == []


def test_the_examples_register_one_name_of_every_kind(tmp_path):
    plugins = Plugins([str(example(tmp_path))])
    assert plugins.failures == []
    offered = {e.kind: e.name for e in plugins.catalogue() if e.distribution == "file page.py"}
    assert offered == {
        "tasks": "coins",
        "encoders": "halved",
        "imputers": "nothing",
        "strategies": "total",
        "regularisers": "calm",
        "missingness": "late",
        "papers": "diaries",
        "executors": "patient",
        "observers": "diary",
    }


def test_the_examples_run_together_and_the_observer_sees_the_run(tmp_path):
    config = write_yaml(
        tmp_path / "coins.yaml",
        {
            "name": "coins",
            "task": "coins",
            "encoders": {"left": "halved", "right": "halved"},
            "model": {"width": 4},
            "imputers": ["nothing"],
            "strategies": [{"name": "total", "regularisers": ["calm"]}],
            "missingness": {"mechanism": "late", "rates": [0, 0.5]},
            "splits": {"folds": 2},
            "training": {"epochs": 2, "batch_size": 32},
            "evaluation": {"resamples": 100},
            "observers": ["diary"],
        },
    )
    command = ("run", config, "-p", example(tmp_path), "--workspace", tmp_path / "runs")
    first, second = [
        (fusionbench(*command), (tmp_path / "runs" / "diary.txt").read_text(encoding="utf-8").splitlines())
        for _ in "12"
    ]
    assert first[0].code == second[0].code == 0
    assert f"files in {tmp_path / 'runs'}:" in first[0].out
    assert "diary (diary.txt)" in first[0].out
    label = "total+calm / nothing, fold"
    assert first[1] == ["coins: 4 cells, 0 stored", f"{label} 0: trained", f"{label} 1: trained", "2 trained"]
    assert second[1] == ["coins: 4 cells, 4 stored", f"{label} 0: stored", f"{label} 1: stored", "0 trained"]
