"""What a command does first."""

from __future__ import annotations

import os

import pytest

from fusionbench.commands.opening import command, given_words, read_and_check, set_environment
from fusionbench.errors import ConfigError
from fusionbench.plugins.resolving import resolve
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


EVERY_ROUND = {
    "an unknown key": ({"trainin": {}}, "did you mean 'training'?"),
    "a number out of bounds": ({"training": {"epochs": 0}}, "training.epochs: must be"),
    "an unknown name": ({"imputers": ["meen"]}, "did you mean 'mean'?"),
    "an unknown option": ({"encoders": {"a": {"name": "mlp", "hiden": 3}, "b": "identity"}}, "did you mean 'hidden'?"),
    "an unknown option of a file given with -p": ({"task": {"name": "toy", "rowz": 3}}, "did you mean 'rows'?"),
}


def test_keys_names_options_and_numbers_are_all_said_in_one_round(tmp_path):
    changes = {key: value for change, _ in EVERY_ROUND.values() for key, value in change.items()}
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**changes))
    with pytest.raises(ConfigError) as refused:
        read_and_check(config, ["nowhere"], [TOY], None)
    for what, (_, said) in EVERY_ROUND.items():
        assert said in str(refused.value), what
    assert "--set nowhere: expected key.key=value" in str(refused.value)
    assert len(refused.value.problems) == len(EVERY_ROUND) + 1


@pytest.mark.parametrize("what", EVERY_ROUND)
def test_each_of_them_alone_is_one_problem(tmp_path, what):
    change, said = EVERY_ROUND[what]
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**change))
    if "option" in what:  # of a file without other faults it is said when the plugins are loaded
        benchmark, places, plugins = read_and_check(config, None, [TOY], None)
        with pytest.raises(ConfigError) as refused:
            resolve(benchmark, plugins, places.at)
    else:
        with pytest.raises(ConfigError) as refused:
            read_and_check(config, None, [TOY], None)
    (problem,) = refused.value.problems
    assert said in problem


def test_what_is_missing_is_said_once_and_the_rest_with_it(tmp_path):
    config = tmp_path / "b.yaml"
    config.write_text("name: x\nencoders: {a: identty}\nstrategies: [conct]\n", encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_and_check(config, None, None, None)
    assert len(refused.value.problems) == 3
    assert "missing)" not in str(refused.value)


def test_a_command_is_shown_without_passwords():
    words = ["fusionbench", "run", "a b.yaml", "--set", "tracking.uri=postgresql://u:CANARY@h/d"]
    assert command(words) == "fusionbench run 'a b.yaml' --set tracking.uri=postgresql://***@h/d"


def test_plugins_and_assignments_are_given_again_with_their_values():
    found = given_words(["a.py", "b"], ["x=1"], ["guest"])
    assert found == ["-p", "a.py", "-p", "b", "--no-plugin", "guest", "--set", "x=1"]
    assert given_words(None, None) == []
