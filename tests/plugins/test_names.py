"""The names in a benchmark: all that is wrong is said at once, and nothing is loaded for it."""

from __future__ import annotations

import pytest

from fusionbench.config.reading import load_benchmark
from fusionbench.errors import ConfigError
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.names import check_names, check_plugins
from fusionbench.plugins.resolving import resolve
from tests.front import TOY, toy_benchmark, write_yaml


def named(tmp_path, **changes):
    return load_benchmark(write_yaml(tmp_path / "b.yaml", toy_benchmark(**changes)), [], {})


def where(location):
    return f"{'.'.join(map(str, location))}: "


def test_every_unknown_name_is_reported_at_once_and_nothing_is_loaded(tmp_path):
    benchmark = named(
        tmp_path,
        task="toi",
        encoders={"a": "identty"},
        imputers=["zeros"],
        strategies=[{"name": "conct", "imputers": ["meen"], "regularisers": ["tlaa"]}],
        missingness={"mechanism": "mcarr"},
        observers=["file"],
    )
    found = check_names(benchmark, Plugins([TOY]), where)
    assert [p.split("\n")[0] for p in found] == [
        "task.name: no task named 'toi'; did you mean 'toy'?",
        "encoders.a.name: no encoder named 'identty'; did you mean 'identity'?",
        "imputers.0.name: no imputer named 'zeros'; did you mean 'zero'?",
        "strategies.0.name: no fusion strategy named 'conct'; did you mean 'concat'?",
        "strategies.0.imputers.0.name: no imputer named 'meen'; did you mean 'mean'?",
        "strategies.0.regularisers.0.name: no regulariser named 'tlaa'; did you mean 'tla'?",
        "missingness.mechanism.name: no missingness mechanism named 'mcarr'; did you mean 'mcar'?",
        "observers.0.name: no observer named 'file'; did you mean 'files'?",
    ]
    with pytest.raises(ConfigError) as caught:
        resolve(benchmark, Plugins([TOY]), where)
    assert caught.value.problems == found


def test_options_of_every_plugin_are_checked_at_once_before_any_data_are_read(tmp_path):
    benchmark = named(
        tmp_path,
        task={"name": "toy", "row": 1},
        encoders={"a": {"name": "mlp", "hiden": 1}},
        imputers=[{"name": "mean", "x": 1}],
        strategies=[{"name": "concat", "regularisers": [{"name": "tla", "x": 1}]}, "unimodal"],
        missingness={"mechanism": {"name": "mcar", "x": 1}},
        observers=[{"name": "files", "x": 1}],
    )
    found = check_plugins(benchmark, Plugins([TOY]), where)
    assert [p.split("\n")[0] for p in found] == [
        "task: task 'toy' has no option 'row'; did you mean 'rows'?",
        "encoders.a: encoder 'mlp' has no option 'hiden'; did you mean 'hidden'?",
        "imputers.0: imputer 'mean' has no option 'x'",
        "strategies.0.regularisers.0: regulariser 'tla' has no option 'x'",
        "strategies.1: fusion strategy 'unimodal': missing a required argument: 'modality'",
        "missingness.mechanism: missingness mechanism 'mcar' has no option 'x'",
        "observers.0: observer 'files' has no option 'x'",
    ]
    with pytest.raises(ConfigError) as caught:
        resolve(benchmark, Plugins([TOY]), where)
    assert caught.value.problems == found
