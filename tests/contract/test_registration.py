"""Registrations: identity, options that are checked before anything is built, and content addresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import fusionbench
from fusionbench import FusionStrategy, hookspecs
from fusionbench.config.reading import load_benchmark
from fusionbench.config.sections import Benchmark
from fusionbench.contract.registration import BASES, GIVEN, KINDS, SINGULAR, Registration, option_names, source_of
from fusionbench.errors import ConfigError, PluginError, WeightsError
from fusionbench.keys import canonical, digest
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.names import check_names, check_plugins
from fusionbench.plugins.resolving import resolve
from tests.front import TOY, toy_benchmark, write_yaml


class Example(FusionStrategy):
    """Has options."""

    def __init__(self, spec, heads: int = 1, *, dropout: float = 0.0, fails: Exception | None = None):
        super().__init__(spec)
        if fails is not None:
            raise fails
        if heads < 1:
            raise ValueError(f"heads must be at least 1, found {heads}")


class Needy(FusionStrategy):
    """Has an option without a default."""

    def __init__(self, spec, modality):
        super().__init__(spec)


def registration(target=Example, kind="strategies"):
    return Registration(kind, "example", target, "guest", "1.0")


# ---------------------------------------------------------------- options


def test_every_kind_is_described_in_every_table():
    assert set(KINDS) == set(SINGULAR) == set(GIVEN) == {*BASES, "observers"}
    assert all(hasattr(hookspecs, hook) for hook in KINDS.values())
    assert all(hasattr(fusionbench, base) for base in BASES.values())


def test_options_reach_the_constructor():
    assert isinstance(registration().build("f:1", None, heads=2, dropout=0.1), Example)


def test_unknown_options_are_all_named_with_hints_and_what_is_accepted():
    with pytest.raises(ConfigError) as caught:
        registration().build("f.yaml:3: strategies[0]", None, head=2, drop=1)
    assert str(caught.value) == (
        "f.yaml:3: strategies[0]: fusion strategy 'example' has no option 'head'; did you mean 'heads'? "
        "and no option 'drop'; did you mean 'dropout'?\n  accepted: heads, dropout, fails"
    )


def test_a_misspelt_key_of_the_benchmark_is_hinted_at_too():
    assert "'imputer'; did you mean 'imputers'?" in str(registration().problem_with({"imputer": "mean"}))
    assert "did you mean" not in str(registration(kind="encoders").problem_with({"imputer": "mean"}))


def test_an_option_cannot_take_the_place_of_what_the_core_gives():
    assert "has no option 'spec'" in str(registration().problem_with({"spec": 1}))


def test_a_missing_option_is_named_before_anything_is_built():
    assert registration(Needy).problem_with({}) == (
        "fusion strategy 'example': missing a required argument: 'modality'\n  accepted: modality"
    )
    assert registration(Needy).problem_with({"modality": "ehr"}) is None


def test_a_class_without_options_says_so():
    class Plain(FusionStrategy):
        """Nothing to set."""

    assert str(registration(Plain).problem_with({"x": 1})).endswith("accepted: no options")


def test_a_constructor_that_refuses_a_value_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"^f:1: fusion strategy 'example': heads must be at least 1, found 0$"):
        registration().build("f:1", None, heads=0)


def test_a_constructor_that_fails_otherwise_is_the_plugins_failure():
    with pytest.raises(
        PluginError, match=r"^f:1: fusion strategy 'example' of guest 1.0 cannot be constructed: KeyError: 'x'$"
    ):
        registration().build("f:1", None, fails=KeyError("x"))


def test_messages_of_the_house_pass_through():
    with pytest.raises(WeightsError, match=r"^not here$"):
        registration().build("f:1", None, fails=WeightsError("not here"))


def test_option_names_leave_out_what_the_core_gives():
    assert option_names(Example, skip=1) == ["heads", "dropout", "fails"]


# ---------------------------------------------------------------- identity and keys


def test_identity_names_plugin_distribution_version_and_source():
    assert set(registration().identity) == {"name", "distribution", "version", "source"}
    assert registration().source_digest == registration(Needy).source_digest  # one file


def test_a_class_that_was_made_without_a_file_has_no_source():
    assert registration(type("Made", (), {"__module__": "builtins"})).source_digest == ""


def test_source_of_a_module_is_found_without_importing_it():
    assert source_of("fusionbench.contract.registration").endswith("registry.py")
    assert source_of("no.such") == source_of("nosuch") == source_of("") == ""


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
    assert canonical(benchmark.model) == '{"projection":"linear","width":4}'


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


# ---------------------------------------------------------------- names of a benchmark


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


def test_resolving_makes_one_arm_for_each_strategy_and_imputer(tmp_path):
    benchmark = named(tmp_path, imputers=["zero", "mean"], strategies=["concat", {"name": "sum", "imputers": ["zero"]}])
    resolved = resolve(benchmark, Plugins([TOY]), where)
    assert [a.label for a in resolved.arms] == ["concat / zero", "concat / mean", "sum / zero"]
    assert resolved.arms[2].imputer.where == "strategies.1.imputers.0"
    assert resolved.task.where == "task"
