"""Content addresses: canonical JSON and its hash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from fusionbench.config.reading import load_benchmark
from fusionbench.config.sections import Benchmark
from fusionbench.keys import canonical, digest
from tests.front import toy_benchmark, write_yaml


def test_canonical_json_ignores_order_and_keeps_every_digit():
    assert canonical({"b": 1, "a": [0.1, True, None]}) == '{"a":[0.1,true,null],"b":1}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(0.1) != digest(0.1 + 1e-17) or 0.1 == 0.1 + 1e-17
    assert digest({"a": 1}) != digest({"a": 1.0})
    assert len(digest(None)) == 32


def test_canonical_json_of_sets_paths_and_models(tmp_path):
    assert canonical({"p": Path("a/b"), "s": {2, 1}}) == '{"p":"a/b","s":[1,2]}'
    benchmark = load_benchmark(write_yaml(tmp_path / "b.yaml", toy_benchmark()))
    assert isinstance(benchmark, Benchmark)
    head = '{"depth":null,"kind":"linear","width":null}'
    assert canonical(benchmark.model) == f'{{"dropout":0.0,"head":{head},"projection":"linear","width":4}}'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_without_a_canonical_form_are_refused(value):
    with pytest.raises(ValueError):
        canonical([value])


def test_objects_without_a_canonical_form_are_refused():
    @dataclass
    class Thing:
        x: int

    with pytest.raises(TypeError, match="Thing has no canonical form"):
        canonical(Thing(1))
