"""What a command does first."""

from __future__ import annotations

import os

import pytest

from fusionbench.commands.opening import command, read_and_check, set_environment
from fusionbench.errors import ConfigError
from tests.front import TOY, toy_benchmark, write_yaml


def test_a_benchmark_is_read_with_its_assignments_and_plugins(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    benchmark, places, plugins = read_and_check(config, ["training.epochs=5"], [TOY], None)
    assert (benchmark.name, benchmark.training.epochs) == ("toy", 5)
    assert plugins.get("tasks", "toy").target.__name__ == "Toy"
    assert places.at(("model", "width")).startswith(f"{config}:")


def test_every_name_that_is_not_there_is_said_with_its_place(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["concatt"], imputers=["meen"]))
    with pytest.raises(ConfigError) as refused:
        read_and_check(config, None, [TOY], None)
    assert len(refused.value.problems) == 2
    said = "\n".join(sorted(refused.value.problems))
    assert "did you mean 'concat'?" in said
    assert "did you mean 'mean'?" in said
    assert all(problem.startswith(f"{config}:") for problem in refused.value.problems)


def test_a_plugin_that_is_left_out_is_not_found(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    with pytest.raises(ConfigError, match="concat"):
        read_and_check(config, None, [TOY], ["fusionbench_plugins.strategies.concat"])


@pytest.mark.parametrize(("set_before", "wanted"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_what_the_user_has_set_is_left_alone(monkeypatch, set_before, wanted):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    if set_before is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", set_before)
    set_environment()
    assert os.environ["OMP_WAIT_POLICY"] == wanted
    assert os.environ["DO_NOT_TRACK"] == "1"


def test_a_command_is_shown_without_passwords():
    words = ["fusionbench", "run", "a b.yaml", "--set", "tracking.uri=postgresql://u:CANARY@h/d"]
    assert command(words) == "fusionbench run 'a b.yaml' --set tracking.uri=postgresql://***@h/d"
