"""Options of plugins that are not loaded: read from the source, and the same as the loaded class says."""

from __future__ import annotations

import pytest

from fusionbench.contract.registration import GIVEN, option_names
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.unloaded import accepted_options, problem_with_options

PLUGINS = Plugins()
BUILT_IN = [(e.kind, e.name, e.module) for e in PLUGINS.catalogue() if e.module.startswith("fusionbench_plugins.")]


@pytest.mark.parametrize(("kind", "name", "module"), BUILT_IN)
def test_what_the_source_says_is_what_the_class_says(kind, name, module):
    found = accepted_options(kind, name, module)
    assert found is None or found == option_names(PLUGINS.get(kind, name).target, skip=GIVEN[kind])


def test_the_source_of_most_built_ins_says_it():
    told = [name for kind, name, module in BUILT_IN if accepted_options(kind, name, module) is not None]
    assert {"mlp", "hf_text", "concat", "table", "mimic_ihm"} <= set(told)


def test_unknown_options_are_all_named_with_what_is_near():
    said = problem_with_options("encoders", "mlp", "fusionbench_plugins.encoders.mlp", ["hiden", "dropout", "zzz"])
    assert said == (
        "encoder 'mlp' has no option 'hiden'; did you mean 'hidden'? and no option 'zzz'\n"
        "  accepted: hidden, output_dim, dropout"
    )
    assert problem_with_options("encoders", "mlp", "fusionbench_plugins.encoders.mlp", ["dropout"]) is None


@pytest.mark.parametrize("module", ["no_such_module_at_all", "sys", "fusionbench_plugins.encoders.identity"])
def test_where_the_source_does_not_tell_nothing_is_said(module):
    assert problem_with_options("encoders", "mlp", module, ["hiden"]) is None


def test_classes_that_take_anything_are_believed(tmp_path, monkeypatch):
    (tmp_path / "open_ended.py").write_text(
        "class A:\n    def __init__(self, spec, **more): ...\n\n"
        "def register_encoders(register):\n    register('a', A)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert accepted_options("encoders", "a", "open_ended") is None
