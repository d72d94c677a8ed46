"""What a caller asks for, as a file says it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from fusionbench.api.asking import Asked
from fusionbench.errors import ConfigError
from fusionbench.plugins.catalogue import Plugins
from tests.api.toys import BENCHMARK, Plain


def test_strategies_may_stand_in_place_of_those_of_the_benchmark():
    given = Asked({"task": "planted", **BENCHMARK}, ["lmf"], {}, Plugins(), beside=False)
    assert document(given)["strategies"] == ["lmf"]


def asked(benchmark=BENCHMARK, strategies=(), **settings):
    return Asked(
        {"task": "planted", **benchmark} if isinstance(benchmark, dict) else benchmark, strategies, settings, Plugins()
    )


def document(found):
    with found.read(None) as (readings, path):
        (reading,) = readings.readings.values()
        assert readings.problems == []
        assert path.is_file()
    return reading.document


def test_strategies_are_added_beside_those_of_the_benchmark_and_none_twice():
    found = document(asked(strategies=["sum", {"name": Plain, "scale": 2.0}, "lmf"]))
    assert found["strategies"] == ["concat", "sum", {"name": "plain", "scale": 2.0}, "lmf"]


def test_settings_are_laid_over_key_by_key_and_small_numbers_stay_numbers():
    found = document(asked(training={"learning_rate": np.float64(1e-5), "epochs": 3}, imputers=("zero", "mean")))
    assert found["training"] == {"epochs": 3, "learning_rate": 1e-5}
    assert found["imputers"] == ["zero", "mean"]
    assert document(asked(**{"training.epochs": 7}))["training"]["epochs"] == 7


def test_a_path_is_text_and_a_file_is_left_where_it_is(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text(yaml.safe_dump({"task": "planted", **BENCHMARK}), encoding="utf-8")
    assert document(asked(path, title=Path("a title")))["title"] == "a title"
    assert path.is_file()


def test_a_dictionary_leaves_no_file_and_a_file_of_several_panels_needs_one():
    found = asked()
    with found.read(None) as (_, path):
        kept = path
    assert not kept.exists()
    with pytest.raises(ConfigError, match="choose one with panel="), asked("demo").read(None):
        pass


def test_classes_are_known_as_such():
    assert asked(strategies=[Plain]).has_classes
    assert not asked().has_classes
